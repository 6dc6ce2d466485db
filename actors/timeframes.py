"""Timeframes: how long a candle lasts and when it opens. Times are UTC milliseconds.

Weeks open on Monday and months on the first, both at 00:00 UTC; the other timeframes divide the
day. All arithmetic is on integers, so no daylight saving and no machine zone can move a border.
"""

from __future__ import annotations

import enum
from datetime import UTC, datetime, timedelta

from actors.errors import InvalidRequest, UnknownTimeframe

_SECOND_MS = 1_000
_MINUTE_MS = 60 * _SECOND_MS
_HOUR_MS = 60 * _MINUTE_MS
_DAY_MS = 24 * _HOUR_MS
_WEEK_MS = 7 * _DAY_MS
# The epoch was a Thursday; the first Monday after it came four days later.
_FIRST_MONDAY_MS = 4 * _DAY_MS
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEAR_3000_MS = 32_503_680_000_000
# As milliseconds this is in 1973, as seconds in 5138.
_SECONDS_END = 100_000_000_000


class Timeframe(enum.StrEnum):
    """How long one candle lasts. The value is its usual name: `1m` is a minute, `1M` a month."""

    S1 = "1s"
    M1 = "1m"
    M3 = "3m"
    M5 = "5m"
    M10 = "10m"
    M15 = "15m"
    M30 = "30m"
    H1 = "1h"
    H4 = "4h"
    D1 = "1d"
    W1 = "1w"
    MN1 = "1M"

    @classmethod
    def parse(cls, text: str) -> Timeframe:
        """Return the timeframe called `text`.

        Raises:
          UnknownTimeframe: There is none of that name; the message lists those there are.
        """
        try:
            return cls(text)
        except ValueError:
            known = " ".join(member.value for member in cls)
            raise UnknownTimeframe(
                f"timeframe must be one of {known}; was {_shown(text)} (case matters: 1m is a "
                "minute, 1M a month)"
            ) from None

    @property
    def span_ms(self) -> int:
        """Return the nominal length in milliseconds; a month counts as 30 days."""
        return _SPANS_MS[self]

    def floor_ms(self, time_ms: int) -> int:
        """Return the opening time of the candle that `time_ms` falls into."""
        if self is Timeframe.MN1:
            return _month_open_ms(_month_of(time_ms))
        if self is Timeframe.W1:
            return (time_ms - _FIRST_MONDAY_MS) // _WEEK_MS * _WEEK_MS + _FIRST_MONDAY_MS
        span_ms = _SPANS_MS[self]
        return time_ms // span_ms * span_ms

    def ceil_ms(self, time_ms: int) -> int:
        """Return the first opening time at or after `time_ms`."""
        floor_ms = self.floor_ms(time_ms)
        return floor_ms if floor_ms == time_ms else self.shift_ms(floor_ms, 1)

    def shift_ms(self, open_time_ms: int, periods: int) -> int:
        """Return the opening time `periods` candles after `open_time_ms`; before it if negative."""
        if self is Timeframe.MN1:
            return _month_open_ms(_month_of(open_time_ms) + periods)
        return open_time_ms + periods * _SPANS_MS[self]

    def is_open_time(self, time_ms: int) -> bool:
        """Return whether a candle of this timeframe opens at `time_ms`."""
        return self.floor_ms(time_ms) == time_ms

    def periods_between(self, start_ms: int, end_ms: int) -> int:
        """Return how many candles open in [start_ms, end_ms); both must be opening times."""
        if self is Timeframe.MN1:
            return _month_of(end_ms) - _month_of(start_ms)
        return (end_ms - start_ms) // _SPANS_MS[self]


