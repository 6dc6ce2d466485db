"""Jobs: what can be run is taken, all else is refused in words."""

from __future__ import annotations

import math
from typing import Any

import pytest

from actors.errors import InvalidRequest, UnknownTimeframe
from actors.job_reports import JobSpec
from actors.messages import GetCandles
from actors.scheduling.jobs import (
    Beginnings,
    newest_settled_ms,
    parse_job,
    question,
    series_of,
    settled_ms,
)
from actors.scheduling.times import next_times_ms
from actors.series import Series
from runtime.testing import NEW_YEAR_MS

FIELDS: dict[str, Any] = {"every_s": 3600.0, "markets": ("KRW-BTC",), "timeframes": ("1m",)}
CRON: dict[str, Any] = {"every_s": None, "cron": "5 0 * * *"}


def spec(**changes: Any) -> JobSpec:
    """Return an hourly job, changed."""
    return JobSpec(**(FIELDS | changes))


def test_a_job_knows_when_it_is_due() -> None:
    """By interval, or by expression in its zone."""
    hourly = parse_job("hourly", spec())
    nightly = parse_job("nightly", spec(**CRON, timezone="Asia/Seoul"))
    assert hourly.schedule.next_ms(NEW_YEAR_MS) == NEW_YEAR_MS + 3_600_000
    # Five past midnight in Seoul is five past three in the afternoon before.
    assert nightly.schedule.next_ms(NEW_YEAR_MS) == NEW_YEAR_MS + (15 * 60 + 5) * 60_000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"every_s": None}, "either every_s or cron, had neither"),
        ({"cron": "5 0 * * *"}, "either every_s or cron, had both"),
        ({"every_s": 0.5}, "every_s must be 1 to 2678400, was 0.5"),
        ({"every_s": math.nan}, "every_s must be 1 to 2678400, was nan"),
        ({"every_s": 32 * 86_400.0}, "every_s must be 1 to 2678400, was 2764800$"),
        ({"timezone": "Asia/Seoul"}, "timezone goes with cron"),
        ({"jitter_s": -1.0}, "jitter_s must be 0 to 3600, was -1"),
        ({"jitter_s": 3600.0}, "jitter_s must be less than every_s, was 3600"),
        ({**CRON, "jitter_s": 3601.0}, "jitter_s must be 0 to 3600, was 3601"),
        ({**CRON, "cron": "5 0 * *"}, "cron must be five fields"),
        ({"markets": ()}, "either markets or quote, had neither"),
        ({"quote": "KRW"}, "either markets or quote, had both"),
        ({"markets": (), "quote": "K-W"}, "quote must be a currency such as KRW, was 'K-W'"),
        ({"markets": ("KRW BTC",)}, "market must be written as the exchange writes it"),
        ({"markets": ("okx:BTC-USDT",)}, "markets must be of upbit, okx:BTC-USDT is one of okx"),
        ({"markets": ("KRW-BTC", "KRW-BTC")}, "markets must be named once each, KRW-BTC was"),
        ({"markets": tuple(f"KRW-A{n}" for n in range(201))}, "at most 200, were 201"),
        ({"timeframes": ()}, "a job must have timeframes"),
        ({"timeframes": ("1m", "1m")}, "timeframes must be named once each, 1m was"),
        ({"count": 0}, "count must be 1 to 100000, was 0"),
        ({"count": 5, "history": "30d"}, "count or history, not both"),
        ({"history": "30"}, "history must be a length of time such as"),
        ({"history": "90d"}, "at most 100000 candles, 90d of 1m has 129600"),
        ({"markets": "KRW-BTC"}, "Expected `array`, got `str`"),
        ({"jitter_s": "5"}, "Expected `float`, got `str`"),
    ],
)
def test_what_cannot_be_run_is_refused(changes: dict[str, Any], message: str) -> None:
    """Before anything is kept of it; the message says what was wanted and what was there."""
    with pytest.raises(InvalidRequest, match=message):
        parse_job("hourly", spec(**changes))


def test_a_timeframe_that_does_not_exist_is_refused() -> None:
    """With the names of those that do."""
    with pytest.raises(UnknownTimeframe, match="was '2m'"):
        parse_job("hourly", spec(timeframes=("2m",)))


