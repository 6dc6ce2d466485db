"""Upbit's frames as they are on the wire: every field it documents, in both of its spellings.

A frame is read into the struct of its spelling, and `msgspec.json.encode` of that struct is the
frame again. Fields that we use have the types we insist on. The others are kept as they come and
may be absent: Upbit has taken fields away before, and added some.

Source: https://docs.upbit.com/kr/reference/websocket-ticker, read 2026-11-21, and its siblings
websocket-trade, websocket-orderbook, websocket-candle and list-subscriptions.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias, TypeVar, Union, cast, get_type_hints

import msgspec
from msgspec import UNSET, UnsetType

from actors.exchanges.upbit.limits import CANDLE_STREAMS
from actors.exchanges.upbit.wire import Code, Day, NaiveTime, Side, TimeMs, TradeId
from actors.timeframes import Timeframe

# Fields that nobody here uses: what they should be is said, but nothing is made of it, as REST's
# unused fields are not looked at either. A change in one of them must not end a stream.
_Text: TypeAlias = Any
_Number: TypeAlias = Any
_Flag: TypeAlias = Any


class Frame(msgspec.Struct, kw_only=True, gc=False):
    """What every frame about a market has."""

    code: Code
    timestamp: TimeMs
    # SNAPSHOT or REALTIME.
    stream_type: _Text = UNSET


class Ticker(Frame, tag_field="type", tag="ticker", kw_only=True, gc=False):
    """The state of a market."""

    opening_price: float
    high_price: float
    low_price: float
    trade_price: float
    prev_closing_price: float
    change: _Text = UNSET
    change_price: _Number = UNSET
    signed_change_price: float
    change_rate: _Number = UNSET
    signed_change_rate: float
    trade_volume: float
    acc_trade_volume: float
    acc_trade_volume_24h: float
    acc_trade_price: float
    acc_trade_price_24h: float
    # yyyyMMdd and HHmmss, unlike those of a trade.
    trade_date: _Text = UNSET
    trade_time: _Text = UNSET
    trade_timestamp: TimeMs
    ask_bid: _Text = UNSET
    acc_ask_volume: _Number = UNSET
    acc_bid_volume: _Number = UNSET
    highest_52_week_price: float
    highest_52_week_date: Day | UnsetType | None = UNSET
    lowest_52_week_price: float
    lowest_52_week_date: Day | UnsetType | None = UNSET
    market_state: _Text = UNSET
    # Null, or an object of year, month and day.
    delisting_date: Any = UNSET
    # Going away, or gone since 2018.
    is_trading_suspended: _Flag = UNSET
    market_warning: _Text = UNSET
    trade_status: _Text = UNSET
    market_state_for_ios: _Text = UNSET


class Trade(Frame, tag_field="type", tag="trade", kw_only=True, gc=False):
    """One trade."""

    # yyyy-MM-dd and HH:mm:ss.
    trade_date: _Text = UNSET
    trade_time: _Text = UNSET
    trade_timestamp: TimeMs
    trade_price: float
    trade_volume: float
    ask_bid: Side
    prev_closing_price: float | UnsetType | None = UNSET
    change: _Text = UNSET
    change_price: _Number = UNSET
    sequential_id: TradeId
    best_ask_price: _Number = UNSET
    best_ask_size: _Number = UNSET
    best_bid_price: _Number = UNSET
    best_bid_size: _Number = UNSET


class BookUnit(msgspec.Struct, gc=False):
    """One pair of levels of an order book."""

    ask_price: float
    bid_price: float
    ask_size: float
    bid_size: float


class OrderBook(Frame, tag_field="type", tag="orderbook", kw_only=True, gc=False):
    """The best orders of a market; its code may carry the depth that was asked for."""

    total_ask_size: float
    total_bid_size: float
    orderbook_units: list[BookUnit]
    level: _Number = UNSET


class Candle(Frame, tag_field="type", tag="candle", kw_only=True, gc=False):
    """A candle; each timeframe has a struct of its own, made of this one."""

    candle_date_time_utc: NaiveTime
    candle_date_time_kst: _Text = UNSET
    opening_price: float
    high_price: float
    low_price: float
    trade_price: float
    candle_acc_trade_volume: float
    candle_acc_trade_price: float


_SHORT: Final = {
    "code": "cd", "timestamp": "tms", "stream_type": "st",
    "opening_price": "op", "high_price": "hp", "low_price": "lp", "trade_price": "tp",
    "prev_closing_price": "pcp", "change": "c", "change_price": "cp", "change_rate": "cr",
    "signed_change_price": "scp", "signed_change_rate": "scr", "trade_volume": "tv",
    "acc_trade_volume": "atv", "acc_trade_volume_24h": "atv24h",
    "acc_trade_price": "atp", "acc_trade_price_24h": "atp24h",
    "trade_date": "td", "trade_time": "ttm", "trade_timestamp": "ttms", "ask_bid": "ab",
    "acc_ask_volume": "aav", "acc_bid_volume": "abv",
    "highest_52_week_price": "h52wp", "highest_52_week_date": "h52wdt",
    "lowest_52_week_price": "l52wp", "lowest_52_week_date": "l52wdt",
    "market_state": "ms", "delisting_date": "dd", "is_trading_suspended": "its",
    "market_warning": "mw", "trade_status": "ts", "market_state_for_ios": "msfi",
    "sequential_id": "sid", "best_ask_price": "bap", "best_ask_size": "bas",
    "best_bid_price": "bbp", "best_bid_size": "bbs",
    "total_ask_size": "tas", "total_bid_size": "tbs", "orderbook_units": "obu", "level": "lv",
    "ask_price": "ap", "bid_price": "bp", "ask_size": "as", "bid_size": "bs",
    "candle_date_time_utc": "cdttmu", "candle_date_time_kst": "cdttmk",
    "candle_acc_trade_volume": "catv", "candle_acc_trade_price": "catp",
}  # fmt: skip

StructT = TypeVar("StructT", bound=msgspec.Struct)


def _shorten(base: type[StructT], **changed: object) -> type[StructT]:
    """Return `base` in the SIMPLE spelling; `changed` gives other types to some of its fields."""
    # `rename` reaches only the fields of its own class, so all of them are declared anew.
    hints = get_type_hints(base, include_extras=True) | changed
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = [
        (field.name, hints[field.name])
        if field.required
        else (field.name, hints[field.name], field.default)
        for field in msgspec.structs.fields(base)
    ]
    # The one name that is short in two ways.
    rename = _SHORT | ({"trade_date": "tdt"} if base is Ticker else {})
    tag = base.__struct_config__.tag
    made = msgspec.defstruct(
        f"Simple{base.__name__}", fields, bases=(base,), kw_only=True, gc=False,
        rename=rename, tag=tag, tag_field=None if tag is None else "ty",
    )  # fmt: skip
    return cast("type[StructT]", made)


def _candle(timeframe: Timeframe, stream: str) -> type[Candle]:
    made = msgspec.defstruct(
        f"Candle{timeframe.name}", (), bases=(Candle,), kw_only=True, gc=False,
        tag_field="type", tag=stream,
    )  # fmt: skip
    return cast("type[Candle]", made)


CANDLES: Final = {timeframe: _candle(timeframe, name) for timeframe, name in CANDLE_STREAMS.items()}
SIMPLE_TICKER: Final = _shorten(Ticker)
SIMPLE_TRADE: Final = _shorten(Trade)
_SIMPLE_UNIT: Any = _shorten(BookUnit)
SIMPLE_ORDER_BOOK: Final = _shorten(OrderBook, orderbook_units=list[_SIMPLE_UNIT])
SIMPLE_CANDLES: Final = {timeframe: _shorten(candle) for timeframe, candle in CANDLES.items()}

DEFAULT_FRAMES: Final[tuple[type[Frame], ...]] = (Ticker, Trade, OrderBook, *CANDLES.values())
SIMPLE_FRAMES: Final[tuple[type[Frame], ...]] = (
    SIMPLE_TICKER,
    SIMPLE_TRADE,
    SIMPLE_ORDER_BOOK,
    *SIMPLE_CANDLES.values(),
)


class Other(msgspec.Struct, kw_only=True):
    """What tells one kind of frame from another, in both spellings, whatever it holds."""

    type: Any = None
    ty: Any = None
    status: Any = None
    error: Any = None
    method: Any = None
    mthd: Any = None


class Subscription(msgspec.Struct):
    """A row of an answer to LIST_SUBSCRIPTIONS."""

    type: str | None = None
    ty: str | None = None
    codes: list[Code] = []
    cds: list[Code] = []


class Listing(msgspec.Struct):
    """An answer to LIST_SUBSCRIPTIONS."""

    result: list[Subscription] | None = None
    rslt: list[Subscription] | None = None


def _any_of(frames: tuple[type[Frame], ...]) -> msgspec.json.Decoder[Frame]:
    # Not strict: a number that comes as text is still a number.
    return msgspec.json.Decoder(cast("type[Frame]", Union[frames]), strict=False)  # noqa: UP007 - of a tuple


DEFAULT: Final = _any_of(DEFAULT_FRAMES)
SIMPLE: Final = _any_of(SIMPLE_FRAMES)
OTHER: Final = msgspec.json.Decoder(Other)
LISTING: Final = msgspec.json.Decoder(Listing)
LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
KINDS: Final = frozenset({"ticker", "trade", "orderbook", *CANDLE_STREAMS.values()})
