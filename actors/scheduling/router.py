"""`JobRouter`: the door for every question about scheduled jobs. Plain code."""

from __future__ import annotations

from typing import Any

from actors.job_messages import JOB_METHODS, AddJob, GetJobRuns
from actors.key_rules import check_types
from actors.queries import check_count
from actors.scheduling.jobs import parse_job
from runtime.core.message import Request
from runtime.core.ref import ActorRef

# Records in one answer.
RUNS_MAX = 1_000

_KINDS = tuple(JOB_METHODS.values())


class JobRouter:
    """Answers every request of `actors.job_messages.JOB_METHODS`.

    Args:
      scheduler: The SchedulerActor.
    """

    def __init__(self, scheduler: ActorRef) -> None:
        self._scheduler = scheduler

    @staticmethod
    def knows(request: Request[Any]) -> bool:
        """Return whether `request` is one of those answered here."""
        return isinstance(request, _KINDS)

    @staticmethod
    def validate(request: Request[Any]) -> None:
        """Raise the error that `request` would meet before anything is done for it."""
        check_types(request)
        match request:
            case AddJob(name=name, job=spec):
                parse_job(name, spec)
            case GetJobRuns(count=count):
                check_count(count, most=RUNS_MAX)

    async def answer(self, request: Request[Any], *, timeout_s: float) -> Any:
        """Return the answer to `request`.

        Raises:
          InvalidRequest: There is no such job, it cannot be run, or not be removed.
          Overloaded: The job runs already.
          ActorError: No answer came: too late, or the actor was restarted meanwhile.
        """
        self.validate(request)
        return await self._scheduler.call(request, timeout_s=timeout_s)
