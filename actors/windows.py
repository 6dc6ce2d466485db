"""One window of a limit: a row of slots, who holds them, and until when. Times come in."""

from __future__ import annotations

import math
from bisect import bisect_right, insort

from actors.exchanges.base import RateLimit
from actors.peaks import Peaks


class Window:
    """The slots of one window: who holds them, and until when."""

    __slots__ = ("flying", "held", "held_cost", "hold_s", "limit", "peaks")

    def __init__(self, limit: RateLimit, hold_s: float) -> None:
        self.limit = limit
        self.hold_s = hold_s
        # Until when, by whom, how many slots; the first to become free first.
        self.held: list[tuple[float, int, int]] = []
        self.held_cost = 0
        self.flying = 0
        self.peaks = Peaks()

    @property
    def used(self) -> int:
        """Return how many slots are held, or taken by what is under way."""
        return self.held_cost + self.flying

    @property
    def room(self) -> int:
        """Return how many are free; below zero if more is known to be spent than there is."""
        return self.limit.requests - self.held_cost - self.flying

    def cost(self, weight: int) -> int:
        """Return how many slots a request takes."""
        return weight if self.limit.weighted else 1

    def hold(self, until_s: float, spend_id: int, cost: int) -> list[int]:
        """Hold slots; return who holds some no longer, because it makes no difference."""
        insort(self.held, (until_s, spend_id, cost))
        self.held_cost += cost
        needless = 0
        left = self.held_cost
        # More than all slots held is no more than all slots held.
        while left - self.held[needless][2] >= self.limit.requests:
            left -= self.held[needless][2]
            needless += 1
        return self._drop(needless) if needless else []

    def tidy(self, now_s: float) -> list[int]:
        """Let go what time has freed, if anything; return who held it."""
        ended = 0
        for until_s, _, _ in self.held:
            if until_s > now_s:
                break
            ended += 1
        return self._drop(ended)

    def _drop(self, count: int) -> list[int]:
        gone = self.held[:count]
        del self.held[:count]
        self.held_cost -= sum(cost for _, _, cost in gone)
        return [spend_id for _, spend_id, _ in gone]

    def fits_s(self, cost: int, now_s: float) -> float:
        """Return when time alone will have freed `cost` slots; `inf` if answers must come first."""
        lacking = cost - self.room
        if lacking <= 0:
            return now_s
        for until_s, _, freed in self.held:
            lacking -= freed
            if lacking <= 0:
                return until_s
        return math.inf

    def earliest_s(self, cost: int, now_s: float) -> float:
        """Return when `cost` slots can have been taken in all, at the earliest.

        Requests under way are taken to be answered at once, and each slot to be taken again as
        soon as it is free.
        """
        rounds, place = divmod(cost - 1, self.limit.requests)
        lacking = place + 1 - self.room
        moment_s = now_s
        if lacking > 0:
            moment_s = self._freed_s(lacking, now_s + self.hold_s)
        return moment_s + rounds * self.hold_s

    def _freed_s(self, lacking: int, flying_s: float) -> float:
        """Return when so many slots will be free, if those under way end at `flying_s`."""
        before = bisect_right(self.held, (flying_s, math.inf, 0))
        if self.held_cost != len(self.held):
            return self._freed_by_weights_s(lacking, flying_s, before)
        # All weigh one, so there is nothing to add up: thousands may wait in line.
        if lacking <= before:
            return self.held[lacking - 1][0]
        lacking -= self.flying
        return flying_s if lacking <= before else self.held[min(lacking, len(self.held)) - 1][0]

    def _freed_by_weights_s(self, lacking: int, flying_s: float, before: int) -> float:
        for number, (until_s, _, freed) in enumerate(self.held):
            if number == before:
                lacking -= self.flying
                if lacking <= 0:
                    return flying_s
            lacking -= freed
            if lacking <= 0:
                return until_s
        return flying_s
