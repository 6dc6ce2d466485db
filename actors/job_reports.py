"""What scheduled jobs are, and what is told of them."""

from __future__ import annotations

import msgspec


class JobSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a job collects, and when.

    It has either `every_s` or `cron`, either `markets` or `quote`, and at most one of `count` and
    `history`.

    Attributes:
      every_s: Seconds from one run to the next, 1 to 2678400 (31 days), counted from midnight UTC
        of 1970-01-01, so that an hourly job runs on the hour.
      cron: Five fields: minute, hour, day of month, month, day of week.
      timezone: In which `cron` is meant, such as `Asia/Seoul`.
      jitter_s: Each run begins up to so many seconds late, by chance; 0 to 3600, and less than
        `every_s`.
      exchange: Where.
      markets: Which, 1 to 200.
      quote: In place of `markets`: all that the exchange lists in this currency at each run.
      timeframes: Which of 1s 1m 3m 5m 10m 15m 30m 1h 4h 1d 1w 1M.
      count: How many candles of each series, 1 to 100000, the newest; 200 if neither this nor
        `history` is given.
      history: In place of `count`: how far back, such as `30d`; in s, m, h, d or w.
    """

    every_s: float | None = None
    cron: str = ""
    timezone: str = "UTC"
    jitter_s: float = 0.0
    exchange: str = "upbit"
    markets: tuple[str, ...] = ()
    quote: str = ""
    timeframes: tuple[str, ...] = ()
    count: int | None = None
    history: str = ""


class JobRun(msgspec.Struct, frozen=True, kw_only=True):
    """The record of one run.

    Attributes:
      job: Which job.
      start_ms: When it began, UTC milliseconds.
      duration_ms: How long it took.
      success: Whether every series was collected.
      error: What went wrong first, and in how many series; empty if nothing did.
      tries: The most tries that any of its questions took.
      caught_up: Whether it was due earlier, while nobody could run it.
      candles: How many candles were collected.
      complete: Whether nothing is missing in them.
    """

    job: str
    start_ms: int
    duration_ms: int
    success: bool
    error: str = ""
    tries: int
    caught_up: bool
    candles: int
    complete: bool


class JobReport(msgspec.Struct, frozen=True, kw_only=True):
    """One job.

    Attributes:
      name: What it is called.
      configured: Whether it lives in the settings file; if not, it was added.
      job: What it collects, and when.
      running: Whether it runs now.
      next_ms: When it begins next, jitter included, UTC milliseconds; a time that has passed if it
        is under way.
      last: The record of its last run; None if it never ran.
      runs: How often it ran.
      failures: How often that failed.
      p50_ms: Half of the runs on record took no longer; None if there are none.
      p95_ms: 95 of 100 runs on record took no longer.
    """

    name: str
    configured: bool
    job: JobSpec
    running: bool
    next_ms: int
    last: JobRun | None
    runs: int
    failures: int
    p50_ms: int | None
    p95_ms: int | None


class JobPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A job that was added, or would be.

    Attributes:
      name: What it is called.
      done: Whether it was added; False for a dry run.
      next_ms: When its next five runs begin, without jitter, and if none takes until the next is
        due; UTC milliseconds. A run begins when candles that end at its time have settled.
    """

    name: str
    done: bool
    next_ms: tuple[int, ...]


class JobStarted(msgspec.Struct, frozen=True, kw_only=True):
    """A job that was run by hand.

    Attributes:
      name: Which job.
      start_ms: When it began, UTC milliseconds.
      run: Its record; None if nobody waited for it.
    """

    name: str
    start_ms: int
    run: JobRun | None
