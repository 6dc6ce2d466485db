"""Recorded months, replayed while everything breaks: what is told as closed is always final.

All in virtual time, on the scheduler's own seed, so that a failing run can be had again:
`python tests/end_to_end/test_live_replay.py FIRST LAST HOURS` runs many seeds, some hours of each.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path

import pytest
import trio

from actors.messages import ReadStored
from actors.sandbox.market import SandboxMarket
from actors.sandbox.replayed import ReplayedSource
from actors.sandbox.stream_faults import StreamFaults
from actors.series import Series
from actors.stores.base import CandleStore
from actors.stores.memory import MemoryStore
from actors.timeframes import Timeframe
from runtime.core.clock import TrioClock
from runtime.core.replay import run_replayable
from runtime.testing import NEW_YEAR_MS
from runtime.testing_live import EVERY_FAULT, Listener, Truth, ask_at_random, trouble
from runtime.testing_rehearsal import Rehearsal, rehearse

pytestmark = [pytest.mark.recorded, pytest.mark.slow]

FILES = {
    "KRW-BTC": "BTC_KRW_1m_20250901_20251004.csv.gz",
    "KRW-DOGE": "DOGE_KRW_1m_20250901_20250920.csv.gz",
}
TIMEFRAMES = ("1m", "3m", "5m", "15m", "30m", "1h", "4h", "1d")
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS


@lru_cache(maxsize=4)
def recorded_markets(folder: Path) -> tuple[SandboxMarket, ...]:
    """Return the recorded markets; reading their files takes a second."""
    return tuple(
        SandboxMarket(ReplayedSource(folder / "candles" / name, code=code, timeframe=Timeframe.M1))
        for code, name in FILES.items()
    )


async def replay(folder: Path, seed: int, hours: float) -> list[tuple[object, ...]]:
    """Run bots through some hours of the file with every fault on; return a trace of the run."""
    rng = random.Random(seed)
    markets = recorded_markets(folder)
    clock = TrioClock(start_utc_ms=NEW_YEAR_MS)
    first_ms = markets[0].source.first_ms
    # Another part of the months with each seed; they overlap for 19 days.
    start_ms = first_ms + rng.randrange(24 * 60, 17 * 24 * 60) * MINUTE_MS
    stop_ms = start_ms + round(hours * HOUR_MS)
    away_ms = rng.randrange(start_ms, stop_ms) // MINUTE_MS * MINUTE_MS
    store = MemoryStore(clock=clock)

    @asynccontextmanager
    async def open_store() -> AsyncIterator[CandleStore]:
        yield store

    with tempfile.TemporaryDirectory() as temporary:
        async with rehearse(
            Path(temporary),
            markets,
            clock=clock,
            start_ms=start_ms,
            seed=seed,
            jitter_s=0.05,
            streams=True,
            stream_faults=StreamFaults(random.Random(seed)),
            maintenance=((away_ms, away_ms + 10 * MINUTE_MS),),
            open_store=open_store,
        ) as rehearsal:
            truth = Truth(rehearsal, FILES, TIMEFRAMES, start_ms=first_ms, end_ms=stop_ms + HOUR_MS)
            listener = Listener(rehearsal, truth)
            await live_through(rehearsal, truth, listener, rng, for_s=hours * 3_600)
            end_ms = rehearsal.now_ms - 10_000
            await check_everything(rehearsal, truth, start_ms=start_ms, end_ms=end_ms)
            check_told(listener, truth, end_ms=end_ms)
            tables = rehearsal.application.wired.router.doors[0].tables
            strikes = [tuple(strike) for strike in rehearsal.exchange.stream_faults.log]
            gaps = [(number, gap) for number, gap in tables.gaps.items()]
            return [*strikes, *gaps, *sorted(listener.told.items())]


async def live_through(
    rehearsal: Rehearsal, truth: Truth, listener: Listener, rng: random.Random, *, for_s: float
) -> None:
    """Let bots ask and listen while everything breaks, and then a little longer."""
    faults, codes = rehearsal.exchange.stream_faults, list(FILES)
    for fault, size in EVERY_FAULT.items():
        faults.switch_on(fault, size)
    async with trio.open_nursery() as nursery:
        for timeframe in ("1m", "5m", "15m", "1h"):
            nursery.start_soon(listener.listen, codes, timeframe)
        for _ in range(3):
            its = random.Random(rng.random())
            nursery.start_soon(ask_at_random, rehearsal, truth, codes, list(TIMEFRAMES), its)
        nursery.start_soon(trouble, rehearsal.exchange, random.Random(rng.random()))
        await trio.sleep(for_s)
        faults.switch_off()
        rehearsal.exchange.faults.switch_off()
        # Every hole is mended within the longest wait between tries.
        await trio.sleep(400)
        nursery.cancel_scope.cancel()


def check_told(listener: Listener, truth: Truth, *, end_ms: int) -> None:
    """Assert that every candle was told, in order, from the first one that was."""
    for (market, name), told in listener.told.items():
        timeframe = Timeframe.parse(name)
        wanted = truth.rows(market, name, told[0], timeframe.floor_ms(end_ms))
        assert told == [row[0] for row in wanted if row[0] <= told[-1]], (market, name)
        assert told[-1] >= wanted[-1][0] - 2 * timeframe.span_ms, (market, name)


async def check_everything(
    rehearsal: Rehearsal, truth: Truth, *, start_ms: int, end_ms: int
) -> None:
    """Assert that memory and store have the file's candles, in every timeframe."""
    for market in FILES:
        for name in TIMEFRAMES:
            timeframe = Timeframe.parse(name)
            from_ms, to_ms = timeframe.ceil_ms(start_ms), timeframe.floor_ms(end_ms)
            if to_ms <= from_ms:
                continue
            candles = await rehearsal.market.candles(
                market, name, start=from_ms, end=to_ms, closed=True, timeout_s=300
            )
            assert candles.complete, (market, name, candles.missing)
            assert [row[:7] for row in candles] == truth.rows(market, name, from_ms, to_ms)
            stored = await rehearsal.application.wired.registry.ref("store").call(
                ReadStored(series=Series.parse(market, name), start_ms=from_ms, end_ms=to_ms)
            )
            for span in stored.coverage:
                rows = stored.candles.between(span.start_ms, span.end_ms)
                wanted = truth.rows(market, name, span.start_ms, span.end_ms)
                assert [row[:7] for row in rows] == wanted, (market, name)


@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_breaks_what_is_told_as_closed_is_final(recorded: Path, seed: int) -> None:
    """The promise of the project, against every fault at once; more seeds run by hand."""
    trace = run_replayable(replay, recorded, seed, 2.0, seed=seed)

    assert len(trace) > 100


def test_the_same_seed_gives_the_same_run(recorded: Path) -> None:
    """Whatever goes wrong can be had again."""
    first, again = (run_replayable(replay, recorded, 3, 0.5, seed=3) for _ in range(2))

    assert first == again


if __name__ == "__main__":
    ROOT = Path(__file__).resolve().parents[3] / "shared" / "data" / "upbit"
    SEEDS = range(int(sys.argv[1]), int(sys.argv[2]) + 1)
    for chosen in SEEDS:
        found = run_replayable(replay, ROOT, chosen, float(sys.argv[3]), seed=chosen)
        sys.stdout.write(f"seed {chosen}: {len(found)} events, all closed candles final\n")
        sys.stdout.flush()
