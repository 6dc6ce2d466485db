"""The watchdog: a loop that stands still is noticed, named and timed, and nothing else is.

`Pulse` is arithmetic, tested on made-up times. For the thread a loop is really blocked, until the
watchdog has told of it, so no test depends on how fast the machine is.
"""

from __future__ import annotations

import itertools
import logging
import math
import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from runtime.core.watchdog import (
    Blocked,
    Halted,
    Over,
    Pulse,
    open_watchdog,
    stack_of,
    stacks_below,
)
from runtime.testing import wait_for

ROOT = Path(__file__).resolve().parent.parent.parent
# In eighths of a second floats are exact.
TICK_S, BLOCKED_S, REST_S = 0.125, 1.0, 0.25


class Told(logging.Handler):
    """Keeps what the watchdog logs; `event` is set with each line."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.event = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line."""
        self.lines.append(record.getMessage())
        self.event.set()

    def block_until_told(self) -> None:
        """Stand in the way of everything in this thread until something was logged."""
        assert self.event.wait(10), "the watchdog has noticed nothing"


@pytest.fixture
def told() -> Iterator[Told]:
    """What the watchdog logs in this test."""
    told, log = Told(), logging.getLogger("marketd.watchdog")
    log.addHandler(told)
    yield told
    log.removeHandler(told)


def pulse() -> Pulse:
    """Return a pulse that has beaten at 0 s."""
    return Pulse(tick_s=TICK_S, blocked_s=BLOCKED_S, now_s=0.0)


def test_a_block_is_told_once_and_again_when_it_is_over() -> None:
    """One line that it is so, one how long it was; not one per look."""
    watched = halted_pulse()

    # The watcher is awake from here on: not to rest is not to be halted.
    assert watched.look(0.375, 0.0) == ()
    assert watched.look(1.5, 0.0) == (Blocked(1.25),)
    assert watched.look(1.75, 0.0) == ()
    watched.beat(2.75, 0.0)

    assert watched.look(2.75, 0.0) == (Over(2.5, seen=True),)
    assert watched.look(2.875, 0.0) == ()
    assert (watched.statistics().episodes, watched.statistics().longest_s) == (1, 2.5)


def test_a_short_delay_is_lateness_of_the_last_minute_and_no_episode() -> None:
    """Below the limit it is a figure for a graph; an hour later it says nothing about now."""
    watched = pulse()
    for at_s in (0.125, 0.25, 1.0, 1.125):
        watched.beat(at_s, 0.0)

    figures = watched.statistics()
    assert (figures.lateness_s, figures.lateness_p50_s, figures.lateness_max_s) == (0, 0, 0.625)
    assert watched.look(1.125, 0.0) == ()
    assert figures.episodes == 0
    for tick in range(600):
        watched.beat(1.25 + tick * TICK_S, 0.0)
    assert watched.statistics().lateness_max_s == 0


def halted_pulse() -> Pulse:
    """Return a pulse that beat at 0.125 s, and whose watcher meant to look at 0.375 s."""
    watched = pulse()
    watched.beat(0.125, 0.0)
    watched.look(0.125, 0.0)
    watched.rest(0.125, 0.0, for_s=REST_S)
    return watched


@pytest.mark.parametrize("loop_wakes_first", [True, False])
def test_a_process_that_was_halted_is_no_block(*, loop_wakes_first: bool) -> None:
    """A laptop that slept names nobody, and who of the two wakes first is chance."""
    watched = halted_pulse()

    if loop_wakes_first:
        watched.beat(30_000.0, 0.01)
    findings = watched.look(30_000.0, 0.01)
    watched.beat(30_000.125, 0.01)

    assert findings == (Halted(29_999.625),)
    assert watched.look(30_000.25, 0.01) == ()
    figures = watched.statistics()
    assert (figures.episodes, figures.halted_s) == (0, 29_999.625)
    assert figures.lateness_max_s <= REST_S


def test_a_block_in_which_the_process_was_halted_counts_without_the_halt() -> None:
    """Blocked for a second, asleep for an hour, blocked for another: two seconds."""
    watched = halted_pulse()
    assert watched.look(1.0, 0.875) == ()
    watched.rest(1.0, 0.875, for_s=REST_S)

    assert watched.look(3601.375, 0.875) == (Halted(3600.125), Blocked(1.0))
    watched.beat(3602.375, 1.875)
    assert watched.look(3602.375, 1.875) == (Over(2.0, seen=True),)


def test_a_block_that_stops_the_watcher_too_is_told_afterwards() -> None:
    """C code that holds Python's lock does, the worst of all; but it uses the processor."""
    watched, unseen = halted_pulse(), halted_pulse()

    assert watched.look(3.25, 3.0) == (Blocked(3.0),)
    unseen.beat(3.25, 3.0)
    assert unseen.look(3.375, 3.0) == (Over(3.0, seen=False),)

    for each in (watched, unseen):
        assert (each.statistics().episodes, each.statistics().halted_s) == (1, 0)


