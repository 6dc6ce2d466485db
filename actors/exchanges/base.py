"""What an exchange adapter is: it knows the exchange's language, and has no mouth.

An adapter turns a question into an `ExchangeCall` (which path, which parameters, which rate-limit
group, and how to read the answer) and nothing else. It holds no connection, so nothing can reach
an exchange through it: only `ThrottledExchange` sends, and it takes a permit first.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar
from urllib.parse import quote

from actors.candles import Candles
from actors.errors import MarketDataError
from actors.quotes import MarketInfo, OrderBook, Ticker, Trade, Trades
from actors.series import Series
from actors.timeframes import Timeframe

if TYPE_CHECKING:
    # It builds on this module.
    from actors.exchanges.streams import StreamAdapter, StreamKind

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `requests` in any `period_s` seconds, wherever they begin.

    Attributes:
      requests: How many, or how much weight.
      period_s: The window, in seconds.
      weighted: Whether a request counts with its weight; if not, each counts as one.
    """

    requests: int
    period_s: float = 1.0
    weighted: bool = True

    def __post_init__(self) -> None:
        """Refuse a limit that would let nothing through."""
        if self.requests < 1:
            raise ValueError(f"requests must be at least 1, was {self.requests}")
        if self.period_s <= 0:
            raise ValueError(f"period_s must be positive, was {self.period_s}")


Scope = Literal["address", "account", "connection"]


@dataclass(frozen=True, slots=True)
class GroupRules:
    """What an exchange demands of one group of requests.

    Attributes:
      windows: All of them hold at once. What a response says is left is about the first, if it does
        not say otherwise.
      scope: For whom the exchange counts: everybody at this address, each account, or each
        connection.
      pools: Other groups that a request of this one counts in as well, with the same weight; none
        of them has pools itself.
    """

    windows: tuple[RateLimit, ...]
    scope: Scope = "address"
    pools: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a group without a limit."""
        if not self.windows:
            raise ValueError("a group needs at least one window, had none")


@dataclass(frozen=True, slots=True)
class Response:
    """A whole HTTP response.

    Attributes:
      status: The HTTP status.
      headers: Header fields; names in lower case.
      body: The decoded body.
      server_ms: A lower bound on the exchange's own clock when it made this response, in UTC
        milliseconds: from its `Date` header, else from our estimate of its clock when we asked.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    server_ms: int


@dataclass(frozen=True, slots=True)
class ExchangeCall(Generic[T]):
    """One question to an exchange, as data.

    Attributes:
      group: The rate-limit group it counts in.
      path: Path below the base URL, e.g. `/v1/market/all`.
      params: Query parameters in the order to send them.
      read: Turns a successful response into the value; raises `MalformedPayload`.
      what: What is asked for, in words, for errors and logs; no secret ever.
      weight: How much it counts for in its group.
      account: Whose account it is about; empty for public data.
      idempotent: Whether it does no harm if it arrives twice.
      method: The HTTP method.
      body: The body, JSON. If there is one, `params` are what it says, for the signature, and are
        not sent.
      headers: Header fields that prove who asks; set at the moment of sending, never before.
    """

    group: str
    path: str
    params: Sequence[tuple[str, str]]
    read: Callable[[Response], T]
    what: str
    weight: int = 1
    account: str = ""
    idempotent: bool = True
    method: str = "GET"
    body: bytes = field(default=b"", repr=False)
    headers: Sequence[tuple[str, str]] = field(default=(), repr=False)

    @property
    def target(self) -> str:
        """Return path and query exactly as they are sent, and signed where that is asked for."""
        if not self.params or self.body:
            return self.path
        return f"{self.path}?{encode_query(self.params)}"


def encode_query(params: Sequence[tuple[str, str]]) -> str:
    """Return parameters as a query, in their order; brackets of arrays stay as they are."""
    safe = "[]-_.~"
    return "&".join(f"{quote(name, safe=safe)}={quote(value, safe=safe)}" for name, value in params)


@dataclass(frozen=True, slots=True)
class CandlePage:
    """One page of candles as the exchange sent it, checked.

    Attributes:
      candles: The rows, oldest first, all with `closed` False: a page alone proves nothing.
      to_ms: The exclusive end that was asked for; None for "the newest".
      full: Whether the exchange sent as many rows as were asked for. If not, nothing older exists.
      observed_ms: Lower bound of the exchange's clock when it made the page, UTC milliseconds.
    """

    candles: Candles
    to_ms: int | None
    full: bool
    observed_ms: int


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a response says about our use of the limits.

    Attributes:
      remaining: Requests, or weight, left in the server's present window; None if it did not say.
      period_s: Which of the group's windows that is about; None for the first.
      retry_after_s: Seconds the server wants us to wait; None if it did not say.
    """

    remaining: int | None = None
    period_s: float | None = None
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class ExchangeRules:
    """What an exchange promises and demands, as numbers; each with its source beside it.

    Attributes:
      limits: The budget of each group, by the exchange's own group name.
      timeframes: Those it offers.
      page_rows: Most candles in one page.
      tickers_max: Most markets in one ticker call.
      trades_max: Most trades in one call.
      history_ms: How far back a timeframe's candles go, where that is limited.
    """

    limits: Mapping[str, GroupRules]
    timeframes: frozenset[Timeframe]
    page_rows: int
    tickers_max: int
    trades_max: int
    history_ms: Mapping[Timeframe, int] = field(default_factory=dict)


class ExchangeAdapter(ABC):
    """The language of one exchange. Stateless; every method is a plain function.

    Attributes:
      name: The exchange.
      rules: What it promises and demands.
      stream: The language of its live streams; None if it has none.
    """

    name: str
    rules: ExchangeRules
    stream: StreamAdapter | None = None

    @abstractmethod
    def markets(self) -> ExchangeCall[tuple[MarketInfo, ...]]:
        """Ask for every market the exchange lists."""

    @abstractmethod
    def candles(self, series: Series, *, to_ms: int | None) -> ExchangeCall[CandlePage]:
        """Ask for one full page of candles that open before `to_ms`; None for the newest.

        Raises:
          UnknownTimeframe: The exchange does not offer it.
        """

    @abstractmethod
    def tickers(self, codes: Sequence[str]) -> ExchangeCall[tuple[Ticker, ...]]:
        """Ask for the tickers of at most `rules.tickers_max` markets, by their codes."""

    @abstractmethod
    def order_books(self, codes: Sequence[str]) -> ExchangeCall[tuple[OrderBook, ...]]:
        """Ask for the whole order books of at most `rules.tickers_max` markets, by their codes."""

    @abstractmethod
    def trades(self, code: str, *, count: int) -> ExchangeCall[tuple[Trade, ...]]:
        """Ask for the newest trades of one market, newest first."""

    @abstractmethod
    def group_of(self, kind: StreamKind) -> str:
        """Return the rate-limit group of requests for what a stream of `kind` tells."""

    @abstractmethod
    def error(self, response: Response, call: ExchangeCall[Any]) -> MarketDataError:
        """Return the error that an unsuccessful response means, naming exchange and question."""

    @abstractmethod
    def feedback(self, response: Response) -> Feedback:
        """Return what any response, successful or not, says about our use of the limits."""

    @abstractmethod
    def raw(
        self, answer: Candles | Ticker | Sequence[Ticker] | OrderBook | Trades
    ) -> list[dict[str, Any]]:
        """Return `answer` as the exchange's REST interface writes it, whatever brought it.

        The order of rows is the exchange's as well. Fields that we do not keep are made from those
        that we do, where that is possible, and else left out; the adapter says which.
        """
