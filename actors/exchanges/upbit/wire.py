"""Upbit's bodies as they are on the wire: the fields we use, with the types we insist on.

Fields that are not named here are skipped without being built.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec

# Upbit writes times without a zone and means UTC; one that says a zone is not what we know.
NaiveTime = Annotated[datetime, msgspec.Meta(tz=False)]
# Years 1970 to 2999: no overflow further on, whatever the body says.
TimeMs = Annotated[int, msgspec.Meta(ge=0, lt=32_503_680_000_000)]
# A market and the depth of a book; a bound, because streams remember those they have seen.
Code = Annotated[str, msgspec.Meta(max_length=60)]
# As 2026-01-31; a bound, because it is passed on as it is.
Day = Annotated[str, msgspec.Meta(max_length=10)]
# What the taker did, in the words of the order book.
Side = Literal["ASK", "BID"]
TradeId = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class MarketRow(msgspec.Struct):
    """What every row begins with: the market it is about."""

    market: str


class Candle(MarketRow):
    """A row of /v1/candles, any timeframe."""

    candle_date_time_utc: NaiveTime
    opening_price: float
    high_price: float
    low_price: float
    trade_price: float
    candle_acc_trade_volume: float
    candle_acc_trade_price: float


class Ticker(MarketRow):
    """A row of /v1/ticker."""

    timestamp: TimeMs
    trade_timestamp: TimeMs
    trade_price: float
    trade_volume: float
    opening_price: float
    high_price: float
    low_price: float
    prev_closing_price: float
    signed_change_price: float
    signed_change_rate: float
    acc_trade_volume: float
    acc_trade_price: float
    acc_trade_volume_24h: float
    acc_trade_price_24h: float
    highest_52_week_price: float
    lowest_52_week_price: float
    highest_52_week_date: Day | None = None
    lowest_52_week_date: Day | None = None


class BookUnit(msgspec.Struct, gc=False):
    """One pair of levels of an order book."""

    ask_price: float
    bid_price: float
    ask_size: float
    bid_size: float


class OrderBook(MarketRow):
    """A row of /v1/orderbook."""

    timestamp: TimeMs
    total_ask_size: float
    total_bid_size: float
    orderbook_units: list[BookUnit]


class Trade(MarketRow):
    """A row of /v1/trades/ticks."""

    timestamp: TimeMs
    trade_price: float
    trade_volume: float
    ask_bid: Side
    sequential_id: TradeId
    prev_closing_price: float | None = None


class MarketEvent(msgspec.Struct):
    """The warnings of a market."""

    warning: bool = False


class Market(MarketRow):
    """A row of /v1/market/all."""

    english_name: str = ""
    market_event: MarketEvent | None = None
    # What older versions sent in place of `market_event`.
    market_warning: str | None = None


# Not strict: a number that comes as text is still a number.
CANDLES = msgspec.json.Decoder(list[Candle], strict=False)
TICKERS = msgspec.json.Decoder(list[Ticker], strict=False)
ORDER_BOOKS = msgspec.json.Decoder(list[OrderBook], strict=False)
TRADES = msgspec.json.Decoder(list[Trade], strict=False)
MARKETS = msgspec.json.Decoder(list[Market], strict=False)
