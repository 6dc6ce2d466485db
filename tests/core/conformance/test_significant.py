"""OTP's supervisor suite, significant children: cases 57 to 63, all of them.

A supervisor that shuts itself down is seen at the root: the block is cancelled and `open_tree`
raises `Shutdown`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
import trio.testing

from runtime.core.child import ChildSpec, Exit, Restart
from runtime.core.dynamic import DynamicSupervisor
from runtime.core.errors import BadSpec, Shutdown
from runtime.core.policy import Flags
from runtime.core.supervisor import AutoShutdown, Strategy, Supervisor

if TYPE_CHECKING:
    from tests.core.conformance.conftest import Stage

NEVER, ANY, ALL = (
    AutoShutdown.NEVER,
    AutoShutdown.ANY_SIGNIFICANT,
    AutoShutdown.ALL_SIGNIFICANT,
)
TEMPORARY, TRANSIENT = Restart.TEMPORARY, Restart.TRANSIENT


async def ends(
    stage: Stage,
    act: Callable[[Supervisor], Awaitable[object]],
    *children: ChildSpec,
    **policy: Any,
) -> bool:
    """Return whether a supervisor of `children` shuts itself down when `act` happens to it."""
    try:
        async with stage.open(*children, **policy) as root:
            await act(root)
            await trio.testing.wait_all_tasks_blocked()
            return False
    except Shutdown:
        assert stage.alive == {}, "whoever is left is stopped with it"
        return True


def dies(stage: Stage, name: str, how: Exit) -> Callable[[Supervisor], Awaitable[object]]:
    """Have one child end by itself, whatever supervisor it has."""

    async def act(_: Supervisor) -> None:
        await stage.end(name, how)

    return act


def is_stopped(name: str) -> Callable[[Supervisor], Awaitable[object]]:
    """Have one child stopped by its supervisor."""

    async def act(root: Supervisor) -> None:
        await root.terminate_child(name)

    return act


@pytest.mark.parametrize(("mode", "how"), [*product([NEVER, ANY, ALL], [*Exit, None])])
async def test_nonsignificant_temporary(stage: Stage, mode: AutoShutdown, how: Exit | None) -> None:
    """No end of a temporary child that is not significant shuts anything down, in any mode."""
    act = is_stopped("a") if how is None else dies(stage, "a", how)

    assert not await ends(stage, act, stage.child("a", TEMPORARY), auto_shutdown=mode)
    assert stage.log == ["+a", "-a"]


@pytest.mark.parametrize(("mode", "how"), [*product([NEVER, ANY, ALL], [*Exit, None])])
async def test_nonsignificant_transient(stage: Stage, mode: AutoShutdown, how: Exit | None) -> None:
    """Nor does one of a transient child; crash and kill restart it."""
    act = is_stopped("a") if how is None else dies(stage, "a", how)

    assert not await ends(stage, act, stage.child("a", TRANSIENT), auto_shutdown=mode)
    assert stage.log.count("+a") == (2 if how in {Exit.CRASH, Exit.KILLED} else 1)


@pytest.mark.parametrize(("mode", "how"), [*product([ANY, ALL], [*Exit, None])])
async def test_significant_temporary(stage: Stage, mode: AutoShutdown, how: Exit | None) -> None:
    """Any end of its own shuts the supervisor down, but never one the supervisor brings about.

    With `all_significant`, only the end of the last of them does.
    """
    one, two = (stage.child(each, TEMPORARY, significant=True) for each in "ab")
    bystander = stage.child("z")

    async def act(root: Supervisor) -> None:
        if mode is ALL:
            await (root.terminate_child("b") if how is None else stage.end("b", how))
            assert stage.names() == "a z"
        await (root.terminate_child("a") if how is None else stage.end("a", how))

    assert await ends(stage, act, one, two, bystander, auto_shutdown=mode) is (how is not None)


@pytest.mark.parametrize(("mode", "how"), [*product([ANY, ALL], [*Exit, None])])
async def test_significant_transient(stage: Stage, mode: AutoShutdown, how: Exit | None) -> None:
    """Only an end after which it is not restarted counts: a normal one, or a shutdown.

    With `all_significant`, only the end of the last of them does.
    """
    one, two = (stage.child(each, TRANSIENT, significant=True) for each in "ab")
    bystander = stage.child("z")

    async def act(root: Supervisor) -> None:
        if mode is ALL:
            await stage.end("b", Exit.NORMAL)
            assert stage.names() == "a z"
        await (root.terminate_child("a") if how is None else stage.end("a", how))

    triggered = how in {Exit.NORMAL, Exit.SHUTDOWN}
    assert await ends(stage, act, one, two, bystander, auto_shutdown=mode) is triggered
    assert stage.log.count("+a") == (2 if how in {Exit.CRASH, Exit.KILLED} else 1)


@pytest.mark.parametrize("mode", [ANY, ALL])
async def test_significant_simple(stage: Stage, mode: AutoShutdown) -> None:
    """A dynamic supervisor has no auto-shutdown, and no significant children: there is no way in.

    Its constructor does not even know the word; flags and specifications are refused by name.
    """
    with pytest.raises(TypeError, match="auto_shutdown"):
        DynamicSupervisor(auto_shutdown=mode)  # type: ignore[call-arg]
    async with stage.open_dynamic() as root:
        with pytest.raises(BadSpec, match="never shuts down by itself"):
            await root.change(flags=Flags(auto_shutdown=mode))
        with pytest.raises(BadSpec, match="nothing is significant"):
            await root.start_child(stage.child("a", TEMPORARY, significant=True))
        assert (await root.count_children()).specs == 0


@pytest.mark.parametrize(
    ("strategy", "mode", "restart"), [*product(Strategy, [ANY, ALL], [TEMPORARY, TRANSIENT])]
)
async def test_significant_bystander(
    stage: Stage, strategy: Strategy, mode: AutoShutdown, restart: Restart
) -> None:
    """An end that a sibling's death brought about never shuts anything down.

    A temporary bystander is gone after that, the last one included; a transient one is restarted.
    """
    bystanders = [stage.child(each, restart, significant=True) for each in ("s1", "s2")]
    act = dies(stage, "a", Exit.CRASH)

    triggered = await ends(
        stage, act, stage.child("a"), *bystanders, strategy=strategy, auto_shutdown=mode
    )

    taken_down = strategy is not Strategy.ONE_FOR_ONE
    again = taken_down and restart is TRANSIENT
    assert not triggered
    assert [stage.log.count(f"+{each}") for each in ("a", "s1", "s2")] == [2, 1 + again, 1 + again]
    assert stage.log.index("-s2") < stage.log.index("-s1"), "stopped in reverse order, either way"


@pytest.mark.parametrize(("mode", "is_significant"), [*product([ANY, ALL], [True, False])])
async def test_significant_escalation(
    stage: Stage,
    mode: AutoShutdown,
    is_significant: bool,  # noqa: FBT001 - pytest passes it
) -> None:
    """A significant branch that shuts itself down takes its parent along; another one does not."""
    inner = stage.branch(
        "inner",
        stage.child("a", TRANSIENT, significant=True),
        stage.child("b"),
        restart=TRANSIENT,
        significant=is_significant,
        auto_shutdown=mode,
    )
    outer = stage.child("z")
    act = dies(stage, "inner.a", Exit.NORMAL)

    assert await ends(stage, act, inner, outer, auto_shutdown=mode) is is_significant
    assert stage.log == ["+inner.a", "+inner.b", "+z", "-inner.a", "-inner.b", "-z"]
