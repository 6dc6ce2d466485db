"""What befalls requests on their way: delays, losses, and callers who go away. Seeded.

The way there and the way back are drawn apart, so requests overtake each other both ways.
"""

from __future__ import annotations

import enum
import math
import random
from collections.abc import Callable
from dataclasses import dataclass

# What latencies may be, each way, in seconds. The upper bound is also how long the limiter takes a
# request to be under way that nobody heard of again (`SlotRules.transit_s`).
FASTEST_S = 0.001
SLOWEST_S = 2.0

Delay = Callable[[random.Random], float]
"""Draws how long one way takes, in seconds."""


def constant(round_trip_s: float) -> Delay:
    """Return a delay that is always half of `round_trip_s`."""
    return lambda _rng: round_trip_s / 2


def anything(rng: random.Random) -> float:
    """Draw from the whole range, each power of two as often as any other."""
    return math.exp(rng.uniform(math.log(FASTEST_S), math.log(SLOWEST_S)))


def heavy_tailed(median_s: float, spread: float = 1.0) -> Delay:
    """Return a delay that is near its median mostly, and now and then many times as long."""
    low, high = FASTEST_S, SLOWEST_S
    return lambda rng: min(high, max(low, rng.lognormvariate(math.log(median_s), spread)))


def steps(rng: random.Random) -> float:
    """Draw the best or the worst there is: queues in the network empty all at once."""
    return FASTEST_S if rng.random() < 0.5 else SLOWEST_S  # noqa: PLR2004 - a fair coin


class Fate(enum.Enum):
    """What becomes of a request."""

    ANSWERED = "answered"
    NEVER_SENT = "never sent"
    LOST_THERE = "lost on the way there"
    LOST_BACK = "lost on the way back"
    IMPATIENT = "its caller goes before there is a permit"
    CANCELLED = "its caller goes after it was sent"
    FORGOTTEN = "nobody ever gives its permit back"


@dataclass(frozen=True, slots=True)
class Trip:
    """What befalls one request.

    Attributes:
      there_s: How long it is under way to the server, in seconds.
      back_s: How long its answer is under way.
      fate: What becomes of it.
      patience_s: When its caller goes: since asking for a permit if impatient, since sending if
        cancelled; in seconds.
    """

    there_s: float
    back_s: float
    fate: Fate = Fate.ANSWERED
    patience_s: float = math.inf

    @property
    def stays_s(self) -> float:
        """Return how long after sending its caller waits for the answer."""
        return self.patience_s if self.fate is Fate.CANCELLED else math.inf


@dataclass(frozen=True, slots=True)
class Journey:
    """What may befall requests.

    Attributes:
      there: How long the way to the server takes.
      back: How long the way back takes.
      fates: What may go wrong, each with its probability.
    """

    there: Delay
    back: Delay
    fates: tuple[tuple[Fate, float], ...] = ()

    def trip(self, rng: random.Random) -> Trip:
        """Draw what befalls one request."""
        there_s, back_s = self.there(rng), self.back(rng)
        fate = self._fate(rng) if self.fates else Fate.ANSWERED
        if fate is Fate.CANCELLED:
            # As often before it was counted as after.
            before = rng.random() < 0.5  # noqa: PLR2004 - a fair coin
            patience_s = rng.uniform(0, there_s) if before else there_s + rng.uniform(0, back_s)
        elif fate is Fate.IMPATIENT:
            patience_s = rng.expovariate(1.0)
        else:
            patience_s = math.inf
        return Trip(there_s, back_s, fate, patience_s)

    def _fate(self, rng: random.Random) -> Fate:
        draw = rng.random()
        for fate, probability in self.fates:
            draw -= probability
            if draw < 0:
                return fate
        return Fate.ANSWERED


def steady(round_trip_s: float) -> Journey:
    """Return journeys of constant length on which nothing happens."""
    return Journey(constant(round_trip_s), constant(round_trip_s))


# A bad day: one request in four comes to nothing, in every way there is.
TROUBLE: tuple[tuple[Fate, float], ...] = (
    (Fate.IMPATIENT, 0.08),
    (Fate.CANCELLED, 0.08),
    (Fate.NEVER_SENT, 0.03),
    (Fate.LOST_THERE, 0.02),
    (Fate.LOST_BACK, 0.02),
    (Fate.FORGOTTEN, 0.005),
)
