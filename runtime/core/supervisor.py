"""`Supervisor`: starts children in order, restarts those that crash, stops them in reverse order.

OTP's words with OTP's meanings. A supervisor is itself a child, so trees nest. It never shares its
children's fate by accident: each child runs in a shielded scope that only the supervisor cancels,
so a stop from outside still becomes an orderly stop, last child first, each within its time.
"""

from __future__ import annotations

import enum
import logging
from collections import deque
from collections.abc import Sequence

import trio

from runtime.core.backoff import Backoff, RestartIntensity, check_can_give_up
from runtime.core.child import (
    Child,
    ChildInfo,
    ChildSpec,
    ChildState,
    Life,
    Restart,
)
from runtime.core.crashes import crash_beside_cancellation, one_line, unwrap
from runtime.core.errors import (
    ActorNotFound,
    ActorRestarted,
    BadSpec,
    RestartIntensityExceeded,
    StartFailed,
)
from runtime.core.mailbox import Mailbox, OnCrash

_log = logging.getLogger("marketd.supervisor")


class Strategy(enum.Enum):
    """Who is restarted with a child that crashed."""

    ONE_FOR_ONE = "one_for_one"
    """Nobody else."""
    REST_FOR_ONE = "rest_for_one"
    """Those started after it."""
    ONE_FOR_ALL = "one_for_all"
    """All its siblings."""


class Exit(enum.Enum):
    """How a child ended."""

    NORMAL = "normal"
    CRASH = "crash"


# (restart kind, how it ended) -> whether it is started again.
RESTARTS: dict[tuple[Restart, Exit], bool] = {
    (Restart.PERMANENT, Exit.NORMAL): True,
    (Restart.PERMANENT, Exit.CRASH): True,
    (Restart.TRANSIENT, Exit.NORMAL): False,
    (Restart.TRANSIENT, Exit.CRASH): True,
    (Restart.TEMPORARY, Exit.NORMAL): False,
    (Restart.TEMPORARY, Exit.CRASH): False,
}


class _Slot:
    """A child's place in its supervisor, from one life to the next."""

    def __init__(self, spec: ChildSpec, name: str) -> None:
        self.spec = spec
        self.mailbox = Mailbox(name, spec.mailbox)
        self.state = ChildState.STOPPED
        self.child: Child | None = None
        self.life: Life | None = None
        self.incarnation = 0
        self.in_a_row = 0
        self.last_crash = ""
        self.restart_due_s: float | None = None
        # Ended, and by its restart kind not to be started again.
        self.done = False


