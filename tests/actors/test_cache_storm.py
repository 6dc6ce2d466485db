"""The cache under everything at once, and over a whole file of recorded candles."""

from __future__ import annotations

import contextlib
import random
import tempfile
from pathlib import Path

import numpy as np
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.candles import Candles
from actors.errors import InvalidRequest, MarketDataError, StoreError, StoreUnavailable
from actors.sandbox.faults import Fault
from actors.sandbox.market import SandboxMarket
from actors.sandbox.replayed import ReplayedSource
from actors.stores.testing import Disk
from actors.timeframes import Timeframe
from runtime.core.clock import TrioClock
from runtime.core.errors import ActorError
from runtime.testing import NEW_YEAR_MS
from runtime.testing_rehearsal import Rehearsal, generated, in_virtual_time, rehearse

MINUTE_MS = 60_000
VICTIMS = ("store", "upbit.limiter", "upbit.cache")


@pytest.fixture(scope="module")
def markets() -> tuple[SandboxMarket, ...]:
    """All generated markets with five days of history."""
    return generated(history_days=5)


@given(st.randoms(use_true_random=False))
@settings(max_examples=6, deadline=None)
def test_whatever_goes_wrong_an_answer_is_right_or_an_error(
    markets: tuple[SandboxMarket, ...], chance: random.Random
) -> None:
    """The exchange, the store and all actors fail in any order, and our clock is off as well."""

    async def main() -> None:
        disk = Disk()
        disk.takes_s = chance.choice([0.0, 0.01, 0.1])
        start_ms = NEW_YEAR_MS + chance.randint(0, 120_000)
        clock = TrioClock(
            start_utc_ms=start_ms + chance.choice([0, -3_000, 3_000, -(10**9), 10**9])
        )
        with tempfile.TemporaryDirectory() as folder:
            async with rehearse(
                Path(folder),
                markets,
                clock=clock,
                start_ms=start_ms,
                row_lag_ms=chance.choice([0, 2_000]),
                jitter_s=chance.choice([0.0, 0.3]),
                seed=chance.randint(0, 99),
                open_store=disk.open,
                candles_per_series=chance.choice([3, 200]),
                memory_mb=1,
            ) as stage:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_break_things, stage, disk, chance)
                    for _ in range(4):
                        nursery.start_soon(_ask_and_check, stage, chance)
                assert stage.exchange.rules.refused() == 0

    in_virtual_time(main)


async def _break_things(stage: Rehearsal, disk: Disk, chance: random.Random) -> None:
    for _ in range(5):
        await trio.sleep(chance.random() * 6)
        match chance.randrange(5):
            case 0:
                fault = chance.choice(list(Fault))
                stage.exchange.faults.switch_on(fault, times=chance.randint(1, 4))
            case 1:
                disk.cannot_read = chance.choice([None, StoreUnavailable("unplugged")])
            case 2:
                disk.cannot_write = chance.choice([None, StoreUnavailable("full")])
            case 3:
                disk.lost = True
            case _:
                with contextlib.suppress(ActorError):
                    stage.kill(chance.choice(VICTIMS))


async def _ask_and_check(stage: Rehearsal, chance: random.Random) -> None:
    for _ in range(8):
        await trio.sleep(chance.choice([0.0, 0.01, 0.3, 2.0, 9.0]))
        code, timeframe = chance.choice(["KRW-BTC", "BTC-ETH"]), chance.choice(["1m", "5m", "1s"])
        period = Timeframe(timeframe)
        count: int | None = chance.randint(1, 400)
        back_ms = chance.choice([None, 0, 1, MINUTE_MS, 60 * MINUTE_MS, 10**8])
        end_ms = None if back_ms is None else period.floor_ms(stage.now_ms - back_ms)
        start_ms = None
        if chance.random() < 0.3:
            start_ms = period.shift_ms(period.floor_ms(end_ms or stage.now_ms), -(count or 0))
            count = None
        asked_ms, closed = stage.now_ms, chance.random() < 0.4
        try:
            answer = await stage.market.candles(
                code,
                timeframe,
                count,
                start=start_ms,
                end=end_ms,
                closed=closed,
                max_age_s=chance.choice([None, 0.0, 5.0]),
                allow_stale=chance.random() < 0.2,
                timeout_s=chance.choice([1.0, 30.0]),
            )
        except (MarketDataError, ActorError) as error:
            # Neither is the question at fault, nor need the store's troubles be the caller's.
            if isinstance(error, InvalidRequest | StoreError):
                raise
        else:
            reach_ms = period.floor_ms(answer.as_of_ms)
            if end_ms is not None:
                reach_ms = min(end_ms, period.floor_ms(asked_ms))
            _check(stage, answer, start_ms, reach_ms)
            assert not closed or answer.closed.all()
            assert count is None or len(answer) <= count


def _check(stage: Rehearsal, answer: Candles, start_ms: int | None, reach_ms: int) -> None:
    """Closed rows are final, and every candle up to `reach_ms` is there or named as missing."""
    times = answer.open_time_ms
    first_ms = int(times[0]) if len(times) else start_ms or stage.now_ms
    series, now_ms = answer.series, stage.now_ms
    end_ms = series.timeframe.shift_ms(series.timeframe.ceil_ms(now_ms), 1)
    truth = stage.truth(str(series.market), series.timeframe.value, end_ms, start_ms=first_ms)
    final = answer.closed_only()
    assert final == truth.take(np.isin(truth.open_time_ms, final.open_time_ms))
    assert np.isin(times, truth.open_time_ms).all()
    lacking = truth.between(0, reach_ms).open_time_ms
    lacking = lacking[~np.isin(lacking, times)]
    for gap in answer.missing:
        lacking = lacking[(lacking < gap.start_ms) | (lacking >= gap.end_ms)]
    assert lacking.size == 0


@pytest.mark.recorded
async def test_a_whole_recorded_file_is_read_back_page_by_page(
    recorded: Path, clock: TrioClock, tmp_path: Path
) -> None:
    """Every candle equals the file's row; minutes without a trade are absent and known."""
    path = recorded / "candles" / "DOGE_KRW_1m_20250901_20250920.csv.gz"
    source = ReplayedSource(path, code="KRW-DOGE", timeframe=Timeframe.M1)
    start_ms = source.end_ms + 10 * MINUTE_MS
    async with rehearse(
        tmp_path, (SandboxMarket(source),), clock=clock, start_ms=start_ms
    ) as stage:
        rows = source.bars(0, source.end_ms)
        read: list[Candles] = []
        end_ms = source.end_ms
        while end_ms > source.first_ms:
            read.append(await stage.market.candles("KRW-DOGE", "1m", 1_000, end=end_ms))
            assert read[-1].complete
            end_ms = int(read[-1].open_time_ms[0])
        whole = read[0]
        for older in read[1:]:
            whole = older.merge(whole)
        pages = len(stage.pages())

        assert whole.open_time_ms.tolist() == rows.open_ms.tolist()
        assert whole == stage.truth("KRW-DOGE", "1m", source.end_ms)
        assert pages <= len(rows) // 200 + 2
        again = await stage.market.candles("KRW-DOGE", "1m", len(rows), end=source.end_ms)
        assert again == whole
        assert len(stage.pages()) == pages
