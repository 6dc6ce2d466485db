"""Every message of the domain: the one vocabulary of actors, clients, socket and command line.

The first part is what bots ask; each of those is a method of the local socket under the name in
`METHODS` and a command of the CLI. The second part is what actors say among themselves.

Unknown fields are refused, so that a misspelt option is an error and not a default.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from actors.quotes import MarketInfo, OrderBook, Ticker, Trades
from actors.reports import (
    CacheCounts,
    CacheReport,
    GapReport,
    GroupLimits,
    Health,
    StoreStatistics,
    StreamReport,
)
from actors.updates import Subscribed, Unsubscribed
from runtime.core.message import Event, Request

if TYPE_CHECKING:
    # Reply types only; the values carry numpy, which a command-line client must not wait for.
    from actors.candles import Candles  # noqa: F401
    from actors.coverage import Coverage  # noqa: F401
    from actors.exchanges.streams import LiveRow, StreamKey

# ------------------------------------------------------------------ asked by bots


class GetCandles(Request["Candles"], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Candles of one market, oldest first.

    Either the newest `count` candles that open before `end`, or, with `start`, all that open in
    [start, end). Minutes without a trade have no candle and are not counted.

    Attributes:
      market: The market, as the exchange writes it: `KRW-BTC`, or `okx:BTC-USDT`.
      timeframe: One of 1s 1m 3m 5m 10m 15m 30m 1h 4h 1d 1w 1M.
      count: How many, 1 to 100000; 200 if neither this nor `start` is given.
      start: First opening time wanted: UTC milliseconds, or ISO 8601 text (UTC without a zone).
      end: First opening time no longer wanted, same forms; now if not given.
      closed: Leave out the candle in progress.
      max_age_s: How old the newest part may be, in seconds, when `end` is not given; the runtime's
        `cache.max_age_s` if not given. 0 asks the exchange in any case.
      allow_stale: If the exchange does not answer, accept what is there, marked as such in
        `missing` and `as_of_ms`, instead of an error.
      fill: `flat` puts a candle without volume, at the last close, where it is proven that nobody
        traded; each is marked in `filled`. `count` then counts them too. `none` leaves them out.
    """

    market: str
    timeframe: str
    count: int | None = None
    start: int | str | None = None
    end: int | str | None = None
    closed: bool = False
    max_age_s: float | None = None
    allow_stale: bool = False
    fill: Literal["none", "flat"] = "none"


