"""`Timeframe` and times: held against `datetime`, which knows calendars, in every year it knows."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import InvalidRequest, UnknownTimeframe
from actors.timeframes import Timeframe, format_time_ms, parse_time_ms

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# From February of the year 1 to November of 9999: what `datetime` can count a month back and on.
MOMENTS = st.integers(-62_132_832_000_000, 253_399_536_000_000).map(
    lambda time_ms: EPOCH + timedelta(milliseconds=time_ms)
)
TIMEFRAMES = st.sampled_from(list(Timeframe))
TIMES_MS = st.integers(-(10**13), 10**14)


def ms(moment: datetime) -> int:
    """Return a moment as milliseconds, by integers only."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def opening(moment: datetime, timeframe: Timeframe) -> datetime:
    """Return when the candle opened that `moment` falls into, as the calendar says."""
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    match timeframe:
        case Timeframe.MN1:
            return midnight.replace(day=1)
        case Timeframe.W1:
            return midnight - timedelta(days=midnight.weekday())
    span = timedelta(milliseconds=timeframe.span_ms)
    return midnight + (moment - midnight) // span * span


@given(moment=MOMENTS, timeframe=TIMEFRAMES)
def test_a_candle_opens_when_the_calendar_says(moment: datetime, timeframe: Timeframe) -> None:
    """Weeks on Monday, months on the first, everything else dividing the day; also before 1970."""
    assert timeframe.floor_ms(ms(moment)) == ms(opening(moment, timeframe))


@given(moment=MOMENTS)
def test_a_month_lasts_as_long_as_the_calendar_says(moment: datetime) -> None:
    """28 to 31 days, leap years and centuries included."""
    first = opening(moment, Timeframe.MN1)
    following = (first + timedelta(days=32)).replace(day=1)

    assert Timeframe.MN1.shift_ms(ms(first), 1) == ms(following)
    assert Timeframe.MN1.ceil_ms(ms(first) + 1) == ms(following)


@pytest.mark.parametrize(
    ("start", "days"),
    [("2024-02-01", 29), ("2025-02-01", 28), ("2000-02-01", 29), ("2100-02-01", 28)],
)
def test_february_is_as_long_as_its_year_says(start: str, days: int) -> None:
    """The four kinds of years, by name."""
    start_ms = parse_time_ms(start)

    assert Timeframe.MN1.shift_ms(start_ms, 1) - start_ms == days * 86_400_000


@given(time_ms=TIMES_MS, timeframe=TIMEFRAMES, periods=st.integers(-5000, 5000))
def test_floor_ceil_shift_and_periods_agree_with_each_other(
    time_ms: int, timeframe: Timeframe, periods: int
) -> None:
    """Whatever the timeframe, these are one arithmetic and not four."""
    floor_ms, ceil_ms = timeframe.floor_ms(time_ms), timeframe.ceil_ms(time_ms)

    assert floor_ms <= time_ms <= ceil_ms
    assert timeframe.is_open_time(floor_ms)
    assert timeframe.is_open_time(ceil_ms)
    assert (floor_ms == ceil_ms) == timeframe.is_open_time(time_ms)
    assert ceil_ms in {floor_ms, timeframe.shift_ms(floor_ms, 1)}
    there_ms = timeframe.shift_ms(floor_ms, periods)
    assert timeframe.is_open_time(there_ms)
    assert timeframe.periods_between(floor_ms, there_ms) == periods
    assert timeframe.shift_ms(there_ms, -periods) == floor_ms


@given(time_ms=TIMES_MS, timeframe=TIMEFRAMES)
def test_every_moment_belongs_to_exactly_one_candle(time_ms: int, timeframe: Timeframe) -> None:
    """The last millisecond of a candle is its own; the next one is not."""
    floor_ms = timeframe.floor_ms(time_ms)
    next_ms = timeframe.shift_ms(floor_ms, 1)

    assert timeframe.floor_ms(next_ms - 1) == floor_ms
    assert timeframe.floor_ms(next_ms) == next_ms


def test_a_hundred_thousand_months_reach_beyond_any_calendar_and_back() -> None:
    """That is the most candles one may ask for, and asking must not crash anybody."""
    now_ms = parse_time_ms("2026-01-01")
    then_ms = Timeframe.MN1.shift_ms(now_ms, -100_000)

    assert Timeframe.MN1.periods_between(then_ms, now_ms) == 100_000
    assert Timeframe.MN1.shift_ms(then_ms, 100_000) == now_ms
    assert format_time_ms(then_ms) == f"{then_ms} ms"


