"""`SeriesLoader`: everything that has to be fetched for one series, fetched once, for all who wait.

Owned by the CacheActor, one for each series in use. While somebody waits, one task runs: it answers
who can be answered, works out the newest page that anybody lacks, fetches it, keeps what it proves,
and looks again. Asking from the newest end down covers any union of windows in the fewest pages.
The load belongs to no caller: one who gives up cancels nothing for the others. And who needs no
page waits for none: an exchange that hangs keeps nobody from what is stored.
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Sequence

import trio

from actors.candles import Candles, Missing
from actors.coverage import BEGINNING_MS, Coverage, Span
from actors.errors import (
    ExchangeError,
    InvalidRequest,
    MalformedPayload,
    MarketDataError,
    Overloaded,
)
from actors.exchanges.base import CandlePage, ExchangeCall
from actors.history import SeriesHistory, StoreLeft
from actors.holes import InnerReply
from actors.known import FOREVER_MS, Known, asked_part
from actors.lessons import read_page
from actors.loader_parts import LoaderParts, PageWanted, Waiter
from actors.messages import Priority
from actors.queries import CandleQuery, check_periods
from actors.quotes import Source
from actors.series import Series
from actors.timeframes import format_time_ms
from runtime.core.errors import ActorError
from runtime.core.mailbox import Reply

_log = logging.getLogger("marketd.cache")

# A page that proves nothing new is asked for again this often, a little later each time.
_FRUITLESS_MAX = 4
_FRUITLESS_WAIT_S = 0.25
# What a bot calls now may be the future by the exchange's clock, by no more than this.
_SKEW_MS = 5_000


class SeriesLoader:
    """Loads one series. Not an actor: it lives inside the CacheActor's task group.

    Args:
      series: Which.
      parts: What it shares with the other loaders.
      known: What memory holds of it, if anything.
    """

    def __init__(self, series: Series, parts: LoaderParts, *, known: Known | None) -> None:
        self.series = series
        self._parts = parts
        self._policy = parts.policy
        self._timeframe = series.timeframe
        self._history = SeriesHistory(
            series,
            parts.store,
            known=known,
            rows_max=lambda: parts.rows_max(series),
            publish=parts.publish,
        )
        self._waiters: list[Waiter] = []
        self._joined = trio.Event()
        self._fruitless, self._until_s = 0, math.inf
        self._wanted = PageWanted(None)
        # When the newest page was sent for, on `Clock.now_s`.
        self._paged_s = -math.inf
        self.running = False

    @property
    def is_blank(self) -> bool:
        """Return whether nothing at all is known of the series."""
        return self._history.is_blank

    @property
    def history(self) -> SeriesHistory:
        """Return what is final of the series."""
        return self._history

    def add(
        self,
        query: CandleQuery,
        reply: Reply | InnerReply,
        *,
        priority: Priority = Priority.ASKED,
    ) -> None:
        """Let `reply` be answered by this load."""
        self._waiters.append(Waiter(query, reply, self._parts.clock.now_s(), priority))
        self._joined.set()

    async def run(self) -> None:
        """Load until nobody waits any more."""
        await self._history.recall()
        if await self._answer_all() is not None:
            # A page is dear; what others want in the same moment may share it.
            await trio.sleep(self._policy.gather_s)
        while (wanted := await self._answer_all()) is not None:
            error = await self._fetch_while_serving(wanted)
            if error is not None:
                await self._fail_all(error)
        # No await between the last look for waiters and this: nobody can be overlooked.
        self._history.rest()
        self._fruitless = 0
        self.running = False

    async def _fetch_while_serving(self, wanted: PageWanted) -> MarketDataError | ActorError | None:
        """Fetch one page, answering meanwhile who joins and needs none; return what went wrong."""
        failure: MarketDataError | ActorError | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._serve_newcomers)
            try:
                await self._fetch(wanted)
            except (MarketDataError, ActorError) as error:
                failure = error
            nursery.cancel_scope.cancel()
        return failure

    async def _serve_newcomers(self) -> None:
        while True:
            await self._joined.wait()
            self._joined = trio.Event()
            for waiter in [waiter for waiter in self._waiters if not waiter.lacks_page]:
                step = await self._try(waiter)
                if step is not None:
                    self._wanted = max(self._wanted, step, key=_newness)

    # -------------------------------------------------------------- answering

    async def _answer_all(self) -> PageWanted | None:
        """Answer whom memory and store can answer; return the newest page that others lack."""
        while self._waiters:
            steps = [await self._try(waiter) for waiter in list(self._waiters)]
            wanted = [step for step in steps if step is not None]
            if wanted:
                return max(wanted, key=_newness)
        return None

    async def _try(self, waiter: Waiter) -> PageWanted | None:
        if waiter.reply.abandoned:
            self._waiters.remove(waiter)
            return None
        try:
            step = await self._step(waiter)
        except StoreLeft:
            return await self._try(waiter)
        except MarketDataError as error:
            self._finish(waiter, error)
            return None
        if isinstance(step, PageWanted):
            waiter.lacks_page = True
            return step
        self._finish(waiter, step)
        return None

    def _finish(self, waiter: Waiter, answer: Candles | Exception) -> None:
        self._waiters.remove(waiter)
        if isinstance(answer, Candles):
            self._parts.count(answer.source)
            waiter.reply.send(answer)
        else:
            self._parts.count("failure")
            # A copy each: a raised exception collects the traceback of whoever raised it.
            waiter.reply.fail(copy.copy(answer))

    async def _step(self, waiter: Waiter) -> Candles | PageWanted:
        """Return the answer for one waiter, or the page that it lacks first."""
        query, known = waiter.query, self._history.known
        end_ms, coverage = query.end_ms, self._history.coverage()
        tail = Candles.empty(self.series)
        unsettled: tuple[Missing, ...] = ()
        if end_ms is None or self._is_unsettled(end_ms, coverage):
            if known is None or not self._is_fresh(waiter, known):
                return PageWanted(None)
            self._check_times(query, known)
            start_ms = query.start_ms
            unsettled = known.unsettled(closed=query.closed, start_ms=start_ms, end_ms=end_ms)
            if not query.closed:
                tail = known.tail
            limit_ms = FOREVER_MS if end_ms is None else end_ms
            tail = tail.between(start_ms or BEGINNING_MS, limit_ms)
            top_ms = min(known.proven_ms, limit_ms)
        else:
            top_ms = end_ms
        older = await self._older(waiter, coverage, top_ms, len(tail))
        if isinstance(older, PageWanted):
            return older
        rows, missing = older
        answer = rows.merge(tail)
        if query.count is not None:
            answer = answer.last(query.count)
        missing = asked_part((*missing, *unsettled), answer, query.count)
        as_of_ms = known.as_of_ms if known is not None else 0
        return answer.answer(
            source=waiter.source,
            as_of_ms=as_of_ms,
            missing=missing,
            reason=_REASONS[waiter.source],
        )

    async def _older(
        self, waiter: Waiter, coverage: Coverage, top_ms: int, tail_rows: int
    ) -> tuple[Candles, tuple[Missing, ...]] | PageWanted:
        """Return the final rows before `top_ms` that are wanted, or the page that is lacking."""
        query, oldest_ms = waiter.query, self._oldest_ms()
        if query.count is None:
            start_ms = min(query.start_ms or BEGINNING_MS, top_ms)
            gaps = coverage.gaps(Span(start_ms, top_ms))
            if gaps and gaps[-1].end_ms > oldest_ms:
                return PageWanted(gaps[-1].end_ms)
            return await self._read(waiter, Span(start_ms, top_ms), None), self._too_old(gaps)
        count = max(0, query.count - tail_rows)
        back_ms = coverage.reach_back_ms(top_ms)
        ends_here = back_ms <= oldest_ms
        rows = Candles.empty(self.series)
        if ends_here or self._timeframe.periods_between(back_ms, top_ms) >= count:
            rows = await self._read(waiter, Span(back_ms, top_ms), count)
        if len(rows) == count or back_ms == BEGINNING_MS:
            return rows, ()
        if ends_here:
            return rows, self._too_old((Span(BEGINNING_MS, back_ms),))
        return PageWanted(back_ms)

    def _is_unsettled(self, end_ms: int, coverage: Coverage) -> bool:
        """Return whether a window up to `end_ms` reaches into what cannot be final yet."""
        now_ms = self._parts.exchange_clock.utc_ms()
        if end_ms > self._timeframe.shift_ms(self._timeframe.floor_ms(now_ms), 1):
            # The future, though it may be proven: then the exchange's clock was set back.
            return True
        settled_ms = self._timeframe.floor_ms(now_ms - round(self._policy.settle_s * 1000))
        return end_ms > settled_ms and coverage.reach_back_ms(end_ms) == end_ms

    def _is_fresh(self, waiter: Waiter, known: Known) -> bool:
        # Measured from when the caller asked: what was fetched while it waited is fresh for it.
        if not waiter.query.max_age_s:
            # Who wants the exchange to be asked is not served by a stream, however young it is.
            return self._paged_s >= waiter.asked_s
        now_ms, timeframe = self._parts.exchange_clock.utc_ms(), self._timeframe
        if waiter.query.closed and known.live:
            # A stream is always young, but may be unable to prove what a page could.
            settled_ms = timeframe.floor_ms(now_ms - round(self._policy.settle_s * 1000))
            if known.proven_ms < min(settled_ms, waiter.query.end_ms or FOREVER_MS):
                return False
        return known.is_fresh(waiter.query, now_s=waiter.asked_s, now_ms=now_ms)

    def _check_times(self, query: CandleQuery, known: Known) -> None:
        """Refuse what only the exchange's clock can tell: the future, and too long a time to it."""
        latest_ms = self._timeframe.floor_ms(known.observed_ms + _SKEW_MS)
        latest_ms = self._timeframe.shift_ms(latest_ms, 1)
        for name, time_ms in (("start", query.start_ms), ("end", query.end_ms)):
            if time_ms is not None and time_ms > latest_ms and known.observed_ms:
                raise InvalidRequest(
                    f"{name} must not lie in the future: the clock of "
                    f"{self.series.market.exchange} says {format_time_ms(known.observed_ms)}, "
                    f"{name} was {format_time_ms(time_ms)}"
                )
        if query.start_ms is not None and query.end_ms is None:
            check_periods(self.series, query.start_ms, known.limit_ms)

    def _oldest_ms(self) -> int:
        history_ms = self._parts.adapter.rules.history_ms.get(self._timeframe)
        if history_ms is None:
            return BEGINNING_MS
        return max(BEGINNING_MS, self._parts.exchange_clock.utc_ms() - history_ms)

    def _too_old(self, gaps: Sequence[Span]) -> tuple[Missing, ...]:
        reason = f"{self.series.market.exchange} no longer has {self._timeframe.value} so far back"
        return tuple(Missing(gap.start_ms, gap.end_ms, reason) for gap in gaps)

    async def _read(self, waiter: Waiter, span: Span, count: int | None) -> Candles:
        rows, from_memory = await self._history.read(span, count)
        if not from_memory and waiter.source == "memory":
            waiter.source = "store"
        return rows

    # -------------------------------------------------------------- the exchange

    async def _fetch(self, wanted: PageWanted) -> None:
        """Fetch one page and keep what it proves.

        Raises:
          MarketDataError: The exchange did not answer, or answers that prove nothing.
        """
        self._wanted = wanted
        timeout_s, self._until_s = self._parts.patience_s(self._waiters)
        fetched = await self._parts.gate.fetch(
            self._call(),
            latest=self._call,
            priority=min((each.priority for each in self._waiters), default=Priority.ASKED),
            timeout_s=timeout_s,
        )
        page = fetched.value
        if page.to_ms is None:
            self._paged_s = fetched.sent_s
        self._parts.count("page")
        self._refuse_foresight(page)
        before, held = self._history.coverage(), self._history.known
        lesson = read_page(
            page,
            settle_ms=round(self._policy.settle_s * 1000),
            oldest_ms=self._oldest_ms(),
            older=before,
            known=held,
        )
        self._history.learn(page, lesson, asked_s=fetched.sent_s)
        self._parts.learnt(self.series, lesson, held)
        await self._history.save(lesson)
        if page.to_ms is not None and self._history.coverage() == before:
            await self._nothing_learnt(page.to_ms)
        else:
            self._fruitless = 0

    def _call(self) -> ExchangeCall[CandlePage]:
        """Return the question for the newest page that anybody who waits by now lacks."""
        for waiter in self._waiters:
            waiter.source = "exchange"
        return self._parts.adapter.candles(self.series, to_ms=self._wanted.to_ms)

    def _refuse_foresight(self, page: CandlePage) -> None:
        """Raise `MalformedPayload` if a page has candles that open in the exchange's own future."""
        times = page.candles.open_time_ms
        if not len(times) or not self._parts.exchange_clock.observed:
            return
        if times[-1] > page.observed_ms + _SKEW_MS:
            raise MalformedPayload(
                f"{self.series.market.exchange} says it is {format_time_ms(page.observed_ms)}, and "
                f"sent a candle of {self.series} that opens {format_time_ms(int(times[-1]))}"
            )

    async def _nothing_learnt(self, to_ms: int) -> None:
        self._fruitless += 1
        if self._fruitless >= _FRUITLESS_MAX:
            self._fruitless = 0
            raise MalformedPayload(
                f"{self.series.market.exchange} answers, but its pages of {self.series} before "
                f"{format_time_ms(to_ms)} prove nothing"
            )
        await trio.sleep(_FRUITLESS_WAIT_S)

    async def _fail_all(self, error: MarketDataError | ActorError) -> None:
        """Give all whom it concerns the error, or what there is if that will do for them."""
        for waiter in [each for each in self._waiters if each.reply.deadline_s <= self._until_s]:
            if await self._try(waiter) is None:
                continue
            answer: Candles | Exception = error
            if waiter.query.allow_stale and isinstance(error, ExchangeError | Overloaded):
                try:
                    answer = await self._what_there_is(waiter, str(error))
                except StoreLeft:
                    answer = error
                except InvalidRequest as refusal:
                    answer = refusal
            self._finish(waiter, answer)

    async def _what_there_is(self, waiter: Waiter, reason: str) -> Candles:
        query, known, timeframe = waiter.query, self._history.known, self._timeframe
        waiter.source = "memory"
        top_ms, start_ms = query.end_ms, query.start_ms or BEGINNING_MS
        if top_ms is None:
            # What is in progress, or was when it was last seen, cannot be known either.
            top_ms = timeframe.floor_ms(self._parts.exchange_clock.utc_ms())
            top_ms = top_ms if query.closed else timeframe.shift_ms(top_ms, 1)
            top_ms = max(top_ms, start_ms, known.proven_ms if known is not None else 0)
            if query.count is None:
                check_periods(self.series, start_ms, top_ms)
        rows = await self._read(waiter, Span(min(start_ms, top_ms), top_ms), query.count)
        if known is not None and not query.closed:
            tail = known.tail
            rows = rows.merge(tail.between(start_ms, top_ms))
        if query.count is not None:
            rows = rows.last(query.count)
        gaps = self._history.coverage().gaps(Span(min(start_ms, top_ms), top_ms))
        missing = tuple(Missing(gap.start_ms, gap.end_ms, reason) for gap in gaps)
        return rows.answer(
            source=waiter.source,
            as_of_ms=known.as_of_ms if known is not None else 0,
            missing=asked_part(missing, rows, query.count),
            reason="the exchange does not answer, and what there is was to do",
        )


_REASONS: dict[Source, str] = {
    "live": "the stream keeps it up to date",
    "memory": "memory has it by now, because somebody else asked",
    "store": "memory does not reach so far back, but the database does",
    "exchange": "neither memory nor the database had all of it fresh enough",
}


def _newness(page: PageWanted) -> int:
    return FOREVER_MS if page.to_ms is None else page.to_ms
