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
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.candles import Candles
from actors.errors import InvalidRequest
from actors.exchanges.base import CandlePage, Response
from actors.exchanges.upbit import wire
from actors.exchanges.upbit.values import (
    EXCHANGE,
    excerpt,
    invalid,
    make_order_book,
    make_ticker,
    make_trade,
    malformed,
)
from actors.quotes import MarketInfo, OrderBook, Ticker, Trade
from actors.series import Market, Series
from actors.timeframes import Timeframe, format_time_ms

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - like the times it is taken from, see `wire`
_MICROSECOND = timedelta(microseconds=1)

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
        raise malformed(what, f"wanted at most {count} rows, was {len(rows)}")
    for index, row in enumerate(rows):
        if row.market != series.market.code:
            raise malformed(
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
    return tuple(make_ticker(row, row.market, what) for row in rows)


def read_order_books(
    response: Response, *, codes: Sequence[str], what: str
) -> tuple[OrderBook, ...]:
    """Return one order book for each of `codes`, in their order."""
    rows = _by_code(_decode(wire.ORDER_BOOKS, response.body, what), codes, what)
    return tuple(make_order_book(row, row.market, what) for row in rows)


def read_trades(response: Response, *, code: str, count: int, what: str) -> tuple[Trade, ...]:
    """Return at most `count` trades of the market `code`, newest first."""
    rows = _decode(wire.TRADES, response.body, what)
    if len(rows) > count:
        raise malformed(what, f"wanted at most {count} trades, was {len(rows)}")
    if len({row.sequential_id for row in rows}) < len(rows):
        raise malformed(what, "wanted trades with different ids, was one trade sent twice")
    # Sent newest first, but nothing promises that; the sort keeps the order of equal times.
    rows.sort(key=lambda row: row.timestamp, reverse=True)
    for row in rows:
        if row.market != code:
            raise malformed(what, f"wanted trades of {code}, was {row.market[:40]!r}")
    return tuple(make_trade(row, code, row.timestamp, what) for row in rows)


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
        raise malformed(
            what, f"wanted market names such as KRW-BTC, was {rows[0].market[:40]!r} in row 0"
        )
    return tuple(found.values())


def _decode(decoder: msgspec.json.Decoder[list[RowT]], body: bytes, what: str) -> list[RowT]:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise invalid(what, error) from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(what, f"wanted JSON, was {excerpt(body)} ({error})") from error


def _opening_times_ms(rows: Sequence[wire.Candle], what: str) -> NDArray[np.int64]:
    # By hand: numpy takes five times as long to convert datetimes.
    times_us = np.array(
        [(row.candle_date_time_utc - _EPOCH) // _MICROSECOND for row in rows], dtype=np.int64
    )
    if (times_us % 1000).any():
        raise malformed(what, "wanted opening times of whole seconds, was a fraction")
    return times_us // 1000


def _check_times(
    times_ms: NDArray[np.int64], timeframe: Timeframe, to_ms: int | None, what: str
) -> None:
    """Refuse opening times that are off the grid, out of order, or not before `to_ms`."""
    off_grid = _off_grid(times_ms, timeframe)
    if off_grid is not None:
        raise malformed(
            what,
            f"row {off_grid}: wanted an opening time of {timeframe.value}, "
            f"was {_time(times_ms, off_grid)}",
        )
    rising = np.flatnonzero(np.diff(times_ms) >= 0)
    if rising.size:
        index = int(rising[0]) + 1
        raise malformed(
            what,
            f"row {index}: wanted an opening time before {_time(times_ms, index - 1)}, "
            f"was {_time(times_ms, index)}",
        )
    if to_ms is not None and times_ms.size and times_ms[0] >= to_ms:
        raise malformed(
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
            raise malformed(
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
            raise malformed(
                what,
                f"row {index}: wanted each of the markets asked for once, was "
                f"{row.market[:40]!r} {'again' if row.market in found else 'too'}",
            )
        found[row.market] = row
    missing = [code for code in codes if code not in found]
    if missing:
        raise malformed(what, f"wanted a row for {', '.join(missing)}, was none")
    return [found[code] for code in codes]
