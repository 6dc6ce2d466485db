"""`Actor`: state that one task owns, reached by messages, one at a time.

An actor is worth having only where there is state to own, concurrency to order or failure to
contain; everything else is a plain function.
"""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING, Any

import trio

from runtime.core.child import ChildInfo, Life
from runtime.core.clock import Clock
from runtime.core.errors import (
    ActorDown,
    ActorError,
    ActorRestarted,
    CallTimeout,
    DomainError,
    UnhandledRequest,
)
from runtime.core.mailbox import Envelope, Reply
from runtime.core.message import Event, Request
from runtime.core.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger("marketd.actor")

_PUT_AWAY_S = 5.0


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
    """

    def __init__(self, life: Life, nursery: trio.Nursery) -> None:
        self.name = life.name
        self.incarnation = life.incarnation
        self.clock: Clock = life.around.clock
        self.rng: random.Random = life.around.rng
        self.registry: Registry = life.around.registry
        self.nursery = nursery
        self._in_hand: Reply | None = None
        self._taken: set[Reply] = set()

    @property
    def unanswered(self) -> int:
        """Return how many replies were taken and not answered yet."""
        return len(self._taken)

    def take_reply(self) -> Reply:
        """Take over answering the request in hand; what `handle_call` returns is then ignored.

        The answer may come from any task of this incarnation. If the actor ends before it came,
        the caller is told so.
        """
        reply = self._in_hand
        if reply is None:
            raise RuntimeError(f"{self.name}: there is no request in hand to answer later")
        self._in_hand = None
        self._taken.add(reply)
        reply._forget = self._taken.discard  # noqa: SLF001 - the other half of this agreement
        return reply


class Actor:
    """Base of all actors: override the callbacks that are needed.

    Error handling: a `DomainError` raised by `handle_call` is an answer. Any other error, in any
    callback or in a task of `context.nursery`, is a crash: callers whose requests are in hand get
    `ActorRestarted` at once, and the supervisor decides what happens next.

    Attributes:
      context: Set before `on_start`.
    """

    context: ActorContext

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
        try:
            async with trio.open_nursery() as nursery:
                self.context = ActorContext(life, nursery)
                await self.on_start()
                life.up()
                try:
                    await self._serve(life)
                finally:
                    # At once, not when the last task has ended: callers must not wait for that.
                    _fail_unanswered(self.context, life)
                nursery.cancel_scope.cancel()
            if not life.stopping:
                # The nursery, cancelled by what came out of a handler, has swallowed it.
                raise RuntimeError(f"{life.name} raised a cancellation that was not its own")
        finally:
            if life.is_up:
                await _put_away(self, life)

    async def _serve(self, life: Life) -> None:
        mailbox, context = life.mailbox, self.context
        busy = False
        envelope: Envelope | None = None

        with trio.CancelScope() as idle:

            def stop_when_idle() -> None:
                if not busy:
                    idle.cancel()

            life.on_stop = stop_when_idle
            while not life.stopping:
                envelope = await mailbox.get()
                busy, context._in_hand = True, envelope.reply  # noqa: SLF001
                if idle.cancel_called:
                    break
                await self._handle(envelope)
                busy, context._in_hand, envelope = False, None, None  # noqa: SLF001
        if envelope is not None:
            # Handed over in the very moment of the stop: in hand, so it is finished, but outside
            # of the scope that the stop has cancelled.
            await self._handle(envelope)
            context._in_hand = None  # noqa: SLF001

    async def _handle(self, envelope: Envelope) -> None:
        message, reply = envelope.message, envelope.reply
        if reply is None:
            try:
                await self.handle_cast(message)  # type: ignore[arg-type]
            except (DomainError, UnhandledRequest) as error:
                kind = type(message).__name__
                _log.warning("%s: %s had no effect: %s", self.context.name, kind, error)
            return
        if reply.abandoned or reply.deadline_s <= trio.current_time():
            # Nobody waits any more; the work would be for nothing.
            reply.fail(CallTimeout(f"{self.context.name} came to it after the deadline"))
            return
        try:
            answer = await self.handle_call(message)  # type: ignore[arg-type]
        except (DomainError, UnhandledRequest) as error:
            reply.fail(error)
            return
        if self.context._in_hand is reply:  # noqa: SLF001 - not taken
            reply.send(answer)


async def _put_away(actor: Actor, life: Life) -> None:
    """Run `on_stop`: within `shutdown_s` if the actor was asked to stop, else within 5 s."""
    if life.stopping and not life.killed:
        await actor.on_stop()
        return
    # After a crash nobody counts the time; after a kill this life is cancelled already.
    with trio.CancelScope(shield=True, deadline=trio.current_time() + _PUT_AWAY_S) as scope:
        await actor.on_stop()
    if scope.cancelled_caught:
        _log.error("%s: on_stop did not end within %g s", actor.context.name, _PUT_AWAY_S)


def _fail_unanswered(context: ActorContext, life: Life) -> None:
    error: Callable[[str], ActorError] = ActorRestarted if life.will_return else ActorDown
    unanswered = list(context._taken)  # noqa: SLF001
    if context._in_hand is not None:  # noqa: SLF001
        unanswered.append(context._in_hand)  # noqa: SLF001
    for reply in unanswered:
        reply.fail(error(f"{life.name} ended before it answered"))
