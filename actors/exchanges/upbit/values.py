"""Rows of Upbit turned into values, and checked: the same whether REST or a stream brought them.

A row is first checked as a whole, which costs next to nothing; only when that is in doubt are its
figures looked at one by one, and the first bad one is named.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import attrgetter, gt, lt
from typing import Final, Literal, NoReturn

from actors.errors import MalformedPayload
from actors.exchanges.upbit import stream_wire, wire
from actors.quotes import BookLevel, OrderBook, Source, Ticker, Trade

EXCHANGE: Final = "upbit"

_EXCERPT_BYTES = 120

_TICKER_PRICES = ("trade_price", "opening_price", "high_price", "low_price")
_TICKER_AMOUNTS = (
    "trade_volume",
    # A market on its first day has no day before it.
    "prev_closing_price",
    "acc_trade_volume",
    "acc_trade_price",
    "acc_trade_volume_24h",
    "acc_trade_price_24h",
    "highest_52_week_price",
    "lowest_52_week_price",
)
_TICKER_CHANGES = ("signed_change_price", "signed_change_rate")
_prices_of = attrgetter(*_TICKER_PRICES)
_amounts_of = attrgetter(*_TICKER_AMOUNTS)


def malformed(what: str, problem: str) -> MalformedPayload:
    """Return the error that says what was asked for, and what is wrong with the answer."""
    return MalformedPayload(f"{EXCHANGE}: {what}: {problem}")


def invalid(what: str, error: Exception) -> MalformedPayload:
    """Return the error for JSON of another form than documented, in our words."""
    text = str(error).replace("Expected ", "wanted ", 1).replace(", got ", ", was ", 1)
    return malformed(what, text)


def excerpt(body: bytes | str) -> str:
    """Return the beginning of a body, safe to put into a message and short enough for one."""
    if isinstance(body, str):
        # A letter never takes less than a byte, so nothing is lost by cutting first.
        body = body[: _EXCERPT_BYTES + 1].encode("utf-8", errors="replace")
    text = body[:_EXCERPT_BYTES].decode("utf-8", errors="replace")
    return repr(text) if len(body) <= _EXCERPT_BYTES else f"{text!r}..."


def make_ticker(
    row: wire.Ticker | stream_wire.Ticker, market: str, what: str, source: Source = "exchange"
) -> Ticker:
    """Return the ticker of `market` in `row`.

    Raises:
      MalformedPayload: A price or an amount that no market can have.
    """
    prices, amounts = _prices_of(row), _amounts_of(row)
    changes = row.signed_change_price + row.signed_change_rate
    # A NaN makes every sum a NaN, and an infinity makes it infinite or a NaN.
    sound = min(prices) > 0 and min(amounts) >= 0 and sum(prices) + sum(amounts) < math.inf
    if not (sound and -math.inf < changes < math.inf):
        _check_ticker(row, f"{what}: {market[:40]}")
    high_date, low_date = row.highest_52_week_date, row.lowest_52_week_date
    price, opening, high, low = prices
    volume, previous_close, day_volume, day_value, volume_24h, value_24h, high_52w, low_52w = (
        amounts
    )
    return Ticker(
        market=market,
        time_ms=row.timestamp,
        trade_time_ms=row.trade_timestamp,
        price=price,
        volume=volume,
        open=opening,
        high=high,
        low=low,
        previous_close=previous_close,
        change=row.signed_change_price,
        change_rate=row.signed_change_rate,
        day_volume=day_volume,
        day_value=day_value,
        volume_24h=volume_24h,
        value_24h=value_24h,
        high_52w=high_52w,
        low_52w=low_52w,
        high_52w_date=high_date if isinstance(high_date, str) else "",
        low_52w_date=low_date if isinstance(low_date, str) else "",
        source=source,
    )


def make_order_book(
    row: wire.OrderBook | stream_wire.OrderBook, market: str, what: str, source: Source = "exchange"
) -> OrderBook:
    """Return the order book of `market` in `row`.

    Raises:
      MalformedPayload: Levels out of order, or a price or a size that no market can have.
    """
    units = row.orderbook_units
    bid_size, ask_size = row.total_bid_size, row.total_ask_size
    if not (0 <= bid_size < math.inf and 0 <= ask_size < math.inf):
        _figure(bid_size, "total_bid_size", f"{what}: {market[:40]}")
        _figure(ask_size, "total_ask_size", f"{what}: {market[:40]}")
    return OrderBook(
        market=market,
        time_ms=row.timestamp,
        bids=_side(
            [unit.bid_price for unit in units], [unit.bid_size for unit in units], "bid",
            what, market,
        ),
        asks=_side(
            [unit.ask_price for unit in units], [unit.ask_size for unit in units], "ask",
            what, market,
        ),
        total_bid_size=bid_size,
        total_ask_size=ask_size,
        source=source,
    )  # fmt: skip


def make_trade(row: wire.Trade | stream_wire.Trade, market: str, time_ms: int, what: str) -> Trade:
    """Return the trade of `market` in `row`, which happened at `time_ms`.

    Raises:
      MalformedPayload: A price or a volume that no trade can have.
    """
    price, volume, before = row.trade_price, row.trade_volume, row.prev_closing_price
    previous_close = before if isinstance(before, float) else None
    if not (0 < price < math.inf and 0 < volume < math.inf):
        _figure(price, "trade_price", f"{what}: {market[:40]}", positive=True)
        _figure(volume, "trade_volume", f"{what}: {market[:40]}", positive=True)
    if previous_close is not None and not 0 <= previous_close < math.inf:
        _figure(previous_close, "prev_closing_price", f"{what}: {market[:40]}")
    return Trade(
        market=market,
        time_ms=time_ms,
        price=price,
        volume=volume,
        side="buy" if row.ask_bid == "BID" else "sell",
        trade_id=row.sequential_id,
        previous_close=previous_close,
    )


def _figure(value: float, name: str, what: str, *, positive: bool = False) -> None:
    """Refuse `value` if it is not finite, below zero, or zero and must not be."""
    if 0 < value < math.inf or (value == 0 and not positive):
        return
    least = "above zero" if positive else "of at least zero"
    raise malformed(what, f"wanted a finite {name} {least}, was {value:g}")


def _check_ticker(row: wire.Ticker | stream_wire.Ticker, what: str) -> None:
    for name in _TICKER_PRICES:
        _figure(getattr(row, name), name, what, positive=True)
    for name in _TICKER_AMOUNTS:
        _figure(getattr(row, name), name, what)
    for name in _TICKER_CHANGES:
        value = getattr(row, name)
        if not math.isfinite(value):
            raise malformed(what, f"wanted a finite {name}, was {value:g}")


def _side(
    prices: Sequence[float],
    sizes: Sequence[float],
    side: Literal["bid", "ask"],
    what: str,
    market: str,
) -> tuple[BookLevel, ...]:
    """Return one side of a book; it must lead away from the best price, level by level."""
    if not prices:
        return ()
    # Each price beside the next one, 30 levels in C: so the first and the last are the extremes.
    ordered = all(map(gt if side == "bid" else lt, prices, prices[1:]))
    sound = 0 < prices[0] < math.inf and 0 < prices[-1] < math.inf
    if ordered and sound and min(sizes) > 0 and sum(sizes) < math.inf:
        return tuple(map(BookLevel, prices, sizes))
    return _side_by_level(prices, sizes, side, f"{what}: {market[:40]}")


def _side_by_level(
    prices: Sequence[float], sizes: Sequence[float], side: Literal["bid", "ask"], what: str
) -> tuple[BookLevel, ...]:
    found: list[BookLevel] = []
    for price, size in zip(prices, sizes, strict=True):
        if size == 0:
            # The sides are sent in pairs, and the shorter one is filled up with nothing.
            continue
        _figure(price, f"{side}_price", what, positive=True)
        _figure(size, f"{side}_size", what, positive=True)
        if found and (price >= found[-1].price) == (side == "bid"):
            _refuse_order(side, price, found[-1].price, what)
        found.append(BookLevel(price, size))
    return tuple(found)


def _refuse_order(side: str, price: float, before: float, what: str) -> NoReturn:
    order = "falling" if side == "bid" else "rising"
    raise malformed(what, f"wanted {order} {side} prices, was {price:g} after {before:g}")
