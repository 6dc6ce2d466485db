"""The arithmetic of a rate limit that is never overrun. No clock and no tasks: times come in.

A limit of n requests in any window is kept by n slots. A request takes a slot when it is sent and
holds it until a window has passed since its answer came. Why that is safe: the server counted the
request before it answered, so the next request of the same slot reaches it more than a window
later. Each slot thus puts at most one request into any window, and n slots at most n, whatever the
latencies are and wherever the server's windows begin; so it holds for servers with fixed windows,
sliding windows and token buckets alike. The price is that a slot is idle while a request travels.

Reasoning in the times of sending instead fails as soon as two requests travel at different speed.
"""

from __future__ import annotations

import math
from bisect import insort
from dataclasses import dataclass

import msgspec

from actors.exchanges.base import RateLimit
from actors.pauses import PAUSE_S_MAX, Pause


@dataclass(frozen=True, slots=True)
class SlotRules:
    """How long slots are held. The defaults suit every limit that is counted in seconds.

    Attributes:
      margin_s: Added to every window, for servers whose clock ticks in milliseconds. More costs
        throughput: each millisecond a thousandth of it.
      transit_s: How long a request that got no answer may still be under way to the server.
      lost_s: A permit that nobody gives back for so long is taken for lost. It must be longer than
        any request may take.
    """

    margin_s: float = 0.005
    transit_s: float = 2.0
    lost_s: float = 30.0


class GroupSnapshot(msgspec.Struct, frozen=True):
    """A ledger at one moment, as the next incarnation of its owner finds it.

    Attributes:
      in_flight: Permits not yet given back: their ids, and when they were granted.
      held: When the slots of answered requests become free, rising.
      pause: The last pause.
    """

    in_flight: tuple[tuple[int, float], ...] = ()
    held: tuple[float, ...] = ()
    pause: Pause = Pause()


