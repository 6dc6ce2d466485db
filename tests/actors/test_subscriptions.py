"""`Subscriptions`: what may be asked for, what is streamed for it, and what is told first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import trio
import trio.testing

from actors.cache_tables import CachePolicy, CacheTables
from actors.candles import Candles
from actors.doors import ExchangeDoor
from actors.errors import ExchangeUnavailable, InvalidRequest, UnknownMarket, UnknownTimeframe
from actors.exchanges.clock import ExchangeClock
from actors.exchanges.streams import LiveRow, StreamKey
from actors.exchanges.upbit.stream import UpbitStream
from actors.feed_tables import LINE, FeedTables, LineState, LiveQuote, StreamState
from actors.known import Known
from actors.live_reader import LiveReader
from actors.market_stream import MarketStream
from actors.messages import GetCandles, GetMarkets, Subscribe
from actors.quotes import BookLevel, MarketInfo, OrderBook
from actors.reports import Health
from actors.series import Series
from actors.subscriptions import Subscriptions
from actors.timeframes import Timeframe
from actors.updates import (
    CandleUpdate,
    GapUpdate,
    HealthUpdate,
    MarketUpdate,
    Missed,
    OrderBookUpdate,
)
from actors.wants import Wants
from runtime.core.actor import Actor
from runtime.core.clock import TrioClock
from runtime.core.message import Request
from runtime.core.table import TableWriter
from runtime.testing import open_actor
from runtime.testing_updates import sample_gap, sample_update, ticker_update

MINUTE_MS = 60_000
START_MS = 1_767_225_600_000
BTC = StreamKey("ticker", "KRW-BTC")


def known(close: float = 2.0, market: str = "KRW-BTC") -> Known:
    """Return a series in memory with one candle in progress."""
    row = LiveRow(START_MS, 1.0, 3.0, 0.5, close, 4.0, 5.0, START_MS + 1)
    closed = Candles.empty(Series.parse(market, "1m"))
    return Known(closed, (row,), START_MS, START_MS, live=True)


def candle(close: float = 2.0, *, minute: int = 0, closed: bool = False) -> CandleUpdate:
    """Return the update that tells that candle, or one of a later minute."""
    return CandleUpdate(
        market="KRW-BTC",
        timeframe="1m",
        open_time_ms=START_MS + minute * MINUTE_MS,
        open=1.0,
        high=3.0,
        low=0.5,
        close=close,
        volume=4.0,
        value=5.0,
        closed=closed,
    )


class FakeCache(Actor):
    """Knows two markets, and has candles a moment after it is asked for them."""

    exchange: Exchange

    async def handle_call(self, request: Request[Any]) -> object:
        """Answer."""
        if self.exchange.away:
            raise ExchangeUnavailable("upbit is away")
        match request:
            case GetMarkets():
                return (MarketInfo(market="KRW-BTC"), MarketInfo(market="KRW-ETH"))
            case GetCandles(market=market):
                self.exchange.loaded.append(market)
                self.exchange.candles.put((market, request.timeframe), known(7.0, market))
                return Candles.empty(Series.parse(market, request.timeframe))
        raise AssertionError(request)


@dataclass
class Exchange:
    """One exchange with a feed that a test speaks for."""

    door: ExchangeDoor
    feed: FeedTables
    wants: Wants
    candles: TableWriter[Any, Any] = field(init=False)
    loaded: list[str] = field(default_factory=list)
    away: bool = False
    health: list[Health] = field(default_factory=list)

    @property
    def wanted(self) -> dict[StreamKey, int]:
        """Return what streams somebody holds."""
        return self.wants.current(0.0)

    @property
    def subscriptions(self) -> Subscriptions:
        """Return what opens subscriptions."""

        async def health() -> list[Health]:
            return list(self.health)

        return Subscriptions([self.door], health=health)

    def live(self, key: StreamKey, value: Any, depth: int = 0) -> None:
        """Let a stream be up to date."""
        self.feed.line.claim("test").put(LINE, LineState("live", 0.0, 0.0))
        self.feed.streams.claim("test").put(key, StreamState("live", 0.0, depth))
        self.feed.quotes.claim("test").put(key, LiveQuote(value, 0.0, depth))


@asynccontextmanager
async def open_exchange() -> AsyncIterator[Exchange]:
    """Run an exchange that knows two markets."""
    clock = TrioClock(start_utc_ms=START_MS)
    tables, feed, wants = CacheTables("upbit"), FeedTables("upbit"), Wants()
    rules = UpbitStream().rules
    live = LiveReader(feed, wants, rules, clock, spare=lambda _: 1.0, auto=False)
    cache = FakeCache()
    async with open_actor(lambda: cache, name="cache") as ref:
        door = ExchangeDoor(
            name="upbit",
            cache=ref,
            limiter=ref,
            tables=tables,
            exchange_clock=ExchangeClock(clock),
            policy=CachePolicy(),
            raw=lambda _: [],
            feed=ref,
            feed_tables=feed,
            wants=wants,
            live=live,
        )
        cache.exchange = exchange = Exchange(door, feed, wants)
        exchange.candles = tables.candles.claim("test")
        yield exchange


def taken(stream: MarketStream) -> list[MarketUpdate]:
    """Return everything there is without waiting."""
    return list(iter(stream.take, None))


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (Subscribe(kind="ticker"), "number of markets must be 1 to 1000, was 0"),
        (
            Subscribe(kind="ticker", markets=("KRW-BTC",) * 1_001),
            "number of markets must be 1 to 1000, was 1001",
        ),
        (Subscribe(kind="health", markets=("KRW-BTC",)), "takes no markets; was 1"),
        (Subscribe(kind="ticker", markets=("okx:BTC-USDT",)), "'okx' is configured; there is upb"),
        (Subscribe(kind="ticker", markets=("?",)), "market must be written as"),
        (Subscribe(kind="orderbook", markets=("KRW-BTC",), depth=31), "depth must be 1 to 30"),
        (Subscribe(kind="ticker", markets=("KRW-BTC",), capacity=0), "capacity must be 1 to 1000"),
        (Subscribe(kind="ticker", markets=("KRW-BTC",), closed=True), "closed is for candles"),
        (Subscribe(kind="trades", markets=("KRW-BTC",), keep="latest"), "keep must be every or au"),
        (Subscribe(kind="gaps", keep="latest"), "keep must be every or auto for gaps"),
        (
            Subscribe(kind="candles", markets=("KRW-BTC",), closed=True, keep="latest"),
            "keep must be every or auto for closed candles",
        ),
    ],
)
async def test_what_cannot_be_is_refused_with_its_reason(request_: Subscribe, words: str) -> None:
    """Before anything is streamed for it, and the same in `check`."""
    async with open_exchange() as exchange:
        with pytest.raises(InvalidRequest, match=words.replace("?", r"\?")):
            exchange.subscriptions.validate(request_)
        with pytest.raises(InvalidRequest, match=words.replace("?", r"\?")):
            async with exchange.subscriptions.open(request_):
                pytest.fail("must not run")
        assert exchange.wanted == {}


async def test_what_is_not_there_is_refused() -> None:
    """Of a market that is not listed nothing would ever be told."""
    async with open_exchange() as exchange:
        with pytest.raises(UnknownTimeframe, match="7m"):
            exchange.subscriptions.validate(
                Subscribe(kind="candles", markets=("KRW-BTC",), timeframe="7m")
            )
        with pytest.raises(UnknownMarket, match="upbit lists no market KRW-XXX"):
            async with exchange.subscriptions.open(Subscribe(kind="ticker", markets=("KRW-XXX",))):
                pytest.fail("must not run")
        off = Subscriptions([replace(exchange.door, feed_tables=None)], health=_nothing)
        with pytest.raises(InvalidRequest, match=r"switched off: exchanges\.upbit\.streams"):
            off.validate(Subscribe(kind="ticker", markets=("KRW-BTC",)))


async def _nothing() -> list[Health]:
    return []


@pytest.mark.parametrize(
    ("request_", "streams"),
    [
        (Subscribe(kind="ticker", markets=("KRW-BTC", "KRW-BTC")), {BTC: 0}),
        (
            Subscribe(kind="trades", markets=("upbit:KRW-BTC", "KRW-ETH")),
            {StreamKey("trade", "KRW-BTC"): 0, StreamKey("trade", "KRW-ETH"): 0},
        ),
        (
            Subscribe(kind="orderbook", markets=("KRW-BTC",), depth=5),
            {StreamKey("orderbook", "KRW-BTC"): 5},
        ),
        (
            Subscribe(kind="candles", markets=("KRW-BTC",), timeframe="1s"),
            {
                BTC: 0,
                StreamKey("candle", "KRW-BTC", Timeframe.S1): 0,
                StreamKey("candle", "KRW-BTC", Timeframe.M1): 0,
                StreamKey("candle", "KRW-BTC", Timeframe.H4): 0,
            },
        ),
        (Subscribe(kind="gaps"), {}),
        (Subscribe(kind="health"), {}),
    ],
)
async def test_streams_are_held_as_long_as_the_block_runs(
    request_: Subscribe, streams: dict[StreamKey, int]
) -> None:
    """Candles with what proves them final."""
    async with open_exchange() as exchange:
        async with exchange.subscriptions.open(request_):
            assert exchange.wanted == streams
        assert exchange.wanted == {}


async def test_what_is_known_comes_first_and_then_what_happens() -> None:
    """So a bot need not ask and subscribe, and sort out what came between."""
    async with open_exchange() as exchange:
        first, second = ticker_update(1.0), ticker_update(2.0)
        exchange.live(BTC, first.ticker)
        async with exchange.subscriptions.open(
            Subscribe(kind="ticker", markets=("KRW-BTC",), keep="every")
        ) as stream:
            exchange.feed.events.publish(("ticker", "KRW-BTC", ""), second)
            assert [await anext(stream), await anext(stream)] == [first, second]


async def test_a_stream_that_has_ended_tells_nothing_first() -> None:
    """What it told last may be of any age."""
    async with open_exchange() as exchange:
        exchange.live(BTC, ticker_update(1.0).ticker)
        writer = exchange.feed.line.claim("test")
        writer.put(LINE, LineState("away", 0.0, 0.0))
        request = Subscribe(kind="ticker", markets=("KRW-BTC",))
        async with exchange.subscriptions.open(request) as stream:
            assert taken(stream) == []


async def test_order_books_have_the_subscriber_s_depth() -> None:
    """Others may have wanted more of the same stream."""
    levels = tuple(BookLevel(float(price), 1.0) for price in range(30))
    book = OrderBook(
        market="KRW-BTC",
        time_ms=1,
        bids=levels,
        asks=levels,
        total_bid_size=1.0,
        total_ask_size=1.0,
    )
    async with open_exchange() as exchange:
        exchange.live(StreamKey("orderbook", "KRW-BTC"), book, depth=30)
        request = Subscribe(kind="orderbook", markets=("KRW-BTC",), depth=2)
        async with exchange.subscriptions.open(request) as stream:
            update = await anext(stream)

        assert isinstance(update, OrderBookUpdate)
        assert (len(update.book.bids), len(update.book.asks)) == (2, 2)


async def test_candles_are_loaded_so_that_streams_have_something_to_add_to() -> None:
    """Then the one in progress is told, and what happens to it."""
    async with open_exchange() as exchange:
        exchange.candles.put(("KRW-BTC", "1m"), known(2.0))
        request = Subscribe(kind="candles", markets=("KRW-BTC",))
        async with exchange.subscriptions.open(request) as stream:
            assert await anext(stream) == candle(2.0)
            assert await anext(stream) == candle(7.0)
            assert exchange.loaded == ["KRW-BTC"]


async def test_closed_candles_are_told_each_once_and_nothing_else() -> None:
    """Not even the one in progress."""
    async with open_exchange() as exchange:
        exchange.candles.put(("KRW-BTC", "1m"), known(2.0))
        request = Subscribe(kind="candles", markets=("KRW-BTC",), closed=True)
        async with exchange.subscriptions.open(request) as stream:
            exchange.feed.events.publish(("candles", "KRW-BTC", "1m"), candle(3.0))
            done = candle(3.0, closed=True)
            exchange.feed.events.publish(("closed", "KRW-BTC", "1m"), done)
            await trio.sleep(1)
            assert taken(stream) == [done]


async def test_the_last_word_on_a_candle_is_not_lost_to_the_next_one() -> None:
    """A bot that pauses gets every candle's newest state, not only the newest candle's."""
    async with open_exchange() as exchange:
        request = Subscribe(kind="candles", markets=("KRW-BTC",))
        async with exchange.subscriptions.open(request) as stream:
            await trio.sleep(1)
            taken(stream)
            told = [candle(3.0), candle(4.0), candle(4.0, closed=True), candle(9.0, minute=1)]
            for update in told:
                exchange.feed.events.publish(("candles", "KRW-BTC", "1m"), update)
            assert taken(stream) == [Missed(count=2, why="replaced"), told[2], told[3]]


async def test_what_happens_once_is_kept_up_to_the_bound_and_the_rest_is_told() -> None:
    """Trades cannot be replaced by others."""
    async with open_exchange() as exchange:
        request = Subscribe(kind="trades", markets=("KRW-BTC",), capacity=2)
        async with exchange.subscriptions.open(request) as stream:
            trade = sample_update("trades")
            for _ in range(5):
                exchange.feed.events.publish(("trades", "KRW-BTC", ""), trade)
            assert taken(stream) == [Missed(count=3, why="dropped"), trade, trade]


async def test_gaps_that_are_open_come_first() -> None:
    """Of all markets, or of some."""
    async with open_exchange() as exchange:
        writer = exchange.door.tables.gaps.claim("test")
        writer.put(1, sample_gap("KRW-BTC"))
        writer.put(2, sample_gap("KRW-ETH"))
        async with exchange.subscriptions.open(Subscribe(kind="gaps")) as every:
            assert [each.gap.market for each in taken(every) if isinstance(each, GapUpdate)] == [
                "KRW-BTC",
                "KRW-ETH",
            ]
        request = Subscribe(kind="gaps", markets=("KRW-ETH",))
        async with exchange.subscriptions.open(request) as some:
            assert taken(some) == [GapUpdate(gap=sample_gap("KRW-ETH"))]


async def test_health_is_told_when_it_changes() -> None:
    """And once at the beginning."""
    good, bad = Health(name="upbit", state="ok"), Health(name="upbit", state="away", reason="gone")
    async with open_exchange() as exchange:
        exchange.health = [good]
        async with exchange.subscriptions.open(Subscribe(kind="health")) as stream:
            assert await anext(stream) == HealthUpdate(health=good)
            await trio.sleep(10)
            assert taken(stream) == []
            exchange.health = [bad]
            assert await anext(stream) == HealthUpdate(health=bad)


async def test_an_exchange_that_is_away_can_be_subscribed_to() -> None:
    """It comes back, and then there is something to tell."""
    async with open_exchange() as exchange:
        exchange.away = True
        request = Subscribe(kind="candles", markets=("KRW-BTC",))
        async with exchange.subscriptions.open(request) as stream:
            await trio.sleep(1)
            exchange.feed.events.publish(("candles", "KRW-BTC", "1m"), candle(3.0))
            assert await anext(stream) == candle(3.0)


async def test_an_error_in_the_block_leaves_it_as_it_was_raised() -> None:
    """And nothing is held any more."""
    async with open_exchange() as exchange:
        with pytest.raises(ZeroDivisionError, match="boom"):
            async with exchange.subscriptions.open(Subscribe(kind="ticker", markets=("KRW-BTC",))):
                raise ZeroDivisionError("boom")
        assert exchange.wanted == {}
        assert not exchange.feed.events.has(("ticker", "KRW-BTC", ""))
