"""`Subscriptions`: who is told what as it happens. Plain code, in the subscriber's task.

    FeedActor, CacheActor --> PubSub --> queue of one subscription --> MarketStream --> bot

A subscription holds the streams it needs in `Wants` for as long as it is open, so the FeedActor
brings them. Its queue has a bound; whoever does not read in time loses events as the subscription
says, is told so, and slows nobody.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager

import trio

from actors.doors import ExchangeDoor
from actors.errors import InvalidRequest, MarketDataError, UnknownMarket
from actors.exchanges.streams import StreamKey, StreamKind
from actors.feed_tables import FeedTables
from actors.interest import candle_streams
from actors.live_reader import LiveReader
from actors.market_stream import CHANGES_ONCE, MarketStream, candle_in_progress, open_stream
from actors.messages import GetCandles, GetMarkets, Subscribe
from actors.queries import DEPTH_MAX, MARKETS_MAX, check_count
from actors.reports import Health
from actors.series import Market
from actors.timeframes import Timeframe
from actors.updates import (
    CandleUpdate,
    GapUpdate,
    HealthUpdate,
    OrderBookUpdate,
    TickerUpdate,
    Topic,
)
from actors.wants import Wants
from runtime.core.errors import ActorError
from runtime.core.pubsub import Subscription, latest_of_topic

__all__ = ["CAPACITY_MAX", "MarketStream", "Subscriptions"]

CAPACITY_MAX = 100_000

_KINDS: Mapping[str, StreamKind] = {
    "ticker": "ticker",
    "trades": "trade",
    "orderbook": "orderbook",
}
# How long a list of markets is waited for before a subscription begins unchecked.
_CHECK_S = 5.0
_LOAD_S = 120.0
# Series of one subscription that are asked for at once.
_LOADS = 4
_HEALTH_EVERY_S = 2.0
_HEALTH_TOPIC = ("health", "", "")


class Subscriptions:
    """Opens subscriptions to what some exchanges tell.

    Args:
      doors: One for each exchange.
      health: Returns how everything is doing; for subscriptions of `health`.
    """

    def __init__(
        self,
        doors: Sequence[ExchangeDoor],
        *,
        health: Callable[[], Awaitable[Sequence[Health]]],
    ) -> None:
        self._doors = {door.name: door for door in doors}
        self._health = health

    def validate(self, request: Subscribe) -> None:
        """Raise the error that `request` would meet before anything is done for it.

        Raises:
          InvalidRequest: Something in it cannot be; the message says what, and what was wanted.
          UnknownTimeframe: There is no such timeframe.
        """
        _check_markets(request)
        check_count(request.capacity, most=CAPACITY_MAX, name="capacity")
        if request.kind == "orderbook":
            check_count(request.depth, most=DEPTH_MAX, name="depth")
        if request.kind == "candles":
            Timeframe.parse(request.timeframe)
        elif request.closed:
            raise InvalidRequest(f"closed is for candles; {request.kind} have no end")
        if request.keep == "latest" and _happens_once(request):
            kind = "closed candles" if request.closed else request.kind
            raise InvalidRequest(
                f"keep must be every or auto for {kind}: each happens once and none replaces "
                "another; was latest"
            )
        for market in request.markets:
            _live(self._door(Market.parse(market).exchange))

    @asynccontextmanager
    async def open(self, request: Subscribe) -> AsyncIterator[MarketStream]:
        """Be told what `request` asks for as long as the block runs.

        Raises:
          InvalidRequest: As in `validate`.
          UnknownMarket: The exchange lists no such market.
          Overloaded: There are too many streams already.
        """
        self.validate(request)
        markets = tuple(dict.fromkeys(map(Market.parse, request.markets)))
        await self._check_listed(markets)
        queue = Subscription(max(request.capacity, len(markets)), key=_key(request))
        with ExitStack() as stack:
            for door in self._doors_of(request, markets):
                mine = [market for market in markets if market.exchange == door.name]
                feed, wants, live = _live(door)
                stack.enter_context(wants.hold(_streams(request, mine, live)))
                # Before the tables are read: what comes between is then told twice, not missed.
                topics = _topics(request, mine)
                stack.enter_context(feed.events.subscribe(*topics, into=queue))
                _offer_known(request, mine, door, feed, queue)
            async with open_stream(queue, request) as (stream, nursery):
                if request.kind == "candles":
                    for part in range(min(_LOADS, len(markets))):
                        nursery.start_soon(self._load, request, markets[part::_LOADS], queue)
                elif request.kind == "health":
                    nursery.start_soon(self._watch_health, queue)
                yield stream

    # -------------------------------------------------------------- parts

    def _door(self, exchange: str) -> ExchangeDoor:
        door = self._doors.get(exchange)
        if door is None:
            known = ", ".join(self._doors) or "none"
            raise InvalidRequest(f"no exchange called {exchange!r} is configured; there is {known}")
        return door

    def _doors_of(self, request: Subscribe, markets: Sequence[Market]) -> list[ExchangeDoor]:
        if request.kind == "health":
            return []
        if not markets:
            return [door for door in self._doors.values() if door.feed_tables is not None]
        return [self._door(name) for name in dict.fromkeys(each.exchange for each in markets)]

    async def _check_listed(self, markets: Sequence[Market]) -> None:
        """Raise `UnknownMarket` for one that is not there: of it nothing would ever be told."""
        for name in dict.fromkeys(market.exchange for market in markets):
            ask = GetMarkets(exchange=name)
            try:
                listed = await self._door(name).cache.call(ask, timeout_s=_CHECK_S)
            except (MarketDataError, ActorError):
                # The exchange is away; when it is back it will know the market, or stay silent.
                continue
            names = {info.market for info in listed}
            for market in markets:
                if market.exchange == name and str(market) not in names:
                    raise UnknownMarket(f"{name} lists no market {market.code}")

    async def _load(
        self, request: Subscribe, markets: Sequence[Market], queue: Subscription
    ) -> None:
        """See to it that memory has the series, to which streams then add; tell what it has."""
        for market in markets:
            door = self._door(market.exchange)
            ask = GetCandles(market=str(market), timeframe=request.timeframe, count=1)
            before = _candle(request, market, door)
            try:
                await door.cache.call(ask, timeout_s=_LOAD_S)
            except (MarketDataError, ActorError):
                # Told by gaps and health. The cache itself asks again for what is subscribed to.
                continue
            # What was there before was told when the subscription began.
            if not request.closed and _candle(request, market, door) != before:
                _offer_candle(request, market, door, queue)

    async def _watch_health(self, queue: Subscription) -> None:
        told: dict[str, tuple[str, str]] = {}
        while True:
            for health in await self._health():
                now = (health.state, health.reason)
                if told.get(health.name) != now:
                    told[health.name] = now
                    queue.offer((*_HEALTH_TOPIC, health.name), HealthUpdate(health=health))
            await trio.sleep(_HEALTH_EVERY_S)


def _check_markets(request: Subscribe) -> None:
    count = len(request.markets)
    if request.kind == "health":
        if count:
            raise InvalidRequest(f"health is of the runtime and takes no markets; was {count}")
    elif request.kind != "gaps" or count:
        check_count(count, most=MARKETS_MAX, name="number of markets")


def _happens_once(request: Subscribe) -> bool:
    return request.kind in CHANGES_ONCE or request.closed


def _key(request: Subscribe) -> Callable[[Hashable, object], Hashable] | None:
    """Return by what a newer update replaces an older one; None if every one is kept."""
    if request.keep == "every" or _happens_once(request):
        return None
    return _candle_key if request.kind == "candles" else latest_of_topic


def _candle_key(topic: Hashable, update: object) -> Hashable:
    # Of each candle the newest, so that the last word on one is not lost to the first of the next.
    assert isinstance(update, CandleUpdate)
    return topic, update.open_time_ms


def _live(door: ExchangeDoor) -> tuple[FeedTables, Wants, LiveReader]:
    if door.feed_tables is None or door.wants is None or door.live is None:
        raise InvalidRequest(
            f"the live streams of {door.name} are switched off: exchanges.{door.name}.streams"
        )
    return door.feed_tables, door.wants, door.live


def _streams(
    request: Subscribe, markets: Sequence[Market], live: LiveReader
) -> dict[StreamKey, int]:
    """Return the streams that bring what is asked for, each with its depth."""
    streams: dict[StreamKey, int] = {}
    kind = _KINDS.get(request.kind)
    for market in markets:
        if kind is not None:
            depth = request.depth if kind == "orderbook" else 0
            streams[StreamKey(kind, market.code)] = depth
        elif request.kind == "candles":
            timeframe = Timeframe.parse(request.timeframe)
            streams |= candle_streams(market.code, timeframe, live.rules)
    return streams


def _topics(request: Subscribe, markets: Sequence[Market]) -> list[Topic]:
    if request.kind == "candles":
        kind = "closed" if request.closed else "candles"
        timeframe = Timeframe.parse(request.timeframe).value
        return [(kind, str(market), timeframe) for market in markets]
    if request.kind == "gaps" and not markets:
        return [("gaps", "", "")]
    return [(request.kind, str(market), "") for market in markets]


# ------------------------------------------------------------------ what is known already


def _offer_known(
    request: Subscribe,
    markets: Sequence[Market],
    door: ExchangeDoor,
    feed: FeedTables,
    queue: Subscription,
) -> None:
    """Queue what is known at present, to be told first. What happens once is not told again."""
    match request.kind:
        case "ticker" | "orderbook":
            for market in markets:
                _offer_quote(request, market, feed, queue)
        case "candles" if not request.closed:
            for market in markets:
                _offer_candle(request, market, door, queue)
        case "gaps":
            names = {str(market) for market in markets}
            for table in (door.tables.gaps, feed.gaps):
                for _, gap in table.items():  # noqa: PERF102 - a table is no dictionary
                    if gap.state == "open" and (not names or gap.market in names):
                        queue.offer(("gaps", gap.market, ""), GapUpdate(gap=gap))


def _offer_quote(request: Subscribe, market: Market, feed: FeedTables, queue: Subscription) -> None:
    key = StreamKey(_KINDS[request.kind], market.code)
    quote = feed.quotes.get(key)
    # One whose stream has ended may be of any age; the next snapshot is a moment away.
    if quote is None or feed.heard_s(key) is None:
        return
    topic = (request.kind, str(market), "")
    if request.kind == "ticker":
        queue.offer(topic, TickerUpdate(ticker=quote.value))  # type: ignore[arg-type]
    elif quote.depth >= request.depth:
        queue.offer(topic, OrderBookUpdate(book=quote.value))  # type: ignore[arg-type]


def _offer_candle(
    request: Subscribe, market: Market, door: ExchangeDoor, queue: Subscription
) -> None:
    update = _candle(request, market, door)
    if update is not None:
        queue.offer(("candles", str(market), update.timeframe), update)


def _candle(request: Subscribe, market: Market, door: ExchangeDoor) -> CandleUpdate | None:
    """Return the candle in progress, as memory has it; None if it has none."""
    known = door.tables.candles.get((str(market), Timeframe.parse(request.timeframe).value))
    return None if known is None else candle_in_progress(known)
