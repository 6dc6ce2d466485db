"""Whole units to the frames of Upbit's streams: field names and numbers as Upbit writes them.

Source: docs.upbit.com WebSocket reference (2026-08 and 2026-09) and frames recorded in 2021 and
2026. A payload is made with its long names; `short` gives the names of the format SIMPLE.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from actors.sandbox.bars import Bar, Scale
from actors.sandbox.book import SandboxBook
from actors.sandbox.live_day import LiveDay
from actors.sandbox.payloads import KST_MS, Payload, book_payload, change_rate, iso
from actors.sandbox.summary import Extreme
from actors.sandbox.trades import SandboxTrade
from actors.timeframes import Timeframe

SNAPSHOT, REALTIME = "SNAPSHOT", "REALTIME"

# How the streams call the candles they have; there is none of a day.
CANDLE_TYPES: Final = {
    "candle.1s": Timeframe.S1,
    "candle.1m": Timeframe.M1,
    "candle.3m": Timeframe.M3,
    "candle.5m": Timeframe.M5,
    "candle.10m": Timeframe.M10,
    "candle.15m": Timeframe.M15,
    "candle.30m": Timeframe.M30,
    "candle.60m": Timeframe.H1,
    "candle.240m": Timeframe.H4,
}

_SECONDS_KEPT = 4_096
_COMMON = {"type": "ty", "code": "cd", "timestamp": "tms", "stream_type": "st"}
_CHANGE = {
    "trade_price": "tp",
    "trade_volume": "tv",
    "ask_bid": "ab",
    "prev_closing_price": "pcp",
    "change": "c",
    "change_price": "cp",
    "trade_time": "ttm",
    "trade_timestamp": "ttms",
}
_PRICES = {"opening_price": "op", "high_price": "hp", "low_price": "lp", "trade_price": "tp"}
_TICKER = {
    **_COMMON,
    **_PRICES,
    **_CHANGE,
    "signed_change_price": "scp",
    "change_rate": "cr",
    "signed_change_rate": "scr",
    "acc_trade_volume": "atv",
    "acc_trade_volume_24h": "atv24h",
    "acc_trade_price": "atp",
    "acc_trade_price_24h": "atp24h",
    "trade_date": "tdt",
    "acc_ask_volume": "aav",
    "acc_bid_volume": "abv",
    "highest_52_week_price": "h52wp",
    "highest_52_week_date": "h52wdt",
    "lowest_52_week_price": "l52wp",
    "lowest_52_week_date": "l52wdt",
    "market_state": "ms",
    "is_trading_suspended": "its",
    "delisting_date": "dd",
    "market_warning": "mw",
}
_TRADE = {
    **_COMMON,
    **_CHANGE,
    "trade_date": "td",
    "sequential_id": "sid",
    "best_ask_price": "bap",
    "best_ask_size": "bas",
    "best_bid_price": "bbp",
    "best_bid_size": "bbs",
}
_BOOK = {
    **_COMMON,
    "total_ask_size": "tas",
    "total_bid_size": "tbs",
    "orderbook_units": "obu",
    "level": "lv",
}
_UNIT = {"ask_price": "ap", "bid_price": "bp", "ask_size": "as", "bid_size": "bs"}
_CANDLE = {
    **_COMMON,
    **_PRICES,
    "candle_date_time_utc": "cdttmu",
    "candle_date_time_kst": "cdttmk",
    "candle_acc_trade_volume": "catv",
    "candle_acc_trade_price": "catp",
}
_LISTING = {"method": "mthd", "result": "rslt", "ticket": "tckt"}
_LISTED = {"type": "ty", "codes": "cds", "level": "lv"}
_NAMES: Mapping[str, Mapping[str, str]] = {
    "ticker": _TICKER,
    "trade": _TRADE,
    "orderbook": _BOOK,
    **dict.fromkeys(CANDLE_TYPES, _CANDLE),
}


def short(payload: Payload) -> Payload:
    """Return a frame with the names of the format SIMPLE."""
    kind = payload.get("type")
    if kind is None:
        return _renamed(payload, _LISTING, "result", _LISTED)
    names = _NAMES[kind]
    if kind == "orderbook":
        return _renamed(payload, names, "orderbook_units", _UNIT)
    return {names[name]: value for name, value in payload.items()}


def _renamed(
    payload: Payload, names: Mapping[str, str], inner: str, inner_names: Mapping[str, str]
) -> Payload:
    found: Payload = {names[name]: value for name, value in payload.items() if name in names}
    if inner in payload:
        rows = payload[inner]
        found[names[inner]] = [{inner_names[k]: v for k, v in row.items()} for row in rows]
    return found or payload


@lru_cache(maxsize=_SECONDS_KEPT)
def _second(second: int) -> str:
    return iso(second * 1000)


def trade_frame(
    code: str,
    scale: Scale,
    trade: SandboxTrade,
    before: int,
    book: SandboxBook,
    *,
    stamp_ms: int,
    stream_type: str,
) -> Payload:
    """Return one trade.

    Args:
      code: The market.
      scale: Its units.
      trade: What happened.
      before: The last price before the trade's day, in price units.
      book: The order book right after it; only the best orders are read.
      stamp_ms: When the frame was made.
      stream_type: SNAPSHOT or REALTIME.
    """
    date, _, time = _second(trade.time_ms // 1000).partition("T")
    change = trade.price - before
    ask, bid = book.asks[0], book.bids[0] if book.bids else (0, 0)
    return {
        "type": "trade",
        "code": code,
        "timestamp": stamp_ms,
        "trade_date": date,
        "trade_time": time,
        "trade_timestamp": trade.time_ms,
        "trade_price": scale.price(trade.price),
        "trade_volume": scale.volume(trade.volume),
        "ask_bid": "BID" if trade.is_bid else "ASK",
        "prev_closing_price": scale.price(before),
        "change": _direction(change),
        "change_price": scale.price(abs(change)),
        "sequential_id": trade.sequential_id,
        "best_ask_price": scale.price(ask[0]),
        "best_ask_size": scale.volume(ask[1]),
        "best_bid_price": scale.price(bid[0]),
        "best_bid_size": scale.volume(bid[1]),
        "stream_type": stream_type,
    }


def ticker_frame(
    code: str, scale: Scale, live: LiveDay, *, stamp_ms: int, stream_type: str
) -> Payload:
    """Return one ticker, made at `stamp_ms`."""
    summary = live.summary()
    last, day, before = summary.last, summary.day, summary.previous_close
    date, _, time = _second(last.time_ms // 1000).partition("T")
    change = last.price - before
    rate = change_rate(change, before)
    return {
        "type": "ticker",
        "code": code,
        "opening_price": scale.price(day.open),
        "high_price": scale.price(day.high),
        "low_price": scale.price(day.low),
        "trade_price": scale.price(last.price),
        "prev_closing_price": scale.price(before),
        "acc_trade_price": scale.value(day.value),
        "change": _direction(change),
        "change_price": scale.price(abs(change)),
        "signed_change_price": scale.price(change),
        "change_rate": abs(rate),
        "signed_change_rate": rate,
        "ask_bid": "BID" if last.is_bid else "ASK",
        "trade_volume": scale.volume(last.volume),
        "acc_trade_volume": scale.volume(day.volume),
        "trade_date": date.replace("-", ""),
        "trade_time": time.replace(":", ""),
        "trade_timestamp": last.time_ms,
        "acc_ask_volume": scale.volume(live.ask_volume),
        "acc_bid_volume": scale.volume(live.bid_volume),
        **_year(scale, summary.high_52w, summary.low_52w),
        "market_state": "ACTIVE",
        "is_trading_suspended": False,
        "delisting_date": None,
        "market_warning": "NONE",
        "timestamp": stamp_ms,
        "acc_trade_price_24h": scale.value(summary.value_24h),
        "acc_trade_volume_24h": scale.volume(summary.volume_24h),
        "stream_type": stream_type,
    }


def _year(scale: Scale, high: Extreme, low: Extreme) -> Payload:
    return {
        "highest_52_week_price": scale.price(high.price),
        "highest_52_week_date": _second(high.day_ms // 1000)[:10],
        "lowest_52_week_price": scale.price(low.price),
        "lowest_52_week_date": _second(low.day_ms // 1000)[:10],
    }


def _direction(change: int) -> str:
    return "RISE" if change > 0 else "FALL" if change < 0 else "EVEN"


def book_frame(
    code: str,
    scale: Scale,
    book: SandboxBook,
    *,
    depth: int,
    step: int,
    skew_ms: int,
    stream_type: str,
) -> Payload:
    """Return one order book: the row of the REST interface under the streams' names."""
    row: dict[str, Any] = book_payload(code, scale, book, count=depth, step=step)
    return {
        "type": "orderbook",
        "code": code,
        "timestamp": row["timestamp"] + skew_ms,
        "total_ask_size": row["total_ask_size"],
        "total_bid_size": row["total_bid_size"],
        "orderbook_units": row["orderbook_units"],
        "level": row["level"],
        "stream_type": stream_type,
    }


def candle_frame(code: str, scale: Scale, kind: str, bar: Bar, stream_type: str) -> Payload:
    """Return one candle as far as it has come; its timestamp is that of its newest trade."""
    return {
        "type": kind,
        "code": code,
        "candle_date_time_utc": _second(bar.open_ms // 1000),
        "candle_date_time_kst": _second((bar.open_ms + KST_MS) // 1000),
        "opening_price": scale.price(bar.open),
        "high_price": scale.price(bar.high),
        "low_price": scale.price(bar.low),
        "trade_price": scale.price(bar.close),
        "candle_acc_trade_volume": scale.volume(bar.volume),
        "candle_acc_trade_price": scale.value(bar.value),
        "timestamp": bar.last_ms,
        "stream_type": stream_type,
    }
