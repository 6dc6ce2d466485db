"""`EventRing` and `Tracer`: what happened lately, bounded, and never what a message carries."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runtime.core.message import Event
from runtime.core.trace import EventRing, Happening, Noted, Tracer


class HandClock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.time_s = 0.0

    def now_s(self) -> float:
        """Return what was set."""
        return self.time_s

    def utc_ms(self) -> int:
        """Return the same moment in milliseconds."""
        return round(self.time_s * 1000)


class Deposit(Event, frozen=True):
    """A message that carries what nobody else should see."""

    amount: str


class Shouting(str):
    """A text that is not the caller's own words."""

    __slots__ = ()


@pytest.fixture
def hand_clock() -> HandClock:
    """Time that stands still unless a test moves it."""
    return HandClock()


@pytest.fixture
def tracer(hand_clock: HandClock) -> Tracer:
    """A tracer of the actor "upbit.cache", off."""
    return Tracer("upbit.cache", clock=hand_clock)


def test_an_event_says_when_who_and_what(hand_clock: HandClock) -> None:
    """These four are all that an operator gets to see."""
    ring = EventRing(clock=hand_clock)
    hand_clock.time_s = 2.5

    ring.note("upbit.cache", Happening.CRASHED, "KeyError, starts again in 3 s")

    assert ring.last() == (
        Noted(
            at_s=2.5,
            name="upbit.cache",
            kind=Happening.CRASHED,
            detail="KeyError, starts again in 3 s",
        ),
    )


@given(capacity=st.integers(1, 20), count=st.integers(0, 60))
def test_the_newest_events_are_the_ones_kept(capacity: int, count: int) -> None:
    """A ring that grew would be a leak; one that kept the oldest would be of no use."""
    ring = EventRing(capacity, clock=HandClock())

    for number in range(count):
        ring.note("a", Happening.HANDLED, str(number))

    details = [event.detail for event in ring.last()]
    assert details == [str(number) for number in range(count)][-capacity:]
    statistics = ring.statistics()
    assert (statistics.capacity, statistics.noted) == (capacity, count)
    assert statistics.held == len(details)


@pytest.mark.parametrize(
    ("about", "detail"),
    [
        (Deposit(amount="hunter2"), "Deposit"),
        (Deposit, "Deposit"),
        (ValueError("hunter2"), "ValueError"),
        (Shouting("hunter2"), "Shouting"),
        (b"hunter2", "bytes"),
        (None, "NoneType"),
        ("", ""),
    ],
)
def test_only_the_type_of_what_an_event_is_about_is_kept(
    hand_clock: HandClock, about: object, detail: str
) -> None:
    """Whoever may look at a tree may not therefore read its messages."""
    ring = EventRing(clock=hand_clock)

    ring.note("a", Happening.RECEIVED, about)

    assert ring.last()[0].detail == detail


@given(st.text(max_size=1000))
@example("x" * 201)
def test_details_are_one_short_printable_line(words: str) -> None:
    """They end up in terminals and log lines, which control characters would rewrite."""
    ring = EventRing(clock=HandClock())

    ring.note("a", Happening.CRASHED, words)

    detail = ring.last()[0].detail
    assert detail.isprintable()
    assert len(detail) == min(len(words), 200)


def test_the_last_events_can_be_asked_for_by_number_and_place(hand_clock: HandClock) -> None:
    """An operator asks about one branch; a name that merely begins alike is another branch."""
    ring = EventRing(clock=hand_clock)
    for name in ("upbit", "upbit.cache", "upbit2.cache", "upbit.feed"):
        ring.note(name, Happening.STARTED)

    def names(count_max: int | None = None, below: str | None = None) -> list[str]:
        return [event.name for event in ring.last(count_max, below=below)]

    assert names(below="upbit") == ["upbit", "upbit.cache", "upbit.feed"]
    assert names(2, below="upbit") == ["upbit.cache", "upbit.feed"]
    assert names(1) == ["upbit.feed"]
    assert names(0) == []
    assert len(names(below="")) == 4


def test_a_ring_without_room_is_refused(hand_clock: HandClock) -> None:
    """It would forget everything in silence."""
    with pytest.raises(ValueError, match="capacity must be at least 1, was 0"):
        EventRing(0, clock=hand_clock)


def test_a_tracer_is_off_until_it_is_started(tracer: Tracer) -> None:
    """Nobody pays for what nobody asked for; a note to one that is off is harmless."""
    received: list[Noted] = []

    on_before = tracer.on
    tracer.note(Happening.RECEIVED, "before")
    tracer.start(received.append)
    tracer.note(Happening.RECEIVED, Deposit(amount="hunter2"))

    assert (on_before, tracer.on) == (False, True)
    assert [(event.name, event.detail) for event in received] == [("upbit.cache", "Deposit")]


