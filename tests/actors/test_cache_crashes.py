"""Crashes and bounds of the cache: nobody is left waiting, nothing is lost, nothing grows."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors import cache as cache_module
from actors.candles import ROW_BYTES, Candles
from actors.errors import ExchangeUnavailable, Overloaded
from actors.sandbox.faults import Fault
from actors.sandbox.market import SandboxMarket
from runtime.core.clock import TrioClock
from runtime.core.errors import ActorRestarted
from runtime.testing import NEW_YEAR_MS
from runtime.testing_rehearsal import Rehearsal, generated, in_virtual_time, rehearse

NOON_MS = NEW_YEAR_MS + 12 * 3_600_000 + 30_000
VICTIMS = ("store", "upbit.limiter", "upbit.cache")
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def markets() -> tuple[SandboxMarket, ...]:
    """All generated markets with ten days of history."""
    return generated(history_days=10)


@pytest.fixture
def opened(markets: tuple[SandboxMarket, ...], tmp_path: Path) -> Open:
    """Opens a rehearsal that begins at noon and in which nobody is ever refused."""

    @asynccontextmanager
    async def open_it(**options: Any) -> AsyncIterator[Rehearsal]:
        clock = TrioClock(start_utc_ms=NOON_MS)
        async with rehearse(tmp_path, markets, clock=clock, start_ms=NOON_MS, **options) as stage:
            yield stage
            assert stage.exchange.rules.refused() == 0

    return open_it


def tasks() -> int:
    """Return how many tasks this run has."""
    return trio.lowlevel.current_statistics().tasks_living


async def one_caller(stage: Rehearsal, chance: random.Random, outcomes: Counter[str]) -> None:
    """Ask one question and count how it ends; a right answer or a typed error."""
    await trio.sleep(chance.random() * 2)
    code = chance.choice(["KRW-BTC", "KRW-ETH", "KRW-DOGE"])
    try:
        match chance.randrange(4):
            case 0:
                ticker = await stage.market.ticker(code, timeout_s=20)
                assert ticker.market == code
            case 1:
                newest = await stage.market.candles(code, "1m", 10, timeout_s=20)
                assert len(newest) == 10
            case _:
                count = chance.randint(1, 900)
                rows = await stage.market.candles(code, "5m", count, end=NEW_YEAR_MS, timeout_s=20)
                assert rows == stage.truth(code, "5m", NEW_YEAR_MS).last(count)
                assert rows.complete
    except ActorRestarted:
        outcomes["restarted"] += 1
    else:
        outcomes["answered"] += 1


@given(st.randoms(use_true_random=False))
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whoever_dies_every_caller_gets_one_answer_or_one_error(
    opened: Open, chance: random.Random
) -> None:
    """And a second later everything is served again, with nothing forgotten."""
    victim, after_s = chance.choice(VICTIMS), chance.random() * 2.5

    async def main() -> None:
        outcomes: Counter[str] = Counter()
        async with opened() as stage:
            known = await stage.market.candles("KRW-XRP", "1m", 50, end=NEW_YEAR_MS)
            before = tasks()
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(one_caller, stage, chance, outcomes)
                await trio.sleep(after_s)
                stage.kill(victim)
            assert outcomes.total() == 20
            assert victim != "store" or outcomes["restarted"] == 0
            await trio.sleep(0.01)
            await check_all_well(stage, known)
            await trio.sleep(30)
            assert tasks() == before

    in_virtual_time(main)


async def check_all_well(stage: Rehearsal, known: Candles) -> None:
    """Everything is answered, and what was in memory still is."""
    pages = len(stage.pages())
    with trio.fail_after(0.001):
        assert await stage.market.candles("KRW-XRP", "1m", 50, end=NEW_YEAR_MS) == known
    assert len(stage.pages()) == pages
    # A limiter that starts anew takes the window for spent.
    with trio.fail_after(2.5):
        assert len(await stage.market.candles("KRW-BTC", "1m", 10, max_age_s=0)) == 10
        assert (await stage.market.ticker("KRW-BTC", max_age_s=0)).market == "KRW-BTC"


@pytest.mark.parametrize("victim", VICTIMS)
async def test_an_idle_actor_that_dies_is_missed_by_nobody(opened: Open, victim: str) -> None:
    """The next question is answered as if nothing had been."""
    async with opened() as stage:
        first = await stage.market.candles("KRW-BTC", "1m", 300, end=NEW_YEAR_MS)
        stage.kill(victim)
        await trio.sleep(0.01)

        again = await stage.market.candles("KRW-BTC", "1m", 300, end=NEW_YEAR_MS)

        assert again == first
        assert again.complete


async def test_the_cache_starts_again_with_what_it_had_published(opened: Open) -> None:
    """The tables outlive it: what readers see is never less than before."""
    async with opened() as stage:
        fresh = await stage.market.candles("KRW-BTC", "1m", 100)
        ticker = await stage.market.ticker("KRW-BTC")
        calls = stage.exchange.calls()
        bytes_before = (await stage.market.cache()).bytes
        stage.kill("upbit.cache")

        assert await stage.market.candles("KRW-BTC", "1m", 100) == fresh
        again = await stage.market.ticker("KRW-BTC")
        # Only where it came from differs.
        assert (again.time_ms, again.price) == (ticker.time_ms, ticker.price)
        assert stage.exchange.calls() == calls
        assert (await stage.market.cache()).bytes == bytes_before


async def test_callers_of_a_hanging_exchange_learn_of_the_crash_at_once(opened: Open) -> None:
    """Nobody learns of a death by running out of time."""
    async with opened() as stage, trio.open_nursery() as nursery:
        stage.exchange.faults.switch_on(Fault.HANG)

        async def call() -> None:
            with pytest.raises(ActorRestarted, match=r"upbit\.cache ended before it answered"):
                await stage.market.candles("KRW-BTC", "1m")
            assert trio.current_time() == 3.0

        for _ in range(20):
            nursery.start_soon(call)
        await trio.sleep(3)
        stage.kill("upbit.cache")


# ---------------------------------------------------------------------- bounds


async def test_memory_is_bounded_and_the_series_read_last_stay(opened: Open) -> None:
    """A megabyte holds some sixty series of two hundred candles."""
    async with opened(memory_mb=1) as stage:
        codes = list(stage.exchange.markets)
        frames = ("1m", "3m", "5m", "10m", "15m", "30m", "1h", "4h", "1d")
        for end in range(0, 400, 200):
            for code in codes:
                for frame in frames:
                    await stage.market.candles("KRW-BTC", "1m", 50, end=NEW_YEAR_MS)
                    await stage.market.candles(code, frame, 200, max_age_s=end)
        report = await stage.market.cache()

        assert report.bytes <= report.bytes_max == 1_000_000
        held = sum(series.candles * ROW_BYTES + 4_096 for series in report.series)
        assert report.bytes == held
        assert report.evicted == 0 or ("KRW-BTC", "1m") in {
            (series.market, series.timeframe) for series in report.series
        }


async def test_what_was_pushed_out_comes_back_from_the_store(opened: Open) -> None:
    """It costs a read, not a page."""
    async with opened(memory_mb=1, candles_per_series=5_000) as stage:
        for code in ("KRW-BTC", "KRW-ETH", "KRW-XRP", "KRW-DOGE"):
            await stage.market.candles(code, "1m", 6_000, end=NEW_YEAR_MS)
        report, pages = await stage.market.cache(), len(stage.pages())

        assert report.evicted >= 1
        assert report.bytes <= 1_000_000
        assert "KRW-BTC" not in {series.market for series in report.series}
        again = await stage.market.candles("KRW-BTC", "1m", 6_000, end=NEW_YEAR_MS)
        assert again == stage.truth("KRW-BTC", "1m", NEW_YEAR_MS).last(6_000)
        assert len(stage.pages()) == pages


async def test_series_under_load_are_not_pushed_out_before_they_are_done(opened: Open) -> None:
    """All at once they outgrow memory; when all are done the bound holds again."""
    async with opened(memory_mb=1, candles_per_series=10_000) as stage:
        async with trio.open_nursery() as nursery:
            for code in ("KRW-BTC", "KRW-ETH", "KRW-XRP", "KRW-DOGE"):
                nursery.start_soon(_ask_many, stage, code)
        report = await stage.market.cache()

        assert report.bytes <= 1_000_000
        assert report.evicted >= 1


async def _ask_many(stage: Rehearsal, code: str) -> None:
    rows = await stage.market.candles(code, "1m", 8_000, end=NEW_YEAR_MS)
    assert rows == stage.truth(code, "1m", NEW_YEAR_MS).last(8_000)


async def test_one_request_too_many_is_told_to_come_back(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those who wait already are not affected, and there is room again afterwards."""
    monkeypatch.setattr(cache_module, "WAITING_MAX", 10)
    async with opened() as stage, trio.open_nursery() as nursery:
        stage.exchange.faults.switch_on(Fault.HANG)

        async def wait() -> None:
            with pytest.raises(ExchangeUnavailable, match="upbit"):
                await stage.market.candles("KRW-BTC", "1m")

        for _ in range(10):
            nursery.start_soon(wait)
        await trio.sleep(1)
        for ask in (stage.market.candles, stage.market.ticker):
            with pytest.raises(Overloaded, match="upbit: 10 requests are waiting"):
                await ask("KRW-ETH")
        await trio.sleep(40)
        stage.exchange.faults.switch_off()
        assert len(await stage.market.candles("KRW-ETH", "1m")) == 200
