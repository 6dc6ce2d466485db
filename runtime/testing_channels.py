"""Bots that ask for quotes, streams that break, and an oracle that answers in the cheapest way.

Simulated time, no network, all made from a seed. The oracle is told every question, every update
and every break beforehand. For each key it finds the cheapest way to answer all questions as fresh
as they ask, by dynamic programming over when to have the stream, and of equally cheap answers it
takes the freshest. What it pays for:

- a request costs one slot of its group; where others use most of the group, up to five;
- subscribing costs one text, and so does letting go, because every change of the set is one; all
  that is wanted after a reconnect is one text together, and not counted;
- a stream costs `CARRY` slots a second: its frames are received and decoded whether anybody asks or
  not;
- answers from memory and from a stream that is there cost nothing; being fresher than was asked is
  worth nothing.

It may not let go and subscribe anew between two questions: the snapshot would be an answer, but
that is asking in another way, and only 100 texts a minute are allowed.

It may subscribe before the first question of a stretch, which nobody can who does not know it.
"""

from __future__ import annotations

import bisect
import math
import random
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from actors.exchanges.streams import StreamKey, StreamKind

HOURS = 1
END_S = HOURS * 3600.0
MARKETS = 30
KINDS: tuple[StreamKind, ...] = ("ticker", "orderbook", "trade")
USUAL_AGE_S = 0.5
DEPTH = 15

# What things cost, in slots.
CARRY = 0.02
SUBSCRIBE = 1.0
LET_GO = 1.0
DEAREST = 5.0
# From a wish to the first snapshot; and how the feed notices what is wrong.
CONFIRM_S = 0.3
PING_S = 10.0
DEAD_S = 25.0
SILENT_S = 60.0

Channel = Literal["stream", "memory", "request"]
CHANNELS: tuple[Channel, ...] = ("stream", "memory", "request")


class Asked(NamedTuple):
    """One question: when, of what, how old the answer may be (None: not said), how much of it."""

    time_s: float
    key: StreamKey
    max_age_s: float | None
    amount: int
    habit: str


class Up(NamedTuple):
    """A stretch in which a stream tells everything; `seen_s` is when the feed notices its end."""

    start_s: float
    end_s: float
    seen_s: float


# ------------------------------------------------------------------ bots


def questions(rng: random.Random) -> list[Asked]:
    """Return an hour of questions by bots of many habits, in order."""
    bots = [timer for _ in range(30)] + [chance for _ in range(20)] + [burst for _ in range(20)]
    bots += [strategy for _ in range(40)] + [person for _ in range(15)]
    asked = [question for bot in bots for question in bot(rng)]
    within = [question for question in asked if question.time_s < END_S]
    return sorted(within, key=lambda question: question.time_s)


def timer(rng: random.Random) -> Iterator[Asked]:
    """Ask for one thing at a fixed step from 0.2 s to 10 min, for ever."""
    step_s, wish = math.exp(rng.uniform(math.log(0.2), math.log(600))), _wish(rng)
    time_s = rng.uniform(0, step_s)
    while time_s < END_S:
        yield Asked(time_s, *wish, "timer")
        time_s += step_s * rng.uniform(0.98, 1.02)


def chance(rng: random.Random) -> Iterator[Asked]:
    """Ask for one thing by chance, every second to every five minutes."""
    mean_s, wish = math.exp(rng.uniform(0, math.log(300))), _wish(rng)
    time_s = rng.expovariate(1 / mean_s)
    while time_s < END_S:
        yield Asked(time_s, *wish, "chance")
        time_s += rng.expovariate(1 / mean_s)


def burst(rng: random.Random) -> Iterator[Asked]:
    """Ask many times at once every few minutes, as on a signal."""
    wish, mean_s, size = _wish(rng), rng.uniform(120, 900), rng.uniform(5, 60)
    time_s = rng.expovariate(1 / mean_s)
    while time_s < END_S:
        for _ in range(1 + int(rng.expovariate(1 / size))):
            yield Asked(time_s, *wish, "burst")
            time_s += rng.expovariate(1 / 0.7)
        time_s += rng.expovariate(1 / mean_s)


def strategy(rng: random.Random) -> Iterator[Asked]:
    """Appear, watch up to five things closely, and vanish."""
    start_s, life_s = rng.uniform(0, END_S), rng.expovariate(1 / 900)
    for _ in range(rng.randint(1, 5)):
        wish, step_s = _wish(rng), rng.uniform(1, 15)
        time_s = start_s
        while time_s < start_s + life_s:
            yield Asked(time_s, *wish, "strategy")
            time_s += step_s * rng.uniform(0.9, 1.1)


