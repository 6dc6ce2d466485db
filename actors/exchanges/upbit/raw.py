"""Answers in the words of Upbit's REST interface, whichever channel brought them.

Every field that REST documents is there, with these exceptions.

Made, because we do not keep them: all `..._kst` times, which are UTC and nine hours;
`trade_date` and `trade_time` from the trade's time; `change`, `change_price` and `change_rate` of a
ticker from their signed sisters; `change_price` of a trade, and `prev_closing_price`,
`change_price` and `change_rate` of a day, from the close before; a candle's `timestamp`, which is
the last millisecond of its window, or when it was looked at if that was earlier; `level` of an
order book, which is 0, because books are never asked for grouped; and the empty levels that fill
up the shorter side of a book.

Left out: `converted_trade_price` of a day, which REST sends only when asked; the three fields of a
day that need the close before, on a day without one in the answer, or where what lies between is
not known; `prev_closing_price` and `change_price` of a trade, and the dates of a ticker's 52 weeks,
where they were not told.

A candle that was filled in on request is there as well; its volume of 0 tells it from all others.

Order: as in REST, candles and trades newest first.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from actors.candles import Candles
from actors.quotes import BookLevel, OrderBook, Ticker, Trade, Trades
from actors.timeframes import Timeframe

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Korea has had no summer time since 1988, and Upbit opened in 2017.
_KST_MS: Final = 9 * 60 * 60 * 1000
_MINUTE_MS: Final = 60_000
# Prices have at most eight digits behind the point, and rates come with ten: a difference of two
# floats has more, all of them noise.
_PRICE_DIGITS: Final = 8
_RATE_DIGITS: Final = 10
_NO_LEVEL = BookLevel(0.0, 0.0)


def write(
    answer: Candles | Ticker | Sequence[Ticker] | OrderBook | Trades,
) -> list[dict[str, Any]]:
    """Return the rows of `answer` in Upbit's names and order; numbers are those of the answer."""
    if isinstance(answer, Candles):
        return _candles(answer)
    if isinstance(answer, OrderBook):
        return [_order_book(answer)]
    if isinstance(answer, Trades):
        return [_trade(trade) for trade in answer]
    tickers = (answer,) if isinstance(answer, Ticker) else answer
    return [_ticker(ticker) for ticker in tickers]


