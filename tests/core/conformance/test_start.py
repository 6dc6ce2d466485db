"""OTP's `sup_start`, cases 1 to 12: supervisors and children that start, say no, or fail.

Held here: sup_start_normal, sup_start_ignore_init, sup_start_ignore_child,
sup_start_ignore_temporary_child, sup_start_ignore_temporary_child_start_child,
sup_start_ignore_temporary_child_start_child_simple,
sup_start_ignore_permanent_child_start_child_simple, sup_start_error_return, sup_start_fail,
sup_start_child_returns_error, sup_start_restart_child_returns_error,
sup_start_child_returns_error_simple.

There is no `init` here. What decides whether a supervisor exists is the `start` of its
specification in the supervisor above, so cases about `init` are told of that. "No exit signal
leaks" is: no crash report, no task left, no name left.
"""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from runtime.core.child import ChildSpec, Exit, Restart
from runtime.core.dynamic import DynamicSupervisor
from runtime.core.errors import ChildNotFound, Ignore, Shutdown, StartFailed, SupervisorDown
from runtime.core.info import ChildCounts
from runtime.core.supervisor import Supervisor
from runtime.testing_core import Act, Instead, Stage, nothing, raising, settle


@pytest.fixture
def stage() -> Stage:
    """An empty stage."""
    return Stage()


IGNORING = raising(Ignore())


def tasks() -> int:
    """Return how many tasks live in this run."""
    return trio.lowlevel.current_statistics().tasks_living


def counts(workers: int) -> ChildCounts:
    """Return the counts of a supervisor of so many workers, all of them alive."""
    return ChildCounts(specs=workers, active=workers, supervisors=0, workers=workers)


def refuse() -> Any:
    """Fail the way a broken start function does."""
    raise ValueError("no such device")


# How a child does not start, and what is said about it.
NOT_STARTING: dict[str, tuple[Act | Instead, str]] = {
    "start raises": (Instead(refuse), "ValueError: no such device"),
    "start returns rubbish": (Instead(lambda: 42), "must return an actor or a supervisor, was int"),
    "start returns nothing": (Instead(lambda: None), "was NoneType"),
    "start returns a class": (Instead(lambda: object), "was type"),
    "raises before it is up": (raising(ValueError("no licence")), "ValueError: no licence"),
    "shuts down before it is up": (raising(Shutdown("not today")), "Shutdown: not today"),
}


@pytest.fixture(params=list(NOT_STARTING.values()), ids=list(NOT_STARTING))
def not_starting(request: pytest.FixtureRequest) -> tuple[Act | Instead, str]:
    """One way in which a child does not start, and what is said about it."""
    beginning: tuple[Act | Instead, str] = request.param
    return beginning


@pytest.mark.parametrize("kind", [lambda: Supervisor([]), DynamicSupervisor])
async def test_sup_start_normal(
    stage: Stage, kind: Callable[[], Supervisor | DynamicSupervisor]
) -> None:
    """A supervisor starts with no children, and ends cleanly when it is told to shut down."""
    tasks_before = tasks()

    async with stage.run(kind()) as root:
        assert await root.which_children() == ()
        assert await root.count_children() == counts(0)
        assert root.is_ready

    assert tasks() == tasks_before
    assert root.crash_reports == ()
    with pytest.raises(SupervisorDown, match="not running"):
        await root.which_children()


