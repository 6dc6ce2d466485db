"""When jobs are due: every time of a day once, whatever its zone does to the clock."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import InvalidRequest
from actors.scheduling.times import Every, next_times_ms, parse_cron

ZONES = ("Asia/Seoul", "Europe/Berlin", "America/New_York")
START_MS = 1_735_689_600_000  # 2025-01-01
END_MS = START_MS + 3 * 366 * 86_400_000
HOUR_MS = 3_600_000

moments = st.integers(START_MS, END_MS)


def at(text: str, zone: str = "UTC") -> int:
    """Return a moment as a clock of the zone shows it, in UTC milliseconds."""
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def shown(time_ms: int, zone: str) -> str:
    """Return what a clock of the zone shows, with its distance from UTC."""
    moment = datetime.fromtimestamp(time_ms / 1000, UTC).astimezone(ZoneInfo(zone))
    return moment.strftime("%m-%d %H:%M%z")


@given(every_ms=st.integers(1_000, 31 * 86_400_000), after_ms=moments)
def test_an_interval_is_counted_from_the_epoch(every_ms: int, after_ms: int) -> None:
    """So that it is the same after a restart, and an hourly job runs on the hour."""
    due_ms = Every(every_ms).next_ms(after_ms)
    assert after_ms < due_ms <= after_ms + every_ms
    assert due_ms % every_ms == 0


@settings(max_examples=30)
@given(
    zone=st.sampled_from(ZONES),
    hour=st.integers(0, 23),
    minute=st.integers(0, 59),
    after_ms=moments,
)
def test_a_time_of_the_day_comes_once_a_day(
    zone: str, hour: int, minute: int, after_ms: int
) -> None:
    """Also on the day on which it is skipped, and on the one on which it comes twice."""
    cron = parse_cron(f"{minute} {hour} * * *", zone)
    times = next_times_ms(cron, after_ms, 400)
    days = [datetime.fromtimestamp(each / 1000, UTC).astimezone(ZoneInfo(zone)) for each in times]
    assert [each.date() - days[0].date() for each in days] == [
        timedelta(days=number) for number in range(400)
    ]
    late = [each for each in days if (each.hour, each.minute) != (hour, minute)]
    # A skipped one comes when the gap is over, once a year.
    assert len(late) <= 2
    assert all((each.hour, each.minute) == (3, 0) for each in late)


@given(zone=st.sampled_from(ZONES), after_ms=moments)
def test_an_hourly_time_comes_each_hour_that_passes(zone: str, after_ms: int) -> None:
    """With `*` for the hours it is an interval: none is skipped when a clock is turned."""
    times = next_times_ms(parse_cron("30 * * * *", zone), after_ms, 100)
    assert times[0] <= after_ms + HOUR_MS
    assert all(later - earlier == HOUR_MS for earlier, later in itertools.pairwise(times))


@given(
    zone=st.sampled_from(ZONES),
    expression=st.sampled_from(
        ("5 0 * * *", "*/15 2 * * *", "30 1-3 * * *", "0 */6 * * *", "15 3 * * SUN", "0 0 1 * *")
    ),
    after_ms=moments,
    share=st.floats(0, 1),
)
def test_the_next_moment_stays_the_next_until_it_has_come(
    zone: str, expression: str, after_ms: int, share: float
) -> None:
    """However often it is looked up: looking changes nothing."""
    cron = parse_cron(expression, zone)
    due_ms = cron.next_ms(after_ms)
    assert due_ms > after_ms
    between_ms = after_ms + int((due_ms - 1 - after_ms) * share)
    assert cron.next_ms(between_ms) == due_ms


@pytest.mark.parametrize(
    ("expression", "zone", "after", "wanted"),
    [
        # Clocks are turned from 02:00 to 03:00 on March 30, and from 03:00 to 02:00 on October 26.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2025-03-29T12:00",
            ["03-30 03:00+0200", "03-31 02:30+0200"],
        ),
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2025-10-25T12:00",
            ["10-26 02:30+0200", "10-27 02:30+0100"],
        ),
        (
            "*/30 2 * * *",
            "Europe/Berlin",
            "2025-03-30T00:00",
            ["03-30 03:00+0200", "03-31 02:00+0200"],
        ),
        (
            "*/30 * * * *",
            "Europe/Berlin",
            "2025-10-26T02:40",
            ["10-26 02:00+0100", "10-26 02:30+0100"],
        ),
        (
            "30 2 * * *",
            "America/New_York",
            "2025-03-09T00:00",
            ["03-09 03:00-0400", "03-10 02:30-0400"],
        ),
        (
            "30 1 * * *",
            "America/New_York",
            "2025-11-02T00:00",
            ["11-02 01:30-0400", "11-03 01:30-0500"],
        ),
        ("5 0 * * *", "Asia/Seoul", "2025-03-30T00:00", ["03-30 00:05+0900", "03-31 00:05+0900"]),
        (
            "0 9 * * MON#1",
            "Asia/Seoul",
            "2025-03-01T00:00",
            ["03-03 09:00+0900", "04-07 09:00+0900"],
        ),
    ],
)
def test_turned_clocks(expression: str, zone: str, after: str, wanted: list[str]) -> None:
    """The days of which everybody asks, as a clock of the zone shows them."""
    times = next_times_ms(parse_cron(expression, zone), at(after, zone), 2)
    assert [shown(each, zone) for each in times] == wanted


def test_in_utc_a_day_has_every_minute_that_is_named() -> None:
    """Against the plainest reading of the fields."""
    times = next_times_ms(parse_cron("*/20 1,5 * * *", "UTC"), at("2025-06-01T00:00"), 12)
    days = Counter(datetime.fromtimestamp(each / 1000, UTC).date() for each in times)
    assert days == {date(2025, 6, 1): 6, date(2025, 6, 2): 6}
    assert [shown(each, "UTC")[6:11] for each in times[:6]] == [
        "01:00",
        "01:20",
        "01:40",
        "05:00",
        "05:20",
        "05:40",
    ]


@pytest.mark.parametrize("expression", ["", "* * * *", "0 * * * * *", "@daily", "5 0 * * * " * 30])
def test_an_expression_of_other_than_five_fields_is_refused(expression: str) -> None:
    """Some take six, with seconds first or last: nobody should have to guess."""
    with pytest.raises(InvalidRequest, match="cron must be five fields"):
        parse_cron(expression, "UTC")


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("61 0 * * *", "minute must be of 0 to 59: numbers, ranges, lists or steps; was '61'"),
        ("x 0 * * *", "minute must be of 0 to 59: numbers, ranges, lists or steps; was 'x'"),
        ("0 24 * * *", "hour must be of 0 to 23: .*; was '24'"),
        ("0 0 1-32 * *", "day of month must be of 1 to 31: .*; was '1-32'"),
        ("0 0 1 0 *", "month must be of 1 to 12 or JAN to DEC: .*; was '0'"),
        ("0 0 * * SONNTAG", "day of week must be of 0 to 7 or SUN to SAT: .*; was 'SONNTAG'"),
        ("*/70 * * * *", r"minute must have steps of at most 60, was '\*/70'"),
        ("5,10-50/61 * * * *", "minute must have steps of at most 60, was '5,10-50/61'"),
        ("0 */25 * * *", r"hour must have steps of at most 24, was '\*/25'"),
        ("0 0 */32 * *", r"day of month must have steps of at most 31, was '\*/32'"),
        ("0 0 1 */13 *", r"month must have steps of at most 12, was '\*/13'"),
        ("0 0 * * */8", r"day of week must have steps of at most 7, was '\*/8'"),
    ],
)
def test_a_field_that_is_wrong_is_named(expression: str, message: str) -> None:
    """With what was wanted; a step longer than the field would come once, whatever it says."""
    with pytest.raises(InvalidRequest, match=rf"cron '.*' cannot be read: {message}"):
        parse_cron(expression, "UTC")


@pytest.mark.parametrize("expression", ["0 0 31 2 *", "0 0 31 4 *", "0 0 31 APR,JUN *"])
def test_a_day_that_its_months_do_not_have_is_named(expression: str) -> None:
    """No field is wrong by itself."""
    with pytest.raises(InvalidRequest, match=f"cron '{re.escape(expression)}' never comes: name a"):
        parse_cron(expression, "UTC")


def test_a_step_as_long_as_its_field_is_taken() -> None:
    """Every sixty minutes is every hour."""
    times = next_times_ms(parse_cron("*/60 * * * *", "UTC"), START_MS, 3)
    assert [each - START_MS for each in times] == [HOUR_MS, 2 * HOUR_MS, 3 * HOUR_MS]


@given(fields=st.lists(st.text("0123456789*/,-LW#SUNMOJAN", min_size=1), min_size=5, max_size=5))
def test_whatever_is_written_is_read_or_refused(fields: list[str]) -> None:
    """Never a defect of ours: it may come from the socket."""
    try:
        cron = parse_cron(" ".join(fields), "Europe/Berlin")
        assert cron.next_ms(START_MS) > START_MS
    except InvalidRequest as error:
        assert "cron" in str(error)  # noqa: PT017 - either is right


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "Europe", "../UTC", "/etc/passwd", "x" * 500])
def test_a_zone_that_does_not_exist_is_refused(zone: str) -> None:
    """Nor does a name lead out of the folder of zones."""
    with pytest.raises(InvalidRequest, match="timezone must be a name such as UTC"):
        parse_cron("5 0 * * *", zone)