class GroupLedger:
    """The slots of one limit.

    Times are seconds on one monotonic clock and never go back from call to call.

    Args:
      limit: What is allowed.
      rules: How long slots are held.
      spent_until_s: Until when every slot is held; None for none. A ledger that begins without a
        past cannot know what was sent before it.
    """

    def __init__(
        self, limit: RateLimit, rules: SlotRules, *, spent_until_s: float | None = None
    ) -> None:
        self.limit = limit
        self.pause = Pause()
        self._rules = rules
        self._in_flight: dict[int, float] = {}
        self._held: list[float] = []
        if spent_until_s is not None:
            self._held = [spent_until_s] * limit.requests

    @property
    def hold_s(self) -> float:
        """Return how long an answered request goes on holding its slot, in seconds."""
        return self.limit.period_s + self._rules.margin_s

    @property
    def in_flight(self) -> int:
        """Return how many permits are not yet given back."""
        return len(self._in_flight)

    @property
    def used(self) -> int:
        """Return how many slots are in use, as of the last call that was given a time."""
        return len(self._in_flight) + len(self._held)

    def free(self, now_s: float) -> int:
        """Return how many requests may be sent now; 0 during a pause."""
        self._tidy(now_s)
        return 0 if now_s < self.pause.until_s else max(0, self.limit.requests - self.used)

    def grant(self, permit_id: int, now_s: float) -> None:
        """Take a free slot for a request that is sent now. There must be one."""
        if self.free(now_s) == 0:
            raise ValueError(f"wanted a free slot for permit {permit_id}, was none")
        self._in_flight[permit_id] = now_s

    def settle(self, permit_id: int, now_s: float, *, sent: bool, answered: bool) -> float | None:
        """Take back a permit; the slot is held as long as its request may still count.

        Args:
          permit_id: The permit. If it is not known, because it was taken for lost or its ledger
            was, its request is held like any other: too careful rather than too early.
          now_s: The time.
          sent: Whether any of the request may have left; only if not is the slot free at once.
          answered: Whether a response came.

        Returns:
          When the permit was granted; None if it is not known.
        """
        self._tidy(now_s)
        granted_s = self._in_flight.pop(permit_id, None)
        if sent:
            self._hold(now_s + self.hold_s + (0.0 if answered else self._rules.transit_s))
        return granted_s

    def heed(self, remaining: int, now_s: float) -> None:
        """Believe a server that has less left in its window than we think.

        Somebody else at this address spends from the same limit: what is missing is held for a
        window, as if we had spent it.
        """
        self._tidy(now_s)
        for _ in range(self.limit.requests - self.used - remaining):
            self._hold(now_s + self.hold_s)

    def next_change_s(self, now_s: float) -> float:
        """Return when a slot will become free by the passing of time alone; `inf` if never."""
        self._tidy(now_s)
        if now_s < self.pause.until_s:
            return self.pause.until_s
        if self.used < self.limit.requests:
            return now_s
        lost_s = min(self._in_flight.values(), default=math.inf) + self._rules.lost_s
        return min(self._held[0] if self._held else math.inf, lost_s)

    def expected_s(self, now_s: float, waiting: int) -> float:
        """Return when a request could be sent that has `waiting` others before it.

        Requests under way are taken to be answered at once, so it is the earliest such time.
        """
        self._tidy(now_s)
        under_way = [now_s + self.hold_s] * len(self._in_flight)
        idle = [now_s] * max(0, self.limit.requests - self.used)
        # More slots can be in use than there are; the first to become free do not count then.
        times = sorted([*idle, *self._held, *under_way])[-self.limit.requests :]
        rounds, place = divmod(waiting, self.limit.requests)
        return max(times[place], self.pause.until_s) + rounds * self.hold_s

    def snapshot(self) -> GroupSnapshot:
        """Return the whole ledger as a value."""
        return GroupSnapshot(tuple(self._in_flight.items()), tuple(self._held), self.pause)

    @classmethod
    def restored(
        cls, limit: RateLimit, rules: SlotRules, snapshot: object, now_s: float
    ) -> GroupLedger | None:
        """Return the ledger that `snapshot` was taken of; None if it cannot be believed."""
        try:
            # There and back, because what a crash has left may be anything.
            found = msgspec.convert(msgspec.to_builtins(snapshot), GroupSnapshot)
        except (msgspec.ValidationError, TypeError, ValueError, RecursionError):
            return None
        ledger = cls(limit, rules)
        ledger._in_flight = dict(found.in_flight)
        ledger._held = list(found.held)
        ledger.pause = found.pause
        unique = len(ledger._in_flight) == len(found.in_flight)
        return ledger if unique and ledger._is_possible(now_s) else None

    def _is_possible(self, now_s: float) -> bool:
        """Return whether a ledger of this limit can look like this at `now_s`."""
        held_s_max = now_s + self.hold_s + self._rules.transit_s
        pause = self.pause
        # Written so that a NaN makes it impossible.
        return (
            len(self._in_flight) <= self.limit.requests
            and len(self._held) <= self.limit.requests
            and all(-math.inf < granted_s <= now_s for granted_s in self._in_flight.values())
            and all(-math.inf < until_s <= held_s_max for until_s in self._held)
            and self._held == sorted(self._held)
            and -math.inf < pause.until_s <= now_s + PAUSE_S_MAX
            and -math.inf < pause.began_s <= now_s
            and pause.strikes >= 0
        )

    def _hold(self, until_s: float) -> None:
        insort(self._held, until_s)
        # More than all slots held is no more than all slots held; the earliest has no effect.
        if len(self._held) > self.limit.requests:
            del self._held[0]

    def _tidy(self, now_s: float) -> None:
        """Let go what time has freed."""
        while self._held and self._held[0] <= now_s:
            del self._held[0]
        lost = [
            permit_id
            for permit_id, granted_s in self._in_flight.items()
            if granted_s + self._rules.lost_s <= now_s
        ]
        for permit_id in lost:
            until_s = self._in_flight.pop(permit_id) + self._rules.lost_s + self.hold_s
            if until_s > now_s:
                self._hold(until_s)
