"""`Known`: what memory holds of one series, and how pages and streams add to it.

All plain functions on immutable values. The actor that owns them publishes each `Known` in a
table; readers answer themselves from it.

Closed candles are columns; the few after them are plain rows, because a stream changes the newest
many times a second. The columns of both are made when somebody reads.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from actors.candles import ROW_BYTES, Candles, Missing
from actors.coverage import BEGINNING_MS, Coverage, Span
from actors.exchanges.base import CandlePage
from actors.exchanges.streams import LiveRow
from actors.lessons import Lesson
from actors.queries import CandleQuery
from actors.quotes import Source
from actors.series import Series

_ANSWERS_KEPT = 8
# What we know of an exchange's clock lags behind it by less: a second because its `Date` has no
# fractions, and the time an answer travels.
_CLOCK_LAG_MS = 2_000
# A page that is older than a stream by more than this was made by a clock that has been set back.
_SET_BACK_MS = 60_000


@dataclass(frozen=True, slots=True)
class Known:
    """The newest candles of one series, without a hole, and the open ones after them.

    Attributes:
      closed: Closed rows that open in [from_ms, proven_ms).
      open: The open rows seen last, oldest first; all of them open at or after proven_ms.
      from_ms: Where knowledge begins; `BEGINNING_MS` if nothing older exists.
      proven_ms: Where it ends: every time before it is final.
      asked_s: When the newest page was asked for, or a stream told more, on `Clock.now_s`; -inf if
        neither ever was.
      observed_ms: The exchange's clock when it made that; 0 if never.
      live: Whether a stream has told of the open rows.
    """

    closed: Candles
    open: tuple[LiveRow, ...]
    from_ms: int
    proven_ms: int
    asked_s: float = -math.inf
    observed_ms: int = 0
    live: bool = False
    # Readers mostly ask the same thing again; the answer is as immutable as this is.
    _answers: dict[tuple[int, bool], Candles] = field(
        default_factory=dict, repr=False, compare=False
    )
    _all: list[Candles] = field(default_factory=list, repr=False, compare=False)

    @property
    def candles(self) -> Candles:
        """Return the closed rows, then the open ones."""
        if not self.open:
            return self.closed
        if not self._all:
            rows = ((*row[:7], False) for row in self.open)
            self._all.append(self.closed.merge(Candles.from_rows(self.series, rows)))
        return self._all[0]

    @property
    def tail(self) -> Candles:
        """Return the open rows."""
        return self.candles.slice(len(self.closed), len(self.closed) + len(self.open))

    @property
    def closed_rows(self) -> int:
        """Return how many rows are closed."""
        return len(self.closed)

    @property
    def nbytes(self) -> int:
        """Return the memory that the rows take, in bytes."""
        return (len(self.closed) + len(self.open)) * ROW_BYTES

    @property
    def reach_ms(self) -> int:
        """Return when the candle opens up to which everything was seen, though not for the last."""
        return max(self.proven_ms, self.series.timeframe.floor_ms(self.observed_ms))

    @property
    def series(self) -> Series:
        """Return which series this is of."""
        return self.closed.series

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
            rows = self.closed if closed else self.candles
            if len(rows) < count and self.from_ms > BEGINNING_MS:
                return None
            rows = rows.last(count)
            missing = asked_part(self.unsettled(closed=closed), rows, count)
            answer = self._answer(rows, missing)
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
            opens = (row.open_time_ms for row in self.open)
            seen = Coverage.of(Span(t, timeframe.shift_ms(t, 1)) for t in opens)
        gaps = seen.gaps(Span(from_ms, reach_ms))
        reason = _NOT_PROVEN if self.live else _NOT_SETTLED
        return tuple(Missing(gap.start_ms, gap.end_ms, reason) for gap in gaps)

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
        rows = self.closed if query.closed else self.candles
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
        return self._answer(rows, missing)

    def _answer(self, rows: Candles, missing: tuple[Missing, ...]) -> Candles:
        return rows.answer(
            source="live" if self.live else "memory",
            as_of_ms=self.as_of_ms,
            missing=missing,
            reason=_KEPT_LIVE if self.live else _IN_MEMORY,
        )


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
_NOT_PROVEN = "told by the stream, and not proven to be final yet"
_IN_MEMORY = "memory has it, and it is young enough"
_KEPT_LIVE = "the stream keeps it up to date"


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
    before = known
    if known is None or _is_set_back(known, page) or lesson.proven.start_ms > known.proven_ms:
        # Nothing before, or a hole between: only what comes after the hole is the newest. Or the
        # exchange's clock was set back, as when a rehearsal begins anew: what memory holds of its
        # future must not be told.
        known = _known(lesson.closed, (), lesson.proven)
    elif lesson.proven and lesson.proven.end_ms >= known.from_ms:
        span = Span(
            min(known.from_ms, lesson.proven.start_ms), max(known.proven_ms, lesson.proven.end_ms)
        )
        known = replace(
            _known(known.closed.merge(lesson.closed), _after(known.open, span.end_ms), span),
            asked_s=known.asked_s,
            observed_ms=known.observed_ms,
            live=known.live,
        )
    if page.to_ms is None:
        known = _with_newest(known, before, page, lesson, asked_s)
    return trim(known, rows_max)


def _with_newest(
    known: Known, before: Known | None, page: CandlePage, lesson: Lesson, asked_s: float
) -> Known:
    """Return `known` with the open rows of the newest page, and of the stream if it told more."""
    tail = _after(as_rows(lesson.open), known.proven_ms)
    live = before is not None and before.live and not _is_set_back(before, page)
    if live and before is not None and page.observed_ms > before.observed_ms - _SET_BACK_MS:
        # A page may be older than what the stream told while it was on its way.
        tail = _fuller(tail, _after(before.open, known.proven_ms))
        asked_s = max(asked_s, before.asked_s)
        observed_ms = max(page.observed_ms, before.observed_ms)
    else:
        live, observed_ms = False, page.observed_ms
    fresh = _known(known.closed, tail, known.span)
    return replace(fresh, asked_s=asked_s, observed_ms=observed_ms, live=live)


def _is_set_back(known: Known, page: CandlePage) -> bool:
    timeframe = known.series.timeframe
    now_ms = timeframe.shift_ms(timeframe.floor_ms(page.observed_ms), 1)
    return page.to_ms is None and known.proven_ms > now_ms


FOREVER_MS = 1 << 62


def from_store(candles: Candles, span: Span, *, rows_max: int) -> Known:
    """Return what memory holds after the newest proven `span` was read from the store."""
    return trim(_known(candles, (), span), rows_max)


def with_older(known: Known, rows: Candles, start_ms: int, *, rows_max: int) -> Known:
    """Return `known` with the rows before it that the store has, as many as memory keeps.

    Args:
      known: What memory held.
      rows: All that open in [start_ms, known.from_ms), final.
      start_ms: From where on that is all.
      rows_max: Bound on closed rows.
    """
    closed = rows.between(start_ms, known.from_ms).merge(known.closed)
    return trim(replace(known, closed=closed, from_ms=start_ms, _answers={}, _all=[]), rows_max)


def with_row(known: Known, row: LiveRow, *, received_s: float) -> Known:
    """Return `known` after a stream told `row`, which nothing lies unseen before.

    Costs the same however many candles there are.
    """
    rows = known.open
    if row.open_time_ms >= known.proven_ms:
        if rows and rows[-1].open_time_ms == row.open_time_ms:
            if row.volume > rows[-1].volume:
                rows = (*rows[:-1], row)
        elif not rows or rows[-1].open_time_ms < row.open_time_ms:
            rows = (*rows, row)
        else:
            rows = _fuller(rows, (row,))
    return Known(
        known.closed,
        rows,
        known.from_ms,
        known.proven_ms,
        max(known.asked_s, received_s),
        max(known.observed_ms, row.made_ms),
        True,
    )


def with_final(known: Known, rows: Iterable[LiveRow], reach_ms: int, *, rows_max: int) -> Known:
    """Return `known` after it was proven that `rows`, and no others, open before `reach_ms`.

    Args:
      known: What memory held.
      rows: All that open in [known.proven_ms, reach_ms), final, oldest first.
      reach_ms: Up to where that is proven.
      rows_max: Bound on closed rows.
    """
    added = Candles.from_rows(known.series, [(*row[:7], True) for row in rows])
    made = replace(
        known,
        closed=known.closed.merge(added),
        open=_after(known.open, reach_ms),
        proven_ms=reach_ms,
        _answers={},
        _all=[],
    )
    return trim(made, rows_max)


def as_rows(candles: Candles) -> tuple[LiveRow, ...]:
    """Return candles as rows of which it is not known when they were made."""
    return tuple([LiveRow(*row[:7], 0) for row in candles.rows()])


def _known(closed: Candles, open_rows: tuple[LiveRow, ...], span: Span) -> Known:
    return Known(closed, open_rows, span.start_ms, span.end_ms)


def _after(rows: Sequence[LiveRow], time_ms: int) -> tuple[LiveRow, ...]:
    return tuple([row for row in rows if row.open_time_ms >= time_ms])


def _fuller(rows: Iterable[LiveRow], others: Iterable[LiveRow]) -> tuple[LiveRow, ...]:
    """Return the rows of both; of one candle the row with more volume, which is the later one."""
    merged = {row.open_time_ms: row for row in rows}
    for row in others:
        held = merged.get(row.open_time_ms)
        if held is None or row.volume > held.volume:
            merged[row.open_time_ms] = row
    return tuple([merged[open_ms] for open_ms in sorted(merged)])


def trim(known: Known, rows_max: int) -> Known:
    """Return `known` with the newest `rows_max` of its closed rows."""
    surplus = known.closed_rows - rows_max
    if surplus <= 0:
        return known
    # Copied: a slice would keep the whole of what it was cut from in memory.
    closed = known.closed.take(np.arange(known.closed_rows) >= surplus)
    return replace(known, closed=closed, from_ms=int(closed.open_time_ms[0]), _answers={}, _all=[])


def with_source(candles: Candles, source: Source, missing: tuple[Missing, ...]) -> Candles:
    """Return `candles` as an answer from `source`, keeping when they were observed."""
    return candles.answer(source=source, as_of_ms=candles.as_of_ms, missing=missing)
