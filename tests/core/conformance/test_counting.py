"""OTP's supervisor suite, counting: cases 71 to 73 and 78 to 79.

74, `get_callback_module`, has no sense here: a supervisor is an object, not a process that runs
somebody's callback module. 75 to 77 stand in test_forgetting.py, 80 to 82 in test_restart_loop.py.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from runtime.core.actor import Actor
from runtime.core.backoff import Backoff, RestartIntensity
from runtime.core.child import ChildSpec, Exit, Restart
from runtime.core.errors import ActorNotFound, ActorRestarted
from runtime.core.info import ChildCounts
from runtime.core.message import Request
from runtime.core.supervisor import Strategy, Supervisor

if TYPE_CHECKING:
    from tests.core.conformance.conftest import Stage

ROUNDS = 5


async def test_count_children(stage: Stage) -> None:
    """Counts of 1,000 and then 2,000 dynamic children are exact, and stay so when asked again."""
    async with stage.open_dynamic() as root:
        for total in (1000, 2000):
            for _ in range(1000):
                await root.start_child(stage.child("w", Restart.TEMPORARY))
            exact = ChildCounts(specs=total, active=total, supervisors=0, workers=total)
            assert {await root.count_children() for _ in range(ROUNDS)} == {exact}
            assert len(await root.which_children()) == len(stage.alive) == total

        await stage.end("w-1", Exit.NORMAL)
        assert (await root.count_children()).active == 1999


async def test_count_children_supervisor(stage: Stage) -> None:
    """Supervisors are counted as such, and as exactly."""
    async with stage.open_dynamic() as root:
        for total in (1000, 2000):
            for _ in range(1000):
                await root.start_child(ChildSpec("s", partial(Supervisor, ())))
            exact = ChildCounts(specs=total, active=total, supervisors=total, workers=0)
            assert {await root.count_children() for _ in range(ROUNDS)} == {exact}

        await root.start_child(stage.child("w"))
        mixed = ChildCounts(specs=2001, active=2001, supervisors=2000, workers=1)
        assert await root.count_children() == mixed


async def test_count_restarting_children(stage: Stage) -> None:
    """Children that fail to restart again and again have specifications, and are not active."""
    slow = Backoff(min_s=1, factor=1, max_s=1, jitter=0)
    async with stage.open_dynamic(backoff=slow, intensity=None) as root:
        for _ in range(3):
            await root.start_child(stage.child("w"))
        stage.unborn = {"w-1", "w-2", "w-3"}
        seen = [await root.count_children()]
        for name in sorted(stage.unborn):
            await stage.end(name)
            seen.append(await root.count_children())
        stage.unborn.clear()

    assert [(each.specs, each.active, each.workers) for each in seen] == [
        (3, 3, 3),
        (3, 2, 3),
        (3, 1, 3),
        (3, 0, 3),
    ]


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
async def test_temporary_bystander(stage: Stage, strategy: Strategy) -> None:
    """A temporary child taken down by a sibling's restart is gone, and costs no restart.

    The limit is two: two crashes of the sibling fit in it only if the bystander's end is no third.
    """
    intensity = RestartIntensity(2, 1000)
    bystander = stage.child("t", Restart.TEMPORARY)
    async with stage.open(
        stage.child("a"), bystander, strategy=strategy, intensity=intensity
    ) as root:
        await stage.end("a")
        assert stage.names() == "a"
        assert [each.id for each in await root.which_children()] == ["a"]

        await root.start_child(bystander)
        await stage.end("a")
        assert stage.log.count("+t") == 2
        assert stage.names() == "a"
        assert [report.restarts_in_window for report in root.crash_reports] == [1, 2]


class Who(Request[int], frozen=True):
    """Asks an actor which incarnation it is."""


class Crash(Request[None], frozen=True):
    """Asks an actor to crash."""


class Known(Actor):
    """An actor that is known by its name."""

    async def handle_call(self, request: Request[Any]) -> object:
        """Say who it is, or crash."""
        match request:
            case Who():
                return self.context.incarnation
            case _:
                raise RuntimeError("as asked")


async def test_simple_global_supervisor(stage: Stage) -> None:
    """A child that others know by a global name is found under it after each restart.

    Adapted: the registry's name is bound anew with each life. A handle from before the crash
    reaches the new one, and nobody once the child has ended for good.
    """
    async with stage.open_dynamic() as root:
        handle = await root.start_child(ChildSpec("known", Known))
        by_name = stage.registry.ref("known-1")
        assert (handle.name, await handle.ref.call(Who())) == ("known-1", 1)

        for incarnation in (2, 3):
            with pytest.raises(ActorRestarted, match="known-1"):
                await by_name.call(Crash())
            assert await handle.ref.call(Who()) == await by_name.call(Who()) == incarnation

        await root.terminate_child(handle)
        for ref in (handle.ref, by_name):
            with pytest.raises(ActorNotFound, match="known-1"):
                await ref.call(Who())
        assert stage.registry.names() == ()
