"""OTP's supervisor suite, lookups: cases 91 to 93, all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runtime.core.child import ChildSpec, Exit, Restart
from runtime.core.errors import AlreadyStarted, ChildNotFound
from runtime.core.supervisor import Supervisor

if TYPE_CHECKING:
    from tests.core.conformance.conftest import Stage


async def test_already_started_outside_supervisor(stage: Stage) -> None:
    """A name that somebody else has is an answer, `already_started`; he is not adopted.

    Here he belongs to another tree that shares the registry; both trees go on, and he outlives
    the one that wanted his name.
    """
    async with stage.open(stage.child("a")):
        outsider = stage.alive["a"]
        async with stage.open(stage.child("b")) as second:
            with pytest.raises(AlreadyStarted, match="outside of this supervisor") as refusal:
                await second.start_child(stage.child("a"))
            assert refusal.value.child == "a"
            assert [each.id for each in await second.which_children()] == ["b"]
            assert (await second.count_children()).specs == 1
            with pytest.raises(ChildNotFound, match="'a'"):
                await second.terminate_child("a")
        assert stage.alive == {"a": outsider}
        assert stage.registry.names() == ("a",)

    async with stage.open() as third:
        assert (await third.start_child(stage.child("a"))).name == "a"


async def test_which_children(stage: Stage) -> None:
    """List and lookup tell the same through add, stop, restart, delete and an end of its own."""
    async with stage.open() as root:

        async def shown() -> list[tuple[str, str, bool]]:
            entries = await root.which_children()
            assert [await root.which_child(each.id) for each in entries] == list(entries)
            return [(each.id, each.state, each.is_supervisor) for each in entries]

        assert await shown() == []
        await root.start_child(stage.child("a"))
        await root.start_child(ChildSpec("sup", lambda: Supervisor(())))
        await root.start_child(stage.child("t", Restart.TEMPORARY))
        everyone = [("a", "running", False), ("sup", "running", True), ("t", "running", False)]
        assert await shown() == everyone

        await root.terminate_child("a")
        await root.terminate_child("sup")
        await stage.end("t", Exit.NORMAL)
        assert await shown() == [("a", "stopped", False), ("sup", "stopped", True)]
        await root.restart_child("sup")
        assert await shown() == [("a", "stopped", False), ("sup", "running", True)]
        await root.delete_child("a")
        assert await shown() == [("sup", "running", True)]
        for gone in ("a", "t", "never"):
            with pytest.raises(ChildNotFound, match=gone):
                await root.which_child(gone)


async def test_which_children_simple_one_for_one(stage: Stage) -> None:
    """The same by handle; a handle of another supervisor's child is a stranger's."""
    async with stage.open_dynamic() as root:
        assert await root.which_children() == ()
        worker = await root.start_child(stage.child("w"))
        branch = await root.start_child(ChildSpec("sup", lambda: Supervisor(())))
        entries = await root.which_children()
        assert [each.handle for each in entries] == [worker, branch]
        assert [(each.id, each.state, each.is_supervisor) for each in entries] == [
            ("w-1", "running", False),
            ("sup-2", "running", True),
        ]
        assert [await root.which_child(each) for each in (worker, branch)] == list(entries)

        await stage.end("w-1", Exit.CRASH)
        assert (await root.which_child(worker)).handle is worker, "it outlives the crash"
        await root.terminate_child(worker)
        assert [each.handle for each in await root.which_children()] == [branch]
        with pytest.raises(ChildNotFound, match="w-1"):
            await root.which_child(worker)
        await root.terminate_child(branch)
        assert await root.which_children() == ()


async def test_which_children_simple_one_for_one_stranger(stage: Stage) -> None:
    """Handles are told apart by identity, for ids of two supervisors are alike."""
    async with stage.open_dynamic() as other:
        stranger = await other.start_child(stage.child("w"))
        await other.terminate_child(stranger)
        async with stage.open_dynamic() as root:
            mine = await root.start_child(stage.child("w"))
            assert mine.id == stranger.id
            with pytest.raises(ChildNotFound, match="w-1"):
                await root.which_child(stranger)
            assert (await root.which_child(mine)).handle is mine
