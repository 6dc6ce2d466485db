"""What tests of a feed need: an exchange whose streams do as the test says, and a feed on it.

stage = FeedStage()
async with stage.open():
    with stage.wants.hold({TICKER: 0}):
        await stage.until_live(TICKER)
        stage.exchange.tell(TICKER, 1_000)
"""

from __future__ import annotations

import random
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

from actors.errors import MalformedPayload
from actors.exchanges.base import RateLimit
from actors.exchanges.streams import (
    LiveRow,
    StreamAdapter,
    StreamAlive,
    StreamEvent,
    StreamKey,
    StreamLost,
    StreamRules,
    Update,
)
from actors.feed_tables import LINE, FeedPolicy, FeedTables, LiveQuote
from actors.quotes import BookLevel, OrderBook, Ticker, Trade
from actors.timeframes import Timeframe
from actors.wants import Wants
from runtime.core.actor import Actor
from runtime.core.child import ChildSpec
from runtime.core.clock import TrioClock
from runtime.core.message import Event
from runtime.core.ref import ActorRef
from runtime.core.registry import Registry
from runtime.core.supervisor import Supervisor
from runtime.core.tree import open_tree

# 2026-01-01T00:00:00Z, a Thursday.
NEW_YEAR_MS = 1_767_225_600_000

RULES = StreamRules(
    connect_group="connect",
    message_group="messages",
    message_limits=(RateLimit(5, 1.0), RateLimit(100, 60.0)),
    idle_s=120.0,
    confirm_s=5.0,
    timeframes=frozenset({Timeframe.M1, Timeframe.H4}),
    depths=(1, 5, 15, 30),
)
PING = "PING"


def value_of(key: StreamKey, made_ms: int, number: int = 0) -> Ticker | OrderBook | Trade | LiveRow:
    """Return something that a stream could tell; equal for equal arguments."""
    price = 100.0 + made_ms % 9_973 / 1_000
    match key.kind:
        case "trade":
            return Trade(
                market=key.code,
                time_ms=made_ms,
                price=price,
                volume=1.0,
                side="buy",
                trade_id=number or made_ms,
            )
        case "orderbook":
            levels = (BookLevel(price, 1.0),)
            return OrderBook(
                market=key.code,
                time_ms=made_ms,
                bids=levels,
                asks=levels,
                total_bid_size=1.0,
                total_ask_size=1.0,
                source="live",
            )
        case "candle":
            assert key.timeframe is not None
            open_ms = key.timeframe.floor_ms(made_ms)
            return LiveRow(open_ms, 1.0, 2.0, 1.0, 2.0, made_ms - open_ms, 1.0, made_ms)
    return Ticker(
        market=key.code,
        time_ms=made_ms,
        trade_time_ms=made_ms,
        price=price,
        volume=1.0,
        open=100.0,
        high=110.0,
        low=90.0,
        previous_close=100.0,
        change=price - 100.0,
        change_rate=price / 100.0 - 1.0,
        day_volume=1.0,
        day_value=100.0,
        volume_24h=1.0,
        value_24h=100.0,
        high_52w=200.0,
        low_52w=50.0,
        source="live",
    )


class ScriptedStream(StreamAdapter):
    """A language whose frames and texts are numbers of what they mean."""

    rules = RULES

    def __init__(self) -> None:
        self.sets: list[dict[StreamKey, int]] = []
        self._frames: list[Sequence[StreamEvent]] = []

    def subscribe(self, streams: Mapping[StreamKey, int], *, ticket: str) -> str:
        """Return the number of the set."""
        assert streams, "an exchange has no text for nothing"
        uuid.UUID(ticket)
        self.sets.append(dict(streams))
        return f"set {len(self.sets) - 1}"

    def ping(self) -> str:
        """Return the text that asks whether the line is up."""
        return PING

    def frame(self, *events: StreamEvent) -> str:
        """Return a frame that tells `events`."""
        self._frames.append(events)
        return str(len(self._frames) - 1)

    def read(self, frame: bytes | str) -> Sequence[StreamEvent]:
        """Return what a frame tells."""
        try:
            return self._frames[int(frame)]
        except ValueError as error:
            raise MalformedPayload(f"wanted a number, was {frame!r}") from error


