"""`UpbitAdapter`: Upbit's questions and errors, as data. It cannot send anything."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import msgspec

from actors.candles import Candles
from actors.errors import (
    ExchangeUnavailable,
    InvalidRequest,
    MalformedPayload,
    MarketDataError,
    RateLimited,
    RequestRejected,
    UnknownMarket,
    UnknownTimeframe,
)
from actors.exchanges.base import CandlePage, ExchangeAdapter, ExchangeCall, Feedback, Response
from actors.exchanges.streams import StreamKind
from actors.exchanges.upbit import limits, payloads, raw, refusals, values
from actors.exchanges.upbit.stream import UpbitStream
from actors.quotes import MarketInfo, OrderBook, Ticker, Trade, Trades
from actors.series import Series
from actors.timeframes import Timeframe, format_time_ms

_REMAINING = re.compile(r"(?:^|[;,\s])sec\s*=\s*(\d{1,9})(?!\d)")


class UpbitAdapter(ExchangeAdapter):
    """Upbit's market data over REST, Korea's host and its sisters.

    Attributes:
      name: `upbit`.
      rules: What Upbit promises and demands; see `limits`.
      stream: The language of its live streams.
    """

    name = values.EXCHANGE
    rules = limits.RULES
    stream = UpbitStream()

    def markets(self) -> ExchangeCall[tuple[MarketInfo, ...]]:
        """Ask for every market the exchange lists."""
        what = "markets"
        return ExchangeCall(
            group=limits.GROUP_MARKET,
            path="/v1/market/all",
            params=(("is_details", "true"),),
            read=partial(payloads.read_markets, what=what),
            what=what,
        )

    def candles(self, series: Series, *, to_ms: int | None) -> ExchangeCall[CandlePage]:
        """Ask for one full page of candles that open before `to_ms`; None for the newest.

        Raises:
          UnknownTimeframe: Upbit does not offer it.
        """
        path = limits.CANDLE_PATHS.get(series.timeframe)
        if path is None:
            raise UnknownTimeframe(f"upbit has no candles of {series.timeframe.value}")
        params = [("market", series.market.code), ("count", str(limits.PAGE_ROWS))]
        what = f"candles {series.market.code} {series.timeframe.value}"
        if to_ms is not None:
            # `to` has seconds. No candle opens inside a second, so rounding up loses none.
            to_text = format_time_ms(Timeframe.S1.ceil_ms(to_ms))
            params.append(("to", to_text))
            what += f" before {to_text}"
        read = partial(
            payloads.read_candles, series=series, to_ms=to_ms, count=limits.PAGE_ROWS, what=what
        )
        return ExchangeCall(
            group=limits.GROUP_CANDLE, path=path, params=params, read=read, what=what
        )

    def tickers(self, codes: Sequence[str]) -> ExchangeCall[tuple[Ticker, ...]]:
        """Ask for the tickers of at most `rules.tickers_max` markets, by their codes.

        Raises:
          InvalidRequest: No code, a code twice, or too many of them.
        """
        what = _name_codes("tickers", codes)
        return ExchangeCall(
            group=limits.GROUP_TICKER,
            path="/v1/ticker",
            params=(("markets", ",".join(codes)),),
            read=partial(payloads.read_tickers, codes=tuple(codes), what=what),
            what=what,
        )

    def order_books(self, codes: Sequence[str]) -> ExchangeCall[tuple[OrderBook, ...]]:
        """Ask for the whole order books of at most `rules.tickers_max` markets, by their codes.

        Raises:
          InvalidRequest: No code, a code twice, or too many of them.
        """
        what = _name_codes("order books", codes)
        return ExchangeCall(
            group=limits.GROUP_ORDERBOOK,
            path="/v1/orderbook",
            params=(("markets", ",".join(codes)),),
            read=partial(payloads.read_order_books, codes=tuple(codes), what=what),
            what=what,
        )

    def trades(self, code: str, *, count: int) -> ExchangeCall[tuple[Trade, ...]]:
        """Ask for the newest trades of one market, newest first.

        Raises:
          InvalidRequest: `count` is not between 1 and `rules.trades_max`.
        """
        if not 1 <= count <= limits.TRADES_MAX:
            raise InvalidRequest(
                f"upbit: count of trades must be 1 to {limits.TRADES_MAX}, was {count}"
            )
        what = f"trades {code}"
        return ExchangeCall(
            group=limits.GROUP_TRADE,
            path="/v1/trades/ticks",
            params=(("market", code), ("count", str(count))),
            read=partial(payloads.read_trades, code=code, count=count, what=what),
            what=what,
        )

    def error(self, response: Response, call: ExchangeCall[Any]) -> MarketDataError:
        """Return the error that an unsuccessful response means, naming exchange and question."""
        status, envelope = response.status, _envelope(response.body)
        said = refusals.printable(envelope.message) if envelope else values.excerpt(response.body)
        text = f"upbit: {call.what}: status {status}, {said}"
        if status in (refusals.TOO_MANY_REQUESTS, refusals.BANNED):
            return _rate_limited(status, said, call, self.feedback(response).retry_after_s)
        if status == 404 and envelope and envelope.message == "Code not found":  # noqa: PLR2004
            return UnknownMarket(f"upbit: {call.what}: no such market ({said})")
        if 400 <= status < 500:  # noqa: PLR2004 - the class of errors that are the request's
            code = refusals.printable(str(envelope.name)) if envelope else ""
            return RequestRejected(text, code=code or str(status))
        if 200 <= status < 300:  # noqa: PLR2004 - the class of successes
            return MalformedPayload(f"upbit: {call.what}: wanted status 200, was {status}, {said}")
        return ExchangeUnavailable(text)

    def feedback(self, response: Response) -> Feedback:
        """Return what any response, successful or not, says about our use of the limits.

        `Remaining-Req` reads `group=candle; min=600; sec=9`. Its `min` is a constant without
        meaning; `sec` is what is left of this second.
        """
        found = _REMAINING.search(response.headers.get("remaining-req", ""))
        retry_after_s = None
        if response.status in (refusals.TOO_MANY_REQUESTS, refusals.BANNED):
            retry_after_s = _retry_after_s(response)
        return Feedback(
            remaining=int(found[1]) if found else None,
            retry_after_s=retry_after_s,
        )

    def group_of(self, kind: StreamKind) -> str:
        """Return the rate-limit group of requests for what a stream of `kind` tells."""
        return _GROUPS[kind]

    def raw(
        self, answer: Candles | Ticker | Sequence[Ticker] | OrderBook | Trades
    ) -> list[dict[str, Any]]:
        """Return `answer` as Upbit's REST interface writes it; `raw` says which fields are made."""
        return raw.write(answer)


