"""What happened lately: a ring of the last events, and a trace of one actor that limits itself.

Neither ever holds a message: of whatever an event is about only the name of its type is kept, so
that looking at a tree cannot show what its messages carry, nor keep them alive.

    ring.note(name, Happening.RECEIVED, message)      # always on, bounded
    if tracer.on:                                     # off, this one look is all it costs
        tracer.note(Happening.RECEIVED, message)
"""

from __future__ import annotations

import enum
import logging
import math
from collections import deque
from collections.abc import Callable

import msgspec

from runtime.core.clock import Clock

_log = logging.getLogger("marketd.trace")

# Enough for "KeyError, incarnation 17, starts again in 3.2 s"; an event is no place for prose.
_DETAIL_MAX = 200
_EVENTS_MAX = 10_000
_FOR_S_MAX = 3600.0


class Happening(enum.Enum):
    """What an event says."""

    RECEIVED = "received"
    """A message came into the mailbox."""
    REFUSED = "refused"
    """A message was refused or dropped at the mailbox's bound."""
    HANDLED = "handled"
    """A message was dealt with; a domain error is an answer like any other."""
    FAILED = "failed"
    """A message did not get its answer: crash, deadline, or nobody to handle it."""
    STARTING = "starting"
    """A child's incarnation begins."""
    STARTED = "started"
    """It has started; its next sibling may."""
    READY = "ready"
    """It is warm: its answers are good."""
    CRASHED = "crashed"
    """It ended with an error."""
    RESTARTING = "restarting"
    """It is to be started again."""
    STOPPING = "stopping"
    """It was asked to end."""
    STOPPED = "stopped"
    """It has ended."""
    HUNG = "hung"
    """It took longer over a message than its specification allows."""
    ABANDONED = "abandoned"
    """It ignored its cancellation and is waited for no longer."""
    SUSPENDED = "suspended"
    """It was told to leave its mailbox alone."""
    RESUMED = "resumed"
    """It was told to go on."""
    GAVE_UP = "gave_up"
    """A supervisor met its restart limit."""
    TRACE_ENDED = "trace_ended"
    """A trace switched itself off, or was switched off; nothing follows."""


