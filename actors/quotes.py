"""What a market looks like now: tickers, order books, trades, and the list of markets.

Prices are in the quote currency and sizes in the base currency, as float64, which is what the
exchanges themselves publish. Times are UTC milliseconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

import msgspec

Source: TypeAlias = Literal["live", "memory", "store", "exchange"]
"""Where an answer came from: what a stream keeps current, what was asked a moment ago, the
database, or a request made for it."""


class MarketInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One market that an exchange lists.

    Attributes:
      market: The market's name, as `Market.parse` reads it.
      name: The base asset's name in English, where the exchange gives one.
      warning: Whether the exchange has put the market under a warning.
    """

    market: str
    name: str = ""
    warning: bool = False


class Ticker(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a market. A day begins at 00:00 UTC.

    Attributes:
      market: The market's name.
      time_ms: When the exchange made this ticker.
      trade_time_ms: When the last trade happened.
      price: The last trade's price.
      volume: The last trade's size.
      open: The day's first price.
      high: The day's highest price.
      low: The day's lowest price.
      previous_close: The last price of the day before.
      change: `price - previous_close`.
      change_rate: `change / previous_close`; 0.01 is one per cent.
      day_volume: Base volume since 00:00 UTC.
      day_value: Quote turnover since 00:00 UTC.
      volume_24h: Base volume of the last 24 hours.
      value_24h: Quote turnover of the last 24 hours.
      high_52w: Highest price of the last 52 weeks.
      low_52w: Lowest price of the last 52 weeks.
      high_52w_date: The UTC day of that highest price, as 2026-01-31; empty if not told.
      low_52w_date: The UTC day of that lowest price.
      source: Where this came from.
      reason: Why from there, in words.
    """

    market: str
    time_ms: int
    trade_time_ms: int
    price: float
    volume: float
    open: float
    high: float
    low: float
    previous_close: float
    change: float
    change_rate: float
    day_volume: float
    day_value: float
    volume_24h: float
    value_24h: float
    high_52w: float
    low_52w: float
    high_52w_date: str = ""
    low_52w_date: str = ""
    source: Source = "exchange"
    reason: str = ""


class BookLevel(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One price of an order book with the size offered there.

    Attributes:
      price: Price in the quote currency.
      size: Size in the base currency.
    """

    price: float
    size: float


class OrderBook(msgspec.Struct, frozen=True, kw_only=True):
    """The best orders of a market, best first on both sides.

    Attributes:
      market: The market's name.
      time_ms: When the exchange made this book.
      bids: What buyers offer, highest price first.
      asks: What sellers want, lowest price first.
      total_bid_size: Size of all bids the exchange counted, also beyond the levels sent.
      total_ask_size: The same of the asks.
      source: Where this came from.
      reason: Why from there, in words.
    """

    market: str
    time_ms: int
    bids: tuple[BookLevel, ...]
    asks: tuple[BookLevel, ...]
    total_bid_size: float
    total_ask_size: float
    source: Source = "exchange"
    reason: str = ""

    def cut(self, depth: int) -> OrderBook:
        """Return this book with at most `depth` levels a side."""
        if depth >= max(len(self.bids), len(self.asks)):
            return self
        return msgspec.structs.replace(self, bids=self.bids[:depth], asks=self.asks[:depth])


class Trade(msgspec.Struct, frozen=True, kw_only=True):
    """One trade.

    Attributes:
      market: The market's name.
      time_ms: When it happened.
      price: Price in the quote currency.
      volume: Size in the base currency.
      side: What the taker did: `buy` or `sell`.
      trade_id: The exchange's number for it: unique in its market, but not necessarily rising.
      previous_close: The last price of the day before, UTC; None if not told.
    """

    market: str
    time_ms: int
    price: float
    volume: float
    side: Literal["buy", "sell"]
    trade_id: int
    previous_close: float | None = None


class Trades(msgspec.Struct, frozen=True, kw_only=True):
    """The newest trades of a market; used like a tuple of them.

    Attributes:
      market: The market's name.
      trades: Newest first.
      source: Where they came from.
      reason: Why from there, in words.
    """

    market: str
    trades: tuple[Trade, ...]
    source: Source = "exchange"
    reason: str = ""

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.trades)

    def __iter__(self) -> Iterator[Trade]:
        """Return them one by one, newest first."""
        return iter(self.trades)

    def __getitem__(self, index: int) -> Trade:
        """Return one of them; 0 is the newest."""
        return self.trades[index]