class ScriptedSocket:
    """One connection.

    Attributes:
      texts: What was sent, with the time.
      wanted: The set that was sent last.
      deaf: Whether it tells nothing any more, though it is open.
      opened_s: When it was opened.
      closed_s: When it was closed; None while it is open.
    """

    def __init__(self, exchange: ScriptedExchange) -> None:
        self.texts: list[tuple[float, str]] = []
        self.wanted: dict[StreamKey, int] = {}
        self.deaf = False
        self.opened_s = trio.current_time()
        self.closed_s: float | None = None
        self._exchange = exchange
        self._frames: deque[bytes | str] = deque()
        self._arrived = trio.lowlevel.ParkingLot()
        self._error: Exception | None = None

    async def send(self, text: str) -> None:
        """Take a text; a set is answered with snapshots."""
        await trio.lowlevel.checkpoint()
        if self._error is not None:
            raise self._error
        self.texts.append((trio.current_time(), text))
        if text == PING:
            self.push(self._exchange.stream.frame(StreamAlive()))
        else:
            self.wanted = self._exchange.stream.sets[int(text.removeprefix("set "))]
            for key in self.wanted:
                self._exchange.snapshot(self, key)

    async def receive(self) -> list[bytes | str]:
        """Return what has arrived."""
        await trio.lowlevel.checkpoint()
        while not self._frames:
            if self._error is not None:
                raise self._error
            await self._arrived.park()
        frames = list(self._frames)
        self._frames.clear()
        return frames

    async def ping(self) -> None:
        """Do nothing."""
        await trio.lowlevel.checkpoint()

    def push(self, frame: bytes | str) -> None:
        """Have a frame arrive."""
        if not self.deaf:
            self._frames.append(frame)
            self._arrived.unpark_all()

    def end(self, error: Exception | None = None) -> None:
        """Break the connection."""
        self._error = error or StreamLost("cut by the test")
        self._arrived.unpark_all()

    def sets(self) -> list[float]:
        """Return when sets were sent."""
        return [at_s for at_s, text in self.texts if text != PING]


class ScriptedExchange:
    """An exchange that does as the test says.

    Attributes:
      stream: Its language.
      sockets: All connections there were.
      attempts: When somebody tried to connect.
      refusals: What the next attempts end with.
      connect_s: How long connecting takes, in seconds.
      stalled: Streams that tell nothing.
      told: What each stream told last: its time, and its number.
    """

    def __init__(self) -> None:
        self.stream = ScriptedStream()
        self.sockets: list[ScriptedSocket] = []
        self.attempts: list[float] = []
        self.refusals: deque[Exception] = deque()
        self.connect_s = 0.01
        self.connecting = 0
        self.stalled: set[StreamKey] = set()
        self.told: dict[StreamKey, tuple[int, int]] = {}

    @property
    def socket(self) -> ScriptedSocket:
        """Return the newest connection."""
        return self.sockets[-1]

    @property
    def open_sockets(self) -> list[ScriptedSocket]:
        """Return the connections that are open."""
        return [socket for socket in self.sockets if socket.closed_s is None]

    @asynccontextmanager
    async def open_gate(self) -> AsyncIterator[ScriptedExchange]:
        """Give the way to itself."""
        yield self

    @asynccontextmanager
    async def open(self) -> AsyncIterator[ScriptedSocket]:
        """Open a connection."""
        assert not self.connecting, "one attempt at a time"
        self.attempts.append(trio.current_time())
        self.connecting += 1
        try:
            await trio.sleep(self.connect_s)
        finally:
            self.connecting -= 1
        if self.refusals:
            raise self.refusals.popleft()
        socket = ScriptedSocket(self)
        self.sockets.append(socket)
        try:
            yield socket
        finally:
            socket.closed_s = trio.current_time()

    def tell(self, key: StreamKey, made_ms: int, number: int = 0) -> None:
        """Have something happen in a stream."""
        self.told[key] = (made_ms, number)
        update = Update(key, value_of(key, made_ms, number), made_ms, snapshot=False)
        for socket in self.open_sockets:
            if key in socket.wanted and key not in self.stalled:
                socket.push(self.stream.frame(update))

    def snapshot(self, socket: ScriptedSocket, key: StreamKey) -> None:
        """Answer a subscription, if the stream has ever told anything."""
        if key in self.told and key not in self.stalled:
            made_ms, number = self.told[key]
            update = Update(key, value_of(key, made_ms, number), made_ms, snapshot=True)
            socket.push(self.stream.frame(update))