def person(rng: random.Random) -> Iterator[Asked]:
    """Look at a few things at a shell, now and then."""
    time_s = rng.expovariate(1 / 1200)
    while time_s < END_S:
        wish = _wish(rng)
        for _ in range(rng.randint(1, 5)):
            yield Asked(time_s, *wish, "person")
            time_s += rng.expovariate(1 / 12)
        time_s += rng.expovariate(1 / 1200)


def _wish(rng: random.Random) -> tuple[StreamKey, float | None, int]:
    kind = rng.choice(KINDS)
    # Popular markets are asked for more often.
    code = f"KRW-M{min(MARKETS - 1, int(rng.expovariate(1 / 8))):02d}"
    max_age_s = rng.choice([None, None, None, 0.3, 1.0, 5.0, 30.0])
    amount = {"ticker": 1, "orderbook": DEPTH, "trade": rng.choice([1, 10, 50])}[kind]
    return StreamKey(kind, code), max_age_s, amount


# ------------------------------------------------------------------ world


class World:
    """What truly happens: updates of every key, breaks of streams, and how scarce slots are.

    Args:
      rng: Makes everything.
    """

    def __init__(self, rng: random.Random) -> None:
        self.asked = questions(rng)
        chance_ = np.random.default_rng(rng.getrandbits(64))
        self.line = _stretches(rng, mean_s=1200, half_open=0.25)
        self.updates: dict[StreamKey, list[float]] = {}
        self.ups: dict[StreamKey, list[Up]] = {}
        for key in dict.fromkeys(question.key for question in self.asked):
            per_s = {"ticker": 3, "orderbook": 6, "trade": 3}[key.kind] * 0.85 ** int(key.code[-2:])
            steps = chance_.exponential(1 / per_s, int(END_S * per_s * 1.1) + 10)
            self.updates[key] = np.cumsum(steps).tolist()
            self.ups[key] = list(_stalled(rng, self.line))
        # Now and then somebody loads history, and few slots are left.
        self._busy = [
            (start_s, start_s + rng.uniform(30, 300))
            for start_s in (rng.uniform(0, END_S) for _ in range(5))
        ]

    def spare(self, time_s: float) -> float:
        """Return how much of the request limits is unused."""
        return 0.15 if any(start_s <= time_s < end_s for start_s, end_s in self._busy) else 1.0

    def price(self, time_s: float) -> float:
        """Return what a request costs."""
        return min(DEAREST, 1 / self.spare(time_s))

    def up(self, key: StreamKey, time_s: float) -> Up | None:
        """Return the stretch of a stream that began last."""
        ups = self.ups[key]
        index = bisect.bisect_right(ups, (time_s, math.inf, math.inf)) - 1
        return ups[index] if index >= 0 else None

    def told(self, key: StreamKey, live_s: float, end_s: float) -> tuple[float, int]:
        """Return when a stream that is live since `live_s` told last, and how often it told."""
        updates = self.updates[key]
        first, last = bisect.bisect_right(updates, live_s), bisect.bisect_right(updates, end_s)
        return (updates[last - 1] if last > first else live_s), 1 + last - first


def _stretches(rng: random.Random, *, mean_s: float, half_open: float) -> list[Up]:
    """Return when a connection is whole, over all the time; some of its ends are not told."""
    ups, time_s = [], 0.0
    while time_s < END_S:
        end_s = time_s + rng.expovariate(1 / mean_s)
        seen_s = end_s + (DEAD_S if rng.random() < half_open else 0.0)
        ups.append(Up(time_s, end_s, seen_s))
        # Mostly it is back at once; now and then it is away for minutes.
        time_s = seen_s + rng.choice([1.0, 1.0, 3.0, 10.0, rng.expovariate(1 / 120)])
    return ups


def _stalled(rng: random.Random, line: Sequence[Up]) -> Iterator[Up]:
    """Return when one code's stream is whole: now and then it alone falls silent."""
    for up in line:
        start_s = up.start_s
        while (stall_s := start_s + rng.expovariate(1 / 20_000)) + SILENT_S < up.end_s:
            yield Up(start_s, stall_s, stall_s + SILENT_S)
            start_s = stall_s + SILENT_S
        yield Up(start_s, up.end_s, up.seen_s)


# ------------------------------------------------------------------ the oracle


class Plan(NamedTuple):
    """A way to have answered everything so far; `start_s` is when the stream was asked for."""

    cost: float
    asked_s: float
    start_s: float | None
    path: tuple[Any, ...] | None


