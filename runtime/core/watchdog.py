"""Notice when trio's loop itself stands still, and say who is in the way.

Nothing that runs in the loop can notice that, so this is the one thread outside of the store: it
touches nothing of the loop's, it only looks. A task in the loop beats every `tick_s`; when no beat
came for `blocked_s`, the thread logs which task is running, with its stack and all others, once;
and when it is over, how long it lasted. How late the beats come is the loop's lateness, a metric.

A process that was halted as a whole (a laptop that slept, SIGSTOP, a starved container) blocked
nobody: then the thread comes late to its own appointment as well, and the process has used no
processor meanwhile. C code that computes without letting go of Python's lock makes the thread late
too, but uses the processor; it is reported. C code that waits without letting go of it cannot be
told from a halt.

Only for runs in real time. In virtual time a task that beats is one more thing time jumps to.
"""

from __future__ import annotations

import logging
import math
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import islice
from types import FrameType
from typing import cast

import msgspec
import trio

_log = logging.getLogger("marketd.watchdog")

# Five beats and four looks a second: a quarter of a percent of one core, measured idle.
TICK_S = 0.2
# Far above what a garbage collection or a busy machine takes, and early enough to name a task that
# blocks for 2 s while it still does.
BLOCKED_S = 1.0
_LOOKS_PER_BLOCKED = 4
# A minute of beats: what an operator asks about is "now".
_LATENESS_SAMPLES = 300
# Findings the thread has not come to yet; it comes several times per `blocked_s`.
_FINDINGS_MAX = 16
_TASKS_MAX = 100
_FRAMES_MAX = 40
_JOIN_S = 1.0


class WatchdogStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """How the loop keeps its appointments.

    Attributes:
      lateness_s: By how much the last beat was late, in seconds.
      lateness_p50_s: The median over the last minute.
      lateness_max_s: The most over the last minute.
      episodes: How often the loop was blocked for longer than allowed.
      longest_s: The longest of these that is over, in seconds.
      halted_s: How long the whole process stood still, in seconds, in halts as long as a block;
        no part of the above.
    """

    lateness_s: float
    lateness_p50_s: float
    lateness_max_s: float
    episodes: int
    longest_s: float
    halted_s: float


@dataclass(frozen=True, slots=True)
class Blocked:
    """No beat came for `for_s` seconds longer than it should."""

    for_s: float


@dataclass(frozen=True, slots=True)
class Over:
    """The loop runs again, after `lasted_s` seconds; `seen`: it was reported as blocked before."""

    lasted_s: float
    seen: bool


@dataclass(frozen=True, slots=True)
class Halted:
    """The whole process stood still for `for_s` seconds."""

    for_s: float


Finding = Blocked | Over | Halted


