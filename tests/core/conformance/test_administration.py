"""OTP's administration, cases 23 to 25 and 29: children managed at run time.

Held here: child_adm, child_adm_simple, extra_return, multiple_restarts.

OTP's `noproc` is `SupervisorDown` here, `running` is `StillRunning`.
"""

from __future__ import annotations

from typing import Any

import pytest
import trio

from runtime.core.backoff import RestartIntensity
from runtime.core.child import ChildSpec, Exit
from runtime.core.dynamic import DynamicSupervisor
from runtime.core.errors import (
    AlreadyPresent,
    AlreadyStarted,
    ChildNotFound,
    RestartIntensityExceeded,
    StillRunning,
    SupervisorDown,
)
from runtime.core.info import ChildCounts
from runtime.core.supervisor import Supervisor
from runtime.testing_core import Stage, nothing, raising, settle

BOOM = raising(ValueError("boom"))


@pytest.fixture
def stage() -> Stage:
    """An empty stage."""
    return Stage()


def counts(specs: int, active: int) -> ChildCounts:
    """Return the counts of a supervisor that has only workers."""
    return ChildCounts(specs=specs, active=active, supervisors=0, workers=specs)


async def listed(root: Supervisor) -> list[tuple[str, str]]:
    """Return the children and what they are doing."""
    return [(entry.id, entry.state) for entry in await root.which_children()]


async def test_child_adm(stage: Stage) -> None:
    """Start, terminate, restart, delete, list, count: each does its part, or says why not."""
    child = stage.child("child")
    async with stage.open() as root:
        assert await root.count_children() == counts(0, 0)

        handle = await root.start_child(child.spec)
        assert (handle.id, handle.is_running) == ("child", True)
        assert await listed(root) == [("child", "running")]
        assert await root.count_children() == counts(1, 1)
        with pytest.raises(AlreadyStarted, match="runs already") as started:
            await root.start_child(child.spec)
        assert started.value.child == "child"
        with pytest.raises(StillRunning, match="is running"):
            await root.restart_child("child")
        with pytest.raises(StillRunning, match="is running"):
            await root.delete_child("child")
        assert len(child.lives) == 1

        for _ in range(2):
            # Terminating what is terminated already is no error.
            await root.terminate_child("child")
            assert child.exits == [Exit.SHUTDOWN]
            assert await listed(root) == [("child", "stopped")]
            assert await root.count_children() == counts(1, 0)
        with pytest.raises(AlreadyPresent, match="though not running"):
            await root.start_child(child.spec)

        assert (await root.restart_child("child")).is_running
        assert len(child.lives) == 2
        assert await listed(root) == [("child", "running")]
        with pytest.raises(StillRunning, match="is running"):
            await root.restart_child("child")

        await root.terminate_child("child")
        await root.delete_child("child")
        assert await listed(root) == []
        assert await root.count_children() == counts(0, 0)
        with pytest.raises(ChildNotFound, match="no child 'child'"):
            await root.terminate_child("child")

        assert (await root.start_child(child.spec)).is_running
        assert child.exits == [Exit.SHUTDOWN, Exit.SHUTDOWN]
        assert root.crash_reports == ()


@pytest.mark.parametrize(
    "operation", ["terminate_child", "restart_child", "delete_child", "which_child"]
)
async def test_child_adm_of_nobody(stage: Stage, operation: str) -> None:
    """What is asked about a child that there is not is answered so; without a supervisor too."""
    async with stage.open(stage.child("child")) as root:
        with pytest.raises(ChildNotFound, match="no child 'nobody'"):
            await getattr(root, operation)("nobody")
        assert await listed(root) == [("child", "running")]

    with pytest.raises(SupervisorDown, match="not running"):
        await getattr(root, operation)("child")
    for ask in (root.which_children, root.count_children):
        with pytest.raises(SupervisorDown, match="not running"):
            await ask()
    with pytest.raises(SupervisorDown, match="not running"):
        await root.start_child(stage.child("other").spec)


