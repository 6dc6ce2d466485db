"""`open_tree`: a block and a tree live and end together, and nothing is left of either."""

from __future__ import annotations

import random
from contextlib import AbstractAsyncContextManager

import pytest
import trio
import trio.testing

from runtime.core.actor import Actor
from runtime.core.backoff import RestartIntensity
from runtime.core.child import ChildSpec
from runtime.core.clock import TrioClock
from runtime.core.errors import RestartIntensityExceeded
from runtime.core.message import Event
from runtime.core.registry import Registry
from runtime.core.supervisor import Supervisor
from runtime.core.tree import open_tree


class Die(Event, frozen=True):
    """Crash."""


class Busy(Actor):
    """An actor with a task of its own."""

    async def on_start(self) -> None:
        """Have something running."""
        self.context.nursery.start_soon(trio.sleep_forever)

    async def handle_cast(self, event: Event) -> None:
        """Crash."""
        raise ValueError(type(event).__name__)


def tree(registry: Registry) -> AbstractAsyncContextManager[Supervisor]:
    """Run a small tree that allows one crash."""
    inner = [ChildSpec("x", Busy), ChildSpec("y", Busy)]
    children = [ChildSpec("a", Busy), ChildSpec("b", lambda: Supervisor(inner))]
    root = Supervisor(children, intensity=RestartIntensity(1, 60))
    clock = TrioClock(start_utc_ms=0)
    return open_tree(root, clock=clock, rng=random.Random(0), registry=registry)


def tasks() -> int:
    """Return how many tasks are alive."""
    return trio.lowlevel.current_statistics().tasks_living


async def test_the_block_gets_the_root_and_everything_runs() -> None:
    """The names of a tree are its paths."""
    registry = Registry()
    async with tree(registry) as root:
        assert registry.names() == ("a", "b", "b.x", "b.y")
        assert [info.name for info in root.describe()] == ["a", "b"]


async def test_nothing_is_left_after_the_block() -> None:
    """Neither a task nor a name."""
    registry = Registry()
    before = tasks()
    async with tree(registry):
        assert tasks() > before

    assert tasks() == before
    assert registry.names() == ()


async def test_nothing_is_left_after_many_crashes() -> None:
    """Each incarnation takes its tasks with it."""
    registry = Registry()
    before = tasks()
    async with tree(registry):
        while_up = tasks()
        for _ in range(20):
            await trio.sleep(61)
            registry.ref("a").cast(Die())
            await trio.testing.wait_all_tasks_blocked()

        assert tasks() == while_up
    assert tasks() == before


async def test_the_block_is_cancelled_when_the_root_gives_up() -> None:
    """A bot must not go on trading on a runtime that is gone."""
    registry = Registry()
    before, reached = tasks(), []

    async def trade() -> None:
        async with tree(registry):
            for _ in range(2):
                registry.ref("a").cast(Die())
                await trio.testing.wait_all_tasks_blocked()
            reached.append("the end")

    with pytest.raises(RestartIntensityExceeded, match=r"the last was a: ValueError: Die"):
        await trade()
    assert not reached
    assert tasks() == before


async def test_an_error_of_the_block_comes_out_as_it_is() -> None:
    """The caller's `except` clauses must see what they would see without a tree."""
    before = tasks()
    with pytest.raises(LookupError, match=r"the bot's own") as caught:
        async with tree(Registry()):
            raise LookupError("the bot's own") from OSError("cause")

    assert isinstance(caught.value.__cause__, OSError)
    assert tasks() == before


async def test_a_group_that_the_block_raises_stays_a_group() -> None:
    """A nursery inside the block raises one, and its owner has written `except*`."""
    with pytest.raises(ExceptionGroup, match=r"the bot's own") as caught:
        async with tree(Registry()):
            raise ExceptionGroup("the bot's own", [LookupError("inside")])

    assert [str(error) for error in caught.value.exceptions] == ["inside"]


async def test_a_return_out_of_the_block_is_a_stop() -> None:
    """Leaving early is leaving in order."""
    registry = Registry()

    async def use() -> str:
        async with tree(registry):
            return "answer"

    assert await use() == "answer"
    assert registry.names() == ()


async def test_two_trees_live_side_by_side() -> None:
    """There is no state outside of a tree."""
    one, two = Registry(), Registry()
    async with tree(one), tree(two):
        one.ref("a").cast(Die())
        await trio.testing.wait_all_tasks_blocked()

        assert one.names() == two.names()
