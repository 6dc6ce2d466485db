"""`Timers` and `Loop`: what is due comes in its order, and nothing starves anything else."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from runtime.core.clock import TrioClock
from runtime.core.errors import StartFailed, SupervisorDown
from runtime.core.loop import Loop
from runtime.core.timers import Timers

STEPS = st.lists(
    st.tuples(st.sampled_from(["set", "set", "cancel", "pop"]), st.integers(0, 9), st.integers()),
    max_size=200,
)


@given(steps=STEPS)
def test_timers_do_what_a_sorted_dictionary_does(steps: list[tuple[str, int, int]]) -> None:
    """Whatever is set, moved, cancelled and popped; of equals the first set comes first."""
    timers: Timers[int] = Timers()
    model: dict[int, tuple[int, int]] = {}
    for number, (what, key, at_s) in enumerate(steps):
        match what:
            case "set":
                timers.set(key, at_s)
                model[key] = (at_s, number)
            case "cancel":
                timers.cancel(key)
                model.pop(key, None)
            case "pop" if model:
                first = min(model, key=model.__getitem__)
                assert timers.next_s() == model.pop(first)[0]
                assert timers.pop() == first
        assert timers.next_s() == min((at for at, _ in model.values()), default=None)
        assert len(timers) == len(model)
        assert all((key in timers) == (key in model) for key in range(10))


def test_what_is_out_of_date_is_thrown_away() -> None:
    """An alarm that is moved for each message must not leave an entry each time."""
    timers: Timers[str] = Timers()
    for at_s in range(10_000):
        timers.set("a", at_s)

    assert len(timers._heap) < 100
    assert timers.next_s() == 9_999


async def run_loop(loop: Loop[str], seen: list[str]) -> None:
    """Run `loop` and write down what was due."""

    async def due(key: str) -> None:
        seen.append(key)
        # Due again at once, like a child that cannot be started.
        loop.timers.set(key, trio.current_time())
        await trio.lowlevel.checkpoint()

    await loop.run(due)


async def test_neither_what_is_asked_nor_what_is_due_is_starved(nursery: trio.Nursery) -> None:
    """A child in an endless restart loop must not make its supervisor deaf."""
    loop: Loop[str] = Loop(TrioClock(start_utc_ms=0))
    seen: list[str] = []
    loop.timers.set("always", 0)
    nursery.start_soon(run_loop, loop, seen)

    async def answer() -> str:
        return "answer"

    for _ in range(20):
        assert await loop.ask(answer) == "answer"
    assert len(seen) >= 20
    nursery.cancel_scope.cancel()


async def test_what_is_asked_is_done_in_order_and_answered_once(nursery: trio.Nursery) -> None:
    """Values and errors alike; and whoever has left is not worked for."""
    loop: Loop[str] = Loop(TrioClock(start_utc_ms=0))
    done: list[int] = []
    heard: list[object] = []

    async def ask(number: int) -> None:
        async def do() -> int:
            done.append(number)
            if number == 1:
                raise StartFailed("one")
            return number

        try:
            heard.append(await loop.ask(do))
        except StartFailed as error:
            heard.append(str(error))

    with trio.move_on_after(1):
        await ask(9)
    for number in range(3):
        nursery.start_soon(ask, number)
        await trio.testing.wait_all_tasks_blocked()
    nursery.start_soon(run_loop, loop, [])
    await trio.testing.wait_all_tasks_blocked()

    # Done in order; who of those that were answered wakes up first is trio's choice.
    assert (done, set(heard), len(heard)) == ([0, 1, 2], {0, "one", 2}, 3)
    nursery.cancel_scope.cancel()


async def test_a_loop_that_ends_answers_what_it_has_not_done(nursery: trio.Nursery) -> None:
    """What is in hand, what waits, and what comes later."""
    loop: Loop[str] = Loop(TrioClock(start_utc_ms=0))
    told: list[str] = []

    async def ask() -> None:
        try:
            await loop.ask(trio.sleep_forever)
        except SupervisorDown as error:
            told.append(str(error))

    with trio.CancelScope() as scope:
        for _ in range(3):
            nursery.start_soon(ask)
        nursery.start_soon(cancel_later, scope)
        await run_loop(loop, [])
    loop.close()
    loop.refuse_all()
    await trio.testing.wait_all_tasks_blocked()

    assert told == ["the supervisor ended before this was done"] * 3
    with pytest.raises(SupervisorDown, match=r"the supervisor is not running"):
        await loop.ask(trio.sleep_forever)


async def cancel_later(scope: trio.CancelScope) -> None:
    """Cancel `scope` once everything else waits."""
    await trio.testing.wait_all_tasks_blocked()
    scope.cancel()
