"""Time, from one place: two clocks under two names that are never mixed.

`now_s` is monotonic seconds, for waiting and measuring. `utc_ms` is wall time in milliseconds
since the Unix epoch, for what the world dates. Both follow trio's clock in tests, so that a run
on `trio.testing.MockClock` replays an hour in a second.
"""

from __future__ import annotations

import time
from typing import Protocol

import trio


class Clock(Protocol):
    """Where time is read."""

    def now_s(self) -> float:
        """Return monotonic seconds; only differences mean anything."""

    def utc_ms(self) -> int:
        """Return wall time in milliseconds since the Unix epoch."""


class SystemClock:
    """The machine's own clocks: trio's for `now_s`, the operating system's for `utc_ms`."""

    def now_s(self) -> float:
        """Return trio's current time, in seconds."""
        return trio.current_time()

    def utc_ms(self) -> int:
        """Return the operating system's wall time, in milliseconds since the Unix epoch."""
        return time.time_ns() // 1_000_000  # noqa: TID251 - the one place that reads it


class TrioClock:
    """Both clocks driven by trio's, so that virtual time moves them together.

    Args:
      start_utc_ms: Wall time at the moment of construction, in milliseconds since the epoch.
    """

    def __init__(self, *, start_utc_ms: int) -> None:
        self._start_utc_ms = start_utc_ms
        self._start_s = trio.current_time()

    def now_s(self) -> float:
        """Return trio's current time, in seconds."""
        return trio.current_time()

    def utc_ms(self) -> int:
        """Return the starting wall time plus what trio's clock has moved since."""
        return self._start_utc_ms + round((trio.current_time() - self._start_s) * 1000)
