"""The state of a market at a moment: what a ticker says, in whole units."""

from __future__ import annotations

from dataclasses import dataclass

from actors.sandbox.bars import Bar
from actors.sandbox.market import DAY_MS, SandboxMarket
from actors.sandbox.trades import SandboxTrade
from actors.timeframes import Timeframe

_52_WEEKS_MS = 52 * 7 * DAY_MS


@dataclass(frozen=True, slots=True)
class Extreme:
    """The highest or lowest price of a span.

    Attributes:
      price: In price units.
      day_ms: Start of the newest day that reached it.
    """

    price: int
    day_ms: int


@dataclass(frozen=True, slots=True)
class Summary:
    """What a ticker says.

    Attributes:
      last: The newest trade.
      day: The present UTC day; a flat candle without volume if nobody has traded in it yet.
      previous_close: The last price before the present day; its open if there is none.
      volume_24h: Traded in the last 24 hours, in volume units.
      value_24h: Turnover of the last 24 hours, in price units times volume units.
      high_52w: Highest price of the last 52 weeks, the present day included.
      low_52w: Lowest price of the same.
    """

    last: SandboxTrade
    day: Bar
    previous_close: int
    volume_24h: int
    value_24h: int
    high_52w: Extreme
    low_52w: Extreme


def summarize(market: SandboxMarket, now_ms: int) -> Summary | None:
    """Return the state of `market` at `now_ms`, or None before its first trade."""
    last = market.last_trade(now_ms)
    if last is None:
        return None
    today_ms = Timeframe.D1.floor_ms(now_ms)
    days = market.days(now_ms).between(today_ms - _52_WEEKS_MS, now_ms + 1).rows()
    day = days[-1] if days and days[-1].open_ms == today_ms else _flat(today_ms, last)
    previous_close = market.previous_close(now_ms, now_ms)
    volume_24h, value_24h = market.between(now_ms - DAY_MS + 1, now_ms + 1).totals()
    # A market that has been silent for a year still has a price: its last one.
    year = days or [day]
    return Summary(
        last=last,
        day=day,
        previous_close=day.open if previous_close is None else previous_close,
        volume_24h=volume_24h,
        value_24h=value_24h,
        high_52w=_extreme(max((bar.high, bar.open_ms) for bar in year)),
        low_52w=_extreme(min((bar.low, -bar.open_ms) for bar in year)),
    )


def _extreme(found: tuple[int, int]) -> Extreme:
    return Extreme(found[0], abs(found[1]))


def _flat(open_ms: int, last: SandboxTrade) -> Bar:
    price = last.price
    return Bar(open_ms, price, price, price, price, 0, 0, last.time_ms)
