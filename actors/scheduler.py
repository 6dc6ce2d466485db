"""`SchedulerActor`: collect candles at set times, and remember how that went.

    JobRouter --AddJob, RunJob, …--> SchedulerActor --LoadCandles, GetMarkets--> CacheActor
                                           |
                                           +--> BlobKeeper: jobs that were added, times, records

One for the whole runtime. Runs go on in tasks of their own, so nobody waits for one who did not ask
to. An exchange that is away makes a run fail and nothing else.

When it dies, or is stopped, runs under way are broken off and recorded as such; a process that is
killed leaves no record of them. Either way they are due still, so its successor runs each of them
once. All else is kept: that a job was added or removed before anybody is told so.

Jobs are due by our own clock, and ask for what has ended by the exchange's.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import msgspec
import trio

from actors.errors import InvalidRequest, Overloaded, StoreError
from actors.exchanges.clock import ExchangeClock
from actors.exchanges.retries import RetryRules
from actors.job_messages import AddJob, GetJobRuns, ListJobs, RemoveJob, RunJob
from actors.job_reports import JobPlan, JobReport, JobRun, JobSpec, JobStarted
from actors.keeper import BlobKeeper
from actors.scheduling.book import Entry, JobBook
from actors.scheduling.collecting import Tally, collect
from actors.scheduling.jobs import Beginnings, parse_job
from actors.scheduling.records import KeptJob, decode, encode
from actors.scheduling.times import next_times_ms
from actors.timeframes import format_time_ms
from runtime.core.actor import Actor
from runtime.core.mailbox import Reply
from runtime.core.message import Request
from runtime.core.ref import ActorRef

_log = logging.getLogger("marketd.scheduler")

INTERRUPTED = "interrupted: it was broken off before its end"

# The wall clock may be set while nobody looks at it; it is looked at this often, in seconds.
_LOOK_S = 60.0
# By how much it may fall behind the other clock before it counts as set back.
_SET_BACK_MS = 60_000
# The timer never sleeps less, in seconds: a moment that rounding puts just ahead of the clock would
# otherwise be waited for in a circle.
_SLEEP_S_MIN = 0.001
# How often records are written down while things change, in seconds; and again if that failed.
_SAVE_S, _SAVE_AGAIN_S = 1.0, 30.0
_SHOWN = 5


class SchedulerStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What a scheduler has done since it started.

    Attributes:
      jobs: How many there are.
      running: How many of them run now.
      runs: Runs that have ended.
      failures: Those of them that failed.
      candles: Candles that they collected.
    """

    jobs: int
    running: int
    runs: int
    failures: int
    candles: int


