"""What operators see and do, on a whole runtime: it works while an actor hangs or is swamped."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing

from actors.errors import InvalidRequest
from runtime.core.actor import Actor
from runtime.core.child import ChildSpec
from runtime.core.clock import TrioClock
from runtime.core.errors import ActorNotFound, ActorRestarted, HandlerFailed, StartFailed
from runtime.core.message import Request
from runtime.core.registry import Registry
from runtime.core.supervisor import Supervisor
from runtime.core.tree import open_tree
from runtime.messages import (
    GetActor,
    GetEvents,
    GetState,
    GetStatistics,
    GetTree,
    RestartActor,
    ResumeActor,
    SuspendActor,
    TraceActor,
)
from runtime.operations import Operations
from runtime.tree_reports import ActorReport, ActorState, Trace, Tree


class Ping(Request[str], frozen=True):
    """Answered at once."""


class Hang(Request[None], frozen=True):
    """Never answered."""


class Crash(Request[None], frozen=True):
    """Answered by a crash."""


@dataclass(frozen=True)
class Figures:
    """Figures of every kind there may be."""

    pings: int
    inside: dict[str, tuple[int, ...]]
    secret: object


class Worker(Actor):
    """Counts its pings; may be told not to start, or not to know its figures."""

    starts = True
    knows = True

    def __init__(self) -> None:
        self._pings = 0

    async def on_start(self) -> None:
        """Start, or not."""
        if not Worker.starts:
            raise ValueError("no room")

    async def handle_call(self, request: Request[Any]) -> object:
        """Do as the request is called."""
        match request:
            case Ping():
                self._pings += 1
                return "pong"
            case Hang():
                await trio.sleep_forever()
            case Crash():
                raise ValueError("boom")
        return await super().handle_call(request)

    def statistics(self) -> Figures:
        """Return figures, or not."""
        if not Worker.knows:
            raise ZeroDivisionError
        return Figures(self._pings, {"group": (1, 2)}, object())


@dataclass
class Stage:
    """A tree with an operator."""

    operations: Operations
    registry: Registry
    root: Supervisor

    async def ask(self, request: Request[Any]) -> Any:
        """Ask as an operator."""
        return await self.operations.answer(request)

    async def call(self, name: str, request: Request[Any]) -> Any:
        """Ask as an actor."""
        return await self.registry.ref(name).call(request, timeout_s=1_000)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Changes how workers behave, for one test."""
    return monkeypatch


@asynccontextmanager
async def staged(clock: TrioClock) -> AsyncIterator[Stage]:
    """Run `store`, and `upbit` with `limiter` and `cache` below it."""
    registry = Registry()

    def branch() -> Supervisor:
        return Supervisor([ChildSpec("limiter", Worker), ChildSpec("cache", Worker)])

    root = Supervisor([ChildSpec("store", Worker), ChildSpec("upbit", branch)])
    async with open_tree(root, clock=clock, rng=random.Random(0), registry=registry):
        yield Stage(Operations(root, clock=clock), registry, root)


async def test_tree_lists_everybody_in_start_order(clock: TrioClock) -> None:
    """A supervisor stands before what is below it, so that it can be drawn as it comes."""
    async with staged(clock) as stage:
        tree: Tree = await stage.ask(GetTree())

    assert [each.name for each in tree.actors] == ["store", "upbit", "upbit.limiter", "upbit.cache"]
    assert [each.supervisor for each in tree.actors] == [False, True, False, False]
    assert {(each.state, each.ready, each.incarnation) for each in tree.actors} == {
        ("running", True, 1)
    }
    assert tree.abandoned == ()


async def test_tree_shows_work_mailbox_and_what_is_in_hand(clock: TrioClock) -> None:
    """While a handler hangs and callers pile up: that is when somebody looks."""
    async with staged(clock) as stage, trio.open_nursery() as nursery:
        await stage.call("store", Ping())
        for request in (Hang(), Ping(), Ping()):
            nursery.start_soon(stage.call, "store", request)
            await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(7)
        state: ActorState = await stage.ask(GetState(name="store"))
        assert (await stage.ask(GetTree())).actors[0] == state
        nursery.cancel_scope.cancel()

    assert (state.in_hand, state.in_hand_s) == ("Hang", 7)
    assert (state.queued, state.queued_peak) == (2, 2)
    assert (state.received, state.handled, state.uptime_s) == (4, 1, 7)