class Oracle:
    """Answers the questions about one key in the cheapest way there is."""

    def __init__(self, world: World, key: StreamKey) -> None:
        self._world = world
        self._key = key

    def answers(self, asked: Sequence[Asked]) -> tuple[list[Channel], float]:
        """Return the channel of each question, and what all of it costs."""
        plans = [Plan(0.0, -math.inf, None, None)]
        before_s = 0.0
        for question in asked:
            plans = self._best(list(self._next(plans, question, before_s)))
            before_s = question.time_s
        best = min(plans, key=lambda plan: plan.cost)
        channels, path = [], best.path
        while path is not None:
            path, channel = path
            channels.append(channel)
        return channels[::-1], best.cost

    def _next(self, plans: Sequence[Plan], question: Asked, before_s: float) -> Iterator[Plan]:
        now_s = question.time_s
        begin_s = self._begin_s(question)
        for plan in plans:
            if plan.start_s is None:
                yield self._asking(plan, question)
                if begin_s is not None:
                    cost = plan.cost + SUBSCRIBE + CARRY * (now_s - begin_s)
                    yield Plan(cost, plan.asked_s, begin_s, (plan.path, "stream"))
                continue
            gone = plan._replace(cost=plan.cost + LET_GO, start_s=None)
            yield self._asking(gone, question)
            carried = plan._replace(cost=plan.cost + CARRY * (now_s - before_s))
            if self._can(question, plan.start_s):
                yield carried._replace(path=(plan.path, "stream"))
            else:
                yield self._asking(carried, question)

    def _asking(self, plan: Plan, question: Asked) -> Plan:
        """Return `plan` with the question answered without the stream."""
        now_s = question.time_s
        if now_s - plan.asked_s <= most_s(question):
            return plan._replace(path=(plan.path, "memory"))
        cost = plan.cost + self._world.price(now_s)
        return Plan(cost, now_s, plan.start_s, (plan.path, "request"))

    def _begin_s(self, question: Asked) -> float | None:
        """Return the latest time to subscribe for the stream to answer; None if it cannot."""
        begin_s = question.time_s - CONFIRM_S - 0.001
        if question.amount > 1 and self._key.kind == "trade":
            updates = self._world.updates[self._key]
            index = bisect.bisect_right(updates, question.time_s) - question.amount + 1
            if index < 0:
                return None
            begin_s = min(begin_s, updates[index] - CONFIRM_S - 0.001)
        return begin_s if begin_s >= 0 and self._can(question, begin_s) else None

    def _can(self, question: Asked, start_s: float) -> bool:
        """Return whether a stream asked for at `start_s` can truly answer."""
        now_s, up = question.time_s, self._world.up(self._key, question.time_s)
        if up is None or now_s >= up.end_s:
            return False
        live_s = max(start_s, up.start_s) + CONFIRM_S
        if now_s < live_s:
            return False
        told_s, count = self._world.told(self._key, live_s, now_s)
        if self._key.kind == "trade" and count < question.amount:
            return False
        return question.max_age_s is None or now_s - told_s <= question.max_age_s

    def _best(self, plans: list[Plan]) -> list[Plan]:
        """Return the plans that no other beats in everything that counts from here on."""
        kept: list[Plan] = []
        for plan in sorted(plans, key=lambda plan: (plan.cost, -plan.asked_s)):
            if not any(_beats(other, plan) for other in kept):
                kept.append(plan)
        return kept[:16]


def _beats(other: Plan, plan: Plan) -> bool:
    if other.asked_s < plan.asked_s:
        return False
    if plan.start_s is None:
        # With the stream is as good as without it once it was let go.
        return other.cost + (0.0 if other.start_s is None else LET_GO) <= plan.cost
    starts = other.start_s is not None and other.start_s <= plan.start_s
    return starts and other.cost <= plan.cost


def oracle(world: World) -> tuple[list[Channel], float]:
    """Return the oracle's channel of each question, and what all of it costs."""
    places: dict[StreamKey, list[int]] = {}
    for place, question in enumerate(world.asked):
        places.setdefault(question.key, []).append(place)
    best: list[Channel] = ["request"] * len(world.asked)
    total = 0.0
    for key, mine in places.items():
        channels, cost = Oracle(world, key).answers([world.asked[place] for place in mine])
        total += cost
        for place, channel in zip(mine, channels, strict=True):
            best[place] = channel
    return best, total


def most_s(question: Asked) -> float:
    """Return how old an answer from memory may be."""
    return USUAL_AGE_S if question.max_age_s is None else question.max_age_s
