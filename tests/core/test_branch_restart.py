"""A branch that is started again keeps its names: nobody outside finds its actors gone."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from runtime.core.actor import Actor
from runtime.core.backoff import Backoff, RestartIntensity
from runtime.core.child import ChildSpec, Restart
from runtime.core.clock import TrioClock
from runtime.core.dynamic import DynamicSupervisor
from runtime.core.errors import (
    ActorDown,
    ActorNotFound,
    AlreadyPresent,
    AlreadyStarted,
    MailboxFull,
    RestartIntensityExceeded,
    StartFailed,
)
from runtime.core.mailbox import Mailbox, MailboxSpec, Overflow
from runtime.core.message import Request
from runtime.core.registry import Registry
from runtime.core.supervisor import Supervisor
from runtime.core.tree import open_tree

ONCE_THEN_5_S = Backoff(min_s=5, max_s=5, jitter=0)


class Ping(Request[int], frozen=True):
    """Be answered with the incarnation."""


class Worker(Actor):
    """Answers pings."""

    async def handle_call(self, request: Request[Any]) -> object:
        """Answer."""
        assert isinstance(request, Ping)
        return self.context.incarnation


@pytest.fixture
def registry() -> Registry:
    """The names of the tree."""
    return Registry()


def opened(registry: Registry, root: Supervisor) -> AbstractAsyncContextManager[Supervisor]:
    """Run a tree in virtual time."""
    clock = TrioClock(start_utc_ms=0)
    return open_tree(root, clock=clock, rng=random.Random(0), registry=registry)


def changing(*lives: Sequence[str]) -> Callable[[], Supervisor]:
    """Return a branch that has other children in each of its lives."""
    ids = iter(lives)
    return lambda: Supervisor([ChildSpec(child_id, Worker) for child_id in next(ids)])


async def crash_twice(tree: Supervisor, name: str) -> None:
    """Kill a branch until it has to wait before its next start."""
    for _ in range(2):
        tree.kill(name)
        await trio.testing.wait_all_tasks_blocked()
    assert tree.info(name).state == "restarting"


async def test_callers_in_between_wait_for_the_next_life(registry: Registry) -> None:
    """Depth makes no difference."""
    inner = ChildSpec("c", lambda: Supervisor([ChildSpec("x", Worker)]))
    root = Supervisor([ChildSpec("b", lambda: Supervisor([inner]))], backoff=ONCE_THEN_5_S)
    async with opened(registry, root):
        await crash_twice(root, "b")
        assert registry.names() == ("b", "b.c", "b.c.x")

        assert await registry.ref("b.c.x").call(Ping(), timeout_s=60) == 1
        assert trio.current_time() == 5


async def test_who_does_not_come_back_with_its_branch_is_gone(registry: Registry) -> None:
    """Its callers are told when that is known: when the branch is up without it."""
    root = Supervisor([ChildSpec("b", changing("xy", "xy", "yz"))], backoff=ONCE_THEN_5_S)
    async with opened(registry, root):
        await crash_twice(root, "b")
        with pytest.raises(ActorDown, match=r"b.x has ended and takes no more messages"):
            await registry.ref("b.x").call(Ping(), timeout_s=60)

        assert trio.current_time() == 5
        assert registry.names() == ("b", "b.y", "b.z")


async def test_who_does_not_come_back_with_the_tree_is_gone_at_once(registry: Registry) -> None:
    """Waiting for a branch whose supervisor has given up would be waiting for nobody."""
    intensity = RestartIntensity(0, 60)
    root = Supervisor([ChildSpec("b", changing("x", "x"))], intensity=intensity)

    async def run() -> None:
        async with opened(registry, root):
            root.kill("b")
            await trio.sleep_forever()

    with pytest.raises(RestartIntensityExceeded, match=r"the last was b: killed"):
        await run()
    assert registry.names() == ()


async def test_terminating_a_branch_that_waits_for_its_restart_frees_its_names(
    registry: Registry,
) -> None:
    """It is not coming back, so nobody may wait for it."""
    branch = ChildSpec("b", changing("x", "x", "x"), Restart.TRANSIENT)
    root = Supervisor([branch], backoff=ONCE_THEN_5_S)
    async with opened(registry, root):
        await crash_twice(root, "b")
        await root.terminate_child("b")
        with pytest.raises(ActorNotFound, match=r"no actor is registered as 'b.x'"):
            await registry.ref("b.x").call(Ping())

        await root.restart_child("b")
        assert await registry.ref("b.x").call(Ping()) == 1


async def test_a_branch_that_fails_to_start_again_leaves_no_name_behind(
    registry: Registry,
) -> None:
    """Its children came up and ended again in between; the model found this one."""
    can_start = iter([True, False, False, True])

    class Stubborn(Worker):
        async def on_start(self) -> None:
            if not next(can_start):
                raise OSError("no disk")

    children = [ChildSpec("x", Worker), ChildSpec("y", Stubborn)]
    root = Supervisor([ChildSpec("b", lambda: Supervisor(children))], backoff=ONCE_THEN_5_S)
    async with opened(registry, root):
        with pytest.raises(StartFailed, match=r"b did not start: .*y did not start"):
            await root.restart("b")
        await trio.testing.wait_all_tasks_blocked()
        assert registry.names() == ("b", "b.x", "b.y")
        await root.terminate_child("b")
        assert registry.names() == ()


async def test_dynamic_children_do_not_come_back_and_say_so(registry: Registry) -> None:
    """Nobody knows any more how they were started."""
    root = Supervisor([ChildSpec("pool", DynamicSupervisor)], backoff=ONCE_THEN_5_S)
    async with opened(registry, root):
        pool = root.supervisor("pool", DynamicSupervisor)
        handle = await pool.start_child(ChildSpec("w", Worker))
        root.kill("pool")
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(ActorNotFound, match=r"no actor is registered as 'pool.w-1'"):
            await handle.ref.call(Ping())


async def test_a_queue_that_is_full_while_its_branch_is_away_refuses_audibly(
    registry: Registry,
) -> None:
    """The bound holds then as well, and what was refused is counted."""
    spec = ChildSpec("x", Worker, mailbox=MailboxSpec(1, Overflow.REFUSE))
    root = Supervisor([ChildSpec("b", lambda: Supervisor([spec]))], backoff=ONCE_THEN_5_S)
    async with opened(registry, root), trio.open_nursery() as nursery:
        await crash_twice(root, "b")
        nursery.start_soon(partial(registry.ref("b.x").call, Ping(), timeout_s=60))
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(MailboxFull, match=r"b.x: mailbox is full \(1 messages queued\)"):
            await registry.ref("b.x").call(Ping())
        await trio.sleep(6)

        assert (root.info("b.x").refused, root.info("b.x").handled) == (1, 1)
        assert [report.child for report in root.all_crash_reports()] == ["b", "b"]


async def test_a_name_that_was_taken_meanwhile_is_left_to_whoever_has_it(
    registry: Registry,
) -> None:
    """The child does not start, and says why; nobody is adopted, nobody is harmed."""
    root = Supervisor([ChildSpec("a", Worker)])
    async with opened(registry, root):
        await root.terminate_child("a")
        for name in ("a", "new"):
            registry.register(Mailbox(name))
        with pytest.raises(StartFailed, match=r"a did not start: two actors want the name 'a'"):
            await root.restart_child("a")
        with pytest.raises(AlreadyPresent, match=r"a is there, though not running"):
            await root.start_child(ChildSpec("a", Worker))
        with pytest.raises(AlreadyStarted, match=r"new runs already, outside") as caught:
            await root.start_child(ChildSpec("new", Worker))

        assert caught.value.child == "new"
        assert (await root.count_children()).specs == 1
        assert registry.names() == ("a", "new")
        registry.unregister(registry.mailbox("a"))
        await root.restart_child("a")
        assert await registry.ref("a").call(Ping()) == 2
