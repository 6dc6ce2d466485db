"""`LiveDesk` and `LiveRepairs`: what streams tell gets into memory, whole, and to subscribers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from actors.cache_tables import CacheTables, candles_key
from actors.candles import Candles
from actors.closed_teller import ClosedTeller
from actors.coverage import Coverage, Span
from actors.exchanges.base import CandlePage
from actors.exchanges.clock import ExchangeClock
from actors.exchanges.streams import LiveRow, StreamKey
from actors.exchanges.throttled import ExchangeState
from actors.holes import GAPS_KEPT, GapLog, InnerReply, wait_s
from actors.known import Known, learn
from actors.lessons import read_page
from actors.live_desk import LiveDesk
from actors.live_repairs import LiveRepairs, RepairParts
from actors.messages import LiveCandles, StoreWrite
from actors.queries import CandleQuery
from actors.reports import GapReport
from actors.series import Market, Series
from actors.timeframes import Timeframe
from runtime.core.pubsub import PubSub
from runtime.testing import NEW_YEAR_MS

MINUTE_MS = 60_000
# One in the morning of New Year: inside a window of four hours.
ONE_MS = NEW_YEAR_MS + 60 * MINUTE_MS
SETTLE_S = 5.0
MINUTES = Series.parse("KRW-BTC", "1m")
KEYS = (
    StreamKey("candle", "KRW-BTC", Timeframe.M1),
    StreamKey("candle", "KRW-BTC", Timeframe.M3),
    StreamKey("candle", "KRW-BTC", Timeframe.H4),
    StreamKey("ticker", "KRW-BTC"),
)


@dataclass
class FakeClock:
    """A clock that stands still until it is moved."""

    seconds: float = 1_000.0

    def now_s(self) -> float:
        """Return the monotonic time."""
        return self.seconds

    def utc_ms(self) -> int:
        """Return the wall time: one o'clock was 1,000 s after zero."""
        return ONE_MS + round((self.seconds - 1_000) * 1000)


@dataclass
class Exchange:
    """A market in which one coin is traded whenever the test says so, and its REST interface."""

    trades_ms: list[int] = field(default_factory=list)

    def row(self, timeframe: Timeframe, at_ms: int) -> LiveRow:
        """Return the candle of a moment as it is then."""
        open_ms = timeframe.floor_ms(at_ms)
        mine = [t for t in self.trades_ms if open_ms <= t <= at_ms]
        volume = float(len(mine))
        return LiveRow(open_ms, 100.0, 100.0, 100.0, 100.0, volume, 100 * volume, mine[-1])

    def page(self, series: Series, now_ms: int) -> CandlePage:
        """Return the newest page."""
        timeframe = series.timeframe
        opens = sorted({timeframe.floor_ms(t) for t in self.trades_ms if t <= now_ms})
        ends = [min(now_ms, timeframe.shift_ms(open_ms, 1) - 1) for open_ms in opens]
        rows = [self.row(timeframe, end_ms) for end_ms in ends]
        candles = Candles.from_rows(series, [(*row[:7], False) for row in rows])
        return CandlePage(candles=candles, to_ms=None, full=False, observed_ms=now_ms)


