"""A market as the world can see it at a moment: candles of every length, and trades.

Everything is derived from one source of base candles. A base candle is cut into trades
(`trades.py`); coarse candles are sums of base candles, fine ones of trades, and whatever the
present moment has not reached yet is left out trade by trade. So all answers agree to the digit.
"""

from __future__ import annotations

from typing import Protocol

from actors.sandbox.bars import YEAR, Bar, Bars, Period, Scale
from actors.sandbox.recent import Recent
from actors.sandbox.trades import SandboxTrade, fold_trades, trades_of
from actors.timeframes import Timeframe

DAY_MS = 86_400_000

# How much farther back each next look goes when a window holds too few candles.
_WIDEN = 4
_DAYS_A_CHUNK = 80
_CUT_BARS_KEPT = 256
_TRADES_WINDOW_BARS = 32


class BarSource(Protocol):
    """Where a market's base candles come from.

    Attributes:
      code: The market, e.g. `KRW-BTC`.
      base: The timeframe of the base candles; it divides a day.
      scale: What prices and volumes in whole numbers mean.
      key: What the trades inside the candles hang on.
      first_ms: No candle opens before this.
      typical_volume: What an ordinary base candle trades, in volume units.
    """

    code: str
    base: Timeframe
    scale: Scale
    key: int
    first_ms: int
    typical_volume: int

    def bars(self, start_ms: int, end_ms: int) -> Bars:
        """Return the base candles that open in [start_ms, end_ms), each whole."""


