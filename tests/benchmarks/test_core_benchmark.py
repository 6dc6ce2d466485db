"""What supervision costs: a call against a bare channel, a crash against a bare task, and scale.

Every figure is printed beside its floor, measured in the same run; timing is not asserted, because
machines are shared. What must not grow (tasks, memory) is asserted.
"""

from __future__ import annotations

import gc
import logging
import random
import statistics
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import pytest
import trio

from runtime.core.actor import Actor
from runtime.core.backoff import Backoff
from runtime.core.child import ChildSpec, Restart
from runtime.core.clock import SystemClock
from runtime.core.dynamic import DynamicSupervisor
from runtime.core.errors import ActorRestarted
from runtime.core.message import Event, Request
from runtime.core.ref import ActorRef
from runtime.core.registry import Registry
from runtime.core.steering import Steering
from runtime.core.supervisor import Supervisor
from runtime.core.table import Table
from runtime.core.tree import open_tree

pytestmark = [pytest.mark.benchmark, pytest.mark.real_time]

AT_ONCE = Backoff(min_s=0, max_s=0)
ROUNDS = 5_000
SupervisorT = TypeVar("SupervisorT", bound=Steering)


class Ping(Request[int], frozen=True):
    """A request with nothing to do."""


class Die(Request[None], frozen=True):
    """Crash."""


class DieSilently(Event, frozen=True):
    """Crash with nobody waiting."""


class Echo(Actor):
    """Answers at once, or crashes."""

    async def handle_call(self, request: Request[Any]) -> int:
        """Return the incarnation."""
        if isinstance(request, Ping):
            return self.context.incarnation
        raise ValueError("boom")

    async def handle_cast(self, event: Event) -> None:
        """Crash."""
        raise ValueError(type(event).__name__)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Measure supervision, not the terminal."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def opened(root: SupervisorT, registry: Registry) -> AbstractAsyncContextManager[SupervisorT]:
    """Run a tree on the real clock."""
    return open_tree(root, clock=SystemClock(), rng=random.Random(0), registry=registry)


def told(what: str, ours: float, floor: float, unit: str = "µs") -> None:
    """Print a figure, its floor and their ratio."""
    print(f"\n{what}: {ours:.3g} {unit}, floor {floor:.3g} {unit}, {ours / floor:.2f} x")


async def die(ref: ActorRef) -> None:
    """Crash an actor. Not with `pytest.raises`, which costs more than the crash."""
    try:
        await ref.call(Die())
    except ActorRestarted:
        return
    pytest.fail("it must crash")


