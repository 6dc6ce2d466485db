"""`JobsClient`: scheduled collection, for bots and operators on trio; `market.jobs`."""

from __future__ import annotations

from collections.abc import Iterable

from actors.errors import InvalidRequest
from actors.job_messages import AddJob, GetJobRuns, ListJobs, RemoveJob, RunJob
from actors.job_reports import JobPlan, JobReport, JobRun, JobSpec, JobStarted
from runtime.client.requests import TIMEOUT_S, AsyncAsk


class JobsClient:
    """What can be done with jobs. Every method raises what `AsyncClient.ask` raises.

    Args:
      ask: Asks the runtime.
    """

    def __init__(self, ask: AsyncAsk) -> None:
        self._ask = ask

    async def list(self, *, timeout_s: float = TIMEOUT_S) -> tuple[JobReport, ...]:
        """Return every job: when it runs next, and how its runs went."""
        return await self._ask(ListJobs(), timeout_s)

    async def add(
        self,
        name: str,
        *,
        every_s: float | None = None,
        cron: str = "",
        timezone: str = "UTC",
        jitter_s: float = 0.0,
        exchange: str = "upbit",
        markets: Iterable[str] = (),
        quote: str = "",
        timeframes: Iterable[str],
        count: int | None = None,
        history: str = "",
        dry_run: bool = False,
        timeout_s: float = TIMEOUT_S,
    ) -> JobPlan:
        """Collect candles on a schedule, over restarts, until the job is removed.

        `StoreError` says that it was added, but cannot be kept at present.

        Args:
          name: What to call it.
          every_s: Seconds from one run to the next; an hourly job runs on the hour.
          cron: In place of `every_s`: minute, hour, day of month, month, day of week.
          timezone: In which `cron` is meant.
          jitter_s: Each run begins up to so many seconds late, by chance.
          exchange: Where.
          markets: Which.
          quote: In place of `markets`: all that are listed in this currency at each run.
          timeframes: Of which candles.
          count: How many of each series, the newest; 200 if neither this nor `history` is given.
          history: In place of `count`: how far back, such as `30d`.
          dry_run: Only say when it would run.
          timeout_s: How long to wait, in seconds.
        """
        job = JobSpec(
            every_s=every_s,
            cron=cron,
            timezone=timezone,
            jitter_s=jitter_s,
            exchange=exchange,
            markets=texts(markets, "markets"),
            quote=quote,
            timeframes=texts(timeframes, "timeframes"),
            count=count,
            history=history,
        )
        return await self._ask(AddJob(name=name, job=job, dry_run=dry_run), timeout_s)

    async def remove(self, name: str, *, timeout_s: float = TIMEOUT_S) -> JobReport:
        """End a job that was added, and forget its records; return what it was.

        `StoreError` says that it was ended, but that this cannot be kept at present.
        """
        return await self._ask(RemoveJob(name=name), timeout_s)

    async def run(
        self, name: str, *, wait: bool = True, timeout_s: float = TIMEOUT_S
    ) -> JobStarted:
        """Run a job now; return its record when it has ended, or at once without `wait`.

        It goes on if that takes longer than `timeout_s`; then `CallTimeout` is raised.
        """
        return await self._ask(RunJob(name=name, wait=wait), timeout_s)

    async def runs(
        self, name: str = "", count: int = 20, *, timeout_s: float = TIMEOUT_S
    ) -> tuple[JobRun, ...]:
        """Return the newest records of a job, or of all if empty, the newest last."""
        return await self._ask(GetJobRuns(name=name, count=count), timeout_s)


def texts(values: Iterable[str], name: str) -> tuple[str, ...]:
    """Return `values`; raises `InvalidRequest` for a text in place of a list."""
    if isinstance(values, str):
        # A text is an iterable of texts to Python, and never what was meant.
        raise InvalidRequest(f"{name} must be a list of texts, was {values[:80]!r}")
    return tuple(values)
