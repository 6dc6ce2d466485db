"""`marketd jobs …`: what is sent, and what is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.job_messages import JOB_METHODS, AddJob, GetJobRuns, ListJobs, RemoveJob, RunJob
from actors.job_reports import JobSpec, JobStarted
from runtime.cli import REFUSED, WRONG_USAGE, run
from runtime.core.errors import CallTimeout
from runtime.core.message import Request
from runtime.testing_job_samples import JOB_SAMPLES, sample_job_answer
from runtime.testing_socket import control_in_thread, sample_answer

pytestmark = pytest.mark.real_time

ADD = "add nightly --market KRW-BTC --timeframe 1m"
NIGHTLY = "add nightly --cron 5_0_*_*_* --timezone Asia/Seoul --market KRW-BTC"
HOURLY = JobSpec(every_s=3600.0, markets=("KRW-BTC",), timeframes=("1m",))

COMMANDS: list[tuple[str, Request[Any]]] = [
    ("", ListJobs()),
    (f"{ADD} --every 1h", AddJob(name="nightly", job=HOURLY)),
    (f"{ADD} --every 3600s --dry-run", AddJob(name="nightly", job=HOURLY, dry_run=True)),
    (
        f"{NIGHTLY} --jitter 30 --timeframe 1m 1d --history 30d",
        AddJob(**JOB_SAMPLES["jobs.add"]),
    ),
    (
        "add a --every 15m --quote KRW --exchange okx --timeframe 1h --count 7",
        AddJob(
            name="a",
            job=JobSpec(every_s=900.0, quote="KRW", exchange="okx", timeframes=("1h",), count=7),
        ),
    ),
    ("remove nightly", RemoveJob(name="nightly")),
    ("run nightly", RunJob(name="nightly")),
    ("run nightly --no-wait", RunJob(name="nightly", wait=False)),
    ("runs", GetJobRuns()),
    ("runs nightly --count 7", GetJobRuns(name="nightly", count=7)),
]


def jobs(path: Path, words: str, *more: str) -> int:
    """Run a command, in which `_` stands for a space within a word; return its exit code."""
    arguments = [word.replace("_", " ") for word in words.split()]
    return run(["jobs", *arguments, *more, "--socket", str(path)])


@pytest.mark.parametrize(("words", "wanted"), COMMANDS, ids=[words for words, _ in COMMANDS])
def test_every_command_sends_its_message(
    words: str, wanted: Request[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the options; and each answer can be drawn for people."""
    sent: list[Request[Any]] = []

    async def answer(request: Request[Any]) -> object:
        sent.append(request)
        return await sample_answer(request)

    with control_in_thread(tmp_path / "s", answer):
        # The sample of a run has failed.
        assert jobs(tmp_path / "s", words) == (REFUSED if "run" in words.split() else 0)
    assert sent == [wanted]
    assert "nightly" in capsys.readouterr().out


def test_every_request_about_jobs_has_a_command() -> None:
    """What can be asked over the socket can be asked at a shell."""
    assert {type(message) for _, message in COMMANDS} == set(JOB_METHODS.values())


@pytest.mark.parametrize("words", ["", "run nightly", "runs"])
def test_programs_get_what_the_socket_says(
    words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One JSON object, nothing left out."""
    with control_in_thread(tmp_path / "s"):
        assert jobs(tmp_path / "s", words, "--json") in (0, REFUSED)
    told = json.loads(capsys.readouterr().out)
    rows = told.get("jobs") or told.get("runs") or [told["run"]]
    sample: Any = sample_job_answer(GetJobRuns())
    run_told = rows[0].get("last", rows[0])
    assert run_told == {name: getattr(sample[0], name) for name in sample[0].__struct_fields__}


def test_people_see_when_a_job_runs_how_it_went_and_what_it_collects(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row each, and a line each for what has no fixed length."""
    with control_in_thread(tmp_path / "s"):
        assert jobs(tmp_path / "s", "") == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "nightly 2026-01-02 00:00:00 2026-01-01 00:00:00 failed, caught up 7 1 1" in told
    assert "hourly now - - 0 0 - -" in told
    assert (
        "nightly (settings file): cron '5 0 * * *' in Asia/Seoul, up to 30 s late; upbit KRW-BTC, "
        "1m 1d, 30d" in told
    )
    assert "hourly: every 1 h; upbit all in KRW, 1h, 200 candles" in told


def test_people_see_why_a_run_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Below its row."""
    with control_in_thread(tmp_path / "s"):
        assert jobs(tmp_path / "s", "run nightly") == REFUSED
    told = capsys.readouterr().out
    assert "1.23 s" in told or "1 s" in told
    assert "nightly at 2026-01-01 00:00:00: 1 of 2 series failed, first KRW-BTC 1m: upb" in told


@pytest.mark.parametrize(
    "words",
    [
        ADD,
        f"{ADD} --every 1h --cron 5_0_*_*_*",
        f"{ADD} --every soon",
        f"{ADD} --every 1h --jitter nan",
        f"{ADD} --every 1h --jitter inf",
        f"{ADD} --every 1h --jitter soon",
        f"{ADD} --every 1h --quote KRW",
        f"{ADD} --every 1h --count 5 --history 30d",
        "add nightly --every 1h --market KRW-BTC",
        "remove",
        "nope",
    ],
)
def test_wrong_usage_is_refused_before_anybody_is_asked(words: str, tmp_path: Path) -> None:
    """No runtime is needed to say so."""
    with pytest.raises(SystemExit, match=f"^{WRONG_USAGE}$"):
        jobs(tmp_path / "nobody", words)


@pytest.mark.parametrize("words", ["run nightly", "run nightly --no-wait"])
def test_a_run_that_went_well_or_was_not_waited_for_is_no_failure(
    words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that failed is: scripts go by the exit code."""
    sample = sample_job_answer(RunJob(name="nightly"))
    assert isinstance(sample, JobStarted)
    assert sample.run is not None
    well = msgspec.structs.replace(sample.run, success=True)

    async def answer(request: Request[Any]) -> object:
        waited = isinstance(request, RunJob) and request.wait
        return msgspec.structs.replace(sample, run=well if waited else None)

    with control_in_thread(tmp_path / "s", answer):
        assert jobs(tmp_path / "s", words) == 0
    assert "nightly" in capsys.readouterr().out


def test_who_waits_too_short_for_a_run_is_told_where_to_look(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Asking again would be refused while it goes on."""

    async def answer(_: Request[Any]) -> object:
        raise CallTimeout("no answer within 1 s")

    with control_in_thread(tmp_path / "s", answer):
        assert jobs(tmp_path / "s", "run nightly") == REFUSED
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == (
        "marketd: no answer within 1 s; a run that has begun goes on, `marketd jobs runs nightly` "
        "tells how it ended; --timeout S waits longer\n"
    )


def test_a_jitter_that_is_no_number_is_refused_as_it_was_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The runtime would be sent none at all, and could not say what is wrong."""
    with pytest.raises(SystemExit, match=f"^{WRONG_USAGE}$"):
        jobs(tmp_path / "nobody", f"{ADD} --every 1h --jitter nan")
    assert "argument --jitter: must be a number of seconds, was 'nan'" in capsys.readouterr().err