async def wait_for(condition: Callable[[], bool], *, within_s: float = 5.0) -> None:
    """Return as soon as `condition` holds, looking often at first."""
    wait_s = 0.001
    with trio.fail_after(within_s):
        while not condition():
            await trio.sleep(wait_s)
            wait_s = min(1.1 * wait_s, 0.1)


class Listener(Actor):
    """Stands where the cache stands."""

    def __init__(self, told: list[Event]) -> None:
        self._told = told

    async def handle_cast(self, event: Event) -> None:
        """Keep what is told."""
        self._told.append(event)


class FeedStage:
    """A feed, its exchange, and what stands around it.

    Args:
      make: Makes a feed, called as `FeedActor` is.
      policy: What differs from the usual `FeedPolicy`.

    Attributes:
      exchange: What it is connected to.
      tables: What it publishes.
      wants: What it is to carry.
      cast: What the cache was told.
      root: Its supervisor.
    """

    def __init__(self, make: Callable[..., Actor], **policy: float) -> None:
        self._make = make
        self.exchange = ScriptedExchange()
        self.tables = FeedTables("upbit")
        self.wants = Wants()
        self.policy = FeedPolicy(**policy)
        self.cast: list[Event] = []
        self.registry = Registry()
        self.root: Supervisor

    @property
    def feed(self) -> ActorRef:
        """Return the feed."""
        return self.registry.ref("feed")

    def make(self) -> Actor:
        """Return a new incarnation of it."""
        return self._make(
            self.exchange.open_gate,
            stream=self.exchange.stream,
            exchange="upbit",
            cache=self.registry.ref("cache"),
            tables=self.tables,
            wants=self.wants,
            policy=self.policy,
        )

    @asynccontextmanager
    async def open(self, *, cache: bool = True, seed: int = 0) -> AsyncIterator[None]:
        """Run it."""
        children = [ChildSpec("feed", self.make)]
        if cache:
            children.insert(0, ChildSpec("cache", lambda: Listener(self.cast)))
        self.root = Supervisor(children, intensity=None)
        clock = TrioClock(start_utc_ms=NEW_YEAR_MS)
        async with open_tree(
            self.root,
            clock=clock,
            rng=random.Random(seed),  # noqa: S311 - seeded on purpose
            registry=self.registry,
        ):
            yield

    def state(self, key: StreamKey) -> str | None:
        """Return how a stream is doing, in a word."""
        found = self.tables.streams.get(key)
        return found and found.state

    @property
    def line(self) -> str | None:
        """Return how the line is doing."""
        found = self.tables.line.get(LINE)
        return found and found.state

    async def until_live(self, *keys: StreamKey) -> None:
        """Return when streams are live."""
        await wait_for(lambda: all(self.state(key) == "live" for key in keys), within_s=60)

    def quote(self, key: StreamKey) -> LiveQuote:
        """Return what is published of a stream."""
        found = self.tables.quotes.get(key)
        assert found is not None
        return found

    def of(self, kind: type[Any]) -> list[Any]:
        """Return what the cache was told, of one kind."""
        return [event for event in self.cast if isinstance(event, kind)]
