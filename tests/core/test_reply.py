"""`Reply`: one caller, one answer, whatever happens in which order."""

from __future__ import annotations

import math

import pytest
import trio
import trio.testing

from runtime.core.errors import ActorRestarted, DomainError
from runtime.core.mailbox import Reply


async def test_the_first_answer_counts() -> None:
    """An answer that was given cannot be taken back, not even by a crash a moment later."""
    reply = Reply(math.inf)
    reply.send(1)
    reply.send(2)
    reply.fail(ActorRestarted("too late"))

    assert await reply.wait() == 1


async def test_the_first_error_counts_as_well() -> None:
    """A caller who was told of a crash is not told anything else."""
    reply = Reply(math.inf)
    reply.fail(DomainError("no such market"))
    reply.send(1)

    with pytest.raises(DomainError, match=r"no such market"):
        await reply.wait()


async def test_none_is_an_answer() -> None:
    """Many requests are answered with nothing but the fact that they were done."""
    reply = Reply(math.inf)
    reply.send(None)

    assert reply.answered
    assert await reply.wait() is None


async def test_a_waiting_caller_wakes_up_with_the_answer(nursery: trio.Nursery) -> None:
    """The usual order: first the caller waits, then the answer comes."""
    reply = Reply(math.inf)

    async def answer() -> None:
        await trio.sleep(1)
        reply.send("pong")

    nursery.start_soon(answer)

    assert await reply.wait() == "pong"
    assert trio.current_time() == 1


async def test_an_answer_after_the_caller_was_cancelled_is_dropped() -> None:
    """The caller's task may be long gone; waking it would wake somebody else's wait."""
    reply = Reply(math.inf)
    with trio.move_on_after(1):
        await reply.wait()
    assert reply.abandoned

    reply.send("nobody reads this")
    await trio.testing.wait_all_tasks_blocked()


async def test_an_answer_given_before_the_cancellation_is_delivered() -> None:
    """Between answer and wake-up the caller is cancelled: the answer is not lost."""
    reply = Reply(math.inf)
    got: list[object] = []

    async def caller(scope: trio.CancelScope) -> None:
        with scope:
            got.append(await reply.wait())

    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()
        nursery.start_soon(caller, scope)
        await trio.testing.wait_all_tasks_blocked()
        reply.send("pong")
        scope.cancel()

    assert got == ["pong"]
    assert not reply.abandoned


async def test_a_cancellation_before_the_answer_wins() -> None:
    """The other order: what counts is which came first, not which is seen first."""
    reply = Reply(math.inf)
    got: list[object] = []

    async def caller(scope: trio.CancelScope) -> None:
        with scope:
            got.append(await reply.wait())

    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()
        nursery.start_soon(caller, scope)
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
        reply.send("pong")

    assert got == []
    assert reply.abandoned
