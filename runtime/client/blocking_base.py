"""`SyncClient`: the methods of a client without an event loop; the twin of `AsyncClient`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from actors.key_messages import OpenAccount
from actors.messages import GetCache, GetGaps, GetLimits, GetStreams
from actors.preload_messages import ExplainPreload, GetNeeds, GetPreload
from actors.preload_reports import NeedReport, PreloadReport
from actors.quotes import MarketInfo, OrderBook, Ticker, Trades
from actors.reports import CacheReport, GapReport, GroupLimits, StreamReport
from actors.updates import MarketUpdate
from runtime.client.account_blocking import SyncAccountClient
from runtime.client.jobs_blocking import SyncJobsClient
from runtime.client.keys_blocking import SyncKeysClient
from runtime.client.need_blocking import SyncNeed
from runtime.client.need_requests import What, declare_request
from runtime.client.requests import (
    TIMEOUT_S,
    Keep,
    Kind,
    RawMethod,
    Time,
    candles_request,
    markets_request,
    orderbook_request,
    raw_request,
    ticker_request,
    tickers_request,
    trades_request,
)
from runtime.core.message import Request
from runtime.messages import (
    GetActor,
    GetEvents,
    GetState,
    GetStatistics,
    GetStatus,
    GetTree,
    RawAnswer,
    RestartActor,
    ResumeActor,
    Status,
    Stop,
    Stopping,
    SuspendActor,
    TraceActor,
)
from runtime.tree_reports import (
    ActorEvent,
    ActorReport,
    ActorState,
    ActorStatistics,
    Trace,
    Tree,
)

if TYPE_CHECKING:
    # It brings numpy, which a client that asks for no candles need not wait for.
    from actors.candles import Candles

T = TypeVar("T")

# A block in which updates come one by one.
Updates: TypeAlias = AbstractContextManager[Iterator[MarketUpdate]]


class SyncClient(ABC):
    """What bots without an event loop ask. Every method raises what `ask` raises."""

    @abstractmethod
    def ask(self, message: Request[T], timeout_s: float = TIMEOUT_S) -> T:
        """Return the answer to any message, within `timeout_s` seconds.

        Raises:
          DomainError: The answer is an error: of the request, the exchange or the store.
          ActorError: The runtime did not come to an answer; `CallTimeout` if it took too long.
          RuntimeUnreachable: No runtime could be reached, or it went away with the request.
        """

    def account(
        self, exchange: str, label: str, *, timeout_s: float = TIMEOUT_S
    ) -> SyncAccountClient:
        """Return a client of an account, signed for inside the runtime by the key of that label.

        The one that is open already, if there is one. See `SyncAccountClient` on when it ends.
        """
        opened = self.ask(OpenAccount(exchange=exchange, label=label), timeout_s)
        return SyncAccountClient(self.ask, opened)

    @property
    def keys(self) -> SyncKeysClient:
        """Return what can be done with keys."""
        return SyncKeysClient(self.ask)

    @property
    def jobs(self) -> SyncJobsClient:
        """Return what can be done with scheduled jobs."""
        return SyncJobsClient(self.ask)

    def need(
        self,
        what: What = (),
        *,
        market: str | None = None,
        timeframe: str | None = None,
        history: int | str | None = None,
        strategy: str = "default",
        timeout_s: float = TIMEOUT_S,
    ) -> SyncNeed:
        """Declare what a strategy uses, so that it is at hand before it asks.

        Args:
          what: The indicators that it computes: `[ATR(20), RSI(14)]` of `runtime.indicators`, or
            `["ATR(20)"]`. The runtime knows how many candles each takes to be exact. Or a
            `Series`, in place of market and timeframe.
          market: As the exchange writes it.
          timeframe: As in `candles`.
          history: How many candles it uses besides, or a length of time such as `90d`.
          strategy: Its name; what it declared before of the same series is replaced.
          timeout_s: How long to wait for the answer, in seconds; not for the candles.
        """
        request = declare_request(
            what, market=market, timeframe=timeframe, history=history, strategy=strategy
        )
        return SyncNeed(self.ask, request, self.ask(request, timeout_s))

    def needs(self, strategy: str = "", *, timeout_s: float = TIMEOUT_S) -> tuple[NeedReport, ...]:
        """Return every need, of one strategy if given, and how far it is there."""
        return self.ask(GetNeeds(strategy=strategy), timeout_s)

    def preload(self, *, timeout_s: float = TIMEOUT_S) -> tuple[PreloadReport, ...]:
        """Return what is fetched before anybody asks, and how good that has been."""
        return self.ask(GetPreload(), timeout_s)

    def explain_preload(
        self, market: str = "", timeframe: str = "", *, timeout_s: float = TIMEOUT_S
    ) -> tuple[str, ...]:
        """Return the same in sentences, of one market and timeframe if given."""
        request = ExplainPreload(market=market, timeframe=timeframe)
        return (self.ask(request, timeout_s)).sentences

    def candles(
        self,
        market: str,
        timeframe: str = "1m",
        count: int | None = None,
        *,
        start: Time | None = None,
        end: Time | None = None,
        closed: bool = False,
        max_age_s: float | None = None,
        allow_stale: bool = False,
        fill: Literal["none", "flat"] = "none",
        timeout_s: float = TIMEOUT_S,
    ) -> Candles:
        """Return candles, oldest first.

        Either the newest `count` that open before `end`, or, with `start`, all that open in
        [start, end). A minute without a trade has no candle.

        Args:
          market: As the exchange writes it: `KRW-BTC`, or `okx:BTC-USDT`.
          timeframe: One of 1s 1m 3m 5m 10m 15m 30m 1h 4h 1d 1w 1M.
          count: How many; 200 if neither this nor `start` is given.
          start: First opening time wanted: UTC milliseconds, ISO 8601 text or a datetime.
          end: First opening time no longer wanted; now if not given.
          closed: Leave out the candle in progress.
          max_age_s: How old the newest part may be, in seconds; the runtime's setting if None.
          allow_stale: Accept older data, marked in `missing`, when the exchange does not answer.
          fill: `flat` puts a candle without volume, marked in `filled`, where it is proven that
            nobody traded.
          timeout_s: How long to wait, in seconds.
        """
        request = candles_request(
            market,
            timeframe,
            count,
            start=start,
            end=end,
            closed=closed,
            max_age_s=max_age_s,
            allow_stale=allow_stale,
            fill=fill,
        )
        return self.ask(request, timeout_s)

    def ticker(
        self, market: str, *, max_age_s: float | None = None, timeout_s: float = TIMEOUT_S
    ) -> Ticker:
        """Return the state of one market, at most `max_age_s` seconds old."""
        return self.ask(ticker_request(market, max_age_s), timeout_s)

    def tickers(
        self,
        markets: Iterable[str],
        *,
        max_age_s: float | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> tuple[Ticker, ...]:
        """Return the state of several markets, in the order asked for."""
        return self.ask(tickers_request(markets, max_age_s), timeout_s)

    def orderbook(
        self,
        market: str,
        depth: int = 15,
        *,
        max_age_s: float | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> OrderBook:
        """Return the best orders of one market, `depth` prices a side."""
        return self.ask(orderbook_request(market, depth, max_age_s), timeout_s)

    def trades(
        self,
        market: str,
        count: int = 50,
        *,
        max_age_s: float | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Trades:
        """Return the newest `count` trades of one market, newest first."""
        return self.ask(trades_request(market, count, max_age_s), timeout_s)

    def markets(
        self, quote: str | None = None, exchange: str = "upbit", *, timeout_s: float = TIMEOUT_S
    ) -> tuple[MarketInfo, ...]:
        """Return the markets an exchange lists; only those in the currency `quote` if given."""
        return self.ask(markets_request(quote, exchange), timeout_s)

    def limits(self, *, timeout_s: float = TIMEOUT_S) -> tuple[GroupLimits, ...]:
        """Return how much of the exchanges' rate limits is in use."""
        return self.ask(GetLimits(), timeout_s)

    def cache(self, *, timeout_s: float = TIMEOUT_S) -> CacheReport:
        """Return what is in memory and in the store, and how often it was enough."""
        return self.ask(GetCache(), timeout_s)

    def streams(self, *, timeout_s: float = TIMEOUT_S) -> tuple[StreamReport, ...]:
        """Return how the exchanges' live streams are doing."""
        return self.ask(GetStreams(), timeout_s)

    def gaps(
        self, market: str = "", count: int = 100, *, timeout_s: float = TIMEOUT_S
    ) -> tuple[GapReport, ...]:
        """Return what was not known, or still is not, the newest last; of all markets if empty."""
        return self.ask(GetGaps(market=market, count=count), timeout_s)

    def raw(self, method: RawMethod, *, timeout_s: float = TIMEOUT_S, **params: Any) -> RawAnswer:
        """Return an answer in the field names of the exchange's REST interface.

        Args:
          method: `candles`, `ticker`, `tickers`, `orderbook` or `trades`.
          timeout_s: How long to wait, in seconds.
          params: What the method of that name takes.
        """
        return self.ask(raw_request(method, params), timeout_s)

    @abstractmethod
    def subscribe(
        self,
        kind: Kind,
        *markets: str,
        timeframe: str = "1m",
        closed: bool = False,
        depth: int = 15,
        keep: Keep = "auto",
        capacity: int = 1_000,
        timeout_s: float = TIMEOUT_S,
    ) -> Updates:
        """Be told as it happens, for as long as a `with` block runs; what is known comes first.

        In the block, `for` (on trio `async for`) gives one update after the other.
        Each update is one of `actors.updates`; a `Missed` says that some were left out before it.
        After a restart of the runtime it goes on by itself, and says so with a `Missed`.

        Args:
          kind: `ticker`, `trades`, `orderbook`, `candles`, `gaps` or `health`.
          markets: Of which; none for `health`, and for `gaps` none means all.
          timeframe: Of candles.
          closed: Only candles that are proven final, each once.
          depth: Levels of an order book, a side.
          keep: Of what is not read in time `latest` keeps the newest of each market, `every` all up
            to `capacity`; `auto` takes what suits the kind.
          capacity: Most updates kept.
          timeout_s: How long to wait for it to begin, and to begin again after a restart, in
            seconds; then `RuntimeUnreachable` or `CallTimeout` is raised.
        """

    def status(self, *, timeout_s: float = TIMEOUT_S) -> Status:
        """Return how the runtime is, and every actor in it."""
        return self.ask(GetStatus(), timeout_s)

    def tree(self, *, timeout_s: float = TIMEOUT_S) -> Tree:
        """Return every actor with its state, its mailbox, its work and its last crash."""
        return self.ask(GetTree(), timeout_s)

    def actor(self, name: str, *, timeout_s: float = TIMEOUT_S) -> ActorReport:
        """Return everything about one actor, such as `upbit.cache`, its past crashes included."""
        return self.ask(GetActor(name=name), timeout_s)

    def state(self, name: str, *, timeout_s: float = TIMEOUT_S) -> ActorState:
        """Return what one actor is doing: its row of the tree."""
        return self.ask(GetState(name=name), timeout_s)

    def statistics(self, name: str, *, timeout_s: float = TIMEOUT_S) -> ActorStatistics:
        """Return the figures that an actor keeps about its own work."""
        return self.ask(GetStatistics(name=name), timeout_s)

    def events(
        self, name: str, count: int = 50, *, timeout_s: float = TIMEOUT_S
    ) -> tuple[ActorEvent, ...]:
        """Return what happened lately to an actor and below it, the newest last."""
        return self.ask(GetEvents(name=name, count=count), timeout_s)

    def trace(
        self, name: str, count: int = 100, *, for_s: float = 10.0, timeout_s: float = TIMEOUT_S
    ) -> Trace:
        """Watch an actor's messages, by type, for `count` events or `for_s` seconds.

        `timeout_s` is how long to wait beyond that.
        """
        request = TraceActor(name=name, count=count, for_s=for_s)
        return self.ask(request, for_s + timeout_s)

    def suspend(self, name: str, *, timeout_s: float = TIMEOUT_S) -> ActorState:
        """Let an actor leave its mailbox alone after the message in hand."""
        return self.ask(SuspendActor(name=name), timeout_s)

    def resume(self, name: str, *, timeout_s: float = TIMEOUT_S) -> ActorState:
        """Let a suspended actor read its mailbox again."""
        return self.ask(ResumeActor(name=name), timeout_s)

    def restart(self, name: str, *, timeout_s: float = TIMEOUT_S) -> ActorState:
        """Stop and start an actor, or a supervisor with all below it; return what it is then."""
        return self.ask(RestartActor(name=name), timeout_s)

    def stop(self, *, timeout_s: float = TIMEOUT_S) -> Stopping:
        """End the runtime; returns when it has begun to stop."""
        return self.ask(Stop(), timeout_s)
