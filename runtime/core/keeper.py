"""`Keeper`: what both kinds of supervisor are made of. One task, one loop, one thing at a time.

Everything that happens to a supervisor goes through its inbox and its timers, and is dealt with
by its own task, in order: children that ended, operations that were asked for, restarts that are
due. So no two of them ever meet half-way.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TypeAlias, TypeVar

import trio

from runtime.core.child import ChildInfo, ChildState, Directive, Exit, Life, Restart
from runtime.core.crashes import one_line
from runtime.core.endings import Endings
from runtime.core.errors import (
    ActorRestarted,
    BadSpec,
    Escalated,
    RestartIntensityExceeded,
    StartFailed,
    SupervisorDown,
)
from runtime.core.info import CrashReport
from runtime.core.limits import Limits
from runtime.core.lives import live
from runtime.core.loop import Due, Loop
from runtime.core.mailbox import Mailbox, OnCrash
from runtime.core.policy import Flags, Window, comes_back
from runtime.core.reports import End, Reporter, reason_of, traceback_text, write
from runtime.core.slot import Slot
from runtime.core.trace import EventRing, Happening

Key: TypeAlias = tuple[Due, Slot]

T = TypeVar("T")

_log = logging.getLogger("marketd.supervisor")


class Keeper:
    """Keeps children alive: the part that static and dynamic supervisors share.

    Args:
      flags: What it goes by.
    """

    def __init__(self, flags: Flags) -> None:
        self._flags = flags
        self._slots: dict[str, Slot] = {}
        self._is_open = False
        self._left: Mapping[str, int] = {}
        self._ring: EventRing | None = None
        self._reporter = Reporter(flags.crash_log)

    # -------------------------------------------------------------- as a child

    async def run(self, life: Life) -> None:
        """Live one incarnation: start all, watch, stop all.

        Raises:
          StartFailed: A child did not start; those before it were stopped.
          RestartIntensityExceeded: Gave up; all children were stopped.
          Escalated: A child's crash was declared to be this supervisor's; all were stopped.
          Shutdown: Significant children have ended; all others were stopped.
        """
        self._open(life)
        try:
            with trio.CancelScope() as loop:
                life.on_stop = loop.cancel
                await self._start_all()
                life.up(ready=not self._unready)
                await self._loop.run(self._on_due)
        finally:
            self._is_open = False
            self._loop.close()
            self._tell_ready()
            with trio.CancelScope(shield=True):
                await self._stop_all()
            self._loop.refuse_all()
            await self._raise_fatal()

    def describe(self) -> tuple[ChildInfo, ...]:
        """Return what every child is doing, in start order, down to the leaves."""
        if not self._slots:
            return ()
        clock = self._around.clock
        return tuple(slot.describe(clock) for slot in self._slots.values())

    @property
    def flags(self) -> Flags:
        """Return what it goes by."""
        return self._flags

    @property
    def crash_reports(self) -> tuple[CrashReport, ...]:
        """Return the last crashes of its children, oldest first; bounded."""
        return self._reporter.reports

    @property
    def is_ready(self) -> bool:
        """Return whether it has started and all of its children are ready."""
        return self._is_open and self._life.is_ready

    def _open(self, life: Life) -> None:
        self._life, self._around = life, life.around
        self._prefix = f"{life.name}." if life.name else ""
        self._slots = {}
        self._loop: Loop[Key] = Loop(life.around.clock)
        self._timers = self._loop.timers
        self._window = Window()
        self._unready: set[Slot] = set()
        self._limits = Limits(life.around, self._loop)
        self._endings = Endings(life.around)
        life.on_kill = self._endings.hurry
        self._left, self._ring = life.around.nest.abandoned, life.around.ring
        self._fatal: BaseException | None = None
        self._is_open = True

    async def _ask(self, do: Callable[[], Awaitable[T]]) -> T:
        """Have `do` carried out by this supervisor's own task; return what it returns."""
        if not self._is_open:
            raise SupervisorDown("the supervisor is not running")
        return await self._loop.ask(do)

    def _go_by(self, flags: Flags) -> None:
        self._flags = flags
        self._reporter.change(flags.crash_log)

    # -------------------------------------------------------------- what is due

    async def _on_due(self, key: Key) -> None:
        due, slot = key
        match due:
            case Due.RESTART:
                await self._restart(slot)
            case Due.HANG:
                self._limits.check_hang(slot)
            case Due.END if slot.life is not None and not slot.life.ended.is_set():
                self._endings.abandon(slot, slot.life)
                await self._on_exit(slot, slot.life)

    # -------------------------------------------------------------- for the two kinds

    async def _start_all(self) -> None:
        """Start what is there from the beginning."""

    async def _stop_all(self) -> None:
        """End everything, in the kind's own order."""
        raise NotImplementedError

    async def _restart(self, slot: Slot) -> None:
        """Start `slot` again, and who was stopped with it."""
        raise NotImplementedError

    async def _stop_group(self, slot: Slot) -> None:
        """Stop those that are restarted together with `slot`."""

    def _ended_for_good(self, slot: Slot) -> None:
        """Deal with a child that ended by itself and is not started again."""
        raise NotImplementedError

    # -------------------------------------------------------------- starting

    async def _start(self, slot: Slot) -> bool:
        """Start a child; return whether it runs, which it does unless it said `Ignore`.

        Raises:
          StartFailed: It did not come up. Its place is kept, without it.
        """
        life = self._new_life(slot)
        self._unready.add(slot)
        self._around.nest.start_soon(
            live,
            slot.spec.start,
            life,
            partial(self._came, slot),
            partial(self._went, slot, life),
            name=life.name,
        )
        await self._endings.settled(slot, life)
        if life.is_up and not life.expected:
            slot.state = ChildState.RUNNING
            self._after_start(slot)
            return True
        slot.life, slot.child, slot.state = None, None, ChildState.STOPPED
        slot.orphans |= dict.fromkeys(life.orphans)
        self._unready.discard(slot)
        if life.fatal is not None:
            raise life.fatal
        if life.ignored:
            return False
        error = life.error or life.shutdown
        slot.last_crash = reason_of(error, "it ended before it was up")
        raise StartFailed(f"{life.name} did not start: {slot.last_crash}") from error

    def _new_life(self, slot: Slot) -> Life:
        spec = slot.spec
        if slot.mailbox.is_closed:
            slot.mailbox = self._open_mailbox(slot)
        elif slot.mailbox.spec is not spec.mailbox:
            slot.mailbox.change(spec.mailbox)
        slot.state = ChildState.STARTING
        slot.incarnation += 1
        slot.life = life = Life(
            name=slot.name,
            incarnation=slot.incarnation,
            around=self._around,
            mailbox=slot.mailbox,
            restart=spec.restart,
            on_crash=spec.on_crash,
            work=slot.work,
            tracer=slot.tracer,
            started_s=self._around.clock.now_s(),
            will_return=spec.restart is not Restart.TEMPORARY,
            on_ready=partial(self._ready_changed, slot),
        )
        life.on_dying = partial(self._limits.dying, slot, life)
        return life

    def _open_mailbox(self, slot: Slot) -> Mailbox:
        try:
            return self._around.registry.open(slot.name, slot.spec.mailbox, slot.mailbox.counts)
        except BadSpec as error:
            # Somebody outside of the tree took the name while the child was down.
            slot.last_crash = one_line(error)
            raise StartFailed(f"{slot.name} did not start: {error}") from error

    def _came(self, slot: Slot, child: object) -> None:
        slot.child = child  # type: ignore[assignment]
        slot.is_supervisor = isinstance(child, Keeper)

    def _after_start(self, slot: Slot) -> None:
        self._limits.watch(slot)
        for mailbox in slot.orphans:
            if mailbox.is_orphan:
                # Its owner is not among the children of the new life.
                self._around.registry.bury(mailbox)
        slot.orphans = {}
        if slot.spec.restart is Restart.TEMPORARY:
            # What it was started with is its own business from here on.
            slot.spec = slot.spec.without_start()

    # -------------------------------------------------------------- readiness

    def _ready_changed(self, slot: Slot) -> None:
        if slot.life is not None and slot.life.is_ready:
            self._unready.discard(slot)
        else:
            self._unready.add(slot)
        self._tell_ready()

    def _tell_ready(self) -> None:
        if self._life.is_up and self._is_open:
            self._life.ready(is_ready=not self._unready)

    # -------------------------------------------------------------- ends

    def _went(self, slot: Slot, life: Life) -> None:
        if life.abandoned:
            self._around.nest.left_has_ended(life.name)
            _log.warning("%s has ended after all", life.name)
        elif not life.expected:
            self._loop.post(partial(self._on_exit, slot, life))

    async def _on_exit(self, slot: Slot, life: Life) -> None:
        if slot.life is not life:
            return
        self._take_off(slot, life)
        if life.fatal is not None:
            raise life.fatal
        if comes_back(slot.spec.restart, life):
            await self._failed(slot, life, life.error)
        else:
            self._unready.discard(slot)
            self._tell_ready()
            self._report(slot, life, life.error, "it is not started again")
            self._ended_for_good(slot)
        # The error knows the frames, and these know the life: let go of both.
        life.error = None

    def _take_off(self, slot: Slot, life: Life) -> None:
        """Take note that a life is over."""
        slot.life, slot.child, slot.state = None, None, ChildState.STOPPED
        slot.orphans |= dict.fromkeys(life.orphans)
        slot.work.in_hand = None
        self._limits.off(slot)
        life.on_ready = life.on_dying = None
        if life.is_ready:
            self._unready.add(slot)
            self._tell_ready()

    def _over(self, slot: Slot, life: Life) -> None:
        """Take note of a life that was ended by this supervisor."""
        self._take_off(slot, life)
        self._note_fatal(life)
        if life.error is not None:
            slot.last_crash = one_line(life.error)
            trace = traceback_text(life.error, self._flags.crash_log.chars_max)
            write(_log, logging.ERROR, f"{life.name} failed while stopping", trace)
        self._around.ring.note(slot.name, Happening.STOPPED)

    def _note_fatal(self, life: Life) -> None:
        """Keep what came out of a child that was being stopped and is meant for the process."""
        if life.fatal is not None and self._fatal is None:
            self._fatal = life.fatal
            self._loop.post(self._raise_fatal)

    async def _raise_fatal(self) -> None:
        if self._fatal is not None:
            raise self._fatal

    def _give_up(self, slot: Slot) -> None:
        """End a child's place for good; or until its supervisor is started again."""
        registry, life = self._around.registry, self._life
        boxes = [slot.mailbox, *slot.orphans]
        slot.orphans = {}
        self._unready.discard(slot)
        returns = not self._is_open and life.will_return
        for mailbox in boxes:
            if returns and not mailbox.is_closed:
                registry.orphan(mailbox)
                life.orphans.append(mailbox)
            else:
                registry.bury(mailbox)

    async def _failed(self, slot: Slot, life: Life | None, error: Exception | None) -> None:
        """Decide about a child that ended or did not start, and is to come back.

        Raises:
          RestartIntensityExceeded: It was one time too many.
          Escalated: The specification says that it is not ours to repair.
        """
        backoff, intensity = self._flags.backoff, self._flags.intensity
        now_s = self._around.clock.now_s()
        if life is not None and now_s - life.started_s >= backoff.forgive_after_s:
            slot.in_a_row = 0
        slot.in_a_row += 1
        self._unready.add(slot)
        fail_queue_of_crashed(slot)
        if life is not None and life.directive is Directive.ESCALATE:
            self._report(slot, life, error, "its supervisor ends of it")
            raise Escalated(f"{slot.name} crashed: {reason_of(error, 'killed')}") from error
        if self._window.exceeded(intensity, now_s) and intensity is not None:
            self._report(slot, life, error, "its supervisor gives up")
            self._around.ring.note(self._life.name, Happening.GAVE_UP)
            raise RestartIntensityExceeded(
                f"gave up after {len(self._window)} crashes within {intensity.within_s:g} s; "
                f"the last was {slot.name}: {slot.last_crash}"
            ) from error
        wait_s = backoff.wait_s(slot.in_a_row, self._around.rng)
        again = f"it is started again in {wait_s:.3g} s" if wait_s > 0 else "it is started again"
        self._report(slot, life, error, again)
        await self._stop_group(slot)
        slot.state = ChildState.RESTARTING
        self._timers.set((Due.RESTART, slot), self._around.clock.now_s() + wait_s)

    # -------------------------------------------------------------- telling

    def _report(self, slot: Slot, life: Life | None, error: Exception | None, then: str) -> None:
        """Write down how a life ended; `life` is None for a start that failed."""
        if life is None:
            # Of a start that failed, the interesting part is of what.
            cause = error.__cause__ if error is not None else None
            end = End(Exit.CRASH, cause or error, 0.0, then, is_start=True)
        else:
            lived_s = self._around.clock.now_s() - life.started_s
            end = End(life.exit(), error, lived_s, then)
        self._reporter.tell(end, slot, self._life, self._window, self._flags.intensity)


def fail_queue_of_crashed(slot: Slot) -> None:
    """Give the queued messages of a crashed child the fate its mailbox declares."""
    if slot.mailbox.spec.on_crash is OnCrash.FAIL:
        name = slot.name
        slot.mailbox.fail_queued(lambda: ActorRestarted(f"{name} ended before it answered"))
