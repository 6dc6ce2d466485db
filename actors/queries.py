"""Requests, checked and made plain: what is left of a question once its text has been read."""

from __future__ import annotations

import math
from dataclasses import dataclass

from actors.errors import InvalidRequest
from actors.messages import GetCandles
from actors.series import Series
from actors.timeframes import format_time_ms, parse_time_ms

CANDLES_DEFAULT = 200
# A hundred thousand candles are 5.7 MB in columns and, if none are at hand, 500 pages.
CANDLES_MAX = 100_000
MARKETS_MAX = 1_000
TRADES_MAX = 500
DEPTH_MAX = 30
_SHOWN_BELOW = 10**15


@dataclass(frozen=True, slots=True)
class CandleQuery:
    """A request for candles in plain values: the newest `count` before `end_ms`, or a window.

    Attributes:
      series: Market and timeframe.
      count: How many; None if `start_ms` is given.
      start_ms: First opening time wanted; None if `count` is given.
      end_ms: First opening time no longer wanted; None for "up to now".
      closed: Leave out what is not proven final.
      max_age_s: How old the newest part may be.
      allow_stale: Accept what is there if the exchange does not answer.
    """

    series: Series
    count: int | None
    start_ms: int | None
    end_ms: int | None
    closed: bool
    max_age_s: float
    allow_stale: bool


def candle_query(request: GetCandles, *, max_age_s: float) -> CandleQuery:
    """Return `request` in plain values, its times moved up to opening times.

    Args:
      request: As it came.
      max_age_s: What to take if the request does not say.

    Raises:
      InvalidRequest: Something in it cannot be; the message says what, and what was wanted.
    """
    series = Series.parse(request.market, request.timeframe)
    check_age(request.max_age_s)
    ceil_ms = series.timeframe.ceil_ms
    end_ms = None if request.end is None else ceil_ms(parse_time_ms(request.end, name="end"))
    start_ms = None
    count = request.count
    if request.start is not None:
        if count is not None:
            raise InvalidRequest("give either count or start, not both")
        start_ms = ceil_ms(_start_ms(request.start, request.end))
        if end_ms is not None:
            check_periods(series, start_ms, end_ms)
    else:
        count = check_count(CANDLES_DEFAULT if count is None else count, most=CANDLES_MAX)
    return CandleQuery(
        series=series,
        count=count,
        start_ms=start_ms,
        end_ms=end_ms,
        closed=request.closed,
        max_age_s=max_age_s if request.max_age_s is None else request.max_age_s,
        allow_stale=request.allow_stale,
    )


def check_count(count: int, *, most: int, name: str = "count") -> int:
    """Return `count` if it lies in [1, most]; otherwise raise `InvalidRequest`."""
    if not 1 <= count <= most:
        # Python does not write out a number of thousands of digits.
        shown = str(count) if abs(count) < _SHOWN_BELOW else "a huge number"
        raise InvalidRequest(f"{name} must be 1 to {most}, was {shown}")
    return count


def check_age(max_age_s: float | None) -> None:
    """Raise `InvalidRequest` if `max_age_s` is given and no age."""
    if max_age_s is not None and not (math.isfinite(max_age_s) and max_age_s >= 0):
        raise InvalidRequest(f"max_age_s must be a number of seconds from 0, was {max_age_s}")


def check_periods(series: Series, start_ms: int, end_ms: int) -> None:
    """Raise `InvalidRequest` if more than `CANDLES_MAX` candles may open in [start_ms, end_ms)."""
    periods = series.timeframe.periods_between(start_ms, end_ms)
    if periods > CANDLES_MAX:
        raise InvalidRequest(
            f"start to end must span at most {CANDLES_MAX} candles of {series.timeframe.value}, "
            f"was {periods}; ask for it in parts"
        )


def _start_ms(start: int | str, end: int | str | None) -> int:
    # Compared as they were written: moved up to opening times the two may be one and the same.
    start_ms = parse_time_ms(start, name="start")
    end_ms = None if end is None else parse_time_ms(end, name="end")
    if end_ms is not None and end_ms < start_ms:
        raise InvalidRequest(
            f"end must not lie before start: {format_time_ms(start_ms)} to {format_time_ms(end_ms)}"
        )
    return start_ms
