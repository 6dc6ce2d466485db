"""At which hours of the week a series is asked for. Plain functions on 168 bytes.

Each hour of the week has the share of the last weeks in which something was asked in it, the last
week counting half: a bank holiday is not a new habit, and the second of them is. An hour that was
not yet seen goes by the same hour of the other days.
"""

from __future__ import annotations

from actors.preloading.habit_values import HOUR_MS, MONDAY_MS

HOURS = 168
_UNSEEN = 255
_FULL = 250
_HALF = _FULL // 2

# What is known of an hour.
UNKNOWN, QUIET, ACTIVE = 0, 1, 2


def no_hours() -> bytearray:
    """Return what is known before anything was seen."""
    return bytearray([_UNSEEN]) * HOURS


def hour_of(at_ms: int) -> int:
    """Return the number of the hour since a Monday long ago; modulo `HOURS`, that of its week."""
    return (at_ms - MONDAY_MS) // HOUR_MS


def mark(hours: bytearray, hour: int, *, active: bool) -> None:
    """Take note that something, or nothing, was asked in an hour that was watched."""
    at, to = hour % HOURS, _FULL if active else 0
    hours[at] = to if hours[at] == _UNSEEN else (hours[at] + to) // 2


def what_hour(hours: bytearray, hour: int) -> int:
    """Return whether an hour is active, quiet, or unknown."""
    share = hours[hour % HOURS]
    if share == _UNSEEN:
        same = [each for each in hours[hour % 24 :: 24] if each != _UNSEEN]
        if not same:
            return UNKNOWN
        share = sum(same) // len(same)
    return ACTIVE if share > _HALF - 1 else QUIET
