"""`JobBook`: which job is due, which runs, and how its runs went. Plain values, no waiting.

A job is due at the times of its schedule. It begins up to its jitter later, and when candles that
have just ended cannot change any more. Times that pass while
it runs are left out: the run under way has done their work. Times that pass while nobody looks,
because the process or the machine was away, are caught up by one run.
"""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from actors.errors import InvalidRequest
from actors.job_reports import JobReport, JobRun, JobSpec
from actors.scheduling.jobs import Job, parse_job, settled_ms
from actors.scheduling.records import RUNS_KEPT, KeptJob, percentile

_log = logging.getLogger("marketd.scheduler")

# With `RUNS_KEPT` records of each, it fits into a blob.
JOBS_MAX = 64
# A run that begins later than this has been missed, and is caught up.
_LATE_MS = 1_000


@dataclass(slots=True, eq=False)
class Entry:
    """One job and its state.

    Attributes:
      job: The job.
      configured: Whether it lives in the settings file.
      due_ms: The next time of its schedule, UTC milliseconds.
      at_ms: When it begins: then, or a little later.
      began_ms: When the run under way began; None if it does not run.
      runs: How often it ran.
      failures: How often that failed.
      history: Its newest records.
    """

    job: Job
    configured: bool
    due_ms: int = 0
    at_ms: int = 0
    began_ms: int | None = None
    runs: int = 0
    failures: int = 0
    history: deque[JobRun] = field(default_factory=lambda: deque(maxlen=RUNS_KEPT))

    def report(self) -> JobReport:
        """Return what is told of it."""
        durations = [run.duration_ms for run in self.history]
        return JobReport(
            name=self.job.name,
            configured=self.configured,
            job=self.job.spec,
            running=self.began_ms is not None,
            next_ms=self.at_ms,
            last=self.history[-1] if self.history else None,
            runs=self.runs,
            failures=self.failures,
            p50_ms=percentile(durations, 50),
            p95_ms=percentile(durations, 95),
        )


