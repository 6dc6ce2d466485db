"""OTP's supervisor suite, significant children at run time: cases 64 to 70, all of them.

Adapted: OTP changes the mode by a code upgrade; here it is `Supervisor.change`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from runtime.core.child import ChildSpec, Exit, Restart
from runtime.core.errors import BadSpec, Shutdown
from runtime.core.supervisor import AutoShutdown, Supervisor

if TYPE_CHECKING:
    from tests.core.conformance.conftest import Stage

NEVER, ANY, ALL = (
    AutoShutdown.NEVER,
    AutoShutdown.ANY_SIGNIFICANT,
    AutoShutdown.ALL_SIGNIFICANT,
)


def child(stage: Stage, child_id: str, *, significant: bool = True) -> ChildSpec:
    """Return a transient child."""
    return stage.child(child_id, Restart.TRANSIENT, significant=significant)


async def change(root: Supervisor, mode: AutoShutdown, *children: ChildSpec) -> None:
    """Change the mode, and the specifications if some are given."""
    flags = replace(root.flags, auto_shutdown=mode)
    await root.change(flags=flags, children=children or None)


async def ends_after(stage: Stage, mode: AutoShutdown, to: AutoShutdown, *ends: str) -> bool:
    """Return whether `ends`, after a change between two modes that know significance, end it."""
    try:
        async with stage.open(child(stage, "a"), child(stage, "b"), auto_shutdown=mode) as root:
            await change(root, to)
            for name in ends:
                await stage.end(name, Exit.NORMAL)
            return False
    except Shutdown:
        return True


async def ends_from_never(stage: Stage, to: AutoShutdown, *ends: str) -> bool:
    """Return whether `ends` end it, after a change from a mode that knows no significance."""
    specs = [child(stage, each) for each in "ab"]
    try:
        async with stage.open(*(replace(each, significant=False) for each in specs)) as root:
            born = dict(stage.alive)
            await change(root, to, *specs)
            assert stage.alive == born, "the change takes effect on those that live"
            for name in ends:
                await stage.end(name, Exit.NORMAL)
            return False
    except Shutdown:
        return True


async def stays_after_never(stage: Stage, mode: AutoShutdown) -> None:
    """Prove that a change to a mode that knows no significance silences every end."""
    specs = [child(stage, each) for each in "ab"]
    async with stage.open(*specs, auto_shutdown=mode) as root:
        with pytest.raises(BadSpec, match="child a is significant"):
            await change(root, NEVER)
        await change(root, NEVER, *(replace(each, significant=False) for each in specs))
        for name in "ab":
            await stage.end(name, Exit.NORMAL)
        assert (await root.count_children()).active == 0


async def test_significant_upgrade_never_any(stage: Stage) -> None:
    """From never to any: the first end of a child that lived before the change counts."""
    assert await ends_from_never(stage, ANY, "a")


async def test_significant_upgrade_any_never(stage: Stage) -> None:
    """From any to never: no end counts any more."""
    await stays_after_never(stage, ANY)


@pytest.mark.parametrize(("ends", "counts"), [("a", False), ("ab", True), ("ba", True)])
async def test_significant_upgrade_never_all(stage: Stage, ends: str, *, counts: bool) -> None:
    """From never to all: the last end counts, whoever's it is."""
    assert await ends_from_never(stage, ALL, *ends) is counts


async def test_significant_upgrade_all_never(stage: Stage) -> None:
    """From all to never: not even the last end counts any more."""
    await stays_after_never(stage, ALL)


@pytest.mark.parametrize(("ends", "counts"), [("b", False), ("ab", True)])
async def test_significant_upgrade_any_all(stage: Stage, ends: str, *, counts: bool) -> None:
    """From any to all: the first end no longer counts, the last one does."""
    assert await ends_after(stage, ANY, ALL, *ends) is counts


async def test_significant_upgrade_all_any(stage: Stage) -> None:
    """From all to any: the first end counts."""
    assert await ends_after(stage, ALL, ANY, "b")


async def test_significant_upgrade_child(stage: Stage) -> None:
    """A living child's flag can be taken and given; under `never` it cannot be given."""
    plain, marked = child(stage, "a", significant=False), child(stage, "a")
    async with stage.open(plain) as root:
        with pytest.raises(BadSpec, match="child a is significant"):
            await change(root, NEVER, marked)
        assert not (await root.get_child_spec("a")).significant

    async def swap_flags() -> None:
        async with stage.open(plain, child(stage, "b"), auto_shutdown=ANY) as root:
            born = dict(stage.alive)
            await root.change(children=[marked, child(stage, "b", significant=False)])
            await stage.end("b", Exit.NORMAL)
            assert stage.alive == {"a": born["a"]}, "b has lost its flag while it lived"
            await stage.end("a", Exit.NORMAL)

    with pytest.raises(Shutdown, match="a was significant"):
        await swap_flags()
