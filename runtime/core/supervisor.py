"""`Supervisor`: starts children in order, restarts those that crash, stops them in reverse order.

OTP's words with OTP's meanings. A supervisor is itself a child, so trees nest. It never shares its
children's fate by accident: each child runs in a shielded scope that only the supervisor cancels,
so a stop from outside still becomes an orderly stop, last child first, each within its time.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence

from runtime.core.backoff import Backoff, RestartIntensity
from runtime.core.child import ChildSpec, ChildState, Exit, Restart
from runtime.core.errors import (
    AlreadyPresent,
    AlreadyStarted,
    BadSpec,
    ChildNotFound,
    Restarting,
    Shutdown,
    StartFailed,
    StillRunning,
)
from runtime.core.handle import ChildEntry, ChildHandle
from runtime.core.info import ChildCounts
from runtime.core.mailbox import Mailbox
from runtime.core.policy import (
    RESTARTS,
    AutoShutdown,
    Flags,
    Strategy,
    checked_flags,
    checked_spec,
)
from runtime.core.reports import CrashLog
from runtime.core.slot import Slot
from runtime.core.steering import Steering

__all__ = ["RESTARTS", "AutoShutdown", "Exit", "Flags", "Strategy", "Supervisor"]


class Supervisor(Steering):
    """Keeps its children alive.

    Args:
      children: In the order of their start.
      strategy: Who is restarted with a child that crashed.
      intensity: When to give up; None for never.
      backoff: How long to wait before a restart.
      auto_shutdown: Whether it ends itself when significant children have ended.
      crash_log: What is written about crashes.

    Raises:
      BadSpec: Something in this cannot work: two children have one id, one is significant where
        that means nothing, or the policy could never give up though it says it would.
    """

    def __init__(
        self,
        children: Sequence[ChildSpec],
        *,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        intensity: RestartIntensity | None = RestartIntensity(),  # noqa: B008 - frozen
        backoff: Backoff = Backoff(),  # noqa: B008 - frozen
        auto_shutdown: AutoShutdown = AutoShutdown.NEVER,
        crash_log: CrashLog = CrashLog(),  # noqa: B008 - frozen
    ) -> None:
        super().__init__(Flags(strategy, intensity, backoff, auto_shutdown, crash_log))
        self._specs = _checked(children, self._flags)
        # Significant children that may be alive, by age; dead ones are found out when it matters.
        self._significant: OrderedDict[Slot, None] = OrderedDict()

    # -------------------------------------------------------------- at run time

    async def start_child(self, spec: ChildSpec) -> ChildHandle:
        """Add a child at the end and start it.

        Raises:
          AlreadyStarted: A child of that id is running, or somebody else has its name.
          AlreadyPresent: One is there, though not running: restart or delete it.
          Restarting: One is there, between a crash and its next start.
          StartFailed: It did not come up; nothing of it is kept.
          BadSpec: It is significant, and this supervisor never shuts down by itself.
          SupervisorDown: The supervisor is not running, or ended meanwhile.
        """
        return await self._ask(lambda: self._add(spec))

    async def terminate_child(self, child_id: str) -> None:
        """Stop a child, or its restarting; it keeps its place, unless it is temporary.

        Stopping one that is not running is no error.

        Raises:
          ChildNotFound: There is no such child.
          SupervisorDown: As for `start_child`.
        """
        await self._ask(lambda: self._terminate(self._slot(child_id)))

    async def restart_child(self, child_id: str) -> ChildHandle:
        """Start a child that is not running.

        Raises:
          ChildNotFound: There is no such child.
          StillRunning: It is running.
          Restarting: It is between a crash and its next start.
          StartFailed: It did not come up; its place is kept.
          SupervisorDown: As for `start_child`.
        """
        return await self._ask(lambda: self._start_again(self._idle(child_id)))

    async def delete_child(self, child_id: str) -> None:
        """Forget a child that is not running.

        Raises:
          ChildNotFound, StillRunning, Restarting, SupervisorDown: As for `restart_child`.
        """

        async def delete() -> None:
            slot = self._idle(child_id)
            self._give_up(slot)
            del self._slots[child_id]

        await self._ask(delete)

    async def which_children(self) -> tuple[ChildEntry, ...]:
        """Return all children in start order, as of when it is their turn to be listed."""

        async def list_them() -> tuple[ChildEntry, ...]:
            return tuple(map(_entry, self._slots.items()))

        return await self._ask(list_them)

    async def which_child(self, child_id: str) -> ChildEntry:
        """Return one child.

        Raises:
          ChildNotFound: There is no such child.
        """

        async def list_it() -> ChildEntry:
            return _entry((child_id, self._slot(child_id)))

        return await self._ask(list_it)

    async def get_child_spec(self, child_id: str) -> ChildSpec:
        """Return the specification that the child's next life follows.

        A temporary child's has forgotten how it was started.

        Raises:
          ChildNotFound: There is no such child.
        """

        async def get() -> ChildSpec:
            return self._slot(child_id).spec

        return await self._ask(get)

    async def count_children(self) -> ChildCounts:
        """Return how many children there are, and of what kind."""

        async def count() -> ChildCounts:
            return counts_of(self._slots.values())

        return await self._ask(count)

    async def change(
        self, *, flags: Flags | None = None, children: Sequence[ChildSpec] | None = None
    ) -> None:
        """Go by other flags and specifications from now on; OTP's code change.

        Children that run keep running, and follow their new specification from their next life
        on. Added ones are not started (`restart_child` does that), missing ones keep their place
        and their old specification, after the others. The order is the new one.

        Args:
          flags: In place of the present ones; `dataclasses.replace(supervisor.flags, …)`.
          children: In place of the present specifications.

        Raises:
          BadSpec: Something in this cannot work; everything stays as it was.
          SupervisorDown: The supervisor is not running, or ended meanwhile.
        """

        async def change() -> None:
            new_flags = self._flags if flags is None else checked_flags(flags)
            present = [slot.spec for slot in self._slots.values()]
            specs = _checked(present if children is None else children, new_flags)
            self._go_by(new_flags)
            if children is not None:
                self._follow(specs)

        await self._ask(change)

    # -------------------------------------------------------------- the operations, inside

    async def _add(self, spec: ChildSpec) -> ChildHandle:
        _checked([spec], self._flags)
        slot = self._slots.get(spec.id)
        if slot is not None:
            self._refuse_second(slot)
        name = self._prefix + spec.id
        try:
            mailbox = self._around.registry.open(name, spec.mailbox)
        except BadSpec as error:
            raise AlreadyStarted(
                f"{name} runs already, outside of this supervisor", name
            ) from error
        slot = self._slots[spec.id] = Slot(spec, mailbox)
        try:
            return await self._start_again(slot)
        except StartFailed:
            self._slots.pop(spec.id, None)
            raise

    def _refuse_second(self, slot: Slot) -> None:
        if slot.state is ChildState.RESTARTING:
            raise Restarting(f"{slot.name} is restarting")
        if slot.life is None:
            raise AlreadyPresent(f"{slot.name} is there, though not running")
        raise AlreadyStarted(f"{slot.name} runs already", slot.name)

    async def _start_again(self, slot: Slot) -> ChildHandle:
        try:
            runs = await self._start(slot)
        except StartFailed:
            self._give_up(slot)
            raise
        info = slot.life.info if slot.life is not None else None
        if not runs:
            self._ignored(slot)
        ref = self._around.registry.ref(slot.name)
        return ChildHandle(slot.spec.id, slot.name, ref, info, runs)

    async def _terminate(self, slot: Slot) -> None:
        await self._end_one(slot, returns=False)
        slot.in_a_row = 0
        self._lay_down(slot)

    def _slot(self, child_id: str) -> Slot:
        try:
            return self._slots[child_id]
        except KeyError:
            raise ChildNotFound(f"there is no child {child_id!r}") from None

    def _idle(self, child_id: str) -> Slot:
        slot = self._slot(child_id)
        if slot.state is ChildState.RESTARTING:
            raise Restarting(f"{slot.name} is restarting")
        if slot.life is not None:
            raise StillRunning(f"{slot.name} is running")
        return slot

    def _follow(self, specs: Sequence[ChildSpec]) -> None:
        """Take over specifications that were checked."""
        old, self._slots, self._specs = self._slots, {}, tuple(specs)
        for spec in specs:
            slot = old.pop(spec.id, None)
            if slot is None:
                mailbox = Mailbox(self._prefix + spec.id, spec.mailbox)
                mailbox.close()
                slot = Slot(spec, mailbox)
            runs_for_once = slot.life is not None and spec.restart is Restart.TEMPORARY
            slot.spec = spec.without_start() if runs_for_once else spec
            self._slots[spec.id] = slot
        self._slots |= old
        self._significant = OrderedDict.fromkeys(
            slot for slot in self._slots.values() if slot.spec.significant
        )

    # -------------------------------------------------------------- what makes it this kind

    async def _start_all(self) -> None:
        self._significant.clear()
        for spec in self._specs:
            mailbox = self._around.registry.open(self._prefix + spec.id, spec.mailbox)
            self._slots[spec.id] = Slot(spec, mailbox)
        for slot in list(self._slots.values()):
            if not await self._start(slot):
                self._ignored(slot)

    async def _stop_all(self) -> None:
        slots = list(reversed(self._slots.values()))
        if self._life.killed:
            # Killed without asking: so are they, all at once.
            await self._end_together(slots, returns=self._life.will_return)
        for slot in slots:
            await self._end_one(slot, returns=self._life.will_return)
            self._give_up(slot)

    def _along(self, slot: Slot) -> list[Slot]:
        """Return the others that are restarted together with `slot`, in reverse start order."""
        along: list[Slot] = []
        if self._flags.strategy is Strategy.ONE_FOR_ONE:
            return along
        for other in reversed(self._slots.values()):
            if other is not slot:
                along.append(other)
            elif self._flags.strategy is Strategy.REST_FOR_ONE:
                break
        return along

    async def _stop_group(self, slot: Slot) -> None:
        for other in self._along(slot):
            is_temporary = other.spec.restart is Restart.TEMPORARY
            await self._end_one(other, returns=not is_temporary)
            if is_temporary:
                self._lay_down(other)

    async def _restart(self, slot: Slot) -> None:
        # Somebody may have been started since the group was stopped.
        await self._stop_group(slot)
        for other in self._in_start_order(slot):
            try:
                if not await self._start(other):
                    self._ignored(other)
            except StartFailed as error:
                await self._failed(other, None, error)
                return

    def _in_start_order(self, slot: Slot) -> list[Slot]:
        if self._flags.strategy is Strategy.ONE_FOR_ALL:
            return list(self._slots.values())
        return [slot, *reversed(self._along(slot))]

    def _after_start(self, slot: Slot) -> None:
        super()._after_start(slot)
        if slot.spec.significant:
            self._significant[slot] = None

    def _ended_for_good(self, slot: Slot) -> None:
        self._lay_down(slot)
        mode = self._flags.auto_shutdown
        if not slot.spec.significant or mode is AutoShutdown.NEVER:
            return
        if mode is AutoShutdown.ALL_SIGNIFICANT and self._has_significant():
            return
        raise Shutdown(f"{slot.name} was significant and has ended")

    def _has_significant(self) -> bool:
        while self._significant:
            slot = next(iter(self._significant))
            if slot.life is not None or slot.state is ChildState.RESTARTING:
                return True
            del self._significant[slot]
        return False

    def _ignored(self, slot: Slot) -> None:
        self._lay_down(slot)

    def _lay_down(self, slot: Slot) -> None:
        """Let a child rest: in its place, or without one if it is temporary."""
        self._give_up(slot)
        self._tell_ready()
        if slot.spec.restart is Restart.TEMPORARY:
            del self._slots[slot.spec.id]


def _checked(given: object, flags: Flags) -> tuple[ChildSpec, ...]:
    if not isinstance(given, Iterable) or isinstance(given, type):
        raise BadSpec(f"children must be given as ChildSpecs, were {given!r}")
    children = tuple(given)
    for spec in children:
        if checked_spec(spec).significant and flags.auto_shutdown is AutoShutdown.NEVER:
            raise BadSpec(
                f"child {spec.id} is significant, but auto_shutdown of its supervisor is never"
            )
    ids = [spec.id for spec in children]
    if len(set(ids)) < len(ids):
        twice = [child_id for child_id, count in Counter(ids).items() if count > 1]
        raise BadSpec(f"children of one supervisor need different ids, were {ids}: {twice}")
    return children


def _entry(item: tuple[str, Slot]) -> ChildEntry:
    child_id, slot = item
    return ChildEntry(child_id, slot.name, slot.state.value, slot.is_supervisor, slot.handle)


def counts_of(slots: Iterable[Slot]) -> ChildCounts:
    """Return how many children there are in `slots`, and of what kind."""
    everyone = list(slots)
    supervisors = sum(slot.is_supervisor for slot in everyone)
    return ChildCounts(
        specs=len(everyone),
        active=sum(slot.life is not None for slot in everyone),
        supervisors=supervisors,
        workers=len(everyone) - supervisors,
    )
