"""Scheduled jobs in the settings: `[jobs.NAME]`, a table for each."""

from __future__ import annotations

from actors.errors import InvalidRequest
from actors.job_reports import JobSpec
from runtime.names import printable
from runtime.setting_rules import SettingsError, checked_fields, named_tables, refused


def read_jobs(tables: object, *, origin: str) -> dict[str, JobSpec]:
    """Return the jobs that stand below `jobs`, by name; each can be run as it stands.

    Args:
      tables: What stands there.
      origin: Where it was written.

    Raises:
      SettingsError: A field is unknown or wrong, or they do not fit each other.
    """
    # Only here: whoever has no jobs need not wait for what reads them, and the settings of
    # exchanges stand in the module that reads these.
    from actors.scheduling.book import JOBS_MAX  # noqa: PLC0415
    from actors.scheduling.jobs import parse_job  # noqa: PLC0415
    from runtime.config import ExchangesSettings  # noqa: PLC0415

    jobs = {}
    for name, table in named_tables("jobs", tables, origin=origin).items():
        path = f"jobs.{name}"
        spec = JobSpec(**checked_fields(path, JobSpec, table, origin=origin))
        if spec.exchange not in ExchangesSettings.__struct_fields__:
            wanted = " or ".join(map(repr, ExchangesSettings.__struct_fields__))
            raise refused(f"{path}.exchange", wanted, spec.exchange, origin)
        try:
            jobs[name] = parse_job(name, spec).spec
        except InvalidRequest as error:
            raise SettingsError(f"{printable(path, 120)}: {error} (from {origin})") from None
    if len(jobs) > JOBS_MAX:
        raise SettingsError(f"jobs must be at most {JOBS_MAX}, were {len(jobs)} (from {origin})")
    return jobs
