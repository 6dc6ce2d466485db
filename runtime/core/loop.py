"""`Loop`: one task that does one thing at a time: what came in, in order, and what is due."""

from __future__ import annotations

import enum
import math
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import trio

from runtime.core.clock import Clock
from runtime.core.errors import Escalated, RestartIntensityExceeded, StartFailed, SupervisorDown
from runtime.core.reply import Reply
from runtime.core.timers import K, Timers

T = TypeVar("T")


class Due(enum.Enum):
    """What a timer is about."""

    RESTART = "restart"
    HANG = "hang"
    END = "end"


class Ask:
    """An operation somebody asked for: carried out once, or refused; answered either way."""

    __slots__ = ("_do", "_reply")

    def __init__(self, do: Callable[[], Awaitable[object]], reply: Reply) -> None:
        self._do = do
        self._reply = reply

    async def __call__(self) -> None:
        """Carry it out, unless who asked has left."""
        if self._reply.abandoned:
            return
        try:
            self._reply.send(await self._do())
        except (RestartIntensityExceeded, Escalated) as error:
            # Of this the supervisor ends. Who asked hears what it began with.
            if isinstance(error.__cause__, StartFailed):
                self._reply.fail(StartFailed(str(error.__cause__)))
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the asker's answer
            self._reply.fail(error)
        finally:
            # Nothing is left to send if it was answered; else the supervisor is being stopped.
            self.refuse()

    def refuse(self) -> None:
        """Say that the supervisor has ended."""
        self._reply.fail(SupervisorDown("the supervisor ended before this was done"))


class Loop(Generic[K]):
    """Deals with what happened and with what is due, in turn, so that neither starves the other.

    Bound: what is posted are ends of children, of which there is one for each life, and
    operations, whose callers wait.

    Args:
      clock: Where time is read.
    """

    def __init__(self, clock: Clock) -> None:
        self.timers: Timers[K] = Timers()
        self._now_s = clock.now_s
        self._inbox: deque[Callable[[], Awaitable[None]]] = deque()
        self._wake = trio.Event()
        self._is_open = True

    def post(self, item: Callable[[], Awaitable[None]]) -> None:
        """Have something done by the loop's task."""
        self._inbox.append(item)
        self._wake.set()

    def wake(self) -> None:
        """Have a look at the timers, because one was set from outside of the loop's task."""
        self._wake.set()

    async def ask(self, do: Callable[[], Awaitable[T]]) -> T:
        """Have `do` carried out by the loop's task; return what it returns.

        Raises:
          SupervisorDown: The loop has ended, or ended before that was done.
          Exception: Whatever `do` raises.
        """
        if not self._is_open:
            raise SupervisorDown("the supervisor is not running")
        reply = Reply(math.inf)
        self.post(Ask(do, reply))
        answer: T = await reply.wait()
        return answer

    async def run(self, on_due: Callable[[K], Awaitable[None]]) -> None:
        """Go on until cancelled, or until something raises."""
        while True:
            if self._inbox:
                await self._inbox.popleft()()
            due_s = self.timers.next_s()
            if due_s is not None and due_s <= self._now_s():
                await on_due(self.timers.pop())
            elif not self._inbox:
                self._wake = trio.Event()
                with trio.CancelScope(deadline=math.inf if due_s is None else due_s):
                    await self._wake.wait()

    def close(self) -> None:
        """Refuse what is asked from now on."""
        self._is_open = False

    def refuse_all(self) -> None:
        """Tell whoever still waits that it will not be done."""
        while self._inbox:
            item = self._inbox.popleft()
            if isinstance(item, Ask):
                item.refuse()
