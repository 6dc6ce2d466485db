"""`Uses`: what bots ask for, as they ask it. Written by the router, read by the PreloaderActor."""

from __future__ import annotations

import math
from dataclasses import dataclass

import trio

from actors.preloading.habit_values import SeriesKey

# Asked again within so long it is the same need, in seconds: one page would serve both.
EVERY_S = 0.5
# Beyond it the series asked for longest ago is forgotten, and would be told of sooner.
SERIES_MAX = 4_096
# Uses that nobody has read yet; beyond it the oldest are dropped.
PENDING_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Use:
    """Somebody asked for candles.

    Attributes:
      key: Of which series.
      at_s: When, on `Clock.now_s`.
      depth: How many candles back from now.
      closed: Whether for final ones only.
      max_age_s: How old the newest part might be, in seconds.
      hit: Whether memory had it.
    """

    key: SeriesKey
    at_s: float
    depth: int
    closed: bool
    max_age_s: float
    hit: bool


class Uses:
    """What was asked for lately, and not read yet.

    Reads from memory take a microsecond, and so many are not told apart: the same series asked for
    again at once, and no deeper, is not noted.

    Bounds: `SERIES_MAX` and `PENDING_MAX`.

    Attributes:
      dropped: Uses that were lost because nobody read them.
    """

    def __init__(self) -> None:
        self.dropped = 0
        # Of each series: until when the same is not news, and how deep it was.
        self._last: dict[SeriesKey, tuple[float, int]] = {}
        self._pending: list[Use] = []
        self._arrived = trio.Event()

    def note(
        self,
        key: SeriesKey,
        at_s: float,
        depth: int,
        *,
        closed: bool,
        max_age_s: float,
        hit: bool,
    ) -> None:
        """Note that somebody asked."""
        last = self._last.get(key)
        if last is not None and at_s < last[0] and depth <= last[1]:
            return
        self._last.pop(key, None)
        self._last[key] = (at_s + EVERY_S, depth)
        if len(self._last) > SERIES_MAX:
            del self._last[next(iter(self._last))]
        if len(self._pending) >= PENDING_MAX:
            del self._pending[0]
            self.dropped += 1
        self._pending.append(Use(key, at_s, depth, closed, max_age_s, hit))
        if not self._arrived.is_set():
            self._arrived.set()

    def last_s(self, key: SeriesKey) -> float:
        """Return when a series was last asked for, on `Clock.now_s`; -inf if that is not known."""
        last = self._last.get(key)
        return -math.inf if last is None else last[0] - EVERY_S

    async def take(self) -> list[Use]:
        """Return what was noted since the last time, in order; wait until there is something."""
        await self._arrived.wait()
        self._arrived = trio.Event()
        taken, self._pending = self._pending, []
        return taken
