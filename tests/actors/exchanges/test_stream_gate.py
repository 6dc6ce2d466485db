"""`StreamGate`: leave to connect, what the limiter is told, and texts within the limits."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import Overloaded, RateLimited
from actors.exchanges.stream_gate import TEXTS_WAITING_MAX, StreamGate
from actors.exchanges.streams import StreamLost, StreamSocket
from actors.exchanges.upbit.limits import GROUP_CONNECT, RULES, STREAM_RULES
from actors.limit_tables import LimitTables
from actors.messages import GetLimits
from actors.rate_limiter import RateLimiterActor
from actors.reports import GroupLimits
from actors.slots import SlotRules
from runtime.core.clock import TrioClock
from runtime.core.errors import ActorError
from runtime.core.mailbox import MailboxSpec
from runtime.core.message import Event
from runtime.core.ref import ActorRef
from runtime.core.registry import Registry
from runtime.testing import NEW_YEAR_MS, open_actor

LIMITS = STREAM_RULES.message_limits


class Explode(Event, frozen=True):
    """Makes the limiter crash."""


class FragileLimiter(RateLimiterActor):
    """A limiter that crashes on demand."""

    async def handle_cast(self, event: Event) -> None:
        """Crash on `Explode`."""
        if isinstance(event, Explode):
            raise ZeroDivisionError("asked to")
        await super().handle_cast(event)


@dataclass
class Line:
    """An exchange's streams. Texts arrive some time after they were sent, in their order."""

    connect_s: float = 0.0
    refusal: Exception | None = None
    travel_s: Callable[[], float] = lambda: 0.0
    open_now: int = 0
    connected_s: list[float] = field(default_factory=list)
    arrived_s: list[float] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[StreamSocket]:
        """Connect."""
        await trio.sleep(self.connect_s)
        if self.refusal is not None:
            raise self.refusal
        self.connected_s.append(trio.current_time())
        self.open_now += 1
        try:
            yield self
        finally:
            self.open_now -= 1

    async def send(self, text: str) -> None:
        """Note when a text arrives."""
        await trio.lowlevel.checkpoint()
        self.texts.append(text)
        before_s = self.arrived_s[-1] if self.arrived_s else 0.0
        self.arrived_s.append(max(before_s, trio.current_time() + self.travel_s()))

    async def receive(self) -> list[bytes | str]:
        """Receive what is always the same."""
        await trio.lowlevel.checkpoint()
        return [b"frame"]

    async def ping(self) -> None:
        """Note it like a text."""
        self.texts.append("ping")


@dataclass
class Opened:
    """A gate, and the limiter behind it."""

    gate: StreamGate
    limiter: ActorRef

    async def report(self) -> GroupLimits:
        """Return the limiter's report on connections."""
        await trio.testing.wait_all_tasks_blocked()
        reports = await self.limiter.call(GetLimits())
        return {each.group: each for each in reports}[GROUP_CONNECT]


@asynccontextmanager
async def open_gate(
    line: Line,
    *,
    mailbox: MailboxSpec = MailboxSpec(capacity=4096),  # noqa: B008 - frozen
) -> AsyncIterator[Opened]:
    """Open a gate to `line` and a real limiter, some seconds after its start."""
    clock = TrioClock(start_utc_ms=NEW_YEAR_MS)
    tables = LimitTables("upbit")
    async with open_actor(
        lambda: FragileLimiter("upbit", RULES.limits, tables=tables),
        name="limiter",
        mailbox=mailbox,
    ) as limiter:
        await trio.sleep(5)
        yield Opened(StreamGate("upbit", STREAM_RULES, line.open, limiter, clock), limiter)


def most_in(times_s: Sequence[float], window_s: float) -> int:
    """Return the most of `times_s` that lie in any half-open window."""
    most, first = 0, 0
    for last, time_s in enumerate(times_s):
        while times_s[first] <= time_s - window_s:
            first += 1
        most = max(most, last - first + 1)
    return most


# ------------------------------------------------------------------ connecting


