"""The arithmetic of limits that are never overrun. No clock and no tasks: times come in.

A limit of n requests in any window is kept by n slots. A request takes a slot when it is sent and
holds it until a window has passed since its answer came. Why that is safe: the server counted the
request before it answered, so the next request of the same slot reaches it more than a window
later. Each slot thus puts at most one request into any window, and n slots at most n, whatever the
latencies are and wherever the server's windows begin; so it holds for servers with fixed windows,
sliding windows and token buckets alike. The price is that a slot is idle while a request travels.

Several windows at once are several rows of slots, of which a request takes one each; a request of
weight w takes w of them. Neither touches the argument.

Reasoning in the times of sending instead fails as soon as two requests travel at different speed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from actors.exchanges.base import RateLimit
from actors.pauses import Pause
from actors.windows import Window


@dataclass(frozen=True, slots=True)
class SlotRules:
    """How long slots are held. The defaults suit limits that are counted in seconds or more.

    Attributes:
      margin_s: Added to every window, for servers whose clock ticks in milliseconds. More costs
        throughput: each millisecond a thousandth of a window of a second.
      drift: Added to every window, as a part of it: a server's second is not quite ours. Clocks
        that are being set may run 500 parts in a million fast or slow, and there are two.
      transit_s: How long a request that got no answer may still be under way to the server.
      lost_s: A permit that nobody gives back for so long is taken for lost. It must be longer than
        any request may take.
    """

    margin_s: float = 0.004
    drift: float = 0.001
    transit_s: float = 2.0
    lost_s: float = 30.0

    def hold_s(self, limit: RateLimit) -> float:
        """Return how long an answered request goes on holding its slot, in seconds."""
        return limit.period_s * (1.0 + self.drift) + self.margin_s


class Spend(msgspec.Struct, frozen=True):
    """One request that counts, or may count, in the windows of a group.

    Attributes:
      granted_s: When it was let go.
      weight: How much it counts for.
      settled_s: When its answer came, or when it must have arrived if none did; its windows run
        from then. None while it is under way.
      window: The one window it counts in; None for all of them. What others have spent is known
        of one window only.
    """

    granted_s: float
    weight: int = 1
    settled_s: float | None = None
    window: int | None = None


# Where no window counts weight, a request may have any.
_WEIGHT_MAX = 1_000_000

Journal = Callable[[int, Spend | None], None]
"""Told of every change before it has an effect: what is spent now under an id; None for nothing."""


def _keep_nothing(_spend_id: int, _spend: Spend | None) -> None:
    """Do without a journal."""


class GroupLedger:
    """The slots of one group, for one of those whom the exchange counts apart.

    Times are seconds on one monotonic clock and never go back from call to call.

    Bound: as many spends as the largest window allows requests, and those that fly.

    Args:
      windows: What is allowed; all of it holds at once.
      rules: How long slots are held.
      journal: Told of every change.

    Attributes:
      pause: The last pause.
      weight_max: The most that one request can weigh.
    """

    def __init__(
        self, windows: Sequence[RateLimit], rules: SlotRules, *, journal: Journal = _keep_nothing
    ) -> None:
        self.pause = Pause()
        self._rules = rules
        self._windows = [Window(limit, rules.hold_s(limit)) for limit in windows]
        self._journal = journal
        # In the order in which they were granted.
        self._in_flight: dict[int, Spend] = {}
        self._settled: dict[int, Spend] = {}
        # In how many windows each settled one still counts.
        self._counting: dict[int, int] = {}
        self._last_id = 0
        weighted = [limit.requests for limit in windows if limit.weighted]
        self.weight_max = min(weighted, default=_WEIGHT_MAX)

    @property
    def windows(self) -> list[RateLimit]:
        """Return what is allowed."""
        return [window.limit for window in self._windows]

    @property
    def hold_s(self) -> float:
        """Return how long an answered request goes on holding its slot in the first window."""
        return self._windows[0].hold_s

    @property
    def in_flight(self) -> int:
        """Return how many permits are not yet given back."""
        return len(self._in_flight)

    @property
    def is_idle(self) -> bool:
        """Return whether it knows of nothing, as of the last call that was given a time."""
        return not self._in_flight and not self._settled and self.pause.strikes == 0

    @property
    def used(self) -> list[int]:
        """Return how much of each window is in use, as of the last call that was given a time."""
        return [window.used for window in self._windows]

    @property
    def unused(self) -> tuple[float, float]:
        """Return what part of the first window is free, as of the last such call, and until when.

        That is when all of it will be, if nothing more is sent; `inf` if answers must come first.
        """
        window = self._windows[0]
        free_s = math.inf if window.flying else window.held[-1][0] if window.held else -math.inf
        return max(0.0, window.room / window.limit.requests), free_s

    def spends(self) -> dict[int, Spend]:
        """Return everything that counts now, by its id."""
        return {**self._settled, **self._in_flight}

    def fits(self, weight: int, now_s: float, *, kept: int = 0) -> bool:
        """Return whether a request of `weight` may be sent now; never in a pause.

        Args:
          weight: How much it counts for.
          now_s: The time.
          kept: How many slots of the first window are to be free after it.
        """
        self.tidy(now_s)
        if now_s < self.pause.until_s:
            return False
        for window in self._windows:
            if window.cost(weight) + kept > window.room:
                return False
            kept = 0
        return True

    def fits_s(self, weight: int, now_s: float, *, kept: int = 0) -> float:
        """Return when a request of `weight` will fit by the passing of time alone.

        Where answers must come first, it is when the oldest permit is given up.
        """
        self.tidy(now_s)
        moment_s = max(window.fits_s(window.cost(weight) + kept, now_s) for window in self._windows)
        if moment_s == math.inf:
            oldest = next(iter(self._in_flight.values()))
            moment_s = oldest.granted_s + self._rules.lost_s
        return max(moment_s, self.pause.until_s)

    def earliest_s(self, weight: int, requests: int, now_s: float) -> float:
        """Return when `requests` requests of `weight` in all can have been sent, at the earliest.

        It is exact where nothing is under way and nobody takes slots in between; else it is later.
        """
        self.tidy(now_s)
        moments_s = [
            window.earliest_s(weight if window.limit.weighted else requests, now_s)
            for window in self._windows
        ]
        return max(*moments_s, self.pause.until_s)

    def grant(self, spend_id: int, weight: int, now_s: float) -> None:
        """Take slots for a request that is sent now. There must be room for it."""
        if not self.fits(weight, now_s):
            raise ValueError(f"wanted slots for permit {spend_id} of weight {weight}, were none")
        spend = Spend(now_s, weight)
        # Written down before it has an effect: a crash in between must not forget it.
        self._journal(spend_id, spend)
        self._fly(spend_id, spend)

    def settle(
        self, spend_id: int, weight: int, now_s: float, *, sent: bool, answered: bool
    ) -> float | None:
        """Take back a permit; its slots are held as long as its request may still count.

        Args:
          spend_id: The permit. If it is not known, because it was taken for lost or its ledger was,
            its request is held like any other: too careful rather than too early.
          weight: How much the request counts for.
          now_s: The time.
          sent: Whether any of the request may have left; only if not are its slots free at once.
          answered: Whether a response came.

        Returns:
          When the permit was granted; None if it is not known.
        """
        self.tidy(now_s)
        known = self._land(spend_id)
        if not sent:
            if known is not None:
                self._journal(spend_id, None)
            return None if known is None else known.granted_s
        settled_s = now_s + (0.0 if answered else self._rules.transit_s)
        if known is None:
            self._settle(self._new_id(), Spend(now_s, weight, settled_s))
            return None
        self._settle(spend_id, Spend(known.granted_s, known.weight, settled_s))
        return known.granted_s

    def heed(
        self, remaining: int, now_s: float, *, granted_s: float | None, window: int = 0
    ) -> None:
        """Believe a server that has less left in one of its windows than we think.

        Somebody else at this address spends from the same limit: what is missing is held for a
        window, as if we had spent it. What the server counted, it counted between `granted_s` and
        now; so only what is more than we had in use at any time since then was somebody else's.
        """
        self.tidy(now_s)
        slots = self._windows[window]
        ours = max(slots.used, 0 if granted_s is None else slots.peaks.since(granted_s))
        missing = slots.limit.requests - remaining - ours
        if missing > 0:
            self._settle(self._new_id(), Spend(now_s, missing, now_s, window))

    def spend_all(self, since_s: float, *, hold_s_max: float = math.inf) -> None:
        """Count every window as spent at `since_s`, and held no longer than `hold_s_max`."""
        for number, window in enumerate(self._windows):
            settled_s = since_s + min(window.hold_s, hold_s_max) - window.hold_s
            self._settle(self._new_id(), Spend(settled_s, window.limit.requests, settled_s, number))

    def spend_unseen(self, seconds: float, now_s: float) -> None:
        """Count as spent now what may have been sent in so many seconds without being noted."""
        fastest = min(self._windows, key=lambda window: window.hold_s)
        rounds = math.ceil(seconds / fastest.limit.period_s) + 1
        for number, window in enumerate(self._windows):
            # Requests of a weighted window may have weighed anything.
            unseen = window.limit.requests
            if window.limit.weighted == fastest.limit.weighted:
                unseen = min(unseen, rounds * fastest.limit.requests)
            self._settle(self._new_id(), Spend(now_s, unseen, now_s, number))

    def take_over(self, spends: Mapping[int, object], pause: object, now_s: float) -> bool:
        """Begin with what another ledger left; return False, and do nothing, if it is nonsense."""
        try:
            # There and back, because what a crash has left may be anything.
            found = msgspec.convert(msgspec.to_builtins(dict(spends)), dict[int, Spend])
            told = msgspec.convert(msgspec.to_builtins(pause), Pause)
        except (msgspec.ValidationError, TypeError, ValueError, RecursionError):
            return False
        if not (self._are_possible(found, now_s) and told.is_possible(now_s)):
            return False
        self.pause = told
        self._last_id = min(found, default=0)
        for spend_id, spend in sorted(found.items(), key=lambda item: item[1].granted_s):
            if spend.settled_s is None:
                self._fly(spend_id, spend)
            else:
                self._hold(spend_id, spend)
        self.tidy(now_s)
        return True

    def tidy(self, now_s: float) -> None:
        """Let go what time has freed, and settle what is lost."""
        lost_s = self._rules.lost_s
        while self._in_flight:
            spend_id, spend = next(iter(self._in_flight.items()))
            if spend.granted_s + lost_s > now_s:
                break
            self._land(spend_id)
            self._settle(spend_id, Spend(spend.granted_s, spend.weight, spend.granted_s + lost_s))
        for window in self._windows:
            if window.held and window.held[0][0] <= now_s:
                self._release(window.tidy(now_s))

    # -------------------------------------------------------------- small things

    def _new_id(self) -> int:
        """Return an id that no permit has."""
        self._last_id = min(self._last_id, 0) - 1
        return self._last_id

    def _fly(self, spend_id: int, spend: Spend) -> None:
        self._in_flight[spend_id] = spend
        oldest_s = next(iter(self._in_flight.values())).granted_s
        for window in self._windows:
            window.flying += window.cost(spend.weight)
            window.peaks.note(spend.granted_s, window.used, oldest_s=oldest_s)

    def _land(self, spend_id: int) -> Spend | None:
        spend = self._in_flight.pop(spend_id, None)
        if spend is not None:
            for window in self._windows:
                window.flying -= window.cost(spend.weight)
        return spend

    def _settle(self, spend_id: int, spend: Spend) -> None:
        self._journal(spend_id, spend)
        self._hold(spend_id, spend)

    def _hold(self, spend_id: int, spend: Spend) -> None:
        assert spend.settled_s is not None, "only what is settled is held"
        apart = spend.window is not None
        windows = [self._windows[spend.window]] if spend.window is not None else self._windows
        self._settled[spend_id] = spend
        self._counting[spend_id] = len(windows)
        for window in windows:
            cost = spend.weight if apart else window.cost(spend.weight)
            if needless := window.hold(spend.settled_s + window.hold_s, spend_id, cost):
                self._release(needless)

    def _release(self, spend_ids: Sequence[int]) -> None:
        """Forget those that count in no window any more."""
        for spend_id in spend_ids:
            self._counting[spend_id] -= 1
            if self._counting[spend_id] == 0:
                del self._counting[spend_id], self._settled[spend_id]
                self._journal(spend_id, None)

    def _are_possible(self, spends: Mapping[int, Spend], now_s: float) -> bool:
        """Return whether such spends can stand in a ledger of these windows at `now_s`."""
        settled_s_max = now_s + self._rules.transit_s
        # Written so that a NaN makes it impossible.
        return all(
            -math.inf < spend.granted_s <= now_s + self._rules.transit_s
            and 1 <= spend.weight <= _WEIGHT_MAX
            and (spend.settled_s is None or -math.inf < spend.settled_s <= settled_s_max)
            and (spend.window is None or 0 <= spend.window < len(self._windows))
            for spend in spends.values()
        )