class Noted(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened.

    Attributes:
      at_s: When, in seconds on `Clock.now_s`.
      name: To which actor or supervisor: its path in the tree.
      kind: What.
      detail: A few words, or the name of the type of what it is about; often empty.
    """

    at_s: float
    name: str
    kind: Happening
    detail: str


class RingStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """How full a ring is.

    Attributes:
      capacity: The most events it holds.
      held: Events it holds.
      noted: Events ever noted; those no longer held made room for newer ones.
    """

    capacity: int
    held: int
    noted: int


class EventRing:
    """The last events of a tree: a new one takes the place of the oldest.

    Args:
      capacity: Most events held; one takes about 150 bytes.
      clock: Where time is read.
    """

    def __init__(self, capacity: int = 1000, *, clock: Clock) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, was {capacity}")
        self._now_s = clock.now_s
        # Plain tuples: this is written for every message and read by a person now and then.
        self._events: deque[tuple[float, str, Happening, str]] = deque(maxlen=capacity)
        self._capacity = capacity
        self._noted = 0

    def note(self, name: str, kind: Happening, about: object = "") -> None:
        """Take down that something happened.

        Args:
          name: To whom.
          kind: What.
          about: Words of the caller's own, cut at 200 characters; or anything else, such as a
            message or an error, of which only the name of its type is kept.
        """
        self._noted += 1
        self._events.append((self._now_s(), name, kind, _detail(about)))

    def last(self, count_max: int | None = None, *, below: str | None = None) -> tuple[Noted, ...]:
        """Return the newest events, oldest of them first.

        Args:
          count_max: Most events returned; all that are held if None.
          below: Only those of this name and of what is below it in the tree; of all if None.
        """
        events = [event for event in self._events if below is None or _is_below(event[1], below)]
        newest = events if count_max is None else events[max(0, len(events) - count_max) :]
        return tuple(Noted(at_s=at, name=n, kind=k, detail=d) for at, n, k, d in newest)

    def statistics(self) -> RingStatistics:
        """Return how full the ring is."""
        return RingStatistics(capacity=self._capacity, held=len(self._events), noted=self._noted)


class Tracer:
    """A trace of one actor's messages, that cannot be forgotten and left on.

    It ends after so many events or seconds, whichever comes first, and its last event says why.
    Time is looked at when something happens and by `check`, so a trace of an actor that nothing
    happens to ends at the next of either.

    Error handling: a receiver that raises ends the trace and is logged; tracing an actor never
    harms it. A receiver must not block: it runs in the traced actor's task.

    Args:
      name: The actor's path in the tree.
      clock: Where time is read.

    Attributes:
      on: Whether to call `note`. A plain attribute, because it is read for every message.
    """

    __slots__ = ("_clock", "_emit", "_ends_s", "_for_s", "_left", "_limit", "_name", "on")

    def __init__(self, name: str, *, clock: Clock) -> None:
        self.on = False
        self._name = name
        self._clock = clock
        self._emit: Callable[[Noted], None] = log_event
        self._limit = self._left = 0
        self._for_s = self._ends_s = 0.0

    def start(
        self, emit: Callable[[Noted], None], *, events_max: int = 100, for_s: float = 10.0
    ) -> None:
        """Switch on; a trace already under way ends and tells its own receiver so.

        Args:
          emit: Receives each event, and one `TRACE_ENDED` in the end.
          events_max: Ends after so many events, 1 to 10,000.
          for_s: Ends after so long, in seconds; more than 0, at most an hour.

        Raises:
          ValueError: A limit is out of range: a trace without limits does not exist.
        """
        if not 1 <= events_max <= _EVENTS_MAX:
            raise ValueError(f"events_max must be 1 to {_EVENTS_MAX}, was {events_max}")
        if not 0 < for_s <= _FOR_S_MAX or math.isnan(for_s):
            raise ValueError(f"for_s must be more than 0, at most {_FOR_S_MAX:g}, was {for_s}")
        self.stop("another trace took its place")
        self._emit = emit
        self._limit = self._left = events_max
        self._for_s, self._ends_s = for_s, self._clock.now_s() + for_s
        self.on = True

    def stop(self, reason: str = "switched off") -> None:
        """Switch off and say why; does nothing where no trace is under way."""
        if not self.on:
            return
        # Forgotten before it is told, so that it may start another trace from there; and because
        # what received the events may be large, such as a connection, and is not to be kept alive.
        emit, self._emit, self.on = self._emit, log_event, False
        self._hand_over(emit, Happening.TRACE_ENDED, reason)

    def check(self) -> bool:
        """Switch off if the time is over; return whether the trace is still on."""
        if self.on and self._clock.now_s() >= self._ends_s:
            self.stop(f"after {self._for_s:g} s")
        return self.on

    def note(self, kind: Happening, about: object = "") -> None:
        """Hand one event to the receiver; nothing where no trace is under way.

        Args:
          kind: What happened.
          about: As for `EventRing.note`.
        """
        if not self.check():
            return
        self._left -= 1
        self._hand_over(self._emit, kind, about)
        # Does nothing where the receiver has switched the trace off, or started another.
        if self._left == 0:
            self.stop(f"after {self._limit} events")

    def _hand_over(self, emit: Callable[[Noted], None], kind: Happening, about: object) -> None:
        at_s = self._clock.now_s()
        try:
            emit(Noted(at_s=at_s, name=self._name, kind=kind, detail=_detail(about)))
        except Exception:  # noqa: BLE001 - whatever it is, the traced actor must not see it
            _log.exception("%s: the trace ends, because its receiver failed", self._name)
            # Not through `stop`: this receiver is told nothing more.
            if self._emit is emit:
                self._emit, self.on = log_event, False


def log_event(event: Noted) -> None:
    """Receive a trace's events as log lines."""
    _log.info("%.6f %s %s %s", event.at_s, event.name, event.kind.value, event.detail)


def _detail(about: object) -> str:
    # Exactly `str`: a subclass may be a message, or print itself as it likes.
    if about.__class__ is str:
        text: str = about
        if len(text) <= _DETAIL_MAX and text.isprintable():
            return text
        return "".join(c if c.isprintable() else " " for c in text[:_DETAIL_MAX])
    return about.__name__ if isinstance(about, type) else type(about).__name__


def _is_below(name: str, top: str) -> bool:
    return not top or name == top or name.startswith(f"{top}.")
