"""`SeriesKeeper`: has the candles that are needed of one series at hand, and keeps them there.

Not an actor: one for each series that is needed, in the PreloaderActor's task group. It asks the
CacheActor like any bot, with the priority of declared needs; what it gets is in memory and in the
store, which is all it is asked for.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import trio

from actors.cache_tables import CacheTables, candles_key
from actors.candles import Candles
from actors.coverage import BEGINNING_MS
from actors.errors import ExchangeUnavailable, InvalidRequest, MarketDataError
from actors.exchanges.clock import ExchangeClock
from actors.known import Known
from actors.messages import GetCandles, Priority
from actors.preload_messages import LoadCandles
from actors.preload_reports import NeedState
from actors.preloading.reached import ALL, Reached
from actors.series import Series
from runtime.core.clock import Clock
from runtime.core.errors import ActorError
from runtime.core.ref import ActorRef

_log = logging.getLogger("marketd.preloader")

# Streams are asked for when no need is being fetched any more, or after so long, in seconds: to
# begin with they cost pages of their own, which go before those of needs.
_CALM_S, _CALM_LOOK_S = 60.0, 1.0
# How long the fetching of one page may take at worst: a tenth of the limit, shared by all.
_PAGE_S = 30.0
_FETCH_S = 60.0
# After a failure, in seconds: twice as long each time.
_RETRY_S, _RETRY_S_MAX = 1.0, 60.0
# While the exchange is away: its breaker keeps most of this from the wire, and who asks seldom
# would hear late that it is back.
_RETRY_AWAY_S_MAX = 15.0
# After one that asking again will hardly cure.
_HOPELESS_S = 900.0
# How often it is looked whether memory still has it, at least and at most.
_LOOK_S, _LOOK_S_MIN = 600.0, 60.0
# Without a stream candles of this length and longer are refreshed after each of them, so that who
# asks for closed ones finds them. Of shorter ones a page is fetched before what is lacking at the
# new end is more than a page: then whoever asks waits for one page at most.
_LONG_MS = 15 * 60_000
# And only while it is used: so long after the last use, in candles, and at least in seconds.
_USED_CANDLES, _USED_S = 20, 3_600.0
# Spread over so long after the candle's end: all series of a timeframe end at once.
_SPREAD_S = 2.0


@dataclass(frozen=True, slots=True)
class KeepParts:
    """What the keepers of one exchange share.

    Attributes:
      cache: The CacheActor.
      tables: What it publishes.
      clock: Our clock.
      exchange_clock: What is known of the exchange's.
      rng: Spreads refreshes.
      settle_s: How long after its end a candle may still change, in seconds.
      turns: Lets so many fetch at once, each a page at a time: as many as the limit lets out in a
        window. More would only stand in line; fewer would not fill it where answers are slow.
      page: Candles in a page.
      hold: Wants the streams that keep a series up to date, for as long as a block runs.
      heard_s: Returns when the stream of a series was last heard; None if it has none.
      rows: Returns how many candles of a series memory may keep.
      used_s: Returns when a series was last asked for, on `Clock.now_s`; -inf if never.
      changed: Told when a series became ready, for one of its needs or for all, or failed.
    """

    cache: ActorRef
    tables: CacheTables
    clock: Clock
    exchange_clock: ExchangeClock
    rng: random.Random
    settle_s: float
    turns: trio.CapacityLimiter
    page: int
    hold: Callable[[Series], AbstractContextManager[None]]
    heard_s: Callable[[Series], float | None]
    rows: Callable[[Series], int]
    used_s: Callable[[Series], float]
    changed: Callable[[Series], None]


class SeriesKeeper:
    """Keeps the newest so many candles of one series at hand.

    Several strategies may need more and less of it: the least is fetched first, so that none waits
    for what only others need.

    Args:
      series: Which.
      sizes: How many candles are needed, by one strategy or several; rising.
      parts: What it shares with others.

    Attributes:
      series: Which series.
      state: How far all of it is; see `NeedReport`. One need may be ready before.
      whole: Whether all that is wanted exists.
      problem: Why the last try failed; empty if it did not.
      refusal: The error if asking again will hardly cure it, such as no such market; else None.
      began_s: When it was wanted, or more of it, on `Clock.now_s`.
      since_s: Since when it has been fetching or ready, on `Clock.now_s`.
      scope: Ends it when cancelled.
    """

    def __init__(self, series: Series, sizes: Sequence[int], parts: KeepParts) -> None:
        self.series = series
        self.state: NeedState = "waiting"
        self.whole = True
        self.problem = ""
        self.refusal: InvalidRequest | None = None
        self._made_s = self.began_s = self.since_s = parts.clock.now_s()
        self.scope = trio.CancelScope()
        self._parts = parts
        self._sizes = tuple(sizes)
        self._has = 0
        self._reached = Reached()
        self._grown = trio.Event()
        # What is being fetched at this moment; 0 for nothing.
        self._step, self._step_size = trio.CancelScope(), 0

    @property
    def wanted(self) -> int:
        """Return how many candles are wanted."""
        return self._sizes[-1]

    def want(self, sizes: Sequence[int]) -> None:
        """Change how many candles are needed; rising."""
        before, self._sizes = self._sizes, tuple(sizes)
        if self.wanted < before[-1]:
            # Memory is free to keep no more than this from now on.
            self._has = min(self._has, self.wanted)
            self._reached.keep(self.wanted)
        news = [size for size in sizes if size not in before and not self.is_ready_for(size)]
        if news:
            if self.state == "ready":
                self.state = "waiting"
            self.began_s = self._parts.clock.now_s()
            self._grown.set()
        if min([self.wanted, *news]) < self._step_size:
            # Somebody needs less than is being fetched, and does not wait for all of it; or all do.
            # What came of it so far stays.
            self._grown.set()
            self._step.cancel()

    def is_ready_for(self, candles: int) -> bool:
        """Return whether the newest so many candles, or all that exist, are at hand."""
        if candles > self._has and self.whole:
            return False
        # A try for more that fails takes nothing away; one for the newest leaves a hole.
        return not self.problem or not self._is_lacking()

    def took_s(self, candles: int, since_s: float) -> float | None:
        """Return how long it took until so many were at hand; None if they never were.

        Args:
          candles: How many.
          since_s: When they were declared, on `Clock.now_s`.
        """
        first_s = self._reached.first_s(candles)
        return None if first_s is None else max(0.0, first_s - max(since_s, self._made_s))

    @property
    def covered(self) -> int:
        """Return how many of them are at hand: the newest, without a hole."""
        known = self._known()
        held = 0 if known is None else known.closed_rows
        return min(self.wanted, max(held, self._has))

    def pages_left(self, candles: int) -> int:
        """Return how many pages have to be fetched yet until so many are at hand, at most."""
        if self.is_ready_for(candles):
            return 0
        covered = self.covered
        # The newest page has a candle in progress, which is not counted.
        lacking = candles - covered if covered else candles + 1
        return max(1, -(-lacking // self._parts.page))

    async def run(self) -> None:
        """Fetch and keep until cancelled."""
        with self.scope:
            await self._fetch_all()
            while not await self._is_calm():
                await self._fetch_all()
            with self._parts.hold(self.series):
                while True:
                    await self._stay()
                    await self._fetch_all()

    async def _is_calm(self) -> bool:
        """Return True when streams may be asked for; False as soon as more is wanted."""
        with trio.move_on_after(_CALM_S):
            while self._parts.turns.borrowed_tokens and not self._grown.is_set():
                with trio.move_on_after(_CALM_LOOK_S):
                    await self._grown.wait()
        return not self._grown.is_set()

    # -------------------------------------------------------------- fetching

    async def _fetch_all(self) -> None:
        """Return when everything that is wanted, or that exists, is at hand."""
        tries = 0
        while True:
            try:
                # In line it waits for others, which is no part of its own time.
                async with self._parts.turns:
                    await self._fetch_steps()
            except (MarketDataError, ActorError) as error:
                await self._fail(error, tries)
                tries += 1
            else:
                break
        self._note("ready")

    async def _fetch_steps(self) -> None:
        """Fetch for the least need first, until all have what they want, or what exists."""
        while True:
            self._grown = trio.Event()
            if self.state != "ready":
                self._note("fetching", self.problem)
            for size in [size for size in self._sizes if size > self._has] or [self.wanted]:
                if not await self._fetch(size):
                    break
            if not self._grown.is_set() or not self.whole:
                return

    async def _fetch(self, size: int) -> bool:
        """Fetch so many; return whether to go on, with more."""
        pages = -(-size // self._parts.page)
        market, timeframe = candles_key(self.series)
        ask = GetCandles(market=market, timeframe=timeframe, count=size, closed=True)
        self._step, self._step_size = trio.CancelScope(), size
        try:
            with self._step:
                answer: Candles = await self._parts.cache.call(
                    LoadCandles(candles=ask, priority=Priority.DECLARED),
                    timeout_s=max(_FETCH_S, pages * _PAGE_S),
                )
        finally:
            self._step_size = 0
        if self._step.cancelled_caught:
            return False
        self.refusal, self.problem = None, ""
        self._has, self.whole = len(answer), len(answer) >= size
        self._reached.note(size if self.whole else ALL, self._parts.clock.now_s())
        self._parts.changed(self.series)
        return self.whole

    async def _fail(self, error: MarketDataError | ActorError, tries: int) -> None:
        """Say so, and return when it may be tried again: in some time, or when more is wanted."""
        was_refused = self.refusal is not None
        self.refusal = error if isinstance(error, InvalidRequest) else None
        self._note("failing", str(error))
        most_s = _RETRY_AWAY_S_MAX if isinstance(error, ExchangeUnavailable) else _RETRY_S_MAX
        wait_s = min(_RETRY_S * 2.0 ** min(tries, 10), most_s)
        if self.refusal is not None:
            # It may be listed one day.
            wait_s = _HOPELESS_S
            if not was_refused:
                _log.warning("a need of %s cannot be fetched: %s", self.series, error)
        with trio.move_on_after(wait_s * self._parts.rng.uniform(0.8, 1.2)):
            await self._grown.wait()

    def _note(self, state: NeedState, problem: str = "") -> None:
        if state != self.state:
            self.since_s = self._parts.clock.now_s()
        self.state, self.problem = state, problem
        if state in ("ready", "failing"):
            self._parts.changed(self.series)

    # -------------------------------------------------------------- staying ready

    async def _stay(self) -> None:
        """Return when something has to be fetched again."""
        while not self._grown.is_set():
            with trio.move_on_after(self._wait_s()):
                await self._grown.wait()
            if self._grown.is_set() or self._is_lacking():
                return

    def _wait_s(self) -> float:
        """Return how long nothing can have changed that matters, in seconds."""
        timeframe, now_ms = self.series.timeframe, self._parts.exchange_clock.utc_ms()
        ends_ms = timeframe.shift_ms(timeframe.floor_ms(now_ms), 1)
        # From then on a page proves the candle final.
        final_s = (ends_ms - now_ms) / 1000.0 + self._parts.settle_s
        wait_s = final_s + self._parts.rng.uniform(0.0, _SPREAD_S)
        return min(max(wait_s, _LOOK_S_MIN), _LOOK_S)

    def _is_lacking(self) -> bool:
        """Return whether a page, or the store, has to be asked for what is wanted."""
        known = self._known()
        if known is None:
            return True
        held = min(self.wanted, self._has, self._parts.rows(self.series))
        if known.from_ms > BEGINNING_MS and known.closed_rows < held:
            return True
        if known.live and self._parts.heard_s(self.series) is not None:
            return False
        return self._is_behind(known) and self._is_used()

    def _is_behind(self, known: Known) -> bool:
        """Return whether so many candles have ended since that a page should be fetched."""
        timeframe, now_ms = self.series.timeframe, self._parts.exchange_clock.utc_ms()
        settled_ms = timeframe.floor_ms(now_ms - round(self._parts.settle_s * 1000))
        if timeframe.span_ms >= _LONG_MS:
            return known.proven_ms < settled_ms
        lacking = timeframe.periods_between(known.proven_ms, max(settled_ms, known.proven_ms))
        return lacking >= self._parts.page // 2

    def _is_used(self) -> bool:
        """Return whether it pays to refresh it: who does not ask has no use for the newest."""
        idle_s = self._parts.clock.now_s() - max(self._parts.used_s(self.series), self.began_s)
        return idle_s <= max(_USED_S, _USED_CANDLES * self.series.timeframe.span_ms / 1000)

    def _known(self) -> Known | None:
        return self._parts.tables.candles.get(candles_key(self.series))