_SPANS_MS = {
    Timeframe.S1: _SECOND_MS,
    Timeframe.M1: _MINUTE_MS,
    Timeframe.M3: 3 * _MINUTE_MS,
    Timeframe.M5: 5 * _MINUTE_MS,
    Timeframe.M10: 10 * _MINUTE_MS,
    Timeframe.M15: 15 * _MINUTE_MS,
    Timeframe.M30: 30 * _MINUTE_MS,
    Timeframe.H1: _HOUR_MS,
    Timeframe.H4: 4 * _HOUR_MS,
    Timeframe.D1: _DAY_MS,
    Timeframe.W1: _WEEK_MS,
    Timeframe.MN1: 30 * _DAY_MS,
}


# Months are counted from March of the year 0, so that a leap day ends a year instead of splitting
# it. `datetime` would do the same, but only for the years 1 to 9999, and a count of 100000 months
# reaches beyond them. The Gregorian calendar repeats every 400 years.
_MARCH_0_DAYS = -719_468
_DAYS_400_YEARS = 146_097
_MONTHS_400_YEARS = 4_800


def _month_open_ms(month: int) -> int:
    cycle, in_cycle = divmod(month, _MONTHS_400_YEARS)
    year, from_march = divmod(in_cycle, 12)
    # Months of 31 30 31 30 31 days, twice and a bit: 153 days in each five of them.
    days = year * 365 + year // 4 - year // 100 + (153 * from_march + 2) // 5
    return (_MARCH_0_DAYS + cycle * _DAYS_400_YEARS + days) * _DAY_MS


def _month_of(time_ms: int) -> int:
    days = time_ms // _DAY_MS - _MARCH_0_DAYS
    # Never more than one month off, whatever the lengths of the months in between.
    month = days * _MONTHS_400_YEARS // _DAYS_400_YEARS
    while _month_open_ms(month + 1) <= time_ms:
        month += 1
    while _month_open_ms(month) > time_ms:
        month -= 1
    return month


def parse_time_ms(value: int | str | datetime, *, name: str = "time") -> int:
    """Return `value` as UTC milliseconds since the epoch.

    Args:
      value: Milliseconds; or ISO 8601 text such as `2025-09-01T00:00:00`, with a space for the T,
        as a date alone, with `Z` or an offset; or a datetime. Without a zone it is UTC.
      name: What the value is for, used in the error.

    Raises:
      InvalidRequest: It is none of these, lies outside the years 1970 to 2999, or is a number so
        small that seconds must be meant: no exchange has candles of 1973.
    """
    try:
        if isinstance(value, bool):
            raise TypeError  # noqa: TRY301 - a bool is an int to Python and a mistake to us
        if isinstance(value, int):
            time_ms = value
        else:
            moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            time_ms = round(moment.timestamp() * 1000)
    except (TypeError, ValueError, OverflowError):
        raise InvalidRequest(
            f"{name} must be milliseconds since 1970 or ISO 8601 text such as "
            f"2025-09-01T00:00:00Z; was {_shown(value)}"
        ) from None
    if isinstance(value, int) and 0 < value < _SECONDS_END:
        raise InvalidRequest(f"{name} must be milliseconds since 1970; {value} looks like seconds")
    if not 0 <= time_ms < _YEAR_3000_MS:
        raise InvalidRequest(
            f"{name} must lie between the years 1970 and 2999; was {_shown(value)}"
        )
    return time_ms


def _shown(value: object) -> str:
    """Return `value` short enough for an error: it may be anything, from anywhere."""
    try:
        return f"{value!r:.60}"
    except ValueError:
        # Python does not write out a number of thousands of digits.
        return "a huge number"


def format_time_ms(time_ms: int) -> str:
    """Return `time_ms` as ISO 8601 text in UTC, to the second (to the millisecond if not whole).

    Outside the years 1 to 9999, which that text cannot name, the bare number is returned.
    """
    try:
        # Whole milliseconds, never a float: it would be off by one in some years.
        moment = _EPOCH + timedelta(milliseconds=time_ms)
    except OverflowError:
        return f"{time_ms} ms"
    spec = "seconds" if time_ms % 1000 == 0 else "milliseconds"
    return moment.isoformat(timespec=spec).replace("+00:00", "Z")