@given(events_max=st.integers(1, 20), count=st.integers(0, 40))
def test_a_trace_ends_after_its_events_and_says_so(events_max: int, count: int) -> None:
    """A trace on a busy actor that somebody forgot would be a flood."""
    received: list[Noted] = []
    tracer = Tracer("a", clock=HandClock())

    tracer.start(received.append, events_max=events_max)
    for _ in range(count):
        tracer.note(Happening.HANDLED)

    ended = [event.detail for event in received if event.kind is Happening.TRACE_ENDED]
    assert len(received) - len(ended) == min(count, events_max)
    assert ended == ([f"after {events_max} events"] if count >= events_max else [])
    assert tracer.on == (count < events_max)


@pytest.mark.parametrize("look", [Tracer.check, lambda tracer: tracer.note(Happening.HANDLED)])
def test_a_trace_ends_after_its_time_and_says_so(
    tracer: Tracer, hand_clock: HandClock, look: Callable[[Tracer], object]
) -> None:
    """A quiet actor never reaches its number of events."""
    received: list[Noted] = []
    tracer.start(received.append, for_s=10)
    hand_clock.time_s = 9.9
    assert tracer.check()

    hand_clock.time_s = 10.0
    look(tracer)

    assert not tracer.on
    assert [(event.kind, event.detail) for event in received] == [
        (Happening.TRACE_ENDED, "after 10 s")
    ]


def test_a_trace_that_is_switched_off_says_so_once(tracer: Tracer) -> None:
    """Whoever reads it must know that silence is not quiet."""
    received: list[Noted] = []
    tracer.start(received.append)

    tracer.stop()
    tracer.stop()
    tracer.note(Happening.HANDLED)

    assert [event.detail for event in received] == ["switched off"]


def test_a_second_trace_takes_the_place_of_the_first(tracer: Tracer) -> None:
    """Two people look at the same actor; the first is told why it went silent."""
    first: list[Noted] = []
    second: list[Noted] = []
    tracer.start(first.append, events_max=1)

    tracer.start(second.append, events_max=2)
    tracer.note(Happening.HANDLED)

    assert [event.detail for event in first] == ["another trace took its place"]
    assert [event.kind for event in second] == [Happening.HANDLED]
    assert tracer.on


def test_a_receiver_that_raises_ends_the_trace_and_nothing_else(
    tracer: Tracer, caplog: pytest.LogCaptureFixture
) -> None:
    """The traced actor must not crash because somebody who looked has gone away."""

    def broken(event: Noted) -> None:
        raise ConnectionResetError(event.name)

    tracer.start(broken)
    tracer.note(Happening.HANDLED)
    tracer.note(Happening.HANDLED)

    assert not tracer.on
    assert [record.getMessage() for record in caplog.records] == [
        "upbit.cache: the trace ends, because its receiver failed"
    ]


def test_a_receiver_may_stop_its_own_trace(tracer: Tracer) -> None:
    """It may have seen enough, in the middle of being told."""
    received: list[str] = []

    def until_enough(event: Noted) -> None:
        received.append(event.detail)
        if event.detail == "enough":
            tracer.stop()

    tracer.start(until_enough, events_max=2)
    for detail in ("one", "enough", "too late"):
        tracer.note(Happening.HANDLED, detail)

    assert received == ["one", "enough", "switched off"]
    assert not tracer.on


def test_a_receiver_may_start_another_trace_when_its_own_ends(tracer: Tracer) -> None:
    """It may want more of the same; the new trace has limits of its own."""
    received: list[str] = []

    def once_more(event: Noted) -> None:
        received.append(event.detail)
        if event.kind is Happening.TRACE_ENDED and len(received) == 2:
            tracer.start(once_more, events_max=1)

    tracer.start(once_more, events_max=1)
    for detail in ("one", "two", "too late"):
        tracer.note(Happening.HANDLED, detail)

    assert received == ["one", "after 1 events", "two", "after 1 events"]
    assert not tracer.on


def test_an_ended_trace_lets_go_of_its_receiver(tracer: Tracer) -> None:
    """It may be a connection, which must not live on because somebody once traced over it."""
    received: list[Noted] = []

    tracer.start(received.append, events_max=1)
    tracer.note(Happening.HANDLED)

    assert getattr(tracer._emit, "__self__", None) is not received


@pytest.mark.parametrize("events_max", [0, -1, 10_001])
def test_a_trace_without_a_bound_on_its_events_is_refused(tracer: Tracer, events_max: int) -> None:
    """The limit is the point of it."""
    with pytest.raises(ValueError, match=f"events_max must be 1 to 10000, was {events_max}"):
        tracer.start(list[Noted]().append, events_max=events_max)
    assert not tracer.on


@pytest.mark.parametrize("for_s", [0.0, -1.0, 3601.0, math.inf, math.nan])
def test_a_trace_without_a_bound_on_its_time_is_refused(tracer: Tracer, for_s: float) -> None:
    """The limit is the point of it."""
    with pytest.raises(ValueError, match=r"for_s must be more than 0, at most 3600, was"):
        tracer.start(list[Noted]().append, for_s=for_s)
    assert not tracer.on
