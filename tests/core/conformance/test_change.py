"""OTP's supervisor suite, code change: cases 83 to 86, all of them.

Adapted: an upgrade calls `init` anew and takes over what it returns; here `change` takes over what
a reloaded configuration says. The map cases are the others with specifications written as maps; a
`ChildSpec` has one way to be written, so those prove what the maps add: every field can change.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from runtime.core.backoff import Backoff, RestartIntensity
from runtime.core.child import ChildSpec, Exit, Restart
from runtime.core.errors import BadSpec, ChildNotFound, RestartIntensityExceeded, TooManyChildren
from runtime.core.mailbox import MailboxSpec
from runtime.core.policy import AutoShutdown, Flags
from runtime.core.supervisor import Strategy

if TYPE_CHECKING:
    from tests.core.conformance.conftest import Stage


async def test_code_change(stage: Stage) -> None:
    """Flags and specifications are replaced under the living; what is faulty changes nothing.

    A child that is added is not started, one that is left out is not killed and keeps its place
    after the others; both as in OTP.
    """
    specs = {each: stage.child(each) for each in "abc"}
    async with stage.open(specs["a"], specs["b"]) as root:
        born, old = dict(stage.alive), root.flags
        flags = replace(old, strategy=Strategy.ONE_FOR_ALL, intensity=RestartIntensity(1, 10))

        words: list[Any] = ["one_for_all", None, {}]
        for faulty in words:
            with pytest.raises(BadSpec, match="strategy must be"):
                await root.change(flags=replace(old, strategy=faulty))
        with pytest.raises(BadSpec, match="different ids"):
            await root.change(flags=flags, children=[specs["a"], specs["a"]])
        assert root.flags == old
        assert [each.id for each in await root.which_children()] == ["a", "b"]

        await root.change(flags=flags, children=[specs["c"], specs["b"]])
        shown = [(each.id, each.state) for each in await root.which_children()]
        assert shown == [("c", "stopped"), ("b", "running"), ("a", "running")]
        assert (root.flags, stage.alive) == (flags, born)
        assert (await root.restart_child("c")).is_running

        stage.log.clear()
        await stage.end("b")
        assert stage.log == ["-b", "-a", "-c", "+c", "+b", "+a"], "the new strategy, the new order"


async def test_code_change_map(stage: Stage) -> None:
    """Every field of a specification can change: the living child goes by it in its next life.

    Each faulty field is refused by its name, and the old specification stays in force.
    """
    old = stage.child("a")
    new = stage.child(
        "a",
        Restart.TRANSIENT,
        shutdown_s=1.0,
        mailbox=MailboxSpec(capacity=2),
        hang_s=7.0,
        start_s=8.0,
        abandon_s=9.0,
        significant=True,
    )
    flags = Flags(backoff=Backoff(min_s=0, max_s=0), auto_shutdown=AutoShutdown.ALL_SIGNIFICANT)
    async with stage.open(old) as root:
        for name in ("id", "start", "restart", "shutdown_s", "mailbox", "significant", "abandon_s"):
            with pytest.raises(BadSpec, match=name):
                await root.change(children=[replace(old, **faulty(name))])
        with pytest.raises(BadSpec, match="must be given as a ChildSpec"):
            await root.change(children=[{"id": "a"}])  # type: ignore[list-item]
        assert await root.get_child_spec("a") is old

        await root.change(flags=flags, children=[new])
        assert await root.get_child_spec("a") is new
        await stage.end("a", Exit.CRASH)
        info = root.info("a")
        assert (info.incarnation, info.restart, info.significant) == (2, "transient", True)

        await root.change(flags=replace(flags, intensity=RestartIntensity(2, 1000)))
        await stage.end("a")
    with pytest.raises(RestartIntensityExceeded, match="gave up after 1 crashes"):
        await crash_once_none_is_allowed(stage, old)


def faulty(name: str) -> dict[str, Any]:
    """Return what makes a field of a specification faulty, whatever its type."""
    return {name: "no such thing"}


async def crash_once_none_is_allowed(stage: Stage, spec: ChildSpec) -> None:
    """Have a child crash once its supervisor was told to allow no crash any more."""
    async with stage.open(spec, intensity=RestartIntensity(5, 1000)) as root:
        await root.change(flags=replace(root.flags, intensity=RestartIntensity(0, 1000)))
        await stage.end(spec.id)


async def test_code_change_simple(stage: Stage) -> None:
    """A dynamic supervisor's flags change under its children; it cannot become a static one.

    Adapted: OTP's one template can change, not grow or vanish. There is none here: each child
    brings its specification, and the bound on their number is what can change.
    """
    async with stage.open_dynamic(max_children=1) as root:
        handle = await root.start_child(stage.child("w"))
        born, old = stage.alive["w-1"], root.flags
        with pytest.raises(BadSpec, match="one_for_one"):
            await root.change(flags=replace(old, strategy=Strategy.ONE_FOR_ALL))
        with pytest.raises(BadSpec, match="max_children"):
            await root.change(flags=Flags(intensity=None), max_children=0)
        with pytest.raises(BadSpec, match="given as Flags"):
            await root.change(flags={})  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="children"):
            await root.change(children=[stage.child("w")])  # type: ignore[call-arg]
        assert root.flags == old
        with pytest.raises(TooManyChildren, match="1"):
            await root.start_child(stage.child("w"))

        await root.change(flags=replace(old, intensity=None), max_children=2)
        assert stage.alive["w-1"] is born
        await root.start_child(stage.child("w"))
        for _ in range(20):
            await stage.end("w-1")
        assert (await root.which_child(handle)).state == "running"


async def test_code_change_simple_map(stage: Stage) -> None:
    """Fewer children than there are may be allowed: the living stay, and none is added.

    A new specification is for new children only, as OTP's new template is.
    """
    async with stage.open_dynamic(max_children=2) as root:
        handles = [await root.start_child(stage.child("w")) for _ in range(2)]
        await root.change(max_children=1)
        assert (await root.count_children()).active == 2
        await root.terminate_child(handles[0])
        with pytest.raises(TooManyChildren, match="1"):
            await root.start_child(stage.child("w"))

        await root.change(max_children=5)
        newer = await root.start_child(stage.child("w", Restart.TEMPORARY))
        await stage.end(handles[1].id, Exit.NORMAL)
        await stage.end(newer.id, Exit.NORMAL)
        assert stage.names() == handles[1].id
        kept: ChildSpec = await root.get_child_spec(handles[1])
        assert kept.restart is Restart.PERMANENT
        with pytest.raises(ChildNotFound, match=newer.id):
            await root.get_child_spec(newer)
