"""A cache and a limiter of nothing for a `PreloaderActor`, to test what it does itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import trio

from actors.candles import Candles
from actors.keeper import MemoryKeeper
from actors.messages import GetHealth
from actors.preload_messages import (
    ForecastSlots,
    LoadCandles,
    SizeSeries,
    SlotForecast,
)
from actors.preloading.uses import Uses
from actors.reports import Health
from actors.series import Series
from runtime.core.actor import Actor
from runtime.core.clock import TrioClock
from runtime.core.message import Event, Request
from runtime.core.ref import ActorRef


class JumpingClock(TrioClock):
    """One whose wall time somebody sets.

    Attributes:
      ahead_ms: By how much it was set forward.
    """

    ahead_ms = 0

    def utc_ms(self) -> int:
        """Return what it shows."""
        return super().utc_ms() + self.ahead_ms


class SlowKeeper(MemoryKeeper):
    """A disk that takes its time.

    Args:
      takes_s: How long a write takes, in seconds.
    """

    def __init__(self, takes_s: float) -> None:
        super().__init__()
        self._takes_s = takes_s

    async def save(self, data: bytes) -> str:
        """Keep it, some time later."""
        await trio.sleep(self._takes_s)
        return await super().save(data)


@dataclass
class PreloaderStage:
    """Everything around the actor, and what it was told.

    Attributes:
      ref: The actor.
      clock: What it reads time from.
      loads: What the cache was asked for.
      sizes: What the cache was told of sizes.
      uses: Where bots' questions are noted.
      cache_answers: Whether the cache does.
      forecast: Set when the limiter may answer.
      asked: Set when it was asked.
    """

    ref: ActorRef
    clock: JumpingClock
    loads: list[LoadCandles] = field(default_factory=list)
    sizes: list[SizeSeries] = field(default_factory=list)
    uses: Uses = field(default_factory=Uses)
    cache_answers: bool = True
    forecast: trio.Event = field(default_factory=trio.Event)
    asked: trio.Event = field(default_factory=trio.Event)

    def __post_init__(self) -> None:
        """Let the limiter answer at once, unless a test wants otherwise."""
        self.forecast.set()


class FakeCache(Actor):
    """A cache that has everything at once: a market nobody trades in."""

    def __init__(self, stage: PreloaderStage) -> None:
        self._stage = stage

    async def handle_call(self, request: Request[Any]) -> object:
        """Take note, and answer."""
        if isinstance(request, GetHealth):
            return Health(name="upbit", state="ok")
        assert isinstance(request, LoadCandles)
        self._stage.loads.append(request)
        if not self._stage.cache_answers:
            self.context.take_reply()
            return None
        asked = request.candles
        return Candles.empty(Series.parse(asked.market, asked.timeframe))

    async def handle_cast(self, event: Event) -> None:
        """Take note."""
        assert isinstance(event, SizeSeries)
        self._stage.sizes.append(event)


class FakeLimiter(Actor):
    """A limiter with a schedule of its own."""

    def __init__(self, stage: PreloaderStage) -> None:
        self._stage = stage

    async def handle_call(self, request: Request[Any]) -> object:
        """Answer with a tenth of a second for each request."""
        assert isinstance(request, ForecastSlots)
        self._stage.asked.set()
        await self._stage.forecast.wait()
        answered_s = tuple(each / 10 for each in request.requests)
        return SlotForecast(answered_s=answered_s, journey_s=0.05)
