"""`SandboxMarket`: whatever is asked for in whatever way, all answers agree to the digit."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.sandbox.bars import YEAR, Bar, Bars, Period
from actors.sandbox.generated import CHARACTERS, Character, GeneratedSource
from actors.sandbox.market import DAY_MS, BarSource, SandboxMarket
from actors.sandbox.trades import bars_of, fold_trades
from actors.timeframes import Timeframe

NOW_MS = 1_767_225_600_000 + 12_345_678
PERIODS: list[Period] = [*Timeframe, YEAR]
SHORT = [Timeframe.S1, Timeframe.M1, Timeframe.M3, Timeframe.M5, Timeframe.H1]

moments = st.integers(NOW_MS - 20 * DAY_MS, NOW_MS + 2 * DAY_MS)
seeds = st.integers(0, 3)
kinds = st.sampled_from(CHARACTERS)
known: dict[tuple[int, str], SandboxMarket] = {}


def market_of(seed: int, code: str) -> SandboxMarket:
    """Return a generated market; pure, so it may be shared between examples."""
    if (seed, code) not in known:
        kind = next(kind for kind in CHARACTERS if kind.code == code)
        source = GeneratedSource(kind, seed=seed, listed_ms=NOW_MS - 30 * DAY_MS)
        known[seed, code] = SandboxMarket(source)
    return known[seed, code]


markets = st.builds(market_of, seeds, st.sampled_from([kind.code for kind in CHARACTERS]))


@settings(deadline=None, max_examples=60)
@given(markets, st.sampled_from(PERIODS), moments, moments, st.integers(1, 40), st.integers(1, 9))
def test_pages_join_without_overlap_or_loss(
    market: SandboxMarket, period: Period, now_ms: int, to_ms: int, count: int, pages: int
) -> None:
    """Paging back by the oldest row's opening time is how every client reads history."""
    joined: list[Bar] = []
    end_ms = to_ms
    for _ in range(pages):
        page = market.candles(period, to_ms=end_ms, count=count, now_ms=now_ms)
        joined += page
        if not page:
            break
        end_ms = page[-1].open_ms

    whole = market.candles(period, to_ms=to_ms, count=count * pages, now_ms=now_ms)

    assert joined == whole
    assert all(bar.open_ms < to_ms and bar.last_ms <= now_ms for bar in whole)
    assert all(bar.volume > 0 for bar in whole)


@settings(deadline=None, max_examples=25)
@given(kinds, st.sampled_from(PERIODS[1:]), st.integers(0, 5 * DAY_MS))
def test_coarse_candles_are_the_sum_of_minutes(
    kind: Character, period: Period, passed_ms: int
) -> None:
    """The one in progress included, and over the turn of a week, a month and a year."""
    listed_ms = 1_767_052_800_000  # 2025-12-30, a Tuesday
    market = SandboxMarket(GeneratedSource(kind, seed=1, listed_ms=listed_ms))
    now_ms = listed_ms + 60_000 * 9 + passed_ms
    fine = market.candles(Timeframe.M1, to_ms=None, count=100_000, now_ms=now_ms)
    coarse = market.candles(period, to_ms=None, count=100_000, now_ms=now_ms)
    assert Bars.from_rows(fine[::-1]).fold(period).rows() == coarse[::-1]


@settings(deadline=None, max_examples=40)
@given(markets, st.sampled_from(SHORT), moments, st.integers(1, 30))
def test_candles_are_the_sum_of_the_trades_so_far(
    market: SandboxMarket, period: Timeframe, now_ms: int, count: int
) -> None:
    """A trade of the future is in no candle, one of the past is in each of its candles."""
    candles = market.candles(period, to_ms=None, count=count, now_ms=now_ms)[::-1]
    trades = market.trades(candles[0].open_ms, now_ms + 1)
    assert fold_trades(trades, period).rows() == candles


@settings(deadline=None, max_examples=40)
@given(markets, moments, st.integers(0, 50_000_000), st.integers(1, 300))
def test_newest_trades_are_the_end_of_all_trades(
    market: SandboxMarket, end_ms: int, span_ms: int, count: int
) -> None:
    """Both ways of reading trades give the same ones."""
    start_ms = end_ms - span_ms
    newest = market.newest_trades(start_ms, end_ms, count)
    assert newest == market.trades(start_ms, end_ms)[::-1][:count]