class Pulse:
    """Beats and looks, and what follows from their times: arithmetic, without thread or task.

    `beat` is called in the loop, `look` and `rest` by whoever watches it, from another thread.
    All times are seconds of one monotonic clock; `cpu_s` is the processor time that the process
    has used so far.

    Args:
      tick_s: How often `beat` is to come, in seconds.
      blocked_s: How late it may be, in seconds.
      now_s: The time now.
    """

    def __init__(self, *, tick_s: float, blocked_s: float, now_s: float) -> None:
        if not 0 < tick_s < math.inf:
            raise ValueError(f"tick_s must be more than 0, was {tick_s}")
        if not tick_s <= blocked_s < math.inf:
            raise ValueError(f"blocked_s must be at least tick_s, {tick_s}, was {blocked_s}")
        self._tick_s = tick_s
        self._blocked_s = blocked_s
        self._lock = threading.Lock()
        self._beat_s = now_s
        self._lateness_s: deque[float] = deque([0.0], maxlen=_LATENESS_SAMPLES)
        # When the watcher means to look again; infinite while it is awake.
        self._look_due_s = math.inf
        self._cpu_s = 0.0
        self._reported = False
        self._findings: deque[Finding] = deque(maxlen=_FINDINGS_MAX)
        self._halted_new_s = self._halted_s = 0.0
        self._episodes = 0
        self._longest_s = 0.0

    def beat(self, now_s: float, cpu_s: float) -> None:
        """Prove that the loop runs."""
        with self._lock:
            self._leave_out_halt(now_s, cpu_s)
            late_s = self._late_s(now_s)
            self._beat_s = now_s
            self._lateness_s.append(late_s)
            if self._reported or late_s >= self._blocked_s:
                # One that nobody saw began and ended while the watcher was kept from looking.
                self._episodes += not self._reported
                self._findings.append(Over(late_s, seen=self._reported))
                self._longest_s = max(self._longest_s, late_s)
                self._reported = False

    def look(self, now_s: float, cpu_s: float) -> tuple[Finding, ...]:
        """Return what is new since the last look, in the order it happened."""
        with self._lock:
            self._leave_out_halt(now_s, cpu_s)
            self._look_due_s = math.inf
            if self._halted_new_s >= self._blocked_s:
                # Less is the thread waking late, as threads do, every time a little.
                self._findings.append(Halted(self._halted_new_s))
                self._halted_s += self._halted_new_s
            self._halted_new_s = 0.0
            late_s = self._late_s(now_s)
            if late_s >= self._blocked_s and not self._reported:
                self._reported = True
                self._episodes += 1
                self._findings.append(Blocked(late_s))
            findings = tuple(self._findings)
            self._findings.clear()
            return findings

    def rest(self, now_s: float, cpu_s: float, *, for_s: float) -> None:
        """Say that the watcher looks again in `for_s` seconds."""
        with self._lock:
            self._look_due_s, self._cpu_s = now_s + for_s, cpu_s

    def statistics(self) -> WatchdogStatistics:
        """Return how late the beats are, and how often they stayed away."""
        with self._lock:
            rising_s = sorted(self._lateness_s)
            return WatchdogStatistics(
                lateness_s=self._lateness_s[-1],
                lateness_p50_s=rising_s[len(rising_s) // 2],
                lateness_max_s=rising_s[-1],
                episodes=self._episodes,
                longest_s=self._longest_s,
                halted_s=self._halted_s,
            )

    def _late_s(self, now_s: float) -> float:
        return max(0.0, now_s - self._beat_s - self._tick_s)

    def _leave_out_halt(self, now_s: float, cpu_s: float) -> None:
        """Move the last beat by the time in which the process as a whole stood still.

        Called by whichever of loop and watcher wakes first, so both leave out the same time once.
        """
        halted_s = now_s - self._look_due_s
        if halted_s <= 0:
            return
        used_s = cpu_s - self._cpu_s
        self._look_due_s, self._cpu_s = now_s, cpu_s
        if used_s < halted_s / 2:
            self._beat_s = min(now_s, self._beat_s + halted_s)
            self._halted_new_s += halted_s


class Watchdog:
    """The thread that watches the run it was made in.

    Args:
      tick_s: How often the loop proves that it runs, in seconds.
      blocked_s: How late it may be before it counts as blocked, in seconds.
      now_s: The machine's monotonic clock, real even where trio's is not.
      cpu_s: Processor time used by the process.
    """

    def __init__(
        self,
        *,
        tick_s: float = TICK_S,
        blocked_s: float = BLOCKED_S,
        now_s: Callable[[], float] | None = None,
        cpu_s: Callable[[], float] | None = None,
    ) -> None:
        # Not a Clock: trio's may be virtual, and may be asked for from its own thread only.
        self._now_s = now_s or time.monotonic  # noqa: TID251
        self._cpu_s = cpu_s or time.process_time
        self._tick_s = tick_s
        self._look_every_s = blocked_s / _LOOKS_PER_BLOCKED
        self._pulse = Pulse(tick_s=tick_s, blocked_s=blocked_s, now_s=self._now_s())
        self._loop_thread = threading.get_ident()
        # None only before trio's first task, in which nobody can stand.
        self._root = cast("trio.lowlevel.Task", trio.lowlevel.current_root_task())
        self._ended = threading.Event()

    def statistics(self) -> WatchdogStatistics:
        """Return the loop's lateness, and how often it was blocked."""
        return self._pulse.statistics()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Run the thread for as long as the block runs."""
        # A daemon, so that not even a loop blocked for good keeps the process alive.
        thread = threading.Thread(target=self._watch, name="marketd-watchdog", daemon=True)
        self._beat()
        thread.start()
        try:
            yield
        finally:
            # So that a block just before the end is told as well.
            self._beat()
            self._ended.set()
            # The thread wakes at once and looks once more. A wait in the loop, but bounded.
            thread.join(_JOIN_S)
            if thread.is_alive():
                _log.error("the watchdog's thread did not end within %g s", _JOIN_S)

    async def beat_for_ever(self) -> None:
        """Prove, until cancelled, that the loop runs."""
        while True:
            self._beat()
            await trio.sleep(self._tick_s)

    def _beat(self) -> None:
        self._pulse.beat(self._now_s(), self._cpu_s())

    def _watch(self) -> None:
        ended = False
        while not ended:
            self._pulse.rest(self._now_s(), self._cpu_s(), for_s=self._look_every_s)
            ended = self._ended.wait(self._look_every_s)
            self._look()

    def _look(self) -> None:
        for finding in self._pulse.look(self._now_s(), self._cpu_s()):
            match finding:
                case Blocked(for_s=for_s):
                    stacks = describe_block(self._root, self._loop_thread)
                    _log.error("the loop has been blocked for %.2f s, %s", for_s, stacks)
                case Over(lasted_s=lasted_s, seen=True):
                    _log.warning("the loop runs again, it was blocked for %.2f s", lasted_s)
                case Over(lasted_s=lasted_s):
                    # There is no stack to show: most likely C code held Python's lock.
                    _log.error("the loop was blocked for %.2f s, and this thread too", lasted_s)
                case Halted(for_s=for_s):
                    _log.warning("the whole process stood still for %.2f s", for_s)


@asynccontextmanager
async def open_watchdog(
    *,
    tick_s: float = TICK_S,
    blocked_s: float = BLOCKED_S,
    now_s: Callable[[], float] | None = None,
    cpu_s: Callable[[], float] | None = None,
) -> AsyncIterator[Watchdog]:
    """Watch this run's loop for as long as the block runs; arguments as for `Watchdog`."""
    watchdog = Watchdog(tick_s=tick_s, blocked_s=blocked_s, now_s=now_s, cpu_s=cpu_s)
    try:
        with watchdog.watching():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watchdog.beat_for_ever, name="watchdog")
                try:
                    yield watchdog
                finally:
                    nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        # Only the wrapping of the nursery above, whose one task raises nothing: the block's error.
        if len(group.exceptions) != 1:
            raise
        error = group.exceptions[0]
        raise error from error.__cause__