async def test_sup_start_ignore_init(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """A supervisor that is switched off says `ignore`: there is none, and nobody is alarmed."""
    started: list[str] = []

    def switched_off() -> Supervisor:
        started.append("off")
        raise Ignore

    top = Supervisor([ChildSpec("static", switched_off)])
    tasks_before = tasks()
    async with stage.run(top):
        added = await top.start_child(ChildSpec("added", switched_off))
        await settle()

        assert not added.is_running
        assert started == ["off", "off"]
        assert [entry.state for entry in await top.which_children()] == ["stopped", "stopped"]
        assert (await top.count_children()).active == 0

    assert tasks() == tasks_before
    assert top.crash_reports == ()
    assert caplog.text == ""


async def test_sup_start_ignore_child(stage: Stage) -> None:
    """A permanent child whose start says `ignore` keeps its place, without a process."""
    off, on = stage.child("off").begin_with(IGNORING), stage.child("on")

    async with stage.open(off, on) as root:
        listed = [(entry.id, entry.state) for entry in await root.which_children()]
        counted = await root.count_children()
        assert listed == [("off", "stopped"), ("on", "running")]
        assert (counted.specs, counted.active) == (2, 1)
        assert await root.get_child_spec("off") == off.spec
        assert root.is_ready  # it does not wait for what will not come

        # Its second start is not said no to.
        assert (await root.restart_child("off")).is_running


async def test_sup_start_ignore_temporary_child(stage: Stage) -> None:
    """A temporary child given from the beginning that says `ignore` is not even kept."""
    off = stage.child("off", restart=Restart.TEMPORARY).begin_with(IGNORING)

    async with stage.open(off, stage.child("on")) as root:
        assert [entry.id for entry in await root.which_children()] == ["on"]
        assert await root.count_children() == counts(1)
        with pytest.raises(ChildNotFound, match="no child 'off'"):
            await root.get_child_spec("off")


async def test_sup_start_ignore_temporary_child_start_child(stage: Stage) -> None:
    """A temporary child added later that says `ignore` is not kept either, and may come again."""
    off = stage.child("off", restart=Restart.TEMPORARY).begin_with(IGNORING)

    async with stage.open(stage.child("on")) as root:
        handle = await root.start_child(off.spec)

        assert not handle.is_running
        assert [entry.id for entry in await root.which_children()] == ["on"]
        assert stage.registry.names() == ("on",)
        assert (await root.start_child(off.spec)).is_running


async def check_ignored_by_dynamic(stage: Stage, restart: Restart) -> None:
    """Start children of that kind under a dynamic supervisor: one says no, the others do not."""
    off = stage.child("off", restart=restart).begin_with(nothing, IGNORING)
    tasks_before = tasks()

    async with stage.run(DynamicSupervisor()) as root:
        first = await root.start_child(off.spec)
        ignored = await root.start_child(off.spec)
        third = await root.start_child(off.spec)

        running = [handle.is_running for handle in (first, ignored, third)]
        assert running == [True, False, True]
        assert [entry.handle for entry in await root.which_children()] == [first, third]
        assert await root.count_children() == counts(2)
        assert stage.registry.names() == (first.name, third.name)
        with pytest.raises(ChildNotFound, match="no child"):
            await root.get_child_spec(ignored)

    assert tasks() == tasks_before
    assert root.crash_reports == ()
    assert (len(off.lives), off.exits) == (3, [Exit.SHUTDOWN, Exit.SHUTDOWN])


async def test_sup_start_ignore_temporary_child_start_child_simple(stage: Stage) -> None:
    """A temporary child of a dynamic supervisor that says `ignore` is not kept."""
    await check_ignored_by_dynamic(stage, Restart.TEMPORARY)


async def test_sup_start_ignore_permanent_child_start_child_simple(stage: Stage) -> None:
    """Nor is a permanent one, and the supervisor still ends without an error."""
    await check_ignored_by_dynamic(stage, Restart.PERMANENT)


@pytest.mark.parametrize("rubbish", [None, 42, "invalid", object, lambda: None])
async def test_sup_start_error_return(stage: Stage, rubbish: object) -> None:
    """Where a supervisor should be made comes rubbish: whoever starts it is told, no more."""
    before = stage.child("before")
    broken = stage.child("broken").begin_with(Instead(lambda: rubbish))
    tasks_before = tasks()

    with pytest.raises(StartFailed, match=r"broken did not start: .*start must return"):
        async with stage.open(before, broken):
            pytest.fail("the block ran")

    assert before.exits == [Exit.SHUTDOWN]
    assert stage.registry.names() == ()
    assert tasks() == tasks_before


async def test_sup_start_fail(stage: Stage) -> None:
    """Where a supervisor should be made something is raised: the caller gets it with its stack."""
    before = stage.child("before")
    broken = stage.child("broken").begin_with(Instead(refuse))
    tasks_before = tasks()

    with pytest.raises(StartFailed, match="broken did not start: ValueError") as raised:
        async with stage.open(before, broken):
            pytest.fail("the block ran")

    cause = raised.value.__cause__
    assert isinstance(cause, ValueError)
    assert "refuse" in [frame.name for frame in traceback.extract_tb(cause.__traceback__)]
    assert before.exits == [Exit.SHUTDOWN]
    assert stage.registry.names() == ()
    assert tasks() == tasks_before


async def check_nothing_kept(
    stage: Stage,
    root: Supervisor | DynamicSupervisor,
    start: Callable[[], Awaitable[object]],
    match: str,
) -> None:
    """Have a start fail, and see that it left nothing behind."""
    tasks_before, names_before = tasks(), stage.registry.names()
    listed_before = await root.which_children()

    with pytest.raises(StartFailed, match=match):
        await start()

    await settle()
    assert tasks() == tasks_before
    assert stage.registry.names() == names_before
    assert await root.which_children() == listed_before


async def test_sup_start_child_returns_error(
    stage: Stage, not_starting: tuple[Act | Instead, str]
) -> None:
    """A child that does not start is not added; the supervisor and its children live on."""
    beginning, why = not_starting
    good = stage.child("good")
    bad = stage.child("bad").begin_with(beginning)

    async with stage.open(good) as root:
        await check_nothing_kept(stage, root, lambda: root.start_child(bad.spec), why)

        assert len(good.lives) == 1
        with pytest.raises(ChildNotFound, match="no child"):
            await root.get_child_spec("bad")
        # Nothing of it is in the way of a better try.
        assert (await root.start_child(bad.spec)).is_running


async def test_sup_start_restart_child_returns_error(
    stage: Stage, not_starting: tuple[Act | Instead, str]
) -> None:
    """A restart by hand that fails leaves the specification, and no process."""
    beginning, why = not_starting
    child = stage.child("child").begin_with(nothing, beginning)

    async with stage.open(child) as root:
        await root.terminate_child("child")
        await check_nothing_kept(stage, root, lambda: root.restart_child("child"), why)

        assert (await root.which_child("child")).state == "stopped"
        assert await root.get_child_spec("child") == child.spec
        assert not child.is_alive
        await trio.sleep(60)
        assert not child.is_alive  # nobody tries again by himself
        assert (await root.restart_child("child")).is_running


async def test_sup_start_child_returns_error_simple(
    stage: Stage, not_starting: tuple[Act | Instead, str]
) -> None:
    """Under a dynamic supervisor: the child's own reason, and nothing kept."""
    beginning, why = not_starting
    bad = stage.child("bad").begin_with(nothing, beginning)

    async with stage.run(DynamicSupervisor()) as root:
        good = await root.start_child(bad.spec)
        await check_nothing_kept(stage, root, lambda: root.start_child(bad.spec), why)

        assert [entry.handle for entry in await root.which_children()] == [good]
        assert (await root.start_child(bad.spec)).is_running
