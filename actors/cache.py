"""`CacheActor`: what is known of one exchange's markets, and the fetching of what is not.

    MarketRouter --GetCandles, GetTickers, …--> CacheActor --ReadStored, WriteStored--> StoreActor
    FeedActor ------------ LiveCandles, … ----> CacheActor --> table, then subscribers
                                                    |
                                                    +--> ThrottledExchange --> the exchange

Owns the tables of candles and quotes (it is their only writer), the coverage of each series, and
the loads under way. Readers answer themselves from the tables; only what memory cannot answer
comes here as a message, and the reply is taken so that no load holds up another.

Lost when it dies: loads under way (their callers are told) and the counts. The tables stay.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

from actors.cache_quotes import CacheQuotes, QuoteRequest
from actors.cache_tables import SERIES_BYTES, CachePolicy, CacheTables, candles_key
from actors.closed_teller import ClosedTeller
from actors.errors import Overloaded
from actors.exchanges.base import ExchangeAdapter
from actors.exchanges.clock import ExchangeClock
from actors.exchanges.throttled import ThrottledExchange
from actors.holes import GapLog, InnerReply
from actors.known import Known, trim
from actors.lessons import Lesson
from actors.live_desk import LiveDesk
from actors.live_repairs import LiveRepairs, RepairParts
from actors.live_saver import LiveSaver
from actors.loader import SeriesLoader
from actors.loader_parts import LoaderParts
from actors.messages import (
    CandleStreamsBack,
    CandleStreamsBroke,
    GetCacheCounts,
    GetCandles,
    GetHealth,
    GetMarkets,
    GetOrderBook,
    GetTicker,
    GetTickers,
    GetTrades,
    LiveCandles,
    Priority,
    StoreWrite,
)
from actors.preload_messages import LoadCandles, SizeSeries
from actors.queries import CandleQuery, candle_query
from actors.reports import CacheCounts, Health
from actors.series import Series
from runtime.core.actor import Actor
from runtime.core.mailbox import Reply
from runtime.core.message import Event, Request
from runtime.core.pubsub import PubSub
from runtime.core.ref import ActorRef

# Requests waiting for data at once; beyond it callers are told to come back later.
WAITING_MAX = 4_096


class CacheActor(Actor):
    """Keep one exchange's candles and quotes, and fetch what is lacking.

    Args:
      open_gate: Opens the way to the exchange, anew for each incarnation.
      adapter: The exchange's language.
      store: The actor that keeps final candles.
      tables: Where everything known is published.
      exchange_clock: What is known of the exchange's clock.
      policy: How data is kept.
      events: Where what streams tell of candles is published, under topics of `actors.updates`.
      heard_s: Returns when the stream of a series was last heard; None if it has none, or if that
        is broken.
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
        events: PubSub | None = None,
        heard_s: Callable[[Series], float | None] = lambda _: None,
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
        self._rows: dict[tuple[str, str], int] = {}
        self._events = PubSub() if events is None else events
        self._heard_s = heard_s

    async def on_start(self) -> None:
        """Open the way to the exchange and take over the tables."""
        self._gate = await self._opened.enter_async_context(self._open_gate())
        self._writer = self._tables.candles.claim(self.context.name)
        self._bytes = sum(_bytes_of(known) for _, known in self._tables.candles.items())
        self._parts = LoaderParts(
            gate=self._gate,
            adapter=self._adapter,
            store=self._store,
            clock=self.context.clock,
            exchange_clock=self._exchange_clock,
            policy=self._policy.load,
            rows_max=self._rows_max,
            publish=self._publish,
            count=self._count,
            learnt=self._learnt,
        )
        self._desks = CacheQuotes(
            self._gate,
            self._adapter,
            writer=self._tables.quotes.claim(self.context.name),
            table=self._tables.quotes,
            clock=self.context.clock,
            gather_s=self._policy.load.gather_s,
            max_age_s=self._policy.quote_max_age_s,
        )
        self._open_live()

    async def on_stop(self) -> None:
        """Store what streams have proven, and close the way to the exchange."""
        try:
            await self._saver.save()
        finally:
            await self._opened.aclose()

    async def handle_call(self, request: Request[Any]) -> object:
        """Take the reply of what may have to be fetched; it is answered when that is there."""
        match request:
            case GetCandles():
                self._candles(candle_query(request, max_age_s=self._usual_age_s(request)))
            case LoadCandles(candles=asked, priority=priority):
                self._candles(candle_query(asked, max_age_s=self._usual_age_s(asked)), priority)
            case GetTicker() | GetTickers() | GetOrderBook() | GetTrades() | GetMarkets():
                self._quotes(request)
            case GetCacheCounts():
                return self.statistics()
            case GetHealth():
                return self._health()
            case _:
                return await super().handle_call(request)
        return None

    async def handle_cast(self, event: Event) -> None:
        """Take what streams tell of candles."""
        match event:
            case LiveCandles():
                self._live.take(event)
            case CandleStreamsBroke(keys=keys, heard_s=heard_s, reason=reason):
                self._repairs.broke(keys, heard_s, reason)
            case CandleStreamsBack(keys=keys):
                self._repairs.back(keys)
            case SizeSeries(rows=rows):
                self._size(rows)
            case _:
                await super().handle_cast(event)

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
            live_rows=counts["live_row"],
            proven_by_stream=counts["stream"],
            proven_by_page=counts["page_row"],
            disagreements=counts["disagreement"],
            repairs=counts["repair"],
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

    def _usual_age_s(self, request: GetCandles) -> float:
        """Return how old an answer to `request` may be if it does not say."""
        series = Series.parse(request.market, request.timeframe)
        # Who wants closed candles wants those that the stream could not prove as well.
        usual = request.max_age_s is None and not request.closed
        if usual and self._live.is_whole(series):
            # What a stream keeps up to date is as young as can be, however quiet the market is.
            return math.inf if self._heard_s(series) is not None else self._policy.max_age_s
        return self._policy.max_age_s

    def _candles(self, query: CandleQuery, priority: Priority = Priority.ASKED) -> None:
        # Raises UnknownTimeframe before anything waits for a page that cannot be asked for.
        self._adapter.candles(query.series, to_ms=None)
        self._refuse_overload()
        self._start(query, self.context.take_reply(), priority)

    def _ask(self, query: CandleQuery, reply: InnerReply) -> None:
        self._start(query, reply, Priority.REPAIR)

    def _start(self, query: CandleQuery, reply: Reply | InnerReply, priority: Priority) -> None:
        loader = self._loader(query.series)
        loader.add(query, reply, priority=priority)
        if not loader.running:
            loader.running = True
            self.context.nursery.start_soon(self._load, loader)

    def _loader(self, series: Series) -> SeriesLoader:
        loader = self._loaders.get(series)
        if loader is None:
            loader = SeriesLoader(series, self._parts, known=self._look(series))
            self._loaders[series] = loader
        return loader

    def _look(self, series: Series) -> Known | None:
        return self._tables.candles.get(candles_key(series))

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
        self._bytes += _bytes_of(known) - (_bytes_of(before) if before is not None else 0)
        self._writer.put(key, known)
        loader = self._loaders.get(known.series)
        if loader is not None:
            loader.history.known = known
        self._teller.closed(before, known)
        self._keep_bound()

    def _rows_max(self, series: Series) -> int:
        return self._rows.get(candles_key(series), self._policy.load.rows_max)

    def _size(self, rows: dict[tuple[str, str], int]) -> None:
        """Keep so many rows of each series from now on."""
        self._rows = rows
        for key, known in self._tables.candles.items():
            rows_max = rows.get(key, self._policy.load.rows_max)
            if known.closed_rows > rows_max:
                self._publish(trim(known, rows_max))

    def _keep_bound(self) -> None:
        while self._bytes > self._policy.memory_bytes_max and self._evict():
            pass

    def _evict(self) -> bool:
        """Push the series not read for longest out of memory; return False if all are in use."""
        # A load under way would only fetch again what is taken from under it.
        busy = {candles_key(s) for s, loader in self._loaders.items() if loader.running}
        # Nor may somebody who waits for closed candles be left waiting.
        busy |= {
            key for key, _ in self._tables.candles.items() if self._events.has(("closed", *key))
        }
        key = self._tables.candles.least_recently_used(besides=busy)
        known = None if key is None else self._tables.candles.get(key)
        if key is None or known is None:
            return False
        self._writer.delete(key)
        self._bytes -= _bytes_of(known)
        self._counts["evicted"] += 1
        self._loaders.pop(known.series, None)
        return True

    def _count(self, what: str, times: int = 1) -> None:
        self._counts[what] += times

    # -------------------------------------------------------------- streams

    def _open_live(self) -> None:
        load, now_ms = self._policy.load, self._exchange_clock.utc_ms()
        writer = self._tables.gaps.claim(self.context.name)
        gaps = GapLog(self._tables.gaps, writer, self._events)
        gaps.close_left(now_ms)
        parts = RepairParts(
            exchange=self._adapter.name,
            clock=self.context.clock,
            exchange_clock=self._exchange_clock,
            events=self._events,
            settle_s=load.settle_s,
            look=self._look,
            everything=lambda: [known for _, known in self._tables.candles.items()],
            ask=self._ask,
            state=lambda: self._gate.state,
            correct=self._correct,
            count=self._count,
        )
        self._repairs = LiveRepairs(parts, gaps, lambda: self._live)
        self._saver = LiveSaver(
            look=self._look,
            history=lambda series: self._loader(series).history,
            save_s=load.save_s,
        )
        self._teller = ClosedTeller(self._events, look=self._look, ask=self._ask)
        self._live = LiveDesk(
            self._adapter.name,
            look=self._look,
            put=self._publish,
            events=self._events,
            rows_max=self._rows_max,
            doubt=self._repairs.doubt,
            proven=self._saver.proven,
            count=self._count,
        )
        self.context.nursery.start_soon(self._repairs.run)
        self.context.nursery.start_soon(self._saver.run)

    def _learnt(self, series: Series, lesson: Lesson, before: Known | None) -> None:
        self._live.learnt(series, lesson, before)

    def _correct(self, write: StoreWrite) -> None:
        self.context.nursery.start_soon(self._store_correction, write)

    async def _store_correction(self, write: StoreWrite) -> None:
        series = write.candles.series
        if not await self._loader(series).history.save_live(write):
            self._saver.proven(series, write.proven.start_ms)

    # -------------------------------------------------------------- quotes

    def _quotes(self, request: QuoteRequest) -> None:
        self._refuse_overload()
        desk, keys, max_age_s, compose = self._desks.desk(request)
        desk.add(keys, self.context.take_reply(), max_age_s=max_age_s, compose=compose)
        if not desk.running:
            desk.running = True
            self.context.nursery.start_soon(desk.run)

    def _refuse_overload(self) -> None:
        if self.context.unanswered >= WAITING_MAX:
            raise Overloaded(
                f"{self._adapter.name}: {WAITING_MAX} requests are waiting for data already"
            )


def _bytes_of(known: Known) -> int:
    return known.nbytes + SERIES_BYTES
