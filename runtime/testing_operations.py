"""Answers to what operators ask, for tests without a tree."""

from __future__ import annotations

from typing import Any

import msgspec

from runtime.core.message import Request
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
from runtime.testing import NEW_YEAR_MS
from runtime.tree_reports import (
    ActorEnding,
    ActorEvent,
    ActorReport,
    ActorState,
    ActorStatistics,
    Trace,
    Tree,
)

_TRACEBACK = """Traceback (most recent call last):
  File "actors/cache.py", line 1, in handle_call
ValueError: [bold]boom[/bold]"""


def sample_operation(request: Request[Any]) -> object:  # noqa: PLR0911 - one case each
    """Answer any request of an operator from samples."""
    match request:
        case GetTree():
            return sample_tree()
        case GetActor(name=name):
            return sample_report(name)
        case GetStatistics(name=name):
            return _statistics(name)
        case GetEvents(name=name, count=count):
            return (_event(name),) * count
        case TraceActor(name=name):
            return Trace(name=name, events=(_event(name),), ended="after 10 s")
        case SuspendActor(name=name):
            return sample_state(name, suspended=True)
        case GetState(name=name) | ResumeActor(name=name) | RestartActor(name=name):
            return sample_state(name)
        case _:
            raise TypeError(f"no sample for {type(request).__name__}")


def sample_tree() -> Tree:
    """Return a tree in which everything unusual is the case."""
    branch = msgspec.structs.replace(
        sample_state("upbit"), supervisor=True, ready=False, in_hand=None, last_crash=None
    )
    waiting = msgspec.structs.replace(
        sample_state("upbit.limiter"), state="restarting", ready=False, uptime_s=0.0, in_hand=None
    )
    actors = (branch, waiting, sample_state("upbit.cache", suspended=True))
    return Tree(time_ms=NEW_YEAR_MS, actors=actors, abandoned=("store",))


def sample_state(name: str, *, suspended: bool = False) -> ActorState:
    """Return the state of an actor that has crashed once and has a message in hand."""
    return ActorState(
        name=name,
        state="running",
        ready=True,
        suspended=suspended,
        supervisor=False,
        restart="permanent",
        incarnation=2,
        uptime_s=61.5,
        restarts=1,
        last_crash="ValueError: [bold]boom[/bold]",
        queued=3,
        queued_peak=4_096,
        received=1_234_567,
        refused=1,
        dropped=2,
        handled=1_234_000,
        failed=5,
        busy_s=12.5,
        longest_s=0.00005,
        in_hand="GetCandles",
        in_hand_s=7.25,
    )


def sample_report(name: str) -> ActorReport:
    """Return everything about such an actor."""
    ending = ActorEnding(
        time_ms=NEW_YEAR_MS,
        incarnation=1,
        exit="crash",
        reason="ValueError: [bold]boom[/bold]",
        uptime_s=90.0,
        next="it is started again",
        traceback=_TRACEBACK,
    )
    return ActorReport(
        state=sample_state(name),
        statistics=_statistics(name),
        trouble="",
        endings=(ending,),
        events=(_event(name),),
    )


def _statistics(name: str) -> ActorStatistics:
    figures = {"pages": 1_234, "waiting": 0, "by_group": {"candles": 5e-7}, "reason": ""}
    return ActorStatistics(
        name=name, type="CacheActor", incarnation=2, unanswered=1, statistics=figures
    )


def _event(name: str) -> ActorEvent:
    return ActorEvent(time_ms=NEW_YEAR_MS, name=name, what="crashed", detail="ValueError: boom")
