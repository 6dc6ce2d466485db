"""What is remembered of jobs: figures of their runs, and the form in which they are kept."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from actors.job_reports import JobRun, JobSpec

RUNS_KEPT = 100


class KeptJob(msgspec.Struct, frozen=True, kw_only=True):
    """One job from one process to the next.

    Attributes:
      spec: What it was when it was kept.
      added: Whether it was added; if not, it was configured.
      due_ms: When it is due, UTC milliseconds. It has passed if a run was under way.
      runs: How often it ran.
      failures: How often that failed.
      history: Its newest runs, at most `RUNS_KEPT`, oldest first.
    """

    spec: JobSpec
    added: bool
    due_ms: int
    runs: int
    failures: int
    history: tuple[JobRun, ...]


def percentile(values: Sequence[int], percent: int) -> int | None:
    """Return the least of `values` that so many percent of them do not exceed; None of none.

    Args:
      values: Not empty for an answer; in any order.
      percent: 1 to 100.

    Source: the nearest-rank method, https://en.wikipedia.org/wiki/Percentile.
    """
    if not values:
        return None
    return sorted(values)[-(-percent * len(values) // 100) - 1]


def encode(jobs: dict[str, KeptJob]) -> bytes:
    """Return jobs, by name, as JSON."""
    return msgspec.json.encode(jobs)


def decode(data: bytes) -> dict[str, KeptJob]:
    """Return what `encode` wrote.

    Raises:
      ValueError: It is something else, or was written by another version.
    """
    return msgspec.json.decode(data, type=dict[str, KeptJob])