_GROUPS: Final[dict[StreamKind, str]] = {
    "ticker": limits.GROUP_TICKER,
    "trade": limits.GROUP_TRADE,
    "orderbook": limits.GROUP_ORDERBOOK,
    "candle": limits.GROUP_CANDLE,
}


def _name_codes(noun: str, codes: Sequence[str]) -> str:
    """Return the question in words; refuse codes that cannot be asked for in one call."""
    if not 1 <= len(codes) <= limits.TICKERS_MAX:
        raise InvalidRequest(
            f"upbit: {noun} are asked for 1 to {limits.TICKERS_MAX} at a time, was {len(codes)}"
        )
    if len(set(codes)) < len(codes):
        raise InvalidRequest(f"upbit: {noun} are asked for once each, was {', '.join(codes)}")
    shown = ", ".join(codes[:3])
    return f"{noun} {shown}" if len(codes) <= 3 else f"{noun} {shown} and {len(codes) - 3} more"  # noqa: PLR2004


def _envelope(body: bytes) -> refusals.Refusal | None:
    try:
        return refusals.REFUSALS.decode(body).error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        # Plain text, HTML from something in between, or nothing at all.
        return None


def _rate_limited(
    status: int, said: str, call: ExchangeCall[Any], retry_after_s: float | None
) -> RateLimited:
    if status == refusals.BANNED:
        wait_s = limits.BAN_S if retry_after_s is None else retry_after_s
        text = f"upbit: {call.what}: this address is blocked for a while (418, {said})"
    else:
        wait_s = limits.QUOTATION_LIMIT.period_s if retry_after_s is None else retry_after_s
        text = f"upbit: {call.what}: too many requests in group {call.group} (429, {said})"
    return RateLimited(text, retry_after_s=wait_s)


def _retry_after_s(response: Response) -> float | None:
    """Return the longest wait the response names, in seconds; None if it names none."""
    named = refusals.named_wait_s(response.body[:4096].decode("utf-8", "replace"))
    header = response.headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", header):
        return max(float(header), named or 0.0)
    return named