class JobBook:
    """The jobs of one runtime, at most `JOBS_MAX` of them.

    Args:
      configured: Jobs of the settings file, by name.
      kept: What the last process, or incarnation, has left.
      now_ms: The time, UTC milliseconds.
      rng: Where jitter comes from.
      settle_ms: How long after its end a candle may still change.

    Raises:
      InvalidRequest: A configured job cannot be run, or there are too many.
    """

    def __init__(
        self,
        configured: Mapping[str, JobSpec],
        kept: Mapping[str, KeptJob],
        now_ms: int,
        rng: random.Random,
        *,
        settle_ms: int,
    ) -> None:
        self._rng = rng
        self._settle_ms = settle_ms
        self._entries: dict[str, Entry] = {}
        for name, spec in configured.items():
            self._put(parse_job(name, spec), now_ms, configured=True)
        for name, left in kept.items():
            self._take_up(name, left, now_ms)

    def add(self, job: Job, now_ms: int) -> None:
        """Take a job that was added.

        Raises:
          InvalidRequest: There is one of that name, or there are `JOBS_MAX`.
        """
        self.check_new(job.name)
        self._put(job, now_ms, configured=False)

    def check_new(self, name: str) -> None:
        """Refuse a name that `add` would refuse."""
        if name in self._entries:
            raise InvalidRequest(f"there is a job {name} already")
        if len(self._entries) >= JOBS_MAX:
            raise InvalidRequest(f"there are {JOBS_MAX} jobs, and may be no more")

    def remove(self, name: str) -> Entry:
        """Forget a job that was added, and return it.

        Raises:
          InvalidRequest: There is none of that name, or it is configured.
        """
        entry = self.get(name)
        if entry.configured:
            raise InvalidRequest(
                f"job {name} lives in the settings file: remove [jobs.{name}] there"
            )
        del self._entries[name]
        return entry

    def get(self, name: str) -> Entry:
        """Return the job called `name`; raises `InvalidRequest` if there is none."""
        entry = self._entries.get(name)
        if entry is None:
            known = ", ".join(sorted(self._entries)) or "none"
            raise InvalidRequest(f"there is no job {name[:80]!r}; there are: {known}")
        return entry

    def due(self, now_ms: int) -> list[Entry]:
        """Return the jobs that are to begin now; none of them runs."""
        return [entry for entry in self._idle() if entry.at_ms <= now_ms]

    def wakes_ms(self) -> int | None:
        """Return when the next job is to begin; None if none will be."""
        return min((entry.at_ms for entry in self._idle()), default=None)

    def begin(self, entry: Entry, now_ms: int) -> bool:
        """Note that a run begins; return whether it was missed earlier.

        It must not run yet.
        """
        assert entry.began_ms is None, "a job never overlaps itself"
        entry.began_ms = now_ms
        return now_ms - entry.at_ms > _LATE_MS

    def end(self, entry: Entry, run: JobRun, now_ms: int, *, interrupted: bool = False) -> None:
        """Note that a run has ended.

        Args:
          entry: Whose.
          run: Its record.
          now_ms: The time.
          interrupted: Whether it was broken off: what was due stays due.
        """
        began_ms, entry.began_ms = entry.began_ms, None
        assert began_ms is not None, "it has begun"
        entry.runs += 1
        entry.failures += not run.success
        entry.history.append(run)
        if interrupted:
            return
        if entry.at_ms <= began_ms:
            # Were the clock set back meanwhile, the same time would come again.
            self._plan(entry, max(now_ms, entry.due_ms))
        elif entry.at_ms <= now_ms:
            self._plan(entry, now_ms)

    def clock_was_set_back(self, now_ms: int) -> None:
        """Plan anew what would be waited for too long."""
        for entry in self._idle():
            self._plan(entry, now_ms)

    def reports(self) -> tuple[JobReport, ...]:
        """Return what is told of each job, by name."""
        return tuple(entry.report() for _, entry in sorted(self._entries.items()))

    def records(self, name: str, count: int) -> tuple[JobRun, ...]:
        """Return the newest `count` records of a job, or of all if empty, the newest last."""
        entries: Iterable[Entry] = [self.get(name)] if name else self._entries.values()
        runs = [run for entry in entries for run in entry.history]
        return tuple(sorted(runs, key=lambda run: run.start_ms)[-count:])

    def keep(self) -> dict[str, KeptJob]:
        """Return what the next process is to know."""
        return {
            name: KeptJob(
                spec=entry.job.spec,
                added=not entry.configured,
                due_ms=entry.due_ms,
                runs=entry.runs,
                failures=entry.failures,
                history=tuple(entry.history),
            )
            for name, entry in self._entries.items()
        }

    def _put(self, job: Job, now_ms: int, *, configured: bool) -> None:
        if len(self._entries) >= JOBS_MAX:
            raise InvalidRequest(f"there may be at most {JOBS_MAX} jobs, were more")
        entry = Entry(job, configured)
        self._plan(entry, now_ms)
        self._entries[job.name] = entry

    def _take_up(self, name: str, left: KeptJob, now_ms: int) -> None:
        """Go on where the last process ended with a job."""
        entry = self._entries.get(name)
        if entry is None and not left.added:
            # It was taken out of the settings file.
            return
        if entry is None:
            try:
                self.add(parse_job(name, left.spec), now_ms)
            except InvalidRequest as error:
                _log.warning("job %s cannot be run any more, and is dropped: %s", name, error)
                return
            entry = self._entries[name]
        elif left.added:
            _log.warning(
                "job %s of the settings file takes the place of the one that was added", name
            )
            return
        entry.runs, entry.failures = left.runs, left.failures
        entry.history.extend(left.history)
        # A clock that was wrong may have planned it for a year that nobody will see.
        if left.spec == entry.job.spec and left.due_ms < entry.due_ms:
            entry.due_ms, entry.at_ms = left.due_ms, self._begins_ms(entry.job, left.due_ms)

    def _plan(self, entry: Entry, after_ms: int) -> None:
        entry.due_ms = entry.job.schedule.next_ms(after_ms)
        entry.at_ms = self._begins_ms(entry.job, entry.due_ms)

    def _begins_ms(self, job: Job, due_ms: int) -> int:
        jitter_ms = int(self._rng.uniform(0.0, job.spec.jitter_s) * 1_000)
        return settled_ms(job.spec, due_ms + jitter_ms, self._settle_ms)

    def _idle(self) -> list[Entry]:
        return [entry for entry in self._entries.values() if entry.began_ms is None]
