"""Ready is more than started: answers are good, here and everywhere below."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import pytest
import trio
import trio.testing

from runtime.core.actor import Actor
from runtime.core.backoff import Backoff
from runtime.core.child import ChildSpec, Restart
from runtime.core.clock import TrioClock
from runtime.core.errors import SupervisorDown
from runtime.core.registry import Registry
from runtime.core.supervisor import Supervisor
from runtime.core.tree import open_tree


class Warm(Actor):
    """Is ready after `takes_s`, and says so itself."""

    ready_by_itself = False

    def __init__(self, takes_s: float) -> None:
        self.takes_s = takes_s

    async def on_start(self) -> None:
        """Begin to warm up."""
        self.context.nursery.start_soon(self._warm_up)

    async def _warm_up(self) -> None:
        await trio.sleep(self.takes_s)
        self.context.ready()


class Moody(Actor):
    """Is ready, is not for a second, and is again."""

    async def on_start(self) -> None:
        """Begin."""
        self.context.nursery.start_soon(self._change)

    async def _change(self) -> None:
        await trio.sleep(1)
        self.context.not_ready()
        await trio.sleep(1)
        self.context.ready()


def opened(*children: ChildSpec) -> AbstractAsyncContextManager[Supervisor]:
    """Run a tree in virtual time."""
    root = Supervisor(children, backoff=Backoff(min_s=4, max_s=4, jitter=0), intensity=None)
    clock = TrioClock(start_utc_ms=0)
    return open_tree(root, clock=clock, rng=random.Random(0), registry=Registry())


def warm(child_id: str, takes_s: float) -> ChildSpec:
    """Return the specification of an actor that warms up."""
    return ChildSpec(child_id, partial(Warm, takes_s))


async def test_a_tree_is_ready_when_its_last_leaf_is() -> None:
    """Started it is at once: nobody waits for another's warmth to start."""
    branch = ChildSpec("b", lambda: Supervisor([warm("x", 3), warm("y", 5)]))
    async with opened(warm("a", 1), branch, ChildSpec("c", Actor)) as root:
        assert trio.current_time() == 0
        await trio.sleep(4)
        assert [info.ready for info in root.describe()] == [True, False, True]
        assert [info.ready for info in root.info("b").children] == [True, False]

        await root.wait_ready()
        assert trio.current_time() == 5
        assert root.is_ready
        await root.wait_ready()


async def test_a_crash_makes_a_tree_unready_until_its_child_is_warm_again() -> None:
    """Through the back-off and through the warming up."""
    branch = ChildSpec("b", lambda: Supervisor([warm("x", 3)]))
    async with opened(branch) as root:
        await root.wait_ready()
        root.kill("b")
        await trio.testing.wait_all_tasks_blocked()
        assert not root.is_ready
        await root.wait_ready()
        # The first restart is at once.
        assert trio.current_time() == 6

        root.kill("b")
        await trio.sleep(1)
        assert (root.is_ready, root.info("b").state) == (False, "restarting")
        await root.wait_ready()
        assert trio.current_time() == 13


async def test_readiness_can_be_taken_back() -> None:
    """Whoever has lost its source says so, and comes back."""
    async with opened(ChildSpec("b", lambda: Supervisor([ChildSpec("x", Moody)]))) as root:
        await trio.sleep(1.5)
        assert not root.is_ready

        await root.wait_ready()
        assert trio.current_time() == 2


@pytest.mark.parametrize("end", ["terminate", "end", "delete"])
async def test_a_child_that_is_not_to_run_keeps_nobody_from_being_ready(end: str) -> None:
    """It is stopped, gone or switched off; nobody waits for its answers."""

    class Ends(Warm):
        async def _warm_up(self) -> None:
            await trio.sleep(self.takes_s)
            self.context.stop()

    takes_s = 1 if end == "end" else 600
    async with opened(ChildSpec("a", partial(Ends, takes_s), Restart.TRANSIENT)) as root:
        assert not root.is_ready
        if end != "end":
            await root.terminate_child("a")
        if end == "delete":
            await root.delete_child("a")
        await root.wait_ready()
        assert trio.current_time() <= 1


async def test_whoever_waits_for_a_tree_that_ends_is_told(nursery: trio.Nursery) -> None:
    """It will never be ready."""
    told: list[str] = []

    async def wait(wait_ready: Callable[[], object]) -> None:
        try:
            await wait_ready()  # type: ignore[misc]
        except SupervisorDown as error:
            told.append(str(error))

    tree = opened(warm("a", 600))
    async with tree as root:
        nursery.start_soon(wait, root.wait_ready)
        await trio.sleep(1)
    await trio.testing.wait_all_tasks_blocked()

    assert told == ["the supervisor is not running"]
