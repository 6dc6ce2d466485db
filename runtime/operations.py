"""What an operator may ask about the tree and do to it: `runtime.messages.OPERATIONS`.

Nothing here goes through a mailbox, so all of it works while an actor hangs or is swamped: that is
when it is needed. What is told never holds a message, only the names of messages' types.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
import trio

from actors.errors import InvalidRequest
from runtime.core.child import ChildInfo
from runtime.core.clock import Clock
from runtime.core.control import ActorControl
from runtime.core.errors import ActorNotFound, HandlerFailed
from runtime.core.info import Ending
from runtime.core.message import Request
from runtime.core.supervisor import Supervisor
from runtime.core.trace import Happening, Noted
from runtime.messages import (
    EVENTS_MAX,
    OPERATIONS,
    TRACE_S_MAX,
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
from runtime.names import did_you_mean, printable
from runtime.tree_reports import (
    ActorEnding,
    ActorEvent,
    ActorReport,
    ActorState,
    ActorStatistics,
    Trace,
    Tree,
)

_log = logging.getLogger("marketd.operations")

_KINDS = tuple(OPERATIONS.values())
# In a report on one actor; `events` has more of them.
_REPORTED_EVENTS = 20
# These need a mailbox, which a supervisor does not read.
_FOR_ACTORS_ONLY = (GetStatistics, TraceActor, SuspendActor, ResumeActor)


class Operations:
    """Answers what operators ask about one tree.

    Args:
      root: The top of the tree.
      clock: The tree's clock.
    """

    def __init__(self, root: Supervisor, *, clock: Clock) -> None:
        self._root = root
        self._clock = clock

    @staticmethod
    def knows(request: Request[Any]) -> bool:
        """Return whether `request` is one of those answered here."""
        return isinstance(request, _KINDS)

    async def answer(self, request: Request[Any]) -> Any:  # noqa: PLR0911 - one case each
        """Return the answer to `request`.

        Raises:
          ActorNotFound: No actor of that name is there; or it is not running, and would have to.
          InvalidRequest: A number is out of its bounds, or it is asked of a supervisor what only
            an actor has.
          HandlerFailed: The actor failed while it told its figures.
          StartFailed: It did not come up again after it was stopped for a restart.
        """
        self.validate(request)
        match request:
            case GetTree():
                return self.tree()
            case GetActor(name=name):
                return self._report(name)
            case GetState(name=name):
                return self._state(name)
            case GetStatistics(name=name):
                return self._statistics(name)
            case GetEvents(name=name, count=count):
                return self._events(name, count)
            case TraceActor():
                return await self._trace(request)
            case SuspendActor(name=name):
                self._root.actor(name).suspend()
            case ResumeActor(name=name):
                self._root.actor(name).resume()
            case RestartActor(name=name):
                _log.warning("%s is restarted, because an operator wants it", name)
                await self._root.restart(name)
            case _:
                raise InvalidRequest(f"{type(request).__name__} is not about actors")
        return self._state(request.name)

    def validate(self, request: Request[Any], *, through: str = "") -> None:
        """Raise the error that `request` would meet before anything is done for it.

        Args:
          request: One of those answered here.
          through: Name of the actor by which it came in; it cannot be stopped by its own hand.
        """
        if isinstance(request, GetTree):
            return
        name: str = request.name  # type: ignore[attr-defined]
        info = self._find(name)
        if isinstance(request, SuspendActor | RestartActor) and _is_in(through, name):
            raise InvalidRequest(
                f"{name} carries this very request, so it cannot be suspended or restarted by it; "
                "stop the runtime, or ask from inside its process"
            )
        if isinstance(request, _FOR_ACTORS_ONLY) and info.is_supervisor:
            raise InvalidRequest(f"{name} is a supervisor: only an actor has messages and figures")
        if isinstance(request, GetEvents | TraceActor):
            _check_within("count", request.count, least=1, most=EVENTS_MAX)
        if isinstance(request, TraceActor) and not 0 < request.for_s <= TRACE_S_MAX:
            raise InvalidRequest(
                f"for_s must be more than 0 and at most {TRACE_S_MAX:g}, was {request.for_s}"
            )

    def tree(self) -> Tree:
        """Return every actor's state."""
        return Tree(
            time_ms=self._clock.utc_ms(),
            actors=tuple(map(_as_state, flatten(self._root.describe()))),
            abandoned=self._root.abandoned,
        )

    # -------------------------------------------------------------- about one actor

    def _find(self, name: str) -> ChildInfo:
        try:
            return self._root.info(name)
        except ActorNotFound:
            raise self._nobody(name) from None

    def _nobody(self, name: str) -> ActorNotFound:
        shown = printable(name, 100)
        known = {child.name: child for child in flatten(self._root.describe())}
        above = name.rpartition(".")[0]
        while above:
            # What is below a supervisor is away while that is being restarted.
            if above in known and known[above].state != "running":
                state = known[above].state
                return ActorNotFound(f"{shown!r} is away at present: {above} is {state}")
            above = above.rpartition(".")[0]
        return ActorNotFound(f"there is no actor {shown!r}{did_you_mean(shown, known)}")

    def _state(self, name: str) -> ActorState:
        return _as_state(self._find(name))

    def _statistics(self, name: str) -> ActorStatistics:
        control = self._root.actor(name)
        try:
            view = control.get_state()
            # As the socket sends it, so that both doors give the same: lists, and names as keys.
            figures = msgspec.json.decode(msgspec.json.encode(view.statistics))
        except ActorNotFound:
            raise
        except Exception as error:
            _log.exception("%s: its statistics cannot be told", name)
            kind = type(error).__name__
            raise HandlerFailed(f"{name}: its statistics cannot be told: {kind}") from error
        return ActorStatistics(
            name=view.name,
            type=view.type,
            incarnation=view.incarnation,
            unanswered=view.unanswered,
            statistics=figures if isinstance(figures, dict) else {},
        )

    def _report(self, name: str) -> ActorReport:
        info = self._find(name)
        statistics, trouble = None, ""
        if info.state == "running" and not info.is_supervisor:
            try:
                statistics = self._statistics(name)
            except HandlerFailed as error:
                trouble = str(error)
        return ActorReport(
            state=_as_state(info),
            statistics=statistics,
            trouble=trouble,
            endings=self._endings(info),
            events=self._events(name, _REPORTED_EVENTS),
        )

    def _endings(self, info: ChildInfo) -> tuple[ActorEnding, ...]:
        reports = self._root.all_crash_reports()
        then = {
            (each.utc_ms, each.incarnation): each.next
            for each in reports
            if each.child == info.name
        }
        return tuple(
            _as_ending(ending, then.get((ending.utc_ms, ending.incarnation), ""))
            for ending in info.endings
        )

    def _events(self, name: str, count: int) -> tuple[ActorEvent, ...]:
        found = [event for event in self._root.last_events() if _is_in(event.name, name)]
        return tuple(map(self._as_event, found[-count:]))

    def _as_event(self, event: Noted) -> ActorEvent:
        # The ring goes by the monotonic clock; people go by the other one.
        ago_ms = round((self._clock.now_s() - event.at_s) * 1_000)
        return ActorEvent(
            time_ms=self._clock.utc_ms() - ago_ms,
            name=event.name,
            what=event.kind.value,
            detail=event.detail,
        )

    # -------------------------------------------------------------- watching one

    async def _trace(self, request: TraceActor) -> Trace:
        watcher = _Watcher(self._as_event)
        with trio.move_on_after(request.for_s):
            await watcher.watch(self._root.actor(request.name), request)
        return Trace(name=request.name, events=tuple(watcher.events), ended=watcher.why)