@pytest.mark.parametrize("name", ["", "a b", "../x", "-a", "a" * 65, "a\n"])
def test_a_name_is_a_plain_word(name: str) -> None:
    """It is shown, logged, and written into settings files."""
    with pytest.raises(InvalidRequest, match="name must be 1 to 64 letters"):
        parse_job(name, spec())


def test_each_market_is_asked_for_in_each_timeframe() -> None:
    """Of the job's own markets, or of those that the exchange lists."""
    found = series_of(spec(timeframes=("1m", "1d")), ("KRW-BTC", "KRW-ETH"))
    assert [str(each) for each in found] == ["KRW-BTC 1m", "KRW-BTC 1d", "KRW-ETH 1m", "KRW-ETH 1d"]


@pytest.mark.parametrize(
    ("changes", "count", "start"),
    [
        ({}, 200, None),
        ({"count": 7}, 7, None),
        ({"history": "30d"}, None, NEW_YEAR_MS - 30 * 86_400_000),
    ],
)
def test_a_run_asks_for_candles_that_have_settled(
    changes: dict[str, Any], count: int | None, start: int | None
) -> None:
    """What may still change is not kept, so it is left to the next run."""
    series = Series.parse("KRW-BTC", "1m")
    asked = GetCandles(
        market="KRW-BTC", timeframe="1m", count=count, start=start, end=NEW_YEAR_MS, closed=True
    )
    for late_ms in (6_000, 65_999):
        assert question(spec(**changes), series, NEW_YEAR_MS + late_ms, 6_000) == asked


@pytest.mark.parametrize(
    ("timeframes", "late_ms", "wanted_ms"),
    [
        (("1m",), 0, 6_000),
        (("1d", "1m"), 5_999, 6_000),
        (("1m",), 6_000, 6_000),
        (("1m", "1h"), 59_999, 59_999),
        (("1h",), 60_000, 60_000),
        (("1m",), 61_000, 66_000),
        (("1s",), 0, 0),
    ],
)
def test_a_run_waits_for_a_candle_that_has_just_ended(
    timeframes: tuple[str, ...], late_ms: int, wanted_ms: int
) -> None:
    """A job on the hour wants that hour; seconds end all the time."""
    begins_ms = settled_ms(spec(timeframes=timeframes), NEW_YEAR_MS + late_ms, 6_000)
    assert begins_ms - NEW_YEAR_MS == wanted_ms


@pytest.mark.parametrize(
    ("every_s", "now_ms", "wanted_s"),
    [
        # Due at :03, :04 and :05 as well: those runs would begin with that of :06.
        (1.0, 2_000, [6, 7, 8, 9]),
        (60.0, 0, [66, 126, 186, 246]),
        (90.0, 0, [90, 186, 270, 366]),
    ],
)
def test_runs_begin_when_what_they_want_has_settled(
    every_s: float, now_ms: int, wanted_s: list[int]
) -> None:
    """Six seconds after the end of a candle, though they are due at it."""
    begins = Beginnings(parse_job("job", spec(every_s=every_s)), settle_ms=6_000)
    times = next_times_ms(begins, NEW_YEAR_MS + now_ms, 4)
    assert [(each - NEW_YEAR_MS) / 1_000 for each in times] == wanted_s


@pytest.mark.parametrize(
    ("timeframes", "late_ms", "wanted_ms"),
    [
        (("1m",), 6_000, 6_000),
        (("1m",), 65_999, 6_000),
        (("1h", "1m"), 70_000, 66_000),
        (("1h",), 70_000, 6_000),
        (("1s", "1m"), 8_000, 6_000),
    ],
)
def test_a_run_knows_since_when_its_newest_candles_have_been_settled(
    timeframes: tuple[str, ...], late_ms: int, wanted_ms: int
) -> None:
    """Those of the shortest timeframe, but for one that ends all the time."""
    found_ms = newest_settled_ms(spec(timeframes=timeframes), NEW_YEAR_MS + late_ms, 6_000)
    assert found_ms - NEW_YEAR_MS == wanted_ms


def test_a_run_of_nothing_but_seconds_wants_no_moment() -> None:
    """There is always one that has just settled."""
    assert newest_settled_ms(spec(timeframes=("1s",)), NEW_YEAR_MS, 6_000) == 0
