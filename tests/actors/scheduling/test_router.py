"""`JobRouter`: what is asked is checked before anybody is bothered."""

from __future__ import annotations

from typing import Any

import pytest

from actors.errors import InvalidRequest
from actors.job_messages import JOB_METHODS, AddJob, GetJobRuns, ListJobs, RemoveJob
from actors.job_reports import JobSpec
from actors.messages import GetTicker
from actors.scheduler import SchedulerActor
from actors.scheduling.router import JobRouter
from runtime.core.clock import TrioClock
from runtime.testing_job_samples import JOB_SAMPLES, SAMPLE_JOB
from runtime.testing_jobs import open_scheduler


@pytest.mark.parametrize("method", JOB_METHODS)
async def test_every_request_about_jobs_is_answered(method: str, clock: TrioClock) -> None:
    """And none about anything else."""
    request = JOB_METHODS[method](**JOB_SAMPLES.get(method, {}))
    async with open_scheduler(SchedulerActor, {}, clock=clock) as stage:
        router = JobRouter(stage.scheduler)
        assert router.knows(request)
        assert not router.knows(GetTicker(market="KRW-BTC"))
        if not isinstance(request, AddJob):
            await router.answer(AddJob(name="nightly", job=SAMPLE_JOB), timeout_s=1)
        assert await router.answer(request, timeout_s=1) is not None


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (AddJob(name="a b", job=SAMPLE_JOB), "name must be 1 to 64 letters"),
        (AddJob(name="a", job=JobSpec()), "either markets or quote"),
        (GetJobRuns(count=0), "count must be 1 to 1000, was 0"),
        (RemoveJob(name=5), "Expected `str`, got `int`"),  # type: ignore[arg-type]
    ],
)
async def test_what_cannot_be_is_refused(request_: Any, message: str, clock: TrioClock) -> None:
    """`check` gives the same error without running anything."""
    async with open_scheduler(SchedulerActor, {}, clock=clock) as stage:
        router = JobRouter(stage.scheduler)
        with pytest.raises(InvalidRequest, match=message):
            router.validate(request_)
        with pytest.raises(InvalidRequest, match=message):
            await router.answer(request_, timeout_s=1)
        assert await router.answer(ListJobs(), timeout_s=1) == ()
