"""Ends that do not come by themselves: hangs, stuck tasks, threads, and what swallows its end."""

from __future__ import annotations

import logging
import math
import random
import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from runtime.core.actor import Actor
from runtime.core.backoff import Backoff
from runtime.core.child import ChildSpec, Restart
from runtime.core.clock import TrioClock
from runtime.core.dynamic import DynamicSupervisor
from runtime.core.errors import ActorDown, ActorError, ActorRestarted, TableOwned
from runtime.core.message import Event, Request
from runtime.core.registry import Registry
from runtime.core.steering import Steering
from runtime.core.supervisor import Strategy, Supervisor
from runtime.core.table import Table
from runtime.core.tree import open_tree

Doing = Callable[[Actor], Awaitable[object]]
AT_ONCE = Backoff(min_s=0, max_s=0)


class Ping(Request[int], frozen=True):
    """Be answered with the incarnation."""


class Do(Request[object], frozen=True):
    """Do something in the handler."""

    doing: Doing


class DoSilently(Event, frozen=True):
    """Do something with nobody waiting."""

    doing: Doing


class Worker(Actor):
    """Does anything.

    Args:
      put_away: What `on_stop` does.
    """

    def __init__(
        self, put_away: Callable[[], Awaitable[object]] = trio.lowlevel.checkpoint
    ) -> None:
        self.put_away = put_away

    async def on_stop(self) -> None:
        """Do what the test wants done."""
        await self.put_away()

    async def handle_call(self, request: Request[Any]) -> object:
        """Do it."""
        if isinstance(request, Do):
            return await request.doing(self)
        return self.context.incarnation

    async def handle_cast(self, event: Event) -> None:
        """Do it."""
        assert isinstance(event, DoSilently)
        await event.doing(self)


class Shielded:
    """Something that no cancellation ends, until it is let go."""

    def __init__(self) -> None:
        self.let_go = trio.Event()

    async def __call__(self, _actor: Actor | None = None) -> None:
        """Wait, whatever happens."""
        with trio.CancelScope(shield=True):
            await self.let_go.wait()


@pytest.fixture
def shielded() -> Shielded:
    """Something that no cancellation ends."""
    return Shielded()


def opened(root: Steering, registry: Registry) -> AbstractAsyncContextManager[Steering]:
    """Run a tree in virtual time."""
    clock = TrioClock(start_utc_ms=0)
    return open_tree(root, clock=clock, rng=random.Random(0), registry=registry)


def one(registry: Registry, **spec: Any) -> AbstractAsyncContextManager[Steering]:
    """Run one worker that is restarted at once."""
    child = ChildSpec("a", Worker, **spec)
    return opened(Supervisor([child], backoff=AT_ONCE, intensity=None), registry)


async def expect(told: type[ActorError], registry: Registry, doing: Doing, name: str = "a") -> None:
    """Call, and check what the caller is told."""
    with pytest.raises(told, match=rf"{name} ended before it answered"):
        await registry.ref(name).call(Do(doing=doing), timeout_s=600)


async def hang(_actor: Actor) -> None:
    """Never come back."""
    await trio.sleep_forever()


async def almost_hang(_actor: Actor) -> None:
    """Take almost three seconds."""
    await trio.sleep(2.9)


