"""One database behind one actor: reads answered side by side, writes gathered into few commits.

It owns the open store. The cache actors talk to it.

    CacheActor --ReadStored, ReadCoverage--> StoreActor    answered from a task of its own
    CacheActor ---------- WriteStored -----> StoreActor    answered after the commit

A database that is away is a state, not a crash: requests are answered with `StoreUnavailable` and
its reason while it is tried again, for ever, with back-off.

Damage is an answer as well, `StoreCorrupt`; then what is damaged of that series, and nothing else,
is dropped, so that the next fetch puts it back.

What is lost when it dies: reads and writes in hand, whose callers are told at once. Nothing that
was answered.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Literal, NamedTuple

import msgspec
import trio

from actors.errors import Overloaded, StoreCorrupt, StoreError, StoreUnavailable
from actors.messages import (
    GetHealth,
    GetStoreStatistics,
    ReadCoverage,
    ReadStored,
    StoreWrite,
    WriteStored,
)
from actors.reports import Health
from actors.series import Series
from actors.stores.base import CandleStore, OpenStore
from actors.stores.checks import check_window, check_write
from actors.stores.repairs import Repairs
from runtime.core.actor import Actor
from runtime.core.backoff import Backoff
from runtime.core.errors import UnhandledRequest
from runtime.core.mailbox import Reply
from runtime.core.message import Request

Read = Callable[[CandleStore], Awaitable[object]]
State = Literal["open", "failing", "away"]

_log = logging.getLogger("marketd.store")

# The first attempt to open is made at once; the first wait is that before the second restart.
_BACKOFF = Backoff(min_s=1.0, factor=2.0, max_s=60.0, jitter=0.1, forgive_after_s=60.0)


class StoreLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much the actor takes on; beyond it callers get `Overloaded` at once.

    Attributes:
      reads_max: Reads accepted and not yet answered.
      reads_at_once: How many of them are with the store at the same time.
      writes_max: Writes waiting for their commit.
      commit_rows_max: A commit takes no further write once it holds so many candles.
    """

    reads_max: int = 1_000
    reads_at_once: int = 4
    writes_max: int = 1_000
    commit_rows_max: int = 50_000

    def __post_init__(self) -> None:
        """Refuse limits with which nothing would ever be done."""
        for name in self.__struct_fields__:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, was {getattr(self, name)}")


class StoreActorStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What the actor has done since it started.

    Attributes:
      state: `open`; `failing` while the last read or write failed, or damage is not repaired yet;
        `away` while it is not open.
      reason: Why it is not simply open; empty if it is.
      opened: How often the database was opened.
      reads: Reads answered with data.
      writes: `StoreWrite`s committed.
      commits: Transactions they went in.
      failures: Reads and writes answered with a `StoreError`.
      refused: Requests answered with `Overloaded`.
      reads_waiting: Reads accepted and not yet answered.
      writes_waiting: Writes waiting for their commit.
      last_corrupt: What the last `StoreCorrupt` said; empty if there was none.
      repaired: Damaged pieces dropped, each of them a chunk or the coverage of a series.
    """

    state: State
    reason: str
    opened: int
    reads: int
    writes: int
    commits: int
    failures: int
    refused: int
    reads_waiting: int
    writes_waiting: int
    last_corrupt: str
    repaired: int


class _Waiting(NamedTuple):
    """A write and who waits for it."""

    write: StoreWrite
    reply: Reply


class StoreActor(Actor):
    """Own one candle store; see the module for what is promised.

    Args:
      open_store: Opens the store, as an async context manager. It is entered and left in
        different tasks, so it must not keep a nursery or a cancel scope open across its block.
      limits: How much is taken on.
      backoff: How long to wait between attempts to open the store.
    """

    def __init__(
        self,
        open_store: OpenStore,
        *,
        limits: StoreLimits = StoreLimits(),  # noqa: B008 - frozen
        backoff: Backoff = _BACKOFF,
    ) -> None:
        self._open_store = open_store
        self._limits = limits
        self._backoff = backoff
        self._store: CandleStore | None = None
        self._stack = AsyncExitStack()
        self._lost = trio.Event()
        self._reads_waiting = 0
        self._reads_at_once = trio.CapacityLimiter(limits.reads_at_once)
        self._queue: deque[_Waiting] = deque()
        self._queued = trio.Event()
        # How many writes at the head of the queue have to be committed one by one.
        self._alone = 0
        # Why reads, writes and opening do not work at present; no entry if they do.
        self._troubles: dict[str, str] = {}
        self._last_corrupt = ""
        self._repairs = Repairs()
        self._opened = self._reads = self._writes = self._commits = 0
        self._failures = self._refused = 0

    # -------------------------------------------------------------- callbacks

    async def on_start(self) -> None:
        """Try to open the store once; whether that works or not, the actor is up."""
        await self._try_to_open()
        self.context.nursery.start_soon(self._keep_open)
        self.context.nursery.start_soon(self._keep_writing)

    async def on_stop(self) -> None:
        """Write what was accepted and close."""
        self._repairs.end()
        try:
            while self._queue and self._store is not None:
                await self._commit(self._next_batch())
        finally:
            await self._close()

    async def handle_call(self, request: Request[Any]) -> object:
        """Take over the request; it is answered from another task."""
        match request:
            case ReadStored():
                check_window(request.start_ms, request.end_ms, request.count)
                self._accept_read(_reading(request), request.series)
            case ReadCoverage():
                self._accept_read(lambda store: store.coverage(request.series), request.series)
            case GetStoreStatistics():
                self._accept_read(lambda store: store.statistics())
            case GetHealth():
                return self._health()
            case WriteStored():
                check_write(request.write)
                self._accept_write(request.write)
            case _:
                raise UnhandledRequest(f"StoreActor has no handler for {type(request).__name__}")
        return None

    def statistics(self) -> StoreActorStatistics:
        """Return what has been done since start."""
        return StoreActorStatistics(
            state=self._state,
            reason=self._reason,
            opened=self._opened,
            reads=self._reads,
            writes=self._writes,
            commits=self._commits,
            failures=self._failures,
            refused=self._refused,
            reads_waiting=self._reads_waiting,
            writes_waiting=len(self._queue),
            last_corrupt=self._last_corrupt,
            repaired=self._repairs.dropped,
        )

    def _health(self) -> Health:
        states: dict[State, Literal["ok", "degraded", "away"]]
        states = {"open": "ok", "failing": "degraded", "away": "away"}
        return Health(name="store", state=states[self._state], reason=self._reason)

    # -------------------------------------------------------------- reads

    def _accept_read(self, read: Read, series: Series | None = None) -> None:
        self._open_or_raise()
        if self._reads_waiting >= self._limits.reads_max:
            self._refused += 1
            raise Overloaded(f"the store has {self._reads_waiting} reads waiting; try later")
        self._reads_waiting += 1
        self.context.nursery.start_soon(self._answer, read, series, self.context.take_reply())

    async def _answer(self, read: Read, series: Series | None, reply: Reply) -> None:
        try:
            async with self._reads_at_once:
                # Its caller may have gone while it waited; then the work would be for nothing.
                if not reply.abandoned:
                    reply.send(await read(self._open_or_raise()))
                    self._reads += 1
                    self._settle("read")
        except StoreError as error:
            self._fail("read", error, series)
            reply.fail(error)
        finally:
            self._reads_waiting -= 1

    # -------------------------------------------------------------- writes

    def _accept_write(self, write: StoreWrite) -> None:
        self._open_or_raise()
        if len(self._queue) >= self._limits.writes_max:
            self._refused += 1
            raise Overloaded(f"the store has {len(self._queue)} writes waiting; try later")
        self._queue.append(_Waiting(write, self.context.take_reply()))
        self._queued.set()

    async def _keep_writing(self) -> None:
        """Commit, again and again, whatever has come in during the commit before."""
        while True:
            await self._queued.wait()
            self._queued = trio.Event()
            while self._queue:
                # Into a damaged series nothing can be written before it is repaired.
                await self._repairs.wait()
                await self._commit(self._next_batch())

    def _next_batch(self) -> list[_Waiting]:
        if self._alone:
            self._alone -= 1
            return [self._queue.popleft()]
        batch: list[_Waiting] = []
        rows = 0
        while self._queue and rows < self._limits.commit_rows_max:
            # An abandoned write is done all the same: its rows are as true as they were.
            batch.append(self._queue.popleft())
            rows += len(batch[-1].write.candles)
        return batch

    async def _commit(self, batch: list[_Waiting]) -> None:
        """Write `batch` in one transaction and answer everybody in it."""
        try:
            await self._open_or_raise().write([waiting.write for waiting in batch])
        except trio.Cancelled:
            # Nothing was changed, so `on_stop` can still do it.
            self._queue.extendleft(reversed(batch))
            raise
        except StoreError as error:
            if isinstance(error, StoreCorrupt) and len(batch) > 1:
                # Only one series need be damaged; the others must not suffer for it.
                self._queue.extendleft(reversed(batch))
                self._alone = len(batch)
            else:
                self._refuse(batch, error)
        else:
            self._commits += 1
            self._writes += len(batch)
            self._settle("write")
            for waiting in batch:
                waiting.reply.send(None)

    def _refuse(self, batch: list[_Waiting], error: StoreError) -> None:
        # What is damaged is only known of a write that went by itself.
        self._fail("write", error, batch[0].write.candles.series if len(batch) == 1 else None)
        for waiting in batch:
            # One each: an error collects the traceback of whoever raises it.
            own = type(error)(str(error))
            own.__cause__ = error
            waiting.reply.fail(own)

    # -------------------------------------------------------------- the store's state

    @property
    def _state(self) -> State:
        if self._store is None:
            return "away"
        return "failing" if self._reason else "open"

    @property
    def _reason(self) -> str:
        return "; ".join([*self._troubles.values(), *self._repairs.troubles.values()])

    def _open_or_raise(self) -> CandleStore:
        if self._store is None:
            raise StoreUnavailable(f"the store is away: {self._troubles.get('open', 'closed')}")
        return self._store

    async def _keep_open(self) -> None:
        """Open the store again, with back-off, whenever it is away."""
        attempts = 1
        while True:
            if self._store is not None:
                opened_s = self.context.clock.now_s()
                await self._lost.wait()
                await self._close()
                if self.context.clock.now_s() - opened_s >= self._backoff.forgive_after_s:
                    attempts = 1
            attempts += 1
            await trio.sleep(self._backoff.wait_s(attempts, self.context.rng))
            await self._try_to_open()

    async def _try_to_open(self) -> None:
        try:
            store = await self._stack.enter_async_context(self._open_store())
        except StoreError as error:
            self._trouble("open", str(error))
            return
        self._store = store
        self._lost = trio.Event()
        self._opened += 1
        self._troubles.clear()
        self._repairs.forget()
        _log.info("%s: the store is open", self.context.name)

    async def _close(self) -> None:
        self._store = None
        stack, self._stack = self._stack, AsyncExitStack()
        try:
            await stack.aclose()
        except StoreError as error:
            _log.warning("%s: the store did not close cleanly: %s", self.context.name, error)

    def _fail(self, doing: str, error: StoreError, series: Series | None) -> None:
        self._failures += 1
        if isinstance(error, StoreCorrupt):
            if series is None and str(error) != self._last_corrupt:
                _log.error("%s: %s", self.context.name, error)
            self._last_corrupt = str(error)
        elif self._store is not None:
            self._trouble(doing, str(error))
        if self._store is not None and self._store.lost:
            self._trouble("open", str(error))
            self._store = None
            self._lost.set()
        elif self._store is not None and isinstance(error, StoreCorrupt) and series is not None:
            self._repairs.begin(self.context, self._store, series, error)

    def _trouble(self, doing: str, reason: str) -> None:
        if doing not in self._troubles:
            _log.warning("%s: cannot %s: %s", self.context.name, doing, reason)
        self._troubles[doing] = reason

    def _settle(self, doing: str) -> None:
        if self._troubles.pop(doing, None) is not None:
            _log.info("%s: can %s again", self.context.name, doing)


def _reading(request: ReadStored) -> Read:
    return lambda store: store.read(
        request.series,
        start_ms=request.start_ms,
        end_ms=request.end_ms,
        count=request.count,
    )
