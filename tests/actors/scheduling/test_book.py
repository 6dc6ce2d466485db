"""The book of jobs: never twice at once, caught up once, and nothing forgotten."""

from __future__ import annotations

import logging
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import InvalidRequest
from actors.job_reports import JobRun, JobSpec
from actors.keeper import BLOB_BYTES_MAX
from actors.scheduling.book import JOBS_MAX, Entry, JobBook
from actors.scheduling.jobs import MARKETS_MAX, parse_job
from actors.scheduling.records import RUNS_KEPT, KeptJob, encode
from runtime.testing import NEW_YEAR_MS

MINUTE_MS = 60_000
EVERY_MINUTE = JobSpec(every_s=60.0, markets=("KRW-BTC",), timeframes=("1m",))


def spec(**changes: Any) -> JobSpec:
    """Return a job of every minute, changed."""
    fields: dict[str, Any] = {"every_s": 60.0, "markets": ("KRW-BTC",), "timeframes": ("1m",)}
    return JobSpec(**(fields | changes))


def record(start_ms: int, *, success: bool = True, duration_ms: int = 0) -> JobRun:
    """Return the record of a run."""
    return JobRun(
        job="job",
        start_ms=start_ms,
        duration_ms=duration_ms,
        success=success,
        tries=1,
        caught_up=False,
        candles=0,
        complete=True,
    )


def opened(
    now_ms: int = NEW_YEAR_MS, kept: dict[str, KeptJob] | None = None, **changes: Any
) -> JobBook:
    """Return a book of one configured job, `job`."""
    return JobBook({"job": spec(**changes)}, kept or {}, now_ms, random.Random(0), settle_ms=0)


def run(book: JobBook, entry: Entry, from_ms: int, to_ms: int) -> bool:
    """Let a job run; return whether it was caught up."""
    caught_up = book.begin(entry, from_ms)
    book.end(entry, record(from_ms), to_ms)
    return caught_up


def test_a_job_is_due_at_its_time_and_not_before() -> None:
    """And then again a whole interval later."""
    book = opened()
    due_ms = NEW_YEAR_MS + MINUTE_MS
    assert book.wakes_ms() == due_ms
    assert book.due(due_ms - 1) == []
    (entry,) = book.due(due_ms)
    assert not run(book, entry, due_ms, due_ms + 5)
    assert book.wakes_ms() == due_ms + MINUTE_MS


def test_a_job_that_runs_is_not_due() -> None:
    """However many of its times pass meanwhile; they are left out."""
    book = opened()
    due_ms = NEW_YEAR_MS + MINUTE_MS
    (entry,) = book.due(due_ms)
    book.begin(entry, due_ms)
    assert book.due(due_ms + 10 * MINUTE_MS) == []
    assert book.wakes_ms() is None
    book.end(entry, record(due_ms), due_ms + 10 * MINUTE_MS + 1)
    assert book.wakes_ms() == due_ms + 11 * MINUTE_MS


def test_three_missed_times_are_caught_up_by_one_run() -> None:
    """The next process takes up where the last one ended."""
    kept = opened().keep()
    now_ms = NEW_YEAR_MS + 3 * MINUTE_MS + 30_000
    book = opened(now_ms, kept)
    (entry,) = book.due(now_ms)
    assert run(book, entry, now_ms, now_ms)
    assert book.due(now_ms) == []
    assert book.wakes_ms() == NEW_YEAR_MS + 4 * MINUTE_MS


def test_an_interrupted_run_stays_due() -> None:
    """It is recorded, and caught up by the next process."""
    book = opened()
    due_ms = NEW_YEAR_MS + MINUTE_MS
    (entry,) = book.due(due_ms)
    book.begin(entry, due_ms)
    book.end(entry, record(due_ms, success=False), due_ms + 9, interrupted=True)
    later = opened(due_ms + 20_000, book.keep())
    (entry,) = later.due(due_ms + 20_000)
    assert later.begin(entry, due_ms + 20_000)
    assert entry.report().failures == 1


