"""`GroupLedger` from one owner to the next: nothing is forgotten, and nonsense is not believed."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.exchanges.base import RateLimit
from actors.pauses import Pause
from actors.slots import GroupLedger, SlotRules, Spend

RULES = SlotRules()
THREE = (RateLimit(requests=3, period_s=1.0),)
WINDOWS = st.lists(
    st.builds(RateLimit, st.integers(3, 6), st.sampled_from([0.5, 1.0, 2.0, 7.0]), st.booleans()),
    min_size=1,
    max_size=3,
)
# How long until the request, its weight, what becomes of it, and what the server says is left.
REQUESTS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.0, 0.05, 0.7, 3.0]),
        st.integers(1, 3),
        st.sampled_from(["answered", "answered", "cancelled", "lost", "not sent"]),
        st.sampled_from([None, None, None, 1]),
    ),
    max_size=40,
)


@given(WINDOWS, REQUESTS)
def test_a_ledger_comes_back_as_it_was(
    windows: list[RateLimit], requests: list[tuple[float, int, str, int | None]]
) -> None:
    """A crash of its owner must neither forget what was spent nor spend it twice."""
    kept: dict[int, Spend] = {}

    def note(spend_id: int, spend: Spend | None) -> None:
        if spend is None:
            del kept[spend_id]
        else:
            kept[spend_id] = spend

    ledger = GroupLedger(windows, RULES, journal=note)
    now_s = 0.0
    for permit_id, (gap_s, weight, fate, remaining) in enumerate(requests, start=1):
        now_s += gap_s
        if ledger.fits(weight, now_s):
            ledger.grant(permit_id, weight, now_s)
        if fate != "lost":
            sent, answered = fate != "not sent", fate == "answered"
            ledger.settle(permit_id, weight, now_s, sent=sent, answered=answered)
        if remaining is not None:
            ledger.heed(remaining, now_s, granted_s=now_s)
    assert kept == ledger.spends()

    back = GroupLedger(windows, RULES)
    assert back.take_over(kept, ledger.pause, now_s)
    assert back.used == ledger.used
    assert back.in_flight == ledger.in_flight
    assert [back.fits_s(n, now_s) for n in (1, 2, 3)] == [
        ledger.fits_s(n, now_s) for n in (1, 2, 3)
    ]


GOOD = {1: Spend(4.0), -2: Spend(4.0, 2, 4.5), -3: Spend(3.0, 1, 5.0, 0)}


@pytest.mark.parametrize(
    ("spends", "pause"),
    [
        ({1: "three slots"}, Pause()),
        ({1: {"granted_s": "soon"}}, Pause()),
        ({"one": Spend(4.0)}, Pause()),
        ({1: Spend(8.1)}, Pause()),
        ({1: Spend(math.nan)}, Pause()),
        ({1: Spend(4.0, 0)}, Pause()),
        ({1: Spend(4.0, 1, math.nan)}, Pause()),
        ({1: Spend(4.0, 1, 7.1)}, Pause()),
        ({1: Spend(4.0, 1, 4.0, 1)}, Pause()),
        ({1: Spend(4.0, 1, 4.0, -1)}, Pause()),
        ({1: object()}, Pause()),
        (GOOD, Pause(until_s=1e9, began_s=4.0, strikes=1)),
        (GOOD, Pause(until_s=6.0, began_s=5.5, strikes=1)),
        (GOOD, Pause(until_s=6.0, began_s=4.0, strikes=-1)),
        (GOOD, None),
        (GOOD, object()),
    ],
)
def test_a_ledger_that_cannot_be_is_not_believed(spends: dict[int, object], pause: object) -> None:
    """What a crash has left may be the very thing that caused it."""
    assert GroupLedger(THREE, RULES).take_over(GOOD, Pause(), 5.0)
    ledger = GroupLedger(THREE, RULES)

    assert not ledger.take_over(spends, pause, 5.0)
    assert ledger.is_idle


def test_an_unknown_past_is_held_no_longer_than_it_is_feared() -> None:
    """Nobody would wait an hour for a program that may never have been."""
    ledger = GroupLedger((RateLimit(3, 1.0), RateLimit(100, 3600.0)), RULES)
    ledger.spend_all(0.0, hold_s_max=60.0)

    assert not ledger.fits(1, 1.0)
    assert ledger.fits_s(1, 1.0) == pytest.approx(60.0)
    assert ledger.fits(3, 60.1)


def test_what_may_have_been_sent_unseen_is_no_more_than_the_fastest_window_lets_through() -> None:
    """A process that was killed cannot have overrun its own limits."""
    ledger = GroupLedger((RateLimit(10, 1.0), RateLimit(6_000, 3600.0)), RULES)
    ledger.spend_unseen(3.0, 0.0)

    assert ledger.used == [10, 40]