def play(blocks: list[tuple[int, int]]) -> tuple[list[object], Pulse]:
    """Let a loop beat so many times and then be blocked for so many ticks; look every 2 ticks."""
    watched, findings, tick = pulse(), list[object](), 0
    for beats, blocked_ticks in [*blocks, (20, 0)]:
        for number in range(beats + blocked_ticks):
            tick += 1
            at_s = tick * TICK_S
            if number < beats:
                watched.beat(at_s, at_s)
            if tick % 2:
                findings += watched.look(at_s, at_s)
                watched.rest(at_s, at_s, for_s=REST_S)
    return findings, watched


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 40)), max_size=10))
def test_every_long_block_is_told_and_no_short_one(blocks: list[tuple[int, int]]) -> None:
    """Whatever the loop does: one report and one end each, in turn, with the right length."""
    findings, watched = play(blocks)

    long_s = [ticks * TICK_S for _, ticks in blocks if ticks * TICK_S >= BLOCKED_S]
    overs = [each for each in findings if isinstance(each, Over)]
    assert [each.lasted_s for each in overs] == long_s
    assert watched.statistics().episodes == len(long_s)
    # One too close to the limit for a look may be over before it was seen.
    assert all(each.seen for each in overs if each.lasted_s >= BLOCKED_S + REST_S)
    unseen = [each for each in overs if not each.seen]
    in_turn = [type(each) for each in findings if each not in unseen]
    assert in_turn == [Blocked, Over] * (len(overs) - len(unseen))


def test_a_watchdog_that_could_not_work_is_refused() -> None:
    """One that alarms always, or never, is worse than none."""
    for tick_s in (0.0, math.inf, math.nan):
        with pytest.raises(ValueError, match=f"tick_s must be more than 0, was {tick_s}"):
            Pulse(tick_s=tick_s, blocked_s=1.0, now_s=0.0)
    for blocked_s in (0.05, math.inf, math.nan):
        with pytest.raises(ValueError, match=f"at least tick_s, 0.1, was {blocked_s}"):
            Pulse(tick_s=0.1, blocked_s=blocked_s, now_s=0.0)


def watchdog_threads() -> int:
    """Return how many watchdogs have their thread."""
    return [each.name for each in threading.enumerate()].count("marketd-watchdog")


@pytest.mark.real_time
async def test_a_task_that_blocks_the_loop_is_named_with_its_stack(told: Told) -> None:
    """Whoever reads the log must find the line of code, while it still blocks."""

    async def in_the_way() -> None:
        told.block_until_told()

    async def innocent() -> None:
        await trio.sleep_forever()

    async with open_watchdog(tick_s=0.01, blocked_s=0.05) as watchdog, trio.open_nursery() as tasks:
        tasks.start_soon(innocent, name="innocent")
        await trio.testing.wait_all_tasks_blocked()
        tasks.start_soon(in_the_way, name="upbit.cache")
        await wait_for(lambda: len(told.lines) > 1)
        tasks.cancel_scope.cancel()

    head, _, stacks = told.lines[0].partition("\n")
    assert re.fullmatch(r"the loop has been blocked for [\d.]+ s, by task upbit\.cache:", head)
    assert "told.block_until_told()" in stacks
    assert "task innocent:\n" in stacks
    assert "await trio.sleep_forever()" in stacks
    assert told.lines[1].startswith("the loop runs again, it was blocked for")
    assert watchdog.statistics().longest_s >= 0.05


@pytest.mark.real_time
async def test_a_block_by_no_task_is_told_as_nobodys(told: Told) -> None:
    """To name whichever task ran last would be to accuse somebody."""

    class Slow(trio.abc.Instrument):
        def before_io_wait(self, timeout: float) -> None:  # noqa: ARG002 - trio's signature
            told.block_until_told()

    async with open_watchdog(tick_s=0.01, blocked_s=0.05):
        trio.lowlevel.add_instrument(slow := Slow())
        await wait_for(lambda: len(told.lines) > 1)
        trio.lowlevel.remove_instrument(slow)

    head, _, stacks = told.lines[0].partition("\n")
    assert head.endswith("by no task: by trio itself or a callback:")
    assert "in before_io_wait" in stacks
    assert "thread marketd-watchdog:" not in stacks


@pytest.mark.real_time
async def test_a_block_just_before_the_end_is_told_too(told: Told) -> None:
    """The last thing a program does is often the slow one."""
    async with open_watchdog(tick_s=0.01, blocked_s=0.05):
        await trio.testing.wait_all_tasks_blocked()
        told.block_until_told()

    assert [line[:18] for line in told.lines] == ["the loop has been ", "the loop runs agai"]


@pytest.mark.real_time
async def test_the_thread_ends_with_the_block_however_it_ends() -> None:
    """A thread left behind watches a loop that is gone; and what ended it is the caller's own."""
    with trio.CancelScope() as scope:
        async with open_watchdog():
            assert watchdog_threads() == 1
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert watchdog_threads() == 0

    for error in (ExceptionGroup("of the block", [ValueError()]), LookupError("of the block")):
        with pytest.raises(type(error), match="of the block") as raised:
            async with open_watchdog():
                raise error
        assert str(raised.value) == str(error)

    async def meet() -> None:
        with trio.CancelScope() as scope:
            async with open_watchdog():
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
                raise error

    # An error that meets a cancellation: neither is lost.
    with pytest.raises(ExceptionGroup, match="nursery"):
        await meet()
    assert watchdog_threads() == 0


