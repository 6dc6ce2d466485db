"""What a ticker says, kept up to date trade by trade: nothing is added up anew.

At every trade it equals `summarize` at that trade's moment, to the unit.
"""

from __future__ import annotations

from actors.sandbox.bars import Bar
from actors.sandbox.hashing import bits, mix_all
from actors.sandbox.market import DAY_MS, SandboxMarket
from actors.sandbox.summary import Extreme, Summary, summarize
from actors.sandbox.tape import Tape
from actors.sandbox.trades import SandboxTrade, trades_of
from actors.timeframes import Timeframe

_SIDES = 0x51DE


class DaySides:
    """How much of a market's present day takers sold and bought; remembered between connections.

    From the first look on it is the sum of the trades. What was traded on that day before it is
    split by a share that each candle's hash gives: cutting whole days of hundreds of markets into
    trades, only to sum up sides that nobody was told of, would keep all clients waiting.
    """

    def __init__(self, market: SandboxMarket) -> None:
        self._market = market
        self._day_ms = -1
        self._end_ms = -1
        self._sums = (0, 0)

    def at(self, now_ms: int) -> tuple[int, int]:
        """Return what was sold and what was bought in the UTC day of `now_ms`, in volume units."""
        base = self._market.source.base
        day_ms, whole_ms = Timeframe.D1.floor_ms(now_ms), base.floor_ms(now_ms)
        if day_ms == self._day_ms and now_ms < self._end_ms:
            # A connection that is behind asks after one that is not.
            later = _plus((0, 0), self._market.trades(now_ms + 1, self._end_ms))
            return self._sums[0] - later[0], self._sums[1] - later[1]
        if day_ms != self._day_ms:
            is_first = self._day_ms < 0
            self._day_ms = self._end_ms = day_ms
            self._sums = (0, 0)
            if is_first:
                self._sums = self._split(day_ms, whole_ms)
                self._end_ms = whole_ms
        if whole_ms > self._end_ms:
            bars = self._market.source.bars(self._end_ms, whole_ms)
            cut = trades_of(bars, span_ms=base.span_ms, key=self._market.source.key)
            self._sums = _plus(self._sums, cut)
            self._end_ms = whole_ms
        return _plus(self._sums, self._market.trades(self._end_ms, now_ms + 1))

    def _split(self, start_ms: int, end_ms: int) -> tuple[int, int]:
        source = self._market.source
        bars = source.bars(start_ms, end_ms)
        # From a quarter to three quarters of each candle, in 64ths.
        parts = bits(mix_all(bars.open_ms, source.key ^ _SIDES), 0, 5) + 16
        bought = int(((bars.volume >> 6) * parts).sum())
        return bars.totals()[0] - bought, bought


def _plus(sums: tuple[int, int], trades: list[SandboxTrade]) -> tuple[int, int]:
    bought = sum(trade.volume for trade in trades if trade.is_bid)
    return sums[0] + sum(trade.volume for trade in trades) - bought, sums[1] + bought


class LiveDay:
    """A market's ticker from `now_ms` on.

    Attributes:
      last: The newest trade.
      ask_volume: What takers sold in the present day, in volume units.
      bid_volume: What they bought.

    Args:
      market: Whose ticker; it must have been traded.
      sides: What is known of its day.
      summary: Its state at `now_ms`.
      now_ms: The present, UTC milliseconds.
    """

    def __init__(
        self, market: SandboxMarket, sides: DaySides, summary: Summary, now_ms: int
    ) -> None:
        self._market = market
        self.last = summary.last
        self._previous_close = summary.previous_close
        self._volume_24h, self._value_24h = summary.volume_24h, summary.value_24h
        # What is to leave the last 24 hours as time goes on.
        self._leaving = Tape(market, now_ms - DAY_MS + 1)
        self.ask_volume, self.bid_volume = sides.at(now_ms)
        self._day = summary.day
        self._high, self._low = summary.high_52w, summary.low_52w

    @classmethod
    def of(cls, market: SandboxMarket, sides: DaySides, now_ms: int) -> LiveDay | None:
        """Return the ticker of `market`, or None before its first trade."""
        summary = summarize(market, now_ms)
        return None if summary is None else cls(market, sides, summary, now_ms)

    def add(self, trade: SandboxTrade) -> None:
        """Take in the next trade."""
        day = self._day
        time_ms, price, volume, is_bid = trade
        value = price * volume
        if time_ms - day.open_ms >= DAY_MS:
            self._begin(trade)
        elif day.volume:
            self._day = Bar(
                day.open_ms,
                day.open,
                max(day.high, price),
                min(day.low, price),
                price,
                day.volume + volume,
                day.value + value,
                time_ms,
            )
        else:
            # Until now the day had only the price of the one before.
            self._look_back(time_ms)
            self._day = Bar(day.open_ms, price, price, price, price, volume, value, time_ms)
        if is_bid:
            self.bid_volume += volume
        else:
            self.ask_volume += volume
        self._volume_24h += volume
        self._value_24h += value
        while self._leaving.due_ms <= time_ms - DAY_MS:
            gone = self._leaving.take()
            if gone is not None:
                self._volume_24h -= gone.volume
                self._value_24h -= gone.volume * gone.price
        self.last = trade

    def _begin(self, trade: SandboxTrade) -> None:
        """Begin a new day with its first trade."""
        time_ms, price, volume, _ = trade
        day_ms = Timeframe.D1.floor_ms(time_ms)
        self._previous_close = self.last.price
        self._day = Bar(day_ms, price, price, price, price, volume, price * volume, time_ms)
        self.ask_volume = self.bid_volume = 0
        self._look_back(time_ms)

    def _look_back(self, now_ms: int) -> None:
        """Read the year anew, once a day; the present day is kept up to date by itself."""
        summary = summarize(self._market, now_ms)
        if summary is not None:
            self._high, self._low = summary.high_52w, summary.low_52w

    def summary(self) -> Summary:
        """Return the state after the newest trade."""
        day, high, low = self._day, self._high, self._low
        if day.volume and day.high >= high.price:
            high = self._high = Extreme(day.high, day.open_ms)
        if day.volume and day.low <= low.price:
            low = self._low = Extreme(day.low, day.open_ms)
        return Summary(
            self.last, day, self._previous_close, self._volume_24h, self._value_24h, high, low
        )
