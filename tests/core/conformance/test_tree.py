"""OTP's supervisor suite, misc: cases 55 and 56, all of them.

Nothing is linked here, so a child breaks free in trio's ways: it shields itself against its
cancellation, or swallows it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
import trio

from runtime.core.backoff import RestartIntensity
from runtime.core.child import ChildInfo, ChildSpec, Life

if TYPE_CHECKING:
    from tests.core.conformance.conftest import Stage


class Shielding:
    """A child that ends when it likes, by shielding itself."""

    def __init__(self, freed: trio.Event) -> None:
        self.freed = freed

    async def run(self, life: Life) -> None:
        """Wait where no cancellation reaches."""
        life.on_stop = _deaf
        life.up()
        with trio.CancelScope(shield=True):
            await self.freed.wait()

    def describe(self) -> tuple[ChildInfo, ...]:
        """Have no children."""
        return ()


class Swallowing(Shielding):
    """A child that ends when it likes, by swallowing every cancellation."""

    async def run(self, life: Life) -> None:
        """Take no cancellation for an answer; each turn of the loop meets a new one."""
        life.on_stop = _deaf
        life.up()
        while not self.freed.is_set():
            try:
                await self.freed.wait()
            except trio.Cancelled:
                # Time must pass, or the loop would never let anybody else run.
                with trio.CancelScope(shield=True):
                    await trio.sleep(0.5)


def _deaf() -> None:
    """Do nothing about being asked to end."""


@pytest.mark.parametrize("kind", [Shielding, Swallowing])
async def test_child_unlink(
    stage: Stage, kind: type[Shielding], caplog: pytest.LogCaptureFixture
) -> None:
    """A child that broke free of its supervisor does not hang it on terminate.

    Adapted: OTP's child has unlinked itself, so the supervisor falls back on a monitor. Ours
    ignores its cancellation: it is named, left behind, and its place is free.
    """
    caplog.set_level(logging.ERROR)
    freed = trio.Event()
    spec = ChildSpec("free", lambda: kind(freed), shutdown_s=2, abandon_s=3)
    async with stage.open(stage.child("a"), spec) as root:
        await root.terminate_child("free")

        assert trio.current_time() == pytest.approx(5)
        assert (await root.which_child("free")).state == "stopped"
        assert list(root.abandoned) == ["free"]
        assert "free ignored its cancellation for 3 s" in caplog.text
        await root.delete_child("free")
        assert [each.id for each in await root.which_children()] == ["a"]
        freed.set()
        await trio.sleep(1)
        assert list(root.abandoned) == []


async def test_tree(stage: Stage) -> None:
    """Below a supervisor of supervisors, only what is dead is restarted.

    And when a branch gives up, the top starts its static children again, but not those that were
    added at run time: their specifications died with the supervisor that knew them.
    """
    once = RestartIntensity(1, 1000)
    left = stage.branch("left", stage.child("a"), stage.child("b"), intensity=once)
    right = stage.branch("right", stage.child("c"), intensity=once)
    async with stage.open(left, right) as root:
        await stage.supervisors["left"].start_child(stage.child("added"))
        born = dict(stage.alive)
        assert stage.names() == "left.a left.added left.b right.c"

        await stage.end("left.a")
        assert {name for name in born if stage.alive[name] is not born[name]} == {"left.a"}

        await stage.end("left.b")
        assert stage.names() == "left.a left.b right.c"
        assert stage.alive["right.c"] is born["right.c"]
        assert stage.alive["left.b"] is not born["left.b"]
        infos = {each.name: each.incarnation for each in root.describe()}
        assert infos == {"left": 2, "right": 1}
        assert (await root.count_children()).supervisors == 2
