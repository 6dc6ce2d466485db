"""Messages about scheduled jobs, beside those about market data in `actors.messages`."""

from __future__ import annotations

from typing import Any

from actors.job_reports import JobPlan, JobReport, JobRun, JobSpec, JobStarted
from runtime.core.message import Request


class ListJobs(
    Request[tuple[JobReport, ...]], frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """Every scheduled job: when it runs next, and how its runs went."""


class AddJob(Request[JobPlan], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Collect candles on a schedule. It is kept over restarts until it is removed.

    The answer comes when it is kept. If it cannot be, it runs all the same, and `StoreError` is the
    answer; so with `RemoveJob`.

    Attributes:
      name: What to call it: 1 to 64 letters, digits, `.`, `_` or `-`; not the name of another.
      job: What it collects, and when.
      dry_run: Only say when it would run.
    """

    name: str
    job: JobSpec
    dry_run: bool = False


class RemoveJob(Request[JobReport], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """End a job that was added, and forget its records; a run under way is broken off.

    Attributes:
      name: Which.
    """

    name: str


class RunJob(Request[JobStarted], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Run a job now; its next time stays as it is. Refused while it runs already.

    Attributes:
      name: Which.
      wait: Answer when it has ended, with its record; if not, at once.
    """

    name: str
    wait: bool = True


class GetJobRuns(
    Request[tuple[JobRun, ...]], frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """The records of runs, the newest last.

    Attributes:
      name: Only of this job; of all if empty.
      count: The newest so many, 1 to 1000; the newest 100 of each job are kept.
    """

    name: str = ""
    count: int = 20


# Method name on the socket for each of the above.
JOB_METHODS: dict[str, type[Request[Any]]] = {
    "jobs": ListJobs,
    "jobs.add": AddJob,
    "jobs.remove": RemoveJob,
    "jobs.run": RunJob,
    "jobs.runs": GetJobRuns,
}
