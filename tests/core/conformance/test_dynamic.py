"""OTP's `simple_one_for_one`, cases 35 to 40: children that come and go.

Held here: simple_one_for_one, simple_one_for_one_shutdown, simple_one_for_one_extra,
simple_one_for_one_escalation, simple_one_for_one_corruption, simple_one_for_one_restart_ignore.

What OTP calls a strategy is `DynamicSupervisor` here, Elixir's model: each start gives a whole
specification, and what OTP appends as extra arguments is what that specification is made with.
"""

from __future__ import annotations

import gc
import weakref
from functools import partial

import pytest
import trio

from runtime.core.backoff import RestartIntensity
from runtime.core.child import Child, ChildSpec, Exit, Restart
from runtime.core.dynamic import DynamicSupervisor
from runtime.core.errors import ChildNotFound, Ignore, RestartIntensityExceeded
from runtime.core.handle import ChildHandle
from runtime.testing_core import (
    AT_ONCE,
    Script,
    Stage,
    hanging,
    nothing,
    raising,
    settle,
    sleeping,
)

BOOM = raising(ValueError("boom"))


@pytest.fixture
def stage() -> Stage:
    """An empty stage."""
    return Stage()


def pool(max_restarts: int = 1) -> DynamicSupervisor:
    """Return a dynamic supervisor that allows so many restarts an hour."""
    intensity = RestartIntensity(max_restarts=max_restarts, within_s=3600)
    return DynamicSupervisor(intensity=intensity, backoff=AT_ONCE)


async def start_all(root: DynamicSupervisor, *children: Script) -> list[ChildHandle]:
    """Start these children, in this order."""
    return [await root.start_child(child.spec) for child in children]


async def crash_twice(stage: Stage, first: Script, second: Script) -> None:
    """Crash a child, and its next life, where one crash is allowed."""
    async with stage.run(pool()) as root:
        await start_all(root, first, second)
        for _ in range(2):
            first.do(BOOM)
            await settle()
        await trio.sleep(60)


async def test_simple_one_for_one(stage: Stage) -> None:
    """Only the dead child is replaced; one more crash than allowed ends the supervisor."""
    first, second = stage.child("child"), stage.child("child")
    async with stage.run(pool()) as root:
        handles = await start_all(root, first, second)
        first.do(BOOM)
        await settle()

        assert (len(first.lives), len(second.lives)) == (2, 1)
        assert first.is_alive
        assert second.is_alive
        # Its handle and its name outlive the crash.
        assert [entry.handle for entry in await root.which_children()] == handles
        assert (first.life.name, first.life.incarnation) == (handles[0].name, 2)

    with pytest.raises(RestartIntensityExceeded, match="gave up after 2 crashes within 3600 s"):
        await crash_twice(stage, one := stage.child("one"), two := stage.child("two"))
    assert one.exits == [Exit.CRASH, Exit.CRASH]
    assert two.exits == [Exit.SHUTDOWN]


async def test_simple_one_for_one_shutdown(stage: Stage) -> None:
    """Each ends in its own time, the slow one at its limit; together they take no longer."""
    times_s = [0.5, 1.0, 2.0, 3.5]
    graceful = [stage.child("graceful", shutdown_s=4.0) for _ in times_s]
    for child, time_s in zip(graceful, times_s, strict=True):
        child.on_stop = sleeping(time_s)
    slow = stage.child("slow", shutdown_s=4.0)
    slow.on_stop = hanging

    async with stage.run(pool()) as root:
        await start_all(root, *graceful[:2], slow, *graceful[2:])
        await trio.sleep(10)

    assert [child.moments_s("ended") for child in graceful] == [[10 + time_s] for time_s in times_s]
    assert [child.exits for child in graceful] == [[Exit.SHUTDOWN]] * 4
    assert slow.exits == [Exit.KILLED]
    assert trio.current_time() == 10 + 4


