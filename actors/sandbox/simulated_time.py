"""The exchange's own clock: it starts where the market's data is, and may run fast."""

from __future__ import annotations

import math

from runtime.core.clock import Clock

SPEED_MAX = 1_000_000.0


class SimulatedTime:
    """Time in the market, driven by the run's monotonic clock.

    Args:
      clock: Where real time is read.
      start_ms: The market's time at this moment, UTC milliseconds since the epoch.
      speed: How many of the market's seconds pass in a real one, above 0.

    Raises:
      ValueError: The speed is not a number above 0 and at most `SPEED_MAX`.
    """

    def __init__(self, clock: Clock, *, start_ms: int, speed: float = 1.0) -> None:
        if not (math.isfinite(speed) and 0 < speed <= SPEED_MAX):
            raise ValueError(f"speed must be above 0 and at most {SPEED_MAX:.0f}, was {speed}")
        self._clock = clock
        self._start_ms = start_ms
        self._start_s = clock.now_s()
        self.speed = speed

    def now_ms(self) -> int:
        """Return the market's time, UTC milliseconds since the epoch."""
        return self.at_ms(self._clock.now_s())

    def at_ms(self, now_s: float) -> int:
        """Return the market's time at a moment of the run's clock."""
        return self._start_ms + math.floor((now_s - self._start_s) * 1000 * self.speed)

    def when_s(self, time_ms: int) -> float:
        """Return the first moment of the run's clock at which the market's time is `time_ms`."""
        now_s = self._start_s + (time_ms - self._start_ms) / (1000 * self.speed)
        # Rounding may have ended just before it; a clock's own steps are coarser than these.
        step_s = math.ulp(now_s)
        while self.at_ms(now_s) < time_ms:
            now_s += step_s
            step_s *= 2
        return now_s