async def channel_round_trips_us() -> list[float]:
    """Return how long a bare memory channel takes there and back."""
    times = []
    there_in, there_out = trio.open_memory_channel[int](1)
    back_in, back_out = trio.open_memory_channel[int](1)

    async def echo() -> None:
        async for value in there_out:
            await back_in.send(value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(echo)
        for _ in range(ROUNDS):
            started = time.perf_counter_ns()
            await there_in.send(1)
            await back_out.receive()
            times.append((time.perf_counter_ns() - started) / 1000)
        nursery.cancel_scope.cancel()
    return times


async def call_round_trips_us() -> list[float]:
    """Return how long a call and its reply take."""
    times = []
    registry = Registry()
    async with opened(Supervisor([ChildSpec("a", Echo)]), registry):
        ref = registry.ref("a")
        for _ in range(ROUNDS):
            started = time.perf_counter_ns()
            await ref.call(Ping())
            times.append((time.perf_counter_ns() - started) / 1000)
    return times


async def test_a_call_and_its_reply_against_a_bare_channel() -> None:
    """Wanted: at most twice a bare channel there and back."""
    ours, floor = [], []
    for _ in range(3):
        ours += await call_round_trips_us()
        floor += await channel_round_trips_us()

    told("call and reply, median", statistics.median(ours), statistics.median(floor))


async def bare_restarts_us(rounds: int) -> list[float]:
    """Return how long it takes to cancel one trio task and start another."""
    times = []
    async with trio.open_nursery() as nursery:
        scope, up = trio.CancelScope(), trio.Event()

        async def live(scope: trio.CancelScope, up: trio.Event) -> None:
            with scope:
                up.set()
                await trio.sleep_forever()

        nursery.start_soon(live, scope, up)
        await up.wait()
        for _ in range(rounds):
            started = time.perf_counter_ns()
            scope.cancel()
            scope, up = trio.CancelScope(), trio.Event()
            nursery.start_soon(live, scope, up)
            await up.wait()
            times.append((time.perf_counter_ns() - started) / 1000)
        scope.cancel()
    return times


async def test_a_crash_until_the_next_answer_against_a_bare_task() -> None:
    """Wanted: at most 1 ms at the 99th percentile, without back-off."""
    times, registry = [], Registry()
    root = Supervisor([ChildSpec("a", Echo)], intensity=None, backoff=AT_ONCE)
    async with opened(root, registry):
        ref = registry.ref("a")
        for _ in range(2_000):
            started = time.perf_counter_ns()
            await die(ref)
            await ref.call(Ping())
            times.append((time.perf_counter_ns() - started) / 1000)
    floor = await bare_restarts_us(2_000)

    for name, at in (("median", 50), ("p99", 99)):
        ours_us = statistics.quantiles(times, n=100)[at - 1]
        told(f"crash to serving, {name}", ours_us, statistics.quantiles(floor, n=100)[at - 1])


async def dynamic_s(count: int) -> float:
    """Return how long it takes to start and stop so many dynamic children, in seconds."""
    registry = Registry()
    started = time.perf_counter()
    async with opened(DynamicSupervisor(max_children=count), registry) as pool:
        for _ in range(count):
            await pool.start_child(ChildSpec("child", Echo, Restart.TEMPORARY))
    return time.perf_counter() - started


async def static_s(count: int) -> float:
    """Return how long it takes to start and stop so many static children, in seconds."""
    specs = [ChildSpec(f"child{number}", Echo) for number in range(count)]
    started = time.perf_counter()
    async with opened(Supervisor(specs), Registry()):
        pass
    return time.perf_counter() - started


async def ends_s(count: int) -> float:
    """Return how long it takes a dynamic supervisor to see so many children end, in seconds."""
    async with opened(DynamicSupervisor(max_children=count), Registry()) as pool:
        handles = [
            await pool.start_child(ChildSpec("child", Echo, Restart.TEMPORARY))
            for _ in range(count)
        ]
        started = time.perf_counter()
        for handle in handles:
            handle.ref.cast(DieSilently())
        while (await pool.count_children()).specs:
            await trio.lowlevel.checkpoint()
        return time.perf_counter() - started


async def test_many_children_cost_as_much_each_as_few() -> None:
    """Wanted: time linear in their number, at most ten times off."""
    for what, measure, few, many in (
        ("dynamic, start and stop", dynamic_s, 1_000, 10_000),
        ("dynamic, ends of their own", ends_s, 1_000, 10_000),
        ("static, start and stop", static_s, 1_000, 100_000),
    ):
        few_us = await measure(few) / few * 1e6
        many_us = await measure(many) / many * 1e6
        told(f"{what}, each of {many} against each of {few}", many_us, few_us)


async def test_a_hundred_thousand_restarts_leave_nothing_behind() -> None:
    """Neither a task nor memory: a runtime is up for months."""
    registry = Registry()
    root = Supervisor([ChildSpec("a", Echo)], intensity=None, backoff=AT_ONCE)
    async with opened(root, registry):
        ref = registry.ref("a")

        async def crash(times: int) -> None:
            for _ in range(times):
                await die(ref)
            await ref.call(Ping())

        await crash(1_000)
        tasks = trio.lowlevel.current_statistics().tasks_living
        started = time.perf_counter()
        await crash(97_000)
        took_s = time.perf_counter() - started
        tracemalloc.start()
        # Fills, with what is seen, the rings that hold the last events and the last crashes.
        await crash(1_000)
        gc.collect()
        before = tracemalloc.take_snapshot()
        await crash(1_000)
        gc.collect()
        grown = sum(
            each.size_diff for each in tracemalloc.take_snapshot().compare_to(before, "filename")
        )
        tracemalloc.stop()

        each_us = took_s / 97_000 * 1e6
        print(f"\n100,000 restarts, {each_us:.3g} µs each; the last 1,000 grew by {grown} bytes")
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        # A leak of one object a restart would be 50 kB at least.
        assert grown < 20_000, grown
        assert await ref.call(Ping()) == 100_001


def test_a_table_read_against_a_dictionary_read() -> None:
    """Wanted: within three times."""
    table: Table[str, int] = Table("t")
    table.claim("benchmark").put("a", 1)
    plain = {"a": 1}
    times = []
    for get in (table.get, plain.get):
        started = time.perf_counter_ns()
        for _ in range(200_000):
            get("a")
        times.append((time.perf_counter_ns() - started) / 200_000)

    told("table read", times[0], times[1], "ns")
