"""A running rate limiter, for the tests of actors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio

from actors.exchanges.base import GroupRules, RateLimit
from actors.limit_file import LimitKeeper
from actors.limit_tables import LimitTables
from actors.messages import AcquirePermit, GetLimits, Permit, Priority, ReleasePermit
from actors.rate_limiter import LimiterStatistics, RateLimiterActor
from actors.reports import GroupLimits
from runtime.core.clock import TrioClock
from runtime.core.mailbox import MailboxSpec
from runtime.core.message import Event
from runtime.core.ref import ActorRef
from runtime.testing import NEW_YEAR_MS, open_actor

LIMITS = {
    "candle": GroupRules((RateLimit(requests=3, period_s=1.0),)),
    "ticker": GroupRules((RateLimit(requests=3),)),
}


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
class OpenedLimiter:
    """A running limiter, what it keeps, and every incarnation there was."""

    ref: ActorRef
    tables: LimitTables
    lives: list[RateLimiterActor] = field(default_factory=list)

    async def acquire(
        self,
        group: str = "candle",
        *,
        timeout_s: float = 60.0,
        priority: Priority = Priority.ASKED,
        weight: int = 1,
        holder: str = "",
    ) -> Permit:
        """Return a permit."""
        request = AcquirePermit(group=group, priority=priority, weight=weight, holder=holder)
        return await self.ref.call(request, timeout_s=timeout_s)

    def crash(self) -> None:
        """Make the limiter crash."""
        self.ref.cast(Explode())

    def answer(
        self,
        permit: Permit,
        status: int = 200,
        *,
        remaining: int | None = None,
        period_s: float | None = None,
        asked_s: float = 0,
    ) -> None:
        """Give a permit back after an answer."""
        self.ref.cast(
            ReleasePermit(
                permit=permit,
                sent=True,
                answered=True,
                status=status,
                remaining=remaining,
                period_s=period_s,
                retry_after_s=asked_s or None,
            )
        )

    async def report(self, group: str = "candle", holder: str = "") -> GroupLimits:
        """Return the report on one group."""
        found = {(item.group, item.holder): item for item in await self.ref.call(GetLimits())}
        return found[group, holder]

    @property
    def statistics(self) -> LimiterStatistics:
        """Return the present incarnation's figures."""
        return self.lives[-1].statistics()


@asynccontextmanager
async def _open_limiter(
    *,
    limits: Mapping[str, GroupRules] = LIMITS,
    waiting_max: int = 1000,
    tables: LimitTables | None = None,
    keeper: LimitKeeper | None = None,
    past_s: float = 2.0,
) -> AsyncIterator[OpenedLimiter]:
    """Run a limiter; its first window, in which it lets nobody go, is over when this returns."""
    lives: list[RateLimiterActor] = []
    kept = tables or LimitTables("upbit")

    def make() -> RateLimiterActor:
        lives.append(
            FragileLimiter("upbit", limits, tables=kept, keeper=keeper, waiting_max=waiting_max)
        )
        return lives[-1]

    # The same clock for every process of a test: its wall time goes on between them.
    clock = TrioClock(start_utc_ms=NEW_YEAR_MS + round(trio.current_time() * 1000))
    mailbox = MailboxSpec(capacity=4096)
    async with open_actor(make, name="limiter", clock=clock, mailbox=mailbox) as ref:
        await trio.sleep(past_s)
        yield OpenedLimiter(ref, kept, lives)


@pytest.fixture
async def limiter() -> AsyncIterator[OpenedLimiter]:
    """A limiter whose past is over, at 2 s."""
    async with _open_limiter() as opened:
        yield opened


OpenLimiter = Callable[..., AbstractAsyncContextManager[OpenedLimiter]]


@pytest.fixture
def open_limiter() -> OpenLimiter:
    """What starts a limiter; see `_open_limiter`."""
    return _open_limiter
