"""`ChildSpec.on_crash`: what errors of handlers mean, by class."""

from __future__ import annotations

import random
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import trio
import trio.testing

from runtime.core.actor import Actor
from runtime.core.backoff import Backoff
from runtime.core.child import ChildSpec, Directive, Restart
from runtime.core.clock import TrioClock
from runtime.core.errors import (
    ActorDown,
    ActorError,
    ActorRestarted,
    Escalated,
    HandlerFailed,
    Shutdown,
)
from runtime.core.message import Event, Request
from runtime.core.registry import Registry
from runtime.core.supervisor import AutoShutdown, Supervisor
from runtime.core.tree import open_tree

MEANS = {
    LookupError: Directive.RESUME,
    KeyError: Directive.RESTART,
    ArithmeticError: Directive.STOP,
    OSError: Directive.ESCALATE,
}


class Raise(Request[None], frozen=True):
    """Raise this in the handler; or in a task of the actor."""

    error: Exception
    in_task: bool = False


class RaiseSilently(Event, frozen=True):
    """Raise this with nobody waiting."""

    error: Exception


class Count(Request[tuple[int, int]], frozen=True):
    """Be answered with the incarnation and with how many messages it has seen."""


class Counter(Actor):
    """Has a state that can be lost."""

    async def on_start(self) -> None:
        """Begin at nothing."""
        self.seen = 0

    async def handle_call(self, request: Request[Any]) -> object:
        """Count, or fail."""
        self.seen += 1
        if isinstance(request, Raise) and request.in_task:
            self.context.nursery.start_soon(self._fail, request.error)
            await trio.sleep_forever()
        if isinstance(request, Raise):
            raise request.error
        return self.context.incarnation, self.seen

    async def handle_cast(self, event: Event) -> None:
        """Fail."""
        self.seen += 1
        assert isinstance(event, RaiseSilently)
        raise event.error

    async def _fail(self, error: Exception) -> None:
        raise error


def opened(registry: Registry, **spec: Any) -> AbstractAsyncContextManager[Supervisor]:
    """Run a counter under these rules, in virtual time."""
    child = ChildSpec("a", Counter, **{"on_crash": MEANS, **spec})
    mode = AutoShutdown.ANY_SIGNIFICANT if child.significant else AutoShutdown.NEVER
    root = Supervisor([child], backoff=Backoff(min_s=0, max_s=0), auto_shutdown=mode)
    clock = TrioClock(start_utc_ms=0)
    return open_tree(root, clock=clock, rng=random.Random(0), registry=registry)


async def test_an_error_to_resume_from_costs_one_message_and_no_state(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its sender is told, the log names it, and the next message finds everything as it was."""
    registry = Registry()
    async with opened(registry) as root:
        ref = registry.ref("a")
        with pytest.raises(HandlerFailed, match=r"a failed on Raise and goes on: IndexError: far"):
            await ref.call(Raise(error=IndexError("far")))
        ref.cast(RaiseSilently(error=IndexError("away")))

        assert await ref.call(Count()) == (1, 3)
        assert (root.info("a").failed, root.crash_reports) == (2, ())
    assert "a failed on RaiseSilently and goes on: IndexError: away" in caplog.messages


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KeyError("k"), ActorRestarted),
        (ValueError("v"), ActorRestarted),
        (ZeroDivisionError("z"), ActorDown),
        (OSError("o"), ActorRestarted),
        (ExceptionGroup("g", [ExceptionGroup("h", [ZeroDivisionError("z")])]), ActorDown),
    ],
)
async def test_whoever_has_sent_it_learns_whether_to_try_again(
    error: Exception, told: type[ActorError]
) -> None:
    """The most specific class counts, also inside groups of one."""
    registry = Registry()
    try:
        async with opened(registry):
            with pytest.raises(told, match=r"a ended before it answered"):
                await registry.ref("a").call(Raise(error=error))
    except Escalated:
        assert isinstance(error, OSError)


@pytest.mark.parametrize("restart", list(Restart))
async def test_a_child_that_is_to_stop_stays_away_whatever_its_kind(restart: Restart) -> None:
    """Somebody must look at it first; a permanent one keeps its place."""
    registry = Registry()
    async with opened(registry, restart=restart) as root:
        registry.ref("a").cast(RaiseSilently(error=OverflowError("o")))
        await trio.sleep(1)

        states = [info.state for info in root.describe()]
        assert states == ([] if restart is Restart.TEMPORARY else ["stopped"])
        assert root.crash_reports[0].next == "it is not started again"
        if restart is not Restart.TEMPORARY:
            await root.restart_child("a")
            assert await registry.ref("a").call(Count()) == (2, 1)


async def test_a_significant_child_that_is_to_stop_has_ended() -> None:
    """Of its own, and for good: that is what significance is about."""
    error = OverflowError("o")
    with pytest.raises(Shutdown, match=r"a was significant and has ended"):
        await live_until(error, restart=Restart.TRANSIENT, significant=True)


async def test_an_error_to_escalate_is_the_supervisors_own() -> None:
    """It ends in order, and says of what."""
    with pytest.raises(Escalated, match=r"a crashed: OSError: no disk") as caught:
        await live_until(OSError("no disk"))

    assert isinstance(caught.value.__cause__, OSError)


async def live_until(error: Exception, **spec: Any) -> None:
    """Run a counter until `error`, raised in its handler, ends the tree."""
    registry = Registry()
    try:
        async with opened(registry, **spec):
            registry.ref("a").cast(RaiseSilently(error=error))
            await trio.sleep_forever()
    finally:
        assert registry.names() == ()


async def test_errors_of_tasks_and_of_starting_are_crashes_like_any_other() -> None:
    """Only a handler's error leaves the state as it was between two messages."""
    registry = Registry()
    async with opened(registry):
        with pytest.raises(ActorRestarted, match=r"a ended before it answered"):
            await registry.ref("a").call(Raise(error=IndexError("far"), in_task=True))

        assert await registry.ref("a").call(Count()) == (2, 1)


async def test_a_wish_to_shut_down_is_not_an_error_to_resume_from() -> None:
    """Not even where everything is to be resumed from."""
    registry = Registry()
    rules = {Exception: Directive.RESUME}
    async with opened(registry, on_crash=rules, restart=Restart.TRANSIENT) as root:
        with pytest.raises(ActorDown, match=r"a ended before it answered"):
            await registry.ref("a").call(Raise(error=Shutdown("enough")))
        await trio.testing.wait_all_tasks_blocked()

        assert (root.info("a").state, root.crash_reports) == ("stopped", ())
