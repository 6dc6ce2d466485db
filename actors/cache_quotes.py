"""`CacheQuotes`: the tickers, order books, trades and markets of one exchange, asked by REST."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import msgspec

from actors.exchanges.base import ExchangeAdapter, ExchangeCall
from actors.exchanges.throttled import Fetched, ThrottledExchange
from actors.messages import GetMarkets, GetOrderBook, GetTicker, GetTickers, GetTrades
from actors.quote_desk import Quote, QuoteDesk, QuoteKey
from actors.quotes import OrderBook, Trades
from actors.series import Market
from runtime.core.clock import Clock
from runtime.core.table import Table, TableWriter

T = TypeVar("T")

QuoteRequest = GetTicker | GetTickers | GetOrderBook | GetTrades | GetMarkets

# A new listing shows up within this time.
MARKETS_MAX_AGE_S = 60.0
# Most people want the newest few; a page of this size serves them all from one answer.
TRADES_PAGE = 100
_REASON = "asked of the exchange for this or for somebody who waited as well"


class CacheQuotes:
    """One desk for each kind of quote.

    Args:
      gate: The way to the exchange.
      adapter: Its language.
      writer: Where answers are published for readers.
      table: What is published.
      clock: Where time is read.
      gather_s: How long to wait for others to join a request.
      max_age_s: How old an answer may be where a request does not say.
    """

    def __init__(
        self,
        gate: ThrottledExchange,
        adapter: ExchangeAdapter,
        *,
        writer: TableWriter[QuoteKey, Quote],
        table: Table[QuoteKey, Quote],
        clock: Clock,
        gather_s: float,
        max_age_s: float,
    ) -> None:
        rules, fetchers = adapter.rules, _Fetchers(gate, adapter)
        self._max_age_s = max_age_s
        self._desks = {
            kind: QuoteDesk(
                fetch,
                batch_max=batch_max,
                writer=writer,
                table=table,
                clock=clock,
                gather_s=gather_s,
            )
            for kind, fetch, batch_max in (
                ("ticker", fetchers.tickers, rules.tickers_max),
                ("orderbook", fetchers.order_books, rules.tickers_max),
                ("trades", partial(fetchers.trades, count=TRADES_PAGE), 1),
                ("trades_max", partial(fetchers.trades, count=rules.trades_max), 1),
                ("markets", fetchers.markets, 1),
            )
        }

    def desk(
        self, request: QuoteRequest
    ) -> tuple[QuoteDesk, tuple[QuoteKey, ...], float, Callable[[Sequence[Any]], object]]:
        """Return who answers `request`: the desk, its keys, their age, and how to compose them.

        Raises:
          InvalidRequest: A market's name cannot be one.
        """
        compose: Callable[[Sequence[Any]], object]
        match request:
            case GetTicker(market=market):
                kind, markets, compose = "ticker", (market,), _first
            case GetTickers(markets=markets):
                kind, compose = "ticker", _tickers
            case GetOrderBook(market=market, depth=depth):
                kind, markets, compose = "orderbook", (market,), partial(_cut, depth)
            case GetTrades(market=market, count=count):
                kind = "trades" if count <= TRADES_PAGE else "trades_max"
                name = str(Market.parse(market))
                markets, compose = (market,), partial(_newest, name, count)
            case GetMarkets(exchange=exchange):
                return self._desks["markets"], (("markets", exchange),), MARKETS_MAX_AGE_S, _plain
        age_s = self._max_age_s if request.max_age_s is None else request.max_age_s
        codes = tuple(Market.parse(market).code for market in markets)
        return self._desks[kind], tuple((kind, code) for code in codes), age_s, compose


class _Fetchers:
    """The exchange's quotes by code, through the gate."""

    def __init__(self, gate: ThrottledExchange, adapter: ExchangeAdapter) -> None:
        self._gate = gate
        self._adapter = adapter

    async def tickers(self, codes: Sequence[str], within_s: float) -> dict[str, Quote]:
        return _by_code(await self._fetch(self._adapter.tickers(codes), within_s))

    async def order_books(self, codes: Sequence[str], within_s: float) -> dict[str, Quote]:
        return _by_code(await self._fetch(self._adapter.order_books(codes), within_s))

    async def trades(
        self, codes: Sequence[str], within_s: float, *, count: int
    ) -> dict[str, Quote]:
        (code,) = codes
        fetched = await self._fetch(self._adapter.trades(code, count=count), within_s)
        return {code: Quote(fetched.value, fetched.sent_s)}

    async def markets(self, codes: Sequence[str], within_s: float) -> dict[str, Quote]:
        (code,) = codes
        fetched = await self._fetch(self._adapter.markets(), within_s)
        return {code: Quote(fetched.value, fetched.sent_s)}

    async def _fetch(self, call: ExchangeCall[T], within_s: float) -> Fetched[T]:
        return await self._gate.fetch(call, timeout_s=within_s)


def _by_code(fetched: Fetched[tuple[Any, ...]]) -> dict[str, Quote]:
    return {
        Market.parse(quote.market).code: Quote(quote, fetched.sent_s) for quote in fetched.value
    }


def _told(quote: Any) -> Any:
    return msgspec.structs.replace(quote, source="exchange", reason=_REASON)


def _first(values: Sequence[Any]) -> object:
    return _told(values[0])


def _tickers(values: Sequence[Any]) -> object:
    return tuple([_told(value) for value in values])


def _plain(values: Sequence[Any]) -> object:
    return values[0]


def _newest(market: str, count: int, values: Sequence[Any]) -> Trades:
    return Trades(market=market, trades=values[0][:count], source="exchange", reason=_REASON)


def _cut(depth: int, values: Sequence[Any]) -> OrderBook:
    book: OrderBook = _told(values[0])
    return book.cut(depth)
