"""How one incarnation reads its mailbox: the messages on their way, and the right to take them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sized
from dataclasses import dataclass
from typing import Any

import trio

from runtime.core.message import Event, Request
from runtime.core.reply import Reply


@dataclass(slots=True, eq=False)
class Envelope:
    """A message on its way, with the place for its answer if somebody waits for one.

    Attributes:
      message: What is said.
      reply: Where its sender waits; None if nobody does.
      key: By which the mailbox knows it, where only the latest of each key is kept.
    """

    message: Request[Any] | Event
    reply: Reply | None = None
    key: Hashable = None


class Reader:
    """The right of one incarnation to read a mailbox. Taken away, it reads nothing more.

    Args:
      queue: What is queued.
      pop: Takes the oldest out.

    Attributes:
      held: Whether messages are to stay queued for now.
      task: Who waits for a message at this moment.
    """

    __slots__ = ("_ended", "_given", "_pop", "_queue", "held", "task")

    def __init__(self, queue: Sized, pop: Callable[[], Envelope]) -> None:
        self.held = False
        self.task: trio.lowlevel.Task | None = None
        self._queue = queue
        self._pop = pop
        self._ended = False
        self._given: Envelope | None = None

    async def take(self) -> Envelope | None:
        """Return the oldest message, waiting for one; None once reading has ended."""
        queue = self._queue
        if queue and not self.held:
            await trio.lowlevel.checkpoint()
        while not self._ended:
            if queue and not self.held:
                return self._pop()
            self.task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
            envelope, self._given = self._given, None
            if envelope is not None:
                # Handed over while this waited, so it is delivered even if reading has ended since.
                return envelope
        return None

    def hand_over(self, envelope: Envelope | None) -> None:
        """Wake the waiting reader, with a message or to look around."""
        task, self.task = self.task, None
        if task is not None:
            self._given = envelope
            trio.lowlevel.reschedule(task)

    def hold(self) -> None:
        """Leave messages in the queue until released."""
        self.held = True

    def release(self) -> None:
        """Read on."""
        self.held = False
        self.hand_over(None)

    def close(self) -> None:
        """Read no more; a message that was handed over already is still delivered."""
        self._ended = True
        self.hand_over(None)

    def _abort(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self.task = None
        return trio.lowlevel.Abort.SUCCEEDED
