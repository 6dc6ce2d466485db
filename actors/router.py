"""`MarketRouter`: the one door for every question about markets. Plain code, in the caller's task.

    caller --> MarketRouter --> Table read: answered at once, from memory or from a stream
                           +--> CacheActor.call: what takes a request, or the store

Reads never queue: what is known is read straight from the tables that the CacheActors and the
FeedActors publish, and only the rest becomes a message. Which channel answers is decided in
`actors.channels`; every answer says where it came from and why.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from actors.candles import Candles
from actors.doors import ExchangeDoor
from actors.errors import InvalidRequest, MarketDataError
from actors.filling import fill_flat
from actors.messages import (
    GetCache,
    GetCacheCounts,
    GetCandles,
    GetGaps,
    GetHealth,
    GetLimits,
    GetMarkets,
    GetOrderBook,
    GetStoreStatistics,
    GetStreams,
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
from actors.quote_reader import QuoteReader, QuoteRequest
from actors.quotes import MarketInfo, OrderBook, Ticker, Trades
from actors.reports import (
    CacheCounts,
    CacheReport,
    GapReport,
    GroupLimits,
    Health,
    SeriesReport,
    StoreStatistics,
    StreamReport,
)
from actors.series import Market
from runtime.core.clock import Clock
from runtime.core.errors import ActorError
from runtime.core.message import Request
from runtime.core.ref import ActorRef

_OWN_TIMEOUT_S = 2.0
GAPS_MAX = 1_000


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
        self._quotes = {door.name: QuoteReader(door, clock) for door in doors}
        self._memory_answers = 0
        # What memory may have, and how to look.
        self._lookers: dict[type, Callable[[Any], object | None]] = {
            GetCandles: self._look_for_candles,
            GetTicker: self._look_for_quote,
            GetOrderBook: self._look_for_quote,
            GetTrades: self._look_for_quote,
        }
        self._askers: dict[type, Callable[[Any, float], Awaitable[Any]]] = {
            GetCandles: self._candles,
            GetTicker: self._quote,
            GetTickers: self._tickers,
            GetOrderBook: self._quote,
            GetTrades: self._quote,
            GetMarkets: self._markets,
            GetLimits: self._limits,
            GetCache: self._cache,
            GetStreams: self._streams,
            GetGaps: self._gaps,
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
            case GetGaps():
                check_count(request.count, most=GAPS_MAX)
                if request.market:
                    self._door(Market.parse(request.market).exchange)

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
                now_s = self._clock.now_s()
                # Asked in any case: a stream that is read must be known to be wanted.
                is_kept = (
                    known.live
                    and door.live is not None
                    and door.live.keeps(known.series, now_s=now_s)
                )
                if not is_kept and now_s - known.asked_s > door.policy.max_age_s:
                    return None
                answer = known.newest(count, closed=closed)
                if answer is None or (closed and is_kept and not answer.complete):
                    # What the stream could not prove yet the exchange may be able to.
                    return None
                self._memory_answers += 1
                if door.uses is not None:
                    key, age_s = (market, timeframe), door.policy.max_age_s
                    door.uses.note(key, now_s, count, closed=closed, max_age_s=age_s, hit=True)
                return answer
        return None

    async def health(self) -> tuple[Health, ...]:
        """Return how the store, each exchange and its streams are; who is down is `away`."""
        asked = [("store", self._store)]
        for door in self._doors.values():
            asked.append((door.name, door.cache))
            if door.feed is not None:
                asked.append((f"{door.name} streams", door.feed))
        return tuple([await ask_health(name, ref) for name, ref in asked])

    def raw(self, request: Request[Any], answer: Any) -> list[dict[str, Any]]:
        """Return `answer` to `request` in the field names of the exchange's REST interface.

        Raises:
          InvalidRequest: It is no question about one exchange's candles or quotes.
        """
        match request:
            case GetCandles() | GetTicker() | GetOrderBook() | GetTrades():
                return self._door(Market.parse(request.market).exchange).raw(answer)
            case GetTickers():
                exchanges = {Market.parse(market).exchange for market in request.markets}
                if len(exchanges) == 1:
                    return self._door(exchanges.pop()).raw(answer)
                raise InvalidRequest("the raw view is of one exchange: ask for each on its own")
            case _:
                raise InvalidRequest(
                    "there is a raw view of candles, ticker, tickers, orderbook and trades only"
                )

    @property
    def doors(self) -> tuple[ExchangeDoor, ...]:
        """Return the exchanges that can be asked."""
        return tuple(self._doors.values())

    # -------------------------------------------------------------- looking in memory

    def _look_for_candles(self, request: GetCandles) -> Candles | None:
        if request.fill != "none":
            # Made in `_candles`, which may need a candle from before.
            self.validate(request)
            return None
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
        if answer is not None:
            self._memory_answers += 1
            door.note_use(query, self._clock.now_s(), hit=True)
        return answer

    def _look_for_quote(self, request: QuoteRequest) -> Ticker | OrderBook | Trades | None:
        self.validate(request)
        return self._quotes[Market.parse(request.market).exchange].look(request)

    # -------------------------------------------------------------- asking the actors

    async def _candles(self, request: GetCandles, timeout_s: float) -> Candles:
        door = self._door(Market.parse(request.market).exchange)
        query = candle_query(request, max_age_s=door.policy.max_age_s)
        plain = msgspec.structs.replace(request, fill="none")
        candles: Candles | None = None if request.fill == "none" else self.at_once(plain)
        if candles is None:
            door.note_use(query, self._clock.now_s(), hit=False)
            if door.live is not None and query.end_ms is None:
                door.live.want(query.series, now_s=self._clock.now_s())
            candles = await door.cache.call(plain, timeout_s=timeout_s)
        if request.fill == "none":
            return candles
        before = None
        if query.start_ms is not None:
            # The close that the first flat candles take lies before the window.
            ask = GetCandles(
                market=request.market, timeframe=request.timeframe, count=1, end=query.start_ms
            )
            before = await self.answer(ask, timeout_s=timeout_s)
        return fill_flat(
            candles,
            count=query.count,
            start_ms=query.start_ms,
            end_ms=query.end_ms,
            before=before,
        )

    async def _quote(self, request: QuoteRequest, timeout_s: float) -> Any:
        reader = self._quotes[self._door(Market.parse(request.market).exchange).name]
        return await reader.ask(request, timeout_s)

    async def _tickers(self, request: GetTickers, timeout_s: float) -> tuple[Ticker, ...]:
        by_door: dict[str, list[str]] = {}
        for market in request.markets:
            by_door.setdefault(Market.parse(market).exchange, []).append(market)
        found: dict[str, Ticker] = {}
        for name, markets in by_door.items():
            # Each once: who names a market twice gets it twice, of one request.
            names = dict.fromkeys(str(Market.parse(market)) for market in markets)
            ask = GetTickers(markets=tuple(names), max_age_s=request.max_age_s)
            found |= await self._quotes[name].tickers(ask, timeout_s)
        return tuple(found[str(Market.parse(market))] for market in request.markets)

    async def _streams(self, request: GetStreams, timeout_s: float) -> tuple[StreamReport, ...]:
        reports: list[StreamReport] = []
        for door in self._doors.values():
            if door.feed is not None:
                mine: tuple[StreamReport, ...] = await door.feed.call(request, timeout_s=timeout_s)
                reports.extend(mine)
        return tuple(reports)

    async def _gaps(self, request: GetGaps, timeout_s: float) -> tuple[GapReport, ...]:
        del timeout_s
        check_count(request.count, most=GAPS_MAX)
        gaps = [gap for door in self._doors.values() for _, gap in door.tables.gaps.items()]
        for door in self._doors.values():
            if door.feed_tables is not None:
                gaps += [gap for _, gap in door.feed_tables.gaps.items()]
        if request.market:
            name = str(Market.parse(request.market))
            gaps = [gap for gap in gaps if gap.market == name]
        gaps.sort(key=lambda gap: gap.start_ms)
        return tuple(gaps[-request.count :])

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


async def ask_health(name: str, ref: ActorRef) -> Health:
    """Return how an actor's own affairs are; one that does not answer is away."""
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
