"""What Pekko tests of supervision and OTP does not: directives, limits, logs.

Here: resume keeps state and goes on; policy chosen per exception class, nested and flattened; fatal
errors are never caught; restart limit 0 stops at the first; limit window resets; failure in setup
during restart follows the same policy; log level raised after n failures; logging can be off;
supervision applies to adapters (here: to the tasks of an actor, which are what adapters are for).

In `test_pekko_backoff`: everything about waiting, stashes and children.
"""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio

from runtime.core.actor import Actor
from runtime.core.backoff import Backoff, RestartIntensity
from runtime.core.child import ChildSpec, Directive
from runtime.core.errors import (
    ActorRestarted,
    HandlerFailed,
    RestartIntensityExceeded,
)
from runtime.core.message import Event, Request
from runtime.core.reports import CrashLog
from runtime.core.supervisor import Supervisor
from runtime.testing_core import AT_ONCE, Stage, settle


class Add(Request[int], frozen=True):
    """Add one and return the sum."""


class Fail(Request[None], frozen=True):
    """Fail with an error."""

    error: BaseException


class FailUnasked(Event, frozen=True):
    """Fail in a task, not in the handler."""


class Counter(Actor):
    """Counts from 0 in each of its lives."""

    def __init__(self) -> None:
        self._sum = 0

    async def handle_call(self, request: Request[Any]) -> object:
        """Add, or fail."""
        match request:
            case Fail(error=error):
                raise error
            case _:
                self._sum += 1
                return self._sum

    async def handle_cast(self, event: Event) -> None:
        """Fail, in a moment."""
        del event
        self.context.nursery.start_soon(self._fail)

    async def _fail(self) -> None:
        raise LookupError("in a task")


def tree(on_crash: dict[type[Exception], Directive], **policy: Any) -> Supervisor:
    """Return a supervisor of one counter."""
    spec = ChildSpec("counter", Counter, on_crash=on_crash)
    return Supervisor([spec], **{"backoff": AT_ONCE, **policy})


async def test_resume_keeps_state_and_goes_on() -> None:
    """An error about one message need not cost what was learnt from all others."""
    stage = Stage()
    async with stage.run(tree({ValueError: Directive.RESUME})) as root:
        ref = stage.registry.ref("counter")
        assert await ref.call(Add()) == 1
        with pytest.raises(HandlerFailed, match="counter failed on Fail and goes on"):
            await ref.call(Fail(error=ValueError("boom")))

        assert await ref.call(Add()) == 2
        assert (root.info("counter").incarnation, root.info("counter").failed) == (1, 1)


NESTED = {
    LookupError: Directive.RESUME,
    KeyError: Directive.RESTART,
    OSError: Directive.STOP,
}


@pytest.mark.parametrize(
    ("error", "incarnation"),
    [(IndexError(), 1), (KeyError(), 2), (LookupError(), 1), (ValueError(), 2), (OSError(), 1)],
)
async def test_policy_is_chosen_per_exception_class(error: Exception, incarnation: int) -> None:
    """The most specific class counts, in whatever order they were written; others restart."""
    stage = Stage()
    async with stage.run(tree(NESTED)) as root:
        ref = stage.registry.ref("counter")
        with pytest.raises(Exception, match="counter"):
            await ref.call(Fail(error=error))
        await settle()

        assert root.info("counter").incarnation == incarnation
        running = "stopped" if isinstance(error, OSError) else "running"
        assert root.info("counter").state == running


async def test_policy_sees_through_groups_that_hold_one_error() -> None:
    """A nursery wraps what its task raised; what the error is has not changed by that."""
    stage = Stage()
    async with stage.run(tree({KeyError: Directive.RESUME})) as root:
        ref = stage.registry.ref("counter")
        wrapped = ExceptionGroup("outer", [ExceptionGroup("inner", [KeyError("x")])])
        with pytest.raises(HandlerFailed, match="goes on"):
            await ref.call(Fail(error=wrapped))
        both = ExceptionGroup("two", [KeyError("x"), ValueError("y")])
        with pytest.raises(ActorRestarted, match="ended before it answered"):
            await ref.call(Fail(error=both))
        await settle()

        assert root.info("counter").incarnation == 2


async def test_policies_nest_a_crash_escalates_to_the_supervisor_above() -> None:
    """What is not the child's to survive is judged one level up, by that level's policy."""
    stage = Stage()
    branch = ChildSpec("branch", lambda: tree({ValueError: Directive.ESCALATE}))
    async with stage.run(Supervisor([branch], backoff=AT_ONCE)) as root:
        with pytest.raises(ActorRestarted, match="ended before it answered"):
            await stage.registry.ref("branch.counter").call(Fail(error=ValueError("boom")))
        await settle()

        assert root.info("branch").incarnation == 2
        assert (
            root.info("branch").last_crash == "Escalated: branch.counter crashed: ValueError: boom"
        )


