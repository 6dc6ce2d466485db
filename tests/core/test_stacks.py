"""Stacks of tasks: where each of them is, bounded, and with nothing of what they hold."""

from __future__ import annotations

import trio
import trio.testing

from runtime.core.stacks import stacks_below


async def deep(depth: int) -> None:
    """Wait `depth` calls further down."""
    secret = "hunter2"  # noqa: S105 - exactly what must not be shown
    if depth:
        await deep(depth - 1)
    await trio.Event().wait()
    assert secret


async def test_a_task_is_shown_with_those_it_waits_for(nursery: trio.Nursery) -> None:
    """What a handler hangs on is often in a task of its own."""
    started: list[trio.lowlevel.Task] = []

    async def parent() -> None:
        started.append(trio.lowlevel.current_task())
        async with trio.open_nursery() as inner:
            inner.start_soon(deep, 0, name="second child")
            inner.start_soon(trio.sleep_forever, name="first child")

    nursery.start_soon(parent, name="the parent")
    await trio.testing.wait_all_tasks_blocked()
    text = stacks_below(started[0])
    nursery.cancel_scope.cancel()

    heads = [line for line in text.splitlines() if line.startswith("task ")]
    assert heads == ["task the parent:", "task first child:", "task second child:"]
    assert "await trio.Event().wait()" in text
    assert "hunter2" not in text.replace('secret = "hunter2"', "")


async def test_depth_and_breadth_are_bounded(nursery: trio.Nursery) -> None:
    """It goes into a log that people read; the innermost calls say most."""
    before = set(nursery.child_tasks)
    for _ in range(20):
        nursery.start_soon(deep, 50)
    await trio.testing.wait_all_tasks_blocked()
    one = next(iter(nursery.child_tasks - before))
    whole = stacks_below(trio.lowlevel.current_task())
    text = stacks_below(one)
    nursery.cancel_scope.cancel()

    # Of twelve frames, those that are the same line again are counted, not shown.
    assert text.count("  File ") < 12
    assert "[Previous line repeated" in text
    assert "_traps.py" in text.splitlines()[-2]
    assert sum(line.startswith("task ") for line in whole.splitlines()) <= 10


async def test_a_task_that_has_not_begun_is_said_to_have_not(nursery: trio.Nursery) -> None:
    """It has no stack yet, and that is an answer too."""
    before = set(nursery.child_tasks)
    nursery.start_soon(trio.sleep_forever, name="new")
    (task,) = nursery.child_tasks - before
    text = stacks_below(task)
    nursery.cancel_scope.cancel()

    assert text.startswith("task new:")