async def test_child_adm_simple(stage: Stage) -> None:
    """Under a dynamic supervisor children are addressed by handle; a stranger is left alone."""
    worker, strange = stage.child("worker"), stage.child("worker")
    pool, other_pool = DynamicSupervisor(), DynamicSupervisor()
    top = [ChildSpec("pool", lambda: pool), ChildSpec("other", lambda: other_pool)]
    async with stage.run(Supervisor(top)):
        first = await pool.start_child(worker.spec)
        second = await pool.start_child(worker.spec)
        stranger = await other_pool.start_child(strange.spec)
        assert stranger.id == first.id
        assert [entry.handle for entry in await pool.which_children()] == [first, second]
        assert await pool.count_children() == counts(2, 2)

        with pytest.raises(ChildNotFound, match="no child"):
            await pool.terminate_child(stranger)
        assert strange.is_alive

        await pool.terminate_child(first)
        assert worker.exits == [Exit.SHUTDOWN]
        assert [entry.handle for entry in await pool.which_children()] == [second]
        assert await pool.count_children() == counts(1, 1)
        with pytest.raises(ChildNotFound, match="no child"):
            await pool.terminate_child(first)

    with pytest.raises(SupervisorDown, match="not running"):
        await pool.terminate_child(second)


@pytest.mark.parametrize("operation", ["terminate_child", "which_child", "get_child_spec"])
async def test_child_adm_simple_by_id(stage: Stage, operation: str) -> None:
    """By id a dynamic child is not found, and the restart and deletion by id do not exist."""
    worker = stage.child("worker")
    async with stage.run(DynamicSupervisor()) as pool:
        handle = await pool.start_child(worker.spec)
        not_a_handle: Any = handle.id

        with pytest.raises(ChildNotFound, match="no child"):
            await getattr(pool, operation)(not_a_handle)

        assert worker.is_alive
        assert not hasattr(pool, "restart_child")
        assert not hasattr(pool, "delete_child")


async def test_extra_return(stage: Stage) -> None:
    """What a child says of itself when it comes up reaches whoever started it, every time."""
    child = stage.child("child")
    async with stage.open() as root:
        child.info = {"port": 8001}
        assert (await root.start_child(child.spec)).info == {"port": 8001}

        child.info = {"port": 8002}
        child.do(BOOM)
        await settle()
        # Restarted by its supervisor, with nobody to tell.
        assert child.is_alive
        assert child.life.info == {"port": 8002}

        await root.terminate_child("child")
        child.info = {"port": 8003}
        assert (await root.restart_child("child")).info == {"port": 8003}
        with pytest.raises(AlreadyStarted, match="runs already"):
            await root.start_child(child.spec)

        await root.terminate_child("child")
        await root.delete_child("child")
        child.info = None
        assert (await root.start_child(child.spec)).info is None
        assert len(child.lives) == 4


async def test_multiple_restarts(stage: Stage) -> None:
    """Crashes further apart than the period never end the supervisor, however many there are."""
    child = stage.child("child")
    intensity = RestartIntensity(max_restarts=1, within_s=1.0)
    async with stage.open(child, intensity=intensity) as root:
        for nth in range(1, 51):
            child.do(BOOM if nth % 2 else nothing)
            await trio.sleep(1.1)
            assert (len(child.lives), child.is_alive) == (nth + 1, True)
        assert len(root.crash_reports) == 20  # bounded; the ends were not


async def test_multiple_restarts_within_the_period(stage: Stage) -> None:
    """The control of `multiple_restarts`: closer together, the second crash ends it."""
    child = stage.child("child")

    async def crash_twice() -> None:
        intensity = RestartIntensity(max_restarts=1, within_s=1.0)
        async with stage.open(child, intensity=intensity):
            for _ in range(2):
                child.do(BOOM)
                await trio.sleep(0.9)

    with pytest.raises(RestartIntensityExceeded, match="2 crashes within 1 s"):
        await crash_twice()
    assert len(child.lives) == 2
