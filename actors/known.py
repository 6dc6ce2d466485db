"""`Known`: what memory holds of one series, and how a page from the exchange adds to it.

All plain functions on immutable values. The actor that owns them publishes each `Known` in a
table; readers answer themselves from it.

A candle is closed when that is proven, never by the clock alone: by a successor in the same page,
or by a page that the exchange made long enough after the candle's end. That nothing happened in a
period takes the second proof: rows may appear late.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from actors.candles import Candles, Missing
from actors.coverage import BEGINNING_MS, Coverage, Span
from actors.exchanges.base import CandlePage
from actors.messages import StoreWrite
from actors.queries import CandleQuery
from actors.quotes import Source
from actors.series import Series
from actors.timeframes import Timeframe

_ANSWERS_KEPT = 8
# What we know of an exchange's clock lags behind it by less: a second because its `Date` has no
# fractions, and the time an answer travels.
_CLOCK_LAG_MS = 2_000


@dataclass(frozen=True, slots=True)
class Known:
    """The newest candles of one series, without a hole, and the open ones after them.

    Attributes:
      candles: Closed rows that open in [from_ms, proven_ms), then the open rows seen last.
      closed_rows: How many of them are closed.
      from_ms: Where knowledge begins; `BEGINNING_MS` if nothing older exists.
      proven_ms: Where it ends: every time before it is final.
      asked_s: When the newest page was asked for, on `Clock.now_s`; -inf if never.
      observed_ms: The exchange's clock when it made that page; 0 if never.
    """

    candles: Candles
    closed_rows: int
    from_ms: int
    proven_ms: int
    asked_s: float = -math.inf
    observed_ms: int = 0
    # Readers mostly ask the same thing again; the answer is as immutable as this is.
    _answers: dict[tuple[int, bool], Candles] = field(
        default_factory=dict, repr=False, compare=False
    )

    @property
    def series(self) -> Series:
        """Return which series this is of."""
        return self.candles.series

    @property
    def span(self) -> Span:
        """Return the span of which everything is known."""
        return Span(self.from_ms, self.proven_ms)

    @property
    def limit_ms(self) -> int:
        """Return when the candle that was in progress when last observed ends."""
        timeframe = self.series.timeframe
        return timeframe.shift_ms(timeframe.floor_ms(self.observed_ms), 1)

    @property
    def as_of_ms(self) -> int:
        """Return the exchange's time that this tells of: what is proven was looked at after it."""
        return max(self.observed_ms, self.proven_ms)

    def is_fresh(self, query: CandleQuery, *, now_s: float, now_ms: int) -> bool:
        """Return whether the newest part is young enough for `query`.

        Args:
          query: What is asked.
          now_s: When it was asked, on `Clock.now_s`.
          now_ms: A moment the exchange's clock has reached.
        """
        age_s = now_s - self.asked_s
        ended_ms = self.series.timeframe.floor_ms(now_ms + _CLOCK_LAG_MS)
        if age_s <= 0:
            return True
        if max(query.start_ms or 0, query.end_ms or 0) > self.limit_ms:
            # It lay in the future then, and may not any more.
            return False
        if age_s <= query.max_age_s:
            # Who names an end wants every candle before it, or to be told which one is lacking:
            # the candle that has ended since then would be neither there nor missing.
            seen_ms = self.series.timeframe.floor_ms(self.observed_ms)
            return query.end_ms is None or seen_ms >= min(query.end_ms, ended_ms)
        # Every candle that has ended is proven: asking again could not tell more.
        return query.closed and self.proven_ms >= ended_ms

    def newest(self, count: int, *, closed: bool) -> Candles | None:
        """Return the newest `count` rows, or None if memory does not reach so far back."""
        answer = self._answers.get((count, closed))
        if answer is None:
            rows = self.candles.slice(0, self.closed_rows) if closed else self.candles
            if len(rows) < count and self.from_ms > BEGINNING_MS:
                return None
            rows = rows.last(count)
            missing = asked_part(self.unsettled(closed=closed), rows, count)
            answer = rows.answer(source="memory", as_of_ms=self.as_of_ms, missing=missing)
            if len(self._answers) < _ANSWERS_KEPT:
                self._answers[count, closed] = answer
        return answer

    def unsettled(
        self, *, closed: bool, start_ms: int | None = None, end_ms: int | None = None
    ) -> tuple[Missing, ...]:
        """Return the periods that had ended when last observed, but are not known for certain.

        Args:
          closed: Count those of which an open row is there, too.
          start_ms: Only those that open at or after it.
          end_ms: Only those that open before it.
        """
        timeframe = self.series.timeframe
        from_ms, reach_ms = max(self.proven_ms, start_ms or 0), timeframe.floor_ms(self.observed_ms)
        if end_ms is not None:
            reach_ms = min(reach_ms, end_ms)
        if reach_ms <= from_ms:
            return ()
        seen = Coverage()
        if not closed:
            opens = self.candles.open_time_ms[self.closed_rows :].tolist()
            seen = Coverage.of(Span(t, timeframe.shift_ms(t, 1)) for t in opens)
        gaps = seen.gaps(Span(from_ms, reach_ms))
        return tuple(Missing(gap.start_ms, gap.end_ms, _NOT_SETTLED) for gap in gaps)

    def answer(self, query: CandleQuery, *, now_s: float, now_ms: int) -> Candles | None:
        """Return the answer to `query` if memory alone can give it, else None."""
        end_ms, timeframe = query.end_ms, self.series.timeframe
        if end_ms is not None and end_ms > timeframe.shift_ms(timeframe.floor_ms(now_ms), 1):
            # In the exchange's future, although memory has it: its clock has been set back.
            return None
        if end_ms is None or end_ms > self.proven_ms:
            if not self.is_fresh(query, now_s=now_s, now_ms=now_ms):
                return None
            if max(query.start_ms or 0, end_ms or 0) > self.limit_ms:
                # Whether that lies in the future is not for memory to decide.
                return None
        if end_ms is None and query.count is not None:
            return self.newest(query.count, closed=query.closed)
        return self._window(query, end_ms)

    def _window(self, query: CandleQuery, end_ms: int | None) -> Candles | None:
        rows = self.candles.slice(0, self.closed_rows) if query.closed else self.candles
        stop = len(rows) if end_ms is None else int(np.searchsorted(rows.open_time_ms, end_ms))
        if query.count is not None:
            start = max(0, stop - query.count)
            if stop - start < query.count and self.from_ms > BEGINNING_MS:
                return None
        else:
            if query.start_ms is None or query.start_ms < self.from_ms:
                return None
            start = int(np.searchsorted(rows.open_time_ms, query.start_ms))
        rows = rows.slice(start, max(start, stop))
        missing = self.unsettled(closed=query.closed, start_ms=query.start_ms, end_ms=end_ms)
        missing = asked_part(missing, rows, query.count)
        return rows.answer(source="memory", as_of_ms=self.as_of_ms, missing=missing)


