"""Long breaks, while trading goes on: whoever waits for closed candles misses none."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from actors.sandbox.faults import Fault
from actors.updates import CandleUpdate
from runtime.core.clock import TrioClock
from runtime.testing import NEW_YEAR_MS
from runtime.testing_rehearsal import Rehearsal, generated, rehearse

MINUTE_MS = 60_000


async def listen(rehearsal: Rehearsal, told: list[tuple[int, int]]) -> None:
    """Collect the minutes that are told as closed, and when."""

    def take(update: object) -> None:
        if isinstance(update, CandleUpdate):
            told.append((update.open_time_ms, rehearsal.now_ms))

    async with rehearsal.market.subscribe(
        "candles", "KRW-BTC", timeframe="1m", closed=True
    ) as updates:
        async for update in updates:
            take(update)


async def cut_for(rehearsal: Rehearsal, seconds: float) -> None:
    """Cut the connection again and again."""
    end_s = trio.current_time() + seconds
    while trio.current_time() < end_s:
        rehearsal.exchange.streams.cut()
        await trio.sleep(0.5)


@pytest.mark.slow  # five hours of every frame
@pytest.mark.parametrize("candles_per_series", [10, 200])
async def test_a_break_of_four_hours_leaves_out_no_closed_candle(
    tmp_path: Path, clock: TrioClock, candles_per_series: int
) -> None:
    """More than memory holds has become final meanwhile."""
    told: list[tuple[int, int]] = []
    async with rehearse(
        tmp_path,
        generated()[:1],
        clock=clock,
        start_ms=NEW_YEAR_MS + 5 * 60 * MINUTE_MS,
        streams=True,
        frames_every_s=5,
        candles_per_series=candles_per_series,
    ) as rehearsal:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen, rehearsal, told)
            await trio.sleep(300)
            rehearsal.exchange.faults.switch_on(Fault.AWAY)
            rehearsal.exchange.streams.cut()
            await trio.sleep(4 * 3_600)
            rehearsal.exchange.faults.switch_off()
            await trio.sleep(600)
            nursery.cancel_scope.cancel()
        opens = [open_ms for open_ms, _ in told]
        truth = rehearsal.truth("KRW-BTC", "1m", opens[-1] + 1, start_ms=opens[0])

    assert opens == truth.open_time_ms.tolist()
    assert len(opens) > 240


async def test_requests_close_candles_while_the_stream_is_down(
    tmp_path: Path, clock: TrioClock
) -> None:
    """Trouble with the stream alone costs a little time, not the candles."""
    told: list[tuple[int, int]] = []
    async with (
        rehearse(tmp_path, generated()[:1], clock=clock, streams=True) as rehearsal,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(listen, rehearsal, told)
        await trio.sleep(120)
        began_ms = rehearsal.now_ms
        await cut_for(rehearsal, 1_200)
        ended_ms = rehearsal.now_ms
        nursery.cancel_scope.cancel()

    during = [(o, at) for o, at in told if began_ms < at < ended_ms]
    assert len(during) >= 18
    assert max(at - o - MINUTE_MS for o, at in during) < 15_000
