"""`Pause`: how long nothing is sent after a refusal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.pauses import PAUSE_S_MAX, Pause, PauseRules

RULES = PauseRules(first_s=1.0, longest_s=60.0)


def refuse_in_a_row(times: int, *, asked_s: float = 0.0) -> list[float]:
    """Return the lengths of pauses when each first request after one is refused again."""
    pause, lengths = Pause(), []
    for _ in range(times):
        now_s = pause.until_s + 0.1
        pause = pause.struck(now_s, RULES, granted_s=now_s, asked_s=asked_s)
        lengths.append(pause.until_s - now_s)
    return lengths


def test_it_doubles_with_each_refusal_in_a_row_up_to_its_bound() -> None:
    """A server that goes on refusing is not to be asked at the same pace."""
    assert refuse_in_a_row(8) == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60])


@given(st.integers(1, 2000), st.floats(0, 1e12))
def test_it_always_ends_within_a_day(times: int, asked_s: float) -> None:
    """A mistyped figure from outside must not end all requests for ever."""
    pause = Pause(until_s=10.0, began_s=9.0, strikes=times)

    struck = pause.struck(20.0, RULES, granted_s=15.0, asked_s=asked_s)

    assert 20.0 < struck.until_s <= 20.0 + PAUSE_S_MAX


def test_a_longer_time_asked_for_by_the_server_is_given() -> None:
    """It knows; we only guess."""
    assert refuse_in_a_row(2, asked_s=90.0) == pytest.approx([90, 90])


def test_refusals_of_one_burst_count_once() -> None:
    """Ten requests under way that are all refused are one offence, not ten."""
    pause = Pause()
    for late_s in range(10):
        pause = pause.struck(5.0 + late_s * 0.01, RULES, granted_s=4.9, asked_s=0.0)

    assert pause.strikes == 1
    assert pause.until_s == pytest.approx(6.09)


def test_a_refusal_of_unknown_age_does_not_lengthen_a_known_pause() -> None:
    """Its permit was forgotten in a crash; most likely it belongs to the same offence."""
    pause = Pause().struck(5.0, RULES, granted_s=None, asked_s=0.0)
    again = pause.struck(5.5, RULES, granted_s=None, asked_s=0.0)

    assert (pause.strikes, again.strikes) == (1, 1)


def test_only_a_request_sent_after_it_can_make_it_forgotten() -> None:
    """Answers to what was sent before say nothing about now."""
    pause = Pause(until_s=6.0, began_s=5.0, strikes=3)
    slow = PauseRules(first_s=1.0, longest_s=60.0, forgiven_after_s=100.0)

    assert pause.forgiven(RULES, granted_s=4.9) == pause
    assert pause.forgiven(RULES, granted_s=None) == pause
    assert pause.forgiven(RULES, granted_s=6.0) == Pause()
    assert pause.forgiven(slow, granted_s=105.0) == pause
    assert pause.forgiven(slow, granted_s=106.0) == Pause()
