"""The counter that Upbit's real server was measured to have.

Measured 2025-09-12, requests sent one after the other every 93.4 ms (the timer said 90): the 11th
is refused, and from then on about one in eleven, 46 of 482. Of the two models in `rules` neither
does that: windows fixed to the clock refuse only what is above ten a second, one in fifteen, and a
sliding window that counts refusals never lets such a client in again. What fits is a sliding
window of those that were let through. The stricter `SlidingWindow` stays the sandbox's default: a
client that it never refuses is never refused by this one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from actors.sandbox.rules import FixedWindow, SlidingWindow, WindowMaker


class AdmittedWindow:
    """Refuse a request if those let through in the last period are as many as may be.

    Args:
      limit: How many requests may pass in one period, wherever it begins.
      period_s: How long it is, in seconds.
    """

    def __init__(self, limit: int, period_s: float) -> None:
        self._limit = limit
        self._period_s = period_s
        self._passed_s: deque[float] = deque(maxlen=limit)

    def arrive(self, now_s: float) -> int:
        """Count a request; return how many more would pass now, or -1 if this one did not."""
        recent = sum(moment + self._period_s > now_s for moment in self._passed_s)
        if recent >= self._limit:
            return -1
        self._passed_s.append(now_s)
        return self._limit - recent - 1


# What `--window` may be.
WINDOWS: Mapping[str, WindowMaker] = {
    "strict": SlidingWindow,
    "measured": AdmittedWindow,
    "fixed": FixedWindow,
}
