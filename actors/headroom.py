"""How much of a limit is left free for those who ask now. Values only; times come in.

What is fetched before anybody asks takes slots that are held for a whole window. A bot that asks in
the next moment would wait for them, although the limit was idle when they were taken. So work that
can wait leaves as much room as was asked for at once, at most, in any window of the last minutes.
Where nobody has asked for anything, nothing is kept, and such work goes as fast as it can.

Who asks for all his series when he starts, as fast as the limit allows, says nothing of what he
will ask for next; and the needs that are to be met then are his. So the burst that breaks a long
silence is not remembered.
"""

from __future__ import annotations

import math
from collections import deque

from actors.exchanges.base import RateLimit
from actors.peaks import Peaks

# How long a burst is remembered. Longer would protect bots that come back together every few
# minutes even while much is to be fetched; but one bot more that asks for all its series as it
# starts would slow down for as long the very needs that it declares then.
REMEMBERED_S = 60.0
# After so long a silence somebody starts; bots that come back do so sooner.
SILENCE_S = 300.0
# For so long at most a start is taken for one: it asks for a hundred series at ten a second.
START_S = 10.0


class Headroom:
    """Remembers the most that was asked for in one window.

    Bound: what one window allows.

    Args:
      limit: The window.
      hold_s: How long each request holds its slot at least, in seconds.
    """

    def __init__(self, limit: RateLimit, hold_s: float) -> None:
        self._limit = limit
        self._hold_s = hold_s
        self._recent: deque[tuple[float, int]] = deque()
        self._weight = 0
        self._peaks = Peaks()
        self._heard_s = self._start_s = -math.inf

    def note(self, weight: int, now_s: float, *, waited: bool = False) -> None:
        """Count something that was asked for now.

        Args:
          weight: How much it counts for.
          now_s: The time.
          waited: Whether it found no room at once. After a window, that is what tells a start that
            still goes on from bots at their work.
        """
        cost = weight if self._limit.weighted else 1
        while self._recent and self._recent[0][0] <= now_s - self._hold_s:
            self._weight -= self._recent.popleft()[1]
        self._recent.append((now_s, cost))
        self._weight += cost
        if now_s - self._heard_s >= SILENCE_S:
            self._start_s = now_s
        self._heard_s = now_s
        if now_s - self._start_s >= (START_S if waited else self._hold_s):
            self._start_s = -math.inf
            self._peaks.note(now_s, self._weight, oldest_s=now_s - REMEMBERED_S)

    def kept(self, weight: int, now_s: float, *, share: float) -> int:
        """Return how many slots a request of `weight` that can wait is to leave free now.

        Args:
          weight: How much it counts for.
          now_s: The time.
          share: What part of the limit may be used in any case, 0 to 1.
        """
        requests = self._limit.requests
        cost = weight if self._limit.weighted else 1
        most = requests - max(cost, round(requests * share))
        return max(0, min(self._peaks.since(now_s - REMEMBERED_S), most))
