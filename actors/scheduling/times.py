"""When a job runs: by interval, or by cron expression in a time zone. Plain values.

Cron is as Debian's: where both the day of month and the day of week are named, either will do. The
hours decide what becomes of the hour that a zone skips or repeats. With named hours each time of
the day comes once: one that is skipped comes as soon as the gap is over, and one that is repeated
comes the first time. With `*` or `*/n` hours it goes by elapsed time, as an interval does.

Source: crontab(5) of Debian, section on daylight saving time; the fields are read by cronsim.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from actors.errors import InvalidRequest

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_MINUTE = timedelta(minutes=1)
_TEXT_CHARS_MAX = 100
# Each field: its name, its numbers, and how many different values it has.
_FIELDS = (
    ("minute", "0 to 59", 60),
    ("hour", "0 to 23", 24),
    ("day of month", "1 to 31", 31),
    ("month", "1 to 12 or JAN to DEC", 12),
    ("day of week", "0 to 7 or SUN to SAT", 7),
)


class Schedule(Protocol):
    """When something is due."""

    def next_ms(self, after_ms: int) -> int:
        """Return the first moment after `after_ms`; both UTC milliseconds."""


@dataclass(frozen=True, slots=True)
class Every:
    """Due each time that a whole number of `span_ms` has passed since the epoch."""

    span_ms: int

    def next_ms(self, after_ms: int) -> int:
        """Return the first moment after `after_ms`."""
        return (after_ms // self.span_ms + 1) * self.span_ms


@dataclass(frozen=True, slots=True)
class Cron:
    """Due whenever a cron expression says so; made by `parse_cron`.

    Attributes:
      expression: Five fields, apart by single spaces.
      zone: In which they are meant.
    """

    expression: str
    zone: ZoneInfo

    def next_ms(self, after_ms: int) -> int:
        """Return the first moment after `after_ms`.

        Raises:
          InvalidRequest: It does not come in the next 50 years.
        """
        after = (_EPOCH + timedelta(milliseconds=after_ms)).astimezone(self.zone)
        if self.expression.split()[1].startswith("*"):
            for moment in CronSim(self.expression, after):
                return _ms(moment)
        else:
            # What the clock on the wall shows, and only then what moment that is: so each time of
            # the day is met once, however the zone is turned.
            for shown in CronSim(self.expression, after.replace(tzinfo=None)):
                moment_ms = _ms(self._first(shown))
                if moment_ms > after_ms:
                    return moment_ms
        raise _never(self.expression)

    def _first(self, shown: datetime) -> datetime:
        """Return the first moment at which a clock of the zone shows `shown`, or is past it."""
        moment = shown.replace(tzinfo=self.zone, fold=0)
        while moment.astimezone(UTC).astimezone(self.zone).replace(tzinfo=None) != shown:
            shown += _MINUTE
            moment = shown.replace(tzinfo=self.zone, fold=0)
        return moment


def parse_cron(expression: str, timezone: str) -> Cron:
    """Return the schedule that an expression means.

    Args:
      expression: Minute, hour, day of month, month, day of week: numbers, `*`, ranges, lists,
        steps, names of months and days, `L` for the last, `MON#2` for the second Monday.
      timezone: A name of the IANA database.

    Raises:
      InvalidRequest: One of them is none; the message says which.
    """
    fields = expression[:_TEXT_CHARS_MAX].split()
    if len(fields) != len(_FIELDS) or len(expression) > _TEXT_CHARS_MAX:
        raise InvalidRequest(
            "cron must be five fields (minute, hour, day of month, month, day of week), such as "
            f"'5 0 * * *'; was {expression[:_TEXT_CHARS_MAX]!r}"
        )
    cron = Cron(" ".join(fields), _zone(timezone))
    for place, (name, numbers, values) in enumerate(_FIELDS):
        wrong = _wrong(fields[place], place, numbers, values)
        if wrong:
            raise InvalidRequest(f"cron {cron.expression!r} cannot be read: {name} {wrong}")
    if not _is_read(cron.expression):
        # Each field by itself is right: no month that is named has that day.
        raise _never(cron.expression)
    return cron


def next_times_ms(schedule: Schedule, after_ms: int, count: int) -> tuple[int, ...]:
    """Return the next `count` moments after `after_ms`, in UTC milliseconds."""
    times: list[int] = []
    for _ in range(count):
        after_ms = schedule.next_ms(after_ms)
        times.append(after_ms)
    return tuple(times)


def _wrong(field: str, place: int, numbers: str, values: int) -> str:
    """Return what is wrong with the field at `place`, after its name; empty if nothing is."""
    if not _is_read(" ".join(["*"] * place + [field] + ["*"] * (len(_FIELDS) - 1 - place))):
        return f"must be of {numbers}: numbers, ranges, lists or steps; was {field!r}"
    steps = [int(term.partition("/")[2]) for term in field.split(",") if "/" in term]
    if max(steps, default=1) > values:
        # Only the first value would be left, which is not what somebody means who writes */90.
        return f"must have steps of at most {values}, was {field!r}"
    return ""


def _is_read(expression: str) -> bool:
    try:
        CronSim(expression, _EPOCH)
    except CronSimError:
        return False
    return True


def _never(expression: str) -> InvalidRequest:
    return InvalidRequest(f"cron {expression!r} never comes: name a day that exists")


def _zone(timezone: str) -> ZoneInfo:
    try:
        return ZoneInfo(timezone[:_TEXT_CHARS_MAX])
    except (KeyError, ValueError, OSError):
        # The name of a folder of zones is an error of the file system.
        raise InvalidRequest(
            "timezone must be a name such as UTC, Asia/Seoul or Europe/Berlin; was "
            f"{timezone[:_TEXT_CHARS_MAX]!r}"
        ) from None


def _ms(moment: datetime) -> int:
    return (moment.astimezone(UTC) - _EPOCH) // _MILLISECOND