class _Watcher:
    """Collects the events of one trace.

    Attributes:
      events: What was seen.
      why: Why the trace ended.
    """

    def __init__(self, as_event: Callable[[Noted], ActorEvent]) -> None:
        self.events: list[ActorEvent] = []
        self.why = ""
        self._as_event = as_event
        self._ended = trio.Event()

    async def watch(self, control: ActorControl, request: TraceActor) -> None:
        """Return when the trace has ended; however this is left, the trace is off afterwards."""
        tracer = control.trace(self._receive, events_max=request.count, for_s=request.for_s)
        try:
            await self._ended.wait()
        finally:
            # Not another's, which has taken its place.
            if not self._ended.is_set():
                tracer.stop(f"after {request.for_s:g} s")

    def _receive(self, event: Noted) -> None:
        if event.kind is Happening.TRACE_ENDED:
            self.why = event.detail
            self._ended.set()
        else:
            self.events.append(self._as_event(event))


def flatten(children: Iterable[ChildInfo]) -> Iterator[ChildInfo]:
    """Yield `children` and all below them, each supervisor before what is below it."""
    for child in children:
        yield child
        yield from flatten(child.children)


def _is_in(name: str, top: str) -> bool:
    """Return whether `name` is `top` or below it."""
    return bool(top) and (name == top or name.startswith(f"{top}."))


def _check_within(name: str, value: int, *, least: int, most: int) -> None:
    if not least <= value <= most:
        raise InvalidRequest(f"{name} must be {least} to {most}, was {value}")


def _as_state(info: ChildInfo) -> ActorState:
    return ActorState(
        name=info.name,
        state=info.state,
        ready=info.ready,
        suspended=info.suspended,
        supervisor=info.is_supervisor,
        restart=info.restart,
        incarnation=info.incarnation,
        uptime_s=info.uptime_s,
        restarts=info.restarts,
        last_crash=info.last_crash or None,
        queued=info.queued,
        queued_peak=info.queued_max,
        received=info.received,
        refused=info.refused,
        dropped=info.dropped,
        handled=info.handled,
        failed=info.failed,
        busy_s=info.busy_s,
        longest_s=info.longest_s,
        in_hand=info.in_hand or None,
        in_hand_s=info.in_hand_s,
    )


def _as_ending(ending: Ending, then: str) -> ActorEnding:
    return ActorEnding(
        time_ms=ending.utc_ms,
        incarnation=ending.incarnation,
        exit=ending.exit,
        reason=ending.reason,
        uptime_s=ending.uptime_s,
        next=then,
        traceback=ending.traceback,
    )
