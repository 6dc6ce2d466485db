"""Sample answers to what is asked about scheduled jobs."""

from __future__ import annotations

from typing import Any

from actors.job_messages import JOB_METHODS
from actors.job_reports import JobPlan, JobReport, JobRun, JobSpec, JobStarted
from runtime.core.message import Request

_NEW_YEAR_MS = 1_767_225_600_000

SAMPLE_JOB = JobSpec(
    cron="5 0 * * *",
    timezone="Asia/Seoul",
    jitter_s=30.0,
    markets=("KRW-BTC",),
    timeframes=("1m", "1d"),
    history="30d",
)

# What each method needs, beside what has a default.
JOB_SAMPLES: dict[str, dict[str, Any]] = {
    "jobs.add": {"name": "nightly", "job": SAMPLE_JOB},
    "jobs.remove": {"name": "nightly"},
    "jobs.run": {"name": "nightly"},
}

_RUN = JobRun(
    job="nightly",
    start_ms=_NEW_YEAR_MS,
    duration_ms=1_234,
    success=False,
    error="1 of 2 series failed, first KRW-BTC 1m: upbit is away",
    tries=3,
    caught_up=True,
    candles=200,
    complete=False,
)
_JOB = JobReport(
    name="nightly",
    configured=True,
    job=SAMPLE_JOB,
    running=False,
    next_ms=_NEW_YEAR_MS + 86_400_000,
    last=_RUN,
    runs=7,
    failures=1,
    p50_ms=1_234,
    p95_ms=65_000,
)
_HOURLY = JobReport(
    name="hourly",
    configured=False,
    job=JobSpec(every_s=3_600.0, quote="KRW", timeframes=("1h",)),
    running=True,
    next_ms=_NEW_YEAR_MS,
    last=None,
    runs=0,
    failures=0,
    p50_ms=None,
    p95_ms=None,
)
_ANSWERS: dict[str, object] = {
    "jobs": (_JOB, _HOURLY),
    "jobs.add": JobPlan(
        name="nightly", done=True, next_ms=(_NEW_YEAR_MS, _NEW_YEAR_MS + 86_400_000)
    ),
    "jobs.remove": _JOB,
    "jobs.run": JobStarted(name="nightly", start_ms=_NEW_YEAR_MS, run=_RUN),
    "jobs.runs": (_RUN,),
}
_BY_KIND = {kind: _ANSWERS[name] for name, kind in JOB_METHODS.items()}


def sample_job_answer(request: Request[Any]) -> object | None:
    """Return a sample of the answer to `request`; None if it is not about jobs."""
    return _BY_KIND.get(type(request))