async def test_a_connection_costs_one_permit_which_is_back_before_the_connection_ends() -> None:
    """It lasts for hours; its permit is for the handshake."""
    line = Line(connect_s=0.3)
    async with open_gate(line) as opened:
        async with opened.gate.open() as socket:
            report = await opened.report()
            assert (report.in_flight, report.windows[0].used) == (0, 1)
            await trio.sleep(1.2)
            assert (await opened.report()).windows[0].used == 0
            await socket.send("text")
            assert await socket.receive() == [b"frame"]
            await socket.ping()
            assert line.open_now == 1
        assert line.open_now == 0
    assert line.texts == ["text", "ping"]


async def test_no_more_connections_a_second_than_allowed() -> None:
    """Counted by address, whoever opens them."""
    line = Line(connect_s=0.01)
    async with open_gate(line) as opened, trio.open_nursery() as nursery:

        async def connect() -> None:
            async with opened.gate.open():
                pass

        for _ in range(23):
            nursery.start_soon(connect)

    assert len(line.connected_s) == 23
    assert most_in(line.connected_s, 1.0) <= 5
    assert line.connected_s[-1] < 5 + 5 * 1.1


@pytest.mark.parametrize(
    ("refusal", "held", "wait_s"),
    [
        (StreamLost("refused", sent=False), 0, 0.0),
        (StreamLost("timed out"), 1, 0.0),
        (StreamLost("429", status=429), 1, 1.0),
        (StreamLost("418", status=418, retry_after_s=300.0), 1, 300.0),
        (StreamLost("503", status=503), 1, 0.0),
        (ValueError("a wrong URL"), 1, 0.0),
    ],
)
async def test_the_limiter_learns_what_became_of_an_attempt(
    refusal: Exception, held: int, wait_s: float
) -> None:
    """What was not sent is free, and a refusal makes everybody wait."""
    line = Line(refusal=refusal)
    async with open_gate(line) as opened:
        with pytest.raises(type(refusal), match=str(refusal)) as caught:
            await enter(opened.gate)
        assert caught.value is refusal
        report = await opened.report()
        assert (report.in_flight, report.windows[0].used) == (0, held)
        line.refusal, began_s = None, trio.current_time()
        if wait_s > 60:
            with pytest.raises(RateLimited, match="upbit"):
                await enter(opened.gate)
        else:
            await enter(opened.gate)
            assert trio.current_time() - began_s == pytest.approx(wait_s, abs=0.1)


async def enter(gate: StreamGate) -> None:
    """Open a connection and leave it."""
    async with gate.open():
        pass


async def test_who_is_cancelled_while_connecting_gives_the_permit_back() -> None:
    """It may have arrived, so it counts; but nobody waits for it any more."""
    async with open_gate(Line(connect_s=10)) as opened:
        with trio.move_on_after(1):
            await enter(opened.gate)
        report = await opened.report()

    assert (report.in_flight, report.windows[0].used) == (0, 1)


async def test_a_limiter_that_crashes_is_asked_again() -> None:
    """Its crash is not the connection's fault, and its successor knows what was sent."""
    line = Line(refusal=StreamLost("429", status=429))
    async with open_gate(line) as opened:
        with pytest.raises(StreamLost, match="429"):
            await enter(opened.gate)
        line.refusal = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(enter, opened.gate)
            await trio.sleep(0.2)
            opened.limiter.cast(Explode())
        assert len(line.connected_s) == 1


async def test_a_limiter_that_is_not_there_is_said() -> None:
    """As it is: the feed tells it from an exchange that is away."""
    line = Line()
    gate = StreamGate(
        "upbit",
        STREAM_RULES,
        line.open,
        Registry().ref("nobody"),
        TrioClock(start_utc_ms=NEW_YEAR_MS),
    )
    with pytest.raises(ActorError, match="nobody"):
        await enter(gate)
    assert line.connected_s == []


async def test_the_error_of_the_block_leaves_as_it_was_raised() -> None:
    """And the connection is closed."""
    line, error = Line(), ZeroDivisionError("mine")

    async def fail(gate: StreamGate) -> None:
        async with gate.open():
            raise error

    async with open_gate(line) as opened:
        with pytest.raises(ZeroDivisionError, match="mine") as caught:
            await fail(opened.gate)

    assert caught.value is error
    assert line.open_now == 0