def test_a_run_by_hand_leaves_the_next_time_as_it_is() -> None:
    """Unless that time passes while it runs."""
    book = opened()
    due_ms = NEW_YEAR_MS + MINUTE_MS
    entry = book.get("job")
    assert not run(book, entry, due_ms - 500, due_ms - 100)
    assert book.wakes_ms() == due_ms
    run(book, entry, due_ms - 50, due_ms + 50)
    assert book.wakes_ms() == due_ms + MINUTE_MS


def test_a_clock_set_back_during_a_run_does_not_repeat_it() -> None:
    """The time it ran for has had its run."""
    book = opened()
    due_ms = NEW_YEAR_MS + MINUTE_MS
    (entry,) = book.due(due_ms)
    run(book, entry, due_ms, due_ms - 10)
    assert book.wakes_ms() == due_ms + MINUTE_MS


def test_a_clock_set_back_by_much_is_followed() -> None:
    """Else the next run would come a day late."""
    book = opened()
    book.clock_was_set_back(NEW_YEAR_MS - 86_400_000)
    assert book.wakes_ms() == NEW_YEAR_MS - 86_400_000 + MINUTE_MS


@given(seed=st.integers(0, 1_000), jitter_s=st.floats(0, 59))
def test_jitter_is_within_its_bound(seed: int, jitter_s: float) -> None:
    """And the same for the same seed."""
    books = [
        JobBook({"job": spec(jitter_s=jitter_s)}, {}, NEW_YEAR_MS, random.Random(seed), settle_ms=0)
        for _ in range(2)
    ]
    first_ms, again_ms = (book.wakes_ms() for book in books)
    assert first_ms == again_ms
    assert first_ms is not None
    assert 0 <= first_ms - (NEW_YEAR_MS + MINUTE_MS) <= jitter_s * 1_000


def test_jitter_spreads() -> None:
    """Ten jobs of one minute do not begin together."""
    jobs = {f"job{number}": spec(jitter_s=30.0) for number in range(10)}
    book = JobBook(jobs, {}, NEW_YEAR_MS, random.Random(0), settle_ms=0)
    assert len({report.next_ms for report in book.reports()}) == 10


def test_records_are_bounded_and_counts_are_not() -> None:
    """The newest are kept; of them the figures are made."""
    book = opened()
    entry = book.get("job")
    for number in range(RUNS_KEPT + 50):
        now_ms = NEW_YEAR_MS + number
        book.begin(entry, now_ms)
        book.end(entry, record(now_ms, success=number % 2 == 0, duration_ms=number), now_ms)
    report = entry.report()
    assert (report.runs, report.failures) == (150, 75)
    assert (report.p50_ms, report.p95_ms) == (99, 144)
    assert report.last == book.records("job", 1)[0]
    assert [run.duration_ms for run in book.records("", 10_000)] == list(range(50, 150))


def test_everything_survives_a_restart() -> None:
    """Figures, records and the next time."""
    book = opened()
    book.add(parse_job("mine", spec(jitter_s=5.0)), NEW_YEAR_MS)
    for name in ("job", "mine"):
        run(book, book.get(name), NEW_YEAR_MS + 7, NEW_YEAR_MS + 9)
    later = opened(NEW_YEAR_MS + 10, book.keep())
    assert later.keep() == book.keep()


def test_a_job_that_left_the_settings_file_is_forgotten() -> None:
    """One that was added stays until it is removed."""
    book = opened()
    book.add(parse_job("mine", spec()), NEW_YEAR_MS)
    later = JobBook({}, book.keep(), NEW_YEAR_MS, random.Random(0), settle_ms=0)
    assert [report.name for report in later.reports()] == ["mine"]