def _moment(time_ms: int) -> datetime:
    # Whole seconds: REST cuts the rest off. No float takes part, it would be off by one some day.
    return _EPOCH + timedelta(seconds=time_ms // 1000)


def _iso(time_ms: int) -> str:
    return _moment(time_ms).isoformat()[:19]


def _difference(price: float, before: float) -> float:
    return round(price - before, _PRICE_DIGITS)


def _candles(candles: Candles) -> list[dict[str, Any]]:
    # By columns, because answers may have thousands of rows: most of the work is done by numpy.
    market, timeframe = candles.series.market.code, candles.series.timeframe
    opens_ms = candles.open_time_ms
    times = (_iso_column(opens_ms), _iso_column(opens_ms + _KST_MS), _last_column(candles).tolist())
    written: list[dict[str, Any]] = [
        {
            "market": market,
            "candle_date_time_utc": utc,
            "candle_date_time_kst": kst,
            "opening_price": opening,
            "high_price": high,
            "low_price": low,
            "trade_price": close,
            "timestamp": last_ms,
            "candle_acc_trade_price": value,
            "candle_acc_trade_volume": volume,
        }
        for utc, kst, last_ms, opening, high, low, close, volume, value in zip(
            *times, *(column.tolist() for column in candles.floats), strict=True
        )
    ]
    if timeframe is Timeframe.D1:
        _add_day_changes(written, candles)
    elif timeframe in (Timeframe.W1, Timeframe.MN1):
        for row in written:
            row["first_day_of_period"] = row["candle_date_time_utc"][:10]
    elif timeframe is not Timeframe.S1:
        for row in written:
            row["unit"] = timeframe.span_ms // _MINUTE_MS
    written.reverse()
    return written


def _iso_column(times_ms: NDArray[np.int64]) -> list[str]:
    texts: list[str] = np.datetime_as_string(times_ms.astype("datetime64[ms]"), unit="s").tolist()
    return texts


def _last_column(candles: Candles) -> NDArray[np.int64]:
    """Return the last moment that each candle can tell of."""
    timeframe, opens_ms = candles.series.timeframe, candles.open_time_ms
    if timeframe is Timeframe.MN1:
        # Months have no fixed length, and there are never many.
        ends_ms = np.array([timeframe.shift_ms(time, 1) for time in opens_ms.tolist()], np.int64)
    else:
        ends_ms = opens_ms + timeframe.span_ms
    if not candles.as_of_ms:
        return ends_ms - 1
    looked_at_ms = np.maximum(opens_ms, np.minimum(ends_ms - 1, candles.as_of_ms))
    return np.where(candles.closed, ends_ms - 1, looked_at_ms)


def _add_day_changes(written: list[dict[str, Any]], candles: Candles) -> None:
    """Add what only days have, to each that has another before it; oldest first."""
    times_ms, closes = candles.open_time_ms.tolist(), candles.close.tolist()
    for index in range(1, len(written)):
        if _known_between(candles, times_ms[index - 1], times_ms[index]):
            written[index] |= _day_change(closes[index], closes[index - 1])


def _known_between(candles: Candles, before_ms: int, day_ms: int) -> bool:
    return not any(span.start_ms < day_ms and before_ms < span.end_ms for span in candles.missing)


def _day_change(close: float, before: float) -> dict[str, float]:
    change = _difference(close, before)
    return {
        "prev_closing_price": before,
        "change_price": change,
        "change_rate": round(change / before, _RATE_DIGITS),
    }


def _ticker(ticker: Ticker) -> dict[str, Any]:
    moment, korean = _moment(ticker.trade_time_ms), _moment(ticker.trade_time_ms + _KST_MS)
    written: dict[str, Any] = {
        "market": ticker.market,
        "trade_date": f"{moment:%Y%m%d}",
        "trade_time": f"{moment:%H%M%S}",
        "trade_date_kst": f"{korean:%Y%m%d}",
        "trade_time_kst": f"{korean:%H%M%S}",
        "trade_timestamp": ticker.trade_time_ms,
        "opening_price": ticker.open,
        "high_price": ticker.high,
        "low_price": ticker.low,
        "trade_price": ticker.price,
        "prev_closing_price": ticker.previous_close,
        "change": "RISE" if ticker.change > 0 else "FALL" if ticker.change < 0 else "EVEN",
        "change_price": abs(ticker.change),
        "change_rate": abs(ticker.change_rate),
        "signed_change_price": ticker.change,
        "signed_change_rate": ticker.change_rate,
        "trade_volume": ticker.volume,
        "acc_trade_price": ticker.day_value,
        "acc_trade_price_24h": ticker.value_24h,
        "acc_trade_volume": ticker.day_volume,
        "acc_trade_volume_24h": ticker.volume_24h,
        "highest_52_week_price": ticker.high_52w,
        "lowest_52_week_price": ticker.low_52w,
        "timestamp": ticker.time_ms,
    }
    if ticker.high_52w_date:
        written["highest_52_week_date"] = ticker.high_52w_date
    if ticker.low_52w_date:
        written["lowest_52_week_date"] = ticker.low_52w_date
    return written


def _order_book(book: OrderBook) -> dict[str, Any]:
    pairs = zip_longest(book.asks, book.bids, fillvalue=_NO_LEVEL)
    return {
        "market": book.market,
        "timestamp": book.time_ms,
        "total_ask_size": book.total_ask_size,
        "total_bid_size": book.total_bid_size,
        "orderbook_units": [
            {
                "ask_price": ask.price,
                "bid_price": bid.price,
                "ask_size": ask.size,
                "bid_size": bid.size,
            }
            for ask, bid in pairs
        ],
        "level": 0,
    }


def _trade(trade: Trade) -> dict[str, Any]:
    date, time = _iso(trade.time_ms).split("T")
    written = {
        "market": trade.market,
        "trade_date_utc": date,
        "trade_time_utc": time,
        "timestamp": trade.time_ms,
        "trade_price": trade.price,
        "trade_volume": trade.volume,
        "ask_bid": "BID" if trade.side == "buy" else "ASK",
        "sequential_id": trade.trade_id,
    }
    if trade.previous_close is not None:
        written["prev_closing_price"] = trade.previous_close
        written["change_price"] = _difference(trade.price, trade.previous_close)
    return written
