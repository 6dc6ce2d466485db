"""Lanes and desks: who goes next, where groups have limits of their own and limits in common.

A lane is one group as the exchange counts it for one address, account or connection: its ledger and
those who wait. Lanes that share a pool stand before one desk, which lets one request after the
other through; all others have a desk to themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from actors.headroom import Headroom
from actors.messages import Priority
from actors.pauses import PauseRules
from actors.slots import GroupLedger
from actors.turns import Turns
from actors.waiting import Waiter, WaitingLine

# What the latest request counts in the mean of journeys.
_LATEST = 0.1
# Room that is kept free may also come back because less was asked for: not sooner than this.
_LOOK_S = 0.01

# Work that can wait and is owed a turn may use so much of the limit, and all of it when it is owed
# some: where the limit is always full it has no better moment.
_OWED_SHARE, _OVERDUE = 0.4, 3.0

LaneKey = tuple[str, str]
"""A group and whom it is counted for; the latter is empty for all at this address."""


@dataclass(slots=True, eq=False)
class Lane:
    """One group, counted for one holder.

    Attributes:
      key: The group and the holder.
      ledger: Its slots.
      pools: The lanes it draws on as well.
      pause_rules: How it pauses after a refusal.
      line: Who waits.
      granted: Requests let through, by priority.
      ledgers: Every ledger that a request of this lane is written in.
      weight_max: The most that one request can weigh.
      headroom: How much is left free for who asks now.
      rejected: Answers 429 and 418.
      refused: Requests for a permit that were refused.
      server_remaining: What the exchange last said was left; None if nothing yet.
      server_heard_s: When that was.
      journeys: How many answers there have been.
      journey_s: How long requests took lately from leave to answer, in seconds; 0 if none did.
    """

    key: LaneKey
    ledger: GroupLedger
    pause_rules: PauseRules
    pools: tuple[Lane, ...] = ()
    ledgers: tuple[GroupLedger, ...] = field(init=False)
    weight_max: int = field(init=False)
    headroom: Headroom = field(init=False)
    line: WaitingLine = field(default_factory=WaitingLine)
    granted: dict[Priority, int] = field(default_factory=lambda: dict.fromkeys(Priority, 0))
    rejected: int = 0
    refused: int = 0
    server_remaining: int | None = None
    server_heard_s: float = 0.0
    journey_s: float = 0.0
    journeys: int = 0

    def __post_init__(self) -> None:
        """Find the ledgers: they are looked at for every request."""
        self.ledgers = (self.ledger, *(pool.ledger for pool in self.pools))
        self.weight_max = min(ledger.weight_max for ledger in self.ledgers)
        self.headroom = Headroom(self.ledger.windows[0], self.ledger.hold_s)

    def note_journey(self, seconds: float) -> None:
        """Count how long a request took from leave to answer."""
        self.journeys += 1
        # The first ones open connections, and tell little of those that follow.
        self.journey_s += max(_LATEST, 1 / self.journeys) * (seconds - self.journey_s)

    @property
    def is_struck(self) -> bool:
        """Return whether a refusal is remembered, here or where it draws on."""
        for ledger in self.ledgers:  # noqa: SIM110 - this runs for every answer
            if ledger.pause.strikes:
                return True
        return False

    @property
    def is_idle(self) -> bool:
        """Return whether nobody waits and nothing is remembered."""
        return not self.line and self.ledger.is_idle

    def lacking(self, weight: int, now_s: float) -> list[GroupLedger]:
        """Return the ledgers in which a request of `weight` has no room now."""
        return [ledger for ledger in self.ledgers if not ledger.fits(weight, now_s)]

    def earliest_s(self, weight: int, requests: int, now_s: float) -> float:
        """Return when `requests` of `weight` in all can have been sent, at the earliest."""
        return max(ledger.earliest_s(weight, requests, now_s) for ledger in self.ledgers)


class Desk:
    """Decides who goes next among the lanes that stand before it.

    Who cannot go for want of room keeps that room from all who come after him: otherwise light
    requests would overtake a heavy one for ever.

    Args:
      turns: Which priority is next.
      left: Called when somebody goes away without having been served: others may go now.

    Attributes:
      lanes: The lanes.
      wake_s: When time alone may let somebody go, as of the last `next` that found nobody; `inf` if
        nobody waits.
    """

    def __init__(self, turns: Turns, *, left: Callable[[], None]) -> None:
        self.lanes: list[Lane] = []
        self.wake_s = math.inf
        self._turns = turns
        self._left = left

    @property
    def shares(self) -> Mapping[Priority, float]:
        """Return what part each priority gets at least."""
        return self._turns.shares

    def __bool__(self) -> bool:
        """Return whether anybody waits."""
        for lane in self.lanes:  # noqa: SIM110 - this runs for every message; any() makes a generator
            if lane.line:
                return True
        return False

    def pass_at_once(self, lane: Lane, priority: Priority, weight: int, now_s: float) -> bool:
        """Let somebody through where nobody waits; return whether there is room for him."""
        if self or lane.lacking(weight, now_s):
            return False
        if priority is Priority.DECLARED and self._must_wait_s(lane, priority, weight, now_s):
            return False
        self._serve(lane, priority, weight, now_s, waited=False)
        return True

    def join(self, lane: Lane, waiter: Waiter) -> None:
        """Put somebody in line."""
        if waiter.priority not in self._waiting():
            self._turns.begin(waiter.priority)
        lane.line.join(waiter, left=self._left)

    def next(self, now_s: float) -> tuple[Lane, Waiter] | None:
        """Take out who can go now; None if nobody can."""
        self.wake_s = math.inf
        closed: set[int] = set()
        # Lanes in which work that can wait leaves room for others.
        patient: set[int] = set()
        held_back: list[Priority] = []
        for priority in self._turns.order(self._waiting()):
            for waiter, lane in self._heads(priority):
                if priority > Priority.DECLARED and id(lane) in patient:
                    continue
                if not closed.isdisjoint(map(id, lane.ledgers)):
                    continue
                lacking = lane.lacking(waiter.weight, now_s)
                kept_s = self._must_wait_s(lane, priority, waiter.weight, now_s)
                if not lacking and kept_s:
                    # Nobody less urgent overtakes it in its lane, and it is owed its share still.
                    self.wake_s = min(self.wake_s, kept_s)
                    patient.add(id(lane))
                    continue
                if not lacking:
                    lane.line.remove(waiter)
                    self._serve(lane, priority, waiter.weight, now_s, held_back, waited=True)
                    return lane, waiter
                closed.update(map(id, lacking))
                moments_s = [ledger.fits_s(waiter.weight, now_s) for ledger in lacking]
                self.wake_s = min(self.wake_s, max(moments_s))
            if priority is not Priority.DECLARED or not patient:
                held_back.append(priority)
        return None

    def earliest_s(self, lane: Lane, priority: Priority, weight: int, now_s: float) -> float:
        """Return when a request that joins `lane` now could go, at the earliest.

        Only those in the same lane are reckoned with, and all of them as if they went as fast as
        can be: it may be later, but not sooner, unless somebody before it goes away.
        """
        line = lane.line
        ahead, count = line.weights[priority], line.count(priority)
        return self._earliest_s(lane, priority, now_s, ahead=ahead, count=count, weight=weight)

    def hopeless(
        self, lane: Lane, now_s: float, *, not_before_s: float
    ) -> list[tuple[Waiter, float]]:
        """Return who cannot be served before his time is over, each with when he could be.

        Args:
          lane: Whose line is looked at.
          now_s: The time.
          not_before_s: When anybody can be served at the earliest.
        """
        found: list[tuple[Waiter, float]] = []
        ahead, count, priority = 0, 0, None
        for waiter in lane.line:
            if waiter.priority is not priority:
                ahead, count, priority = 0, 0, waiter.priority
            earliest_s = self._earliest_s(
                lane, waiter.priority, now_s, ahead=ahead, count=count, weight=waiter.weight
            )
            earliest_s = max(earliest_s, not_before_s)
            if earliest_s > waiter.reply.deadline_s:
                found.append((waiter, earliest_s))
            else:
                # Who gives up makes room for those behind.
                ahead, count = ahead + waiter.weight, count + 1
        return found

    def forecast_s(self, lane: Lane, priority: Priority, requests: int, now_s: float) -> float:
        """Return when so many further requests will have been answered, as things stand.

        Those who wait go before them, what is left free for others stays free, and a slot is held
        for as long as a request travels besides.
        """
        line, share = lane.line, self.shares[priority]
        ahead = line.weights[priority]
        earliest_s = self._earliest_s(
            lane, priority, now_s, ahead=ahead + requests - 1, count=requests - 1, weight=1
        )
        window = lane.ledger.windows[0].requests
        kept = 0
        if priority is Priority.DECLARED:
            kept = lane.headroom.kept(1, now_s, share=share)
        rounds = math.ceil((ahead + requests) / (window - kept)) - 1
        sent_s = max(earliest_s, now_s + rounds * lane.ledger.hold_s)
        return sent_s + (rounds + 1) * lane.journey_s

    # -------------------------------------------------------------- small things

    def _must_wait_s(self, lane: Lane, priority: Priority, weight: int, now_s: float) -> float:
        """Return when it may be looked again whether work that can wait leaves room; 0 for now.

        Predictions are held back by who makes them: he knows which requests he expects.
        """
        if priority is not Priority.DECLARED:
            return 0.0
        owed = self._turns.owed(priority)
        if owed >= _OVERDUE:
            return 0.0
        # Whose turn it is goes when most of the limit is free: such a moment will come.
        share = self.shares[priority] if owed < 0 else _OWED_SHARE
        kept = lane.headroom.kept(weight, now_s, share=share)
        if not kept or lane.ledger.fits(weight, now_s, kept=kept):
            return 0.0
        return max(lane.ledger.fits_s(weight, now_s, kept=kept), now_s + _LOOK_S)

    def _serve(
        self,
        lane: Lane,
        priority: Priority,
        weight: int,
        now_s: float,
        held_back: Iterable[Priority] = (),
        *,
        waited: bool,
    ) -> None:
        if priority is Priority.ASKED:
            lane.headroom.note(weight, now_s, waited=waited)
        self._turns.serve(priority, weight, held_back)

    def _earliest_s(
        self, lane: Lane, priority: Priority, now_s: float, *, ahead: int, count: int, weight: int
    ) -> float:
        above, above_count = lane.line.above(priority)
        weights = self._turns.before(priority, ahead, above)
        requests = self._turns.before(priority, count, above_count)
        return lane.earliest_s(weights + weight, requests + 1, now_s)

    def _waiting(self) -> list[Priority]:
        """Return the priorities that anybody waits with, most urgent first."""
        if len(self.lanes) == 1:
            return self.lanes[0].line.priorities()
        return sorted({each for lane in self.lanes for each in lane.line.priorities()})

    def _heads(self, priority: Priority) -> list[tuple[Waiter, Lane]]:
        """Return who is first in each lane, in the order in which they came."""
        heads = [
            (waiter, lane)
            for lane in self.lanes
            if (waiter := lane.line.first(priority)) is not None
        ]
        heads.sort(key=lambda head: head[0].arrival)
        return heads
