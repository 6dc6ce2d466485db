"""`SchedulerActor`: jobs run at their times, and what became of them is known."""

from __future__ import annotations

import functools
import json
import logging
from typing import Any

import pytest
import trio

from actors.errors import (
    ExchangeUnavailable,
    InvalidRequest,
    Overloaded,
    StoreError,
    UnknownMarket,
)
from actors.exchanges.clock import ExchangeClock
from actors.job_messages import AddJob, RemoveJob
from actors.job_reports import JobSpec
from actors.keeper import MemoryKeeper
from actors.scheduler import INTERRUPTED, SchedulerActor, SchedulerStatistics
from runtime.core.clock import TrioClock
from runtime.testing import NEW_YEAR_MS
from runtime.testing_jobs import CacheScript, open_scheduler
from runtime.testing_keys import TurnedClock

open_jobs = functools.partial(open_scheduler, SchedulerActor)

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS


def spec(**changes: Any) -> JobSpec:
    """Return an hourly job, changed."""
    fields: dict[str, Any] = {"every_s": 3600.0, "markets": ("KRW-BTC",), "timeframes": ("1m",)}
    return JobSpec(**(fields | changes))


async def test_a_job_runs_at_its_times(clock: TrioClock) -> None:
    """An hourly one on the hour, and each run is on record."""
    async with open_jobs({"hourly": spec()}, clock=clock) as stage:
        await trio.sleep(2.5 * 3600)
        runs = await stage.runs("hourly")
        assert [run.start_ms - NEW_YEAR_MS for run in runs] == [HOUR_MS, 2 * HOUR_MS]
        job = await stage.job("hourly")
        assert job.next_ms == NEW_YEAR_MS + 3 * HOUR_MS
        assert (job.runs, job.failures, job.last) == (2, 0, runs[-1])
        assert {(run.success, run.tries, run.candles, run.caught_up) for run in runs} == {
            (True, 1, 3, False)
        }


async def test_a_job_on_the_hour_begins_when_that_hour_has_settled(clock: TrioClock) -> None:
    """And asks for nothing younger."""
    async with open_jobs({"hourly": spec()}, clock=clock, settle_s=6.0) as stage:
        assert (await stage.job("hourly")).next_ms == NEW_YEAR_MS + HOUR_MS + 6_000
        await trio.sleep(3600 + 7)
        ((asked_s, asked),) = stage.cache.asked
        assert asked_s == pytest.approx(3606)
        assert asked.candles.end == NEW_YEAR_MS + HOUR_MS
        assert not (await stage.runs())[0].caught_up


