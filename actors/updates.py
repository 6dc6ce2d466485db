"""What bots are told as it happens. Every update of a subscription is one of these.

On the local socket each is an object whose member `event` names its kind.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from actors.quotes import OrderBook, Ticker, Trade
from actors.reports import GapReport, Health

Topic: TypeAlias = tuple[str, str, str]
"""Kind of subscription, market, timeframe or nothing: `ticker`, `trades`, `orderbook`, `candles`
(every change), `closed` (candles once they are final), `gaps`, `health` (which has no market)."""


class Subscribed(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription has begun.

    Attributes:
      subscription: Its number on this connection; every update carries it.
    """

    subscription: int


class Unsubscribed(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription has ended: no update of it follows.

    Attributes:
      subscription: Its number.
    """

    subscription: int


class TickerUpdate(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="ticker"):
    """A market's state has changed.

    Attributes:
      ticker: What it is now.
    """

    ticker: Ticker


class OrderBookUpdate(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="orderbook"
):
    """A market's best orders have changed.

    Attributes:
      book: What they are now.
    """

    book: OrderBook


class TradeUpdate(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="trade"):
    """Somebody traded; told once for each trade.

    Attributes:
      trade: The trade.
    """

    trade: Trade


class CandleUpdate(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="candle"):
    """A candle has grown, or is proven final.

    Attributes:
      market: Its market.
      timeframe: How long it lasts.
      open_time_ms: Its opening time.
      open: First price; likewise `high`, `low` and `close`.
      volume: Size traded in it, in the base currency.
      value: Turnover in it, in the quote currency.
      closed: Whether it is proven final; if so it is never told again.
    """

    market: str
    timeframe: str
    open_time_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    value: float
    closed: bool


class GapUpdate(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="gap"):
    """Knowledge has a hole, or a hole has been mended.

    Attributes:
      gap: The hole as it is now.
    """

    gap: GapReport


class HealthUpdate(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="health"):
    """Something the runtime depends on does better or worse than before.

    Attributes:
      health: How it is now.
    """

    health: Health


class Missed(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="missed"):
    """Updates were left out before the next one.

    Attributes:
      count: How many; None if nobody can tell, because there was no runtime to count them.
      why: `replaced` by newer ones of the same market (of a candle: of the same candle), as the
        subscription wants it; `dropped`, the oldest, because they were not read in time;
        `reconnected`: the client lost its runtime and found it, or another one, again. What is
        known then comes first, as when the subscription began.
    """

    count: int | None
    why: Literal["replaced", "dropped", "reconnected"]


MarketUpdate: TypeAlias = (
    TickerUpdate | OrderBookUpdate | TradeUpdate | CandleUpdate | GapUpdate | HealthUpdate | Missed
)
