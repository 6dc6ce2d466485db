"""The tree of this runtime, assembled: the one place that knows the concrete actors.

    root (one_for_one)
    ├── store       StoreActor: one database, one writer
    ├── upbit       supervisor, rest_for_one: one such branch for each exchange
    │   ├── limiter    RateLimiterActor
    │   └── cache      CacheActor, whose gate asks the limiter
    └── control     ControlActor: the local socket, if there is one

The store comes first because the caches write to it while they stop. In a branch what is later
rests on what is earlier: a new limiter means new loads. The socket comes last, so that nobody is
let in before there is somebody to ask, and nobody is asked any more when the rest stops.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from actors.cache import CacheActor
from actors.cache_tables import CachePolicy, CacheTables, LoadPolicy
from actors.exchanges.base import ExchangeAdapter
from actors.exchanges.clock import ExchangeClock
from actors.exchanges.http import open_http_sender
from actors.exchanges.sender import Sender
from actors.exchanges.throttled import ThrottledExchange
from actors.exchanges.upbit.adapter import UpbitAdapter
from actors.rate_limiter import RateLimiterActor
from actors.router import ExchangeDoor, MarketRouter
from actors.slots import GroupSnapshot
from actors.store import StoreActor
from actors.stores.base import CandleStore, OpenStore
from actors.stores.memory import MemoryStore
from actors.stores.sqlite import open_sqlite_store
from runtime.config import CacheSettings, Settings, UpbitSettings
from runtime.core.actor import Actor
from runtime.core.child import ChildSpec
from runtime.core.clock import Clock
from runtime.core.mailbox import MailboxSpec
from runtime.core.registry import Registry
from runtime.core.supervisor import Strategy, Supervisor
from runtime.core.table import Table

# Permits, releases and requests of many bots at once; each takes the actor some microseconds.
_MAILBOX = MailboxSpec(capacity=4_096)
# More than the sum of what the limits let out in a second, so no request waits for a connection.
_CONNECTIONS_MAX = 64

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

OpenSender = Callable[[], AbstractAsyncContextManager[Sender]]


@dataclass(frozen=True, slots=True)
class Wired:
    """A tree that has not been started yet, and the door to it.

    Attributes:
      root: The top supervisor.
      router: Answers questions about markets once the tree runs.
      registry: The names of the tree's actors.
      critical: Names of the actors without which nobody is served. Whether they still do their
        work is asked with `GetHealth`; any answer to it will do.
    """

    root: Supervisor
    router: MarketRouter
    registry: Registry
    critical: tuple[str, ...]


def wire(
    settings: Settings,
    *,
    state_dir: Path,
    clock: Clock,
    senders: Mapping[str, OpenSender] | None = None,
    open_store: OpenStore | None = None,
    control: Callable[[MarketRouter], Actor] | None = None,
) -> Wired:
    """Return the tree that `settings` describe.

    Args:
      settings: What to build.
      state_dir: Folder of the database; it exists.
      clock: Where time is read.
      senders: In place of the network, by exchange: for tests and simulations.
      open_store: In place of the database that the settings name: for the same.
      control: Makes the actor that serves the local socket; None for no socket.
    """
    registry = Registry()
    store = registry.ref("store")
    doors: list[ExchangeDoor] = []
    opener = open_store or _store(settings, state_dir, clock)
    children = [
        ChildSpec("store", lambda: StoreActor(opener), mailbox=_MAILBOX, hang_s=_STORE_HANG_S)
    ]
    critical = [store.name]
    upbit = settings.exchanges.upbit
    if upbit.enabled:
        adapter = UpbitAdapter()
        sender = (senders or {}).get(adapter.name) or _http(upbit)
        branch = _Branch(adapter, sender, registry, clock, _policy(settings.cache))
        doors.append(branch.door)
        critical += [branch.door.limiter.name, branch.door.cache.name]
        children.append(ChildSpec(adapter.name, branch.supervisor, shutdown_s=15.0))
    router = MarketRouter(doors, store=store, clock=clock)
    if control is not None:
        # No limit and not critical: bots reach it by the socket, nobody by its mailbox.
        children.append(ChildSpec(CONTROL, lambda: control(router)))
    return Wired(Supervisor(children), router, registry, tuple(critical))


class _Branch:
    """One exchange: its limiter, its cache, and what outlives both."""

    def __init__(
        self,
        adapter: ExchangeAdapter,
        open_sender: OpenSender,
        registry: Registry,
        clock: Clock,
        policy: CachePolicy,
    ) -> None:
        self._adapter = adapter
        self._open_sender = open_sender
        self._clock = clock
        self._store = registry.ref("store")
        self._ledgers: Table[str, GroupSnapshot] = Table(f"{adapter.name} limits")
        self.door = ExchangeDoor(
            name=adapter.name,
            cache=registry.ref(f"{adapter.name}.cache"),
            limiter=registry.ref(f"{adapter.name}.limiter"),
            tables=CacheTables(adapter.name),
            exchange_clock=ExchangeClock(clock),
            policy=policy,
        )

    def supervisor(self) -> Supervisor:
        return Supervisor(
            [
                ChildSpec("limiter", self._limiter, mailbox=_MAILBOX, hang_s=_LIMITER_HANG_S),
                ChildSpec("cache", self._cache, mailbox=_MAILBOX, hang_s=_CACHE_HANG_S),
            ],
            strategy=Strategy.REST_FOR_ONE,
        )

    def _limiter(self) -> Actor:
        return RateLimiterActor(self._adapter.name, self._adapter.rules.limits, table=self._ledgers)

    def _cache(self) -> Actor:
        return CacheActor(
            self._gate,
            adapter=self._adapter,
            store=self._store,
            tables=self.door.tables,
            exchange_clock=self.door.exchange_clock,
            policy=self.door.policy,
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
            )


def _http(settings: UpbitSettings) -> OpenSender:
    return lambda: open_http_sender(
        settings.rest_url, timeout_s=settings.timeout_s, connections_max=_CONNECTIONS_MAX
    )


def _store(settings: Settings, state_dir: Path, clock: Clock) -> OpenStore:
    @asynccontextmanager
    async def open_memory() -> AsyncIterator[CandleStore]:
        yield MemoryStore(clock=clock)

    @asynccontextmanager
    async def open_sqlite() -> AsyncIterator[CandleStore]:
        async with open_sqlite_store(state_dir / settings.store.file, clock=clock) as store:
            yield store

    return open_memory if settings.store.kind == "memory" else open_sqlite


def _policy(settings: CacheSettings) -> CachePolicy:
    return CachePolicy(
        load=LoadPolicy(
            settle_s=settings.settle_s,
            gather_s=settings.gather_s,
            rows_max=settings.candles_per_series,
        ),
        memory_bytes_max=settings.memory_mb * 1_000_000,
        max_age_s=settings.max_age_s,
        quote_max_age_s=settings.quote_max_age_s,
    )
