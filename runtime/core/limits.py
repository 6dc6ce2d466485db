"""`Limits`: what may not last for ever: a message in hand, and an end that does not come."""

from __future__ import annotations

import logging

from runtime.core.child import Life, Surroundings
from runtime.core.errors import Hung
from runtime.core.loop import Due, Loop
from runtime.core.reports import write
from runtime.core.slot import Slot
from runtime.core.stacks import stacks_below
from runtime.core.trace import Happening

_log = logging.getLogger("marketd.supervisor")


class Limits:
    """Sets the alarms of one supervisor's children.

    Args:
      around: What the tree shares.
      loop: The supervisor's, which deals with what is due.
    """

    def __init__(self, around: Surroundings, loop: Loop[tuple[Due, Slot]]) -> None:
        self._around = around
        self._loop = loop

    def watch(self, slot: Slot) -> None:
        """Begin to watch over the messages of a child that has started."""
        if slot.spec.hang_s is not None:
            now_s = self._around.clock.now_s()
            self._loop.timers.set((Due.HANG, slot), now_s + slot.spec.hang_s)

    def check_hang(self, slot: Slot) -> None:
        """Kill a child that has had its message in hand for too long; else look again later.

        Looked at once for each `hang_s` while the child is idle, and at the very moment when the
        message in hand becomes too old.
        """
        life, hang_s = slot.life, slot.spec.hang_s
        if life is None or hang_s is None or life.ended.is_set():
            return
        now_s, work = self._around.clock.now_s(), slot.work
        since_s = now_s if work.in_hand is None else work.since_s
        if since_s + hang_s > now_s:
            self._loop.timers.set((Due.HANG, slot), since_s + hang_s)
            return
        what = f"{type(work.in_hand).__name__} in hand for {now_s - since_s:g} s"
        life.hung = Hung(f"{slot.name} had {what}, allowed are {hang_s:g} s")
        self._around.ring.note(slot.name, Happening.HUNG, what)
        stack = "" if life.task is None else stacks_below(life.task)
        write(_log, logging.ERROR, f"{slot.name} hangs: {what}", stack)
        life.lose()
        self.kill(slot, life)

    def kill(self, slot: Slot, life: Life) -> None:
        """End a life without asking; it counts as a crash."""
        life.put_away_s = min(life.put_away_s, slot.spec.abandon_s / 2)
        life.kill()
        if not slot.is_supervisor:
            # A supervisor is never left behind: it ends, because its children are.
            self._end_by(slot, slot.spec.abandon_s)

    def dying(self, slot: Slot, life: Life) -> None:
        """Bound the time that a life may take to end, since it serves nobody any more."""
        if not life.expected and (Due.END, slot) not in self._loop.timers:
            self._end_by(slot, life.put_away_s + slot.spec.abandon_s)

    def off(self, slot: Slot) -> None:
        """Take the alarms away: the life they were about is over."""
        self._loop.timers.cancel((Due.HANG, slot))
        self._loop.timers.cancel((Due.END, slot))

    def _end_by(self, slot: Slot, limit_s: float) -> None:
        self._loop.timers.set((Due.END, slot), self._around.clock.now_s() + limit_s)
        # Set from another task, while the loop may be asleep.
        self._loop.wake()
