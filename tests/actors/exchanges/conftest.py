"""A server that counts like an exchange, and the whole real way to it: gate, limiter, sender.

The server counts a request when it arrives, some time after it was sent and some time before it is
answered. All on fake time; a minute takes a moment.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

import httpx
import pytest
import trio

from actors.exchanges.base import ExchangeCall
from actors.exchanges.breaker import Breaker
from actors.exchanges.clock import ExchangeClock
from actors.exchanges.http import open_http_sender
from actors.exchanges.retries import RetryRules
from actors.exchanges.throttled import ThrottledExchange
from actors.exchanges.upbit.adapter import UpbitAdapter
from actors.limit_tables import LimitTables
from actors.messages import GetLimits
from actors.rate_limiter import RateLimiterActor
from actors.reports import GroupLimits
from runtime.core.clock import TrioClock
from runtime.core.mailbox import MailboxSpec
from runtime.core.message import Event
from runtime.core.ref import ActorRef
from runtime.testing import NEW_YEAR_MS, open_actor

UPBIT = UpbitAdapter()
TRADES = UPBIT.trades("KRW-BTC", count=1)


@dataclass
class Server(httpx.AsyncBaseTransport):
    """An exchange that counts arrivals. What it answers can be changed at any time.

    `began_s` and `most_at_once` are about what was sent, whether or not it arrived.
    """

    admit: Callable[[float], bool] = lambda _now_s: True
    travel_s: Callable[[], float] = lambda: 0.025
    status: int = 200
    body: bytes = b"[]"
    headers: dict[str, str] = field(default_factory=dict)
    error: Exception | None = None
    hangs: bool = False
    arrivals: int = 0
    refusals: int = 0
    wire: trio.Nursery | None = None
    began_s: list[float] = field(default_factory=list)
    under_way: int = 0
    most_at_once: int = 0

    async def handle_async_request(self, _request: httpx.Request) -> httpx.Response:
        """Count the request on arrival and answer it later."""
        self.began_s.append(trio.current_time())
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        try:
            return await self._answer()
        finally:
            self.under_way -= 1

    async def _answer(self) -> httpx.Response:
        if isinstance(self.error, httpx.ConnectError):
            raise self.error
        assert self.wire is not None
        admitted: list[bool] = []
        arrived = trio.Event()
        # In a task of its own: what has been sent arrives, even if its sender is cancelled.
        self.wire.start_soon(self._arrive, arrived, admitted)
        await arrived.wait()
        now_ms = NEW_YEAR_MS + int(trio.current_time() * 1000)
        headers = {"Date": formatdate(now_ms // 1000, usegmt=True), **self.headers}
        if self.hangs:
            await trio.sleep_forever()
        await trio.sleep(self.travel_s())
        if self.error is not None:
            raise self.error
        if not admitted[0]:
            return httpx.Response(429, content=b"Too many API requests.", headers=headers)
        return httpx.Response(self.status, content=self.body, headers=headers)

    async def _arrive(self, arrived: trio.Event, admitted: list[bool]) -> None:
        await trio.sleep(self.travel_s())
        admitted.append(self.admit(trio.current_time()))
        self.arrivals += 1
        self.refusals += not admitted[0]
        arrived.set()


class Explode(Event, frozen=True):
    """Makes the limiter crash."""


class FragileLimiter(RateLimiterActor):
    """A limiter that crashes on demand."""

    async def handle_cast(self, event: Event) -> None:
        """Crash on `Explode`."""
        if isinstance(event, Explode):
            raise ZeroDivisionError("asked to")
        await super().handle_cast(event)


@dataclass
class Opened:
    """A gate, with what is before and behind it."""

    gate: ThrottledExchange
    limiter: ActorRef
    clock: ExchangeClock

    def crash(self) -> None:
        """Make the limiter crash."""
        self.limiter.cast(Explode())

    async def ask_for(
        self, seconds: float, *, tasks: int = 30, call: ExchangeCall[Any] = TRADES
    ) -> int:
        """Keep `tasks` callers asking for so many seconds; return how many answers they got."""
        answers = 0
        end_s = trio.current_time() + seconds

        async def ask() -> None:
            nonlocal answers
            while trio.current_time() < end_s:
                await self.gate.fetch(call, timeout_s=60)
                answers += trio.current_time() <= end_s

        async with trio.open_nursery() as nursery:
            for _ in range(tasks):
                nursery.start_soon(ask)
        return answers

    async def report(self, group: str = "trade") -> GroupLimits:
        """Return the limiter's report on one group."""
        await trio.lowlevel.checkpoint()
        return {item.group: item for item in await self.limiter.call(GetLimits())}[group]


@asynccontextmanager
async def _open_gate(
    transport: httpx.AsyncBaseTransport,
    *,
    timeout_s: float = 20.0,
    mailbox: MailboxSpec = MailboxSpec(capacity=4096),  # noqa: B008 - frozen
    waiting_max: int = 1000,
    past_s: float = 2.0,
    tries: int = 1,
    breaker: Breaker | None = None,
) -> AsyncIterator[Opened]:
    """Open the whole way to an exchange behind `transport`, `past_s` seconds after its start."""
    ours = TrioClock(start_utc_ms=NEW_YEAR_MS + 86_400_000)
    tables = LimitTables("upbit")

    def make() -> RateLimiterActor:
        return FragileLimiter("upbit", UPBIT.rules.limits, tables=tables, waiting_max=waiting_max)

    async with (
        trio.open_nursery() as wire,
        open_actor(make, name="limiter", mailbox=mailbox) as limiter,
        open_http_sender(
            "http://api.invalid", timeout_s=timeout_s, connections_max=64, transport=transport
        ) as sender,
    ):
        if isinstance(transport, Server):
            transport.wire = wire
        await trio.sleep(past_s)
        clock = ExchangeClock(ours)
        gate = ThrottledExchange(
            UPBIT,
            sender,
            limiter,
            ours,
            clock,
            breaker=breaker or Breaker(),
            rng=random.Random(1),
            rules=RetryRules(tries=tries),
        )
        yield Opened(gate, limiter, clock)


OpenGate = Callable[..., AbstractAsyncContextManager[Opened]]


@pytest.fixture
def make_server() -> type[Server]:
    """What makes servers; what one does can be changed at any time."""
    return Server


@pytest.fixture
def open_gate() -> OpenGate:
    """What opens the way to an exchange; see `_open_gate`."""
    return _open_gate
