"""`Ahead`: fetches what habits expect, shortly before it is asked for. Inside the PreloaderActor.

What bots ask goes into the model of their habits; what that expects waits here until a page would
just be in time. Then it is fetched if that is worth it: if the request still stands, memory does
not have it anyway, the exchange's limit has room beyond what may be asked unexpectedly, and the
time saved, by its probability, outweighs the price. Pages that nobody asked for raise that price.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec
import trio

from actors.cache_tables import CacheTables
from actors.errors import MarketDataError
from actors.exchanges.base import RateLimit
from actors.exchanges.clock import ExchangeClock
from actors.headroom import Headroom
from actors.keeper import BlobKeeper
from actors.messages import GetCandles, Priority
from actors.preload_messages import LoadCandles
from actors.preload_reports import FetchReport, PredictionReport, PreloadReport
from actors.preloading.habit_values import PAGE_MS, Prediction, SeriesKey
from actors.preloading.habits import Habits
from actors.preloading.policy import PreloadPolicy
from actors.preloading.uses import Use
from actors.preloading.worth import Price, worth
from actors.series import Series
from runtime.core.clock import Clock
from runtime.core.errors import ActorError
from runtime.core.ref import ActorRef

_log = logging.getLogger("marketd.preloader")

# Expected requests that wait for their time; beyond it the latest are forgotten.
EXPECTED_MAX = 10_000
# Told in a report.
_TOLD_MAX = 20
# How the time of a page is averaged, and what it is taken for at first, in seconds.
_LATEST, _PAGE_S = 0.2, 0.1
_WINDOW_S = 1.0
# A page may take so many times as long as they do on average.
_SLOWER = 1.5
# Steps of the model at a time; others have their turn in between.
_STEPS_MAX = 20
# A page that is late is looked for again after so long.
_LATE_MS = 1_000


@dataclass(frozen=True, slots=True)
class AheadParts:
    """What fetching ahead needs of its exchange.

    Attributes:
      cache: The CacheActor.
      tables: What it publishes.
      clock: Our clock.
      exchange_clock: What is known of the exchange's.
      nursery: Where fetches run.
      policy: How it is done.
      heard_s: Returns when the stream of a series was last heard; None if it has none.
      spare: Returns what part of the limit for candles is unused, 0 to 1.
    """

    cache: ActorRef
    tables: CacheTables
    clock: Clock
    exchange_clock: ExchangeClock
    nursery: trio.Nursery
    policy: PreloadPolicy
    heard_s: Callable[[Series], float | None]
    spare: Callable[[], float]


@dataclass(slots=True, eq=False)
class _Fetch:
    """A page that is, or was, fetched ahead; or one that was expected, and not fetched."""

    prediction: Prediction
    since_s: float
    acted: bool
    flying: bool
    used: bool = False


class Ahead:
    """Acts on what habits expect.

    Args:
      habits: What is learnt.
      parts: What it needs.

    Attributes:
      page_s: How long a page takes lately, in seconds.
    """

    def __init__(self, habits: Habits, parts: AheadParts) -> None:
        self.page_s = _PAGE_S
        self._habits = habits
        self._parts = parts
        self._price = Price()
        self._numbers = itertools.count()
        # By the moment at which it has to be decided.
        self._expected: list[tuple[int, int, Prediction]] = []
        # By the series; each until nobody can use it any more, and by when that is.
        self._fetches: dict[SeriesKey, list[_Fetch]] = {}
        self._ends: list[tuple[int, int, _Fetch]] = []
        self._in_flight = 0
        limit = RateLimit(parts.policy.requests, _WINDOW_S)
        self._unexpected = Headroom(limit, _WINDOW_S)
        self._changed = trio.Event()
        self._counts = dict.fromkeys(("made", "acted", "used", "wasted", "asked", "ready"), 0)
        self._model_bytes = 0

    # -------------------------------------------------------------- learning

    def note(self, use: Use) -> None:
        """Learn from a request, and expect what it leads to."""
        if not use.max_age_s:
            # Who wants the exchange to be asked cannot be helped by having asked it.
            return
        at_ms = self._exchange_ms(use.at_s)
        self._judge(use, at_ms)
        self._expect(
            self._habits.note(
                use.key, at_ms, depth=use.depth, closed=use.closed, max_age_s=use.max_age_s
            )
        )

    def _judge(self, use: Use, at_ms: int) -> None:
        """Find out whether it had been fetched in time."""
        self._counts["asked"] += 1
        for fetch in self._fetches.get(use.key, ()):
            if not fetch.used and at_ms <= fetch.prediction.until_ms:
                fetch.used = True
                if fetch.acted:
                    self._counts["used"] += 1
                    self._price.used()
                    self._counts["ready"] += use.hit
                return
        if not use.hit:
            self._unexpected.note(1, use.at_s)

    def _expect(self, predictions: tuple[Prediction, ...]) -> None:
        for prediction in predictions:
            self._counts["made"] += 1
            # Sooner where pages are slow, but not so soon that the page would not serve.
            lead_ms = max(PAGE_MS, round(_SLOWER * 1000 * self.page_s))
            act_ms = max(prediction.due_ms - lead_ms, min(prediction.from_ms, prediction.due_ms))
            heapq.heappush(self._expected, (act_ms, next(self._numbers), prediction))
        if len(self._expected) > EXPECTED_MAX:
            self._expected = heapq.nsmallest(EXPECTED_MAX // 2, self._expected)
        self._changed.set()

    def encode(self) -> bytes:
        """Return what is learnt, to be kept."""
        data = self._habits.encode()
        self._model_bytes = len(data)
        return data

    # -------------------------------------------------------------- acting

    async def run(self) -> None:
        """Act on what is expected, when its time comes."""
        # What was kept may still be to come; and nobody was there to ask while we were not.
        self._habits.resume(self._now_ms())
        self._expect(tuple(self._habits.standing()))
        while True:
            self._changed = trio.Event()
            now_ms = self._now_ms()
            self._expect_due(now_ms)
            self._settle(now_ms)
            while self._expected and self._expected[0][0] <= now_ms:
                self._consider(heapq.heappop(self._expected)[2], now_ms)
            with trio.move_on_after(self._wait_s(now_ms)):
                await self._changed.wait()

    def _expect_due(self, now_ms: int) -> None:
        for _ in range(_STEPS_MAX):
            wake_ms = self._habits.wake_ms
            if wake_ms is None or wake_ms > now_ms:
                break
            self._expect(self._habits.expire(now_ms))

    def _wait_s(self, now_ms: int) -> float:
        moments = [queue[0][0] for queue in (self._expected, self._ends) if queue]
        wake_ms = self._habits.wake_ms
        next_ms = min(*moments, math.inf if wake_ms is None else wake_ms, math.inf)
        # Looked at now and then in any case: the exchange's clock is an estimate, and may jump.
        return min(max((next_ms - now_ms) / 1000, 0.001), 60.0)

    def _settle(self, now_ms: int) -> None:
        """Count the pages that nobody can use any more."""
        while self._ends and self._ends[0][0] <= now_ms:
            fetch = heapq.heappop(self._ends)[2]
            if fetch.flying:
                # It is looked at again when it has landed.
                self._end_at(fetch, now_ms + _LATE_MS)
                continue
            self._forget(fetch)
            if fetch.acted and not fetch.used:
                self._counts["wasted"] += 1
                self._price.wasted()

    def _end_at(self, fetch: _Fetch, at_ms: int) -> None:
        heapq.heappush(self._ends, (at_ms, next(self._numbers), fetch))

    def _forget(self, fetch: _Fetch) -> None:
        fetches = self._fetches[fetch.prediction.key]
        fetches.remove(fetch)
        if not fetches:
            del self._fetches[fetch.prediction.key]

    def _consider(self, prediction: Prediction, now_ms: int) -> None:
        """Fetch what is expected if that is worth it."""
        if prediction.until_ms <= now_ms or self._is_there(prediction):
            return
        if not self._habits.stands(prediction):
            return
        acts = self._is_worth(prediction) and self._has_room()
        # One that is not fetched is remembered, too: when it comes, it is not unexpected.
        fetch = _Fetch(prediction, self._parts.clock.now_s(), acts, acts)
        self._fetches.setdefault(prediction.key, []).append(fetch)
        self._end_at(fetch, prediction.until_ms + 1)
        if acts:
            self._counts["acted"] += 1
            self._in_flight += 1
            self._parts.nursery.start_soon(self._fetch, fetch)

    def _is_worth(self, prediction: Prediction) -> bool:
        return worth(
            prediction.probability,
            saved_s=self.page_s,
            spare=self._parts.spare(),
            price=self._price,
        )

    def _has_room(self) -> bool:
        """Return whether a slot is left beyond those that may be asked for unexpectedly."""
        policy, now_s = self._parts.policy, self._parts.clock.now_s()
        free = self._parts.spare() * policy.requests
        return free - self._in_flight >= 1 + self._unexpected.kept(1, now_s, share=0.0)

    def _is_there(self, prediction: Prediction) -> bool:
        """Return whether memory will have it without being fetched."""
        key = prediction.key
        fetches = self._fetches.get(key, ())
        if any(each.acted and each.prediction.until_ms >= prediction.due_ms for each in fetches):
            return True
        known = self._parts.tables.candles.get(key)
        if known is None:
            return False
        if known.live and self._parts.heard_s(known.series) is not None:
            return True
        if math.isinf(known.asked_s):
            return False
        return self._exchange_ms(known.asked_s) >= prediction.from_ms

    async def _fetch(self, fetch: _Fetch) -> None:
        prediction, clock = fetch.prediction, self._parts.clock
        market, timeframe = prediction.key
        ask = GetCandles(
            market=market,
            timeframe=timeframe,
            count=prediction.depth,
            closed=prediction.closed,
            max_age_s=0.0,
        )
        began_s = clock.now_s()
        # Whoever waits longer than it can be of use takes a slot for nothing.
        left_s = max(0.5, (prediction.until_ms - self._now_ms()) / 1000)
        try:
            await self._parts.cache.call(
                LoadCandles(candles=ask, priority=Priority.PREDICTED), timeout_s=min(left_s, 30.0)
            )
        except (MarketDataError, ActorError) as error:
            _log.debug("%s %s: nothing fetched ahead: %s", market, timeframe, error)
            # The exchange's trouble is no fault of the prediction.
            fetch.acted = False
        else:
            self.page_s += _LATEST * (clock.now_s() - began_s - self.page_s)
        fetch.flying = False
        self._in_flight -= 1
        self._changed.set()

    # -------------------------------------------------------------- figures

    def report(self, report: PreloadReport) -> PreloadReport:
        """Return `report` with what is known here."""
        counts = self._counts
        return msgspec.structs.replace(
            report,
            fetching=(*report.fetching, *self._flying()),
            expected=self.expected(),
            series=len(self._habits),
            model_bytes=self._model_bytes,
            predictions=counts["made"],
            acted=counts["acted"],
            used=counts["used"],
            wasted=counts["wasted"],
            asked=counts["asked"],
            ready_when_asked=counts["ready"],
            page_s=self.page_s,
            bar=self._price.bar,
        )

    def expected(self, *, market: str = "", timeframe: str = "") -> tuple[PredictionReport, ...]:
        """Return the requests that are expected next, soonest first.

        Args:
          market: Only of this market; of all if empty.
          timeframe: Only of this timeframe; of all if empty.
        """
        now_ms = self._now_ms()
        found = [
            each
            for _, _, each in sorted(self._expected)
            if self._habits.stands(each)
            and market in ("", each.key[0])
            and timeframe in ("", each.key[1])
        ]
        return tuple(
            PredictionReport(
                market=each.key[0],
                timeframe=each.key[1],
                due_in_s=(each.due_ms - now_ms) / 1000,
                probability=each.probability,
                because=each.why,
                worth=self._is_worth(each),
            )
            for each in found[:_TOLD_MAX]
        )

    def _flying(self) -> Iterator[FetchReport]:
        now_s = self._parts.clock.now_s()
        for fetch in [each for fetches in self._fetches.values() for each in fetches]:
            if fetch.flying:
                yield FetchReport(
                    market=fetch.prediction.key[0],
                    timeframe=fetch.prediction.key[1],
                    candles=fetch.prediction.depth,
                    priority="predicted",
                    whom=fetch.prediction.why,
                    since_s=now_s - fetch.since_s,
                )

    def _now_ms(self) -> int:
        return self._parts.exchange_clock.utc_ms()

    def _exchange_ms(self, at_s: float) -> int:
        return self._now_ms() - round((self._parts.clock.now_s() - at_s) * 1000)


def open_habits(keeper: BlobKeeper | None, exchange: str) -> Habits:
    """Return the habits that were kept, or none: what cannot be read is dropped with a warning."""
    data = None if keeper is None else keeper.load()
    if data is None:
        return Habits()
    try:
        return Habits.decode(data)
    except ValueError as error:
        _log.warning("%s: learnt habits are dropped, and learnt anew: %s", exchange, error)
        return Habits()
