"""Upbit's bodies turned into values, and checked. Plain functions; nothing here waits or sends.

Error handling: every function raises `MalformedPayload` for a body that breaks what Upbit
documents, and nothing else, whatever the bytes. The message says what was wanted, what was there
and where. Fields we do not know are ignored; numbers may come as JSON numbers or as text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Literal, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.candles import Candles
from actors.errors import InvalidRequest, MalformedPayload
from actors.exchanges.base import CandlePage, Response
from actors.exchanges.upbit import wire
from actors.quotes import BookLevel, MarketInfo, OrderBook, Ticker, Trade
from actors.series import Market, Series
from actors.timeframes import Timeframe, format_time_ms

EXCHANGE = "upbit"

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - like the times it is taken from, see `wire`
_MICROSECOND = timedelta(microseconds=1)
_EXCERPT_BYTES = 120

RowT = TypeVar("RowT", bound=wire.MarketRow)


def read_candles(
    response: Response, *, series: Series, to_ms: int | None, count: int, what: str
) -> CandlePage:
    """Return the page of candles in `response`, oldest first.

    Rows are known by their opening time only: `timestamp` may lie outside its own candle.

    Args:
      response: The answer, newest row first as Upbit sends it.
      series: What was asked for.
      to_ms: The exclusive end that was asked for; None for the newest.
      count: How many rows were asked for.
      what: What was asked for, in words.
    """
    rows = _decode(wire.CANDLES, response.body, what)
    if len(rows) > count:
        raise _malformed(what, f"wanted at most {count} rows, was {len(rows)}")
    for index, row in enumerate(rows):
        if row.market != series.market.code:
            raise _malformed(
                what, f"row {index}: wanted market {series.market.code}, was {row.market[:40]!r}"
            )
    times_ms = _opening_times_ms(rows, what)
    _check_times(times_ms, series.timeframe, to_ms, what)
    prices = _columns(rows, ("opening_price", "high_price", "low_price", "trade_price"))
    amounts = _columns(rows, ("candle_acc_trade_volume", "candle_acc_trade_price"))
    _check_figures(prices, amounts, times_ms, what)
    candles = Candles(
        series,
        times_ms[::-1].copy(),
        [column[::-1].copy() for column in (*prices, *amounts)],
        np.zeros(len(rows), dtype=np.bool_),
        source="exchange",
        as_of_ms=response.server_ms,
    )
    return CandlePage(candles, to_ms, full=len(rows) == count, observed_ms=response.server_ms)


def read_tickers(response: Response, *, codes: Sequence[str], what: str) -> tuple[Ticker, ...]:
    """Return one ticker for each of `codes`, in their order."""
    rows = _by_code(_decode(wire.TICKERS, response.body, what), codes, what)
    return tuple(_ticker(row, f"{what}: {row.market}") for row in rows)


def read_order_books(
    response: Response, *, codes: Sequence[str], what: str
) -> tuple[OrderBook, ...]:
    """Return one order book for each of `codes`, in their order."""
    rows = _by_code(_decode(wire.ORDER_BOOKS, response.body, what), codes, what)
    return tuple(_order_book(row, f"{what}: {row.market}") for row in rows)


def read_trades(response: Response, *, code: str, count: int, what: str) -> tuple[Trade, ...]:
    """Return at most `count` trades of the market `code`, newest first."""
    rows = _decode(wire.TRADES, response.body, what)
    if len(rows) > count:
        raise _malformed(what, f"wanted at most {count} trades, was {len(rows)}")
    if len({row.sequential_id for row in rows}) < len(rows):
        raise _malformed(what, "wanted trades with different ids, was one trade sent twice")
    # Sent newest first, but nothing promises that; the sort keeps the order of equal times.
    rows.sort(key=lambda row: row.timestamp, reverse=True)
    return tuple(_trade(row, code, what) for row in rows)


def read_markets(response: Response, *, what: str) -> tuple[MarketInfo, ...]:
    """Return every market listed whose name can be asked for, in the order sent."""
    rows = _decode(wire.MARKETS, response.body, what)
    found: dict[str, MarketInfo] = {}
    for row in rows:
        try:
            name = str(Market.parse(f"{EXCHANGE}:{row.market}"))
        except InvalidRequest:
            # One market with a strange name must not hide all the others.
            continue
        event = row.market_event
        warning = row.market_warning == "CAUTION" or (event is not None and event.warning)
        found[name] = MarketInfo(market=name, name=row.english_name, warning=warning)
    if rows and not found:
        raise _malformed(
            what, f"wanted market names such as KRW-BTC, was {rows[0].market[:40]!r} in row 0"
        )
    return tuple(found.values())


def excerpt(body: bytes) -> str:
    """Return the beginning of a body, safe to put into a message and short enough for one."""
    text = body[:_EXCERPT_BYTES].decode("utf-8", errors="replace")
    return repr(text) if len(body) <= _EXCERPT_BYTES else f"{text!r}..."


def _malformed(what: str, problem: str) -> MalformedPayload:
    return MalformedPayload(f"{EXCHANGE}: {what}: {problem}")


def _decode(decoder: msgspec.json.Decoder[list[RowT]], body: bytes, what: str) -> list[RowT]:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        text = str(error).replace("Expected ", "wanted ", 1).replace(", got ", ", was ", 1)
        raise _malformed(what, text) from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(what, f"wanted JSON, was {excerpt(body)} ({error})") from error


def _opening_times_ms(rows: Sequence[wire.Candle], what: str) -> NDArray[np.int64]:
    # By hand: numpy takes five times as long to convert datetimes.
    times_us = np.array(
        [(row.candle_date_time_utc - _EPOCH) // _MICROSECOND for row in rows], dtype=np.int64
    )
    if (times_us % 1000).any():
        raise _malformed(what, "wanted opening times of whole seconds, was a fraction")
    return times_us // 1000


def _check_times(
    times_ms: NDArray[np.int64], timeframe: Timeframe, to_ms: int | None, what: str
) -> None:
    """Refuse opening times that are off the grid, out of order, or not before `to_ms`."""
    off_grid = _off_grid(times_ms, timeframe)
    if off_grid is not None:
        raise _malformed(
            what,
            f"row {off_grid}: wanted an opening time of {timeframe.value}, "
            f"was {_time(times_ms, off_grid)}",
        )
    rising = np.flatnonzero(np.diff(times_ms) >= 0)
    if rising.size:
        index = int(rising[0]) + 1
        raise _malformed(
            what,
            f"row {index}: wanted an opening time before {_time(times_ms, index - 1)}, "
            f"was {_time(times_ms, index)}",
        )
    if to_ms is not None and times_ms.size and times_ms[0] >= to_ms:
        raise _malformed(
            what, f"row 0: wanted a time before {format_time_ms(to_ms)}, was {_time(times_ms, 0)}"
        )


def _off_grid(times_ms: NDArray[np.int64], timeframe: Timeframe) -> int | None:
    """Return the first row whose time is no opening time of `timeframe`, or is before 1970."""
    if timeframe is Timeframe.MN1:
        # Months have no fixed length; a page of them is short and rarely asked for.
        wrong = [time < 0 or not timeframe.is_open_time(time) for time in times_ms.tolist()]
        return wrong.index(True) if True in wrong else None
    phase_ms = timeframe.ceil_ms(0)
    bad = np.flatnonzero((times_ms < 0) | ((times_ms - phase_ms) % timeframe.span_ms != 0))
    return int(bad[0]) if bad.size else None


def _time(times_ms: NDArray[np.int64], index: int) -> str:
    return str(times_ms[index].astype("datetime64[ms]"))


def _columns(rows: Sequence[wire.Candle], names: Sequence[str]) -> list[NDArray[np.float64]]:
    return [np.fromiter(map(attrgetter(name), rows), np.float64, len(rows)) for name in names]


def _check_figures(
    prices: Sequence[NDArray[np.float64]],
    amounts: Sequence[NDArray[np.float64]],
    times_ms: NDArray[np.int64],
    what: str,
) -> None:
    """Refuse prices and amounts that no market can have."""
    opening, high, low, close = prices
    # Written so that a NaN fails every comparison, and with it the check.
    checks = (
        ("finite prices above zero with low <= open, close <= high",
         (low > 0) & (high < math.inf)
         & (low <= opening) & (opening <= high) & (low <= close) & (close <= high)),
        ("a finite volume and value of at least zero",
         np.all([(column >= 0) & (column < math.inf) for column in amounts], axis=0)),
    )  # fmt: skip
    for wanted, good in checks:
        if not good.all():
            index = int(np.flatnonzero(~good)[0])
            raise _malformed(
                what,
                f"row {index} ({_time(times_ms, index)}): wanted {wanted}, was "
                f"open {opening[index]:g}, high {high[index]:g}, low {low[index]:g}, close "
                f"{close[index]:g}, volume {amounts[0][index]:g}, value {amounts[1][index]:g}",
            )


def _by_code(rows: Sequence[RowT], codes: Sequence[str], what: str) -> list[RowT]:
    """Return the row of each of `codes`, in that order; each must be there exactly once."""
    found: dict[str, RowT] = {}
    for index, row in enumerate(rows):
        if row.market not in codes or row.market in found:
            raise _malformed(
                what,
                f"row {index}: wanted each of the markets asked for once, was "
                f"{row.market[:40]!r} {'again' if row.market in found else 'too'}",
            )
        found[row.market] = row
    missing = [code for code in codes if code not in found]
    if missing:
        raise _malformed(what, f"wanted a row for {', '.join(missing)}, was none")
    return [found[code] for code in codes]


def _figure(value: float, name: str, what: str, *, positive: bool = False) -> float:
    """Return `value`; refuse it if it is not finite, below zero, or zero and must not be."""
    if 0 < value < math.inf or (value == 0 and not positive):
        return value
    least = "above zero" if positive else "of at least zero"
    raise _malformed(what, f"wanted a finite {name} {least}, was {value:g}")


def _signed(value: float, name: str, what: str) -> float:
    if math.isfinite(value):
        return value
    raise _malformed(what, f"wanted a finite {name}, was {value:g}")


def _ticker(row: wire.Ticker, what: str) -> Ticker:
    def price(name: str) -> float:
        return _figure(getattr(row, name), name, what, positive=True)

    def amount(name: str) -> float:
        return _figure(getattr(row, name), name, what)

    return Ticker(
        market=row.market,
        time_ms=row.timestamp,
        trade_time_ms=row.trade_timestamp,
        price=price("trade_price"),
        volume=amount("trade_volume"),
        open=price("opening_price"),
        high=price("high_price"),
        low=price("low_price"),
        # A market on its first day has no day before it.
        previous_close=amount("prev_closing_price"),
        change=_signed(row.signed_change_price, "signed_change_price", what),
        change_rate=_signed(row.signed_change_rate, "signed_change_rate", what),
        day_volume=amount("acc_trade_volume"),
        day_value=amount("acc_trade_price"),
        volume_24h=amount("acc_trade_volume_24h"),
        value_24h=amount("acc_trade_price_24h"),
        high_52w=amount("highest_52_week_price"),
        low_52w=amount("lowest_52_week_price"),
    )


def _order_book(row: wire.OrderBook, what: str) -> OrderBook:
    units = row.orderbook_units
    return OrderBook(
        market=row.market,
        time_ms=row.timestamp,
        bids=_side([(unit.bid_price, unit.bid_size) for unit in units], "bid", what),
        asks=_side([(unit.ask_price, unit.ask_size) for unit in units], "ask", what),
        total_bid_size=_figure(row.total_bid_size, "total_bid_size", what),
        total_ask_size=_figure(row.total_ask_size, "total_ask_size", what),
    )


def _side(
    levels: Sequence[tuple[float, float]], side: Literal["bid", "ask"], what: str
) -> tuple[BookLevel, ...]:
    """Return one side of a book; it must lead away from the best price, level by level."""
    found: list[BookLevel] = []
    for price, size in levels:
        if size == 0:
            # The sides are sent in pairs, and the shorter one is filled up with nothing.
            continue
        _figure(price, f"{side}_price", what, positive=True)
        _figure(size, f"{side}_size", what, positive=True)
        if found and (price >= found[-1].price) == (side == "bid"):
            order = "falling" if side == "bid" else "rising"
            raise _malformed(
                what, f"wanted {order} {side} prices, was {price:g} after {found[-1].price:g}"
            )
        found.append(BookLevel(price, size))
    return tuple(found)


def _trade(row: wire.Trade, code: str, what: str) -> Trade:
    if row.market != code:
        raise _malformed(what, f"wanted trades of {code}, was {row.market[:40]!r}")
    return Trade(
        market=code,
        time_ms=row.timestamp,
        price=_figure(row.trade_price, "trade_price", what, positive=True),
        volume=_figure(row.trade_volume, "trade_volume", what, positive=True),
        side="buy" if row.ask_bid == "BID" else "sell",
        trade_id=row.sequential_id,
    )
