"""What tests of the cache need: a rehearsal that knows the truth about its markets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import trio
import trio.testing

from actors.candles import Candle, Candles
from actors.sandbox.exchange import RequestRecord, SandboxExchange
from actors.sandbox.generated import CHARACTERS, Character, GeneratedSource
from actors.sandbox.market import DAY_MS, SandboxMarket
from actors.sandbox.simulated_time import SimulatedTime
from actors.sandbox.stream_faults import StreamFaults
from actors.series import Series
from actors.stores.base import OpenStore
from actors.timeframes import Timeframe
from runtime.application import Application
from runtime.client.embedded import EmbeddedClient
from runtime.core.clock import Clock
from runtime.preload_settings import PreloadSettings
from runtime.testing import NEW_YEAR_MS, open_rehearsal

T = TypeVar("T")

# More candles than any test asks for.
_ALL = 1_000_000


def generated(
    *, seed: int = 1, history_days: int = 40, kinds: tuple[Character, ...] = CHARACTERS
) -> tuple[SandboxMarket, ...]:
    """Return generated markets that were listed `history_days` before New Year 2026.

    They are pure, so tests may share them; making their days takes longer than most tests.
    """
    listed_ms = NEW_YEAR_MS - history_days * DAY_MS
    sources = (GeneratedSource(kind, seed=seed, listed_ms=listed_ms) for kind in kinds)
    return tuple(SandboxMarket(source) for source in sources)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A runtime in virtual time, the exchange it talks to, and what is true there.

    Attributes:
      application: The runtime.
      exchange: The exchange.
    """

    application: Application
    exchange: SandboxExchange

    @property
    def market(self) -> EmbeddedClient:
        """Return what bots ask."""
        return self.application.market

    @property
    def now_ms(self) -> int:
        """Return the exchange's clock."""
        return self.exchange.time.now_ms()

    def kill(self, name: str) -> None:
        """End an actor as if it had crashed."""
        self.application.wired.root.kill(name)

    def truth(
        self,
        market: str,
        timeframe: str,
        end_ms: int,
        *,
        start_ms: int = 0,
        now_ms: int | None = None,
    ) -> Candles:
        """Return the candles in [start_ms, end_ms) as they will be once all are final.

        Args:
          market: Which market.
          timeframe: How long a candle lasts.
          end_ms: First opening time no longer wanted.
          start_ms: First opening time wanted.
          now_ms: What they were at that moment instead.
        """
        series = Series.parse(market, timeframe)
        found = self.exchange.markets[series.market.code]
        period: Timeframe = series.timeframe
        bars = found.candles(
            period,
            to_ms=end_ms,
            count=min(_ALL, period.periods_between(start_ms, period.ceil_ms(end_ms)) + 1),
            now_ms=period.shift_ms(period.ceil_ms(end_ms), 1) if now_ms is None else now_ms,
            oldest_ms=start_ms,
        )
        scale = found.scale
        return Candles.from_rows(
            series,
            [
                Candle(
                    bar.open_ms,
                    scale.price(bar.open),
                    scale.price(bar.high),
                    scale.price(bar.low),
                    scale.price(bar.close),
                    scale.volume(bar.volume),
                    scale.value(bar.value),
                    closed=True,
                )
                for bar in reversed(bars)
            ],
        )

    def pages(self) -> list[RequestRecord]:
        """Return the requests for candles, oldest first."""
        return [record for record in self.exchange.log if record.path.startswith("/v1/candles")]


@asynccontextmanager
async def rehearse(
    folder: Path,
    markets: tuple[SandboxMarket, ...],
    *,
    clock: Clock,
    start_ms: int = NEW_YEAR_MS,
    row_lag_ms: int = 0,
    latency_s: float = 0.05,
    jitter_s: float = 0.0,
    seed: int = 0,
    open_store: OpenStore | None = None,
    streams: bool = False,
    frames_every_s: float = 0.0,
    maintenance: tuple[tuple[int, int], ...] = (),
    stream_faults: StreamFaults | None = None,
    preload: PreloadSettings = PreloadSettings(enabled=False),  # noqa: B008 - frozen
    **cache: float,
) -> AsyncIterator[Rehearsal]:
    """Run a runtime against `markets`, as `open_rehearsal` does, from `start_ms` on."""
    time = SimulatedTime(clock, start_ms=start_ms)
    exchange = SandboxExchange(
        markets,
        clock=clock,
        time=time,
        row_lag_ms=row_lag_ms,
        stream_faults=stream_faults,
        maintenance=maintenance,
    )
    async with open_rehearsal(
        folder,
        exchange,
        clock=clock,
        latency_s=latency_s,
        jitter_s=jitter_s,
        seed=seed,
        open_store=open_store,
        streams=streams,
        frames_every_s=frames_every_s,
        preload=preload,
        strategies={},
        **cache,
    ) as application:
        yield Rehearsal(application, exchange)


def in_virtual_time(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `main` on a clock of its own: for property tests, which run many times each."""
    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