class SchedulerActor(Actor):
    """Run jobs at their times.

    Bounds: `JOBS_MAX` jobs, `RUNS_KEPT` records of each; a job never runs twice at once, and asks
    for `SERIES_AT_ONCE` series at a time.

    Args:
      jobs: Those of the settings file, by name; they can be run as they stand.
      caches: The CacheActor of each exchange.
      keeper: Keeps the rest from one process, and incarnation, to the next.
      settle_s: How long after its end a candle may still change, in seconds.
      exchange_clocks: What is known of the clock of each exchange; of one that is not there, our
        own clock is taken for it.
      rules: How often a series is tried, and how far apart.
    """

    def __init__(
        self,
        jobs: Mapping[str, JobSpec],
        *,
        caches: Mapping[str, ActorRef],
        keeper: BlobKeeper,
        settle_s: float,
        exchange_clocks: Mapping[str, ExchangeClock] | None = None,
        rules: RetryRules = RetryRules(),  # noqa: B008 - frozen
    ) -> None:
        self._configured = jobs
        self._caches = caches
        self._keeper = keeper
        self._settle_ms = round(settle_s * 1_000)
        self._exchange_clocks = exchange_clocks or {}
        self._rules = rules
        self._changed = trio.Event()
        self._unsaved = trio.Event()
        self._scopes: dict[Entry, trio.CancelScope] = {}
        self._waiting: dict[Entry, Reply] = {}
        self._runs = self._failures = self._candles = 0

    async def on_start(self) -> None:
        """Take the jobs up where the last process left them; what was missed begins at once."""
        clock = self.context.clock
        self._book = JobBook(
            self._configured,
            self._kept(),
            clock.utc_ms(),
            self.context.rng,
            settle_ms=self._settle_ms,
        )
        self.context.nursery.start_soon(self._save_in_time)
        self.context.nursery.start_soon(self._run_in_time)

    async def on_stop(self) -> None:
        """Write down what became of the runs that were broken off."""
        await self._keeper.save(encode(self._book.keep()))

    async def handle_call(self, request: Request[Any]) -> object:
        """Answer at once, but for what must be kept first, and a run whose caller waits for it."""
        match request:
            case ListJobs():
                return self._book.reports()
            case GetJobRuns(name=name, count=count):
                return self._book.records(name, count)
            case AddJob():
                return self._add(request)
            case RemoveJob(name=name):
                self._remove(name)
                return None
            case RunJob(name=name, wait=wait):
                return self._run_by_hand(self._book.get(name), wait=wait)
            case _:
                return await super().handle_call(request)

    def statistics(self) -> SchedulerStatistics:
        """Return what this incarnation has done."""
        return SchedulerStatistics(
            jobs=len(self._book.reports()),
            running=len(self._scopes),
            runs=self._runs,
            failures=self._failures,
            candles=self._candles,
        )

    # -------------------------------------------------------------- asked

    def _add(self, request: AddJob) -> JobPlan | None:
        job = parse_job(request.name, request.job)
        self._cache(job.spec)
        self._book.check_new(job.name)
        now_ms = self.context.clock.utc_ms()
        plan = JobPlan(
            name=job.name,
            done=not request.dry_run,
            next_ms=next_times_ms(Beginnings(job, self._settle_ms), now_ms, _SHOWN),
        )
        if request.dry_run:
            return plan
        self._book.add(job, now_ms)
        self._answer_when_kept(plan, f"job {job.name} is added, but a restart would lose it")
        return None

    def _remove(self, name: str) -> None:
        entry = self._book.remove(name)
        if entry in self._scopes:
            self._scopes[entry].cancel()
        done = f"job {name} is removed, but a restart would bring it back"
        self._answer_when_kept(entry.report(), done)

    def _run_by_hand(self, entry: Entry, *, wait: bool) -> JobStarted | None:
        name = entry.job.name
        if entry.began_ms is not None:
            since = format_time_ms(entry.began_ms)
            raise Overloaded(f"job {name} runs already, since {since}; `jobs.runs` will tell")
        start_ms = self._begin(entry)
        if not wait:
            return JobStarted(name=name, start_ms=start_ms, run=None)
        self._waiting[entry] = self.context.take_reply()
        return None

    # -------------------------------------------------------------- runs

    async def _run_in_time(self) -> None:
        clock = self.context.clock
        ahead_ms = clock.utc_ms() - clock.now_s() * 1_000
        while True:
            now_ms = clock.utc_ms()
            before_ms, ahead_ms = ahead_ms, now_ms - clock.now_s() * 1_000
            if ahead_ms < before_ms - _SET_BACK_MS:
                self._book.clock_was_set_back(now_ms)
            for entry in self._book.due(now_ms):
                self._begin(entry)
            wakes_ms = self._book.wakes_ms()
            left_s = math.inf if wakes_ms is None else (wakes_ms - now_ms) / 1_000
            self._changed = trio.Event()
            with trio.move_on_after(max(_SLEEP_S_MIN, min(left_s, _LOOK_S))):
                await self._changed.wait()

    def _begin(self, entry: Entry) -> int:
        """Begin a run in a task of its own; return when that was, UTC milliseconds."""
        start_ms = self.context.clock.utc_ms()
        caught_up = self._book.begin(entry, start_ms)
        self._scopes[entry] = trio.CancelScope()
        self.context.nursery.start_soon(self._run, entry, start_ms, caught_up)
        return start_ms

    async def _run(self, entry: Entry, start_ms: int, caught_up: bool) -> None:  # noqa: FBT001 - start_soon has no names
        clock, tally, whole = self.context.clock, Tally(), False
        begun_s = clock.now_s()
        try:
            with self._scopes[entry]:
                await self._collect(entry.job.spec, tally, start_ms)
                whole = True
        finally:
            # Also when the actor ends: then there is no waiting any more.
            run = JobRun(
                job=entry.job.name,
                start_ms=start_ms,
                duration_ms=round((clock.now_s() - begun_s) * 1_000),
                success=whole and not tally.failed,
                error=tally.error if whole else INTERRUPTED,
                tries=tally.tries,
                caught_up=caught_up,
                candles=tally.candles,
                complete=whole and tally.complete,
            )
            self._ended(entry, run, interrupted=not whole)

    async def _collect(self, spec: JobSpec, tally: Tally, begun_ms: int) -> None:
        try:
            cache = self._cache(spec)
        except InvalidRequest as error:
            # A configured job may name an exchange that is switched off.
            tally.fail(str(error))
            return
        await collect(
            spec,
            cache,
            tally,
            exchange_clock=self._exchange_clock(spec),
            begun_ms=begun_ms,
            rng=self.context.rng,
            rules=self._rules,
            settle_ms=self._settle_ms,
        )

    def _ended(self, entry: Entry, run: JobRun, *, interrupted: bool) -> None:
        del self._scopes[entry]
        self._book.end(entry, run, self.context.clock.utc_ms(), interrupted=interrupted)
        self._runs += 1
        self._failures += not run.success
        self._candles += run.candles
        # The record itself, so that whoever collects logs has figures and no words to take apart.
        level = logging.INFO if run.success else logging.WARNING
        _log.log(level, "%s", msgspec.json.encode(run).decode())
        reply = self._waiting.pop(entry, None)
        if reply is not None:
            reply.send(JobStarted(name=run.job, start_ms=run.start_ms, run=run))
        self._note_change()

    def _cache(self, spec: JobSpec) -> ActorRef:
        cache = self._caches.get(spec.exchange)
        if cache is None:
            served = ", ".join(self._caches) or "none"
            raise InvalidRequest(
                f"no exchange {spec.exchange[:40]!r} is served here; there are: {served}"
            )
        return cache

    def _exchange_clock(self, spec: JobSpec) -> ExchangeClock:
        return self._exchange_clocks.get(spec.exchange) or ExchangeClock(self.context.clock)

    # -------------------------------------------------------------- kept

    def _kept(self) -> dict[str, KeptJob]:
        data = self._keeper.load()
        try:
            return {} if data is None else decode(data)
        except ValueError as error:
            _log.warning("what was kept of jobs makes no sense, and is dropped: %s", error)
            return {}

    def _note_change(self) -> None:
        self._changed.set()
        self._unsaved.set()

    def _answer_when_kept(self, answer: JobPlan | JobReport, done: str) -> None:
        """Answer the request in hand when what it changed is kept; if it is not, say so."""
        self._changed.set()
        self.context.nursery.start_soon(self._keep, self.context.take_reply(), answer, done)

    async def _keep(self, reply: Reply, answer: JobPlan | JobReport, done: str) -> None:
        why = await self._save()
        if why:
            # Not one that may be tried again: that would be refused, for it is done.
            again = f"it cannot be written down, which is tried again every {_SAVE_AGAIN_S:g} s"
            reply.fail(StoreError(f"{done}: {again}; {why}"))
        else:
            reply.send(answer)

    async def _save(self) -> str:
        """Write everything down; return why that failed, empty if it did not."""
        why = await self._keeper.save(encode(self._book.keep()))
        if why:
            self._unsaved.set()
        return why

    async def _save_in_time(self) -> None:
        while True:
            await self._unsaved.wait()
            self._unsaved = trio.Event()
            failed = await self._save()
            await trio.sleep(_SAVE_AGAIN_S if failed else _SAVE_S)