async def test_report_tells_past_lives_with_their_tracebacks(clock: TrioClock) -> None:
    """Why it crashed, and what was done about it, without going through the log."""
    async with staged(clock) as stage:
        await trio.sleep(3)
        with pytest.raises(ActorRestarted, match=r"upbit\.cache"):
            await stage.call("upbit.cache", Crash())
        await trio.sleep(1)
        report: ActorReport = await stage.ask(GetActor(name="upbit.cache"))

    assert (report.state.incarnation, report.state.restarts) == (2, 1)
    assert report.state.last_crash == "ValueError: boom"
    [ending] = report.endings
    assert (ending.incarnation, ending.exit, ending.uptime_s) == (1, "crash", 3)
    assert ending.next == "it is started again"
    assert "in handle_call" in ending.traceback
    assert [event.what for event in report.events][-3:] == ["crashed", "started", "ready"]
    assert report.events[-3].time_ms == ending.time_ms == clock.utc_ms() - 1_000


async def test_statistics_are_plain_data_and_hide_the_rest(clock: TrioClock) -> None:
    """The same over the socket as in the process, and no repr of anything."""
    async with staged(clock) as stage:
        await stage.call("store", Ping())
        figures = await stage.ask(GetStatistics(name="store"))

    assert (figures.type, figures.incarnation, figures.unanswered) == ("Worker", 1, 0)
    assert figures.statistics == {"pings": 1, "inside": {"group": [1, 2]}, "secret": "object"}


async def test_actor_that_cannot_tell_its_figures_is_reported_all_the_same(
    clock: TrioClock, worker: pytest.MonkeyPatch
) -> None:
    """A defect in one part must not hide the rest."""
    async with staged(clock) as stage:
        worker.setattr(Worker, "knows", False)
        with pytest.raises(HandlerFailed, match="store: its statistics cannot be told: ZeroDiv"):
            await stage.ask(GetStatistics(name="store"))
        report = await stage.ask(GetActor(name="store"))

    assert report.statistics is None
    assert "ZeroDivisionError" in report.trouble
    assert report.state.state == "running"


async def test_report_on_a_supervisor_has_the_events_below_it(clock: TrioClock) -> None:
    """A branch is looked at as a whole."""
    async with staged(clock) as stage:
        report = await stage.ask(GetActor(name="upbit"))
        newest = await stage.ask(GetEvents(name="upbit", count=1))

    assert report.statistics is None
    assert {event.name for event in report.events} == {"upbit", "upbit.limiter", "upbit.cache"}
    assert newest == report.events[-1:]


async def test_suspended_actor_leaves_its_mailbox_until_it_is_resumed(clock: TrioClock) -> None:
    """Its callers wait; nothing is lost."""
    async with staged(clock) as stage, trio.open_nursery() as nursery:
        assert (await stage.ask(SuspendActor(name="store"))).suspended
        answers: list[str] = []

        async def call() -> None:
            answers.append(await stage.call("store", Ping()))

        nursery.start_soon(call)
        await trio.sleep(5)
        waiting = await stage.ask(GetState(name="store"))
        resumed = await stage.ask(ResumeActor(name="store"))
        await trio.lowlevel.checkpoint()

    assert (waiting.suspended, waiting.queued, resumed.suspended) == (True, 1, False)
    assert answers == ["pong"]


async def test_restart_is_no_crash_and_makes_a_new_incarnation(clock: TrioClock) -> None:
    """Of an actor that hangs, too; who has a message in it is told at once."""
    async with staged(clock) as stage, trio.open_nursery() as nursery:

        async def call() -> None:
            with pytest.raises(ActorRestarted, match="store"):
                await stage.call("store", Hang())

        nursery.start_soon(call)
        await trio.testing.wait_all_tasks_blocked()
        state: ActorState = await stage.ask(RestartActor(name="store"))
        assert (await stage.ask(RestartActor(name="upbit"))).incarnation == 2

    assert (state.state, state.incarnation, state.last_crash) == ("running", 2, None)


async def test_restart_that_fails_says_so(clock: TrioClock, worker: pytest.MonkeyPatch) -> None:
    """And from then on it is the supervisor's to repair."""
    async with staged(clock) as stage:
        worker.setattr(Worker, "starts", False)
        with pytest.raises(StartFailed, match="store did not start: ValueError: no room"):
            await stage.ask(RestartActor(name="store"))
        worker.setattr(Worker, "starts", True)
        await trio.sleep(1)
        assert (await stage.ask(GetState(name="store"))).state == "running"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (GetState(name="upbit.cach"), r"no actor 'upbit\.cach'; did you mean 'upbit\.cache'\?"),
        (GetActor(name=""), "there is no actor ''"),
        (RestartActor(name="upbit.cache.x"), r"no actor 'upbit\.cache\.x'"),
        (GetEvents(name="\x1b[31m"), "no actor '\ufffd"),
    ],
)
async def test_unknown_actor_is_refused_with_advice(
    request_: Request[Any], message: str, clock: TrioClock
) -> None:
    """Names are long, and typed by hand."""
    async with staged(clock) as stage:
        with pytest.raises(ActorNotFound, match=message):
            await stage.ask(request_)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (GetStatistics(name="upbit"), "upbit is a supervisor"),
        (SuspendActor(name="upbit"), "upbit is a supervisor"),
        (TraceActor(name="upbit"), "upbit is a supervisor"),
        (GetEvents(name="store", count=0), "count must be 1 to 1000, was 0"),
        (TraceActor(name="store", count=1_001), "count must be 1 to 1000, was 1001"),
        (TraceActor(name="store", for_s=0), "for_s must be more than 0 and at most 600, was 0"),
        (TraceActor(name="store", for_s=float("nan")), "for_s must be .* was nan"),
    ],
)
async def test_senseless_request_is_refused(
    request_: Request[Any], message: str, clock: TrioClock
) -> None:
    """Rather than answered by something that looks like an answer."""
    async with staged(clock) as stage:
        with pytest.raises(InvalidRequest, match=message):
            await stage.ask(request_)