async def test_a_job_never_overlaps_itself(clock: TrioClock) -> None:
    """What takes longer than it should is left to end; times that pass meanwhile are left out."""
    cache = CacheScript(takes_s=150.0)
    async with open_jobs({"slow": spec(every_s=60.0)}, clock=clock, cache=cache) as stage:
        await trio.sleep(1_000)
        assert cache.at_once_max == 1
        runs = await stage.runs()
        assert [(run.start_ms - NEW_YEAR_MS) // MINUTE_MS for run in runs] == [1, 4, 7, 10, 13]
        assert {run.duration_ms for run in runs} == {150_000}


async def test_jobs_do_not_wait_for_one_another(clock: TrioClock) -> None:
    """Nor does anybody who asks."""
    cache = CacheScript(takes_s=100.0)
    jobs = {"one": spec(every_s=60.0), "two": spec(every_s=60.0, markets=("KRW-ETH",))}
    async with open_jobs(jobs, clock=clock, cache=cache) as stage:
        await trio.sleep(61)
        before_s = clock.now_s()
        assert [(await stage.job(name)).running for name in jobs] == [True, True]
        assert clock.now_s() == before_s
        assert cache.at_once_max == 2


async def test_what_was_missed_is_caught_up_once(clock: TrioClock) -> None:
    """Three times pass while nobody is there; one run makes up for all of them."""
    keeper = MemoryKeeper()
    jobs = {"hourly": spec()}
    async with open_jobs(jobs, clock=clock, keeper=keeper) as stage:
        await trio.sleep(3600 + 1)
    await trio.sleep(3 * 3600)
    async with open_jobs(jobs, clock=clock, keeper=keeper) as stage:
        await trio.sleep(1)
        runs = await stage.runs()
        assert [run.caught_up for run in runs] == [False, True]
        assert runs[1].start_ms == NEW_YEAR_MS + 4 * HOUR_MS + 1_000
        await trio.sleep(3600)
        assert [run.caught_up for run in await stage.runs()] == [False, True, False]


async def test_a_run_that_is_broken_off_is_recorded_and_caught_up(clock: TrioClock) -> None:
    """The process may end at any time."""
    keeper, cache = MemoryKeeper(), CacheScript(takes_s=600.0)
    jobs = {"hourly": spec()}
    async with open_jobs(jobs, clock=clock, keeper=keeper, cache=cache):
        await trio.sleep(3600 + 300)
    cache.takes_s = 1.0
    async with open_jobs(jobs, clock=clock, keeper=keeper, cache=cache) as stage:
        await trio.sleep(5)
        broken, again = await stage.runs()
        assert (broken.success, broken.error, broken.complete) == (False, INTERRUPTED, False)
        assert broken.duration_ms == 300_000
        assert (again.success, again.caught_up) == (True, True)
        assert (await stage.job("hourly")).next_ms == NEW_YEAR_MS + 2 * HOUR_MS


async def test_records_survive_a_restart(clock: TrioClock) -> None:
    """With jobs that were added, and their figures."""
    keeper = MemoryKeeper()
    async with open_jobs({"hourly": spec()}, clock=clock, keeper=keeper) as stage:
        await stage.ask(AddJob(name="mine", job=spec(every_s=60.0)))
        await trio.sleep(2 * 3600 + 30)
        before = [await stage.job(name) for name in ("hourly", "mine")]
        runs = await stage.runs()
    async with open_jobs({"hourly": spec()}, clock=clock, keeper=keeper) as stage:
        assert [await stage.job(name) for name in ("hourly", "mine")] == before
        assert await stage.runs() == runs
        assert (before[1].configured, before[1].runs) == (False, 120)


async def test_a_crash_loses_nothing(clock: TrioClock) -> None:
    """The next incarnation takes up what the last one has written down."""
    cache = CacheScript(takes_s=400.0)
    async with open_jobs({"hourly": spec()}, clock=clock, cache=cache) as stage:
        await trio.sleep(3600 + 300)
        stage.root.kill("scheduler")
        await trio.sleep(5)
        assert [run.error for run in await stage.runs()] == [INTERRUPTED]
        await trio.sleep(400)
        assert [run.success for run in await stage.runs()] == [False, True]


async def test_what_makes_no_sense_is_dropped_with_a_warning(
    clock: TrioClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It may be another version's; jobs of the settings file are there all the same."""
    keeper = MemoryKeeper(b'{"hourly": 1}')
    async with open_jobs({"hourly": spec()}, clock=clock, keeper=keeper) as stage:
        assert (await stage.job("hourly")).runs == 0
    assert "what was kept of jobs makes no sense" in caplog.text


async def test_an_exchange_that_is_away_is_a_failed_run_and_no_crash(
    clock: TrioClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The next one may go well; the log has the record, as JSON."""
    errors: list[Exception | None] = [ExchangeUnavailable("upbit is away")] * 3
    cache = CacheScript(errors={"KRW-BTC 1m": errors})
    with caplog.at_level(logging.INFO, logger="marketd.scheduler"):
        async with open_jobs({"hourly": spec()}, clock=clock, cache=cache) as stage:
            await trio.sleep(2 * 3600 + 60)
            failed, well = await stage.runs()
            job = await stage.job("hourly")
    assert failed.error == "1 of 1 series failed, first KRW-BTC 1m: upbit is away"
    assert (failed.success, failed.tries, well.success) == (False, 3, True)
    assert (job.runs, job.failures, job.p95_ms) == (2, 1, failed.duration_ms)
    first, second = [each for each in caplog.records if each.name == "marketd.scheduler"]
    assert (first.levelname, second.levelname) == ("WARNING", "INFO")
    assert json.loads(first.getMessage()) == {
        name: getattr(failed, name) for name in failed.__struct_fields__
    }


async def test_an_exchange_that_is_not_served_fails_the_run(clock: TrioClock) -> None:
    """It may be switched off in the same settings file."""
    job = spec(exchange="okx", markets=("okx:BTC-USDT",))
    async with open_jobs({"elsewhere": job}, clock=clock) as stage:
        run = (await stage.run("elsewhere")).run
        assert run is not None
        assert run.error == "no exchange 'okx' is served here; there are: upbit"
        with pytest.raises(InvalidRequest, match="no exchange 'okx' is served"):
            await stage.ask(AddJob(name="mine", job=job))


async def test_a_run_by_hand_is_waited_for(clock: TrioClock) -> None:
    """And refused while the job runs already; the schedule stays as it is."""
    cache = CacheScript(takes_s=10.0)
    async with open_jobs({"hourly": spec()}, clock=clock, cache=cache) as stage:
        started = await stage.run("hourly")
        assert started.run is not None
        assert (started.run.duration_ms, started.run.caught_up) == (10_000, False)
        at_once = await stage.run("hourly", wait=False)
        assert (at_once.run, at_once.start_ms) == (None, NEW_YEAR_MS + 10_000)
        with pytest.raises(Overloaded, match="job hourly runs already, since 2026-01-01T00:00:10Z"):
            await stage.run("hourly")
        await trio.sleep(11)
        assert len(await stage.runs()) == 2
        assert (await stage.job("hourly")).next_ms == NEW_YEAR_MS + HOUR_MS


async def test_a_job_that_is_added_runs_until_it_is_removed(clock: TrioClock) -> None:
    """A dry run only says when it would."""
    async with open_jobs({}, clock=clock) as stage:
        trial = await stage.ask(AddJob(name="mine", job=spec(), dry_run=True))
        assert (trial.done, await stage.runs()) == (False, ())
        with pytest.raises(InvalidRequest, match="there is no job 'mine'; there are: none"):
            await stage.run("mine")
        plan = await stage.ask(AddJob(name="mine", job=spec()))
        assert plan.next_ms == tuple(NEW_YEAR_MS + number * HOUR_MS for number in range(1, 6))
        assert (plan.done, plan.next_ms) == (True, trial.next_ms)
        with pytest.raises(InvalidRequest, match="there is a job mine already"):
            await stage.ask(AddJob(name="mine", job=spec(), dry_run=True))
        await trio.sleep(3600 + 1)
        assert (await stage.ask(RemoveJob(name="mine"))).runs == 1
        await trio.sleep(3600)
        assert len(stage.cache.asked) == 1


async def test_removing_a_job_breaks_off_its_run(clock: TrioClock) -> None:
    """Whoever waits for it is told; a new one of that name has nothing to do with it."""
    cache = CacheScript(takes_s=100.0)
    async with open_jobs({}, clock=clock, cache=cache) as stage, trio.open_nursery() as nursery:
        await stage.ask(AddJob(name="mine", job=spec()))

        async def wait() -> None:
            run = (await stage.run("mine")).run
            assert run is not None
            assert run.error == INTERRUPTED

        nursery.start_soon(wait)
        await stage.has_asked(1)
        await stage.ask(RemoveJob(name="mine"))
        await stage.ask(AddJob(name="mine", job=spec()))
        await trio.sleep(1)
        assert (await stage.job("mine")).runs == 0


class SlowKeeper(MemoryKeeper):
    """Keeps nothing before it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.let = trio.Event()

    async def save(self, data: bytes) -> str:
        """Wait for a disk that takes its time."""
        await self.let.wait()
        return await super().save(data)


async def test_nobody_is_told_of_a_change_before_it_is_kept(clock: TrioClock) -> None:
    """A kill a moment after the answer loses nothing; others need not wait for the disk."""
    keeper = SlowKeeper()
    async with open_jobs({}, clock=clock, keeper=keeper) as stage:
        answered: list[object] = []

        async def ask(request: AddJob | RemoveJob) -> None:
            answered.append(await stage.ask(request))

        for request in (AddJob(name="mine", job=spec()), RemoveJob(name="mine")):
            keeper.let = trio.Event()
            before = len(answered)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, request)
                await trio.sleep(60)
                assert await stage.runs() == ()
                assert len(answered) == before
                keeper.let.set()
            assert (b"mine" in (keeper.data or b"")) == isinstance(request, AddJob)


async def test_records_are_not_a_write_each(clock: TrioClock) -> None:
    """Sixty runs in ten seconds are written down together, each second."""
    keeper = MemoryKeeper()
    jobs = {f"job{number}": spec(every_s=1.0, jitter_s=0.9) for number in range(6)}
    async with open_jobs(jobs, clock=clock, keeper=keeper) as stage:
        await trio.sleep(10)
        assert len(await stage.runs()) >= 40
        assert keeper.saves <= 11


async def test_a_change_that_cannot_be_kept_is_not_answered_as_if_it_were(clock: TrioClock) -> None:
    """The disk is full: it is done, and whoever asked knows what a restart would do."""
    keeper = MemoryKeeper()
    async with open_jobs({}, clock=clock, keeper=keeper) as stage:
        keeper.trouble = "jobs.blob: no room"
        lost = "job mine is added, but a restart would lose it: .*; jobs.blob: no room"
        with pytest.raises(StoreError, match=lost) as caught:
            await stage.ask(AddJob(name="mine", job=spec()))
        assert not caught.value.retryable
        assert (await stage.job("mine")).name == "mine"
        keeper.trouble = ""
        await trio.sleep(31)
        assert b"mine" in (keeper.data or b"")
        keeper.trouble = "jobs.blob: no room"
        with pytest.raises(StoreError, match="job mine is removed, but a restart would bring it"):
            await stage.ask(RemoveJob(name="mine"))


async def test_what_could_not_be_written_down_is_tried_again(clock: TrioClock) -> None:
    """Every half minute until there is room, though nothing changes any more."""
    keeper = MemoryKeeper()
    async with open_jobs({"hourly": spec()}, clock=clock, keeper=keeper):
        keeper.trouble = "jobs.blob: no room"
        await trio.sleep(3600 + 100)
        assert keeper.load() is None
        keeper.trouble = ""
        await trio.sleep(30)
        assert b'"start_ms"' in (keeper.load() or b"")
        await trio.sleep(600)
        assert keeper.saves == 1


async def test_a_run_asks_by_the_exchange_s_clock(clock: TrioClock) -> None:
    """Ours is a day ahead; jobs are due by it all the same."""
    theirs = ExchangeClock(clock)
    theirs.observe(date_ms=NEW_YEAR_MS - 24 * HOUR_MS, sent_s=0.0, received_s=0.0)
    make = functools.partial(SchedulerActor, exchange_clocks={"upbit": theirs})
    async with open_scheduler(make, {"hourly": spec()}, clock=clock) as stage:
        await trio.sleep(3600 + 1)
        ((asked_s, asked),) = stage.cache.asked
        assert asked_s == pytest.approx(3600)
        assert asked.candles.end == NEW_YEAR_MS - 23 * HOUR_MS


async def test_a_plan_says_when_runs_begin(clock: TrioClock) -> None:
    """When what they want has settled: the moments at which there are runs, and no others."""
    async with open_jobs({}, clock=clock, settle_s=6.0) as stage:
        plan = await stage.ask(AddJob(name="often", job=spec(every_s=60.0)))
        await trio.sleep(5 * 60 + 30)
        assert tuple(run.start_ms for run in await stage.runs()) == plan.next_ms


async def test_jitter_delays_and_is_seeded(clock: TrioClock) -> None:
    """Each run anew, within the bound, and the same for the same seed."""
    late_ms = []
    for seed in (1, 1, 2):
        now_ms = clock.utc_ms()
        job = {"often": spec(every_s=600.0, jitter_s=60.0)}
        async with open_jobs(job, clock=clock, seed=seed) as stage:
            await trio.sleep(6_000 - (now_ms // 1_000) % 600)
            late_ms.append([run.start_ms % 600_000 for run in await stage.runs()][:8])
    assert late_ms[0] == late_ms[1] != late_ms[2]
    assert all(0 <= each <= 60_000 for each in late_ms[0])
    assert len(set(late_ms[0])) == 8


async def test_a_wall_clock_that_is_set_is_noticed_within_a_minute() -> None:
    """Forward: what was passed over is caught up. Back: what comes again is waited for again."""
    clock = TurnedClock(start_utc_ms=NEW_YEAR_MS)
    async with open_jobs({"hourly": spec()}, clock=clock) as stage:
        await trio.sleep(60)
        clock.off_ms = 90 * MINUTE_MS
        await trio.sleep(61)
        (run,) = await stage.runs()
        assert run.caught_up
        assert (await stage.job("hourly")).next_ms == NEW_YEAR_MS + 2 * HOUR_MS
        clock.off_ms = -10 * HOUR_MS
        await trio.sleep(61)
        assert (await stage.job("hourly")).next_ms == NEW_YEAR_MS - 9 * HOUR_MS


async def test_a_cache_that_dies_fails_one_try(clock: TrioClock) -> None:
    """The next try finds its successor."""
    cache = CacheScript(takes_s=5.0)
    async with open_jobs({"hourly": spec()}, clock=clock, cache=cache) as stage:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.run, "hourly")
            await stage.has_asked(1)
            stage.root.kill("cache")
        (run,) = await stage.runs()
        assert (run.success, run.tries) == (True, 2)


async def test_figures_of_an_incarnation(clock: TrioClock) -> None:
    """What `marketd actor scheduler` shows."""
    errors: list[Exception | None] = [UnknownMarket("no such market")]
    cache = CacheScript(errors={"KRW-BTC 1m": errors}, takes_s=60.0)
    async with open_jobs({"hourly": spec()}, clock=clock, cache=cache) as stage:
        await trio.sleep(3 * 3600 + 1)
        assert stage.lives[-1].statistics() == SchedulerStatistics(
            jobs=1, running=1, runs=2, failures=1, candles=3
        )
