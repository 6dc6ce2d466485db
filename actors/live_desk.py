"""`LiveDesk`: what streams tell of candles, put into memory and told to subscribers.

Lives inside the CacheActor, which hands it every batch of rows and every page. It writes to the
table of candles first and publishes then, so whoever is told finds it there.

A row goes into memory only where nothing lies unseen between it and what memory holds; else it
waits in the market's `LiveMarket` until a page has closed the hole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from actors.closed_teller import publish
from actors.coverage import Span
from actors.exchanges.streams import LiveRow, StreamKey
from actors.known import Known, as_rows, with_final, with_row
from actors.lessons import Lesson
from actors.live_market import LiveMarket
from actors.live_rows import fold_rows
from actors.messages import LiveCandles, StoreWrite
from actors.series import Market, Series
from actors.timeframes import Timeframe
from runtime.core.pubsub import PubSub

# The last frame of a minute often lacks its last trades. Where nobody waits for closed candles one
# page repairs all such minutes of this time: 200 would fit on it.
_STUCK_MS = 90 * 60_000
FOLDED_FROM_DAYS = (Timeframe.W1, Timeframe.MN1)


@dataclass(slots=True)
class LiveSeries:
    """One series that a stream tells of.

    Attributes:
      series: Which.
      whole_from_ms: Since which candle the stream has been whole; None until its first row.
      streaming: Whether the stream is not broken at present.
      version: The `LiveMarket.version` up to which what is final was taken over.
    """

    series: Series
    whole_from_ms: int | None = None
    streaming: bool = True
    version: int = -1


@dataclass(frozen=True, slots=True)
class Doubt:
    """Candles of which a stream and the exchange's own rows say different things.

    Attributes:
      series: Which series.
      span: From the first of them to the end of the last.
      detail: What differs, in words.
      correction: What the store has to take instead, if the exchange has been asked.
    """

    series: Series
    span: Span
    detail: str
    correction: StoreWrite | None = None


class LiveDesk:
    """The live candles of one exchange.

    Bound: the markets that are streamed, and for each what `LiveMarket` keeps.

    Args:
      exchange: The exchange's name.
      look: Returns what memory holds of a series.
      put: Takes what memory holds now, and publishes it in the table.
      events: Where updates are published.
      rows_max: Returns how many closed candles memory keeps of a series.
      doubt: Takes every disagreement.
      proven: Takes the series of which streams have proven candles, and from where on.
      count: Takes the name of each thing to be counted, and how many.
    """

    def __init__(
        self,
        exchange: str,
        *,
        look: Callable[[Series], Known | None],
        put: Callable[[Known], None],
        events: PubSub,
        rows_max: Callable[[Series], int],
        doubt: Callable[[Doubt], None],
        proven: Callable[[Series, int], None],
        count: Callable[[str, int], None],
    ) -> None:
        self._exchange = exchange
        self._look = look
        self._put = put
        self._events = events
        self._rows_max = rows_max
        self._doubt = doubt
        self._proven = proven
        self._count = count
        self._markets: dict[str, LiveMarket] = {}
        self._series: dict[tuple[str, Timeframe], LiveSeries] = {}

    @property
    def all(self) -> Iterable[LiveSeries]:
        """Return every series that streams tell, or told until a break."""
        return self._series.values()

    @property
    def folded(self) -> list[Series]:
        """Return the series whose candle in progress is made of days that streams tell."""
        return [
            Series(live.series.market, timeframe)
            for live in self._series.values()
            for timeframe in FOLDED_FROM_DAYS
            if live.series.timeframe is Timeframe.D1
        ]

    def is_whole(self, series: Series) -> bool:
        """Return whether memory is what the stream says, with nothing unseen before it."""
        live, known = self._series.get((series.market.code, series.timeframe)), self._look(series)
        return live is not None and live.streaming and _is_joined(live, known)

    def is_stuck(self, known: Known) -> bool:
        """Return whether minutes were proven long after one that the stream cannot prove."""
        market = self._markets.get(known.series.market.code)
        if market is None or known.series.timeframe is not Timeframe.M1:
            return False
        spans = market.minutes.proven.spans
        return bool(spans) and spans[-1].end_ms > known.proven_ms + _STUCK_MS

    # -------------------------------------------------------------- streams come and go

    def back(self, keys: Sequence[StreamKey]) -> list[Series]:
        """Note that streams have begun to tell; return their series."""
        found = []
        for key in keys:
            timeframe = _timeframe(key)
            if timeframe is not None:
                live = self._live(key.code, timeframe)
                live.whole_from_ms, live.streaming = None, True
                found.append(live.series)
        return found

    def broke(self, keys: Sequence[StreamKey]) -> list[Series]:
        """Note that streams may have lost something; return their series."""
        found = []
        for key in keys:
            live = self._series.get((key.code, _timeframe(key) or Timeframe.M1))
            if live is not None and live.streaming:
                live.whole_from_ms, live.streaming = None, False
                found.append(live.series)
        for series in found:
            self._is_no_longer_live(self._look(series))
            if series.timeframe is Timeframe.D1:
                for timeframe in FOLDED_FROM_DAYS:
                    self._is_no_longer_live(self._look(Series(series.market, timeframe)))
        return found

    # -------------------------------------------------------------- what is told

    def take(self, told: LiveCandles) -> None:
        """Put rows into memory and tell them on."""
        for key, row in told.rows:
            timeframe = _timeframe(key)
            if timeframe is not None:
                self._take_row(key.code, timeframe, row, told.received_s)

    def _take_row(self, code: str, timeframe: Timeframe, row: LiveRow, received_s: float) -> None:
        live = self._series.get((code, timeframe)) or self._live(code, timeframe)
        market = self._markets[code]
        news = market.tell(timeframe, row)
        if live.whole_from_ms is None and live.streaming:
            live.whole_from_ms = row.open_time_ms
            if news == "stale":
                self._join(live)
        if news == "disagrees":
            end_ms = timeframe.shift_ms(row.open_time_ms, 1)
            span = Span(row.open_time_ms, end_ms)
            self._doubt(Doubt(live.series, span, "the stream says more than what was proven"))
        elif news == "news":
            self._count("live_row", 1)
            self._grow(live, row, received_s)
        if market.version != live.version:
            self._close(code)

    def _grow(self, live: LiveSeries, row: LiveRow, received_s: float) -> None:
        known = self._look(live.series)
        if known is not None:
            if live.streaming and _is_joined(live, known):
                self._put(with_row(known, row, received_s=received_s))
            if row.open_time_ms < known.proven_ms:
                # Told as closed already, or too late to be news.
                return
        publish(self._events, live.series, row, closed=False)
        if live.series.timeframe is Timeframe.D1:
            self._fold_days(live.series.market, row, received_s)

    def _fold_days(self, market: Market, day: LiveRow, received_s: float) -> None:
        """Make the week's and the month's candle in progress of its days."""
        days = self._look(Series(market, Timeframe.D1))
        for timeframe in FOLDED_FROM_DAYS:
            series = Series(market, timeframe)
            known = self._look(series)
            open_ms = timeframe.floor_ms(day.open_time_ms)
            if known is None or known.reach_ms < timeframe.shift_ms(open_ms, -1):
                continue
            if days is None or days.from_ms > open_ms or days.proven_ms < day.open_time_ms:
                # The last a stream told of yesterday may lack its last trades.
                self._is_no_longer_live(known)
                continue
            rows = days.candles.between(open_ms, timeframe.shift_ms(open_ms, 1))
            folded = fold_rows(as_rows(rows) or (day,), open_ms)._replace(made_ms=day.made_ms)
            self._put(with_row(known, folded, received_s=received_s))
            publish(self._events, series, folded, closed=False)

    def _is_no_longer_live(self, known: Known | None) -> None:
        if known is not None and known.live:
            self._put(replace(known, live=False, _answers={}, _all=[]))

    # -------------------------------------------------------------- what is proven

    def _close(self, code: str) -> None:
        """Take over whatever of a market has become final."""
        market = self._markets[code]
        for (its, timeframe), live in self._series.items():
            if its != code or live.version == market.version:
                continue
            live.version = market.version
            known = self._look(live.series)
            if known is None:
                continue
            rows, reach_ms = market.final(timeframe, known.proven_ms)
            if reach_ms > known.proven_ms:
                self._count("stream", len(rows))
                self._proven(live.series, known.proven_ms)
                self._put(with_final(known, rows, reach_ms, rows_max=self._rows_max(known.series)))
            self._join(live)

    def _join(self, live: LiveSeries) -> None:
        """Close the hole before a series' stream with proven minutes; take over what it told."""
        known, start_ms = self._look(live.series), live.whole_from_ms
        if known is None or start_ms is None:
            return
        timeframe = live.series.timeframe
        market = self._markets[live.series.market.code]
        rows: list[LiveRow] = []
        if not _is_joined(live, known):
            if not Timeframe.M1.span_ms <= timeframe.span_ms <= Timeframe.H4.span_ms:
                return
            span = Span(known.proven_ms, max(known.proven_ms, start_ms))
            if not market.minutes.proven.covers(span):
                return
            for open_ms in range(span.start_ms, span.end_ms, timeframe.span_ms):
                parts = market.minutes.between(open_ms, open_ms + timeframe.span_ms)
                rows += [fold_rows(parts, open_ms)] if parts else []
        rows += market.since(timeframe, max(start_ms, known.proven_ms))
        for row in rows:
            known = with_row(known, row, received_s=known.asked_s)
        if rows:
            self._put(known)

    def learnt(self, series: Series, lesson: Lesson, before: Known | None) -> None:
        """Compare what a page proves with what the stream had said, and take it over.

        Args:
          series: Of which series the page is.
          lesson: What it proves.
          before: What memory held before the page.
        """
        market = self._markets.get(series.market.code)
        live = self._series.get((series.market.code, series.timeframe))
        if market is None or live is None or not lesson.proven:
            return
        rows = as_rows(lesson.closed)
        self._compare(series, market, lesson, rows, before)
        market.confirm(series.timeframe, lesson.proven, rows)
        self._count("page_row", len(rows))
        self._close(series.market.code)
        self._join(live)

    def _compare(
        self,
        series: Series,
        market: LiveMarket,
        lesson: Lesson,
        rows: Sequence[LiveRow],
        before: Known | None,
    ) -> None:
        proven_ms = 0 if before is None else before.proven_ms
        from_ms = lesson.proven.start_ms
        told = {row.open_time_ms: row for row in market.since(series.timeframe, from_ms)}
        wrong = []
        for row in rows:
            said = told.pop(row.open_time_ms, None)
            if said is None or said[:7] == row[:7]:
                continue
            # That a stream lacks the last trades of a candle not yet closed is no disagreement.
            if row.open_time_ms < proven_ms or said.volume >= row.volume:
                wrong.append(row)
        ghosts = [open_ms for open_ms in told if open_ms < lesson.proven.end_ms]
        times = sorted([*ghosts, *(row.open_time_ms for row in wrong)])
        if times:
            span = Span(times[0], series.timeframe.shift_ms(times[-1], 1))
            detail = f"{len(times)} candles of the stream differ from the exchange's own rows"
            write = StoreWrite(lesson.closed.between(span.start_ms, span.end_ms), span)
            self._doubt(Doubt(series, span, detail, write))

    def _live(self, code: str, timeframe: Timeframe) -> LiveSeries:
        live = self._series.get((code, timeframe))
        if live is None:
            if code not in self._markets:
                self._markets[code] = LiveMarket()
            live = LiveSeries(Series(Market(self._exchange, code), timeframe))
            self._series[code, timeframe] = live
            known = self._look(live.series)
            if known is not None and known.closed_rows:
                # So that what is known need not be proven anew.
                span = Span(int(known.closed.open_time_ms[0]), known.proven_ms)
                self._markets[code].confirm(timeframe, span, as_rows(known.closed))
        return live


def _is_joined(live: LiveSeries, known: Known | None) -> bool:
    return (
        known is not None
        and live.whole_from_ms is not None
        and (known.reach_ms >= live.whole_from_ms)
    )


def _timeframe(key: StreamKey) -> Timeframe | None:
    if key.kind == "candle":
        return key.timeframe
    return Timeframe.D1 if key.kind == "ticker" else None
