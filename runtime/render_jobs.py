"""What the answers about scheduled jobs look like to people."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from runtime.render import Result, duration, number, table, time_utc, words


def _jobs(result: Result) -> Iterable[Any]:
    yield from _listed(result["jobs"])


def _removed(result: Result) -> Iterable[Any]:
    yield words("removed:")
    yield from _listed([result])


def _listed(jobs: list[Result]) -> Iterable[Any]:
    yield table(
        ("job", "next (UTC)", "last (UTC)", "last run", "runs", "failed", "p50", "p95"),
        (
            (
                job["name"],
                "now" if job["running"] else _second(job["next_ms"]),
                _second(job["last"]["start_ms"]) if job["last"] else "-",
                _outcome(job["last"]),
                number(job["runs"]),
                number(job["failures"]),
                _took(job["p50_ms"]),
                _took(job["p95_ms"]),
            )
            for job in jobs
        ),
        left=4,
    )
    for job in jobs:
        yield words(_described(job))


def _described(job: Result) -> str:
    spec = job["job"]
    which = f"all in {spec['quote']}" if spec["quote"] else " ".join(spec["markets"])
    much = spec["history"] or f"{spec['count'] or 200} candles"
    when = f"cron {spec['cron']!r} in {spec['timezone']}"
    if spec["every_s"] is not None:
        when = f"every {duration(spec['every_s'])}"
    if spec["jitter_s"]:
        when += f", up to {duration(spec['jitter_s'])} late"
    place = " (settings file)" if job["configured"] else ""
    frames = " ".join(spec["timeframes"])
    return f"{job['name']}{place}: {when}; {spec['exchange']} {which}, {frames}, {much}"


def _planned(result: Result) -> Iterable[Any]:
    yield words(f"{result['name']} {'runs' if result['done'] else 'would run'} at (UTC)")
    for time_ms in result["next_ms"]:
        yield words(f"  {_second(time_ms)}")


def _started(result: Result) -> Iterable[Any]:
    if result["run"] is None:
        yield words(f"{result['name']} runs since {_second(result['start_ms'])} UTC")
    else:
        yield from _runs({"runs": [result["run"]]})


def _runs(result: Result) -> Iterable[Any]:
    runs = result["runs"]
    yield table(
        ("job", "began (UTC)", "outcome", "took", "tries", "candles"),
        (
            (
                run["job"],
                _second(run["start_ms"]),
                _outcome(run),
                _took(run["duration_ms"]),
                number(run["tries"]),
                number(run["candles"]),
            )
            for run in runs
        ),
        left=3,
    )
    for run in runs:
        if run["error"]:
            yield words(f"{run['job']} at {_second(run['start_ms'])}: {run['error']}")


def _outcome(run: Result | None) -> str:
    if run is None:
        return "-"
    told = "failed"
    if run["success"]:
        told = "done" if run["complete"] else "done, gaps"
    return f"{told}, caught up" if run["caught_up"] else told


def _took(time_ms: int | None) -> str:
    return "-" if time_ms is None else duration(time_ms / 1_000)


def _second(time_ms: int) -> str:
    return time_utc(time_ms // 1_000 * 1_000)


RENDERERS: dict[str, Callable[[Result], Iterable[Any]]] = {
    "jobs": _jobs,
    "jobs add": _planned,
    "jobs remove": _removed,
    "jobs run": _started,
    "jobs runs": _runs,
}
