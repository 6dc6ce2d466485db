"""The messages behind the clients' methods, made from what a bot hands in."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal, Protocol, TypeVar

from actors.errors import InvalidRequest
from actors.messages import (
    GetCandles,
    GetMarkets,
    GetOrderBook,
    GetTicker,
    GetTickers,
    GetTrades,
    Subscribe,
)
from actors.timeframes import parse_time_ms
from runtime.core.errors import CallTimeout
from runtime.core.message import Request
from runtime.messages import GetRaw

T = TypeVar("T")

# Milliseconds since the epoch, ISO 8601 text, or a datetime; UTC if without a zone.
Time = int | str | datetime

# What can be subscribed to, and what becomes of updates that are not read in time.
Kind = Literal["ticker", "trades", "orderbook", "candles", "gaps", "health"]
Keep = Literal["auto", "latest", "every"]
RawMethod = Literal["candles", "ticker", "tickers", "orderbook", "trades"]

# How long a client waits for an answer if not told otherwise, in seconds: long enough for a few
# pages from an exchange that is in no hurry.
TIMEOUT_S = 30.0


class AsyncAsk(Protocol):
    """Asks the runtime, in a task."""

    async def __call__(self, message: Request[T], timeout_s: float, /) -> T:
        """Return the answer; raises what `AsyncClient.ask` raises."""


class SyncAsk(Protocol):
    """Asks the runtime, without an event loop."""

    def __call__(self, message: Request[T], timeout_s: float, /) -> T:
        """Return the answer; raises what `SyncClient.ask` raises."""


def check_time(message: Request[Any], timeout_s: float) -> None:
    """Refuse to ask where there is no time for it: then nothing is sent, which is no doubt.

    Raises:
      CallTimeout: There is none.
    """
    # Written so that a NaN is refused.
    if not timeout_s > 0:
        kind = type(message).__name__
        raise CallTimeout(f"{kind} was not asked: timeout_s must be above 0, was {timeout_s:g}")


def candles_request(
    market: str,
    timeframe: str,
    count: int | None,
    *,
    start: Time | None,
    end: Time | None,
    closed: bool,
    max_age_s: float | None,
    allow_stale: bool,
    fill: Literal["none", "flat"] = "none",
) -> GetCandles:
    """Return the request; raises `InvalidRequest` if a time is none."""
    return GetCandles(
        market=market,
        timeframe=timeframe,
        count=count,
        start=time_of(start, "start"),
        end=time_of(end, "end"),
        closed=closed,
        max_age_s=max_age_s,
        allow_stale=allow_stale,
        fill=fill,
    )


def ticker_request(market: str, max_age_s: float | None) -> GetTicker:
    """Return the request."""
    return GetTicker(market=market, max_age_s=max_age_s)


def tickers_request(markets: Iterable[str], max_age_s: float | None) -> GetTickers:
    """Return the request; raises `InvalidRequest` for a text in place of a list."""
    if isinstance(markets, str):
        # A text is an iterable of texts to Python, and never what was meant.
        raise InvalidRequest(f"markets must be a list of markets, was {markets!r}")
    return GetTickers(markets=tuple(markets), max_age_s=max_age_s)


def orderbook_request(market: str, depth: int, max_age_s: float | None) -> GetOrderBook:
    """Return the request."""
    return GetOrderBook(market=market, depth=depth, max_age_s=max_age_s)


def trades_request(market: str, count: int, max_age_s: float | None) -> GetTrades:
    """Return the request."""
    return GetTrades(market=market, count=count, max_age_s=max_age_s)


def markets_request(quote: str | None, exchange: str) -> GetMarkets:
    """Return the request."""
    return GetMarkets(quote=quote, exchange=exchange)


def subscribe_request(
    kind: Kind,
    markets: tuple[str, ...],
    *,
    timeframe: str,
    closed: bool,
    depth: int,
    keep: Keep,
    capacity: int,
) -> Subscribe:
    """Return the request; raises `InvalidRequest` for a list in place of markets."""
    for market in markets:
        if not isinstance(market, str):
            raise InvalidRequest(f"markets go one by one: subscribe({kind!r}, *markets)")
    return Subscribe(
        kind=kind,
        markets=markets,
        timeframe=timeframe,
        closed=closed,
        depth=depth,
        keep=keep,
        capacity=capacity,
    )


def raw_request(method: RawMethod, params: Mapping[str, Any]) -> GetRaw:
    """Return the request; raises `InvalidRequest` if a time is none."""
    plain = dict(params)
    for name in ("start", "end"):
        if name in plain:
            plain[name] = time_of(plain[name], name)
    return GetRaw(method=method, params=plain)


def time_of(time: Time | None, name: str) -> int | None:
    """Return a time in UTC milliseconds; raises `InvalidRequest` if it is none."""
    if time is None or isinstance(time, str | datetime):
        return None if time is None else parse_time_ms(time, name=name)
    # Bots compute times with numpy, whose integers are not Python's.
    return parse_time_ms(operator.index(time) if hasattr(time, "__index__") else time, name=name)
