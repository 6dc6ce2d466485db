"""`ActorControl`: the lane beside the mailbox, answered whatever the actor is doing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from runtime.core.actor import Actor
from runtime.core.child import ChildInfo, Life
from runtime.core.errors import ActorNotFound
from runtime.core.slot import Slot
from runtime.core.trace import Happening, Noted, Tracer, log_event

if TYPE_CHECKING:
    from runtime.core.steering import Steering


class StateView(msgspec.Struct, frozen=True, kw_only=True):
    """What may be shown of an actor's state.

    Attributes:
      name: Its path in the tree.
      type: Name of its class.
      incarnation: Which life this is.
      unanswered: Requests it has taken on and not answered yet.
      statistics: Its figures as plain data; of what is no plain data, only the type's name.
    """

    name: str
    type: str
    incarnation: int
    unanswered: int
    statistics: object


class ActorControl:
    """The control lane of one actor. Nothing here goes through the mailbox.

    Errors: each of these raises `ActorNotFound` if no such actor is running.

    Attributes:
      name: Its path in the tree.
    """

    def __init__(self, tree: Steering, name: str) -> None:
        self.name = name
        self._tree = tree

    def state(self) -> ChildInfo:
        """Return what it is doing, running or not."""
        return self._tree.info(self.name)

    def statistics(self) -> object:
        """Return the actor's own figures."""
        return self._actor().statistics()

    def get_state(self) -> StateView:
        """Return what may be shown of its state: its figures as plain data, never a repr."""
        actor = self._actor()
        return StateView(
            name=self.name,
            type=type(actor).__name__,
            incarnation=actor.context.incarnation,
            unanswered=actor.context.unanswered,
            statistics=msgspec.to_builtins(actor.statistics(), enc_hook=_type_only),
        )

    def suspend(self) -> None:
        """Let it finish the message in hand and then leave its mailbox alone.

        Tasks of its own go on. A new incarnation is not suspended.
        """
        life = self._life()
        if life.reader is not None and not life.reader.held:
            life.reader.hold()
            life.around.ring.note(self.name, Happening.SUSPENDED)

    def resume(self) -> None:
        """Let it read its mailbox again."""
        life = self._life()
        if life.reader is not None and life.reader.held:
            life.reader.release()
            life.around.ring.note(self.name, Happening.RESUMED)

    async def stop(self) -> None:
        """Stop it for good; it keeps its place, unless it is temporary or dynamic."""
        await self._tree.terminate(self.name)

    async def restart(self) -> None:
        """Stop and start it; see `Supervisor.restart`."""
        await self._tree.restart(self.name)

    def kill(self) -> None:
        """End it without asking, as if it had crashed."""
        self._tree.kill(self.name)

    def trace(
        self,
        emit: Callable[[Noted], None] = log_event,
        *,
        events_max: int = 100,
        for_s: float = 10.0,
    ) -> Tracer:
        """Tell `emit` of the actor's messages, by type, until a limit is met.

        Args:
          emit: Receives each event; must not block.
          events_max: The trace ends after so many events.
          for_s: And after so long, in seconds.
        """
        slot = self._slot()
        life = self._life()
        if slot.tracer is None:
            slot.tracer = Tracer(self.name, clock=life.around.clock)
        life.tracer = slot.tracer
        slot.mailbox.tracer = slot.tracer
        slot.tracer.start(emit, events_max=events_max, for_s=for_s)
        return slot.tracer

    def _slot(self) -> Slot:
        return self._tree.place(self.name)

    def _life(self) -> Life:
        life = self._slot().life
        if life is None or not life.is_up:
            raise ActorNotFound(f"no actor called {self.name!r} is running")
        return life

    def _actor(self) -> Actor:
        self._life()
        actor = self._slot().child
        if not isinstance(actor, Actor):
            raise ActorNotFound(f"{self.name!r} is no actor")
        return actor


def _type_only(value: object) -> str:
    return type(value).__name__
