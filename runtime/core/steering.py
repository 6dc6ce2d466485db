"""`Steering`: a tree and its actors by name, from anywhere above them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import trio

from runtime.core.child import ChildInfo, ChildState, Restart
from runtime.core.control import ActorControl
from runtime.core.errors import ActorNotFound, BadSpec, StartFailed, SupervisorDown
from runtime.core.info import CrashReport
from runtime.core.keeper import Keeper, fail_queue_of_crashed
from runtime.core.loop import Due
from runtime.core.policy import Flags
from runtime.core.slot import Slot
from runtime.core.trace import Noted

S = TypeVar("S", bound="Steering")


class Steering(Keeper):
    """What both kinds of supervisor offer to whoever holds one, for everything below it.

    Names are paths in the tree, as in `ActorRef.name`. None of this waits for an actor: it works
    while a mailbox is full and while a handler hangs.
    """

    def __init__(self, flags: Flags) -> None:
        super().__init__(flags)
        self._readiness = trio.Event()

    def actor(self, name: str) -> ActorControl:
        """Return the control lane of the actor called `name`; looked up at each use."""
        return ActorControl(self, name)

    def supervisor(self, name: str, kind: type[S]) -> S:
        """Return the supervisor called `name`, to ask it for operations; good for its present life.

        Args:
          name: Its path in the tree.
          kind: `Supervisor` or `DynamicSupervisor`.

        Raises:
          ActorNotFound: No supervisor of that kind is running there.
        """
        child = self.place(name).child
        if not isinstance(child, kind):
            raise ActorNotFound(f"no {kind.__name__} called {name!r} is running")
        return child

    def place(self, name: str) -> Slot:
        """Return the place of the child called `name`, anywhere below; for the control lane.

        Raises:
          ActorNotFound: There is no such child here.
        """
        found = self._step(name)
        return found.place(name) if isinstance(found, Steering) else found

    def info(self, name: str) -> ChildInfo:
        """Return what the child called `name` is doing.

        Raises:
          ActorNotFound: There is no such child here.
        """
        return self.place(name).describe(self._around.clock)

    def kill(self, name: str) -> None:
        """End the child called `name` anywhere below, without asking, as if it had crashed.

        Raises:
          ActorNotFound: No such child is running here.
        """
        found = self._step(name)
        if isinstance(found, Steering):
            found.kill(name)
        elif found.life is not None and found.life.is_up:
            self._limits.kill(found, found.life)
        else:
            raise _nobody(name)

    async def restart(self, name: str) -> None:
        """Stop and start the child called `name`, in order; that is no crash and counts as none.

        Its queue is kept. Its siblings are left alone, whatever the strategy.

        Raises:
          ActorNotFound: There is no such child here.
          BadSpec: It is temporary, and how to start it is not known any more.
          StartFailed: It did not come up again; from here on that is a crash like any other.
          SupervisorDown: The supervisor ended before that was done.
        """
        found = self._step(name)
        if isinstance(found, Steering):
            await found.restart(name)
        else:
            await self._ask(lambda: self._renew(found))

    async def terminate(self, name: str) -> None:
        """Stop the child called `name`, anywhere below, as its own supervisor's terminate_child.

        Raises:
          ActorNotFound: There is no such child here.
          SupervisorDown: The supervisor ended before that was done.
        """
        found = self._step(name)
        if isinstance(found, Steering):
            await found.terminate(name)
        else:
            await self._ask(lambda: self._terminate(self._still_here(found)))

    async def wait_ready(self) -> None:
        """Return once everything below is ready.

        Raises:
          SupervisorDown: It ended, or is not running.
        """
        while not self.is_ready:
            if not self._is_open:
                raise SupervisorDown("the supervisor is not running")
            self._readiness = self._readiness if not self._readiness.is_set() else trio.Event()
            await self._readiness.wait()

    @property
    def abandoned(self) -> tuple[str, ...]:
        """Return the names of children of this tree that were left behind and still live."""
        return tuple(sorted(self._left))

    def all_crash_reports(self) -> tuple[CrashReport, ...]:
        """Return the last crashes here and below, oldest first; bounded for each supervisor."""
        found = list(self.crash_reports)
        for slot in self._slots.values():
            if isinstance(slot.child, Steering):
                found += slot.child.all_crash_reports()
        return tuple(sorted(found, key=lambda report: report.utc_ms))

    def last_events(self, count_max: int | None = None) -> tuple[Noted, ...]:
        """Return the last events of the tree here and below, oldest first."""
        if self._ring is None:
            return ()
        return self._ring.last(count_max, below=self._life.name or None)

    # -------------------------------------------------------------- inside

    def _step(self, name: str) -> Slot | Steering:
        """Return the place of a child of this supervisor, or the next supervisor on the way."""
        if self._is_open:
            child_id, below, _ = name.removeprefix(self._prefix).partition(".")
            slot = self._slots.get(child_id)
            if slot is not None and slot.name == name:
                return slot
            if below and slot is not None and isinstance(slot.child, Steering):
                return slot.child
        raise _nobody(name)

    def _still_here(self, slot: Slot) -> Slot:
        if self._slots.get(slot.name.removeprefix(self._prefix)) is not slot:
            raise _nobody(slot.name)
        return slot

    async def _renew(self, slot: Slot) -> None:
        self._still_here(slot)
        if slot.spec.restart is Restart.TEMPORARY:
            raise BadSpec(f"{slot.name} is temporary, so how it is started was not kept")
        await self._end_one(slot, returns=True)
        try:
            runs = await self._start(slot)
        except StartFailed as error:
            await self._failed(slot, None, error)
            raise
        if not runs:
            self._ignored(slot)

    async def _end_one(self, slot: Slot, *, returns: bool) -> None:
        """Stop one child, whatever it is doing; `returns` says whether another life follows."""
        self._timers.cancel((Due.RESTART, slot))
        life = slot.life
        if life is not None and not life.ended.is_set():
            life.will_return = returns
            await self._endings.end([(slot, life)])
            self._over(slot, life)
        elif life is not None:
            # It ended by itself, and nobody has taken note of it yet.
            then = "it is started again with its siblings" if returns else "it was to be stopped"
            self._take_off(slot, life)
            self._note_fatal(life)
            self._report(slot, life, life.error, then)
            if returns:
                fail_queue_of_crashed(slot)
        slot.state = ChildState.STOPPED

    async def _end_together(self, slots: Iterable[Slot], *, returns: bool) -> None:
        """Stop children side by side, each within its own time."""
        lives = [(slot, slot.life) for slot in slots if slot.life is not None]
        alive = [(slot, life) for slot, life in lives if not life.ended.is_set()]
        for _, life in alive:
            life.will_return = returns
        await self._endings.end(alive, brutal=self._life.killed)
        for slot, life in alive:
            self._over(slot, life)

    async def _terminate(self, slot: Slot) -> None:
        """Stop a child for good, because somebody asked for it."""
        raise NotImplementedError

    def _ignored(self, slot: Slot) -> None:
        """Deal with a child that did not want to be started."""
        raise NotImplementedError

    def _tell_ready(self) -> None:
        super()._tell_ready()
        if self.is_ready or not self._is_open:
            self._readiness.set()


def _nobody(name: str) -> ActorNotFound:
    return ActorNotFound(f"no child called {name!r} is running")
