"""Jobs in a whole runtime: what they collect is there, and they are kept where the settings say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import trio

from actors.exchanges.clock import ExchangeClock
from actors.job_reports import JobSpec
from actors.keeper import BlobKeeper, MemoryKeeper
from runtime.blob_store import FileBlobKeeper
from runtime.config import Settings, StoreSettings
from runtime.core.actor import Actor
from runtime.core.clock import TrioClock
from runtime.core.ref import ActorRef
from runtime.job_wiring import JOBS_FILE, job_keeper, scheduler_child
from runtime.testing import NEW_YEAR_MS
from runtime.testing_jobs import open_scheduler
from runtime.testing_keys import TurnedClock
from runtime.testing_rehearsal import generated, rehearse


async def test_what_a_job_collects_is_at_hand(tmp_path: Path, clock: TrioClock) -> None:
    """All markets of a currency, on the minute, with nobody asking for them."""
    async with rehearse(tmp_path, generated(history_days=2), clock=clock) as stage:
        jobs = stage.market.jobs
        await jobs.add("closes", every_s=600.0, quote="KRW", timeframes=["1m", "1h"], count=30)
        await trio.sleep(660)
        (run,) = await jobs.runs("closes")
        markets = await stage.market.markets("KRW")
        assert (run.success, run.error, run.complete, run.tries) == (True, "", True, 1)
        pages = len(stage.pages())
        assert pages >= 2 * len(markets)
        found = await stage.market.candles(markets[0].market, "1h", 30, closed=True)
        assert (len(found), found.source) == (30, "memory")
        assert len(stage.pages()) == pages
        (job,) = await jobs.list()
        assert (job.name, job.runs, job.p50_ms) == ("closes", 1, run.duration_ms)
        assert (await jobs.remove("closes")).name == "closes"


async def test_a_market_that_does_not_exist_fails_its_series_only(
    tmp_path: Path, clock: TrioClock
) -> None:
    """The others are collected; the exchange is not asked again."""
    async with rehearse(tmp_path, generated(history_days=2), clock=clock) as stage:
        real = (await stage.market.markets("KRW"))[0].market
        await stage.market.jobs.add(
            "some", every_s=600.0, markets=["KRW-NONE", real], timeframes=["1m"], count=5
        )
        run = (await stage.market.jobs.run("some")).run
        assert run is not None
        assert run.error.startswith("1 of 2 series failed, first KRW-NONE 1m: ")
        assert (run.success, run.complete, run.tries, run.candles) == (False, False, 1, 5)


def test_jobs_are_kept_where_candles_are(tmp_path: Path) -> None:
    """A store in memory keeps nothing over a restart, and leaves no file."""
    keeper = job_keeper(Settings(), tmp_path)
    assert isinstance(keeper, FileBlobKeeper)
    memory = job_keeper(Settings(store=StoreSettings(kind="memory")), tmp_path)
    assert isinstance(memory, MemoryKeeper)
    (tmp_path / JOBS_FILE).write_bytes(b"nonsense")
    assert keeper.load() is None
    assert memory.load() is None


async def test_jobs_are_wired_to_the_clocks_of_exchanges(clock: TrioClock) -> None:
    """One lives a day behind; a second after the cache does, its candles count as settled."""
    theirs = ExchangeClock(clock)
    theirs.observe(date_ms=NEW_YEAR_MS - 86_400_000, sent_s=0.0, received_s=0.0)

    def make(
        jobs: dict[str, JobSpec],
        *,
        caches: Mapping[str, ActorRef],
        keeper: BlobKeeper,
        settle_s: float,
    ) -> Actor:
        del settle_s
        child = scheduler_child(Settings(jobs=jobs), caches, keeper, {"upbit": theirs}).start()
        assert isinstance(child, Actor)
        return child

    job = JobSpec(every_s=60.0, markets=("KRW-BTC",), timeframes=("1m",))
    async with open_scheduler(make, {"often": job}, clock=clock) as stage:
        await trio.sleep(67)
        ((asked_s, asked),) = stage.cache.asked
        assert asked_s == 66.0
        assert asked.candles.end == NEW_YEAR_MS - 86_400_000 + 60_000


@pytest.mark.parametrize("ahead_s", [0, 12, -12, 2 * 86_400, -2 * 86_400])
async def test_a_clock_that_is_wrong_costs_a_job_no_candle(tmp_path: Path, ahead_s: int) -> None:
    """Of the exchange's ten minutes it has all, though ours say it is another time, or day."""
    clock = TurnedClock(start_utc_ms=NEW_YEAR_MS)
    clock.off_ms = ahead_s * 1_000
    async with rehearse(tmp_path, generated(history_days=2), clock=clock) as stage:
        jobs = stage.market.jobs
        await jobs.add("m", every_s=600.0, markets=["KRW-BTC"], timeframes=["1m"], count=30)
        await trio.sleep(660)
        run = (await jobs.runs("m"))[-1]
        assert (run.success, run.error, run.complete, run.candles) == (True, "", True, 30)
        pages = len(stage.pages())
        found = await stage.market.candles(
            "KRW-BTC", "1m", 30, end=NEW_YEAR_MS + 600_000, closed=True
        )
        assert (len(found), found.source) == (30, "memory")
        assert len(stage.pages()) == pages
