"""Upbit's quotation endpoints: from a path and a query to a JSON-able answer.

Source: docs.upbit.com reference, v1.6.4 (2026-09).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Final

from actors.sandbox import payloads
from actors.sandbox.bars import YEAR, Bar, Period
from actors.sandbox.book import DEPTH, levels_of, order_book
from actors.sandbox.market import DAY_MS, SandboxMarket
from actors.sandbox.parameters import INVALID, MISMATCH, UNKNOWN_CODE, BadQuery, Query
from actors.sandbox.payloads import Payload
from actors.sandbox.stream_faults import StreamFaults
from actors.sandbox.summary import summarize
from actors.timeframes import Timeframe

CANDLES_MAX = 200
TRADES_MAX = 500

# Upbit says "the last three months" and not how it counts them; ours are 90 days.
SECONDS_HISTORY_MS: Final = 90 * DAY_MS
_DAYS_AGO_MAX = 7
_YEAR_MS = 365 * DAY_MS
_ID_A_MS = 10_000
_LEVELS_END = 10**18

_PERIODS: Mapping[str, Period] = {
    "seconds": Timeframe.S1,
    "minutes/1": Timeframe.M1,
    "minutes/3": Timeframe.M3,
    "minutes/5": Timeframe.M5,
    "minutes/10": Timeframe.M10,
    "minutes/15": Timeframe.M15,
    "minutes/30": Timeframe.M30,
    "minutes/60": Timeframe.H1,
    "minutes/240": Timeframe.H4,
    "days": Timeframe.D1,
    "weeks": Timeframe.W1,
    "months": Timeframe.MN1,
    "years": YEAR,
}
_MINUTES_PATH = re.compile(r"minutes/([^/]+)")


@dataclass(frozen=True, slots=True)
class View:
    """What the exchange shows at one moment.

    Attributes:
      markets: All markets by code, in the order they are listed.
      now_ms: The present, UTC milliseconds.
      candles_ms: The present as candles know it; they lag behind by some milliseconds.
      swapped: Whether candles are those of another market, which is a fault.
      faults: What is wrong with single candles and with the exchange's dates.
    """

    markets: Mapping[str, SandboxMarket]
    now_ms: int
    candles_ms: int
    swapped: bool = False
    faults: StreamFaults = field(default_factory=StreamFaults)

    def market(self, code: str) -> SandboxMarket:
        """Return a listed market.

        Raises:
          BadQuery: There is none of that code, or nobody has traded there yet.
        """
        market = self.markets.get(code)
        if market is None or market.last_trade(self.now_ms) is None:
            raise BadQuery(404, UNKNOWN_CODE)
        return market

    def listed(self) -> list[SandboxMarket]:
        """Return the markets that have been traded, in order."""
        return [m for m in self.markets.values() if m.last_trade(self.now_ms) is not None]


Endpoint = Callable[[View, Query], "list[Payload]"]


def route(path: str) -> tuple[str, Endpoint] | None:
    """Return the rate-limit group and the endpoint of `path`; None if there is no such path."""
    prefix = "/v1/candles/"
    if not path.startswith(prefix):
        return _ROUTES.get(path)
    kind = path.removeprefix(prefix)
    period = _PERIODS.get(kind)
    if period is not None:
        return "candle", lambda view, query: _candles(period, view, query)
    unit = _MINUTES_PATH.fullmatch(kind)
    if unit is None:
        return None
    message = INVALID if unit[1].isascii() and unit[1].isdigit() else MISMATCH
    return "candle", lambda _view, _query: _refuse(message)


def _refuse(message: str) -> list[Payload]:
    raise BadQuery(400, message)


def _market_all(view: View, query: Query) -> list[Payload]:
    details = query.flag("is_details")
    return [payloads.market_payload(m.code, details=details) for m in view.listed()]


def _candles(period: Period, view: View, query: Query) -> list[Payload]:
    code = query.required("market")
    to_ms = query.moment_ms("to")
    count = query.count(default=1, most=CANDLES_MAX)
    market = view.market(code)
    if view.swapped:
        others = [other for other in view.listed() if other is not market]
        # With one market alone, the other is one that nobody has heard of.
        market, code = (others[0], others[0].code) if others else (market, "KRW-OTHER")
    oldest_ms = view.now_ms - SECONDS_HISTORY_MS if period is Timeframe.S1 else 0
    bars = _bars(view, market, period, to_ms, count, max(0, oldest_ms))
    rows = [payloads.candle_payload(code, market.scale, period, bar) for bar in bars]
    if period is Timeframe.D1:
        _complete_days(view, query, market, list(zip(bars, rows, strict=True)))
    return rows


def _bars(
    view: View, market: SandboxMarket, period: Period, to_ms: int | None, count: int, oldest_ms: int
) -> list[Bar]:
    """Return the newest candles, newest first, each of them as late as it is meant to be."""
    now_ms = view.candles_ms
    late_ms = view.faults.rows_late_ms
    if not late_ms:
        return market.candles(period, to_ms=to_ms, count=count, now_ms=now_ms, oldest_ms=oldest_ms)
    # A candle that is not there yet gives its place on the page to one more at the other end.
    spare = 2 + late_ms // _span_ms(period)
    found: list[Bar] = []
    for bar in market.candles(
        period, to_ms=to_ms, count=count + spare, now_ms=now_ms, oldest_ms=oldest_ms
    ):
        if bar.last_ms + late_ms <= now_ms:
            found.append(bar)
            continue
        then_ms = now_ms - view.faults.row_lag_ms(market.code, period, bar.open_ms)
        as_it_was = market.candles(period, to_ms=bar.open_ms + 1, count=1, now_ms=then_ms)
        found += [was for was in as_it_was if was.open_ms == bar.open_ms]
    return found[:count]


def _span_ms(period: Period) -> int:
    return _YEAR_MS if period == YEAR else Timeframe(period).span_ms


def _complete_days(
    view: View, query: Query, market: SandboxMarket, days: list[tuple[Bar, Payload]]
) -> None:
    unit = query.text("converting_price_unit")
    if unit not in (None, "KRW"):
        raise BadQuery(400, INVALID)
    for bar, row in days:
        before = market.previous_close(bar.open_ms, view.candles_ms)
        before = bar.open if before is None else before
        payloads.add_day_change(row, market.scale, bar.close, before)
        if unit is not None:
            row["converted_trade_price"] = _in_won(view, market, bar)


def _in_won(view: View, market: SandboxMarket, bar: Bar) -> float | None:
    quote = market.code.partition("-")[0]
    price = market.scale.price(bar.close)
    if quote == "KRW":
        return price
    bridge = view.markets.get(f"KRW-{quote}")
    if bridge is None:
        return None
    close = bridge.previous_close(bar.open_ms + DAY_MS, view.candles_ms)
    return None if close is None else price * bridge.scale.price(close)


def _ticker(view: View, query: Query) -> list[Payload]:
    return _tickers(view, [view.market(code) for code in query.names("markets")])


def _ticker_all(view: View, query: Query) -> list[Payload]:
    quotes = query.names("quote_currencies")
    return _tickers(view, [m for m in view.listed() if m.code.partition("-")[0] in quotes])


def _tickers(view: View, markets: list[SandboxMarket]) -> list[Payload]:
    found = [(market, summarize(market, view.now_ms)) for market in markets]
    rows = [
        payloads.ticker_payload(market.code, market.scale, summary, view.now_ms)
        for market, summary in found
        if summary is not None
    ]
    return _dated(view, rows)


def _trades(view: View, query: Query) -> list[Payload]:
    code = query.required("market")
    time_ms = query.time_of_day_ms("to")
    cursor = query.integer("cursor")
    days_ago = query.integer("days_ago")
    count = query.count(default=1, most=TRADES_MAX)
    if days_ago is not None and not 1 <= days_ago <= _DAYS_AGO_MAX:
        raise BadQuery(400, INVALID)
    market = view.market(code)
    # A page never leaves its UTC day; days count back from the one of the newest trade.
    newest = market.last_trade(view.now_ms)
    last_ms = view.now_ms if newest is None else newest.time_ms
    start_ms = Timeframe.D1.floor_ms(last_ms) - (days_ago or 0) * DAY_MS
    end_ms = start_ms + (DAY_MS if time_ms is None else time_ms)
    if cursor is not None:
        end_ms = min(end_ms, -(-cursor // _ID_A_MS))
    found = market.newest_trades(start_ms, min(end_ms, view.now_ms + 1), count)
    before = market.previous_close(start_ms, view.now_ms)
    return [payloads.trade_payload(market.code, market.scale, trade, before) for trade in found]


def _order_book(view: View, query: Query) -> list[Payload]:
    markets = [view.market(code) for code in query.names("markets")]
    count = query.count(default=DEPTH, most=DEPTH)
    level = _level(query)
    found = []
    for market in markets:
        step = level * 10**market.scale.price_decimals
        # A level that a market does not offer is no error: the market is missing in the answer.
        if step in levels_of(market, view.now_ms):
            book = order_book(market, view.now_ms, step=int(step))
            found.append((market, book, int(step)))
    rows = [
        payloads.book_payload(market.code, market.scale, book, count=count, step=step)
        for market, book, step in found
        if book is not None
    ]
    return _dated(view, rows)


def _dated(view: View, rows: list[Payload]) -> list[Payload]:
    """Return rows that carry the moment they were made, by the exchange's own clock."""
    skew_ms = view.faults.skew_ms
    for row in rows:
        row["timestamp"] += skew_ms
    return rows


def _level(query: Query) -> Decimal:
    text = query.text("level") or "0"
    try:
        level = Decimal(text)
    except InvalidOperation:
        raise BadQuery(400, MISMATCH) from None
    if not (level.is_finite() and 0 <= level < _LEVELS_END):
        raise BadQuery(400, INVALID)
    return level


def _instruments(view: View, query: Query) -> list[Payload]:
    markets = [view.market(code) for code in query.names("markets")]
    return [
        payloads.instrument_payload(m.code, m.scale, levels_of(m, view.now_ms)) for m in markets
    ]


_ROUTES: Mapping[str, tuple[str, Endpoint]] = {
    "/v1/market/all": ("market", _market_all),
    "/v1/ticker": ("ticker", _ticker),
    "/v1/ticker/all": ("ticker", _ticker_all),
    "/v1/trades/ticks": ("trade", _trades),
    "/v1/orderbook": ("orderbook", _order_book),
    "/v1/orderbook/instruments": ("orderbook", _instruments),
}