async def test_a_message_in_hand_for_too_long_is_a_crash_at_that_very_moment(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Also where the actor was idle before; the caller is told, and the stack is in the log."""
    registry = Registry()
    async with one(registry, hang_s=3) as root:
        await trio.sleep(4.5)
        await expect(ActorRestarted, registry, hang)

        assert trio.current_time() == 7.5
        assert await registry.ref("a").call(Ping()) == 2
        (report,) = root.crash_reports
    assert report.reason == "Hung: a had Do in hand for 3 s, allowed are 3 s"
    assert report.next == "it is started again"
    assert "a hangs: Do in hand for 3 s" in caplog.messages
    assert "sleep_forever" in caplog.text


async def test_what_takes_almost_too_long_again_and_again_is_no_hang() -> None:
    """Each message has the whole time for itself."""
    registry = Registry()
    async with one(registry, hang_s=3) as root:
        for _ in range(5):
            await registry.ref("a").call(Do(doing=almost_hang))

        assert root.describe()[0].incarnation == 1
        assert root.describe()[0].longest_s == pytest.approx(2.9)
        assert root.describe()[0].busy_s == pytest.approx(14.5)


async def test_a_hang_that_swallows_its_cancellation_is_left_behind(
    shielded: Shielded, caplog: pytest.LogCaptureFixture
) -> None:
    """Its caller does not wait, another life takes its place, and the old one reads no more."""
    registry = Registry()
    async with one(registry, hang_s=3, abandon_s=2) as root:
        await expect(ActorRestarted, registry, shielded)
        assert trio.current_time() == 3
        assert await registry.ref("a").call(Ping()) == 2
        assert trio.current_time() == 5
        assert "a" in root.abandoned
        assert "a ignored its cancellation for 2 s and is left behind" in caplog.messages
        assert "await self.let_go.wait()" in caplog.text

        shielded.let_go.set()
        await trio.sleep(1)
        assert root.abandoned == ()
        assert "a has ended after all" in caplog.messages
        (info,) = root.describe()
        assert (info.incarnation, info.handled) == (2, 1)
        assert await registry.ref("a").call(Ping()) == 2


async def test_a_stop_ends_in_time_without_a_child_that_will_not_end(
    shielded: Shielded, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    """Asked, cancelled, left behind and named; and nothing is left once it ends after all."""
    registry = Registry()
    before = trio.lowlevel.current_statistics().tasks_living
    children = [ChildSpec("b", Worker), ChildSpec("a", Worker, shutdown_s=3, abandon_s=2)]
    root = Supervisor(children)
    async with opened(root, registry):
        nursery.start_soon(expect, ActorDown, registry, shielded)
        await trio.testing.wait_all_tasks_blocked()

    assert trio.current_time() == 5
    assert (root.abandoned, registry.names()) == (("a",), ())
    assert caplog.messages == [
        "a did not stop within 3 s and is cancelled",
        "a ignored its cancellation for 2 s and is left behind",
    ]
    shielded.let_go.set()
    await trio.testing.wait_all_tasks_blocked()
    assert root.abandoned == ()
    assert trio.lowlevel.current_statistics().tasks_living == before


async def test_an_end_that_waits_to_be_taken_note_of_has_come(nursery: trio.Nursery) -> None:
    """The supervisor was busy when it came, and when its time was over; found by a random run."""

    class Slow(Worker):
        async def on_start(self) -> None:
            await trio.sleep(5)

    async def end_in_time(_actor: Actor) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(1)

    registry = Registry()
    root = Supervisor([ChildSpec("a", Worker, abandon_s=2)], backoff=AT_ONCE)
    async with opened(root, registry):
        registry.ref("a").cast(DoSilently(doing=end_in_time))
        await trio.testing.wait_all_tasks_blocked()
        for operation in (partial(root.start_child, ChildSpec("b", Slow)), root.count_children):
            nursery.start_soon(operation)
            await trio.testing.wait_all_tasks_blocked()
        root.kill("a")
        assert await registry.ref("a").call(Ping(), timeout_s=60) == 2

        assert trio.current_time() == 5
        assert root.abandoned == ()


@pytest.mark.parametrize("crashes", [True, False])
async def test_a_task_that_survives_its_actor_does_not_keep_the_next_one_away(
    shielded: Shielded, *, crashes: bool
) -> None:
    """The actor has crashed or has ended itself, but its nursery waits for one task for ever."""

    async def leave_a_task(actor: Actor) -> None:
        actor.context.nursery.start_soon(shielded)
        await trio.testing.wait_all_tasks_blocked()
        if crashes:
            raise ValueError("boom")
        actor.context.stop()

    registry = Registry()
    async with one(registry, abandon_s=2) as root:
        if crashes:
            await expect(ActorRestarted, registry, leave_a_task)
        else:
            await registry.ref("a").call(Do(doing=leave_a_task))
        assert trio.current_time() == 0

        # 5 s for `on_stop`, which it never comes to, and 2 s to end.
        assert await registry.ref("a").call(Ping(), timeout_s=60) == 2
        assert trio.current_time() == 7
        assert root.abandoned == ("a",)
        assert root.describe()[0].last_crash == ("ValueError: boom" if crashes else "killed")
    shielded.let_go.set()


@pytest.mark.real_time
async def test_a_thread_does_not_keep_a_stop_from_ending(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing can end a thread, so the child that waits for one is named and left."""
    let_go = threading.Event()
    registry = Registry()

    async def block(_actor: Actor) -> None:
        await trio.to_thread.run_sync(let_go.wait)  # noqa: TID251 - this is what is tested

    try:
        async with trio.open_nursery() as nursery, one(registry, shutdown_s=0.05, abandon_s=0.05):
            nursery.start_soon(expect, ActorDown, registry, block)
            await trio.testing.wait_all_tasks_blocked()
        assert "a ignored its cancellation for 0.05 s and is left behind" in caplog.messages
        assert "to_thread" in caplog.text
    finally:
        let_go.set()


async def test_a_life_that_was_left_behind_can_write_no_table(shielded: Shielded) -> None:
    """Two writers would undo each other's work, and the heir is the one who is right."""
    table: Table[str, int] = Table("t")
    refused: list[str] = []

    async def claim_and_hang(actor: Actor) -> None:
        writer = table.claim(actor.context.name)
        await shielded()
        try:
            writer.put("old", 1)
        except TableOwned as error:
            refused.append(str(error))

    async def claim(actor: Actor) -> None:
        table.claim(actor.context.name).put("new", 2)

    registry = Registry()
    async with one(registry, hang_s=3, abandon_s=2):
        await expect(ActorRestarted, registry, claim_and_hang)
        await registry.ref("a").call(Do(doing=claim))
        shielded.let_go.set()
        await trio.testing.wait_all_tasks_blocked()

    assert refused == ["table 't' is no longer written by 'a'"]
    assert dict(table.items()) == {"new": 2}


async def test_a_start_that_takes_too_long_is_a_start_that_failed() -> None:
    """Its supervisor waits for nobody longer than it was told to."""

    class Slow(Worker):
        async def on_start(self) -> None:
            await trio.sleep_forever()

    root = Supervisor([ChildSpec("b", Worker), ChildSpec("a", Slow, start_s=3)])
    with pytest.raises(ActorError, match=r"a did not start: TimeoutError: not within 3 s"):
        async with opened(root, Registry()):
            pytest.fail("must not run")
    assert trio.current_time() == 3


async def test_a_branch_that_runs_out_of_time_hurries(caplog: pytest.LogCaptureFixture) -> None:
    """Its children may take for ever when asked, but it may not; it is never left behind."""
    lazy = [
        ChildSpec(name, partial(Worker, trio.sleep_forever), shutdown_s=math.inf) for name in "xyz"
    ]
    branch = ChildSpec("b", lambda: Supervisor(lazy), shutdown_s=15)
    root = Supervisor([ChildSpec("a", Worker), branch])
    async with opened(root, Registry()):
        pass

    # z was asked, and cancelled at 15 s; x and y are cancelled unasked, with 2.5 s to put away.
    assert trio.current_time() == 20
    assert caplog.messages[0] == "b did not stop within 15 s and is cancelled"
    assert root.abandoned == ()


async def test_dynamic_children_stop_side_by_side() -> None:
    """The slowest says how long it takes, each within its own limit."""
    registry = Registry()
    async with opened(DynamicSupervisor(), registry) as pool:
        assert isinstance(pool, DynamicSupervisor)
        for takes_s in (1, 2, 3, 60):
            worker = partial(Worker, partial(trio.sleep, takes_s))
            await pool.start_child(ChildSpec("w", worker, shutdown_s=4))

    assert trio.current_time() == 4


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ONE, Strategy.ONE_FOR_ALL])
@pytest.mark.parametrize("meant", [KeyboardInterrupt, SystemExit])
async def test_what_is_meant_for_the_process_comes_out_of_a_stop_too(
    strategy: Strategy, meant: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """At the end of the tree, or in a restart of all: the others are still put away in order."""
    caplog.set_level(logging.CRITICAL)
    registry = Registry()
    put_away: list[str] = []

    async def raise_it() -> None:
        raise meant

    async def note() -> None:
        put_away.append("first")

    children = [
        ChildSpec("first", partial(Worker, note)),
        ChildSpec("second", partial(Worker, raise_it)),
        ChildSpec("third", Worker, Restart.TRANSIENT),
    ]

    async def run() -> None:
        async with opened(Supervisor(children, strategy=strategy), registry) as root:
            if strategy is Strategy.ONE_FOR_ALL:
                root.kill("third")
                await trio.sleep(9)

    with pytest.raises(BaseExceptionGroup, match=r".+") as caught:
        await run()
    assert caught.value.subgroup(meant) is not None
    assert "first" in put_away
    assert registry.names() == ()
