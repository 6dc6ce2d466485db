"""Finding what repeats among requests that no rule explains yet. Plain functions."""

from __future__ import annotations

from actors.preloading.habit_rules import floor_ms
from actors.preloading.habit_values import DAY_MS, HOUR_MS, MINUTE_MS, WEEK_MS

# Newest unexplained requests that are kept of a series.
TIMES_MAX = 24
# What the clock may be watched for, longest first.
CLOCKS_MS = (
    WEEK_MS,
    DAY_MS,
    4 * HOUR_MS,
    HOUR_MS,
    *(minutes * MINUTE_MS for minutes in (30, 15, 10, 5, 3, 1)),
)

# Requests at the same time of the clock differ by at most this much.
_CLOCK_MS = 500
# So many periods back is looked for so many matches. For long periods one will do if no other has
# more: it is no accident any more.
_PERIODS = 8
_ENOUGH = 2
_RARE_MS = HOUR_MS
# Timers between these are looked for.
_TIMER_MS_MIN = 2_000
_TIMER_MS_MAX = 6 * HOUR_MS


def find_clock(times: list[int], at_ms: int) -> tuple[int, int, list[int]] | None:
    """Return the longest clock by which `at_ms` repeats what was before, and how it does.

    Args:
      times: Requests that nothing explained, oldest first.
      at_ms: The newest one, later than all of them.

    Returns:
      The clock's span, how long after its border the newest came, and by how much each of those
      that match differed from that; None if none matches.
    """
    rare: tuple[int, list[int]] | None = None
    for span_ms in CLOCKS_MS:
        lags = _clock_lags(times, at_ms, span_ms)
        if len(lags) >= _ENOUGH:
            break
        if lags and rare is None and span_ms >= _RARE_MS:
            rare = span_ms, lags
    else:
        if rare is None:
            return None
        span_ms, lags = rare
    return span_ms, at_ms - floor_ms(at_ms, span_ms), [*lags, 0]


def _clock_lags(times: list[int], at_ms: int, span_ms: int) -> list[int]:
    """Return by how much those of `times` that match `at_ms` differ from it, oldest first."""
    lags = []
    for time_ms in reversed(times):
        ago_ms = at_ms - time_ms
        if ago_ms > _PERIODS * span_ms + _CLOCK_MS:
            break
        lag_ms = (_CLOCK_MS - ago_ms) % span_ms - _CLOCK_MS
        if lag_ms <= _CLOCK_MS and ago_ms > span_ms // 2:
            lags.append(lag_ms)
    lags.reverse()
    return lags


def find_timer(times: list[int], at_ms: int) -> tuple[int, list[int]] | None:
    """Return the shortest time that lay between three requests one after another.

    Args:
      times: Requests that nothing explained, oldest first.
      at_ms: The newest one, later than all of them.

    Returns:
      That time, and by how much each of the two differed from it; None if there is none.
    """
    for middle in range(len(times) - 1, 0, -1):
        span_ms = at_ms - times[middle]
        if span_ms < _TIMER_MS_MIN:
            continue
        if span_ms > _TIMER_MS_MAX:
            break
        slack_ms = min(max(span_ms // 100, 300), 2_000)
        for first in range(middle - 1, -1, -1):
            lag_ms = times[middle] - times[first] - span_ms
            if lag_ms > slack_ms:
                break
            if lag_ms >= -slack_ms:
                return span_ms, [lag_ms, 0]
    return None
