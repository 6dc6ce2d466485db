"""What habits are told and what they tell: requests, rules that were found, predictions."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple, TypeAlias

import msgspec

# Market and timeframe, as text.
SeriesKey: TypeAlias = tuple[str, str]

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
WEEK_MS = 7 * DAY_MS
# The epoch was a Thursday; weeks begin on the Monday after it.
MONDAY_MS = 4 * DAY_MS

# From asking for a page to having it: what a page is asked for ahead of the request it is for.
PAGE_MS = 100
# A page that is made so long after the end of a candle proves it.
SETTLE_MS = 5_000

# Nobody was looking if what should have been noticed so long ago was not.
LOOKED_MS = 5 * MINUTE_MS
# What is less likely is not told.
CHANCE_MIN = 0.2
# Newest lags kept of each rule, and of one that says what follows what: of those there are more.
LAGS_MAX = 16
FOLLOWER_LAGS_MAX = 8
# What one occurrence counts in a record: whole numbers, because they are written down shorter.
ONE = 1_000


class Kind(IntEnum):
    """What a rule says: after a time of its own, by the clock, in each candle, or after another."""

    TIMER = 0
    CLOCK = 1
    CANDLE = 2
    AFTER = 3


class Asked(NamedTuple):
    """One request for the newest candles of a series.

    Attributes:
      key: The series.
      at_ms: When, on the exchange's clock.
      depth: How many candles.
      closed: Whether only closed candles are wanted.
      max_age_ms: How old the page may be that answers it.
      settled: Whether it is for closed candles and comes when the last of them can be proven, so
        that one page serves it and all others until the next candle ends.
    """

    key: SeriesKey
    at_ms: int
    depth: int
    closed: bool
    max_age_ms: int
    settled: bool


class Rule(msgspec.Struct, array_like=True, eq=False):
    """Something that repeated, what came of it, and when it is expected next.

    A request is expected at `base_ms` plus one of `lags`.

    Attributes:
      kind: What it says.
      key: The series that it expects a request of.
      span_ms: The time between two occurrences; 0 after another series.
      offset_ms: How long after the clock's border; 0 where there is none.
      source: The series that it follows, if it does.
      before: The series that must have come before that one, if there is one.
      lags: By how much the newest requests differed from what was expected, in milliseconds.
      low_ms: The least of those lags that one page can serve together.
      high_ms: The greatest of them.
      near_ms: The least lag by which a request is still taken for the one expected.
      far_ms: The greatest.
      share: What part of all lags they are, 0 to 1.
      record: Came true and was expected, alternating, for each situation; in parts of `ONE`.
      came: Whether it came true the last time.
      missed: How often it has not in a row.
      depth: How many candles were asked for last.
      closed: Whether closed candles were asked for last.
      settled: Whether a page serves it until the next candle ends.
      max_age_ms: How old the page might have been.
      base_ms: What it counts from now; 0 if it expects nothing.
      due_ms: When the page must be there.
      until_ms: Till when the page serves.
      from_ms: A page asked for at or after this moment serves.
      chance: How likely that is, 0 to 1.
      situation: Which part of the record that is for.
      turn: Tells what it expects now from what it expected before.
      said: Whether it has been told.
    """

    kind: int
    key: SeriesKey
    span_ms: int = 0
    offset_ms: int = 0
    source: SeriesKey | None = None
    before: SeriesKey | None = None
    lags: list[int] = msgspec.field(default_factory=list)
    low_ms: int = 0
    high_ms: int = 0
    near_ms: int = 0
    far_ms: int = 0
    share: float = 0.0
    record: list[int] = msgspec.field(default_factory=list)
    came: bool = True
    missed: int = 0
    depth: int = 1
    closed: bool = False
    settled: bool = False
    max_age_ms: int = 0
    base_ms: int = 0
    due_ms: int = 0
    until_ms: int = 0
    from_ms: int = 0
    chance: float = 0.0
    situation: int = 0
    turn: int = 0
    said: bool = False


class Prediction(msgspec.Struct, frozen=True):
    """A request that is expected. No dataclass, because that takes five times as long to make.

    Attributes:
      key: The series.
      due_ms: When the page must be there, in UTC milliseconds of the exchange's clock.
      until_ms: Till when it serves, if it is asked for `PAGE_MS` before it is due.
      from_ms: A page that was asked for at or after this moment serves as well, and one that was
        asked for before it does not.
      probability: How likely the request comes in that time, given that it did not come before it;
        0 to 1.
      depth: How many candles it will be for.
      closed: Whether it will be for closed candles only.
      rule: What says so; its inside is the business of habits.
      turn: Which of that rule's predictions it is.
    """

    key: SeriesKey
    due_ms: int
    until_ms: int
    from_ms: int
    probability: float
    depth: int
    closed: bool
    rule: Rule
    turn: int

    @property
    def why(self) -> str:
        """Return the habit in words."""
        return why(self.rule)

    @property
    def stands(self) -> bool:
        """Return whether the request may still come as expected; `Habits.stands` knows more."""
        return self.rule.turn == self.turn and self.rule.base_ms > 0


# ------------------------------------------------------------------ words

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def why(rule: Rule) -> str:
    """Return the habit in words."""
    if rule.kind == Kind.TIMER:
        return f"every {_length(rule.span_ms + rule.low_ms)} since the last"
    if rule.kind == Kind.CANDLE:
        return f"once in each candle of {_length(rule.span_ms)}"
    if rule.kind == Kind.AFTER:
        source = " ".join(rule.source or ())
        before = f", which came after {' '.join(rule.before)}" if rule.before else ""
        return f"{rule.low_ms / 1000:.1f} s after {source}{before}"
    after_ms = rule.offset_ms + rule.low_ms
    if rule.span_ms >= DAY_MS:
        moment_ms = (after_ms // 1000) % 86_400
        text = f"{moment_ms // 3600:02}:{moment_ms // 60 % 60:02}:{moment_ms % 60:02} UTC"
        day = f"each {_DAYS[after_ms // DAY_MS % 7]}" if rule.span_ms == WEEK_MS else "each day"
        return f"{day} at {text}"
    return f"every {_length(rule.span_ms)}, {after_ms / 1000:.1f} s after the border"


def _length(span_ms: int) -> str:
    for unit_ms, name in ((DAY_MS, "d"), (HOUR_MS, "h"), (MINUTE_MS, "min")):
        if span_ms >= unit_ms and span_ms % unit_ms == 0:
            return f"{span_ms // unit_ms} {name}"
    return f"{span_ms / 1000:.1f} s"