@pytest.mark.parametrize("kind", [SuspendActor, RestartActor])
async def test_nobody_saws_off_the_branch_it_sits_on(kind: Any, clock: TrioClock) -> None:
    """What carries a request, or anything above that, cannot be stopped by it; others can."""
    async with staged(clock) as stage:
        for name in ("upbit.cache", *(["upbit"] if kind is RestartActor else [])):
            with pytest.raises(InvalidRequest, match=f"{name} carries this very request"):
                stage.operations.validate(kind(name=name), through="upbit.cache")
        stage.operations.validate(kind(name="upbit.limiter"), through="upbit.cache")
        stage.operations.validate(ResumeActor(name="upbit.cache"), through="upbit.cache")


async def test_child_of_a_branch_that_is_away_is_said_to_be_away(
    clock: TrioClock, worker: pytest.MonkeyPatch
) -> None:
    """Not unknown: the operator has not mistyped it."""
    async with staged(clock) as stage:
        worker.setattr(Worker, "starts", False)
        stage.root.kill("upbit")
        await trio.sleep(0.05)
        with pytest.raises(
            ActorNotFound, match=r"'upbit\.cache' is away at present: upbit is rest"
        ):
            await stage.ask(GetState(name="upbit.cache"))
        worker.setattr(Worker, "starts", True)


# ------------------------------------------------------------------ traces


async def traced(stage: Stage, request: TraceActor, nursery: trio.Nursery) -> list[Trace]:
    """Start a trace; its result stands in the list once it has ended."""
    results: list[Trace] = []

    async def trace() -> None:
        results.append(await stage.ask(request))

    nursery.start_soon(trace)
    await trio.testing.wait_all_tasks_blocked()
    return results


async def test_trace_tells_types_and_ends_after_so_many_events(clock: TrioClock) -> None:
    """It cannot be forgotten and left on."""
    async with staged(clock) as stage, trio.open_nursery() as nursery:
        results = await traced(stage, TraceActor(name="store", count=3), nursery)
        await stage.call("store", Ping())
        await stage.call("store", Ping())
        await trio.testing.wait_all_tasks_blocked()

    [trace] = results
    seen = [(event.what, event.detail) for event in trace.events]
    assert seen == [("received", "Ping"), ("handled", "Ping"), ("received", "Ping")]
    assert trace.ended == "after 3 events"


async def test_trace_of_an_idle_actor_ends_in_time(clock: TrioClock) -> None:
    """Nothing happens to it that could end the trace."""
    async with staged(clock) as stage:
        started_s = trio.current_time()
        trace = await stage.ask(TraceActor(name="store", for_s=4))

        assert trio.current_time() == started_s + 4
        assert (trace.events, trace.ended) == ((), "after 4 s")


async def test_trace_follows_an_actor_over_its_crash(clock: TrioClock) -> None:
    """The crash is what it was switched on for."""
    async with staged(clock) as stage, trio.open_nursery() as nursery:
        results = await traced(stage, TraceActor(name="store", for_s=4), nursery)
        with pytest.raises(ActorRestarted, match="store"):
            await stage.call("store", Crash())
        await trio.sleep(1)
        await stage.call("store", Ping())

    seen = [event.what for event in results[0].events]
    assert seen == ["received", "failed", "received", "handled"]


async def test_newer_trace_ends_the_older(clock: TrioClock) -> None:
    """An actor has one, and who had it before is told."""
    async with staged(clock) as stage, trio.open_nursery() as nursery:
        older = await traced(stage, TraceActor(name="store"), nursery)
        newer = await traced(stage, TraceActor(name="store"), nursery)
        assert [trace.ended for trace in older] == ["another trace took its place"]
        await stage.call("store", Ping())

    assert [event.what for event in newer[0].events] == ["received", "handled"]


async def test_trace_that_nobody_waits_for_is_switched_off(clock: TrioClock) -> None:
    """Its operator has gone; the actor must not pay for it any longer."""
    async with staged(clock) as stage:
        with trio.move_on_after(1):
            await stage.ask(TraceActor(name="store"))

        tracer = stage.root.place("store").tracer
        assert tracer is not None
        assert not tracer.on
