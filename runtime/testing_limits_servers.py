"""Servers that limit requests in every way we know of, for virtual time.

A server counts a request when it arrives, on a clock of its own: set differently from ours, running
a little faster or slower, and perhaps ticking in milliseconds. No model here has mercy: what is one
too many is refused, and what its limits were used for before we came is used.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from actors.exchanges.base import GroupRules, RateLimit

_OK = 200
_TOO_MANY_REQUESTS = 429


class Counter(Protocol):
    """How one limit of a server is counted, in the server's own seconds."""

    def room(self, now_s: float) -> int:
        """Return how much would pass now."""

    def note(self, cost: int, now_s: float, *, passed: bool) -> None:
        """Count a request that has passed, or was refused by this limit or another."""


CounterMaker = Callable[[RateLimit], Counter]


class FixedCounter:
    """Begins anew in every period; two full ones may touch.

    Args:
      limit: What is allowed in one period.
      phase_s: Where one of the periods begins.
    """

    def __init__(self, limit: RateLimit, *, phase_s: float = 0.0) -> None:
        self._limit = limit
        self._phase_s = phase_s
        self._number = -math.inf
        self._count = 0

    def room(self, now_s: float) -> int:
        """Return how much would pass now."""
        number = (now_s - self._phase_s) // self._limit.period_s
        if number != self._number:
            self._number, self._count = number, 0
        return self._limit.requests - self._count

    def note(self, cost: int, now_s: float, *, passed: bool) -> None:  # noqa: ARG002 - all count
        """Count a request, refused or not."""
        self.room(now_s)
        self._count += cost


class SlidingCounter:
    """Looks back one period from every request.

    Args:
      limit: What is allowed in one period, wherever it begins.
      refused_count: Whether refused requests count as well, which is the strictest there can be: a
        client that is never refused then would never be refused by any other way of counting.
    """

    def __init__(self, limit: RateLimit, *, refused_count: bool = True) -> None:
        self._limit = limit
        self._refused_count = refused_count
        self._recent: deque[tuple[float, int]] = deque()
        self._count = 0

    def room(self, now_s: float) -> int:
        """Return how much would pass now."""
        recent = self._recent
        while recent and recent[0][0] + self._limit.period_s <= now_s:
            self._count -= recent.popleft()[1]
        return self._limit.requests - self._count

    def note(self, cost: int, now_s: float, *, passed: bool) -> None:
        """Count a request."""
        if passed or self._refused_count:
            self._recent.append((now_s, cost))
            self._count += cost


class BucketCounter:
    """A bucket of tokens, full at first, that is filled evenly.

    Args:
      limit: Its size, and in how many seconds an empty one would be full again.
    """

    def __init__(self, limit: RateLimit) -> None:
        self._limit = limit
        self._tokens = float(limit.requests)
        self._filled_s = -math.inf

    def room(self, now_s: float) -> int:
        """Return how much would pass now."""
        limit = self._limit
        flown_in = (now_s - self._filled_s) * limit.requests / limit.period_s
        self._tokens = min(limit.requests, self._tokens + flown_in)
        self._filled_s = now_s
        # A sum of many small fractions that should be 1 may come out just below it.
        return int(self._tokens + 1e-9)

    def note(self, cost: int, now_s: float, *, passed: bool) -> None:
        """Take out tokens, if it passed."""
        self.room(now_s)
        if passed:
            self._tokens -= cost


# The ways of counting, by the name under which tables show them. Of phases there are as many as
# there are seeds; see `ServerClock`.
MODELS: Mapping[str, CounterMaker] = {
    "fixed": FixedCounter,
    "sliding, all": SlidingCounter,
    "sliding, passes": partial(SlidingCounter, refused_count=False),
    "bucket": BucketCounter,
}