class Supervisor:
    """Keeps its children alive.

    Args:
      children: In the order of their start.
      strategy: Who is restarted with a child that crashed.
      intensity: When to give up; None for never.
      backoff: How long to wait before a restart.

    Raises:
      BadSpec: Two children have one id, or the policy could never give up though it says it would.
    """

    def __init__(
        self,
        children: Sequence[ChildSpec],
        *,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        intensity: RestartIntensity | None = RestartIntensity(),  # noqa: B008 - frozen
        backoff: Backoff = Backoff(),  # noqa: B008 - frozen
    ) -> None:
        ids = [spec.id for spec in children]
        if len(set(ids)) < len(ids):
            raise BadSpec(f"children of one supervisor need different ids, were {ids}")
        check_can_give_up(intensity, backoff)
        self._specs = tuple(children)
        self._strategy = strategy
        self._intensity = intensity
        self._backoff = backoff
        self._slots: list[_Slot] = []

    # -------------------------------------------------------------- as a child

    async def run(self, life: Life) -> None:
        """Live one incarnation: start all, watch, stop all.

        Raises:
          StartFailed: A child did not start; those before it were stopped.
          RestartIntensityExceeded: Gave up; all children were stopped.
        """
        prefix = f"{life.name}." if life.name else ""
        self._life, self._around = life, life.around
        self._exits: deque[tuple[_Slot, Life]] = deque()
        self._restarts_s: deque[float] = deque()
        self._wake = trio.Event()
        self._slots = [_Slot(spec, prefix + spec.id) for spec in self._specs]
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                with trio.CancelScope() as loop:
                    life.on_stop = loop.cancel
                    for slot in self._slots:
                        life.around.registry.register(slot.mailbox)
                    for slot in self._slots:
                        await self._start(slot)
                    life.up()
                    await self._watch()
            finally:
                with trio.CancelScope(shield=True):
                    await self._stop(self._slots, for_good=True)

    def describe(self) -> tuple[ChildInfo, ...]:
        """Return what every child is doing, in start order, down to the leaves."""
        return tuple(self._describe(slot) for slot in self._slots)

    def kill(self, name: str) -> None:
        """End the child called `name` anywhere below, without asking, as if it had crashed.

        Raises:
          ActorNotFound: No such child is running here.
        """
        for slot in self._slots:
            if slot.mailbox.name == name and slot.life is not None and slot.life.is_up:
                slot.life.kill()
                return
            if name.startswith(slot.mailbox.name + ".") and isinstance(slot.child, Supervisor):
                slot.child.kill(name)
                return
        raise ActorNotFound(f"no child called {name!r} is running")

    # -------------------------------------------------------------- starting and stopping

    async def _start(self, slot: _Slot) -> None:
        slot.state = ChildState.STARTING
        slot.incarnation += 1
        life = slot.life = Life(
            name=slot.mailbox.name,
            incarnation=slot.incarnation,
            around=self._around,
            mailbox=slot.mailbox,
            started_s=self._around.clock.now_s(),
            will_return=slot.spec.restart is not Restart.TEMPORARY,
        )
        self._nursery.start_soon(self._live, slot, life)
        await life.settled.wait()
        if not life.is_up:
            reason = one_line(life.error) if life.error else "it ended before it was up"
            slot.state, slot.life, slot.last_crash = ChildState.STOPPED, None, reason
            raise StartFailed(f"{life.name} did not start: {reason}") from life.error
        slot.state = ChildState.RUNNING

    async def _live(self, slot: _Slot, life: Life) -> None:
        """Run one life of a child to its end, whatever end it is, and report it."""
        try:
            # Shielded: only the supervisor ends a child, and in its order. The scope keeps its own
            # cancellation; an error beside it in a group is still a crash.
            life.scope.shield = True
            with life.scope:
                slot.child = slot.spec.start()
                await slot.child.run(life)
        except Exception as error:  # noqa: BLE001 - a crash is whatever a child raises
            life.error = unwrap(error)
        except (trio.Cancelled, BaseExceptionGroup) as error:
            life.error = crash_beside_cancellation(error)
        finally:
            life.ended.set()
            life.settled.set()
            self._exits.append((slot, life))
            self._wake.set()

    async def _stop(self, slots: Sequence[_Slot], *, for_good: bool) -> None:
        for slot in reversed(slots):
            slot.restart_due_s = None
            if slot.life is not None and slot.life.ended.is_set():
                # It ended by itself, and nobody has taken note of it yet.
                self._note_end(slot, slot.life)
            elif slot.life is not None:
                await self._stop_one(slot, slot.life, for_good=for_good)
                slot.life = None
            slot.state = ChildState.STOPPED
            if for_good and self._life.will_return:
                slot.mailbox.fail_queued(
                    lambda: ActorRestarted("it is started again with its supervisor")
                )
            if for_good or slot.spec.restart is Restart.TEMPORARY:
                self._retire(slot)

    async def _stop_one(self, slot: _Slot, life: Life, *, for_good: bool) -> None:
        # Children of a supervisor that is itself started again come back with it.
        stays = self._life.will_return if for_good else slot.spec.restart is not Restart.TEMPORARY
        life.will_return = stays
        if slot.spec.shutdown_s > 0:
            life.request_stop()
            with trio.move_on_after(slot.spec.shutdown_s):
                await life.ended.wait()
        if not life.ended.is_set():
            if slot.spec.shutdown_s > 0:
                _log.warning(
                    "%s did not stop within %g s and is cancelled",
                    life.name,
                    slot.spec.shutdown_s,
                )
            life.kill()
            await life.ended.wait()
        if life.error is not None:
            slot.last_crash = one_line(life.error)
            _log.error("%s failed while stopping", life.name, exc_info=life.error)

    def _retire(self, slot: _Slot) -> None:
        """End a child's place for good: whoever waits is told at once."""
        slot.done = True
        slot.mailbox.close()
        self._around.registry.unregister(slot.mailbox)

    # -------------------------------------------------------------- watching and restarting

    async def _watch(self) -> None:
        while True:
            while self._exits:
                slot, life = self._exits.popleft()
                if slot.life is life:
                    await self._ended(slot, life)
            due = self._next_due()
            if due is not None and due[0] <= self._around.clock.now_s():
                await self._restart_group(due[1])
                continue
            self._wake = trio.Event()
            with trio.CancelScope() as wait:
                if due is not None:
                    wait.deadline = due[0]
                await self._wake.wait()

    async def _ended(self, slot: _Slot, life: Life) -> None:
        self._note_end(slot, life)
        if slot.done:
            return
        lived_s = self._around.clock.now_s() - life.started_s
        self._count_restart(slot, lived_s, life.error)
        await self._stop(self._taken_along(slot), for_good=False)
        self._schedule(slot)

    def _note_end(self, slot: _Slot, life: Life) -> None:
        """Take note of a life that ended by itself, and of whether another one follows."""
        crashed = life.error is not None or life.killed
        slot.state, slot.life = ChildState.STOPPED, None
        if crashed:
            slot.last_crash = one_line(life.error) if life.error else "killed"
            _log.error(
                "%s crashed in incarnation %d: %s",
                life.name,
                life.incarnation,
                slot.last_crash,
                exc_info=life.error,
            )
        if RESTARTS[slot.spec.restart, Exit.CRASH if crashed else Exit.NORMAL]:
            _crashed_with_queue(slot)
        else:
            self._retire(slot)

    def _count_restart(self, slot: _Slot, lived_s: float, error: Exception | None) -> None:
        if lived_s >= self._backoff.forgive_after_s:
            slot.in_a_row = 0
        slot.in_a_row += 1
        if self._intensity is None:
            return
        now_s = self._around.clock.now_s()
        self._restarts_s.append(now_s)
        while self._restarts_s[0] + self._intensity.within_s <= now_s:
            self._restarts_s.popleft()
        if len(self._restarts_s) > self._intensity.max_restarts:
            raise RestartIntensityExceeded(
                f"gave up after {len(self._restarts_s)} crashes within "
                f"{self._intensity.within_s:g} s; the last was {slot.mailbox.name}: "
                f"{slot.last_crash}"
            ) from error

    def _taken_along(self, slot: _Slot) -> list[_Slot]:
        """Return the others that are restarted together with `slot`, in start order."""
        match self._strategy:
            case Strategy.ONE_FOR_ONE:
                return []
            case Strategy.REST_FOR_ONE:
                return self._slots[self._slots.index(slot) + 1 :]
            case Strategy.ONE_FOR_ALL:
                return [other for other in self._slots if other is not slot]

    def _schedule(self, slot: _Slot) -> None:
        wait_s = self._backoff.wait_s(slot.in_a_row, self._around.rng)
        slot.state = ChildState.RESTARTING
        slot.restart_due_s = self._around.clock.now_s() + wait_s
        if wait_s > 0:
            _log.info("%s is started again in %.3g s", slot.mailbox.name, wait_s)

    def _next_due(self) -> tuple[float, _Slot] | None:
        waiting = [(s.restart_due_s, s) for s in self._slots if s.restart_due_s is not None]
        return min(waiting, key=lambda item: item[0], default=None)

    async def _restart_group(self, slot: _Slot) -> None:
        """Start `slot` and those stopped along with it; a failure counts as another crash."""
        group = [slot, *self._taken_along(slot)]
        for other in sorted(group, key=self._slots.index):
            if other.life is not None or other.done:
                continue
            other.restart_due_s = None
            try:
                await self._start(other)
            except StartFailed as error:
                _log.exception("%s could not be started again", other.mailbox.name)
                _crashed_with_queue(other)
                self._count_restart(other, 0.0, error)
                await self._stop(self._taken_along(other), for_good=False)
                self._schedule(other)
                return

    def _describe(self, slot: _Slot) -> ChildInfo:
        counts = slot.mailbox.counts
        running = slot.life is not None and slot.state is ChildState.RUNNING
        now_s = self._around.clock.now_s()
        return ChildInfo(
            name=slot.mailbox.name,
            state=slot.state.value,
            incarnation=slot.incarnation,
            uptime_s=now_s - slot.life.started_s if running and slot.life else 0.0,
            restarts=max(0, slot.incarnation - 1),
            last_crash=slot.last_crash,
            queued=counts.depth,
            queued_max=counts.depth_max,
            received=counts.received,
            refused=counts.refused,
            children=slot.child.describe() if running and slot.child else (),
        )


def _crashed_with_queue(slot: _Slot) -> None:
    """Give the queued messages of a crashed child the fate its mailbox declares."""
    if slot.mailbox.spec.on_crash is OnCrash.FAIL:
        name = slot.mailbox.name
        slot.mailbox.fail_queued(lambda: ActorRestarted(f"{name} ended before it answered"))
