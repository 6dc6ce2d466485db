"""Finding what repeats: what does is found, and what does not is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.preloading.habit_search import CLOCKS_MS, find_clock, find_timer
from actors.preloading.habit_values import DAY_MS, HOUR_MS, MINUTE_MS

T = 1_767_571_200_000


@pytest.mark.parametrize("span_ms", CLOCKS_MS)
def test_every_clock_is_found_by_its_longest_span(span_ms: int) -> None:
    """Each hour is also each minute, but it does not come each minute."""
    times = [T + beat * span_ms + 2_000 for beat in range(3)]
    found = find_clock(times[:2], times[2])

    assert found is not None
    assert found[0] == span_ms
    assert found[2][-1] == 0


def test_two_are_too_few_where_accidents_are_likely() -> None:
    """One request in sixty comes at the same second by chance; at the same second of a day none."""
    assert find_clock([T], T + 5 * MINUTE_MS) is None
    assert find_clock([T], T + HOUR_MS) == (HOUR_MS, 0, [0, 0])
    assert find_clock([T], T + DAY_MS + 600) is None


def test_the_shortest_time_between_three_is_a_timer() -> None:
    """All its multiples lie between some, too."""
    times = [T + beat * 45_300 for beat in range(10)]

    assert find_timer(times[:-1], times[-1]) == (45_300, [0, 0])
    assert find_timer([T, T + 40_000], T + 90_000) is None
    assert find_timer([T, T + 500], T + 1_000) is None


@given(st.lists(st.integers(0, 8 * DAY_MS), max_size=24, unique=True).map(sorted))
def test_what_is_found_did_repeat(times: list[int]) -> None:
    """Whatever the times, lags are small and there are as many as there must be."""
    if not times:
        return
    *before, at_ms = times
    clock, timer = find_clock(before, at_ms), find_timer(before, at_ms)
    if clock is not None:
        span_ms, offset_ms, lags = clock
        assert 0 <= offset_ms < span_ms
        assert all(abs(lag_ms) <= 500 for lag_ms in lags)
        assert all(
            any((at_ms + lag_ms - each) % span_ms == 0 for each in before) for lag_ms in lags[:-1]
        )
    if timer is not None:
        span_ms, lags = timer
        assert at_ms - span_ms in before
        assert at_ms - 2 * span_ms - lags[0] in before
