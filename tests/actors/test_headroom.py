"""How much of a limit is left free for those who ask now."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.exchanges.base import RateLimit
from actors.headroom import REMEMBERED_S, SILENCE_S, START_S, Headroom

TEN = RateLimit(10, 1.0)


def headroom(limit: RateLimit = TEN) -> Headroom:
    """Return one where somebody asked for something, shortly before the moment 0."""
    room = Headroom(limit, 1.0)
    room.note(1, -START_S - 1.0)
    return room


def test_nothing_is_kept_where_nobody_has_asked() -> None:
    """A cold start is as fast as the limit allows."""
    assert Headroom(TEN, 1.0).kept(1, 0.0, share=0.1) == 0


def test_who_asks_for_all_his_series_as_he_starts_slows_nothing_down() -> None:
    """Nor does one who does so for a while; after that, he counts like any other."""
    room = Headroom(TEN, 1.0)
    for number in range(80):
        room.note(1, number / 10, waited=number >= 10)
    assert room.kept(1, 8.0, share=0.1) == 0
    room.note(1, START_S, waited=True)
    assert room.kept(1, START_S + 1.0, share=0.1) == 1


def test_a_start_has_ended_when_somebody_finds_room_at_once_a_window_later() -> None:
    """Then bots are at their work, and what they ask for at once is kept free."""
    room = Headroom(TEN, 1.0)
    for at_s in (0.0, 0.4, 0.8):
        room.note(1, at_s)
    assert room.kept(1, 0.9, share=0.1) == 0
    room.note(1, 1.2)
    assert room.kept(1, 1.2, share=0.1) == 3
    room.note(1, 1.3, waited=True)
    assert room.kept(1, 1.3, share=0.1) == 4


@pytest.mark.parametrize(("silence_s", "kept"), [(SILENCE_S - 1.0, 5), (SILENCE_S, 0)])
def test_who_comes_back_every_few_minutes_does_not_start(silence_s: float, kept: int) -> None:
    """Only a long silence makes a beginning of what follows it."""
    room = headroom()
    room.note(1, 0.0)
    for _ in range(5):
        room.note(1, silence_s)
    assert room.kept(1, silence_s + 1.0, share=0.1) == kept


def test_the_most_that_was_asked_for_in_one_window_is_kept() -> None:
    """Three within a second count more than two later on."""
    room = headroom()
    for at_s in (0.0, 0.1, 0.2, 5.0, 5.1):
        room.note(1, at_s)
    assert room.kept(1, 6.0, share=0.1) == 3


def test_a_burst_is_forgotten_after_a_while() -> None:
    """Or one busy minute would slow all that follow."""
    room = headroom()
    for _ in range(5):
        room.note(1, 0.0)
    room.note(1, 10.0)
    assert room.kept(1, REMEMBERED_S - 1, share=0.1) == 5
    assert room.kept(1, REMEMBERED_S + 1, share=0.1) == 1
    assert room.kept(1, 10 + REMEMBERED_S + 1, share=0.1) == 0


@pytest.mark.parametrize(("share", "weight", "kept"), [(0.1, 1, 9), (0.3, 1, 7), (0.1, 4, 6)])
def test_work_that_can_wait_keeps_its_share_and_always_fits(
    share: float, weight: int, kept: int
) -> None:
    """However much is asked for, and however heavy it is."""
    room = headroom()
    for _ in range(50):
        room.note(1, 0.0)
    assert room.kept(weight, 0.5, share=share) == kept


def test_weight_counts_only_where_the_exchange_counts_it() -> None:
    """Elsewhere a request is a request."""
    plain, weighed = headroom(RateLimit(10, 1.0, weighted=False)), headroom()
    for room in (plain, weighed):
        room.note(3, 0.0)
    assert (plain.kept(1, 0.5, share=0.1), weighed.kept(1, 0.5, share=0.1)) == (1, 3)


@given(st.lists(st.floats(0, 15), max_size=60).map(sorted))
def test_it_is_the_greatest_number_in_any_window_that_ends_with_a_request(
    moments: list[float],
) -> None:
    """Compared with counting all of them anew."""
    room = headroom(RateLimit(1000, 1.0))
    for at_s in moments:
        room.note(1, at_s)
    counts = [sum(at_s - 1.0 < other <= at_s for other in moments) for at_s in set(moments)]
    # Those that come at the same moment are one after the other.
    assert room.kept(1, 15.0, share=0.0) == max(counts, default=0)
