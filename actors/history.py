"""`SeriesHistory`: what is final of one series, wherever it is kept.

Three places, and one picture of them: memory has the newest rows, the store has the rest, and
pages that the store cannot be trusted with stay here until the load that fetched them ends.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from actors.candles import Candles
from actors.coverage import Coverage, Span
from actors.errors import MarketDataError, StoreUnavailable
from actors.exchanges.base import CandlePage
from actors.known import Known, from_store, learn, with_older
from actors.lessons import Lesson
from actors.messages import ReadCoverage, ReadStored, StoredCandles, StoreWrite, WriteStored
from actors.series import Series
from runtime.core.errors import ActorError
from runtime.core.ref import ActorRef

_log = logging.getLogger("marketd.cache")

_STORE_TIMEOUT_S = 10.0


class StoreLeft(Exception):
    """The store failed in the middle; what it was known to hold has been forgotten."""


class SeriesHistory:
    """The final candles of one series, for one loader.

    Without the store everything goes on; only slower, because the exchange has to be asked again.

    Args:
      series: Which.
      store: Where final candles are kept.
      known: What memory holds of it, if anything.
      rows_max: Returns how many closed candles memory keeps.
      publish: Takes what memory now holds.

    Attributes:
      known: What memory holds of it now.
    """

    def __init__(
        self,
        series: Series,
        store: ActorRef,
        *,
        known: Known | None,
        rows_max: Callable[[], int],
        publish: Callable[[Known], None],
    ) -> None:
        self.series = series
        self.known = known
        self._store = store
        self._rows_max = rows_max
        self._publish = publish
        self._stored: Coverage | None = None
        # Bounded by what is asked, because it ends with the load.
        self._unsaved: list[StoreWrite] = []
        self._store_failed = False

    @property
    def is_blank(self) -> bool:
        """Return whether nothing at all is known of the series."""
        return self.known is None and not self._stored

    def coverage(self) -> Coverage:
        """Return all that is proven."""
        spans = [*(self._stored or ()), *(write.proven for write in self._unsaved)]
        if self.known is not None:
            spans.append(self.known.span)
        return Coverage.of(spans)

    async def recall(self) -> None:
        """Find out what the store holds, if that is not known; fill memory if that is empty."""
        if self._stored is not None:
            return
        self._stored = Coverage()
        try:
            stored = await self._store.call(
                ReadCoverage(series=self.series), timeout_s=_STORE_TIMEOUT_S
            )
            if stored and self.known is None:
                await self._fill_memory(stored.spans[-1])
        except (MarketDataError, ActorError) as error:
            self._leave_store(error)
        else:
            self._stored = stored

    def rest(self) -> None:
        """Let go of what only a load under way needs."""
        self._unsaved.clear()
        if self._store_failed:
            # Next time it may be back.
            self._stored, self._store_failed = None, False

    async def read(self, span: Span, count: int | None) -> tuple[Candles, bool]:
        """Return final rows in `span`, the newest `count` of them, and whether memory had them.

        Raises:
          StoreLeft: The store failed, and coverage is less than it was.
        """
        known = self.known
        rows = Candles.empty(self.series)
        if count == 0 or not span:
            return rows, True
        if known is not None:
            rows = known.closed.between(span.start_ms, span.end_ms)
            inside = known.from_ms <= span.start_ms and span.end_ms <= known.proven_ms
            enough = count is not None and len(rows) >= count and span.end_ms <= known.proven_ms
            if inside or enough:
                return rows if count is None else rows.last(count), True
        for write in self._unsaved:
            rows = rows.merge(write.candles.between(span.start_ms, span.end_ms))
        held = (self._stored or Coverage()).clip(span)
        if held:
            try:
                rows = (await self._read_store(span, count, held)).merge(rows)
            except (MarketDataError, ActorError) as error:
                self._leave_store(error)
                raise StoreLeft from error
        if count is not None:
            rows = rows.last(count)
        if held:
            self._remember(rows, span, count)
        return rows, not held

    def learn(self, page: CandlePage, lesson: Lesson, *, asked_s: float) -> None:
        """Put into memory what a page taught."""
        self.known = learn(self.known, page, lesson, asked_s=asked_s, rows_max=self._rows_max())
        self._publish(self.known)

    async def save(self, lesson: Lesson) -> None:
        """Give the store what it does not have yet; keep it here if it cannot be relied on."""
        # Who looks every second at the newest candle proves the same 200 rows again and again.
        gaps = (self._stored or Coverage()).gaps(lesson.proven)
        if not gaps:
            return
        span = Span(gaps[0].start_ms, gaps[-1].end_ms)
        write = StoreWrite(lesson.closed.between(span.start_ms, span.end_ms), span)
        saved = True
        try:
            await self._store.call(WriteStored(write=write), timeout_s=_STORE_TIMEOUT_S)
        except (MarketDataError, ActorError) as error:
            # The store says so once, and when it is over; here it would be a line a page.
            _log.debug("%s: a page could not be stored: %s", self.series, error)
            saved = False
        if saved and not self._store_failed:
            self._stored = (self._stored or Coverage()).add(span)
        else:
            # What it has just failed to give back it may take, again and again, without end.
            self._unsaved.append(write)

    async def save_live(self, write: StoreWrite) -> bool:
        """Give the store what a stream has proven; return whether it took it."""
        try:
            await self._store.call(WriteStored(write=write), timeout_s=_STORE_TIMEOUT_S)
        except (MarketDataError, ActorError) as error:
            _log.debug("%s: live candles could not be stored: %s", self.series, error)
            return False
        if self._stored is not None and not self._store_failed:
            self._stored = self._stored.add(write.proven)
        return True

    def _remember(self, rows: Candles, span: Span, count: int | None) -> None:
        """Put into memory what the store had right before it, if more is kept of the series."""
        known = self.known
        if known is None or not len(rows) or span.end_ms < known.from_ms:
            return
        # Of a full count it is not known what lies between its first row and the one before.
        is_full = count is not None and len(rows) == count
        start_ms = int(rows.open_time_ms[0]) if is_full else span.start_ms
        if start_ms < known.from_ms and known.closed_rows < self._rows_max():
            self.known = with_older(known, rows, start_ms, rows_max=self._rows_max())
            self._publish(self.known)

    async def _fill_memory(self, newest: Span) -> None:
        rows_max = self._rows_max()
        rows = await self._read_store(newest, rows_max, Coverage.of([newest]))
        if len(rows) == rows_max:
            newest = Span(int(rows.open_time_ms[0]), newest.end_ms)
        self.known = from_store(rows, newest, rows_max=rows_max)
        self._publish(self.known)

    async def _read_store(self, span: Span, count: int | None, held: Coverage) -> Candles:
        stored: StoredCandles = await self._store.call(
            ReadStored(series=self.series, start_ms=span.start_ms, end_ms=span.end_ms, count=count),
            timeout_s=_STORE_TIMEOUT_S,
        )
        if not all(stored.coverage.covers(part) for part in held):
            # One in memory forgets when it is full, and when it is started again.
            raise StoreUnavailable("the store no longer holds what it held before")
        rows: Candles = stored.candles
        return rows

    def _leave_store(self, error: Exception) -> None:
        _log.warning("%s: going on without the store: %s", self.series, error)
        self._stored, self._store_failed = Coverage(), True
