"""Trades inside a candle: any candle that can exist is the exact sum of the trades made for it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from actors.sandbox.bars import Bars
from actors.sandbox.trades import bars_of, fold_trades, trades_of
from actors.timeframes import Timeframe

BASES = [Timeframe.S1, Timeframe.M1, Timeframe.M10, Timeframe.H1, Timeframe.D1]


@st.composite
def whole_bars(draw: st.DrawFn) -> tuple[Bars, Timeframe, int]:
    """A candle that trades can have made, down to those of one, two or three volume units."""
    base = draw(st.sampled_from(BASES))
    open_, close = draw(st.integers(1, 10**9)), draw(st.integers(1, 10**9))
    high = max(open_, close) + draw(st.integers(0, 1000))
    low = max(1, min(open_, close) - draw(st.integers(0, 1000)))
    others = {high, low} - {open_, close}
    flat = open_ == close and not others
    needed = 1 if flat else 2 + len(others)
    volume = draw(st.integers(needed, needed + 5) | st.integers(needed, 2**61))
    key = draw(st.integers(0, 2**64 - 1))
    opens = np.array([draw(st.integers(0, 20_000)) * base.span_ms], np.int64)
    four = [np.array([price], np.int64) for price in (open_, high, low, close)]
    prices = (four[0], four[1], four[2], four[3])
    size = np.array([volume], np.int64)
    return bars_of(opens, prices, size, span_ms=base.span_ms, key=key), base, key


@given(whole_bars())
def test_trades_add_up_to_their_candle_exactly(case: tuple[Bars, Timeframe, int]) -> None:
    """Price, volume, turnover and the last trade's time, to the digit."""
    bars, base, key = case
    trades = trades_of(bars, span_ms=base.span_ms, key=key)
    assert fold_trades(trades, base).rows() == bars.rows()


@given(whole_bars())
def test_trades_lie_in_their_candle_one_after_the_other(
    case: tuple[Bars, Timeframe, int],
) -> None:
    """Times identify trades, so no two may be equal; and nothing is traded for nothing."""
    bars, base, key = case
    trades = trades_of(bars, span_ms=base.span_ms, key=key)
    open_ms = bars.rows()[0].open_ms

    assert open_ms <= trades[0].time_ms
    assert trades[-1].time_ms < open_ms + base.span_ms
    assert all(before.time_ms < after.time_ms for before, after in pairwise(trades))
    assert all(trade.volume > 0 for trade in trades)
    assert len({trade.sequential_id for trade in trades}) == len(trades)


@given(whole_bars())
def test_the_same_candle_always_has_the_same_trades(case: tuple[Bars, Timeframe, int]) -> None:
    """Nothing is remembered between two requests."""
    bars, base, key = case
    first = trades_of(bars, span_ms=base.span_ms, key=key)
    assert trades_of(bars, span_ms=base.span_ms, key=key) == first


def test_a_candle_of_a_day_has_trades_in_many_of_its_minutes() -> None:
    """A file of days can then be looked at by the minute."""
    ones = np.array([10**9], np.int64)
    opens = np.array([0], np.int64)
    bars = bars_of(opens, (ones, ones + 9, ones - 9, ones), ones, span_ms=86_400_000, key=1)

    trades = trades_of(bars, span_ms=86_400_000, key=1)

    assert len(fold_trades(trades, Timeframe.M1)) > 200
