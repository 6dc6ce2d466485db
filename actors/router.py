"""`MarketRouter`: the one door for every question about markets. Plain code, in the caller's task.

    caller --> MarketRouter --> Table read: answered at once
                           +--> CacheActor.call: what memory cannot answer

Reads never queue: what is known is read straight from the tables that the CacheActors publish, and
only the rest becomes a message.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from actors.cache_tables import CachePolicy, CacheTables
from actors.candles import Candles
from actors.errors import InvalidRequest, MarketDataError
from actors.exchanges.clock import ExchangeClock
from actors.messages import (
    GetCache,
    GetCacheCounts,
    GetCandles,
    GetHealth,
    GetLimits,
    GetMarkets,
    GetOrderBook,
    GetStoreStatistics,
    GetTicker,
    GetTickers,
    GetTrades,
)
from actors.queries import (
    CANDLES_DEFAULT,
    CANDLES_MAX,
    DEPTH_MAX,
    MARKETS_MAX,
    TRADES_MAX,
    candle_query,
    check_age,
    check_count,
)
from actors.quotes import MarketInfo, OrderBook, Ticker, Trade
from actors.reports import (
    CacheCounts,
    CacheReport,
    GroupLimits,
    Health,
    SeriesReport,
    StoreStatistics,
)
from actors.series import Market
from runtime.core.clock import Clock
from runtime.core.errors import ActorError
from runtime.core.message import Request
from runtime.core.ref import ActorRef

_OWN_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class ExchangeDoor:
    """What the router needs of one exchange.

    Attributes:
      name: The exchange.
      cache: Its CacheActor.
      limiter: Its RateLimiterActor.
      tables: What the CacheActor publishes.
      exchange_clock: What is known of the exchange's clock.
      policy: How its data is kept.
    """

    name: str
    cache: ActorRef
    limiter: ActorRef
    tables: CacheTables
    exchange_clock: ExchangeClock
    policy: CachePolicy


class MarketRouter:
    """Answers every request of `actors.messages.METHODS`.

    Args:
      doors: One for each exchange.
      store: The StoreActor, for its figures.
      clock: Where time is read.
    """

    def __init__(self, doors: Sequence[ExchangeDoor], *, store: ActorRef, clock: Clock) -> None:
        self._doors = {door.name: door for door in doors}
        self._store = store
        self._clock = clock
        self._memory_answers = 0
        # What memory may have, and how to look.
        self._lookers: dict[type, Callable[[Any], object | None]] = {
            GetCandles: self._look_for_candles,
            GetTicker: self._look_for_ticker,
            GetOrderBook: self._look_for_book,
            GetTrades: self._look_for_trades,
        }
        self._askers: dict[type, Callable[[Any, float], Awaitable[Any]]] = {
            GetCandles: self._ask_cache,
            GetTicker: self._ask_cache,
            GetTickers: self._tickers,
            GetOrderBook: self._ask_cache,
            GetTrades: self._ask_cache,
            GetMarkets: self._markets,
            GetLimits: self._limits,
            GetCache: self._cache,
        }

    async def answer(self, request: Request[Any], *, timeout_s: float) -> Any:
        """Return the answer to `request`.

        Raises:
          DomainError: The answer is an error; `actors.errors` has the tree of them.
          ActorError: No answer came: too late, or the actor was restarted meanwhile.
        """
        ask = self._askers.get(type(request))
        if ask is None:
            raise InvalidRequest(f"{type(request).__name__} is not a question about markets")
        known = self.at_once(request)
        return await ask(request, timeout_s) if known is None else known

    def at_once(self, request: Request[Any]) -> Any | None:
        """Return the answer to `request` if memory has it fresh, else None; errors as in `answer`.

        A request that cannot be served is refused here already.
        """
        look = self._lookers.get(type(request))
        if look is None:
            self.validate(request)
            return None
        return look(request)

    def validate(self, request: Request[Any]) -> None:
        """Raise the error that `request` would meet before anything is done for it."""
        match request:
            case GetCandles():
                door = self._door(Market.parse(request.market).exchange)
                candle_query(request, max_age_s=door.policy.max_age_s)
            case GetTicker() | GetOrderBook() | GetTrades():
                self._door(Market.parse(request.market).exchange)
                check_age(request.max_age_s)
            case GetTickers():
                check_count(len(request.markets), most=MARKETS_MAX, name="number of markets")
                for market in request.markets:
                    self._door(Market.parse(market).exchange)
                check_age(request.max_age_s)
            case GetMarkets():
                self._door(request.exchange)
        match request:
            case GetOrderBook():
                check_count(request.depth, most=DEPTH_MAX, name="depth")
            case GetTrades():
                check_count(request.count, most=TRADES_MAX)

    def from_memory(
        self, market: str, timeframe: str, count: int, *, closed: bool = False
    ) -> Candles | None:
        """Return the newest `count` candles if memory has them fresh; the shortest way there is."""
        # The usual spellings are the table's own keys; others take the longer way.
        if not 1 <= count <= CANDLES_MAX:
            return None
        for door in self._doors.values():
            known = door.tables.candles.use((market, timeframe))
            if known is not None:
                if self._clock.now_s() - known.asked_s > door.policy.max_age_s:
                    return None
                answer = known.newest(count, closed=closed)
                self._memory_answers += answer is not None
                return answer
        return None

    async def health(self) -> tuple[Health, ...]:
        """Return how the store and each exchange are doing; an actor that is down is `away`."""
        asked = [("store", self._store)]
        asked += [(door.name, door.cache) for door in self._doors.values()]
        return tuple([await _health(name, ref) for name, ref in asked])

    # -------------------------------------------------------------- looking in memory

    def _look_for_candles(self, request: GetCandles) -> Candles | None:
        if request.start is None and request.end is None and request.max_age_s is None:
            count = CANDLES_DEFAULT if request.count is None else request.count
            answer = self.from_memory(
                request.market, request.timeframe, count, closed=request.closed
            )
            if answer is not None:
                return answer
        market = Market.parse(request.market)
        door = self._door(market.exchange)
        query = candle_query(request, max_age_s=door.policy.max_age_s)
        known = door.tables.candles.use((str(market), request.timeframe))
        if known is None:
            return None
        now_ms = door.exchange_clock.utc_ms()
        answer = known.answer(query, now_s=self._clock.now_s(), now_ms=now_ms)
        self._memory_answers += answer is not None
        return answer

    def _look_for_ticker(self, request: GetTicker) -> Ticker | None:
        known: Ticker | None = self._young("ticker", request)
        return known

    def _look_for_book(self, request: GetOrderBook) -> OrderBook | None:
        known = self._young("orderbook", request)
        return None if known is None else known.cut(request.depth)

    def _look_for_trades(self, request: GetTrades) -> tuple[Trade, ...] | None:
        for kind in ("trades", "trades_max"):
            known = self._young(kind, request)
            if known is not None and len(known) >= request.count:
                return tuple(known[: request.count])
        return None

    def _young(self, kind: str, request: GetTicker | GetOrderBook | GetTrades) -> Any | None:
        self.validate(request)
        market = Market.parse(request.market)
        door = self._door(market.exchange)
        quote = door.tables.quotes.get((kind, market.code))
        if quote is None:
            return None
        policy_s, wanted_s = door.policy.quote_max_age_s, request.max_age_s
        most_s = policy_s if wanted_s is None else wanted_s
        return quote.value if self._clock.now_s() - quote.asked_s <= most_s else None

    # -------------------------------------------------------------- asking the actors

    async def _ask_cache(
        self, request: GetCandles | GetTicker | GetOrderBook | GetTrades, timeout_s: float
    ) -> Any:
        door = self._door(Market.parse(request.market).exchange)
        return await door.cache.call(request, timeout_s=timeout_s)

    async def _tickers(self, request: GetTickers, timeout_s: float) -> tuple[Ticker, ...]:
        by_door: dict[str, list[str]] = {}
        for market in request.markets:
            by_door.setdefault(Market.parse(market).exchange, []).append(market)
        found: dict[str, Ticker] = {}
        for name, markets in by_door.items():
            ask = GetTickers(markets=tuple(markets), max_age_s=request.max_age_s)
            tickers = await self._door(name).cache.call(ask, timeout_s=timeout_s)
            found.update(zip(markets, tickers, strict=True))
        return tuple(found[market] for market in request.markets)

    async def _markets(self, request: GetMarkets, timeout_s: float) -> tuple[MarketInfo, ...]:
        door = self._door(request.exchange)
        markets = await door.cache.call(request, timeout_s=timeout_s)
        if request.quote is None:
            return markets
        return tuple(info for info in markets if _quote_currency(info) == request.quote.upper())

    async def _limits(self, request: GetLimits, timeout_s: float) -> tuple[GroupLimits, ...]:
        groups: list[GroupLimits] = []
        for door in self._doors.values():
            mine: tuple[GroupLimits, ...] = await door.limiter.call(request, timeout_s=timeout_s)
            groups.extend(mine)
        return tuple(groups)

    async def _cache(self, request: GetCache, timeout_s: float) -> CacheReport:
        del request
        counts = [
            await door.cache.call(GetCacheCounts(), timeout_s=timeout_s)
            for door in self._doors.values()
        ]
        store = await self._store_statistics()
        return CacheReport(
            series=tuple(report for door in self._doors.values() for report in _series(door)),
            bytes=_total(counts, "bytes"),
            bytes_max=sum(door.policy.memory_bytes_max for door in self._doors.values()),
            evicted=_total(counts, "evicted"),
            memory_answers=self._memory_answers + _total(counts, "memory_answers"),
            store_answers=_total(counts, "store_answers"),
            exchange_answers=_total(counts, "exchange_answers"),
            failures=_total(counts, "failures"),
            pages=_total(counts, "pages"),
            store_bytes=None if store is None else store.bytes,
            store_candles=None if store is None else store.candles,
        )

    def _door(self, exchange: str) -> ExchangeDoor:
        try:
            return self._doors[exchange]
        except KeyError:
            known = ", ".join(self._doors) or "none"
            raise InvalidRequest(
                f"no exchange called {exchange!r} is configured; there is {known}"
            ) from None

    async def _store_statistics(self) -> StoreStatistics | None:
        try:
            return await self._store.call(GetStoreStatistics(), timeout_s=_OWN_TIMEOUT_S)
        except (MarketDataError, ActorError):
            # Its being away is said by the figures being absent, and by `status`.
            return None


async def _health(name: str, ref: ActorRef) -> Health:
    try:
        return await ref.call(GetHealth(), timeout_s=_OWN_TIMEOUT_S)
    except ActorError as error:
        return Health(name=name, state="away", reason=str(error))


def _quote_currency(info: MarketInfo) -> str:
    code = Market.parse(info.market).code
    return code.partition("-")[0]


def _series(door: ExchangeDoor) -> list[SeriesReport]:
    reports = []
    for key, known in door.tables.candles.items():
        times = known.candles.open_time_ms
        reports.append(
            SeriesReport(
                market=key[0],
                timeframe=key[1],
                candles=len(known.candles),
                from_ms=int(times[0]) if len(times) else None,
                to_ms=int(times[-1]) if len(times) else None,
                reads=door.tables.candles.uses(key),
            )
        )
    return reports


def _total(counts: Sequence[CacheCounts], name: str) -> int:
    return sum(getattr(count, name) for count in counts)
