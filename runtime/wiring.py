"""The tree of this runtime, assembled: the one place that knows the concrete actors.

    root (one_for_one)
    ├── keys        KeyActor: sealed keys, and what signs with them, if there are to be any
    ├── store       StoreActor: one database, one writer
    ├── upbit       supervisor, rest_for_one: one such branch for each exchange
    │   ├── limiter    RateLimiterActor
    │   ├── cache      CacheActor, whose gate asks the limiter
    │   ├── feed       FeedActor, whose gate asks it too: the live streams, if they are switched on
    │   ├── preloader  PreloaderActor: asks the cache before bots do, if it is to
    │   └── account    AccountActor, whose gate asks it too and the keys: if there are to be any
    ├── scheduler   SchedulerActor: collects candles at set times
    └── control     ControlActor: the local socket, if there is one

The keys come first: nobody else starts them, and accounts need them. The store is next because the
caches write to it while they stop. In a branch what is later rests on what is earlier: a new
limiter means new loads. The scheduler asks the caches. The socket comes last, so that nobody is
let in before there is somebody to ask, and nobody is asked any more when the rest stops.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from actors.account import AccountActor
from actors.account_router import AccountRouter
from actors.cache import CacheActor
from actors.cache_tables import CacheTables
from actors.doors import ExchangeDoor
from actors.exchanges.accounts import AccountAdapter
from actors.exchanges.base import ExchangeAdapter
from actors.exchanges.breaker import Breaker
from actors.exchanges.clock import ExchangeClock
from actors.exchanges.http import open_http_sender
from actors.exchanges.retries import RetryRules
from actors.exchanges.sender import Sender
from actors.exchanges.stream_gate import StreamGate
from actors.exchanges.streams import OpenStream, StreamKind
from actors.exchanges.throttled import ThrottledExchange
from actors.exchanges.upbit.accounts import UpbitAccounts
from actors.exchanges.upbit.adapter import UpbitAdapter
from actors.exchanges.upbit.refusals import named_wait_s
from actors.exchanges.websocket import open_websocket
from actors.feed import FeedActor
from actors.feed_tables import FeedTables
from actors.keeper import BlobKeeper, MemoryKeeper
from actors.key_reports import OpenedAccount
from actors.limit_file import LimitKeeper
from actors.limit_tables import LimitTables
from actors.live_reader import LiveReader
from actors.preload_router import PreloadRouter
from actors.rate_limiter import RateLimiterActor
from actors.router import MarketRouter
from actors.scheduling.router import JobRouter
from actors.series import Series
from actors.store import StoreActor
from actors.stores.base import OpenStore
from actors.wants import Wants
from runtime.config import Settings, UpbitSettings
from runtime.core.actor import Actor
from runtime.core.child import ChildSpec
from runtime.core.clock import Clock
from runtime.core.mailbox import MailboxSpec
from runtime.core.ref import ActorRef
from runtime.core.registry import Registry
from runtime.core.supervisor import Strategy, Supervisor
from runtime.core.table import Table
from runtime.job_wiring import SCHEDULER, scheduler_child
from runtime.key_wiring import KeyParts, host_of, key_actor
from runtime.origin import stream_url
from runtime.policies import cache_policy, feed_policy
from runtime.preload_wiring import PreloadParts, preload_parts, preloader
from runtime.store_wiring import store_opener

# Permits, releases and requests of many bots at once; each takes the actor some microseconds.
_MAILBOX = MailboxSpec(capacity=4_096)
# More than the sum of what the limits let out in a second, so no request waits for a connection.
_CONNECTIONS_MAX = 64

# How long connecting to live streams may take, in seconds.
_CONNECT_S_MAX = 25.0

# The name of whoever serves the local socket.
CONTROL = "control"

# How long a message may be in hand, in seconds, before its actor is taken for hung and restarted.
# None of them waits for anything while it has a message in hand: what takes long goes on in a task
# of its own, so each is far above what a handler ever takes.
# The store only accepts reads and writes.
_STORE_HANG_S = 10.0
# The limiter does arithmetic and writes to its table; everything for the exchange stands behind it.
_LIMITER_HANG_S = 5.0
# The cache may go over the rows of a long series before it hands the rest to a loader.
_CACHE_HANG_S = 10.0
# The feed only tells how its streams are; they are read in a task of their own.
_FEED_HANG_S = 10.0
# The preloader only takes requests over, too.
_PRELOADER_HANG_S = 10.0
# Keys and accounts only take requests over.
_KEYS_HANG_S = 5.0

OpenSender = Callable[[], AbstractAsyncContextManager[Sender]]


@dataclass(frozen=True, slots=True)
class Wired:
    """A tree that has not been started yet, and the door to it.

    Attributes:
      root: The top supervisor.
      router: Answers questions about markets once the tree runs.
      accounts: Answers questions about keys and accounts.
      jobs: Answers questions about scheduled jobs.
      preload: Answers questions about needs and preloading.
      registry: The names of the tree's actors.
      critical: Names of the actors without which nobody is served. Whether they still do their
        work is asked with `GetHealth`; any answer to it will do.
    """

    root: Supervisor
    router: MarketRouter
    accounts: AccountRouter
    jobs: JobRouter
    preload: PreloadRouter
    registry: Registry
    critical: tuple[str, ...]


def wire(
    settings: Settings,
    *,
    state_dir: Path,
    clock: Clock,
    rng: random.Random,
    senders: Mapping[str, OpenSender] | None = None,
    streams: Mapping[str, OpenStream] | None = None,
    open_store: OpenStore | None = None,
    keepers: Mapping[str, LimitKeeper] | None = None,
    keys: KeyParts | None = None,
    job_keeper: BlobKeeper | None = None,
    control: Callable[[MarketRouter], Actor] | None = None,
) -> Wired:
    """Return the tree that `settings` describe.

    Args:
      settings: What to build.
      state_dir: Folder of the database; it exists.
      clock: Where time is read.
      rng: Where chance comes from.
      senders: In place of the network, by exchange: for tests and simulations.
      streams: In place of the network for live streams, by exchange: for the same.
      open_store: In place of the database that the settings name: for the same.
      keepers: What keeps the spent limits of an exchange for the next process.
      keys: How keys are kept and unlocked; None if there are none.
      job_keeper: What keeps jobs and their records for the next process; None for nothing.
      control: Makes the actor that serves the local socket; None for no socket.
    """
    registry = Registry()
    store = registry.ref("store")
    doors: list[ExchangeDoor] = []
    accounts: dict[str, ActorRef] = {}
    opener = open_store or store_opener(settings, state_dir, clock)
    children = [
        ChildSpec("store", lambda: StoreActor(opener), mailbox=_MAILBOX, hang_s=_STORE_HANG_S)
    ]
    critical = [store.name]
    if keys is not None:
        make = key_actor(keys, settings)
        children.insert(0, ChildSpec("keys", make, mailbox=_MAILBOX, hang_s=_KEYS_HANG_S))
    upbit = settings.exchanges.upbit
    if upbit.enabled:
        adapter = UpbitAdapter()
        sender = (senders or {}).get(adapter.name) or _http(upbit)
        opener_of_streams = (streams or {}).get(adapter.name) or _websocket(upbit)
        branch = _Branch(
            adapter,
            sender,
            opener_of_streams if upbit.streams else None,
            registry,
            clock,
            settings,
            (keepers or {}).get(adapter.name),
            # Its own, so that its use does not change what the tree does.
            random.Random(rng.random()),  # noqa: S311 - spreads waits, guards nothing
            accounts=_accounts(upbit, keys),
            preload=preload_parts(settings, state_dir, adapter.name),
        )
        doors.append(branch.door)
        critical += [branch.door.limiter.name, branch.door.cache.name]
        children.append(ChildSpec(adapter.name, branch.supervisor, shutdown_s=15.0))
        if keys is not None:
            accounts[adapter.name] = registry.ref(f"{adapter.name}.account")
    router = MarketRouter(doors, store=store, clock=clock)
    caches = {door.name: door.cache for door in doors}
    clocks = {door.name: door.exchange_clock for door in doors}
    children.append(scheduler_child(settings, caches, job_keeper or MemoryKeeper(), clocks))
    if control is not None:
        # No limit and not critical: bots reach it by the socket, nobody by its mailbox.
        children.append(ChildSpec(CONTROL, lambda: control(router)))
    at = AccountRouter(None if keys is None else registry.ref("keys"), accounts, clock)
    jobs = JobRouter(registry.ref(SCHEDULER))
    ahead = PreloadRouter(doors)
    return Wired(Supervisor(children), router, at, jobs, ahead, registry, tuple(critical))


@dataclass(frozen=True, slots=True)
class _Accounts:
    """What one exchange needs for accounts."""

    adapter: AccountAdapter
    host: str
    open: Table[str, OpenedAccount]


def _accounts(settings: UpbitSettings, keys: KeyParts | None) -> _Accounts | None:
    if keys is None:
        return None
    return _Accounts(UpbitAccounts(), host_of(settings.rest_url), keys.accounts)


class _Branch:
    """One exchange: its limiter, its cache, its feed, and what outlives all of them."""

    def __init__(
        self,
        adapter: ExchangeAdapter,
        open_sender: OpenSender,
        open_stream: OpenStream | None,
        registry: Registry,
        clock: Clock,
        settings: Settings,
        keeper: LimitKeeper | None,
        rng: random.Random,
        *,
        accounts: _Accounts | None,
        preload: PreloadParts | None,
    ) -> None:
        self._accounts = accounts
        self._preload = preload
        self._settings = settings
        self._keys = registry.ref("keys")
        self._keeper = keeper
        self._rng = rng
        self._breaker = Breaker()
        self._retries = RetryRules(tries=settings.exchanges.upbit.tries)
        self._adapter = adapter
        self._open_sender = open_sender
        self._open_stream = open_stream
        self._clock = clock
        self._store = registry.ref("store")
        self._limit_tables = LimitTables(adapter.name)
        self._feed_tables = FeedTables(adapter.name)
        self._feed_policy = feed_policy(settings.feed)
        name, feed, live = adapter.name, None, None
        self._wants = Wants()
        if open_stream is not None and adapter.stream is not None:
            feed = registry.ref(f"{name}.feed")
            live = LiveReader(
                self._feed_tables,
                self._wants,
                adapter.stream.rules,
                clock,
                spare=self._spare,
                auto=settings.feed.auto,
            )
        self.door = ExchangeDoor(
            name=name,
            cache=registry.ref(f"{name}.cache"),
            limiter=registry.ref(f"{name}.limiter"),
            tables=CacheTables(name),
            exchange_clock=ExchangeClock(clock),
            policy=cache_policy(settings.cache),
            raw=adapter.raw,
            feed=feed,
            feed_tables=None if feed is None else self._feed_tables,
            wants=None if feed is None else self._wants,
            live=live,
            preloader=None if preload is None else registry.ref(f"{name}.preloader"),
            uses=None if preload is None else preload.uses,
        )

    def supervisor(self) -> Supervisor:
        children = [
            ChildSpec("limiter", self._limiter, mailbox=_MAILBOX, hang_s=_LIMITER_HANG_S),
            ChildSpec("cache", self._cache, mailbox=_MAILBOX, hang_s=_CACHE_HANG_S),
        ]
        if self.door.feed is not None:
            children.append(ChildSpec("feed", self._feed, hang_s=_FEED_HANG_S))
        if self._preload is not None:
            children.append(
                ChildSpec("preloader", self._preloader, mailbox=_MAILBOX, hang_s=_PRELOADER_HANG_S)
            )
        if self._accounts is not None:
            children.append(
                ChildSpec("account", self._account, mailbox=_MAILBOX, hang_s=_KEYS_HANG_S)
            )
        return Supervisor(children, strategy=Strategy.REST_FOR_ONE)

    def _limiter(self) -> Actor:
        return RateLimiterActor(
            self._adapter.name,
            self._adapter.rules.limits,
            tables=self._limit_tables,
            keeper=self._keeper,
        )

    def _cache(self) -> Actor:
        return CacheActor(
            self._gate,
            adapter=self._adapter,
            store=self._store,
            tables=self.door.tables,
            exchange_clock=self.door.exchange_clock,
            policy=self.door.policy,
            events=self._feed_tables.events,
            heard_s=self._heard_s,
        )

    def _feed(self) -> Actor:
        assert self._adapter.stream is not None, "wired only where there are streams"
        return FeedActor(
            self._stream_gate,
            stream=self._adapter.stream,
            exchange=self._adapter.name,
            cache=self.door.cache,
            tables=self._feed_tables,
            wants=self._wants,
            policy=self._feed_policy,
        )

    def _preloader(self) -> Actor:
        assert self._preload is not None, "wired only where there is preloading"
        spare = partial(self._spare, "candle")
        return preloader(self._settings, self._preload, self.door, self._adapter, spare)

    def _account(self) -> Actor:
        assert self._accounts is not None, "wired only where there are keys"
        return AccountActor(
            self._gate,
            adapter=self._accounts.adapter,
            keys=self._keys,
            accounts=self._accounts.open,
            host=self._accounts.host,
            exchange_clock=self.door.exchange_clock,
        )

    @asynccontextmanager
    async def _gate(self) -> AsyncIterator[ThrottledExchange]:
        async with self._open_sender() as sender:
            yield ThrottledExchange(
                self._adapter,
                sender,
                limiter=self.door.limiter,
                clock=self._clock,
                exchange_clock=self.door.exchange_clock,
                breaker=self._breaker,
                rng=self._rng,
                rules=self._retries,
            )

    @asynccontextmanager
    async def _stream_gate(self) -> AsyncIterator[StreamGate]:
        assert self._adapter.stream is not None, "wired only where there are streams"
        assert self._open_stream is not None, "wired only where there are streams"
        yield StreamGate(
            self._adapter.name,
            self._adapter.stream.rules,
            self._open_stream,
            self.door.limiter,
            self._clock,
        )

    def _heard_s(self, series: Series) -> float | None:
        live = self.door.live
        return None if live is None else live.heard_s(series)

    def _spare(self, kind: StreamKind) -> float:
        """Return how much of the limit of requests for a kind is unused, 0 to 1."""
        return self._limit_tables.spare(self._adapter.group_of(kind), self._clock.now_s())


def _http(settings: UpbitSettings) -> OpenSender:
    return lambda: open_http_sender(
        settings.rest_url, timeout_s=settings.timeout_s, connections_max=_CONNECTIONS_MAX
    )


def _websocket(settings: UpbitSettings) -> OpenStream:
    url = stream_url(settings.rest_url, settings.stream_url)
    # The limiter takes a permit for lost that is out for long.
    timeout_s = min(settings.timeout_s, _CONNECT_S_MAX)
    return lambda: open_websocket(url, timeout_s=timeout_s, read_wait_s=named_wait_s)
