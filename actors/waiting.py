"""Those who wait for a slot, in the order they will get one. No tasks; times come in."""

from __future__ import annotations

import heapq
from typing import NamedTuple

from actors.messages import Priority
from runtime.core.errors import CallTimeout
from runtime.core.mailbox import Reply


class Waiter(NamedTuple):
    """Somebody who waits; the smallest goes first.

    Attributes:
      priority: Whose turn it is before all.
      arrival: Counts up, so that no two are equal and the reply is never compared.
      since_s: When he came.
      reply: Where he waits.
    """

    priority: Priority
    arrival: int
    since_s: float
    reply: Reply

    def is_there(self, now_s: float) -> bool:
        """Return whether he still waits: was not cancelled, and has time left."""
        return not self.reply.abandoned and self.reply.deadline_s > now_s

    def dismiss(self) -> None:
        """Settle with somebody who has gone: a reply that is never used is remembered for ever."""
        self.reply.fail(CallTimeout("the turn came after the deadline"))


class WaitingLine:
    """A bounded line. Those who have gone keep their place until somebody needs it.

    Args:
      places: Most who wait at once.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._heap: list[Waiter] = []
        self._arrivals = 0

    def __bool__(self) -> bool:
        """Return whether anybody is in line, still there or not."""
        return bool(self._heap)

    def count(self, now_s: float) -> int:
        """Return how many still wait."""
        return sum(waiter.is_there(now_s) for waiter in self._heap)

    def join(self, reply: Reply, priority: Priority, now_s: float) -> bool:
        """Put somebody in line; return whether there was a place for him."""
        if len(self._heap) >= self._places:
            for gone in [waiter for waiter in self._heap if not waiter.is_there(now_s)]:
                gone.dismiss()
            self._keep([waiter for waiter in self._heap if waiter.is_there(now_s)])
        if len(self._heap) >= self._places:
            return False
        self._arrivals += 1
        heapq.heappush(self._heap, Waiter(priority, self._arrivals, now_s, reply))
        return True

    def next(self, now_s: float) -> Waiter | None:
        """Take out whose turn it is, passing over those who have gone; None if nobody is left."""
        while self._heap:
            waiter = heapq.heappop(self._heap)
            if waiter.is_there(now_s):
                return waiter
            waiter.dismiss()
        return None

    def leave_before(self, time_s: float) -> list[Waiter]:
        """Take out everybody whose time ends before `time_s`, and return them."""
        out = [waiter for waiter in self._heap if waiter.reply.deadline_s < time_s]
        self._keep([waiter for waiter in self._heap if waiter.reply.deadline_s >= time_s])
        return out

    def _keep(self, waiters: list[Waiter]) -> None:
        self._heap = waiters
        heapq.heapify(self._heap)