class Stage:
    """A desk and its repairs; the exchange's pages come when the test lets them."""

    def __init__(self) -> None:
        self.clock, self.exchange, self.events = FakeClock(), Exchange(), PubSub()
        self.tables = CacheTables("upbit")
        self.counts: dict[str, int] = {}
        self.asked: list[tuple[CandleQuery, InnerReply]] = []
        self.corrected: list[StoreWrite] = []
        self._writer = self.tables.candles.claim("test")
        gaps = GapLog(self.tables.gaps, self.tables.gaps.claim("test"), self.events)
        parts = RepairParts(
            exchange="upbit",
            clock=self.clock,
            exchange_clock=ExchangeClock(self.clock),
            events=self.events,
            settle_s=SETTLE_S,
            look=self.look,
            everything=lambda: [known for _, known in self.tables.candles.items()],
            ask=self._ask,
            state=ExchangeState,
            correct=self.corrected.append,
            count=self._count,
        )
        self.repairs = LiveRepairs(parts, gaps, lambda: self.desk)
        self.teller = ClosedTeller(self.events, look=self.look, ask=self._ask)
        self.desk = LiveDesk(
            "upbit",
            look=self.look,
            put=self._put,
            events=self.events,
            rows_max=lambda _: 200,
            doubt=self.repairs.doubt,
            proven=lambda *_: None,
            count=self._count,
        )

    def look(self, series: Series) -> Known | None:
        """Return what memory holds."""
        return self.tables.candles.get(candles_key(series))

    def _put(self, known: Known) -> None:
        before = self.look(known.series)
        self._writer.put(candles_key(known.series), known)
        self.teller.closed(before, known)

    def _ask(self, query: CandleQuery, reply: InnerReply) -> None:
        self.asked.append((query, reply))

    def _count(self, what: str, times: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + times

    def at(self, seconds: float) -> None:
        """Move the clock to so many seconds after one o'clock."""
        self.clock.seconds = 1_000 + seconds

    def load(self, series: Series = MINUTES) -> Candles:
        """Fetch the newest page."""
        before, page = self.look(series), self.exchange.page(series, self.clock.utc_ms())
        lesson = read_page(page, settle_ms=5_000, oldest_ms=0, older=Coverage(), known=before)
        now_s = self.clock.now_s()
        self._put(learn(before, page, lesson, asked_s=now_s, rows_max=200))
        self.desk.learnt(series, lesson, before)
        known = self.look(series)
        assert known is not None
        return known.candles

    def answer(self) -> None:
        """Answer every question of the repairs from a page."""
        asked, self.asked = self.asked, []
        for query, reply in asked:
            reply.send(self.load(query.series))

    def trade(self, *seconds: float, told: bool = True) -> None:
        """Trade one coin at each moment; each makes a frame in every timeframe."""
        for each in seconds:
            self.at(each)
            at_ms = self.clock.utc_ms()
            self.exchange.trades_ms.append(at_ms)
            if told:
                self.tell(at_ms)

    def tell(self, at_ms: int) -> None:
        """Send the frames of a moment."""
        timeframes = (Timeframe.M1, Timeframe.M3, Timeframe.H4, Timeframe.D1)
        rows = tuple(
            (key, self.exchange.row(each, at_ms))
            for key, each in zip(KEYS, timeframes, strict=True)
        )
        self.desk.take(LiveCandles(rows=rows, received_s=self.clock.now_s()))

    def opens(self, series: Series = MINUTES) -> tuple[int, int]:
        """Return how many candles memory has as closed, and how many as open."""
        known = self.look(series)
        assert known is not None
        return known.closed_rows, len(known.open)


def published(subscription: Any) -> list[Any]:
    """Return what waits for a subscriber."""
    return list(subscription._events.values())


@pytest.fixture
def stage() -> Stage:
    """A market in which was traded twice, of which memory has the minutes, and a stream."""
    made = Stage()
    made.trade(-200.0, -100.0, told=False)
    made.at(7.0)
    made.load()
    made.repairs.back(KEYS)
    made.answer()
    return made


async def test_candles_are_closed_by_the_stream_alone_and_told_once(stage: Stage) -> None:
    """A minute is told as closed when the next one proves it; no page is needed."""
    with stage.events.subscribe(("closed", "KRW-BTC", "1m")) as closed:
        stage.trade(8.0, 20.0, 65.0, 80.0, 130.0, 260.0)
        told = [(each.open_time_ms - ONE_MS, each.volume) for each in published(closed)]

    assert told[-3:] == [(0, 2.0), (60_000, 2.0), (120_000, 1.0)]
    assert stage.opens() == (5, 1)
    known = stage.look(MINUTES)
    assert known is not None
    assert known.proven_ms == ONE_MS + 4 * MINUTE_MS
    assert stage.asked == []


async def test_coarse_candles_are_closed_with_their_minutes(stage: Stage) -> None:
    """And keep the digits that the exchange sent."""
    series = Series(Market("upbit", "KRW-BTC"), Timeframe.M3)
    stage.trade(8.0, 65.0, 130.0, 185.0)

    known = stage.look(series)
    assert known is not None
    assert known.proven_ms == ONE_MS + 3 * MINUTE_MS
    assert known.closed[-1].volume == 3.0


async def test_a_break_is_mended_by_one_page_after_which_the_stream_goes_on(stage: Stage) -> None:
    """Overlapping, when what it brings must be final; the gap is told open and closed."""
    with stage.events.subscribe(("gaps", "", "")) as gaps:
        stage.trade(8.0, 65.0)
        stage.repairs.broke(KEYS, stage.clock.now_s(), "cut")
        stage.trade(80.0, 130.0, told=False)
        stage.at(190.0)
        stage.repairs.back(KEYS)
        stage.trade(191.0)
        stage.at(196.0)
        stage.repairs.tend()
        assert stage.asked == []
        stage.at(200.0)
        stage.repairs.tend()
        assert [query.series for query, _ in stage.asked] == [MINUTES]
        stage.answer()
        states = [each.gap.state for each in published(gaps)]

    stage.trade(241.0)
    assert (states[0], states[-1]) == ("open", "closed")
    known = stage.look(MINUTES)
    assert known is not None
    assert known.proven_ms == ONE_MS + 4 * MINUTE_MS
    assert [row.volume for row in known.candles][-5:] == [1.0, 2.0, 1.0, 1.0, 1.0]
    stage.at(300.0)
    stage.repairs.tend()
    assert stage.asked == []


async def test_a_break_in_which_nobody_traded_is_quiet(stage: Stage) -> None:
    """That is proven by a page, not guessed."""
    stage.trade(8.0)
    stage.repairs.broke(KEYS, stage.clock.now_s() + 60, "cut")
    stage.at(300.0)
    stage.repairs.back(KEYS)
    stage.at(310.0)
    stage.repairs.tend()
    stage.answer()

    ((_, gap),) = stage.tables.gaps.items()
    assert (gap.cause, gap.state) in {("quiet", "closed"), ("stream", "closed")}


async def test_errors_are_asked_about_later_and_later(stage: Stage) -> None:
    """An exchange in maintenance is not hammered."""
    stage.trade(8.0)
    stage.repairs.broke(KEYS, stage.clock.now_s(), "cut")
    stage.repairs.back(KEYS)
    asked = 0
    for second in range(6, 3_600):
        stage.at(float(second))
        stage.repairs.tend()
        questions, stage.asked = stage.asked, []
        asked += len(questions)
        for _, reply in questions:
            reply.fail(RuntimeError("maintenance"))

    assert 8 <= asked <= 20
    assert [wait_s(tries) for tries in (1, 2, 3, 9)] == [2.0, 4.0, 8.0, 300.0]


async def test_a_frame_beyond_what_is_proven_asks_the_exchange_whose_row_stays(
    stage: Stage,
) -> None:
    """The disagreement is counted and reported."""
    stage.trade(8.0, 65.0, 130.0)
    row = stage.exchange.row(Timeframe.M1, ONE_MS + 30_000)._replace(volume=9.0)
    stage.desk.take(LiveCandles(rows=((KEYS[0], row),), received_s=stage.clock.now_s()))
    assert [query.series for query, _ in stage.asked] == [MINUTES]
    stage.at(140.0)
    stage.answer()

    ((_, gap),) = stage.tables.gaps.items()
    assert (gap.cause, gap.state, stage.counts["disagreement"]) == ("disagreement", "closed", 1)
    assert [row.volume for row in stage.load()][-3:] == [1.0, 1.0, 1.0]


async def test_a_page_that_contradicts_the_stream_corrects_memory_and_store(stage: Stage) -> None:
    """What the stream had proven in error is replaced by the exchange's row."""
    stage.trade(8.0, 65.0, 130.0)
    stage.exchange.trades_ms.insert(3, ONE_MS + 30_000)
    stage.at(140.0)
    stage.load()

    assert stage.counts["disagreement"] == 1
    assert [row.volume for row in stage.corrected[0].candles] == [2.0]
    known = stage.look(MINUTES)
    assert known is not None
    assert known.closed.between(ONE_MS, ONE_MS + MINUTE_MS)[0].volume == 2.0


async def test_who_waits_for_closed_candles_gets_them_by_a_page_in_a_quiet_market(
    stage: Stage,
) -> None:
    """Nothing more is traded, so the stream proves nothing more."""
    with stage.events.subscribe(("closed", "KRW-BTC", "1m")) as closed:
        stage.trade(8.0)
        stage.at(62.0)
        stage.repairs.tend()
        assert stage.asked == []
        stage.at(68.0)
        stage.repairs.tend()
        stage.answer()
        assert [each.open_time_ms for each in published(closed)][-1] == ONE_MS


async def test_the_row_in_progress_is_told_and_in_memory_first(stage: Stage) -> None:
    """Whoever is told and asks must find it."""
    with stage.events.subscribe(("candles", "KRW-BTC", "1m")) as updates:
        stage.trade(8.0, 9.0)
        told = published(updates)

    assert [(each.volume, each.closed) for each in told if not each.closed] == [
        (1.0, False),
        (2.0, False),
    ]
    known = stage.look(MINUTES)
    assert known is not None
    assert known.candles[-1].volume == 2.0
    answer = known.newest(1, closed=False)
    assert answer is not None
    assert answer[0].volume == 2.0


async def test_a_page_older_than_the_stream_takes_nothing_away(stage: Stage) -> None:
    """It was on its way while the stream went on."""
    stage.trade(8.0)
    stage.at(8.5)
    page = stage.exchange.page(MINUTES, stage.clock.utc_ms())
    stage.trade(20.0, 65.0)
    known = stage.look(MINUTES)
    assert known is not None
    lesson = read_page(page, settle_ms=5_000, oldest_ms=0, older=Coverage(), known=known)
    after = learn(known, page, lesson, asked_s=stage.clock.now_s(), rows_max=200)

    assert [row.volume for row in after.candles][-2:] == [2.0, 1.0]


def test_gaps_are_kept_up_to_a_bound() -> None:
    """A line that breaks all the time must not fill memory."""
    tables = CacheTables("upbit")
    log = GapLog(tables.gaps, tables.gaps.claim("test"), PubSub())
    report = GapReport(
        exchange="upbit", market="KRW-BTC", kind="candle", start_ms=0, cause="stream"
    )
    numbers = [log.begin(report) for _ in range(GAPS_KEPT + 5)]
    log.change(numbers[0], state="closed")
    log.close_left(7)

    assert len(tables.gaps) == GAPS_KEPT
    assert {gap.state for _, gap in tables.gaps.items()} == {"closed"}
    assert Span(0, 7).end_ms == 7
