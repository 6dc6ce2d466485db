"""The router's choice of a channel, against an oracle that knows the future.

The router's own `LiveReader`, with its own `Wants` and `FeedTables`, is asked by bots of many
habits for quotes of thirty markets; a small world plays the FeedActor: it subscribes to what is
wanted, confirms it a moment later, breaks, and comes back. What the oracle may do and what it pays
for is written in `runtime.testing_channels`.

Questions that only one channel can answer (history, more than is streamed) are left out: both would
choose alike, and the figures would only look better.
"""

from __future__ import annotations

import bisect
import math
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import pytest

from actors.exchanges.streams import StreamKey
from actors.exchanges.upbit.limits import STREAM_RULES
from actors.feed_tables import LINE, FeedTables, LineState, LiveQuote, StreamState
from actors.live_reader import LiveReader
from actors.wants import Wants
from runtime.testing_channels import (
    CARRY,
    CHANNELS,
    CONFIRM_S,
    DEPTH,
    LET_GO,
    PING_S,
    SUBSCRIBE,
    USUAL_AGE_S,
    Asked,
    Channel,
    World,
    most_s,
    oracle,
)

pytestmark = pytest.mark.benchmark

SEEDS = (1, 2, 3, 4, 5)


# ------------------------------------------------------------------ the router


class HandClock:
    """A clock that stands where it was put."""

    def __init__(self) -> None:
        self.time_s = 0.0

    def now_s(self) -> float:
        """Return the time."""
        return self.time_s

    def utc_ms(self) -> int:
        """Return the time as wall time."""
        return int(self.time_s * 1000)


class Stage:
    """The router's reader, and what a FeedActor would do around it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._clock = HandClock()
        self._tables = FeedTables("upbit")
        self._quotes = self._tables.quotes.claim("world")
        self._streams = self._tables.streams.claim("world")
        self._lines = self._tables.line.claim("world")
        self._wants = Wants()
        self._since_s: dict[StreamKey, float] = {}
        self._looked_s = 0.0
        self._asked_s: dict[StreamKey, float] = {}
        self.cost = 0.0
        self.reader = LiveReader(
            self._tables,
            self._wants,
            STREAM_RULES,
            self._clock,
            spare=lambda _: world.spare(self._clock.time_s),
            auto=True,
        )

    def answer(self, question: Asked) -> Channel:
        """Return the channel that the router chooses."""
        now_s, key = question.time_s, question.key
        self._clock.time_s = now_s
        if now_s - self._looked_s > 1.0:
            self._look(now_s)
        self._show_line(now_s)
        self._show_stream(key, now_s)
        memory_s = now_s - self._asked_s[key] if key in self._asked_s else None
        choice, _ = self.reader.quote(
            key,
            max_age_s=question.max_age_s,
            usual_age_s=USUAL_AGE_S,
            memory_age_s=memory_s,
            amount=question.amount,
        )
        if choice.channel == "request":
            self.reader.requested(key, amount=question.amount, most_s=most_s(question))
            self._asked_s[key] = now_s
            self.cost += self._world.price(now_s)
        if key not in self._since_s:
            self._look(now_s)
        return choice.channel

    def _look(self, now_s: float) -> None:
        """Subscribe to what is wanted anew, and let go what is not."""
        wanted = self._wants.current(now_s)
        for key in self._since_s.keys() - wanted.keys():
            del self._since_s[key]
            self.cost += LET_GO
            self._streams.delete(key)
            self._quotes.delete(key)
        for key in wanted.keys() - self._since_s.keys():
            self._since_s[key] = now_s
            self.cost += SUBSCRIBE
        self.cost += CARRY * len(self._since_s) * (now_s - self._looked_s)
        self._looked_s = now_s

    def _show_line(self, now_s: float) -> None:
        line = self._world.line
        up = line[bisect.bisect_right(line, (now_s, math.inf, math.inf)) - 1]
        state: Literal["live", "away"] = "live" if now_s < up.seen_s else "away"
        heard_s = max(up.start_s, min(now_s, up.end_s) // PING_S * PING_S)
        since_s = up.start_s if state == "live" else up.seen_s
        self._lines.put(LINE, LineState(state, since_s, heard_s))

    def _show_stream(self, key: StreamKey, now_s: float) -> None:
        since_s, up = self._since_s.get(key), self._world.up(key, now_s)
        if since_s is None or up is None:
            return
        live_s = max(since_s, up.start_s) + CONFIRM_S
        if now_s < live_s or now_s >= up.seen_s or live_s > up.end_s:
            self._streams.put(key, StreamState("asked", since_s))
            self._quotes.delete(key)
            return
        told_s, count = self._world.told(key, live_s, min(now_s, up.end_s))
        self._streams.put(key, StreamState("live", live_s, DEPTH))
        value: Any = (None,) * min(count, 500) if key.kind == "trade" else None
        depth = DEPTH if key.kind == "orderbook" else 0
        self._quotes.put(key, LiveQuote(value, told_s, depth))


# ------------------------------------------------------------------ the comparison


def by_rest(world: World) -> tuple[list[Channel], float]:
    """Return what somebody chooses who knows no streams, and what that costs."""
    chosen: list[Channel] = []
    asked_s: dict[StreamKey, float] = {}
    cost = 0.0
    for question in world.asked:
        now_s = question.time_s
        young = now_s - asked_s.get(question.key, -math.inf) <= most_s(question)
        chosen.append("memory" if young else "request")
        if not young:
            asked_s[question.key] = now_s
            cost += world.price(now_s)
    return chosen, cost


def table(name: str, mine: Sequence[Channel], best: Sequence[Channel]) -> float:
    """Print how often each channel was chosen against the oracle's; return the share that match."""
    pairs = Counter(zip(mine, best, strict=True))
    share = sum(pairs[channel, channel] for channel in CHANNELS) / len(mine)
    print(f"{name}: {share:.2%} as the oracle, which chose")
    print(" " * 20 + "".join(f"{channel:>10}" for channel in CHANNELS))
    for row in CHANNELS:
        print(f"{row:>20}" + "".join(f"{pairs[row, channel]:>10}" for channel in CHANNELS))
    return share


@pytest.mark.parametrize("seed", SEEDS)
def test_the_router_chooses_as_one_who_knows_the_future(seed: int) -> None:
    """At least 95 in 100 times."""
    world = World(random.Random(seed))
    stage = Stage(world)
    mine = [stage.answer(question) for question in world.asked]
    best, cost = oracle(world)
    rest, rest_cost = by_rest(world)
    slots = f"the router {stage.cost:.0f}, the oracle {cost:.0f}, always REST {rest_cost:.0f}"
    print(f"\nseed {seed}, {len(mine)} questions; slots spent: {slots}")
    share = table("router", mine, best)
    table("always REST", rest, best)
    table("always WebSocket", ["stream"] * len(best), best)
    for habit in sorted({question.habit for question in world.asked}):
        hits = [a == b for a, b, q in zip(mine, best, world.asked, strict=True) if q.habit == habit]
        print(f"{habit:>20}: {sum(hits) / len(hits):.2%} of {len(hits)}")
    assert share >= 0.95
    assert cost <= stage.cost <= 1.3 * cost < rest_cost
