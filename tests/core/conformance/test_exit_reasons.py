"""OTP's supervisor suite, exit reasons x restart types: cases 44 to 54, all of them.

`normal` is a run that returns, `shutdown` a child that raises `Shutdown`, `abnormal` one that
raises anything else or is killed.
"""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING

import pytest

from runtime.core.child import Exit, Restart
from runtime.core.errors import ChildNotFound, StartFailed
from runtime.core.info import ChildCounts
from runtime.core.trace import Happening

if TYPE_CHECKING:
    from runtime.core.supervisor import Supervisor
    from tests.core.conformance.conftest import Stage

GONE = ChildCounts(specs=0, active=0, supervisors=0, workers=0)
RESTING = ChildCounts(specs=1, active=0, supervisors=0, workers=1)
RUNNING = ChildCounts(specs=1, active=1, supervisors=0, workers=1)


async def counts_after(root: Supervisor, stage: Stage, restart: Restart, how: Exit) -> ChildCounts:
    """Add a child, have it end, and return what there is then; whether it is a new one, too."""
    await root.start_child(stage.child("a", restart))
    old = await stage.end("a", how)
    assert stage.alive.get("a") is not old
    return await root.count_children()


async def test_external_start_no_progress_log(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """A child added from outside is no news of the supervisor's: nothing is logged or reported.

    Adapted: our supervisors never log progress; the ring of events has it, once, for who asks.
    """
    caplog.set_level(logging.DEBUG)
    async with stage.open() as root:
        await root.start_child(stage.child("a"))
        noted = [event.kind for event in root.last_events() if event.name == "a"]
        reports = root.all_crash_reports()
        logged = list(caplog.records)

    assert noted.count(Happening.STARTED) == 1
    assert (reports, [each for each in logged if each.name.startswith("marketd")]) == ((), [])


async def test_permanent_normal(stage: Stage) -> None:
    """A permanent child is restarted even when it ends in the ordinary way."""
    async with stage.open() as root:
        assert await counts_after(root, stage, Restart.PERMANENT, Exit.NORMAL) == RUNNING


async def test_transient_normal(stage: Stage) -> None:
    """A transient child that ends in the ordinary way rests; its specification is kept."""
    async with stage.open() as root:
        assert await counts_after(root, stage, Restart.TRANSIENT, Exit.NORMAL) == RESTING
        assert (await root.which_child("a")).state == "stopped"
        assert (await root.restart_child("a")).is_running


async def test_temporary_normal(stage: Stage) -> None:
    """A temporary child that ends in the ordinary way is forgotten, specification and all."""
    async with stage.open() as root:
        assert await counts_after(root, stage, Restart.TEMPORARY, Exit.NORMAL) == GONE
        with pytest.raises(ChildNotFound, match="'a'"):
            await root.get_child_spec("a")


@pytest.mark.parametrize("words", ["", "because of x"])
async def test_permanent_shutdown(stage: Stage, words: str) -> None:
    """A permanent child is restarted on `shutdown` and on `{shutdown, x}` alike."""
    async with stage.open(stage.child("a")) as root:
        old = await stage.end("a", Exit.SHUTDOWN, words)

        assert stage.alive["a"] is not old
        assert await root.count_children() == RUNNING


@pytest.mark.parametrize("words", ["", "because of x"])
async def test_transient_shutdown(stage: Stage, words: str) -> None:
    """A transient child is not: to shut down is to be done."""
    async with stage.open(stage.child("a", Restart.TRANSIENT)) as root:
        await stage.end("a", Exit.SHUTDOWN, words)

        assert stage.names() == ""
        assert await root.count_children() == RESTING


@pytest.mark.parametrize("words", ["", "because of x"])
async def test_temporary_shutdown(stage: Stage, words: str) -> None:
    """A temporary child is not either, and its id is free to be added anew."""
    async with stage.open() as root:
        await root.start_child(stage.child("a", Restart.TEMPORARY))
        await stage.end("a", Exit.SHUTDOWN, words)
        assert await root.count_children() == GONE

        assert (await root.start_child(stage.child("a", Restart.TEMPORARY))).is_running


async def test_faulty_application_shutdown(stage: Stage) -> None:
    """A root that cannot start says which child it was and why, with the call stack of that.

    What had been started before is stopped, and the block never runs.
    """
    stage.unborn.add("top.faulty")
    branch = stage.branch("top", stage.child("good"), stage.child("faulty"))

    with pytest.raises(StartFailed, match=r"top\.faulty cannot start") as failure:
        async with stage.open(stage.child("first"), branch):
            pytest.fail("the tree ran without one of its children")

    told = "".join(traceback.format_exception(failure.value))
    assert "LookupError: top.faulty cannot start" in told
    assert 'raise LookupError(f"{name} cannot start")' in told
    assert stage.log == ["+first", "+top.good", "-top.good", "-first"]


@pytest.mark.parametrize("how", [Exit.CRASH, Exit.KILLED])
async def test_permanent_abnormal(stage: Stage, how: Exit) -> None:
    """A permanent child that crashes or is killed is restarted."""
    async with stage.open() as root:
        assert await counts_after(root, stage, Restart.PERMANENT, how) == RUNNING


@pytest.mark.parametrize("how", [Exit.CRASH, Exit.KILLED])
async def test_transient_abnormal(stage: Stage, how: Exit) -> None:
    """So is a transient one."""
    async with stage.open() as root:
        assert await counts_after(root, stage, Restart.TRANSIENT, how) == RUNNING


@pytest.mark.parametrize("how", [Exit.CRASH, Exit.KILLED])
async def test_temporary_abnormal(stage: Stage, how: Exit) -> None:
    """A temporary one never is."""
    async with stage.open() as root:
        assert await counts_after(root, stage, Restart.TEMPORARY, how) == GONE
