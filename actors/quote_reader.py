"""`QuoteReader`: tickers, order books and trades of one exchange, by whichever channel is best.

Plain code, in the caller's task: the stream and memory are table reads; only what neither has
becomes a message to the CacheActor. Every answer says where it came from and why.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import msgspec

from actors.channels import Choice
from actors.doors import ExchangeDoor
from actors.exchanges.streams import StreamKey, StreamKind
from actors.feed_tables import LiveQuote
from actors.messages import GetOrderBook, GetTicker, GetTickers, GetTrades
from actors.quote_desk import Quote
from actors.quotes import OrderBook, Source, Ticker, Trade, Trades
from actors.series import Market
from runtime.core.clock import Clock
from runtime.core.message import Request

QuoteRequest: TypeAlias = GetTicker | GetOrderBook | GetTrades
QuoteAnswer: TypeAlias = Ticker | OrderBook | Trades

_NO_STREAMS = "streams of this exchange are not used"


class _Wish(NamedTuple):
    """A question about one market, in plain values."""

    market: str
    kind: StreamKind
    # Where the cache may have it, the likelier place first.
    places: tuple[str, ...]
    code: str
    amount: int
    max_age_s: float | None

    @property
    def key(self) -> StreamKey:
        return StreamKey(self.kind, self.code)


class QuoteReader:
    """Answers questions about the present state of markets of one exchange.

    Args:
      door: The exchange.
      clock: Where time is read.
    """

    def __init__(self, door: ExchangeDoor, clock: Clock) -> None:
        self._door = door
        self._clock = clock

    def look(self, request: QuoteRequest) -> QuoteAnswer | None:
        """Return the answer if a stream or memory has it fresh, else None."""
        wish = _wish(request)
        memory = self._memory(wish)
        choice, told = self._choose(wish, memory)
        if choice.channel == "stream" and told is not None:
            return _answer(wish, told.value, "live", choice.reason)
        if choice.channel == "memory" and memory is not None:
            return _answer(wish, memory.value, "memory", choice.reason)
        return None

    async def ask(self, request: QuoteRequest, timeout_s: float) -> QuoteAnswer:
        """Return the answer of the CacheActor, and why it was asked."""
        wish = _wish(request)
        choice, _ = self._choose(wish, self._memory(wish))
        self._requested([wish])
        question: Request[Any] = request
        answer: QuoteAnswer = await self._door.cache.call(question, timeout_s=timeout_s)
        return msgspec.structs.replace(answer, reason=choice.reason)

    async def tickers(self, request: GetTickers, timeout_s: float) -> dict[str, Ticker]:
        """Return the ticker of each market by its full name, all that need a request in one."""
        found: dict[str, Ticker] = {}
        lacking: dict[str, str] = {}
        wishes = [_wish(GetTicker(market=m, max_age_s=request.max_age_s)) for m in request.markets]
        for wish in wishes:
            memory = self._memory(wish)
            choice, told = self._choose(wish, memory)
            if choice.channel == "stream" and told is not None:
                found[wish.market] = _ticker(wish, told.value, "live", choice.reason)
            elif choice.channel == "memory" and memory is not None:
                found[wish.market] = _ticker(wish, memory.value, "memory", choice.reason)
            else:
                lacking[wish.market] = choice.reason
        if lacking:
            self._requested(
                [w for m, w in zip(request.markets, wishes, strict=True) if m in lacking]
            )
            ask = GetTickers(markets=tuple(lacking), max_age_s=request.max_age_s)
            asked = await self._door.cache.call(ask, timeout_s=timeout_s)
            for (market, reason), ticker in zip(lacking.items(), asked, strict=True):
                found[market] = msgspec.structs.replace(ticker, reason=reason)
        return found

    def _memory(self, wish: _Wish) -> Quote | None:
        for place in wish.places:
            quote = self._door.tables.quotes.get((place, wish.code))
            if quote is not None and (wish.kind != "trade" or len(quote.value) >= wish.amount):
                return quote
        return None

    def _choose(self, wish: _Wish, memory: Quote | None) -> tuple[Choice, LiveQuote | None]:
        age_s = None if memory is None else self._clock.now_s() - memory.asked_s
        usual_s, live = self._door.policy.quote_max_age_s, self._door.live
        if live is not None:
            return live.quote(
                wish.key,
                max_age_s=wish.max_age_s,
                usual_age_s=usual_s,
                memory_age_s=age_s,
                amount=wish.amount,
            )
        most_s = usual_s if wish.max_age_s is None else wish.max_age_s
        if age_s is None or age_s > most_s:
            return Choice("request", False, _NO_STREAMS), None
        reason = f"asked {age_s:.1f} s ago for somebody else; {_NO_STREAMS}"
        return Choice("memory", False, reason), None

    def _requested(self, wishes: Sequence[_Wish]) -> None:
        if self._door.live is not None:
            usual_s, share = self._door.policy.quote_max_age_s, 1 / len(wishes)
            for wish in wishes:
                most_s = usual_s if wish.max_age_s is None else wish.max_age_s
                self._door.live.requested(wish.key, amount=wish.amount, share=share, most_s=most_s)


def _wish(request: QuoteRequest) -> _Wish:
    market = Market.parse(request.market)
    name, age_s = str(market), request.max_age_s
    match request:
        case GetTicker():
            return _Wish(name, "ticker", ("ticker",), market.code, 1, age_s)
        case GetOrderBook(depth=depth):
            return _Wish(name, "orderbook", ("orderbook",), market.code, depth, age_s)
        case GetTrades(count=count):
            places = ("trades", "trades_max")
            return _Wish(name, "trade", places, market.code, count, age_s)


def _answer(
    wish: _Wish,
    value: Ticker | OrderBook | tuple[Trade, ...],
    source: Source,
    reason: str,
) -> QuoteAnswer:
    if isinstance(value, tuple):
        newest = tuple(value[: wish.amount])
        return Trades(market=wish.market, trades=newest, source=source, reason=reason)
    if isinstance(value, OrderBook):
        value = value.cut(wish.amount)
    return msgspec.structs.replace(value, source=source, reason=reason)


def _ticker(wish: _Wish, value: Any, source: Source, reason: str) -> Ticker:
    answer = _answer(wish, value, source, reason)
    assert isinstance(answer, Ticker), "the stream and the place of tickers have nothing else"
    return answer