def test_a_timeframe_is_found_by_its_usual_name() -> None:
    """Its value is its name, and the text of it."""
    assert [str(Timeframe.parse(each.value)) for each in Timeframe] == (
        ["1s", "1m", "3m", "5m", "10m", "15m", "30m", "1h", "4h", "1d", "1w", "1M"]
    )


@pytest.mark.parametrize("text", ["2m", "", "1H", "60", "1m ", "M1", "month", "1" * 10**6])
def test_an_unknown_timeframe_is_refused_with_those_there_are(text: str) -> None:
    """Case matters, and the message says so; what was asked is shown, but not a megabyte of it."""
    with pytest.raises(UnknownTimeframe, match=r"one of 1s 1m .* 1w 1M; was '.*case matters") as no:
        Timeframe.parse(text)

    assert len(str(no.value)) < 200


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_756_684_800_123, "2025-09-01T00:00:00.123Z"),
        ("2025-09-01", "2025-09-01T00:00:00Z"),
        ("2025-09-01T12:30:00", "2025-09-01T12:30:00Z"),
        ("2025-09-01 12:30:00", "2025-09-01T12:30:00Z"),
        ("2025-09-01T12:30", "2025-09-01T12:30:00Z"),
        ("2025-09-01T12:30:00Z", "2025-09-01T12:30:00Z"),
        ("2025-09-01T12:30:00+09:00", "2025-09-01T03:30:00Z"),
        ("2025-09-01T00:00:00-05:00", "2025-09-01T05:00:00Z"),
        ("2025-09-01T12:30:00.250", "2025-09-01T12:30:00.250Z"),
        (datetime(2025, 9, 1, 12), "2025-09-01T12:00:00Z"),  # noqa: DTZ001 - naive on purpose
        (datetime(2025, 9, 1, 12, tzinfo=timezone(timedelta(hours=9))), "2025-09-01T03:00:00Z"),
        ("2999-12-31T23:59:59.999Z", "2999-12-31T23:59:59.999Z"),
    ],
)
def test_a_time_may_be_written_in_each_of_these_forms(
    value: int | str | datetime, expected: str
) -> None:
    """Without a zone it is UTC, because that is what exchanges speak."""
    assert format_time_ms(parse_time_ms(value)) == expected


@pytest.fixture(params=["Asia/Seoul", "America/New_York", "UTC"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The machine's zone, set for one test."""
    monkeypatch.setitem(os.environ, "TZ", request.param)  # noqa: TID251 - the machine's own setting
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("zone")
def test_the_machines_zone_moves_nothing() -> None:
    """The same bot reads the same candles in Seoul and in New York."""
    expected_ms = 1_756_729_800_000

    assert parse_time_ms("2025-09-01T12:30:00") == expected_ms
    assert parse_time_ms(datetime(2025, 9, 1, 12, 30)) == expected_ms  # noqa: DTZ001 - on purpose
    assert format_time_ms(expected_ms) == "2025-09-01T12:30:00Z"
    assert Timeframe.D1.floor_ms(expected_ms) == parse_time_ms("2025-09-01")
    assert Timeframe.MN1.floor_ms(expected_ms) == parse_time_ms("2025-09-01")


@pytest.mark.parametrize(
    "value",
    ["", "yesterday", "2025-13-01", "2025-02-30", None, 1.5, True, [], b"2025", "x" * 10**6],
)
def test_what_is_no_time_is_refused_by_name(value: str) -> None:
    """The message says what it was for, what was wanted and what was there, all of it short."""
    wanted = r"^end must be milliseconds since 1970 or ISO 8601 text such as .*; was "
    with pytest.raises(InvalidRequest, match=wanted) as no:
        parse_time_ms(value, name="end")

    assert len(str(no.value)) < 250


@pytest.mark.parametrize(
    "value",
    [
        -1,
        32_503_680_000_000,
        "1969-12-31T23:59:59",
        "3000-01-01",
        10**30,
        pytest.param(10**9999, id="huge"),
    ],
)
def test_a_time_outside_of_all_markets_is_refused(value: int | str) -> None:
    """Seconds in place of milliseconds, or a slip of the finger; even a number nobody can print."""
    with pytest.raises(InvalidRequest, match=r"^start must lie between the years 1970 and 2999"):
        parse_time_ms(value, name="start")


@given(time_ms=st.integers(0, 32_503_679_999_999))
def test_a_time_survives_being_written_and_read(time_ms: int) -> None:
    """To the millisecond, in every year that is allowed."""
    assert parse_time_ms(format_time_ms(time_ms)) == time_ms
    assert parse_time_ms(EPOCH + timedelta(milliseconds=time_ms)) == time_ms
