"""OTP's supervisor suite, children that fail to restart over and over: cases 80 to 82.

A restart is tried each second here; OTP's tries at once, in messages to itself. Either way the
supervisor answers in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from runtime.core.backoff import Backoff, RestartIntensity
from runtime.core.errors import (
    AlreadyPresent,
    ChildNotFound,
    Restarting,
    RestartIntensityExceeded,
    StartFailed,
)
from runtime.core.handle import ChildEntry
from runtime.core.info import ChildCounts
from runtime.core.supervisor import Strategy, Supervisor

if TYPE_CHECKING:
    from tests.core.conformance.conftest import Stage

EACH_SECOND = Backoff(min_s=1, factor=1, max_s=1, jitter=0)


def states(entries: tuple[ChildEntry, ...]) -> list[tuple[str, str]]:
    """Return which child is in which state, in start order."""
    return [(each.id, each.state) for each in entries]


async def assert_refused(root: Supervisor, stage: Stage, child_id: str) -> None:
    """Prove that nothing but terminate is possible with a child between two lives."""
    with pytest.raises(Restarting, match=f"{child_id} is restarting"):
        await root.start_child(stage.child(child_id))
    with pytest.raises(Restarting, match=f"{child_id} is restarting"):
        await root.restart_child(child_id)
    with pytest.raises(Restarting, match=f"{child_id} is restarting"):
        await root.delete_child(child_id)


async def test_hanging_restart_loop(stage: Stage) -> None:
    """A child that cannot be restarted is shown as such, can be terminated, and hinders nobody."""
    async with stage.open(stage.child("a"), backoff=EACH_SECOND, intensity=None) as root:
        stage.unborn.add("a")
        await stage.end("a")
        await trio.sleep(10.5)
        assert 10 <= len(stage.attempts) <= 12, "it is tried again and again"
        assert states(await root.which_children()) == [("a", "restarting")]
        counts = ChildCounts(specs=1, active=0, supervisors=0, workers=1)
        assert await root.count_children() == counts
        await assert_refused(root, stage, "a")

        await root.terminate_child("a")
        tried = len(stage.attempts)
        await trio.sleep(10)
        assert len(stage.attempts) == tried, "no restart is left over"
        assert states(await root.which_children()) == [("a", "stopped")]
        with pytest.raises(AlreadyPresent, match="a is there"):
            await root.start_child(stage.child("a"))
        with pytest.raises(StartFailed, match="a cannot start"):
            await root.restart_child("a")
        stage.unborn.clear()
        assert (await root.restart_child("a")).is_running

        stage.unborn.add("a")
        await stage.end("a")
        await trio.sleep(5.5)
        asked_s = trio.current_time()
    assert trio.current_time() == asked_s, "stopping waits for no restart"


async def test_hanging_restart_loop_rest_for_one(stage: Stage) -> None:
    """The children after it are shown as not started; they can be added, but come with it."""
    specs = [stage.child(each) for each in "abc"]
    policy = {"strategy": Strategy.REST_FOR_ONE, "backoff": EACH_SECOND, "intensity": None}
    async with stage.open(*specs, **policy) as root:
        first = stage.alive["a"]
        stage.unborn.add("b")
        await stage.end("b")
        await trio.sleep(10.5)
        shown = [("a", "running"), ("b", "restarting"), ("c", "stopped")]
        assert states(await root.which_children()) == shown
        counts = ChildCounts(specs=3, active=1, supervisors=0, workers=3)
        assert await root.count_children() == counts
        await assert_refused(root, stage, "b")
        with pytest.raises(AlreadyPresent, match="c is there"):
            await root.start_child(specs[2])

        await root.terminate_child("b")
        shown[1] = ("b", "stopped")
        assert states(await root.which_children()) == shown
        with pytest.raises(StartFailed, match="b cannot start"):
            await root.restart_child("b")
        stage.unborn.clear()
        for each in "bc":
            await root.restart_child(each)
        assert stage.names() == "a b c"

        stage.unborn.add("b")
        await stage.end("b")
        await trio.sleep(5.5)
        stage.unborn.clear()
        await trio.sleep(1)
        assert (stage.names(), stage.alive["a"]) == ("a b c", first), "the rest came with it"
        stage.unborn.add("b")
        await stage.end("b")
    assert stage.alive == {}


async def test_hanging_restart_loop_simple(stage: Stage) -> None:
    """The same by handle under a dynamic supervisor, which cannot restart or delete by hand.

    Once terminated it is forgotten; and with a limit, the loop ends in giving up.
    """
    async with stage.open_dynamic(backoff=EACH_SECOND, intensity=None) as root:
        handle = await root.start_child(stage.child("w"))
        stage.unborn.add("w-1")
        await stage.end("w-1")
        await trio.sleep(10.5)
        assert (await root.which_child(handle)).state == "restarting"
        counts = ChildCounts(specs=1, active=0, supervisors=0, workers=1)
        assert await root.count_children() == counts

        await root.terminate_child(handle)
        tried = len(stage.attempts)
        await trio.sleep(10)
        assert (len(stage.attempts), await root.which_children()) == (tried, ())
        with pytest.raises(ChildNotFound, match="w-1"):
            await root.terminate_child(handle)

    stage.unborn.clear()
    ten = RestartIntensity(10, 1000)

    async def go_on_for_ever() -> None:
        async with stage.open_dynamic(backoff=EACH_SECOND, intensity=ten) as root:
            await root.start_child(stage.child("w"))
            stage.unborn.add("w-1")
            await stage.end("w-1")
            await trio.sleep_forever()

    with pytest.raises(RestartIntensityExceeded, match="gave up after 11 crashes"):
        await go_on_for_ever()
