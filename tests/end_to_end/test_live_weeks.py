"""Weeks in progress, which no stream tells: they are made of days, and stay right over midnight."""

from __future__ import annotations

from pathlib import Path

import trio

from actors.updates import CandleUpdate
from runtime.core.clock import TrioClock
from runtime.testing import NEW_YEAR_MS
from runtime.testing_rehearsal import Rehearsal, generated, rehearse

DAY_MS = 86_400_000
# 2026-01-05, a Monday.
MONDAY_MS = NEW_YEAR_MS + 4 * DAY_MS


async def test_a_subscriber_of_weeks_is_told_over_the_weeks_border(
    tmp_path: Path, clock: TrioClock
) -> None:
    """The new week goes on in progress, and the old one is told as closed, once."""
    told: list[CandleUpdate] = []
    async with rehearse(
        tmp_path, generated()[:1], clock=clock, start_ms=MONDAY_MS - 600_000, streams=True
    ) as rehearsal:

        async def listen() -> None:
            async with rehearsal.market.subscribe("candles", "KRW-BTC", timeframe="1w") as updates:
                async for update in updates:
                    assert isinstance(update, CandleUpdate)
                    told.append(update)

        async def listen_to_closed() -> None:
            async with rehearsal.market.subscribe(
                "candles", "KRW-BTC", timeframe="1w", closed=True
            ) as updates:
                async for update in updates:
                    assert isinstance(update, CandleUpdate)
                    closed.append(update.open_time_ms)

        closed: list[int] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            nursery.start_soon(listen_to_closed)
            await rehearsal.market.candles("KRW-BTC", "1d", 30)
            await trio.sleep(2_400)
            nursery.cancel_scope.cancel()

    assert closed == [MONDAY_MS - 7 * DAY_MS]
    assert {each.open_time_ms for each in told} == {MONDAY_MS - 7 * DAY_MS, MONDAY_MS}
    assert not told[-1].closed
    assert told[-1].open_time_ms == MONDAY_MS


async def test_weeks_are_right_after_a_break_over_midnight(
    tmp_path: Path, clock: TrioClock
) -> None:
    """What the stream had told of yesterday lacks its end; a page closes it before weeks go on."""
    start_ms = NEW_YEAR_MS + DAY_MS - 300_000
    async with rehearse(
        tmp_path, generated()[:1], clock=clock, start_ms=start_ms, streams=True
    ) as rehearsal:
        async with rehearsal.market.subscribe("candles", "KRW-BTC", timeframe="1w"):
            await rehearsal.market.candles("KRW-BTC", "1d", 30)
            await trio.sleep(200)
            await away_for(rehearsal, 400)
            await trio.sleep(600)
            candles = await rehearsal.market.candles("KRW-BTC", "1w", 1)

        now_ms = rehearsal.now_ms
        truth = rehearsal.truth("KRW-BTC", "1w", now_ms + 1, now_ms=now_ms - 5_000)
    assert candles.source == "live"
    assert candles.volume[-1] >= truth.volume[-1] * (1 - 1e-12)


async def away_for(rehearsal: Rehearsal, seconds: float) -> None:
    """Cut the connection again and again."""
    end_s = trio.current_time() + seconds
    while trio.current_time() < end_s:
        rehearsal.exchange.streams.cut()
        await trio.sleep(0.5)
