"""`Actor`: state that one task owns, reached by messages, one at a time.

An actor is worth having only where there is state to own, concurrency to order or failure to
contain; everything else is a plain function.
"""

from __future__ import annotations

import random
from typing import Any, ClassVar

import trio

from runtime.core.child import ChildInfo, Life, Restart
from runtime.core.clock import Clock
from runtime.core.errors import UnhandledRequest
from runtime.core.mailbox import Reply
from runtime.core.message import Event, Request
from runtime.core.registry import Registry
from runtime.core.serving import serve


class ActorContext:
    """What an actor knows of its place in the tree. One per incarnation.

    Attributes:
      name: Its path in the tree.
      incarnation: 1 for the first.
      clock: Where time is read.
      rng: Where chance comes from.
      registry: The names of the tree.
      nursery: Tasks of this incarnation: they end with it, and a crash in one of them is a crash
        of the actor.
      info: Set in `on_start` to tell whoever starts the actor something, such as a port.
    """

    def __init__(self, life: Life, nursery: trio.Nursery) -> None:
        self.name = life.name
        self.incarnation = life.incarnation
        self.clock: Clock = life.around.clock
        self.rng: random.Random = life.around.rng
        self.registry: Registry = life.around.registry
        self.nursery = nursery
        self.info: object = None
        self._life = life

    @property
    def unanswered(self) -> int:
        """Return how many replies were taken and not answered yet."""
        return len(self._life.owed.taken)

    def take_reply(self) -> Reply:
        """Take over answering the request in hand; what `handle_call` returns is then ignored.

        The answer may come from any task of this incarnation. If the actor ends before it came,
        the caller is told so.
        """
        reply = self._life.owed.take()
        if reply is None:
            raise RuntimeError(f"{self.name}: there is no request in hand to answer later")
        return reply

    def ready(self) -> None:
        """Say that answers are good from now on; see `Actor.ready_by_itself`."""
        self._life.ready()

    def not_ready(self) -> None:
        """Say that answers are not good at present, though the actor lives."""
        self._life.ready(is_ready=False)

    def stop(self) -> None:
        """End after the message in hand, because there is nothing more to do.

        A permanent actor is started again all the same; any other is not.
        """
        life = self._life
        life.will_return = life.restart is Restart.PERMANENT
        life.stopping = True
        if life.on_stop is not None:
            life.on_stop()


class Actor:
    """Base of all actors: override the callbacks that are needed.

    Error handling: a `DomainError` raised by `handle_call` is an answer. Any other error, in any
    callback or in a task of `context.nursery`, is a crash: callers whose requests are in hand get
    `ActorRestarted` at once, and the supervisor decides what happens next. `Shutdown` ends the
    actor for good; `Ignore`, raised by `on_start`, says that it is switched off.

    Attributes:
      context: Set before `on_start`.
      ready_by_itself: Whether it is ready as soon as it has started; if not, it says so itself,
        with `context.ready()`.
    """

    context: ActorContext
    ready_by_itself: ClassVar[bool] = True

    async def on_start(self) -> None:
        """Prepare; the next sibling starts when this returns."""

    async def on_stop(self) -> None:
        """Put things away; runs on a stop and after a crash, if `on_start` had returned."""

    async def handle_call(self, request: Request[Any]) -> object:
        """Return the answer to `request`."""
        raise UnhandledRequest(f"{self.context.name} has no handler for {type(request).__name__}")

    async def handle_cast(self, event: Event) -> None:
        """Take note of `event`."""
        raise UnhandledRequest(f"{self.context.name} has no handler for {type(event).__name__}")

    def statistics(self) -> object:
        """Return a frozen struct of figures about this actor."""
        return None

    def describe(self) -> tuple[ChildInfo, ...]:
        """Return nothing: an actor has no children in the tree."""
        return ()

    async def run(self, life: Life) -> None:
        """Live one incarnation; called by the supervisor only."""
        await serve(self, life, ActorContext)
