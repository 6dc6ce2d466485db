"""A day of the seed workload, in virtual time: how many requests it costs with streams."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio

from runtime.core.clock import TrioClock
from runtime.testing_rehearsal import Rehearsal, generated, rehearse

pytestmark = pytest.mark.slow

TIMEFRAMES = ("1m", "5m", "15m", "1h", "1d")
DAY_S = 86_400.0
CALLS = 2_400
HOURS = 24


async def ask_all_day(rehearsal: Rehearsal, rng: random.Random) -> None:
    """Ask 2,400 times in a day, at random moments, for the timeframes in turn."""
    moments = sorted(rng.uniform(0, DAY_S) for _ in range(CALLS))
    began_s = trio.current_time()
    for number, moment_s in enumerate(moments):
        await trio.sleep_until(began_s + moment_s)
        timeframe = TIMEFRAMES[number % len(TIMEFRAMES)]
        candles = await rehearsal.market.candles("KRW-BTC", timeframe, 200)
        assert candles.complete, (timeframe, candles.missing)


async def cut_every_hour(rehearsal: Rehearsal) -> None:
    """Cut the connection each hour, at a minute of its own."""
    for hour in range(HOURS):
        await trio.sleep_until(hour * 3_600.0 + 1_000.0 + 60.0 * hour)
        rehearsal.exchange.streams.cut()


async def test_a_day_of_the_seed_workload_costs_a_call_an_hour(
    tmp_path: Path, clock: TrioClock
) -> None:
    """2,400 requests, a reconnect each hour: 24 calls of the exchange, nearly all from memory."""
    async with rehearse(tmp_path, generated(), clock=clock, streams=True) as rehearsal:
        for timeframe in TIMEFRAMES:
            for _ in range(3):
                await rehearsal.market.candles("KRW-BTC", timeframe, 200, max_age_s=0)
                await trio.sleep(1)
        await trio.sleep(30)
        warm = rehearsal.exchange.calls()
        before = await rehearsal.market.cache()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cut_every_hour, rehearsal)
            await ask_all_day(rehearsal, random.Random(1))
            nursery.cancel_scope.cancel()
        after = await rehearsal.market.cache()
        calls = rehearsal.exchange.calls() - warm
        memory = (after.memory_answers - before.memory_answers) / CALLS
        streams = await rehearsal.market.streams()

    print(
        f"\na day of {CALLS} candle requests, {streams[0].reconnects} reconnects: {calls} calls of "
        f"the exchange (wanted 24 at most), {memory:.1%} from memory (wanted 99 %), "
        f"{after.store_answers - before.store_answers} from the store, "
        f"{after.exchange_answers - before.exchange_answers} from the exchange"
    )
    assert calls <= 24
    assert memory >= 0.99