@dataclass(frozen=True, slots=True)
class ServerClock:
    """What the server's clock shows.

    Attributes:
      ahead_s: What it shows when ours shows 0; so it is where fixed windows begin as well.
      drift: How much faster it runs than ours; if less than 0, its windows are longer than ours.
      tick_s: It shows whole multiples of this only; 0 for as fine as can be.
    """

    ahead_s: float = 0.0
    drift: float = 0.0
    tick_s: float = 0.0

    def at(self, now_s: float) -> float:
        """Return what it shows when ours shows `now_s`."""
        shown_s = self.ahead_s + now_s * (1.0 + self.drift)
        return shown_s // self.tick_s * self.tick_s if self.tick_s else shown_s


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answers.

    Attributes:
      status: 200 or 429.
      remaining: How much is left in the first window of the group; never wrong when it is sent.
    """

    status: int
    remaining: int


class LimitServer:
    """Counts requests by group and holder, in as many windows and pools as the rules say.

    Args:
      limits: What is allowed, by group.
      make: How each window is counted.
      clock: What the server's clock shows.
      began_s: When somebody else had just spent everything, on our clock; None if nobody had.
      past_s_max: Of windows longer than this nothing was spent then.

    Attributes:
      passed: Requests let through.
      rejected: Requests refused, by group.
      first_s: When the first passed; NaN before.
      last_s: When the last passed.
    """

    def __init__(
        self,
        limits: Mapping[str, GroupRules],
        make: CounterMaker,
        *,
        clock: ServerClock = ServerClock(),
        began_s: float | None = None,
        past_s_max: float = 60.0,
    ) -> None:
        self._limits = limits
        self._make = make
        self._clock = clock
        self._began_s = began_s
        self._past_s_max = past_s_max
        self._counted: dict[tuple[str, str], list[tuple[RateLimit, Counter]]] = {}
        self.passed = 0
        self.rejected: dict[str, int] = {}
        self.first_s = self.last_s = math.nan
        self._passed_first = 0

    def arrive(self, group: str, now_s: float, *, weight: int = 1, holder: str = "") -> Answer:
        """Count a request that arrives at `now_s` of our clock."""
        at_s = self._clock.at(now_s)
        counters = self._counters(group, holder)
        costs = [(each, weight if limit.weighted else 1) for limit, each in counters]
        passes = all(each.room(at_s) >= cost for each, cost in costs)
        for each, cost in costs:
            each.note(cost, at_s, passed=passes)
        remaining = max(0, counters[0][1].room(at_s))
        if not passes:
            self.rejected[group] = self.rejected.get(group, 0) + 1
            return Answer(_TOO_MANY_REQUESTS, remaining)
        self._let_through(now_s)
        return Answer(_OK, remaining)

    @property
    def rate_per_s(self) -> float:
        """Return how many passed a second, from the first to the last; 0 if there is no telling."""
        span_s = self.last_s - self.first_s
        # What passed in the first moment belongs to the time before it.
        return (self.passed - self._passed_first) / span_s if span_s > 0 else 0.0

    def _let_through(self, now_s: float) -> None:
        if math.isnan(self.first_s):
            self.first_s = now_s
        if now_s == self.first_s:
            self._passed_first += 1
        self.last_s = now_s
        self.passed += 1

    def _counters(self, group: str, holder: str) -> list[tuple[RateLimit, Counter]]:
        """Return everything that a request counts in, the group's own first window first."""
        found = list(self._own(group, holder))
        for pool in self._limits[group].pools:
            found += self._own(pool, "" if self._limits[pool].scope == "address" else holder)
        return found

    def _own(self, group: str, holder: str) -> Iterable[tuple[RateLimit, Counter]]:
        key = (group, holder)
        if key not in self._counted:
            rules = self._limits[group]
            made = [(limit, self._make(limit)) for limit in rules.windows]
            if self._began_s is not None and rules.scope != "connection":
                at_s = self._clock.at(self._began_s)
                for limit, counter in made:
                    if limit.period_s <= self._past_s_max:
                        counter.room(at_s)
                        counter.note(limit.requests, at_s, passed=True)
            self._counted[key] = made
        return self._counted[key]