@pytest.mark.parametrize("fatal", [KeyboardInterrupt, SystemExit])
async def test_fatal_errors_are_never_caught(fatal: type[BaseException]) -> None:
    """No directive can keep a process alive that was told to end."""
    stage = Stage()

    async def run() -> None:
        async with stage.run(tree({Exception: Directive.RESUME})):
            await stage.registry.ref("counter").call(Fail(error=fatal()))

    with pytest.raises(BaseExceptionGroup, match="Exceptions from") as caught:
        await run()

    assert caught.value.subgroup(fatal) is not None
    assert stage.registry.names() == ()


async def test_restart_limit_0_stops_at_the_first() -> None:
    """None allowed means none, not one."""
    stage = Stage()

    async def run() -> None:
        async with stage.run(tree({}, intensity=RestartIntensity(0, 10))):
            with pytest.raises(ActorRestarted, match="ended before it answered"):
                await stage.registry.ref("counter").call(Fail(error=ValueError("boom")))
            await trio.sleep_forever()

    with pytest.raises(RestartIntensityExceeded, match="gave up after 1 crashes"):
        await run()


async def test_limit_window_resets() -> None:
    """Two crashes in each window, for ever, are within a limit of two."""
    stage = Stage()
    async with stage.run(tree({}, intensity=RestartIntensity(2, 10))) as root:
        for _ in range(10):
            for _ in range(2):
                with pytest.raises(ActorRestarted, match="ended before it answered"):
                    await stage.registry.ref("counter").call(Fail(error=ValueError("boom")))
            await trio.sleep(10)

        assert root.info("counter").incarnation == 21


async def test_failure_in_setup_during_restart_follows_the_same_policy() -> None:
    """A restart that fails is one more crash: it counts, waits and is tried again."""
    stage, backoff = Stage(), Backoff(min_s=1, max_s=8, jitter=0)
    lives: list[float] = []

    class Reluctant(Counter):
        async def on_start(self) -> None:
            lives.append(trio.current_time())
            if len(lives) in {2, 3}:
                raise OSError("not yet")

    root = Supervisor(
        [ChildSpec("counter", Reluctant)], backoff=backoff, intensity=RestartIntensity(3, 60)
    )
    async with stage.run(root):
        ref = stage.registry.ref("counter")
        with pytest.raises(ActorRestarted, match="ended before it answered"):
            await ref.call(Fail(error=ValueError("boom")))

        assert await ref.call(Add()) == 1
        assert lives == [0, 0, 1, 3]
        assert [report.reason for report in root.crash_reports] == [
            "ValueError: boom",
            "OSError: not yet",
            "OSError: not yet",
        ]


async def crash_three_times(crash_log: CrashLog) -> tuple[CrashLog, int]:
    """Crash a counter three times; return its policy and how many reports were kept."""
    stage = Stage()
    async with stage.run(tree({}, crash_log=crash_log)) as root:
        for _ in range(3):
            with pytest.raises(ActorRestarted, match="ended before it answered"):
                await stage.registry.ref("counter").call(Fail(error=ValueError("boom")))
        await settle()
        return crash_log, len(root.crash_reports)


async def test_log_level_is_raised_after_n_failures(caplog: pytest.LogCaptureFixture) -> None:
    """Once is an incident; again and again is for somebody to get up at night."""
    await crash_three_times(CrashLog(level=logging.WARNING, critical_after=2))

    levels = [record.levelno for record in caplog.records if "crashed in" in record.getMessage()]
    assert levels == [logging.WARNING, logging.WARNING, logging.CRITICAL]


async def test_logging_can_be_off(caplog: pytest.LogCaptureFixture) -> None:
    """Where crashes are daily bread; they are counted and kept all the same."""
    _, kept = await crash_three_times(CrashLog(enabled=False))

    assert caplog.records == []
    assert kept == 3


async def test_supervision_applies_to_the_tasks_of_an_actor() -> None:
    """Whatever feeds an actor from outside runs in its nursery, and fails with it."""
    stage = Stage()
    async with stage.run(tree({LookupError: Directive.RESUME})) as root:
        stage.registry.ref("counter").cast(FailUnasked())
        await settle()

        # No directive: it is about messages, and there is none to go on after.
        assert root.info("counter").incarnation == 2
        assert root.info("counter").last_crash == "LookupError: in a task"