async def test_a_release_that_finds_no_room_is_told_later() -> None:
    """A permit that is never given back costs a slot for half a minute."""
    async with open_gate(Line(), mailbox=MailboxSpec(capacity=1)) as opened:
        for _ in range(5):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(enter_or_not, opened.gate)
        await trio.sleep(2)
        await enter(opened.gate)
        assert (await opened.report()).in_flight == 0


async def enter_or_not(gate: StreamGate) -> None:
    """Open a connection, or find that the limiter's mailbox is full."""
    with suppress(ActorError):
        await enter(gate)


# ------------------------------------------------------------------ texts


@asynccontextmanager
async def open_socket(line: Line) -> AsyncIterator[StreamSocket]:
    """Open a connection, at 5 s, that keeps to the limits."""
    async with open_gate(line) as opened, opened.gate.open() as socket:
        yield socket


async def test_texts_within_the_limits_go_at_once_and_the_others_in_their_turn() -> None:
    """Order matters: each text replaces what the last one asked for."""
    line = Line()
    async with open_socket(line) as socket:
        for number in range(5):
            await socket.send(str(number))
        assert trio.current_time() == 5
        async with trio.open_nursery() as nursery:
            for number in range(5, 12):
                nursery.start_soon(socket.send, str(number))
                await trio.testing.wait_all_tasks_blocked()

        assert line.texts == [str(number) for number in range(12)]
        assert line.arrived_s[5] >= 6.0


async def test_who_gives_up_waiting_spends_nothing_and_keeps_nobody_back() -> None:
    """The feed replaces a text that waits by a newer one."""
    line = Line()
    async with open_socket(line) as socket:
        for number in range(5):
            await socket.send(str(number))
        with trio.move_on_after(0.5) as scope:
            await socket.send("old")
        assert scope.cancelled_caught
        await socket.send("new")

        assert line.texts == [*"01234", "new"]
        assert trio.current_time() == pytest.approx(8.005, abs=0.01)


async def test_a_text_that_failed_counts_and_the_next_one_fails_by_itself() -> None:
    """It may have arrived; and nobody is left waiting behind it."""

    class Broken(Line):
        async def send(self, text: str) -> None:
            await super().send(text)
            raise StreamLost("gone")

    line = Broken()
    async with open_socket(line) as socket:
        for _ in range(7):
            with pytest.raises(StreamLost, match="gone"):
                await socket.send("text")

        assert most_in(line.arrived_s, 1.0) == 5


async def test_too_many_texts_are_refused() -> None:
    """Whoever sends that many does not wait for any of them."""
    line = Line()
    async with open_socket(line) as socket, trio.open_nursery() as nursery:
        # Five go, one waits for the limit, and the others for that one.
        for number in range(TEXTS_WAITING_MAX + 6):
            nursery.start_soon(socket.send, str(number))
            await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(Overloaded, match="upbit: 100 texts already wait"):
            await socket.send("one more")
        nursery.cancel_scope.cancel()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), slow=st.sampled_from([0.0, 0.1, 1.0, 2.0]))
def test_the_exchange_never_counts_more_than_it_allows(seed: int, slow: float) -> None:
    """Five in any second and a hundred in any minute, at its own door, whatever the way takes."""
    rng = random.Random(seed)
    line = Line(travel_s=lambda: rng.uniform(0, slow))

    async def main() -> None:
        async with open_socket(line) as socket:

            async def chatter() -> None:
                for _ in range(60):
                    await trio.sleep(rng.choice([0.0, 0.0, 0.1, 5.0]) * rng.random())
                    with trio.move_on_after(rng.choice([0.5, 1000.0])):
                        await socket.send("text")

            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(chatter)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))

    assert len(line.arrived_s) > 100
    for limit in LIMITS:
        assert most_in(line.arrived_s, limit.period_s) <= limit.requests


async def test_the_limits_are_used_up() -> None:
    """A gate that let nothing through would keep every limit."""
    line = Line()
    async with open_socket(line) as socket:
        for _ in range(200):
            await socket.send("text")

        # A hundred in a minute and the time given to the last of them to arrive.
        hold_s = SlotRules().hold_s(LIMITS[1]) + SlotRules().transit_s
        assert line.arrived_s[100] == pytest.approx(5 + hold_s, abs=0.1)
        assert line.arrived_s[199] < 5 + 2 * hold_s
