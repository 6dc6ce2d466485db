"""Tickers and order books: each agrees with the trades and with the candles."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.sandbox.book import DEPTH, levels_of, order_book
from actors.sandbox.generated import CHARACTERS, GeneratedSource
from actors.sandbox.market import DAY_MS, SandboxMarket
from actors.sandbox.summary import summarize
from actors.timeframes import Timeframe

NOW_MS = 1_767_225_600_000 + 12_345_678
LISTED_MS = NOW_MS - 2 * DAY_MS
MARKETS = [SandboxMarket(GeneratedSource(kind, seed=2, listed_ms=LISTED_MS)) for kind in CHARACTERS]

moments = st.integers(LISTED_MS + 100_000, NOW_MS)


@settings(deadline=None, max_examples=12)
@given(st.sampled_from(MARKETS), moments)
def test_a_ticker_agrees_with_trades_and_days(market: SandboxMarket, now_ms: int) -> None:
    """To the digit, at any moment."""
    summary = summarize(market, now_ms)
    assert summary is not None
    trades = market.trades(0, now_ms + 1)
    day_ms = Timeframe.D1.floor_ms(now_ms)
    recent = [trade for trade in trades if trade.time_ms > now_ms - DAY_MS]
    before = [trade for trade in trades if trade.time_ms < day_ms]
    days = market.candles(Timeframe.D1, to_ms=None, count=200, now_ms=now_ms)

    assert summary.last == trades[-1]
    assert summary.volume_24h == sum(trade.volume for trade in recent)
    assert summary.value_24h == sum(trade.volume * trade.price for trade in recent)
    assert summary.previous_close == (before[-1].price if before else trades[0].price)
    assert (summary.high_52w.price, summary.low_52w.price) == (
        max(bar.high for bar in days),
        min(bar.low for bar in days),
    )
    today = [bar for bar in days if bar.open_ms == day_ms]
    assert not today or summary.day == today[0]


def test_a_trade_leaves_the_day_after_exactly_24_hours() -> None:
    """To the millisecond, or the sum would differ from that of the trades."""
    market = MARKETS[0]
    trade = market.trades(LISTED_MS + 3_600_000, LISTED_MS + 7_200_000)[7]
    before, after = (summarize(market, trade.time_ms + DAY_MS + n) for n in (-1, 0))
    assert before is not None
    assert after is not None
    came = market.trades(trade.time_ms + DAY_MS, trade.time_ms + DAY_MS + 1)
    new = sum(one.volume for one in came)
    assert before.volume_24h - after.volume_24h == trade.volume - new


def test_the_extremes_of_a_year_name_their_day() -> None:
    """The newest day, where several reached the same price."""
    market = MARKETS[3]
    summary = summarize(market, NOW_MS)
    assert summary is not None
    days = market.candles(Timeframe.D1, to_ms=None, count=200, now_ms=NOW_MS)
    highs = [bar.open_ms for bar in days if bar.high == summary.high_52w.price]
    lows = [bar.open_ms for bar in days if bar.low == summary.low_52w.price]
    assert (summary.high_52w.day_ms, summary.low_52w.day_ms) == (max(highs), max(lows))


def test_a_day_without_a_trade_is_flat() -> None:
    """A market whose file has ended still has a price."""
    market = SandboxMarket(Ended(CHARACTERS[0], seed=1, listed_ms=LISTED_MS))
    summary = summarize(market, NOW_MS + 9 * DAY_MS)
    assert summary is not None
    price = summary.last.price
    assert summary.day[1:7] == (price, price, price, price, 0, 0)
    assert (summary.previous_close, summary.volume_24h) == (price, 0)
    assert summarize(market, NOW_MS + 900 * DAY_MS) is not None


class Ended(GeneratedSource):
    """A market in which nobody trades after a moment."""

    def bars(self, start_ms: int, end_ms: int):  # type: ignore[no-untyped-def]  # noqa: ANN201 - as above
        """Return nothing after the end."""
        return super().bars(start_ms, max(start_ms, min(end_ms, NOW_MS)))


def test_before_the_first_trade_there_is_nothing() -> None:
    """No price can be made up."""
    assert summarize(MARKETS[0], LISTED_MS - DAY_MS) is None
    assert order_book(MARKETS[0], LISTED_MS - DAY_MS, step=0) is None
    assert levels_of(MARKETS[0], LISTED_MS - DAY_MS) == (0,)


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(MARKETS), moments)
def test_a_book_stands_around_the_last_trade(market: SandboxMarket, now_ms: int) -> None:
    """Best prices first, none crossed, on the tick grid, and the last price is one of them."""
    book = order_book(market, now_ms, step=0)
    last = market.last_trade(now_ms)
    assert book is not None
    assert last is not None
    asks, bids = [ask[0] for ask in book.asks], [bid[0] for bid in book.bids]

    assert bids[0] < asks[0]
    assert last.price in (bids[0], asks[0])
    assert len(asks) == len(bids) == DEPTH
    assert all(low < high for low, high in pairwise(asks))
    assert all(high > low for high, low in pairwise(bids))
    assert all(price % market.scale.tick == 0 and price > 0 for price in asks + bids)
    assert all(size > 0 for _, size in book.asks + book.bids)
    assert last.time_ms <= book.time_ms <= now_ms
    assert order_book(market, book.time_ms, step=0) == book


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(MARKETS[:4]), moments, st.data())
def test_coarse_levels_are_sums_of_fine_ones(
    market: SandboxMarket, now_ms: int, data: st.DataObject
) -> None:
    """Whatever of the fine book lies fully in a coarse level makes it up."""
    levels = levels_of(market, now_ms)[1:]
    step = data.draw(st.sampled_from(levels))
    fine, coarse = (order_book(market, now_ms, step=s) for s in (0, step))
    assert fine is not None
    assert coarse is not None

    reach = fine.asks[-1][0]
    for price, size in coarse.asks:
        if price <= reach:
            inside = [s for p, s in fine.asks if price - step < p <= price]
            assert size == sum(inside)
    reach = fine.bids[-1][0]
    for price, size in coarse.bids:
        if price >= reach:
            inside = [s for p, s in fine.bids if price <= p < price + step]
            assert size == sum(inside)


@pytest.mark.parametrize(
    ("index", "levels"),
    [(0, (0, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)), (4, (0,)), (5, (0,))],
)
def test_only_won_markets_have_levels(index: int, levels: tuple[int, ...]) -> None:
    """As Upbit's list of instruments shows for KRW-BTC."""
    assert levels_of(MARKETS[index], NOW_MS) == levels