def stack_of(task: trio.lowlevel.Task) -> str:
    """Return what `task` is at, outermost call first, and what threads it waits for are at.

    Any task of any run: waiting, running or ended; from any thread. It never raises, but what it
    reads may move meanwhile.
    """
    lines = [f"task {task.name}:"]
    try:
        frames = sys._current_frames()  # noqa: SLF001 - documented, for exactly this
        lines.append(_render(_running_frames(task, frames.values()) or task.iter_await_frames()))
        for thread in threading.enumerate():
            # trio names a thread after its function and task, unless told otherwise.
            # Source: trio.to_thread.run_sync, argument `thread_name`.
            if thread.name.endswith(f" from {task.name}") and thread.ident in frames:
                lines += [f" thread {thread.name}:", _render(_inward(frames[thread.ident]))]
    except Exception as error:  # noqa: BLE001 - whoever asks is in trouble already
        lines.append(f"  (could not be read: {type(error).__name__})")
    return "\n".join(lines)


def stacks_below(top: trio.lowlevel.Task, *, tasks_max: int = _TASKS_MAX) -> str:
    """Return the stacks of `top` and of the tasks below it, parents first, as `stack_of` does.

    Args:
      top: Where to begin; a child's own task usually only waits for its nursery.
      tasks_max: Most stacks returned; if there are more tasks, the last line says so.
    """
    tasks = list(islice(tasks_below(top), tasks_max + 1))
    stacks = [stack_of(task) for task in tasks[:tasks_max]]
    if len(tasks) > tasks_max:
        stacks.append(f"(more than {tasks_max} tasks; the others are left out)")
    return "\n".join(stacks)


def tasks_below(top: trio.lowlevel.Task) -> Iterator[trio.lowlevel.Task]:
    """Yield `top` and all tasks below it, parents first, siblings by name."""
    waiting = [top]
    while waiting:
        task = waiting.pop()
        yield task
        children = [child for nursery in task.child_nurseries for child in nursery.child_tasks]
        waiting.extend(sorted(children, key=lambda child: child.name, reverse=True))


def describe_block(root: trio.lowlevel.Task, loop_thread: int) -> str:
    """Return which task below `root` runs in thread `loop_thread`, and everybody's stack.

    A task whose frame is on the thread's stack is running. That costs nothing until it is asked,
    unlike an instrument, which trio would call at every step of every task.
    """
    frames = sys._current_frames()  # noqa: SLF001
    stack = list(_inward(frames.pop(loop_thread, None)))
    frames.pop(threading.get_ident(), None)
    on_stack = {id(frame) for frame, _ in stack}
    running = [task.name for task in tasks_below(root) if id(_outermost(task)) in on_stack]
    who = f"by task {running[0]}" if running else "by no task: by trio itself or a callback"
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    others = [
        f"thread {names.get(ident, ident)}:\n{_render(_inward(frame))}"
        for ident, frame in frames.items()
    ]
    return "\n".join([f"{who}:", _render(stack), *others, stacks_below(root)])


def _running_frames(
    task: trio.lowlevel.Task, tops: Iterable[FrameType]
) -> list[tuple[FrameType, int]]:
    """Return the part of a thread's stack that is `task`'s; empty if it is not running."""
    outermost = _outermost(task)
    for top in tops:
        stack = list(_inward(top))
        for depth, (frame, _) in enumerate(stack):
            if frame is outermost:
                return stack[depth:]
    return []


def _outermost(task: trio.lowlevel.Task) -> FrameType | None:
    return getattr(task.coro, "cr_frame", None)


def _inward(top: FrameType | None) -> Iterator[tuple[FrameType, int]]:
    """Yield the frames of a stack, outermost first."""
    return reversed([] if top is None else list(traceback.walk_stack(top)))


def _render(frames: Iterable[tuple[FrameType, int]]) -> str:
    # The innermost ones say what it is at, but for trio's own last two, alike in all that wait.
    told = (pair for pair in frames if pair[0].f_globals.get("__name__") != "trio._core._traps")
    lines = traceback.StackSummary.extract(iter(deque(told, maxlen=_FRAMES_MAX))).format()
    return "".join(lines).rstrip("\n") or "  (nothing: it has ended)"
