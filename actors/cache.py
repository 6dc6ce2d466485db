"""`CacheActor`: what is known of one exchange's markets, and the fetching of what is not.

    MarketRouter --GetCandles, GetTickers, …--> CacheActor --ReadStored, WriteStored--> StoreActor
                                                    |
                                                    +--> ThrottledExchange --> the exchange

Owns the tables of candles and quotes (it is their only writer), the coverage of each series, and
the loads under way. Readers answer themselves from the tables; only what memory cannot answer
comes here as a message, and the reply is taken so that no load holds up another.

Lost when it dies: loads under way (their callers are told) and the counts. The tables stay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from typing import Any, TypeVar

from actors.cache_tables import CachePolicy, CacheTables, candles_key
from actors.errors import Overloaded
from actors.exchanges.base import ExchangeAdapter, ExchangeCall
from actors.exchanges.clock import ExchangeClock
from actors.exchanges.throttled import Fetched, ThrottledExchange
from actors.known import Known
from actors.loader import LoaderParts, SeriesLoader
from actors.messages import (
    GetCacheCounts,
    GetCandles,
    GetHealth,
    GetMarkets,
    GetOrderBook,
    GetTicker,
    GetTickers,
    GetTrades,
)
from actors.queries import CandleQuery, candle_query
from actors.quote_desk import Quote, QuoteDesk
from actors.quotes import OrderBook
from actors.reports import CacheCounts, Health
from actors.series import Market, Series
from runtime.core.actor import Actor
from runtime.core.message import Request
from runtime.core.ref import ActorRef

T = TypeVar("T")

# Requests waiting for data at once; beyond it callers are told to come back later.
WAITING_MAX = 4_096
# What a series costs in memory beside its rows; measured, rounded up.
_SERIES_BYTES = 4_096
# A new listing shows up within this time.
MARKETS_MAX_AGE_S = 60.0
_QUOTE_TIMEOUT_S = 20.0


class CacheActor(Actor):
    """Keep one exchange's candles and quotes, and fetch what is lacking.

    Args:
      open_gate: Opens the way to the exchange, anew for each incarnation.
      adapter: The exchange's language.
      store: The actor that keeps final candles.
      tables: Where everything known is published.
      exchange_clock: What is known of the exchange's clock.
      policy: How data is kept.
    """

    def __init__(
        self,
        open_gate: Callable[[], AbstractAsyncContextManager[ThrottledExchange]],
        *,
        adapter: ExchangeAdapter,
        store: ActorRef,
        tables: CacheTables,
        exchange_clock: ExchangeClock,
        policy: CachePolicy,
    ) -> None:
        self._open_gate = open_gate
        self._adapter = adapter
        self._store = store
        self._tables = tables
        self._exchange_clock = exchange_clock
        self._policy = policy
        self._opened = AsyncExitStack()
        self._loaders: dict[Series, SeriesLoader] = {}
        self._counts: Counter[str] = Counter()
        self._bytes = 0

    async def on_start(self) -> None:
        """Open the way to the exchange and take over the tables."""
        self._gate = await self._opened.enter_async_context(self._open_gate())
        self._writer = self._tables.candles.claim(self.context.name)
        self._bytes = sum(_size(known) for _, known in self._tables.candles.items())
        self._parts = LoaderParts(
            gate=self._gate,
            adapter=self._adapter,
            store=self._store,
            clock=self.context.clock,
            exchange_clock=self._exchange_clock,
            policy=self._policy.load,
            publish=self._publish,
            count=self._count,
        )
        self._desks = self._open_desks()

    async def on_stop(self) -> None:
        """Close the way to the exchange."""
        await self._opened.aclose()

    async def handle_call(self, request: Request[Any]) -> object:
        """Take the reply of what may have to be fetched; it is answered when that is there."""
        match request:
            case GetCandles():
                self._candles(candle_query(request, max_age_s=self._policy.max_age_s))
            case GetTicker(market=market, max_age_s=max_age_s):
                self._quotes("ticker", (market,), max_age_s, _first)
            case GetTickers(markets=markets, max_age_s=max_age_s):
                self._quotes("ticker", markets, max_age_s, tuple)
            case GetOrderBook(market=market, max_age_s=max_age_s, depth=depth):
                self._quotes("orderbook", (market,), max_age_s, partial(_cut, depth))
            case GetTrades(market=market, count=count, max_age_s=max_age_s):
                kind = "trades" if count <= _TRADES_PAGE else "trades_max"
                self._quotes(kind, (market,), max_age_s, partial(_newest, count))
            case GetMarkets(exchange=exchange):
                self._desk("markets", (exchange,), MARKETS_MAX_AGE_S, _first)
            case GetCacheCounts():
                return self.statistics()
            case GetHealth():
                return self._health()
            case _:
                return await super().handle_call(request)
        return None

    def statistics(self) -> CacheCounts:
        """Return what this incarnation has done."""
        counts = self._counts
        return CacheCounts(
            memory_answers=counts["memory"],
            store_answers=counts["store"],
            exchange_answers=counts["exchange"],
            failures=counts["failure"],
            pages=counts["page"],
            evicted=counts["evicted"],
            bytes=self._bytes,
            waiting=self.context.unanswered,
        )

    def _health(self) -> Health:
        seen = self._gate.state
        return Health(
            name=self._adapter.name,
            state=seen.state,
            reason=seen.last_error if seen.state == "away" else "",
            since_ms=seen.last_success_ms,
        )

    # -------------------------------------------------------------- candles

    def _candles(self, query: CandleQuery) -> None:
        # Raises UnknownTimeframe before anything waits for a page that cannot be asked for.
        self._adapter.candles(query.series, to_ms=None)
        self._refuse_overload()
        loader = self._loaders.get(query.series)
        if loader is None:
            known = self._tables.candles.get(candles_key(query.series))
            loader = SeriesLoader(query.series, self._parts, known=known)
            self._loaders[query.series] = loader
        loader.add(query, self.context.take_reply())
        if not loader.running:
            loader.running = True
            self.context.nursery.start_soon(self._load, loader)

    async def _load(self, loader: SeriesLoader) -> None:
        await loader.run()
        if loader.is_blank:
            # A market that does not exist leaves nothing behind.
            self._loaders.pop(loader.series, None)
        # While it ran it could not be pushed out.
        self._keep_bound()

    def _publish(self, known: Known) -> None:
        key = candles_key(known.series)
        before = self._tables.candles.get(key)
        self._bytes += _size(known) - (_size(before) if before is not None else 0)
        self._writer.put(key, known)
        self._keep_bound()

    def _keep_bound(self) -> None:
        while self._bytes > self._policy.memory_bytes_max and self._evict():
            pass

    def _evict(self) -> bool:
        """Push the series not read for longest out of memory; return False if all are in use."""
        # A load under way would only fetch again what is taken from under it.
        busy = {candles_key(s) for s, loader in self._loaders.items() if loader.running}
        key = self._tables.candles.least_recently_used(besides=busy)
        known = None if key is None else self._tables.candles.get(key)
        if key is None or known is None:
            return False
        self._writer.delete(key)
        self._bytes -= _size(known)
        self._counts["evicted"] += 1
        self._loaders.pop(known.series, None)
        return True

    def _count(self, what: str) -> None:
        self._counts[what] += 1

    # -------------------------------------------------------------- quotes

    def _open_desks(self) -> dict[str, QuoteDesk]:
        rules = self._adapter.rules
        writer = self._tables.quotes.claim(self.context.name)
        many, fetchers = rules.tickers_max, _Fetchers(self._gate, self._adapter)
        return {
            kind: QuoteDesk(
                fetch,
                batch_max=batch_max,
                writer=writer,
                table=self._tables.quotes,
                clock=self.context.clock,
                gather_s=self._policy.load.gather_s,
            )
            for kind, fetch, batch_max in (
                ("ticker", fetchers.tickers, many),
                ("orderbook", fetchers.order_books, many),
                ("trades", partial(fetchers.trades, count=_TRADES_PAGE), 1),
                ("trades_max", partial(fetchers.trades, count=rules.trades_max), 1),
                ("markets", fetchers.markets, 1),
            )
        }

    def _quotes(
        self,
        kind: str,
        markets: Sequence[str],
        max_age_s: float | None,
        compose: Callable[[Sequence[Any]], object],
    ) -> None:
        codes = tuple(Market.parse(market).code for market in markets)
        age_s = self._policy.quote_max_age_s if max_age_s is None else max_age_s
        self._desk(kind, codes, age_s, compose)

    def _desk(
        self,
        kind: str,
        codes: Sequence[str],
        max_age_s: float,
        compose: Callable[[Sequence[Any]], object],
    ) -> None:
        self._refuse_overload()
        desk = self._desks[kind]
        keys = tuple((kind, code) for code in codes)
        desk.add(keys, self.context.take_reply(), max_age_s=max_age_s, compose=compose)
        if not desk.running:
            desk.running = True
            self.context.nursery.start_soon(desk.run)

    def _refuse_overload(self) -> None:
        if self.context.unanswered >= WAITING_MAX:
            raise Overloaded(
                f"{self._adapter.name}: {WAITING_MAX} requests are waiting for data already"
            )


# Most people want the newest few; a page of this size serves them all from one answer.
_TRADES_PAGE = 100


class _Fetchers:
    """The exchange's quotes by code, through the gate."""

    def __init__(self, gate: ThrottledExchange, adapter: ExchangeAdapter) -> None:
        self._gate = gate
        self._adapter = adapter

    async def tickers(self, codes: Sequence[str]) -> dict[str, Quote]:
        return _by_code(await self._fetch(self._adapter.tickers(codes)))

    async def order_books(self, codes: Sequence[str]) -> dict[str, Quote]:
        return _by_code(await self._fetch(self._adapter.order_books(codes)))

    async def trades(self, codes: Sequence[str], *, count: int) -> dict[str, Quote]:
        (code,) = codes
        fetched = await self._fetch(self._adapter.trades(code, count=count))
        return {code: Quote(fetched.value, fetched.sent_s)}

    async def markets(self, codes: Sequence[str]) -> dict[str, Quote]:
        (code,) = codes
        fetched = await self._fetch(self._adapter.markets())
        return {code: Quote(fetched.value, fetched.sent_s)}

    async def _fetch(self, call: ExchangeCall[T]) -> Fetched[T]:
        return await self._gate.fetch(call, timeout_s=_QUOTE_TIMEOUT_S)


def _by_code(fetched: Fetched[tuple[Any, ...]]) -> dict[str, Quote]:
    return {
        Market.parse(quote.market).code: Quote(quote, fetched.sent_s) for quote in fetched.value
    }


def _size(known: Known) -> int:
    return known.candles.nbytes + _SERIES_BYTES


def _first(values: Sequence[Any]) -> object:
    return values[0]


def _newest(count: int, values: Sequence[Any]) -> object:
    return values[0][:count]


def _cut(depth: int, values: Sequence[Any]) -> OrderBook:
    book: OrderBook = values[0]
    return book.cut(depth)
