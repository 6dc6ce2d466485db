"""How lives are brought to an end: asked, then cancelled, then left behind."""

from __future__ import annotations

import heapq
import logging
import math
from collections.abc import Iterable
from dataclasses import replace

import trio

from runtime.core.child import Life, Surroundings
from runtime.core.reports import write
from runtime.core.slot import Slot
from runtime.core.stacks import stacks_below
from runtime.core.trace import Happening

_log = logging.getLogger("marketd.supervisor")


class Endings:
    """Ends lives, each within its own limits.

    Args:
      around: What the tree shares.
    """

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._hurried = False
        self._wait: trio.CancelScope | None = None

    async def settled(self, slot: Slot, life: Life) -> None:
        """Return when a life is up or over, or its time to start is."""
        limit_s = slot.spec.start_s
        if limit_s is None:
            await life.settled.wait()
            return
        with trio.move_on_after(limit_s):
            await life.settled.wait()
        if not life.settled.is_set():
            life.expected = True
            await self.end([(slot, life)], brutal=True)
            life.error = TimeoutError(f"not within {limit_s:g} s")

    async def end(self, lives: Iterable[tuple[Slot, Life]], *, brutal: bool = False) -> None:
        """End all `lives` at once, and return when they are over or left behind.

        Each is asked and has its `shutdown_s`; then it is cancelled and has its `abandon_s`; then
        it is left behind. A supervisor is never left behind: it ends, because its children are.

        Args:
          lives: With their places, in the order in which they are asked.
          brutal: Whether to cancel without asking.
        """
        waiting: list[tuple[float, int, bool, Slot, Life]] = []
        now_s = trio.current_time()
        for order, (slot, life) in enumerate(lives):
            life.expected = True
            grace_s = 0.0 if brutal or self._hurried else slot.shutdown_s()
            if life.ended.is_set():
                continue
            if grace_s > 0:
                life.request_stop()
                waiting.append((now_s + grace_s, order, False, slot, life))
            else:
                waiting.append((self._cancel(slot, life), order, True, slot, life))
        heapq.heapify(waiting)
        while waiting:
            limit_s, order, is_cancelled, slot, life = heapq.heappop(waiting)
            if not await self._ended_by(life, limit_s):
                if not is_cancelled:
                    limit_s = self._cancel_late(slot, life)
                elif limit_s <= trio.current_time():
                    self.abandon(slot, life)
                    continue
                heapq.heappush(waiting, (limit_s, order, True, slot, life))

    def hurry(self) -> None:
        """Cancel from now on whatever is asked to end, or was: there is no time for more."""
        self._hurried = True
        if self._wait is not None:
            self._wait.cancel()

    async def _ended_by(self, life: Life, limit_s: float) -> bool:
        if not life.ended.is_set() and not (self._hurried and not life.killed):
            with trio.CancelScope(deadline=limit_s) as self._wait:
                await life.ended.wait()
            self._wait = None
        return life.ended.is_set()

    def _cancel_late(self, slot: Slot, life: Life) -> float:
        if not self._hurried:
            limit_s = slot.shutdown_s()
            _log.warning("%s did not stop within %g s and is cancelled", life.name, limit_s)
        return self._cancel(slot, life)

    def _cancel(self, slot: Slot, life: Life) -> float:
        """Cancel a life; return until when it is waited for."""
        # `on_stop` has half of the time, so that there is some left for being cancelled itself.
        life.put_away_s = min(life.put_away_s, slot.spec.abandon_s / 2)
        life.kill()
        return math.inf if slot.is_supervisor else trio.current_time() + slot.spec.abandon_s

    def abandon(self, slot: Slot, life: Life) -> None:
        """Wait no longer for a life that will not end."""
        life.abandoned = life.killed = True
        life.scope.cancel()
        if life.hung is not None and life.error is None:
            life.error = life.hung
        life.lose()
        # Nothing more is for it to read, and its figures are its own, whatever life follows.
        slot.mailbox.open_reader().close()
        slot.work = replace(slot.work, in_hand=None)
        self._around.nest.leave(life.name)
        self._around.ring.note(life.name, Happening.ABANDONED)
        stack = "" if life.task is None else stacks_below(life.task)
        line = f"{life.name} ignored its cancellation for {slot.spec.abandon_s:g} s"
        write(_log, logging.ERROR, f"{line} and is left behind", stack)