def asked_part(
    missing: tuple[Missing, ...], rows: Candles, count: int | None
) -> tuple[Missing, ...]:
    """Return what of `missing` belongs to a question for the newest `count` rows.

    Where there are so many, the oldest of them is where the question begins.
    """
    if count is None or len(rows) < count:
        return missing
    first_ms = int(rows.open_time_ms[0])
    return tuple(gap for gap in missing if gap.end_ms > first_ms)


_NOT_SETTLED = "ended a moment ago; not final yet"


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one page proves.

    Attributes:
      proven: The span of which the page tells everything, for good; empty if it proves nothing.
      closed: Its rows in that span, now closed.
      open: Its rows after that span.
    """

    proven: Span
    closed: Candles
    open: Candles

    @property
    def write(self) -> StoreWrite | None:
        """Return what is worth keeping, or None."""
        return StoreWrite(self.closed, self.proven) if self.proven else None


def read_page(
    page: CandlePage,
    *,
    settle_ms: int,
    oldest_ms: int,
    older: Coverage,
    known: Known | None = None,
) -> Lesson:
    """Return what `page` proves.

    Args:
      page: One page as the exchange sent it.
      settle_ms: How long after a period's end its absence, or its last value, can be believed.
      oldest_ms: Before this time the exchange keeps nothing, so that a page that ends early
        proves nothing there; `BEGINNING_MS` if it keeps everything.
      older: What is proven so far. A page that says "nothing older exists" is not asked about what
        is known, and where it contradicts that, this part of it is not believed.
      known: What memory holds, whose rows it could contradict.
    """
    rows = page.candles
    timeframe = rows.series.timeframe
    times = rows.open_time_ms
    settled_ms = timeframe.floor_ms(page.observed_ms - settle_ms)
    limit_ms = page.to_ms
    if limit_ms is None:
        limit_ms = timeframe.shift_ms(timeframe.floor_ms(page.observed_ms), 1)
    first_ms = int(times[0]) if len(times) else limit_ms
    start_ms = first_ms
    if not page.full:
        # The beginning is no opening time of a week; it stands for "as far back as time goes".
        edge_ms = timeframe.ceil_ms(oldest_ms) if oldest_ms > BEGINNING_MS else BEGINNING_MS
        start_ms = _empty_from(min(first_ms, edge_ms), first_ms, older, known)
    end_ms = _follow_successors(times.tolist(), timeframe, max(start_ms, min(limit_ms, settled_ms)))
    proven = Span(start_ms, end_ms)
    split = int(np.searchsorted(times, end_ms))
    closed = rows.slice(0, split)
    return Lesson(proven, _closed(closed), rows.slice(split, len(rows)))


def _empty_from(edge_ms: int, first_ms: int, older: Coverage, known: Known | None) -> int:
    """Return from where on it is proven that nothing opened before `first_ms`.

    A page that ends early says so of all times since `edge_ms`. But what is known already stays as
    it is: the page might be short because the exchange is not itself, and the rows would be lost.
    """
    gaps = older.gaps(Span(edge_ms, first_ms))
    if len(gaps) != 1 or gaps[0].end_ms < first_ms:
        # All is known, or something older is known with a hole after it, which the page denies.
        return first_ms
    (gap,) = gaps
    if known is not None and len(known.candles.between(edge_ms, first_ms)):
        return first_ms
    return gap.start_ms


def _follow_successors(times: list[int], timeframe: Timeframe, reach_ms: int) -> int:
    """Return how far rows follow each other without a hole from `reach_ms`, the last one excepted.

    A row with a successor in the same page is final; the last row has none.
    """
    known = set(times[:-1])
    while reach_ms in known:
        reach_ms = timeframe.shift_ms(reach_ms, 1)
    return reach_ms


def _closed(rows: Candles) -> Candles:
    return Candles(rows.series, rows.open_time_ms, rows.floats, np.ones(len(rows), dtype=np.bool_))


def learn(
    known: Known | None, page: CandlePage, lesson: Lesson, *, asked_s: float, rows_max: int
) -> Known:
    """Return what memory holds after `page`, trimmed to the newest `rows_max` closed rows.

    Args:
      known: What it held before.
      page: The page.
      lesson: What the page proves.
      asked_s: When it was asked for, on `Clock.now_s`.
      rows_max: Bound on closed rows.
    """
    if known is None or _is_set_back(known, page) or lesson.proven.start_ms > known.proven_ms:
        # Nothing before, or a hole between: only what comes after the hole is the newest. Or the
        # exchange's clock was set back, as when a rehearsal begins anew: what memory holds of its
        # future must not be told.
        known = _known(lesson.closed, lesson.open, lesson.proven)
    elif lesson.proven and lesson.proven.end_ms >= known.from_ms:
        closed = known.candles.slice(0, known.closed_rows).merge(lesson.closed)
        span = Span(
            min(known.from_ms, lesson.proven.start_ms), max(known.proven_ms, lesson.proven.end_ms)
        )
        known = replace(
            _known(closed, _after(known, span.end_ms), span),
            asked_s=known.asked_s,
            observed_ms=known.observed_ms,
        )
    if page.to_ms is None:
        closed = known.candles.slice(0, known.closed_rows)
        tail = lesson.open.between(known.proven_ms, FOREVER_MS)
        known = replace(
            _known(closed, tail, known.span), asked_s=asked_s, observed_ms=page.observed_ms
        )
    return _trim(known, rows_max)


def _is_set_back(known: Known, page: CandlePage) -> bool:
    timeframe = known.series.timeframe
    now_ms = timeframe.shift_ms(timeframe.floor_ms(page.observed_ms), 1)
    return page.to_ms is None and known.proven_ms > now_ms


FOREVER_MS = 1 << 62


def from_store(candles: Candles, span: Span, *, rows_max: int) -> Known:
    """Return what memory holds after the newest proven `span` was read from the store."""
    return _trim(_known(candles, Candles.empty(candles.series), span), rows_max)


def _known(closed: Candles, open_rows: Candles, span: Span) -> Known:
    return Known(
        candles=closed.merge(open_rows),
        closed_rows=len(closed),
        from_ms=span.start_ms,
        proven_ms=span.end_ms,
    )


def _after(known: Known, time_ms: int) -> Candles:
    return known.candles.slice(known.closed_rows, len(known.candles)).between(time_ms, FOREVER_MS)


def _trim(known: Known, rows_max: int) -> Known:
    surplus = known.closed_rows - rows_max
    if surplus <= 0:
        return known
    # Copied: a slice would keep the whole of what it was cut from in memory.
    keep = np.arange(len(known.candles)) >= surplus
    candles = known.candles.take(keep)
    return replace(
        known,
        candles=candles,
        closed_rows=rows_max,
        from_ms=int(candles.open_time_ms[0]),
        _answers={},
    )


def with_source(candles: Candles, source: Source, missing: tuple[Missing, ...]) -> Candles:
    """Return `candles` as an answer from `source`, keeping when they were observed."""
    return candles.answer(source=source, as_of_ms=candles.as_of_ms, missing=missing)
