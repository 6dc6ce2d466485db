"""`CacheActor` and streams: what they tell is in memory at once, and in the store after a while."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from actors.candles import Candles
from actors.exchanges.streams import LiveRow, StreamKey
from actors.messages import CandleStreamsBack, CandleStreamsBroke, GetCacheCounts, LiveCandles
from actors.sandbox.market import SandboxMarket
from actors.timeframes import Timeframe
from runtime.core.clock import TrioClock
from runtime.core.message import Event
from runtime.testing import NEW_YEAR_MS
from runtime.testing_rehearsal import Rehearsal, generated, rehearse

MINUTE_MS = 60_000
NOON_MS = NEW_YEAR_MS + 12 * 3_600_000 + 30_000
TIMEFRAMES = (Timeframe.M1, Timeframe.M5, Timeframe.H4)
KEYS = tuple(StreamKey("candle", "KRW-BTC", timeframe) for timeframe in TIMEFRAMES)


@pytest.fixture(scope="module")
def markets() -> tuple[SandboxMarket, ...]:
    """All generated markets with five days of history."""
    return generated(history_days=5)


def cast(stage: Rehearsal, event: Event) -> None:
    """Send the cache what a FeedActor would."""
    stage.application.wired.registry.ref("upbit.cache").cast(event)


def frames(stage: Rehearsal, clock: TrioClock) -> LiveCandles:
    """Return the frames of this moment in every timeframe."""
    now_ms = stage.now_ms
    rows: list[tuple[StreamKey, LiveRow]] = []
    for key, timeframe in zip(KEYS, TIMEFRAMES, strict=True):
        open_ms = timeframe.floor_ms(now_ms)
        end_ms = timeframe.shift_ms(open_ms, 1)
        found = stage.truth("KRW-BTC", timeframe.value, end_ms, start_ms=open_ms, now_ms=now_ms)
        rows += [(key, LiveRow(*row[:7], now_ms)) for row in found.rows()]
    return LiveCandles(rows=tuple(rows), received_s=clock.now_s())


async def stream(stage: Rehearsal, clock: TrioClock, seconds: int) -> None:
    """Tell all candles each second."""
    for _ in range(seconds):
        cast(stage, frames(stage, clock))
        await trio.sleep(1.0)


def volumes(candles: Candles) -> Sequence[float]:
    """Return what was traded in each of some candles."""
    found: list[float] = candles.volume.tolist()
    return found


async def test_streams_keep_candles_right_without_any_request_through_a_break_and_a_crash(
    markets: tuple[SandboxMarket, ...], clock: TrioClock, tmp_path: Path
) -> None:
    """In the end memory and store hold the truth, for one page of each series and a repair."""
    async with rehearse(tmp_path, markets, clock=clock, start_ms=NOON_MS) as stage:
        cache = stage.application.wired.registry.ref("upbit.cache")
        for timeframe in ("1m", "5m"):
            await stage.market.candles("KRW-BTC", timeframe, 200)
        cast(stage, CandleStreamsBack(keys=KEYS, since_s=clock.now_s()))
        await stream(stage, clock, 200)
        cast(stage, CandleStreamsBroke(keys=KEYS, heard_s=clock.now_s(), reason="cut"))
        await trio.sleep(90.0)
        cast(stage, CandleStreamsBack(keys=KEYS, since_s=clock.now_s()))
        await stream(stage, clock, 400)

        counts = await cache.call(GetCacheCounts())
        assert counts.proven_by_stream > 8
        assert counts.disagreements == 0
        assert counts.pages <= 4
        before = stage.exchange.calls()
        for timeframe in ("1m", "5m"):
            known = await stage.market.candles("KRW-BTC", timeframe, 20, closed=True, max_age_s=9)
            end_ms = known.open_time_ms[-1].item() + Timeframe.parse(timeframe).span_ms
            truth = stage.truth("KRW-BTC", timeframe, end_ms).last(20)
            assert volumes(known) == volumes(truth)
        assert stage.exchange.calls() == before

        # Stored meanwhile: the next incarnation, and the next process, find it.
        await trio.sleep(40.0)
        stage.kill("upbit.cache")
        await trio.sleep(1.0)
        await stream(stage, clock, 5)
        assert (await cache.call(GetCacheCounts())).live_rows > 0