async def test_simple_one_for_one_extra(stage: Stage) -> None:
    """What a child says of itself at its start does not get in the way of its restart."""
    child, other = stage.child("child"), stage.child("other")
    child.info, other.info = "an extra term", ["another"]
    async with stage.run(pool(max_restarts=2)) as root:
        handle, other_handle = await start_all(root, child, other)
        assert (handle.info, other_handle.info) == ("an extra term", ["another"])

        for _ in range(2):
            child.do(BOOM)
            await settle()

        assert len(child.lives) == 3
        assert child.is_alive
        assert child.life.info == "an extra term"
        assert len(other.lives) == 1
        await root.terminate_child(handle)
        assert [entry.handle for entry in await root.which_children()] == [other_handle]


async def crash_the_unwilling(stage: Stage, unwilling: Script, other: Script) -> None:
    """Crash a child that can never be started again."""
    async with stage.run(pool(max_restarts=3)) as root:
        await start_all(root, unwilling, other)
        unwilling.do(BOOM)
        await trio.sleep(60)


async def test_simple_one_for_one_escalation(stage: Stage) -> None:
    """A child that cannot be restarted takes the supervisor down, and so its siblings."""
    unwilling, other = stage.child("unwilling"), stage.child("other")
    unwilling.begin_with(nothing, *[raising(ValueError("will not start"))] * 10)

    with pytest.raises(RestartIntensityExceeded, match=r"4 crashes.*unwilling-1: .*will not start"):
        await crash_the_unwilling(stage, unwilling, other)

    assert (unwilling.exits, other.exits) == ([Exit.CRASH], [Exit.SHUTDOWN])
    assert len(unwilling.lives) == 4
    assert stage.registry.names() == ()


class Argument:
    """Something a child is started with, so large that keeping it would be a leak."""


def made_with(argument: Argument, script: Script) -> Child:
    """Make a child that looks at its argument, and keeps nothing of it."""
    del argument
    return script.spec.start()


async def start_with_argument(
    root: DynamicSupervisor, script: Script, restart: Restart
) -> tuple[ChildHandle, weakref.ref[Argument]]:
    """Start a child with an argument that nobody but the supervisor may hold on to."""
    argument = Argument()
    spec = ChildSpec("child", partial(made_with, argument, script), restart=restart)
    return await root.start_child(spec), weakref.ref(argument)


async def test_simple_one_for_one_corruption(stage: Stage) -> None:
    """No start argument of a temporary child is retained, before and after the first one's death.

    OTP looks for them on the supervisor's heap; here each argument is looked at by weak reference.
    A permanent one's must still be there, or it could not be started again.
    """
    scripts = [stage.child("child") for _ in range(3)]
    async with stage.run(pool()) as root:
        started = [await start_with_argument(root, s, Restart.TEMPORARY) for s in scripts[:2]]
        kept = await start_with_argument(root, scripts[2], Restart.PERMANENT)
        await settle()
        gc.collect()
        assert [argument() for _, argument in started] == [None, None]

        scripts[0].do(BOOM)
        await settle()
        gc.collect()
        later = stage.child("child")
        _, argument = await start_with_argument(root, later, Restart.TEMPORARY)
        await settle()
        gc.collect()

        assert argument() is None
        assert kept[1]() is not None
        # The list of children is none the worse for it.
        scripts[2].do(BOOM)
        await settle()
        assert scripts[2].is_alive
        assert (await root.count_children()).active == 3
        await root.terminate_child(started[1][0])
        assert (await root.count_children()).specs == 2


async def test_simple_one_for_one_restart_ignore(stage: Stage) -> None:
    """A child that says `ignore` when it is started again is gone, and nobody is alarmed."""
    child, other = stage.child("child"), stage.child("other")
    child.begin_with(nothing, raising(Ignore()))
    async with stage.run(pool()) as root:
        handle, other_handle = await start_all(root, child, other)
        child.do(BOOM)
        await settle()

        assert [entry.handle for entry in await root.which_children()] == [other_handle]
        counts = await root.count_children()
        assert (counts.specs, counts.active) == (1, 1)
        assert stage.registry.names() == (other_handle.name,)
        assert root.is_ready
        with pytest.raises(ChildNotFound, match="no child"):
            await root.which_child(handle)
        # Of what happened only the crash is told.
        assert [report.reason for report in root.crash_reports] == ["ValueError: boom"]
