"""What is known of one series: a value, and what does not depend on any other series."""

from __future__ import annotations

import msgspec

from actors.errors import UnknownTimeframe
from actors.preloading import habit_rules
from actors.preloading.habit_hours import HOURS, hour_of, mark, no_hours
from actors.preloading.habit_values import SETTLE_MS, Asked, Rule, SeriesKey
from actors.timeframes import Timeframe


class SeriesHabits(msgspec.Struct, array_like=True, eq=False):
    """What is known of one series.

    Attributes:
      key: The series.
      candle_ms: How long a candle lasts; 0 if that is not known, or not always the same.
      hour: The last hour that stands in `hours`.
      hours: At which hours of the week it is asked for.
      times: When it was asked for and nothing explained it, oldest first.
      rules: What is expected of it by itself.
      followers: What is expected after it, by the series that follows.
      paged_ms: When a page was asked for last, had nothing been fetched ahead.
    """

    key: SeriesKey
    candle_ms: int
    hour: int
    hours: bytearray = msgspec.field(default_factory=no_hours)
    times: list[int] = msgspec.field(default_factory=list)
    rules: list[Rule] = msgspec.field(default_factory=list)
    followers: dict[SeriesKey, list[Rule]] = msgspec.field(default_factory=dict)
    paged_ms: int = 0

    def all_rules(self) -> list[Rule]:
        """Return its own rules and those of what follows it."""
        return [*self.rules, *(rule for rules in self.followers.values() for rule in rules)]


def new_series(key: SeriesKey, at_ms: int) -> SeriesHabits:
    """Return what is known of a series when it is asked for the first time."""
    try:
        timeframe = Timeframe.parse(key[1])
    except UnknownTimeframe:
        candle_ms = 0
    else:
        # Months are not all as long.
        candle_ms = 0 if timeframe is Timeframe.MN1 else timeframe.span_ms
    return SeriesHabits(key, candle_ms, hour_of(at_ms) - 1)


def mark_hours(series: SeriesHabits, at_ms: int, *, watched_ms: int) -> None:
    """Take note of the hours up to the one in which a series is asked for.

    Args:
      series: The series.
      at_ms: When it is asked for.
      watched_ms: Since when somebody has been looking: of an hour before that nothing is known.
    """
    hour = hour_of(at_ms)
    if hour == series.hour:
        return
    for quiet in range(max(series.hour, hour_of(watched_ms), hour - HOURS) + 1, hour):
        mark(series.hours, quiet, active=False)
    mark(series.hours, hour, active=True)
    series.hour = hour


def is_settled(series: SeriesHabits, at_ms: int, *, closed: bool) -> bool:
    """Return whether a page that is made now serves until the next candle ends."""
    if not closed or series.candle_ms <= SETTLE_MS:
        return False
    return at_ms - habit_rules.floor_ms(at_ms, series.candle_ms) >= SETTLE_MS


def is_served(series: SeriesHabits, asked: Asked) -> bool:
    """Return whether memory would have what is asked for, had nothing been fetched ahead."""
    if asked.settled:
        border_ms = habit_rules.floor_ms(asked.at_ms, series.candle_ms)
        if series.paged_ms >= border_ms + SETTLE_MS:
            return True
    return asked.at_ms - series.paged_ms <= asked.max_age_ms
