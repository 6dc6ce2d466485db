"""The commands `marketd jobs …`: what operators do with scheduled collection."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from typing import Any

from actors.errors import InvalidRequest
from actors.job_messages import AddJob, GetJobRuns, ListJobs, RemoveJob, RunJob
from actors.job_reports import JobSpec
from actors.lengths import length_s
from runtime.cli_keys import show
from runtime.cli_parts import add_part
from runtime.client.blocking import BlockingClient
from runtime.core.errors import CallTimeout
from runtime.core.message import Request

_ENDED_WELL, _FAILED = 0, 1


def add_jobs(jobs: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """Add what stands below the command `jobs`, which alone lists them."""
    jobs.set_defaults(message=lambda _: ListJobs())
    parts = jobs.add_subparsers(dest="part", metavar="WHAT", title="WHAT")
    _add_add(_part(parts, common, "add", "collect candles on a schedule", _add))
    _add_name(_part(parts, common, "remove", "end a job, and forget its records", _remove))
    run = add_part(parts, [common], "run", "run a job now, and wait for its record", run=_run)
    _add_name(run)
    run.add_argument("--no-wait", action="store_true", help="do not wait for it to end")
    runs = _part(parts, common, "runs", "the records of runs, the newest last", _runs)
    runs.add_argument("name", metavar="NAME", nargs="?", default="", help="of all if not given")
    runs.add_argument("--count", metavar="N", type=int, default=20, help="the newest so many; 20")


def _part(
    parts: Any,
    common: argparse.ArgumentParser,
    name: str,
    help_text: str,
    message: Callable[[argparse.Namespace], Request[Any]],
) -> argparse.ArgumentParser:
    return add_part(parts, [common], name, help_text, message=message, what=f"jobs {name}")


def _add_name(part: argparse.ArgumentParser) -> None:
    part.add_argument("name", metavar="NAME", help="which job")


def _add_add(add: argparse.ArgumentParser) -> None:
    add.add_argument("name", metavar="NAME", help="what to call it")
    when = add.add_mutually_exclusive_group(required=True)
    when.add_argument(
        "--every", metavar="TIME", type=_length, help="from run to run: 90s, 15m, 4h, 1d"
    )
    when.add_argument(
        "--cron", metavar="FIELDS", default="", help="minute, hour, day, month, day of week"
    )
    add.add_argument(
        "--timezone", metavar="ZONE", default="UTC", help="of --cron, such as Asia/Seoul; UTC"
    )
    add.add_argument(
        "--jitter", metavar="S", type=_jitter, default=0.0, help="begin up to so many seconds late"
    )
    add.add_argument("--exchange", metavar="NAME", default="upbit", help="upbit if not said")
    which = add.add_mutually_exclusive_group(required=True)
    which.add_argument("--market", metavar="MARKET", nargs="+", default=[], help="such as KRW-BTC")
    which.add_argument("--quote", metavar="CURRENCY", default="", help="all markets in it")
    add.add_argument(
        "--timeframe",
        metavar="TIMEFRAME",
        nargs="+",
        required=True,
        help="1s 1m 3m 5m 10m 15m 30m 1h 4h 1d 1w 1M",
    )
    much = add.add_mutually_exclusive_group()
    much.add_argument("--count", metavar="N", type=int, help="newest candles of each; 200")
    much.add_argument("--history", metavar="TIME", default="", help="how far back, such as 30d")
    add.add_argument("--dry-run", action="store_true", help="only say when it would run")


def _length(text: str) -> float:
    try:
        return float(length_s(text, name="it"))
    except InvalidRequest as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _jitter(text: str) -> float:
    try:
        jitter_s = float(text)
    except ValueError:
        jitter_s = math.nan
    # JSON has no form for it: the runtime would be sent nothing at all.
    if not math.isfinite(jitter_s):
        raise argparse.ArgumentTypeError(f"must be a number of seconds, was {text!r}")
    return jitter_s


def _add(options: argparse.Namespace) -> AddJob:
    job = JobSpec(
        every_s=options.every,
        cron=options.cron,
        timezone=options.timezone,
        jitter_s=options.jitter,
        exchange=options.exchange,
        markets=tuple(options.market),
        quote=options.quote,
        timeframes=tuple(options.timeframe),
        count=options.count,
        history=options.history,
    )
    return AddJob(name=options.name, job=job, dry_run=options.dry_run)


def _remove(options: argparse.Namespace) -> RemoveJob:
    return RemoveJob(name=options.name)


def _run(client: BlockingClient, options: argparse.Namespace) -> int:
    message = RunJob(name=options.name, wait=not options.no_wait)
    try:
        result = client.ask_raw(message, options.timeout).result
    except CallTimeout as error:
        # Asking again, the usual advice, would be refused while it runs.
        told = f"`marketd jobs runs {options.name}` tells how it ended; --timeout S waits longer"
        sys.stderr.write(f"marketd: {error}; a run that has begun goes on, {told}\n")
        return _FAILED
    show(options, "jobs run", result)
    # It is answered with its record, whatever came of it.
    run = result["run"]
    return _ENDED_WELL if run is None or run["success"] else _FAILED


def _runs(options: argparse.Namespace) -> GetJobRuns:
    return GetJobRuns(name=options.name, count=options.count)
