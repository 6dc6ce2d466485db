"""What tests of subscriptions need: something to subscribe to, and samples of what it tells."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from actors.errors import UnknownMarket
from actors.market_stream import CHANGES_ONCE, MarketStream
from actors.messages import GetGaps, GetStreams, Subscribe, Unsubscribe
from actors.quotes import BookLevel, OrderBook, Ticker, Trade
from actors.reports import GapReport, Health, StreamReport
from actors.updates import (
    CandleUpdate,
    GapUpdate,
    HealthUpdate,
    MarketUpdate,
    OrderBookUpdate,
    Subscribed,
    TickerUpdate,
    TradeUpdate,
    Unsubscribed,
)
from runtime.core.message import Request
from runtime.core.pubsub import PubSub, latest_of_topic
from runtime.messages import GetRaw, RawAnswer
from runtime.testing import NEW_YEAR_MS


class UpdateFeed:
    """Something to subscribe to: tells what a test publishes.

    Attributes:
      asked: Every subscription there was.
      open: How many there are.
    """

    def __init__(self) -> None:
        self.asked: list[Subscribe] = []
        self.open = 0
        self._pubsub = PubSub()

    def publish(self, update: MarketUpdate, kind: str = "ticker", market: str = "KRW-BTC") -> int:
        """Tell everybody who subscribed to `kind` of `market`; return how many they are."""
        return self._pubsub.publish((kind, market), update)

    @asynccontextmanager
    async def subscribe(self, request: Subscribe) -> AsyncIterator[MarketStream]:
        """Open a subscription; `KRW-NONE` is no market."""
        if "KRW-NONE" in request.markets:
            raise UnknownMarket("upbit lists no market KRW-NONE")
        self.asked.append(request)
        topics = [(request.kind, market) for market in request.markets or ("",)]
        every = request.keep == "every" or request.kind in CHANGES_ONCE
        key = None if every else latest_of_topic
        with self._pubsub.subscribe(*topics, capacity=request.capacity, key=key) as queue:
            self.open += 1
            try:
                yield MarketStream(queue, depth=request.depth)
            finally:
                self.open -= 1


class SampleFeed(UpdateFeed):
    """Tells one update of each market at once, and the same again whenever that was read."""

    @asynccontextmanager
    async def subscribe(self, request: Subscribe) -> AsyncIterator[Any]:
        """Open a subscription; it never ends."""
        async with super().subscribe(request):
            yield _Endless(request)


class _Endless:
    def __init__(self, request: Subscribe) -> None:
        self._updates = itertools.cycle(
            [sample_update(request.kind, market) for market in request.markets or ("",)]
        )
        self._left = 0

    async def wait(self) -> None:
        """Let one more be taken."""
        self._left = 1

    def take(self) -> MarketUpdate | None:
        """Return the next update."""
        self._left -= 1
        return next(self._updates) if self._left >= 0 else None


def ticker_update(price: float, market: str = "KRW-BTC") -> TickerUpdate:
    """Return the update of a ticker at `price`."""
    ticker = Ticker(
        market=market,
        time_ms=NEW_YEAR_MS,
        trade_time_ms=NEW_YEAR_MS - 1,
        price=price,
        volume=0.1,
        open=price,
        high=price,
        low=price,
        previous_close=price,
        change=0.0,
        change_rate=0.0,
        day_volume=1.0,
        day_value=price,
        volume_24h=1.0,
        value_24h=price,
        high_52w=price,
        low_52w=price,
        source="live",
        reason="the stream told it",
    )
    return TickerUpdate(ticker=ticker)


def sample_update(kind: str, market: str = "KRW-BTC") -> MarketUpdate:
    """Return an update of each kind of subscription."""
    match kind:
        case "trades":
            trade = Trade(
                market=market,
                time_ms=NEW_YEAR_MS,
                price=1e8,
                volume=1e-8,
                side="buy",
                trade_id=2**53 + 1,
            )
            return TradeUpdate(trade=trade)
        case "orderbook":
            level = BookLevel(137_000_000.0, 0.5)
            book = OrderBook(
                market=market,
                time_ms=NEW_YEAR_MS,
                bids=(level, level),
                asks=(level, level),
                total_bid_size=1.0,
                total_ask_size=1.0,
                source="live",
            )
            return OrderBookUpdate(book=book)
        case "candles":
            return CandleUpdate(
                market=market,
                timeframe="1m",
                open_time_ms=NEW_YEAR_MS,
                open=1.0,
                high=3.0,
                low=0.5,
                close=2.0,
                volume=0.1 + 0.2,
                value=5e-324,
                closed=True,
            )
        case "gaps":
            return GapUpdate(gap=sample_gap(market))
        case "health":
            return HealthUpdate(health=Health(name="upbit", state="away", reason="no answer"))
        case _:
            return ticker_update(137_000_000.0, market)


def sample_gap(market: str = "KRW-BTC") -> GapReport:
    """Return a gap that is still open."""
    return GapReport(
        exchange="upbit",
        market=market,
        kind="candle",
        timeframe="1m",
        start_ms=NEW_YEAR_MS,
        cause="late",
        detail="the rows are behind",
        tries=2,
        next_try_ms=NEW_YEAR_MS + 5_000,
    )


def sample_report(request: Request[Any]) -> object | None:
    """Return the answer to what is asked about streams, and the raw view; None for the rest."""
    match request:
        case GetGaps():
            return (sample_gap(),)
        case GetStreams():
            return (_stream(),)
        case GetRaw(method=method):
            data = [{"market": "KRW-BTC", "trade_price": 137_000_000.0, "asked": method}]
            return RawAnswer(data=data, source="live", reason="the stream has it")
        case Subscribe():
            return Subscribed(subscription=1)
        case Unsubscribe(subscription=number):
            return Unsubscribed(subscription=number)
    return None


def _stream() -> StreamReport:
    return StreamReport(
        exchange="upbit",
        state="live",
        since_s=90.0,
        heard_s=0.25,
        reason="",
        wanted=9,
        live=8,
        silent=1,
        frames=1_234_567,
        malformed=0,
        duplicates=3,
        reconnects=1,
        renewals=2,
        gaps=1,
    )