@pytest.mark.real_time
async def test_lateness_is_measured_on_the_clock_that_was_given() -> None:
    """What the machine's own says does not come into it, so a run can be played with."""
    seconds = itertools.count(step=10)

    async with open_watchdog(now_s=lambda: float(next(seconds)), cpu_s=lambda: 0.0) as watchdog:
        await wait_for(lambda: watchdog.statistics().lateness_max_s >= 9)


# Halts its own process for a while, by way of a shell, and prints what the watchdog made of it.
HALT = """
import logging, sys, trio
from runtime.core.watchdog import open_watchdog

async def main():
    async with open_watchdog(tick_s=0.02, blocked_s=0.4) as watchdog:
        await trio.run_process(["sh", "-c", "kill -STOP $PPID; sleep 0.8; kill -CONT $PPID"])
        await trio.sleep(0.2)
    figures = watchdog.statistics()
    print(figures.episodes, figures.halted_s)

logging.basicConfig(stream=sys.stdout, format="%(message)s")
trio.run(main)
"""


@pytest.mark.real_time
@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGSTOP")
def test_a_process_that_is_really_stopped_raises_no_alarm() -> None:
    """Ctrl-Z and `fg`. Slow because a process of its own is stopped for 0.8 s."""
    program = [sys.executable, "-c", HALT]
    said = subprocess.check_output(program, cwd=ROOT, text=True, timeout=30)

    told, episodes, halted_s = said.rsplit(maxsplit=2)
    assert told.startswith("the whole process stood still for")
    assert int(episodes) == 0
    assert float(halted_s) > 0.4


async def test_the_stack_of_a_waiting_task_is_its_chain_of_awaits(nursery: trio.Nursery) -> None:
    """Where a child hangs is the innermost await, and why is in those around it."""

    async def numbers() -> AsyncIterator[int]:
        yield 1
        await trio.sleep_forever()

    async def listener() -> None:
        async for _ in numbers():
            pass

    nursery.start_soon(listener, name="upbit.feed")
    await trio.testing.wait_all_tasks_blocked()
    stack = stack_of(*nursery.child_tasks)
    assert stack.startswith("task upbit.feed:\n")
    places = [line.rpartition(" in ")[2] for line in stack.splitlines() if "File " in line]
    assert places == ["listener", "numbers", "sleep_forever"]
    assert "async for _ in numbers():" in stack


async def test_the_stack_of_a_task_that_runs_or_has_ended_can_be_asked_for() -> None:
    """It may go on, or end, between the moment it is thought to hang and the question."""

    async def brief() -> str:
        return stack_of(trio.lowlevel.current_task())

    assert "return stack_of(trio.lowlevel.current_task())" in await brief()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(brief, name="brief")
        (task,) = nursery.child_tasks
    assert stack_of(task) == "task brief:\n  (nothing: it has ended)"


@pytest.mark.real_time
async def test_a_task_that_waits_for_a_thread_shows_what_the_thread_does() -> None:
    """The task itself only says that it waits; what hangs is in the thread."""
    go_on = threading.Event()

    def slow_disk() -> None:
        go_on.wait(10)

    async with trio.open_nursery() as nursery:
        run_sync = trio.to_thread.run_sync  # noqa: TID251 - threads are what this is about
        nursery.start_soon(run_sync, slow_disk, name="store")
        (task,) = nursery.child_tasks
        try:
            await wait_for(lambda: "go_on.wait(10)" in stack_of(task))
            assert " thread slow_disk from store:\n" in stack_of(task)
        finally:
            go_on.set()


async def test_the_stacks_below_a_task_are_those_of_its_whole_tree() -> None:
    """A child's own task waits for its nursery; the one that hangs is somewhere below it."""

    async def child() -> None:
        async with trio.open_nursery() as nursery:
            for name in ("c", "a", "b"):
                nursery.start_soon(trio.sleep_forever, name=name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(child, name="child")
        await trio.testing.wait_all_tasks_blocked()
        (task,) = nursery.child_tasks
        all_of_them = stacks_below(task)
        two_of_them = stacks_below(task, tasks_max=2)
        nursery.cancel_scope.cancel()

    assert re.findall("^task (.*):$", all_of_them, re.MULTILINE) == ["child", "a", "b", "c"]
    assert re.findall("^task (.*):$", two_of_them, re.MULTILINE) == ["child", "a"]
    assert two_of_them.endswith("\n(more than 2 tasks; the others are left out)")


def test_a_stack_that_cannot_be_read_is_said_so() -> None:
    """It is asked for when something is wrong already; it must not make it worse."""
    task = cast("trio.lowlevel.Task", SimpleNamespace(name="moving"))
    assert stack_of(task) == "task moving:\n  (could not be read: AttributeError)"
