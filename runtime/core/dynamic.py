"""`DynamicSupervisor`: children that come and go while it runs; Elixir's, with its meanings.

It starts with none. Children are addressed by the handle that `start_child` returned, are restarted
one for one, and are stopped all at once. One that has ended for good leaves nothing behind.
"""

from __future__ import annotations

from runtime.core.backoff import Backoff, RestartIntensity
from runtime.core.checks import is_whole
from runtime.core.child import ChildSpec, ChildState
from runtime.core.errors import BadSpec, ChildNotFound, StartFailed, TooManyChildren
from runtime.core.handle import ChildEntry, ChildHandle
from runtime.core.info import ChildCounts
from runtime.core.policy import AutoShutdown, Flags, Strategy, checked_flags, checked_spec
from runtime.core.reports import CrashLog
from runtime.core.slot import Slot
from runtime.core.steering import Steering
from runtime.core.supervisor import counts_of


class DynamicSupervisor(Steering):
    """Keeps any number of children alive that are started at run time.

    Args:
      max_children: The most there may be at a time.
      intensity: When to give up; None for never.
      backoff: How long to wait before a restart.
      crash_log: What is written about crashes.

    Raises:
      BadSpec: Something in this cannot work.
    """

    def __init__(
        self,
        *,
        max_children: int = 10_000,
        intensity: RestartIntensity | None = RestartIntensity(),  # noqa: B008 - frozen
        backoff: Backoff = Backoff(),  # noqa: B008 - frozen
        crash_log: CrashLog = CrashLog(),  # noqa: B008 - frozen
    ) -> None:
        super().__init__(Flags(intensity=intensity, backoff=backoff, crash_log=crash_log))
        self._max_children = _bound(max_children)
        self._serial = 0

    async def start_child(self, spec: ChildSpec) -> ChildHandle:
        """Start a child. Its id, and so its name, is the specification's with a number.

        Raises:
          TooManyChildren: There are `max_children` already.
          StartFailed: It did not come up; nothing of it is kept.
          BadSpec: It is significant, which means nothing here.
          SupervisorDown: The supervisor is not running, or ended meanwhile.
        """
        return await self._ask(lambda: self._add(spec))

    async def terminate_child(self, handle: ChildHandle) -> None:
        """Stop a child, or its restarting, and forget it.

        Raises:
          ChildNotFound: It is no child of this supervisor, or has ended.
          SupervisorDown: As for `start_child`.
        """
        await self._ask(lambda: self._terminate(self._slot(handle)))

    async def which_children(self) -> tuple[ChildEntry, ...]:
        """Return all children, oldest first, with their handles."""

        async def list_them() -> tuple[ChildEntry, ...]:
            return tuple(map(_entry, self._slots.values()))

        return await self._ask(list_them)

    async def which_child(self, handle: ChildHandle) -> ChildEntry:
        """Return one child.

        Raises:
          ChildNotFound: It is no child of this supervisor, or has ended.
        """

        async def list_it() -> ChildEntry:
            return _entry(self._slot(handle))

        return await self._ask(list_it)

    async def get_child_spec(self, handle: ChildHandle) -> ChildSpec:
        """Return a child's specification; a temporary one's has forgotten how it was started.

        Raises:
          ChildNotFound: It is no child of this supervisor, or has ended.
        """

        async def get() -> ChildSpec:
            return self._slot(handle).spec

        return await self._ask(get)

    async def count_children(self) -> ChildCounts:
        """Return how many children there are, and of what kind."""

        async def count() -> ChildCounts:
            return counts_of(self._slots.values())

        return await self._ask(count)

    async def change(self, *, flags: Flags | None = None, max_children: int | None = None) -> None:
        """Go by other flags or another bound from now on; children beyond it stay.

        Raises:
          BadSpec: Something in this cannot work; everything stays as it was.
          SupervisorDown: The supervisor is not running, or ended meanwhile.
        """

        async def change() -> None:
            new_flags = self._flags if flags is None else checked_flags(flags)
            bound = self._max_children if max_children is None else _bound(max_children)
            plain = new_flags.strategy is Strategy.ONE_FOR_ONE
            if not (plain and new_flags.auto_shutdown is AutoShutdown.NEVER):
                raise BadSpec("a dynamic supervisor is one_for_one and never shuts down by itself")
            self._go_by(new_flags)
            self._max_children = bound

        await self._ask(change)

    # -------------------------------------------------------------- inside

    async def _add(self, spec: ChildSpec) -> ChildHandle:
        if checked_spec(spec).significant:
            raise BadSpec(f"child {spec.id}: nothing is significant under a dynamic supervisor")
        if len(self._slots) >= self._max_children:
            raise TooManyChildren(f"there are {len(self._slots)} children, the most allowed")
        self._serial += 1
        child_id = f"{spec.id}-{self._serial}"
        registry = self._around.registry
        slot = Slot(spec, registry.open(self._prefix + child_id, spec.mailbox))
        self._slots[child_id] = slot
        try:
            runs = await self._start(slot)
        except StartFailed:
            self._forget(slot)
            raise
        info = slot.life.info if slot.life is not None else None
        ref = registry.ref(slot.name)
        slot.handle = ChildHandle(child_id, slot.name, ref, info, runs)
        if not runs:
            self._forget(slot)
        return slot.handle

    def _slot(self, handle: object) -> Slot:
        # Anything else than a handle, such as an id, addresses nobody here.
        slot = self._slots.get(handle.id) if isinstance(handle, ChildHandle) else None
        if slot is None or slot.handle is not handle:
            raise ChildNotFound(f"{handle!r} is no child of this supervisor")
        return slot

    async def _terminate(self, slot: Slot) -> None:
        await self._end_one(slot, returns=False)
        self._forget(slot)

    async def _stop_all(self) -> None:
        slots = list(self._slots.values())
        await self._end_together(slots, returns=False)
        for slot in slots:
            await self._end_one(slot, returns=False)
            self._forget(slot)

    async def _restart(self, slot: Slot) -> None:
        try:
            if not await self._start(slot):
                self._forget(slot)
        except StartFailed as error:
            await self._failed(slot, None, error)

    def _ended_for_good(self, slot: Slot) -> None:
        self._forget(slot)

    def _ignored(self, slot: Slot) -> None:
        self._forget(slot)

    def _forget(self, slot: Slot) -> None:
        slot.state = ChildState.STOPPED
        self._slots.pop(slot.name.removeprefix(self._prefix), None)
        for mailbox in (slot.mailbox, *slot.orphans):
            self._around.registry.bury(mailbox)
        self._unready.discard(slot)
        self._tell_ready()


def _bound(max_children: int) -> int:
    if not is_whole(max_children, 1):
        raise BadSpec(f"max_children must be a whole number of at least 1, was {max_children!r}")
    return max_children


def _entry(slot: Slot) -> ChildEntry:
    child_id = slot.handle.id if slot.handle is not None else slot.name
    return ChildEntry(child_id, slot.name, slot.state.value, slot.is_supervisor, slot.handle)