@settings(deadline=None, max_examples=40)
@given(markets, moments, st.integers(0, 10_000_000))
def test_sums_of_any_span_are_those_of_its_trades(
    market: SandboxMarket, end_ms: int, span_ms: int
) -> None:
    """A ticker's 24 hours begin and end in the middle of minutes."""
    start_ms = end_ms - span_ms
    trades = market.trades(start_ms, end_ms)
    volume = sum(trade.volume for trade in trades)
    value = sum(trade.volume * trade.price for trade in trades)
    assert market.between(start_ms, end_ms).totals() == (volume, value)


@settings(deadline=None, max_examples=20)
@given(markets, moments)
def test_answers_do_not_depend_on_what_was_asked_before(market: SandboxMarket, now_ms: int) -> None:
    """What is remembered for speed must never show."""
    source = market.source
    fresh = SandboxMarket(source)
    for period in PERIODS:
        again = fresh.candles(period, to_ms=None, count=3, now_ms=now_ms)
        assert again == market.candles(period, to_ms=None, count=3, now_ms=now_ms)


def test_a_candle_in_progress_grows_trade_by_trade() -> None:
    """It shows only what has happened."""
    market = market_of(1, "KRW-BTC")
    minute_ms = Timeframe.M1.floor_ms(NOW_MS)
    trades = market.trades(minute_ms, minute_ms + 60_000)
    for number, trade in enumerate(trades, start=1):
        bar = market.candles(Timeframe.M1, to_ms=None, count=1, now_ms=trade.time_ms)[0]
        assert [bar] == fold_trades(trades[:number], Timeframe.M1).rows()


def test_the_history_has_an_edge() -> None:
    """Before the listing there is nothing, and a page at the edge is short."""
    market = market_of(1, "KRW-BTC")
    listed_ms = market.source.first_ms
    first = market.candles(Timeframe.H1, to_ms=listed_ms + 2 * 3_600_000, count=200, now_ms=NOW_MS)

    assert [bar.open_ms for bar in first] == [listed_ms + 3_600_000, listed_ms]
    assert market.candles(Timeframe.H1, to_ms=listed_ms, count=200, now_ms=NOW_MS) == []
    assert market.candles(Timeframe.D1, to_ms=0, count=200, now_ms=NOW_MS) == []
    assert market.last_trade(listed_ms - 1) is None
    assert market.trades(0, listed_ms) == []


class Tens:
    """Base candles of ten minutes, of which fifteen minutes are no multiple."""

    code = "KRW-TEN"
    base = Timeframe.M10
    scale = CHARACTERS[0].scale
    key = 3
    first_ms = 0
    typical_volume = 1000

    def bars(self, start_ms: int, end_ms: int) -> Bars:
        """Return every candle of the window, counted from zero."""
        minutes = GeneratedSource(CHARACTERS[0], seed=1, listed_ms=0).bars(
            start_ms, end_ms + 600_000
        )
        tens = minutes.fold(Timeframe.M10)
        prices = (tens.open, tens.high, tens.low, tens.close)
        made = bars_of(tens.open_ms, prices, tens.volume, span_ms=600_000, key=self.key)
        return made.between(start_ms, end_ms)


def test_candles_that_base_candles_do_not_divide_come_from_trades() -> None:
    """A file of ten-minute candles still has candles of three and fifteen minutes."""
    source: BarSource = Tens()
    market = SandboxMarket(source)
    now_ms = 5 * 3_600_000 + 123_456
    for period in (Timeframe.M1, Timeframe.M3, Timeframe.M15):
        candles = market.candles(period, to_ms=None, count=15, now_ms=now_ms)[::-1]
        assert len(candles) == 15
        trades = market.trades(candles[0].open_ms, now_ms + 1)
        assert fold_trades(trades, period).rows() == candles
    half_hours = market.candles(Timeframe.M30, to_ms=None, count=9, now_ms=now_ms)[::-1]
    tens = market.candles(Timeframe.M10, to_ms=None, count=99, now_ms=now_ms)[::-1]
    assert Bars.from_rows(tens).fold(Timeframe.M30).rows()[-9:] == half_hours
