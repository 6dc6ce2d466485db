"""Days of requests for candles, as bots and people make them; all from a seed.

What the days of a dozen markets are made of, in parts of their 11,000 or so requests (ten seeds, a
week each; those of one seed differ by a few parts in a hundred):

    timers     51 %   bots that sleep a fixed time between looks, so that they drift by their work
    closes     31 %   bots that react when a candle has ended, to one series or several in a row
    office     10 %   bots of both kinds, on weekdays from 09:00 to 18:00 in Seoul only
    people      4 %   at a shell: by chance, in bursts; every other begins with the same few markets
    strategies  3 %   bots of both kinds that appear in mid-day, run for hours, and vanish
    changes     2 %   a bot that goes over to another step in the middle of each day
    jobs      0.2 %   each day, or on Mondays, at a fixed time, for all markets in a row

Who sleeps is late by what its work takes, which differs from time to time, and now and then by
much more, because a network is slow.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, TypeAlias

DAY_S = 86_400.0
# How often work takes long, a candle's end is slept through, and a bot is content with older pages.
_SLOW = 0.005
_MISSED = 0.003
_PATIENT = 0.1
# How often people look at what they always look at.
_FAVOURITES = 0.5
# Seoul's working day in seconds of a day in UTC, where it begins at midnight; and when people there
# are asleep.
_OFFICE_S = 9 * 3600.0
_ASLEEP_S = (15 * 3600.0, 23 * 3600.0)
_WORKDAYS = 5
# What bots with a timer look at, by how long they sleep, and how many markets.
_TIMERS: tuple[tuple[float, tuple[str, ...], int], ...] = (
    (60, ("1m", "5m"), 1),
    (90, ("1m", "5m"), 1),
    (120, ("1m", "5m"), 2),
    (180, ("1m", "5m"), 2),
    (300, ("5m", "15m", "1h"), 2),
    (300, ("5m", "15m", "1h"), 2),
    (600, ("5m", "15m", "1h"), 2),
    (900, ("5m", "15m", "1h"), 2),
)
# What bots that react to closes look at, how often it closes, and how many markets.
_CLOSERS: tuple[tuple[str, float, int], ...] = (
    ("1m", 60, 1),
    ("3m", 180, 1),
    ("5m", 300, 3),
    ("5m", 300, 3),
    ("15m", 900, 5),
    ("1h", 3600, 6),
)

WorkloadKind: TypeAlias = Literal[
    "timers", "closes", "office", "strategies", "people", "changes", "jobs"
]
KINDS: tuple[WorkloadKind, ...] = (
    "timers",
    "closes",
    "office",
    "strategies",
    "people",
    "changes",
    "jobs",
)


class Ask(NamedTuple):
    """One request for the newest candles of a series.

    Attributes:
      at_s: When, in seconds since the workload began, which is a Monday 00:00 UTC.
      who: Who asks: one bot or person each.
      kind: What the asker is.
      market: The market.
      timeframe: The timeframe.
      depth: How many candles.
      closed: Whether only closed ones.
      max_age_s: How old the page may be that answers it, in seconds.
    """

    at_s: float
    who: str
    kind: WorkloadKind
    market: str
    timeframe: str
    depth: int
    closed: bool
    max_age_s: float


class _Look(NamedTuple):
    """What one bot asks for at a time: series one after another."""

    who: str
    kind: WorkloadKind
    series: tuple[tuple[str, str], ...]
    depth: int
    closed: bool
    max_age_s: float

    def ask(self, at_s: float, rng: random.Random) -> Iterator[Ask]:
        """Ask for each series, the next 0.1 to 0.5 s after the one before."""
        for market, timeframe in self.series:
            yield Ask(
                *(at_s, self.who, self.kind, market, timeframe),
                *(self.depth, self.closed, self.max_age_s),
            )
            at_s += rng.uniform(0.1, 0.5)


def workload(seed: int, *, days: int, markets: Sequence[str]) -> list[Ask]:
    """Return `days` days of requests, oldest first; the first day is a Monday.

    Args:
      seed: Equal seeds make equal days.
      days: How many.
      markets: What is asked for; with fewer than a dozen more requests meet on one series.
    """
    rng = random.Random(seed)  # noqa: S311 - simulation
    end_s = days * DAY_S
    asks: list[Ask] = []
    for make in (_timers, _closers, _office, _strategies, _people, _changes, _jobs):
        asks.extend(make(rng, end_s, markets))
    asks = [ask for ask in asks if 0 <= ask.at_s < end_s]
    asks.sort()
    return asks


# ------------------------------------------------------------------ steps


def _sleeper(
    look: _Look, rng: random.Random, start_s: float, end_s: float, step_s: float
) -> Iterator[Ask]:
    """Look, work, sleep; now and then the work takes long."""
    at_s, work_s = start_s, rng.uniform(0.05, 0.5)
    while at_s < end_s:
        yield from look.ask(at_s, rng)
        late_s = rng.uniform(1, 8) if rng.random() < _SLOW else rng.uniform(0, 0.2)
        at_s += step_s + work_s + late_s


def _reactor(
    look: _Look, rng: random.Random, start_s: float, end_s: float, step_s: float
) -> Iterator[Ask]:
    """Look a moment after each end of a candle; now and then one is missed."""
    after_s, spread_s = rng.uniform(0.2, 3), rng.uniform(0.05, 0.4)
    border_s = start_s // step_s * step_s + step_s
    while border_s < end_s:
        if rng.random() >= _MISSED:
            yield from look.ask(border_s + after_s + rng.uniform(0, spread_s), rng)
        border_s += step_s


def _look(
    rng: random.Random,
    who: str,
    kind: WorkloadKind,
    markets: Sequence[str],
    timeframe: str,
    most: int,
    closed: float,
) -> _Look:
    """Return what a bot looks at; `closed` is the share of bots that want closed candles only."""
    chosen = rng.sample(list(markets), min(rng.randint(1, most), len(markets)))
    return _Look(
        who,
        kind,
        tuple((market, timeframe) for market in chosen),
        rng.choice((14, 60, 100, 200)),
        rng.random() < closed,
        5.0 if rng.random() < _PATIENT else 1.0,
    )


# ------------------------------------------------------------------ askers


def _timers(rng: random.Random, end_s: float, markets: Sequence[str]) -> Iterator[Ask]:
    for bot, (step_s, timeframes, most) in enumerate(_TIMERS):
        timeframe = rng.choice(timeframes)
        look = _look(rng, f"timer {bot}", "timers", markets, timeframe, most, 0.3)
        yield from _sleeper(look, rng, rng.uniform(0, step_s), end_s, step_s)


def _closers(rng: random.Random, end_s: float, markets: Sequence[str]) -> Iterator[Ask]:
    for bot, (timeframe, step_s, most) in enumerate(_CLOSERS):
        look = _look(rng, f"closer {bot}", "closes", markets, timeframe, most, 0.5)
        yield from _reactor(look, rng, 0, end_s, step_s)


def _office(rng: random.Random, end_s: float, markets: Sequence[str]) -> Iterator[Ask]:
    for bot, (timeframe, step_s, move) in enumerate(
        (("1m", 60, _reactor), ("5m", 300, _reactor), ("15m", 120, _sleeper))
    ):
        look = _look(rng, f"office {bot}", "office", markets, timeframe, 2, 0.5)
        for day in range(int(end_s // DAY_S)):
            if day % 7 < _WORKDAYS:
                start_s = day * DAY_S + rng.uniform(0, 60)
                yield from move(look, rng, start_s, day * DAY_S + _OFFICE_S, step_s)


def _strategies(rng: random.Random, end_s: float, markets: Sequence[str]) -> Iterator[Ask]:
    for day in range(int(end_s // DAY_S)):
        for number in range(3):
            who = f"strategy {day} {number}"
            start_s = day * DAY_S + rng.uniform(0.2, 0.8) * DAY_S
            stop_s = start_s + rng.uniform(3600, 4 * 3600)
            timeframe, step_s = rng.choice((("1m", 60), ("3m", 180), ("5m", 300)))
            look = _look(rng, who, "strategies", markets, timeframe, 2, 0.5)
            yield from rng.choice((_sleeper, _reactor))(look, rng, start_s, stop_s, step_s)


def _people(rng: random.Random, end_s: float, markets: Sequence[str]) -> Iterator[Ask]:
    favourites = tuple((market, "1d") for market in rng.sample(list(markets), min(4, len(markets))))
    at_s = rng.expovariate(1 / 450)
    while at_s < end_s:
        series = favourites
        if rng.random() >= _FAVOURITES:
            frames = ("1m", "15m", "1h", "1d")
            series = tuple(
                (rng.choice(markets), rng.choice(frames)) for _ in range(rng.randint(1, 3))
            )
        yield from _Look("person", "people", series, 60, False, 1.0).ask(at_s, rng)
        asleep = _ASLEEP_S[0] <= at_s % DAY_S < _ASLEEP_S[1]
        at_s += rng.expovariate(1 / 3000 if asleep else 1 / 450)


def _changes(rng: random.Random, end_s: float, markets: Sequence[str]) -> Iterator[Ask]:
    look = _look(rng, "changing", "changes", markets, "5m", 1, 0.0)
    at_s, step_s = 0.0, 300.0
    while at_s < end_s:
        until_s = (at_s // DAY_S + rng.uniform(0.3, 0.7)) * DAY_S
        if until_s <= at_s:
            until_s += DAY_S
        yield from _sleeper(look, rng, at_s, min(until_s, end_s), step_s)
        at_s, step_s = until_s, rng.choice((240.0, 300.0, 420.0, 600.0))


def _jobs(rng: random.Random, end_s: float, markets: Sequence[str]) -> Iterator[Ask]:
    for hour, weekday in ((0.0, None), (15.25, None), (0.1, 0)):
        series = tuple((market, "1d") for market in markets[:20])
        look = _Look(f"job at {hour}", "jobs", series, 200, False, 1.0)
        for day in range(int(end_s // DAY_S)):
            if weekday is None or day % 7 == weekday:
                yield from look.ask(day * DAY_S + hour * 3600 + rng.uniform(2, 2.5), rng)
