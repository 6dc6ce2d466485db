"""A workload against a whole runtime in virtual time: what comes of fetching ahead."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import trio

from actors.errors import MarketDataError
from actors.messages import GetCandles, Priority
from actors.preload_messages import LoadCandles
from actors.preload_reports import PreloadReport
from actors.sandbox.generated import generated_markets
from actors.sandbox.market import SandboxMarket
from runtime.core.clock import TrioClock
from runtime.core.errors import ActorError
from runtime.preload_settings import PreloadSettings
from runtime.testing_rehearsal import Rehearsal, in_virtual_time, rehearse
from runtime.testing_workload_replay import START_MS, Memory
from runtime.testing_workloads import Ask

Mode = Literal["nothing", "needs", "learning", "both", "oracle"]
MODES: tuple[Mode, ...] = ("nothing", "needs", "learning", "both", "oracle")

LATENCY_S = 0.05
# From asking the cache for a page to having it: the journey, and the time to let others join.
LEAD_S = LATENCY_S + 0.01 + 0.002
# What is declared is fetched, and nothing is learnt.
NEEDS_ONLY = PreloadSettings(learn=False)


@dataclass(slots=True)
class DayResult:
    """What a workload came to, from some moment on.

    Attributes:
      waits_s: How long each request waited, in seconds.
      calls: Requests that the exchange got.
      hits: Requests that memory answered.
      report: What the preloader says of itself; None if there was none.
      failed: Requests that ended in an error.
    """

    waits_s: list[float] = field(default_factory=list)
    calls: int = 0
    hits: int = 0
    report: PreloadReport | None = None
    failed: int = 0

    def wait_s(self, quantile: float) -> float:
        """Return the wait that so large a part of the requests did not exceed, in seconds."""
        waits = sorted(self.waits_s)
        return waits[min(len(waits) - 1, int(len(waits) * quantile))]


def market_names(markets: Sequence[SandboxMarket]) -> list[str]:
    """Return the names of markets."""
    return [market.code for market in markets]


def workload_markets(count: int = 12) -> tuple[SandboxMarket, ...]:
    """Return the markets that a workload is about."""
    return generated_markets(seed=1, now_ms=START_MS, history_days=30, count=count)


def run_days(
    asks: Sequence[Ask],
    mode: Mode,
    markets: tuple[SandboxMarket, ...],
    *,
    count_from_s: float = 0.0,
    streams: bool = False,
) -> DayResult:
    """Return what comes of a workload.

    Args:
      asks: The workload.
      mode: What is fetched ahead: nothing; what strategies declare, which is every series that a
        bot asks for, from its first request on; what habits expect; both; or what one who knows
        the future would fetch.
      markets: The markets it is about.
      count_from_s: What happens before is not counted.
      streams: Whether live streams are used.
    """
    result = DayResult()

    async def main() -> None:
        clock = TrioClock(start_utc_ms=START_MS)
        with tempfile.TemporaryDirectory() as folder:
            async with _open(Path(folder), markets, mode, clock, streams=streams) as rehearsal:
                await _replay(rehearsal, asks, mode, count_from_s, result)

    in_virtual_time(main)
    return result


@asynccontextmanager
async def _open(
    folder: Path,
    markets: tuple[SandboxMarket, ...],
    mode: Mode,
    clock: TrioClock,
    *,
    streams: bool,
) -> AsyncIterator[Rehearsal]:
    preload = PreloadSettings(
        enabled=mode in ("needs", "learning", "both"), learn=mode in ("learning", "both")
    )
    async with rehearse(
        folder,
        markets,
        clock=clock,
        start_ms=START_MS,
        latency_s=LATENCY_S,
        preload=preload,
        streams=streams,
    ) as rehearsal:
        yield rehearsal


async def _replay(
    rehearsal: Rehearsal, asks: Sequence[Ask], mode: Mode, count_from_s: float, result: DayResult
) -> None:
    market, declared, calls = rehearsal.market, set[tuple[str, str]](), 0
    began_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        if mode == "oracle":
            nursery.start_soon(_foresee, rehearsal, asks)
        for ask in asks:
            await trio.sleep_until(began_s + ask.at_s)
            if ask.at_s >= count_from_s and not calls:
                calls = rehearsal.exchange.calls()
            series = (ask.market, ask.timeframe)
            is_bot = ask.kind not in ("people", "jobs")
            if mode in ("needs", "both") and is_bot and series not in declared:
                declared.add(series)
                await market.need(history=ask.depth, market=ask.market, timeframe=ask.timeframe)
            nursery.start_soon(_ask, rehearsal, ask, result if ask.at_s >= count_from_s else None)
    result.calls = rehearsal.exchange.calls() - calls
    if mode in ("needs", "learning", "both"):
        (result.report,) = await market.preload()


async def _ask(rehearsal: Rehearsal, ask: Ask, result: DayResult | None) -> None:
    began_s, usual_s = trio.current_time(), 1.0
    try:
        candles = await rehearsal.market.candles(
            ask.market,
            ask.timeframe,
            ask.depth,
            closed=ask.closed,
            max_age_s=None if ask.max_age_s == usual_s else ask.max_age_s,
        )
    except (MarketDataError, ActorError):
        if result is not None:
            result.failed += 1
        return
    if result is not None:
        result.waits_s.append(trio.current_time() - began_s)
        result.hits += candles.source in ("memory", "live")


async def _foresee(rehearsal: Rehearsal, asks: Sequence[Ask]) -> None:
    """Have each page that a request will lack, just in time for the first that lacks it."""
    began_s, memory = trio.current_time(), Memory()
    (door,) = rehearsal.application.wired.router.doors
    async with trio.open_nursery() as nursery:
        for ask in asks:
            if memory.serves(ask):
                continue
            sent_s = ask.at_s - LEAD_S
            memory.put((ask.market, ask.timeframe), sent_s + LEAD_S - LATENCY_S)
            await trio.sleep_until(began_s + sent_s)
            question = GetCandles(
                market=ask.market,
                timeframe=ask.timeframe,
                count=ask.depth,
                closed=ask.closed,
                max_age_s=0.0,
            )
            load = LoadCandles(candles=question, priority=Priority.ASKED)
            nursery.start_soon(_load, door.cache, load)


async def _load(cache: object, load: LoadCandles) -> None:
    await cache.call(load, timeout_s=30.0)  # type: ignore[attr-defined]
