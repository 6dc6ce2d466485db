"""Whole units to Upbit's JSON objects: field names, dates and numbers as Upbit writes them.

Source: docs.upbit.com reference pages and recorded responses (2020 to 2025).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypeAlias

from actors.sandbox.bars import YEAR, Bar, Period, Scale
from actors.sandbox.book import SandboxBook
from actors.sandbox.summary import Summary
from actors.sandbox.trades import SandboxTrade
from actors.timeframes import Timeframe

Payload: TypeAlias = dict[str, Any]

KST_MS = 9 * 3_600_000
_RATE_UNITS = 10**10
# A ticker carries the moment it was made, some milliseconds after its trade.
_TICKER_DELAY_MS = 40
_CAUTIONS = (
    "PRICE_FLUCTUATIONS",
    "TRADING_VOLUME_SOARING",
    "DEPOSIT_AMOUNT_SOARING",
    "GLOBAL_PRICE_DIFFERENCES",
    "CONCENTRATION_OF_SMALL_ACCOUNTS",
)
_NAMES = {
    "BTC": ("비트코인", "Bitcoin"),
    "ETH": ("이더리움", "Ethereum"),
    "XRP": ("엑스알피", "XRP"),
    "DOGE": ("도지코인", "Dogecoin"),
}
_MINUTES = {
    Timeframe.M1: 1,
    Timeframe.M3: 3,
    Timeframe.M5: 5,
    Timeframe.M10: 10,
    Timeframe.M15: 15,
    Timeframe.M30: 30,
    Timeframe.H1: 60,
    Timeframe.H4: 240,
}


def market_payload(code: str, *, details: bool) -> Payload:
    """Return one entry of /v1/market/all."""
    base = code.partition("-")[2]
    korean, english = _NAMES.get(base, (base, base))
    payload: Payload = {"market": code, "korean_name": korean, "english_name": english}
    if details:
        payload["market_event"] = {"warning": False, "caution": dict.fromkeys(_CAUTIONS, False)}
    return payload


def candle_payload(code: str, scale: Scale, period: Period, bar: Bar) -> Payload:
    """Return one candle; days lack what `add_day_change` adds."""
    payload: Payload = {
        "market": code,
        "candle_date_time_utc": iso(bar.open_ms),
        "candle_date_time_kst": iso(bar.open_ms + KST_MS),
        "opening_price": scale.price(bar.open),
        "high_price": scale.price(bar.high),
        "low_price": scale.price(bar.low),
        "trade_price": scale.price(bar.close),
        "timestamp": bar.last_ms,
        "candle_acc_trade_price": scale.value(bar.value),
        "candle_acc_trade_volume": scale.volume(bar.volume),
    }
    if period in (Timeframe.W1, Timeframe.MN1, YEAR):
        payload["first_day_of_period"] = iso(bar.open_ms)[:10]
    elif period in _MINUTES:
        payload["unit"] = _MINUTES[Timeframe(period)]
    return payload


def add_day_change(payload: Payload, scale: Scale, close: int, previous_close: int) -> None:
    """Add what only days have: how far the price moved since the day before."""
    payload["prev_closing_price"] = scale.price(previous_close)
    payload["change_price"] = scale.price(close - previous_close)
    payload["change_rate"] = change_rate(close - previous_close, previous_close)


def change_rate(change: int, base: int) -> float:
    """Return `change / base` rounded to the ten decimals that Upbit gives."""
    return round(change * _RATE_UNITS / base) / _RATE_UNITS


def trade_payload(
    code: str, scale: Scale, trade: SandboxTrade, previous_close: int | None
) -> Payload:
    """Return one trade of /v1/trades/ticks."""
    before = trade.price if previous_close is None else previous_close
    date, _, time = iso(trade.time_ms).partition("T")
    return {
        "market": code,
        "trade_date_utc": date,
        "trade_time_utc": time,
        "timestamp": trade.time_ms,
        "trade_price": scale.price(trade.price),
        "trade_volume": scale.volume(trade.volume),
        "prev_closing_price": scale.price(before),
        "change_price": scale.price(trade.price - before),
        "ask_bid": "BID" if trade.is_bid else "ASK",
        "sequential_id": trade.sequential_id,
    }


def ticker_payload(code: str, scale: Scale, summary: Summary, now_ms: int) -> Payload:
    """Return one ticker."""
    last, day, before = summary.last, summary.day, summary.previous_close
    change = last.price - before
    rate = change_rate(change, before)
    return {
        "market": code,
        **_trade_times(last.time_ms),
        "opening_price": scale.price(day.open),
        "high_price": scale.price(day.high),
        "low_price": scale.price(day.low),
        "trade_price": scale.price(last.price),
        "prev_closing_price": scale.price(before),
        "change": "RISE" if change > 0 else "FALL" if change < 0 else "EVEN",
        "change_price": scale.price(abs(change)),
        "change_rate": abs(rate),
        "signed_change_price": scale.price(change),
        "signed_change_rate": rate,
        "trade_volume": scale.volume(last.volume),
        "acc_trade_price": scale.value(day.value),
        "acc_trade_price_24h": scale.value(summary.value_24h),
        "acc_trade_volume": scale.volume(day.volume),
        "acc_trade_volume_24h": scale.volume(summary.volume_24h),
        "highest_52_week_price": scale.price(summary.high_52w.price),
        "highest_52_week_date": iso(summary.high_52w.day_ms)[:10],
        "lowest_52_week_price": scale.price(summary.low_52w.price),
        "lowest_52_week_date": iso(summary.low_52w.day_ms)[:10],
        "timestamp": ticker_stamp_ms(last, now_ms),
    }


def ticker_stamp_ms(last: SandboxTrade, now_ms: int) -> int:
    """Return when the ticker that stands at `now_ms` was made."""
    return min(now_ms, last.time_ms + _TICKER_DELAY_MS)


def _trade_times(time_ms: int) -> Payload:
    utc, kst = _compact(time_ms), _compact(time_ms + KST_MS)
    return {
        "trade_date": utc[0],
        "trade_time": utc[1],
        "trade_date_kst": kst[0],
        "trade_time_kst": kst[1],
        "trade_timestamp": time_ms,
    }


def book_payload(code: str, scale: Scale, book: SandboxBook, *, count: int, step: int) -> Payload:
    """Return one order book with at most `count` pairs of levels."""
    pairs = list(zip(book.asks, book.bids, strict=False))
    return {
        "market": code,
        "timestamp": book.time_ms,
        "total_ask_size": scale.volume(sum(ask[1] for ask, _ in pairs)),
        "total_bid_size": scale.volume(sum(bid[1] for _, bid in pairs)),
        "orderbook_units": [
            {
                "ask_price": scale.price(ask[0]),
                "bid_price": scale.price(bid[0]),
                "ask_size": scale.volume(ask[1]),
                "bid_size": scale.volume(bid[1]),
            }
            for ask, bid in pairs[:count]
        ],
        "level": _number(scale, step),
    }


def instrument_payload(code: str, scale: Scale, levels: tuple[int, ...]) -> Payload:
    """Return one entry of /v1/orderbook/instruments."""
    return {
        "market": code,
        "quote_currency": code.partition("-")[0],
        "tick_size": _decimal(scale, scale.tick),
        "supported_levels": [_decimal(scale, level) for level in levels],
    }


def _number(scale: Scale, units: int) -> int | float:
    price = scale.price(units)
    return int(price) if price.is_integer() else price


def _decimal(scale: Scale, units: int) -> str:
    whole, part = divmod(units, 10**scale.price_decimals)
    fraction = f"{part:0{scale.price_decimals}d}".rstrip("0") if part else ""
    return f"{whole}.{fraction}" if fraction else str(whole)


def iso(time_ms: int) -> str:
    """Return a moment as Upbit writes it, without a zone."""
    return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _compact(time_ms: int) -> tuple[str, str]:
    moment = datetime.fromtimestamp(time_ms // 1000, UTC)
    return moment.strftime("%Y%m%d"), moment.strftime("%H%M%S")
