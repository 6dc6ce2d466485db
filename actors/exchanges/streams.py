"""What a live stream of an exchange is: keys, rows, rules, and an adapter that has no mouth.

A stream adapter turns a set of wanted streams into the text to send, and received frames into
updates; it holds no connection. A `StreamSocket` carries texts and frames and knows no exchange.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, TypeAlias

from actors.errors import ExchangeUnavailable
from actors.exchanges.base import RateLimit
from actors.quotes import OrderBook, Ticker, Trade
from actors.timeframes import Timeframe

StreamKind: TypeAlias = Literal["ticker", "trade", "orderbook", "candle"]


class StreamKey(NamedTuple):
    """One thing that is streamed of one market.

    Attributes:
      kind: What: `ticker`, `trade`, `orderbook` or `candle`.
      code: The market, as the exchange writes it.
      timeframe: Of a candle; None for the others.
    """

    kind: StreamKind
    code: str
    timeframe: Timeframe | None = None


class LiveRow(NamedTuple):
    """A candle as a stream has told it: everything traded in it up to one moment.

    Attributes:
      open_time_ms: Its opening time.
      open: First price; likewise `high`, `low` and `close`.
      volume: Size traded so far, in the base currency.
      value: Turnover so far, in the quote currency.
      made_ms: The exchange's time of the last trade in it. Rows of one market with equal `made_ms`
        show the same moment, whatever their timeframe.
    """

    open_time_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    value: float
    made_ms: int


class Update(NamedTuple):
    """One thing a stream told.

    Attributes:
      key: What it is of.
      value: What it is now.
      made_ms: The exchange's time of it, UTC milliseconds.
      snapshot: Whether it answers a subscription, and is not news.
    """

    key: StreamKey
    value: Ticker | OrderBook | Trade | LiveRow
    made_ms: int
    snapshot: bool


class StreamAlive(NamedTuple):
    """The exchange said that the connection is up; of the subscriptions that says nothing."""


class StreamListing(NamedTuple):
    """What the exchange says this connection is subscribed to.

    Attributes:
      keys: Those it named.
    """

    keys: frozenset[StreamKey]


class StreamRefusal(NamedTuple):
    """The exchange refused what was sent, or this connection.

    Attributes:
      code: Its own name for the reason.
      message: Its words.
      status: 429 or 418 where the refusal is about how often we ask; else 0.
      retry_after_s: How long it wants us to wait, in seconds; None if it did not say.
    """

    code: str
    message: str
    status: int = 0
    retry_after_s: float | None = None


StreamEvent: TypeAlias = Update | StreamAlive | StreamListing | StreamRefusal


@dataclass(frozen=True, slots=True)
class StreamRules:
    """What an exchange promises and demands of streams, as numbers.

    Attributes:
      connect_group: The rate-limit group that a new connection counts in; its limit is among the
        exchange's other limits.
      message_group: The group that texts count in, by connection; its limits are among the others.
      message_limits: How many texts one connection may send: all of them hold.
      idle_s: The exchange closes a connection on which nothing went either way for so long.
      confirm_s: A subscription has its first snapshot within this time, or has failed.
      timeframes: Those of which candles are streamed.
      depths: How many levels of an order book can be asked for, rising.
    """

    connect_group: str
    message_group: str
    message_limits: tuple[RateLimit, ...]
    idle_s: float
    confirm_s: float
    timeframes: frozenset[Timeframe]
    depths: tuple[int, ...]


class StreamAdapter(ABC):
    """The language of one exchange's streams. Stateless; every method is a plain function."""

    rules: StreamRules

    @abstractmethod
    def subscribe(self, streams: Mapping[StreamKey, int], *, ticket: str) -> str:
        """Return the text that makes `streams` the whole of what the connection is told.

        Args:
          streams: What is wanted; of an order book with its depth, else with 0.
          ticket: Names the request.
        """

    @abstractmethod
    def ping(self) -> str:
        """Return the text that asks whether the connection is up."""

    @abstractmethod
    def read(self, frame: bytes | str) -> Sequence[StreamEvent]:
        """Return what a frame tells; nothing for one of a kind that nobody asked for.

        Raises:
          MalformedPayload: The frame breaks what the exchange documents.
        """


class StreamLost(ExchangeUnavailable):
    """A connection could not be had, or has ended; the message says how.

    Attributes:
      sent: Whether the exchange may have counted the attempt to connect.
      status: The HTTP status that refused the connection; 0 if none did.
      retry_after_s: How long the exchange wants us to wait, in seconds; None if it did not say.
    """

    def __init__(
        self,
        message: str,
        *,
        sent: bool = True,
        status: int = 0,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.sent = sent
        self.status = status
        self.retry_after_s = retry_after_s


class StreamSocket(Protocol):
    """One open connection. Sending and receiving may go on side by side, one task for each."""

    async def send(self, text: str) -> None:
        """Send one text.

        Raises:
          StreamLost: The connection has ended.
        """

    async def receive(self) -> list[bytes | str]:
        """Return every frame that has arrived, at least one, waiting for the first.

        Raises:
          StreamLost: The connection has ended, and all frames were received.
          MalformedPayload: A frame is larger than any that makes sense; the connection is of no
            use any more.
        """

    async def ping(self) -> None:
        """Send a ping of the protocol; returns when it is sent, not when it is answered.

        Raises:
          StreamLost: The connection has ended.
        """


OpenStream: TypeAlias = Callable[[], AbstractAsyncContextManager[StreamSocket]]
"""Opens a connection for as long as a block runs; raises `StreamLost`."""
