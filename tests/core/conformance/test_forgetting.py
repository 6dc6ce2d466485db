"""OTP's supervisor suite, what is not kept of temporary children: cases 75 to 77.

OTP measures the supervisor's memory; here a weak reference says whether anybody still holds what a
child was started with.
"""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio.testing

from runtime.core.child import ChildSpec, Exit, Restart
from runtime.core.errors import BadSpec, ChildNotFound
from runtime.core.handle import ChildHandle
from runtime.core.supervisor import Strategy, Supervisor

if TYPE_CHECKING:
    from tests.core.conformance.conftest import Stage


class Baggage:
    """A big argument."""

    def __init__(self) -> None:
        self.bytes = bytes(10_000)


def packed(stage: Stage, restart: Restart) -> tuple[ChildSpec, weakref.ref[Baggage]]:
    """Return the specification of a child that is started with baggage, and a view of that."""
    baggage = Baggage()
    plain = stage.child("a", restart)

    def start(_: Baggage) -> Any:
        return plain.start()

    return ChildSpec("a", partial(start, baggage), restart=restart), weakref.ref(baggage)


async def kept_while_running(
    start_child: Callable[[ChildSpec], Awaitable[ChildHandle]], stage: Stage, restart: Restart
) -> bool:
    """Return whether what a child was started with outlives its start, with the child."""
    spec, baggage = packed(stage, restart)
    await start_child(spec)
    del spec
    await trio.testing.wait_all_tasks_blocked()
    gc.collect()
    return baggage() is not None


@pytest.mark.parametrize("strategy", [*Strategy, None], ids=str)
async def test_do_not_save_start_parameters_for_temporary_children(
    stage: Stage, strategy: Strategy | None
) -> None:
    """What a temporary child was started with is nobody's once it runs; a permanent one's is kept.

    None is OTP's fourth strategy, simple_one_for_one: a supervisor of its own here.
    """
    kept = {}
    for restart in Restart:
        if strategy is None:
            async with stage.open_dynamic() as dynamic:
                kept[restart] = await kept_while_running(dynamic.start_child, stage, restart)
        else:
            async with stage.open(strategy=strategy) as root:
                kept[restart] = await kept_while_running(root.start_child, stage, restart)

    assert kept == {Restart.PERMANENT: True, Restart.TRANSIENT: True, Restart.TEMPORARY: False}


@pytest.mark.parametrize("strategy", list(Strategy))
async def test_do_not_save_child_specs_for_temporary_children(
    stage: Stage, strategy: Strategy
) -> None:
    """However a temporary child ends, its specification goes; given at the start or added."""
    given = stage.child("given", Restart.TEMPORARY)
    async with stage.open(given, strategy=strategy) as root:
        with pytest.raises(BadSpec, match="not kept"):
            (await root.get_child_spec("given")).start()
        await assert_forgotten(root, stage, "given", Exit.NORMAL)
        for how in (*Exit, None):
            await root.start_child(stage.child("a", Restart.TEMPORARY))
            await assert_forgotten(root, stage, "a", how)


async def assert_forgotten(root: Supervisor, stage: Stage, child_id: str, how: Exit | None) -> None:
    """Have a child end, by its supervisor if `how` is None, and look for what is left of it."""
    await (root.terminate_child(child_id) if how is None else stage.end(child_id, how))
    assert (await root.count_children()).specs == 0
    assert await root.which_children() == ()
    assert stage.registry.names() == ()
    for ask in (root.get_child_spec, root.restart_child, root.terminate_child, root.delete_child):
        with pytest.raises(ChildNotFound, match=child_id):
            await ask(child_id)


@pytest.mark.slow  # 11,000 children, 1 to 2 s: less would not show a quadratic cost
async def test_simple_one_for_one_scale_many_temporary_children(stage: Stage) -> None:
    """10,000 ends cost at most 50 times what 1,000 do: linear, with OTP's slack.

    In processor time, which neighbours on the machine do not disturb.
    """
    spent_s = {}
    for many in (1_000, 10_000):
        async with stage.open_dynamic() as root:
            for _ in range(many):
                await root.start_child(stage.child("w", Restart.TEMPORARY))
            begun_s = time.process_time()
            for child in list(stage.alive.values()):
                child.told.set()
            await trio.testing.wait_all_tasks_blocked()
            spent_s[many] = time.process_time() - begun_s
            assert (await root.count_children()).specs == 0

    assert spent_s[10_000] <= 50 * spent_s[1_000]