class GetTicker(Request[Ticker], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The state of one market.

    Attributes:
      market: The market, as the exchange writes it.
      max_age_s: How old an answer from memory may be, in seconds; `cache.quote_max_age_s` if not
        given.
    """

    market: str
    max_age_s: float | None = None


class GetTickers(
    Request[tuple[Ticker, ...]], frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """The state of several markets of one or more exchanges, in the order asked for.

    Attributes:
      markets: The markets, 1 to 1000.
      max_age_s: As in `ticker`.
    """

    markets: tuple[str, ...]
    max_age_s: float | None = None


class GetOrderBook(Request[OrderBook], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The best orders of one market.

    Attributes:
      market: The market, as the exchange writes it.
      depth: How many price levels a side, 1 to 30.
      max_age_s: As in `ticker`.
    """

    market: str
    depth: int = 15
    max_age_s: float | None = None


class GetTrades(Request[Trades], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The newest trades of one market, newest first; of Upbit's those since 00:00 UTC.

    Attributes:
      market: The market, as the exchange writes it.
      count: How many, 1 to 500.
      max_age_s: As in `ticker`.
    """

    market: str
    count: int = 50
    max_age_s: float | None = None


class GetMarkets(
    Request[tuple[MarketInfo, ...]], frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """The markets an exchange lists.

    Attributes:
      exchange: Which exchange.
      quote: Only those with this quote currency, e.g. `KRW`.
    """

    exchange: str = "upbit"
    quote: str | None = None


class GetLimits(
    Request[tuple[GroupLimits, ...]], frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """How much of the exchanges' rate limits is in use."""


class GetCache(Request[CacheReport], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is in memory and in the store, and how often it was enough."""


class GetStreams(
    Request[tuple[StreamReport, ...]], frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """How the exchanges' live streams are doing."""


class GetGaps(
    Request[tuple[GapReport, ...]], frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """What was not known, or still is not, the newest last.

    Attributes:
      market: Only of this market; of all if empty.
      count: How many, 1 to 1000.
    """

    market: str = ""
    count: int = 100


# Method name on the socket, and command of the CLI, for each of the above.
METHODS: dict[str, type[Request[Any]]] = {
    "candles": GetCandles,
    "ticker": GetTicker,
    "tickers": GetTickers,
    "orderbook": GetOrderBook,
    "trades": GetTrades,
    "markets": GetMarkets,
    "limits": GetLimits,
    "cache": GetCache,
    "streams": GetStreams,
    "gaps": GetGaps,
}


class Subscribe(Request[Subscribed], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Be told as it happens. What is known already comes first.

    Attributes:
      kind: `ticker`, `trades`, `orderbook`, `candles`, `gaps` or `health`.
      markets: Of which markets, 1 to 1000; none for `health`, and for `gaps` none means all.
      timeframe: Of candles.
      closed: Only candles that are proven final, each once.
      depth: Levels of an order book a side, 1 to 30.
      keep: `latest`: who does not read in time gets the newest of each market (of candles: of each
        candle), and is told how many were replaced. `every`: gets all, up to `capacity`, and is
        told how many of the oldest were dropped. What happens once (trades, closed candles, gaps)
        cannot be replaced: for these `latest` is refused. `auto` takes what suits the kind.
      capacity: Most updates kept for a reader, 1 to 100000; at least one for each market is.
    """

    kind: Literal["ticker", "trades", "orderbook", "candles", "gaps", "health"]
    markets: tuple[str, ...] = ()
    timeframe: str = "1m"
    closed: bool = False
    depth: int = 15
    keep: Literal["auto", "latest", "every"] = "auto"
    capacity: int = 1_000


class Unsubscribe(Request[Unsubscribed], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """End a subscription of this connection.

    Attributes:
      subscription: Its number.
    """

    subscription: int


class GetHealth(Request[Health], frozen=True, kw_only=True):
    """How what an actor depends on is doing; answered from what it knows already."""


class GetCacheCounts(Request[CacheCounts], frozen=True, kw_only=True):
    """What the cache of one exchange has done since it was started."""


# ------------------------------------------------------------------ between actors


class Priority(enum.IntEnum):
    """Who goes first when slots are scarce; the smaller number."""

    ASKED = 0
    REPAIR = 1
    DECLARED = 2
    PREDICTED = 3


class Permit(msgspec.Struct, frozen=True):
    """Leave to send one request. It must be given back with `ReleasePermit`.

    Attributes:
      id: Names this permit when it is given back.
      group: The group it was granted in.
      holder: As it was asked for.
      weight: As it was asked for.
    """

    id: int
    group: str
    holder: str = ""
    weight: int = 1


class AcquirePermit(Request[Permit], frozen=True, kw_only=True):
    """Ask for leave to send one request; answered when a slot is free.

    Attributes:
      group: The exchange's own name for the group the request counts in.
      priority: Whose turn it is when several wait.
      holder: Whom the exchange counts it for: the account or the connection where the group is
        counted by these, else empty.
      weight: How much it counts for.
    """

    group: str
    priority: Priority = Priority.ASKED
    holder: str = ""
    weight: int = 1


class ReleasePermit(Event, frozen=True, kw_only=True):
    """Give a permit back, and say what became of the request.

    Attributes:
      permit: The permit.
      sent: Whether any of the request may have left this machine; only if not is it refunded.
      answered: Whether a response came; if not, the server may yet count the request.
      status: The HTTP status of the response; 0 without one.
      remaining: What the server said is left in its present window; None if it did not say.
      period_s: Which of the group's windows that is about; None for the first.
      retry_after_s: How long the server told us to wait, in seconds; None if it did not say.
    """

    permit: Permit
    sent: bool
    answered: bool
    status: int = 0
    remaining: int | None = None
    period_s: float | None = None
    retry_after_s: float | None = None


class LiveCandles(Event, frozen=True, kw_only=True):
    """Candles that a stream has told, in the order they came. The ticker is one of a day.

    Attributes:
      rows: Each with the stream it came from.
      received_s: When the newest came, on `Clock.now_s`.
    """

    rows: tuple[tuple[StreamKey, LiveRow], ...]
    received_s: float


class CandleStreamsBroke(Event, frozen=True, kw_only=True):
    """Candle streams, or tickers, may have lost something: the line ended, or they fell silent.

    Attributes:
      keys: Which.
      heard_s: When they were last known to be whole, on `Clock.now_s`.
      reason: What happened, in words.
    """

    keys: tuple[StreamKey, ...]
    heard_s: float
    reason: str


class CandleStreamsBack(Event, frozen=True, kw_only=True):
    """Candle streams, or tickers, have begun to tell, for the first time or after a break.

    Sent before the rows that came with it.

    Attributes:
      keys: Which.
      since_s: When their first snapshot came, on `Clock.now_s`.
    """

    keys: tuple[StreamKey, ...]
    since_s: float


class StoredCandles(msgspec.Struct, frozen=True):
    """What a store knows of a span.

    Attributes:
      candles: The rows, all closed, oldest first.
      coverage: Which of the times from the first row, or from the start asked for, to the end
        asked for are proven.
    """

    candles: Any
    coverage: Any


class StoreWrite(msgspec.Struct, frozen=True):
    """Rows to keep, with the span they prove.

    Attributes:
      candles: A `Candles` of closed rows only, all inside `proven`.
      proven: The `Span` of which everything is now known.
    """

    candles: Any
    proven: Any


class ReadStored(Request[StoredCandles], frozen=True, kw_only=True):
    """Read from the store the rows that open in [start_ms, end_ms), or the last `count` of them.

    Attributes:
      series: The `Series`.
      start_ms: First opening time wanted.
      end_ms: First opening time no longer wanted.
      count: Only the newest so many of them; None for all.
    """

    series: Any
    start_ms: int
    end_ms: int
    count: int | None = None


class ReadCoverage(Request["Coverage"], frozen=True, kw_only=True):
    """Read everything that the store has proven of one series.

    Attributes:
      series: The `Series`.
    """

    series: Any


class WriteStored(Request[None], frozen=True, kw_only=True):
    """Keep rows; answered when they would survive the process being killed.

    Attributes:
      write: The rows and the span they prove.
    """

    write: StoreWrite


class GetStoreStatistics(Request[StoreStatistics], frozen=True, kw_only=True):
    """How much the store holds."""