class SandboxMarket:
    """One market; every method is a pure function of its arguments.

    Only trades that happened at or before `now_ms` exist. Times are UTC milliseconds.

    Args:
      source: Where the base candles come from.
    """

    def __init__(self, source: BarSource) -> None:
        self.source = source
        self.code = source.code
        self.scale = source.scale
        self._base = source.base
        self._span_ms = source.base.span_ms
        # Whole days, added up once, because a page of months would otherwise read every minute.
        self._days = Bars.from_rows(())
        self._days_end_ms = Timeframe.D1.floor_ms(source.first_ms)
        self._cut = Recent(self._cut_bar, size=_CUT_BARS_KEPT)

    def candles(
        self, period: Period, *, to_ms: int | None, count: int, now_ms: int, oldest_ms: int = 0
    ) -> list[Bar]:
        """Return the newest `count` candles, newest first, the last one as far as it has come.

        Args:
          period: How long a candle lasts.
          to_ms: Candles that open at or after this are left out; None for the newest there are.
          count: How many at most; fewer only where the history begins.
          now_ms: The present.
          oldest_ms: Candles that open before this are left out.
        """
        if period == YEAR or Timeframe(period).span_ms >= DAY_MS:
            bars = self.days(now_ms).fold(period)
            bars = bars.between(oldest_ms, now_ms + 1 if to_ms is None else to_ms)
        else:
            bars = self._newest(Timeframe(period), to_ms, count, now_ms, oldest_ms)
        return bars[max(0, len(bars) - count) :].rows()[::-1]

    def _newest(
        self, period: Timeframe, to_ms: int | None, count: int, now_ms: int, oldest_ms: int
    ) -> Bars:
        end_ms = period.ceil_ms(now_ms + 1 if to_ms is None else min(to_ms, now_ms + 1))
        floor_ms = max(period.floor_ms(self.source.first_ms), period.ceil_ms(oldest_ms))
        width_ms = count * period.span_ms
        # Minutes without a trade have no candle, so a window may hold too few: look farther back.
        while True:
            start_ms = max(floor_ms, end_ms - width_ms)
            bars = self._fold(period, start_ms, min(end_ms, now_ms + 1))
            if len(bars) >= count or start_ms >= end_ms or start_ms == floor_ms:
                return bars
            width_ms *= _WIDEN

    def _fold(self, period: Timeframe, start_ms: int, end_ms: int) -> Bars:
        if period.span_ms % self._span_ms == 0:
            return self.between(start_ms, end_ms).fold(period)
        return fold_trades(self.trades(start_ms, end_ms), period)

    def between(self, start_ms: int, end_ms: int) -> Bars:
        """Return base candles made of exactly the trades in [start_ms, end_ms)."""
        first_ms = self._base.floor_ms(start_ms)
        bars = self.source.bars(first_ms, end_ms)
        whole = bars.between(start_ms, end_ms - self._span_ms + 1)
        edges = []
        for edge_ms in (first_ms, self._base.floor_ms(max(end_ms - 1, first_ms))):
            is_cut = edge_ms < start_ms or edge_ms + self._span_ms > end_ms
            trades = self._cut.get(edge_ms) if is_cut else ()
            inside = [trade for trade in trades if start_ms <= trade.time_ms < end_ms]
            edges.append(fold_trades(inside, self._base))
            if is_cut and edge_ms == first_ms and edge_ms + self._span_ms >= end_ms:
                # Both edges lie in the same candle, which must not be counted twice.
                return edges[0]
        return Bars.concat((edges[0], whole, edges[1]))

    def trades(self, start_ms: int, end_ms: int) -> list[SandboxTrade]:
        """Return the trades in [start_ms, end_ms), oldest first."""
        bars = self.source.bars(self._base.floor_ms(start_ms), end_ms)
        if len(bars) > _CUT_BARS_KEPT:
            found = trades_of(bars, span_ms=self._span_ms, key=self.source.key)
        else:
            found = [trade for ms in bars.open_ms.tolist() for trade in self._cut.get(ms)]
        return [trade for trade in found if start_ms <= trade.time_ms < end_ms]

    def _cut_bar(self, open_ms: int) -> tuple[SandboxTrade, ...]:
        bars = self.source.bars(open_ms, open_ms + 1)
        return tuple(trades_of(bars, span_ms=self._span_ms, key=self.source.key))

    def newest_trades(self, start_ms: int, end_ms: int, count: int) -> list[SandboxTrade]:
        """Return the newest `count` trades in [start_ms, end_ms), newest first."""
        start_ms = max(start_ms, self.source.first_ms)
        found: list[SandboxTrade] = []
        width_ms = _TRADES_WINDOW_BARS * self._span_ms
        while end_ms > start_ms and len(found) < count:
            from_ms = max(start_ms, self._base.floor_ms(end_ms - 1) - width_ms)
            bars = self.source.bars(self._base.floor_ms(from_ms), end_ms)
            for open_ms in reversed(bars.open_ms.tolist()):
                if len(found) >= count:
                    break
                inside = (t for t in reversed(self._cut.get(open_ms)) if from_ms <= t.time_ms)
                found += [trade for trade in inside if trade.time_ms < end_ms]
            end_ms = from_ms
            width_ms *= _WIDEN
        return found[:count]

    def last_trade(self, now_ms: int) -> SandboxTrade | None:
        """Return the newest trade, or None before the first one."""
        newest = self.newest_trades(0, now_ms + 1, 1)
        return newest[0] if newest else None

    def days(self, now_ms: int) -> Bars:
        """Return the candles of all days, the present one as far as it has come."""
        today_ms = Timeframe.D1.floor_ms(now_ms)
        self._add_days(today_ms)
        today = self.between(today_ms, now_ms + 1).fold(Timeframe.D1)
        return Bars.concat((self._days.between(0, today_ms), today))

    def _add_days(self, end_ms: int) -> None:
        parts = [self._days]
        while self._days_end_ms < end_ms:
            chunk_end_ms = min(end_ms, self._days_end_ms + _DAYS_A_CHUNK * DAY_MS)
            parts.append(self.source.bars(self._days_end_ms, chunk_end_ms).fold(Timeframe.D1))
            self._days_end_ms = chunk_end_ms
        self._days = Bars.concat(parts)

    def previous_close(self, time_ms: int, now_ms: int) -> int | None:
        """Return the last price before the day of `time_ms`, in price units; None on day one."""
        days = self.days(now_ms).between(0, Timeframe.D1.floor_ms(time_ms))
        return int(days.close[-1]) if len(days) else None
