"""`PreloaderActor`: has the data at hand before the bot asks.

    MarketRouter --Uses--> PreloaderActor --LoadCandles--> CacheActor --> limiter, exchange
    bots --DeclareNeed, …--> PreloaderActor                    |
                               |                               +--> table, store
                               +--SizeSeries, ForecastSlots--> CacheActor, RateLimiterActor

It has no way of its own to the exchange: it asks the CacheActor like any bot, with a lower
priority, and spends only what the limiter has left. What it gets it throws away: it is in memory
then. Declared needs are fetched and kept (`need_desk`, `keeping`); habits are learnt from what bots
ask, and acted on where that is worth it (`ahead`); and how deep each series is asked says how much
of it stays in memory (`sizing`).

The needs outlive it, in the `NeedBook` that the tree holds; needs and habits outlive the process,
with their keepers. Lost when it dies: fetches under way, the figures, and a minute of learning.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

import trio

from actors.cache_tables import SERIES_BYTES, CacheTables, candles_key
from actors.errors import InvalidRequest, MarketDataError, Overloaded
from actors.exchanges.clock import ExchangeClock
from actors.keeper import BlobKeeper
from actors.preload_messages import (
    AwaitNeed,
    DeclareNeed,
    ExplainPreload,
    GetNeeds,
    GetPreload,
    ReleaseNeed,
    SizeSeries,
)
from actors.preload_reports import NeedReport, PreloadReport
from actors.preloading.ahead import Ahead, AheadParts, open_habits
from actors.preloading.habit_values import SeriesKey
from actors.preloading.keeping import KeepParts
from actors.preloading.need_desk import NeedDesk
from actors.preloading.need_kept import KeptNeeds
from actors.preloading.needs import NeedBook
from actors.preloading.policy import PreloadPolicy
from actors.preloading.preload_words import explain
from actors.preloading.sizing import Sizing
from actors.preloading.uses import Use, Uses
from actors.series import Series
from runtime.core.actor import Actor
from runtime.core.errors import ActorError
from runtime.core.mailbox import Reply
from runtime.core.message import Request
from runtime.core.ref import ActorRef

T = TypeVar("T")

_log = logging.getLogger("marketd.preloader")

# How often memory is shared out anew, and needs that ended are dropped, in seconds; sooner, but not
# more often than the second, where somebody asked deeper than memory goes.
_TIDY_S, _SIZE_S_MIN = 60.0, 1.0
# Needs that come so soon one after the other are one burst, in seconds.
_BURST_S = 0.05
# How often habits, and when needs were used last, are written down, in seconds.
_SAVE_S = 300.0


@dataclass(frozen=True, slots=True)
class PreloadWorld:
    """What a PreloaderActor needs of its exchange.

    Attributes:
      exchange: The exchange.
      cache: Its CacheActor.
      limiter: Its RateLimiterActor.
      tables: What the CacheActor publishes.
      exchange_clock: What is known of the exchange's clock.
      uses: What bots ask for.
      hold: Wants the streams that keep a series up to date, for as long as a block runs.
      heard_s: Returns when the stream of a series was last heard; None if it has none.
      spare: Returns what part of the limit for candles is unused, 0 to 1.
    """

    exchange: str
    cache: ActorRef
    limiter: ActorRef
    tables: CacheTables
    exchange_clock: ExchangeClock
    uses: Uses
    hold: Callable[[Series], AbstractContextManager[None]]
    heard_s: Callable[[Series], float | None]
    spare: Callable[[], float]


class PreloaderActor(Actor):
    """Fetch what one exchange's bots need, or are likely to ask for.

    Bounds: those of its parts. Nothing it does makes a bot wait: it asks with priorities that give
    way, and each fetch has an end.

    Args:
      world: What it needs of its exchange.
      policy: How it is done.
      book: The needs; they outlive it.
      configured: Needs of the configuration.
      need_keeper: Keeps declared needs from one process to the next; None for not at all.
      habit_keeper: The same of habits.
    """

    def __init__(
        self,
        world: PreloadWorld,
        policy: PreloadPolicy,
        *,
        book: NeedBook,
        configured: Sequence[DeclareNeed] = (),
        need_keeper: BlobKeeper | None = None,
        habit_keeper: BlobKeeper | None = None,
    ) -> None:
        self._world = world
        self._policy = policy
        self._book = book
        self._configured = tuple(configured)
        self._kept = KeptNeeds(world.exchange, need_keeper, lambda: book.encode(self._desk.used_ms))
        self._habit_keeper = habit_keeper
        self._sizing = Sizing()
        self._rows: dict[SeriesKey, int] = {}
        self._deeper, self._grown = trio.Event(), trio.Event()
        self._sized_s = -math.inf

    async def on_start(self) -> None:
        """Take up the needs, and begin to listen."""
        context, world = self.context, self._world
        parts = KeepParts(
            cache=world.cache,
            tables=world.tables,
            clock=context.clock,
            exchange_clock=world.exchange_clock,
            rng=context.rng,
            settle_s=self._policy.settle_s,
            turns=trio.CapacityLimiter(self._policy.requests),
            page=self._policy.page,
            hold=world.hold,
            heard_s=world.heard_s,
            rows=self._rows_of,
            used_s=self._last_use_s,
            changed=self._series_changed,
        )
        self._ahead = Ahead(
            open_habits(self._habit_keeper, world.exchange),
            AheadParts(
                cache=world.cache,
                tables=world.tables,
                clock=context.clock,
                exchange_clock=world.exchange_clock,
                nursery=context.nursery,
                policy=self._policy,
                heard_s=world.heard_s,
                spare=world.spare,
            ),
        )
        self._desk = NeedDesk(
            self._book,
            parts,
            self._policy,
            limiter=world.limiter,
            nursery=context.nursery,
            changed=self._change_needs,
        )
        await self._take_up()
        self._size()
        for task in (
            self._listen,
            self._tidy_in_time,
            self._size_bursts,
            self._kept.run,
            self._save_in_time,
        ):
            context.nursery.start_soon(task)
        if self._policy.learn:
            context.nursery.start_soon(self._ahead.run)

    async def on_stop(self) -> None:
        """Write down what was learnt and what is needed."""
        await self._kept.save()
        await self._save_habits()

    async def handle_call(self, request: Request[Any]) -> object:
        """Answer questions in tasks of their own: a forecast is asked of the limiter."""
        match request:
            case DeclareNeed():
                self._later(self._declare, request)
            case AwaitNeed():
                self._desk.await_ready(request, self.context.take_reply())
            case GetNeeds():
                self._later(self._desk.find, request)
            case ReleaseNeed():
                self._later(self._when_kept, self._desk.release(request))
            case GetPreload():
                return (self._report(),)
            case ExplainPreload():
                self._later(self._explain, request)
            case _:
                return await super().handle_call(request)
        return None

    def statistics(self) -> PreloadReport:
        """Return what is being fetched, and how good that has been."""
        return self._report()

    # -------------------------------------------------------------- answering

    def _later(self, answer: Callable[[Any], Any], request: Any) -> None:
        self.context.nursery.start_soon(self._answer, answer, request, self.context.take_reply())

    async def _answer(self, answer: Callable[[Any], Any], request: Any, reply: Reply) -> None:
        try:
            value = await answer(request)
        except (MarketDataError, ActorError) as error:
            reply.fail(error)
        else:
            reply.send(value)

    async def _declare(self, request: DeclareNeed) -> NeedReport:
        return await self._when_kept(await self._desk.declare(request))

    async def _when_kept(self, answer: T) -> T:
        # Who was told that it is declared, or has ended, does not say so again after a crash.
        await self._kept.wait_kept()
        return answer

    async def _explain(self, request: ExplainPreload) -> Any:
        needs = await self._desk.find(GetNeeds(market=request.market, timeframe=request.timeframe))
        return explain(
            self._report(),
            needs,
            self._ahead.expected(market=request.market, timeframe=request.timeframe),
            market=request.market,
            timeframe=request.timeframe,
        )

    def _report(self) -> PreloadReport:
        held = [known for _, known in self._world.tables.candles.items()]
        return self._ahead.report(
            PreloadReport(
                exchange=self._world.exchange,
                fetching=self._desk.fetching(),
                needs=len(self._book),
                ready=self._desk.ready(),
                learning=self._policy.learn,
                unheard=self._world.uses.dropped,
                spare=self._world.spare(),
                memory_bytes=sum(known.nbytes + SERIES_BYTES for known in held),
                memory_bytes_max=self._policy.memory_bytes_max,
                deepest=max((known.closed_rows for known in held), default=0),
            )
        )

    # -------------------------------------------------------------- listening

    async def _listen(self) -> None:
        """Take what bots ask, as they ask it."""
        while True:
            for use in await self._world.uses.take():
                self._take(use)

    def _take(self, use: Use) -> None:
        self._sizing.note(use.key, use.depth, use.at_s)
        if use.depth > self._rows.get(use.key, self._policy.rows):
            # Known soon rather than in a minute: the next one may come in a moment.
            self._deeper.set()
        if self._policy.learn:
            self._ahead.note(use)

    def _last_use_s(self, series: Series) -> float:
        return self._world.uses.last_s(candles_key(series))

    # -------------------------------------------------------------- memory

    def _rows_of(self, series: Series) -> int:
        return self._rows.get(candles_key(series), self._policy.rows)

    def _size(self) -> None:
        """Share memory out, and tell the cache if that changes anything."""
        needed = {candles_key(series): n for series, n in self._book.all_candles().items()}
        rows = self._sizing.rows(
            self.context.clock.now_s(),
            usual=self._policy.rows,
            bytes_max=self._policy.memory_bytes_max,
            series_bytes=SERIES_BYTES,
            needed=needed,
        )
        if rows != self._rows:
            self._rows = rows
            try:
                self._world.cache.cast(SizeSeries(rows=rows))
            except ActorError:
                # Away or full: it is told again with the next change.
                self._rows = {}

    # -------------------------------------------------------------- in time

    async def _tidy_in_time(self) -> None:
        while True:
            await trio.sleep(_SIZE_S_MIN)
            with trio.move_on_after(_TIDY_S - _SIZE_S_MIN):
                await self._deeper.wait()
            self._deeper = trio.Event()
            self._desk.drop_unused()
            self._size()

    def _series_changed(self, series: Series) -> None:
        self._desk.series_changed(series)

    def _change_needs(self) -> None:
        self._kept.change()
        now_s = self.context.clock.now_s()
        if now_s - self._sized_s > _BURST_S:
            # Before the first page comes, or memory would keep no more of it than usual.
            self._sized_s = now_s
            self._size()
        else:
            self._grown.set()

    async def _size_bursts(self) -> None:
        """Share memory out once for all needs that come at a time."""
        while True:
            await self._grown.wait()
            await trio.sleep(_BURST_S)
            self._grown = trio.Event()
            self._size()

    async def _save_in_time(self) -> None:
        while True:
            await trio.sleep(_SAVE_S)
            await self._save_habits()
            # With when they were used last; and again if it failed.
            await self._kept.save()

    async def _save_habits(self) -> None:
        if self._habit_keeper is not None and self._policy.learn:
            await self._habit_keeper.save(self._ahead.encode())

    async def _take_up(self) -> None:
        """Take up the needs of the configuration, and those that were declared before."""
        if self._book.is_recalled:
            return
        now_ms = self.context.clock.utc_ms()
        for asked in self._configured:
            self._desk.take_up(asked, now_ms=now_ms, kept=False)
        self._book.is_recalled = True
        for each in self._kept.recall():
            # There may be thousands, and others have their turn in between.
            await trio.lowlevel.checkpoint()
            try:
                self._desk.recall(each)
            except (InvalidRequest, Overloaded) as error:
                _log.warning("%s: a declared need is dropped: %s", self._world.exchange, error)