def test_a_configured_job_takes_the_place_of_one_that_was_added(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With a warning, for somebody meant the other one."""
    book = JobBook({}, {}, NEW_YEAR_MS, random.Random(0), settle_ms=0)
    book.add(parse_job("job", spec(count=5)), NEW_YEAR_MS)
    run(book, book.get("job"), NEW_YEAR_MS, NEW_YEAR_MS)
    later = opened(NEW_YEAR_MS, book.keep())
    (report,) = later.reports()
    assert report.configured
    assert (report.job, report.runs) == (EVERY_MINUTE, 0)
    assert "job job of the settings file takes the place of the one" in caplog.text


def test_a_job_whose_times_were_changed_is_planned_anew() -> None:
    """What it missed by its old times is of no interest; its records are."""
    book = opened()
    run(book, book.get("job"), NEW_YEAR_MS, NEW_YEAR_MS)
    now_ms = NEW_YEAR_MS + 10 * MINUTE_MS
    later = opened(now_ms, book.keep(), every_s=3600.0)
    assert later.due(now_ms) == []
    assert later.reports()[0].runs == 1


def test_a_kept_job_that_cannot_be_run_is_dropped_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its zone may be gone; the others go on."""
    left = KeptJob(
        spec=JobSpec(cron="5 0 * * *", timezone="Mars/Olympus"),
        added=True,
        due_ms=0,
        runs=0,
        failures=0,
        history=(),
    )
    with caplog.at_level(logging.WARNING):
        book = opened(kept={"mine": left})
    assert [report.name for report in book.reports()] == ["job"]
    assert "job mine cannot be run any more, and is dropped" in caplog.text


def test_names_are_unique_and_jobs_are_bounded() -> None:
    """The bound holds whoever adds them."""
    book = opened()
    with pytest.raises(InvalidRequest, match="there is a job job already"):
        book.add(parse_job("job", spec()), NEW_YEAR_MS)
    for number in range(JOBS_MAX - 1):
        book.add(parse_job(f"job{number}", spec()), NEW_YEAR_MS)
    with pytest.raises(InvalidRequest, match="there are 64 jobs, and may be no more"):
        book.add(parse_job("one-more", spec()), NEW_YEAR_MS)


def test_a_configured_job_cannot_be_removed() -> None:
    """The error says where it lives."""
    book = opened()
    with pytest.raises(InvalidRequest, match=r"lives in the settings file: remove \[jobs\.job\]"):
        book.remove("job")
    with pytest.raises(InvalidRequest, match="there is no job 'nope'; there are: job"):
        book.remove("nope")


@settings(max_examples=50)
@given(data=st.data())
def test_whatever_happens_each_time_is_run_for_once_at_most(data: st.DataObject) -> None:
    """Days of starts, ends, runs by hand, restarts and breaks, against the times themselves."""
    now_ms, book = NEW_YEAR_MS, opened(jitter_s=20.0)
    ran_for: list[int] = []
    ends_ms: int | None = None
    for _ in range(data.draw(st.integers(1, 40))):
        now_ms += data.draw(st.integers(0, 3 * MINUTE_MS))
        entry = book.get("job")
        if ends_ms is not None and data.draw(st.booleans()):
            book.end(entry, record(ends_ms), now_ms)
            ends_ms = None
        match data.draw(st.sampled_from(("look", "hand", "restart"))):
            case "hand" if ends_ms is None and not book.due(now_ms):
                book.begin(entry, now_ms)
                ends_ms = now_ms
            case "restart":
                if ends_ms is not None:
                    if ran_for and entry.due_ms == ran_for[-1]:
                        # What is broken off is due still.
                        ran_for.pop()
                    book.end(entry, record(ends_ms), now_ms, interrupted=True)
                ends_ms, book = None, opened(now_ms, book.keep(), jitter_s=20.0)
            case _:
                for due in book.due(now_ms):
                    assert ends_ms is None
                    ran_for.append(due.due_ms)
                    book.begin(due, now_ms)
                    ends_ms = now_ms
    assert ran_for == sorted(set(ran_for))
    assert all(due_ms <= now_ms for due_ms in ran_for)


def test_all_that_can_be_kept_fits_into_a_blob() -> None:
    """As many jobs as may be, of as many markets, that have failed at length in Korean."""
    markets = tuple(f"KRW-{number:036}" for number in range(MARKETS_MAX))
    jobs = {f"{number:064}": spec(markets=markets) for number in range(JOBS_MAX)}
    book = JobBook(jobs, {}, NEW_YEAR_MS, random.Random(0), settle_ms=0)
    failed = msgspec.structs.replace(record(NEW_YEAR_MS), job="a" * 64, error="\ud55c" * 250)
    for name in jobs:
        book.get(name).history.extend([failed] * RUNS_KEPT)
    assert len(encode(book.keep())) < BLOB_BYTES_MAX
