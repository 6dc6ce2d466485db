"""How much of each series the CacheActor keeps in memory, and how that is filled."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from actors.preload_messages import SizeSeries
from actors.sandbox.market import SandboxMarket
from runtime.core.clock import TrioClock
from runtime.preload_settings import PreloadSettings
from runtime.testing_rehearsal import Rehearsal, generated, rehearse

# Long enough that nothing has to be fetched again.
AGE_S = 80_000.0
KEY = ("KRW-BTC", "1m")


@pytest.fixture(scope="module")
def markets() -> tuple[SandboxMarket, ...]:
    """Return markets with five days of history."""
    return generated(history_days=5)


def rows_of(rehearsal: Rehearsal) -> int:
    """Return how many closed candles of the series are in memory."""
    (door,) = rehearsal.application.wired.router.doors
    known = door.tables.candles.get(KEY)
    return 0 if known is None else known.closed_rows


def size(rehearsal: Rehearsal, rows: int) -> None:
    """Tell the cache how many to keep."""
    (door,) = rehearsal.application.wired.router.doors
    door.cache.cast(SizeSeries(rows={KEY: rows}))


async def source_of(rehearsal: Rehearsal, count: int) -> str:
    """Ask for candles; return where they came from."""
    candles = await rehearsal.market.candles(*KEY, count, closed=True, max_age_s=AGE_S)
    assert len(candles) == count
    return candles.source


async def test_what_is_asked_deeper_than_usual_is_in_memory_from_the_second_time_on(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """Memory hears of the depth while the first is being fetched."""
    preload = PreloadSettings(learn=False)
    async with rehearse(tmp_path, markets, clock=clock, preload=preload) as rehearsal:
        sources = []
        for _ in range(3):
            sources.append(await source_of(rehearsal, 1_000))
            await trio.sleep(2)

    assert sources == ["exchange", "memory", "memory"]


async def test_without_sizing_each_series_keeps_what_is_usual(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """Deeper questions go to the store."""
    async with rehearse(tmp_path, markets, clock=clock) as rehearsal:
        sources = []
        for _ in range(3):
            sources.append(await source_of(rehearsal, 1_000))
            await trio.sleep(2)
        rows = rows_of(rehearsal)

    assert sources == ["exchange", "store", "store"]
    assert rows == 200


async def test_rows_that_are_not_to_be_kept_are_let_go_and_found_in_the_store(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """Nothing is fetched again because memory is smaller, or larger, than it was."""
    async with rehearse(tmp_path, markets, clock=clock) as rehearsal:
        size(rehearsal, 3_000)
        await source_of(rehearsal, 2_500)
        large, pages = rows_of(rehearsal), len(rehearsal.pages())
        size(rehearsal, 50)
        await trio.sleep(0.1)
        small = rows_of(rehearsal)
        first = await source_of(rehearsal, 50)
        second = await source_of(rehearsal, 60)
        size(rehearsal, 900)
        third = await source_of(rehearsal, 900)
        fourth = await source_of(rehearsal, 900)
        again = rows_of(rehearsal)

    assert 2_500 <= large <= 3_000
    assert small == 50
    assert (first, second, third, fourth) == ("memory", "store", "store", "memory")
    assert again == 900
    assert len(rehearsal.pages()) == pages


async def test_memory_that_was_filled_from_the_store_is_the_truth(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """Candle for candle, minutes without a trade included."""
    market = "KRW-DOGE"
    async with rehearse(tmp_path, markets, clock=clock) as rehearsal:
        (door,) = rehearsal.application.wired.router.doors
        ask = rehearsal.market.candles
        await ask(market, "1m", 1_500, closed=True)
        door.cache.cast(SizeSeries(rows={(market, "1m"): 2_000}))
        await ask(market, "1m", 700, closed=True, max_age_s=AGE_S)
        await ask(market, "1m", 1_400, closed=True, max_age_s=AGE_S)
        found = await ask(market, "1m", 1_300, closed=True, max_age_s=AGE_S)
        last_ms = int(found.open_time_ms[-1])
        start_ms = int(found.open_time_ms[0])
        true = rehearsal.truth(market, "1m", last_ms + 60_000, start_ms=start_ms)

    assert found.source == "memory"
    assert list(found.rows()) == list(true.rows())
