"""Spend an exchange's request budget without ever overrunning it, and without leaving any of it.

One `RateLimiterActor` guards one address at one exchange. For each of the exchange's groups, and
where it counts by account or connection for each of these, it keeps a ledger of slots (`slots` has
the arithmetic, and why it is safe) and the line of those who wait (`lanes` says who goes next).

    ThrottledExchange --AcquirePermit--> RateLimiterActor     answered when a slot is free
    ThrottledExchange --ReleasePermit--> RateLimiterActor     an event: what became of the request

When it dies, those who wait are told so by the core, and nothing else is lost: the ledgers are kept
in `LimitTables`, which outlive it. Permits that were out then are still known to its successor.
When the process ends, a `LimitKeeper` has them written down.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Mapping
from typing import Any

import msgspec
import trio

from actors.errors import InvalidRequest, Overloaded, RateLimited
from actors.exchanges.base import GroupRules
from actors.lane_book import ADDRESS, LaneBook, check_limits
from actors.lanes import Desk, Lane
from actors.limit_file import LimitKeeper, age
from actors.limit_memory import take_up, write_down
from actors.limit_reports import explain_pause, forecast_slots, report_lane
from actors.limit_tables import LimitTables
from actors.messages import AcquirePermit, GetLimits, Permit, Priority, ReleasePermit
from actors.pauses import Pause
from actors.preload_messages import ForecastSlots
from actors.refusals import Refusals
from actors.reports import GroupLimits
from actors.slots import SlotRules
from actors.turns import SHARES, check_shares
from actors.waiting import Waiter
from runtime.core.actor import Actor
from runtime.core.mailbox import Reply
from runtime.core.message import Event, Request

_log = logging.getLogger("marketd.rate_limiter")

# The timer never sleeps less: a moment that rounding puts just ahead of the clock would otherwise
# be waited for in a circle.
_SLEEP_S_MIN = 0.001
# How often it is looked whether somebody who waits has lost all hope: answers may be slow, and
# more urgent requests may have come.
_SWEEP_S = 0.5
# How often the ledgers are written down while they change.
_SAVE_S = 1.0


class LimiterStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What a limiter has done since it started.

    Attributes:
      granted: Requests let through.
      rejected: Answers 429 and 418 that were reported.
      refused: Requests for a permit that were refused: too many waiting, or none in time.
      queued: Requests waiting now.
      wait_s_max: The longest anybody waited for a permit, in seconds.
    """

    granted: int
    rejected: int
    refused: int
    queued: int
    wait_s_max: float


class RateLimiterActor(Actor):
    """Hand out permits so that no group overruns its limits.

    Order: the smaller `Priority` first, but each priority gets its share at least (`turns`); within
    one priority first come, first served. A caller who has gone leaves the line at once. One who
    cannot be served before his deadline, however well all goes, is told so at once, and when he
    could have been.

    Bound: `waiting_max` callers wait in each group; one more is told `Overloaded`. Its mailbox
    should have room for some thousand messages: releases are never waited for, and one that finds
    no room is told later.

    Pauses: after a 429 the group sends nothing for a window, and longer each time it happens again.
    After a 418 no group sends anything for a minute, doubling up to an hour, or for as long as the
    exchange says if that is longer. Who could not wait that long is told at once.

    Args:
      exchange: The exchange's name, for reports and errors.
      limits: The budget of each group, by the exchange's own group name.
      tables: What is kept from one incarnation to the next. An entry that cannot be believed is
        refused, and counts as a budget that has just been spent; so does no entry.
      keeper: Keeps it from one process to the next; None to begin each with a spent budget.
      rules: How long slots are held.
      shares: What part of a group each priority gets at least.
      waiting_max: Most callers waiting in one group.
    """

    def __init__(
        self,
        exchange: str,
        limits: Mapping[str, GroupRules],
        *,
        tables: LimitTables,
        keeper: LimitKeeper | None = None,
        rules: SlotRules = SlotRules(),  # noqa: B008 - frozen
        shares: Mapping[Priority, float] = SHARES,
        waiting_max: int = 1000,
    ) -> None:
        if waiting_max < 1:
            raise ValueError(f"waiting_max must be at least 1, was {waiting_max}")
        check_limits(limits)
        check_shares(shares)
        self._exchange = exchange
        self._limits = dict(limits)
        self._tables = tables
        self._keeper = keeper
        self._rules = rules
        self._shares = shares
        self._waiting_max = waiting_max
        self._arrivals = itertools.count(1)
        self._busy: dict[Desk, None] = {}
        self._changed = trio.Event()
        self._wakes_s = math.inf
        self._unsaved = trio.Event()
        self._urgent = trio.Event()
        self._refused = 0
        self._wait_s_max = 0.0

    async def on_start(self) -> None:
        """Take up the ledgers where the last incarnation, or the last process, left them."""
        name, clock = self.context.name, self.context.clock
        now_s = clock.now_s()
        past_is_known = False
        if self._tables.began_s is None:
            kept = None if self._keeper is None else self._keeper.load()
            if kept is not None:
                past_is_known = kept.clean
                aged = age(kept, now_s=now_s, utc_ms=clock.utc_ms())
                take_up(
                    aged, self._limits, self._tables, rules=self._rules, owner=name, now_s=now_s
                )
            self._tables.began_s = now_s
        # Unlike those of any earlier incarnation, whose permits may still come back.
        self._permit_ids = itertools.count((self.context.incarnation << 40) + 1)
        self._lanes = LaneBook(
            self._exchange,
            self._limits,
            rules=self._rules,
            shares=self._shares,
            tables=self._tables,
            owner=name,
            past_is_known=past_is_known,
            left=self._look_again,
        )
        self._unused = self._tables.unused.claim(name)
        ban = self._tables.pauses.get(ADDRESS)
        self._refusals = Refusals(self._lanes, ban, now_s, banned=self._save_at_once)
        self._lanes.open_all(now_s)
        if self._keeper is not None:
            # Before the first permit: until the end, what is written down says that more may have
            # been sent since.
            await self._save(self._keeper, clean=False)
            self.context.nursery.start_soon(self._save_in_time, self._keeper)
        self.context.nursery.start_soon(self._grant_in_time)

    async def on_stop(self) -> None:
        """Write down what was spent, for the next process."""
        if self._keeper is not None:
            await self._save(self._keeper, clean=True)

    async def handle_call(self, request: Request[Any]) -> object:
        """Answer `AcquirePermit` when a slot is free, and `GetLimits` at once."""
        match request:
            case AcquirePermit():
                self._acquire(request)
                return None
            case GetLimits():
                return self._report()
            case ForecastSlots():
                now_s = self.context.clock.now_s()
                lane = self._lanes.lane(request.group, "", now_s)
                return forecast_slots(request, lane, self._lanes.desk(lane), self._ban, now_s)
            case _:
                return await super().handle_call(request)

    async def handle_cast(self, event: Event) -> None:
        """Take a permit back, and let the next one go."""
        match event:
            case ReleasePermit():
                self._take_back(event)
            case _:
                await super().handle_cast(event)

    def statistics(self) -> LimiterStatistics:
        """Return what has been granted and refused since start."""
        lanes = list(self._lanes)
        return LimiterStatistics(
            granted=sum(sum(lane.granted.values()) for lane in lanes),
            rejected=sum(lane.rejected for lane in lanes),
            refused=self._refused,
            queued=sum(len(lane.line) for lane in lanes),
            wait_s_max=self._wait_s_max,
        )

    @property
    def _ban(self) -> Pause:
        return self._refusals.ban

    # -------------------------------------------------------------- asking

    def _acquire(self, request: AcquirePermit) -> None:
        now_s = self.context.clock.now_s()
        lane = self._lanes.lane(request.group, request.holder, now_s)
        self._check_weight(request, lane)
        desk, reply = self._lanes.desk(lane), self.context.take_reply()
        waiter = Waiter(next(self._arrivals), request.priority, request.weight, now_s, reply)
        if now_s >= self._ban.until_s and desk.pass_at_once(
            lane, request.priority, request.weight, now_s
        ):
            self._grant(lane, waiter, now_s)
            return
        earliest_s = desk.earliest_s(lane, request.priority, request.weight, now_s)
        if reply.deadline_s < max(earliest_s, self._ban.until_s):
            self._refuse(lane, reply, max(earliest_s, self._ban.until_s), now_s)
        elif len(lane.line) >= self._waiting_max:
            lane.refused += 1
            self._refused += 1
            reply.fail(
                Overloaded(
                    f"{self._exchange}: {self._waiting_max} requests already wait for a slot in "
                    f"group {request.group}, which is the most that may"
                )
            )
        else:
            desk.join(lane, waiter)
            self._busy[desk] = None
            self._serve(desk, now_s)

    def _check_weight(self, request: AcquirePermit, lane: Lane) -> None:
        if not 1 <= request.weight <= lane.weight_max:
            raise InvalidRequest(
                f"{self._exchange}: a request of group {request.group} weighs 1 to "
                f"{lane.weight_max}, was {request.weight}"
            )

    def _serve(self, desk: Desk, now_s: float) -> None:
        """Let go whoever can go now; the timer sees to the others."""
        if now_s < self._ban.until_s:
            desk.wake_s = self._ban.until_s
        while desk and now_s >= self._ban.until_s and (found := desk.next(now_s)) is not None:
            self._grant(*found, now_s)
        if not desk:
            self._busy.pop(desk, None)
        elif desk.wake_s < self._wakes_s:
            self._look_again()

    def _grant(self, lane: Lane, waiter: Waiter, now_s: float) -> None:
        group, holder = lane.key
        permit = Permit(next(self._permit_ids), group, holder, waiter.weight)
        for ledger in lane.ledgers:
            ledger.grant(permit.id, waiter.weight, now_s)
        lane.granted[waiter.priority] += 1
        wait_s = now_s - waiter.since_s
        if wait_s > self._wait_s_max:  # noqa: PLR1730 - this runs for every request; max() is a call
            self._wait_s_max = wait_s
        self._note_use(lane)
        waiter.reply.send(permit)

    def _look_again(self) -> None:
        """Let the timer look who can go now."""
        self._changed.set()

    async def _grant_in_time(self) -> None:
        """Let waiters go as time frees their slots; one task for all groups."""
        sweeps_s = 0.0
        while True:
            now_s = self.context.clock.now_s()
            # Nobody need wake it while it looks.
            self._changed, self._wakes_s = trio.Event(), -math.inf
            if now_s >= sweeps_s:
                sweeps_s = now_s + _SWEEP_S
                self._dismiss_hopeless(now_s)
            for desk in list(self._busy):
                self._serve(desk, now_s)
            moments_s = [desk.wake_s for desk in self._busy]
            self._wakes_s = min([*moments_s, sweeps_s]) if moments_s else math.inf
            with trio.move_on_after(max(self._wakes_s - now_s, _SLEEP_S_MIN)):
                await self._changed.wait()

    # -------------------------------------------------------------- giving back

    def _take_back(self, event: ReleasePermit) -> None:
        permit, now_s = event.permit, self.context.clock.now_s()
        lane = self._lanes.lane(permit.group, permit.holder, now_s)
        granted_s = None
        for ledger in lane.ledgers:
            granted_s = ledger.settle(
                permit.id, permit.weight, now_s, sent=event.sent, answered=event.answered
            )
        if granted_s is not None and event.answered:
            lane.note_journey(now_s - granted_s)
        if event.remaining is not None:
            self._heed(lane, event.remaining, event.period_s, granted_s, now_s)
        for paused in self._refusals.heed(event, lane, granted_s, now_s):
            _log.warning("%s: %s", self._exchange, explain_pause(paused, self._ban, now_s))
            self._dismiss_hopeless(now_s)
        self._note_use(lane)
        desk = self._lanes.desk(lane)
        if desk:
            self._serve(desk, now_s)

    def _heed(
        self,
        lane: Lane,
        remaining: int,
        period_s: float | None,
        granted_s: float | None,
        now_s: float,
    ) -> None:
        """Believe what the exchange says is left, in the window that it speaks about."""
        for each in (lane, *lane.pools):
            periods = [limit.period_s for limit in each.ledger.windows]
            if period_s is None or period_s in periods:
                each.server_remaining, each.server_heard_s = remaining, now_s
                window = 0 if period_s is None else periods.index(period_s)
                each.ledger.heed(remaining, now_s, granted_s=granted_s, window=window)
                return

    # -------------------------------------------------------------- telling those who cannot wait

    def _dismiss_hopeless(self, now_s: float) -> None:
        """Tell those who cannot be served in time any more."""
        for desk in list(self._busy):
            for lane in desk.lanes:
                found = desk.hopeless(lane, now_s, not_before_s=self._ban.until_s)
                for waiter, earliest_s in found:
                    lane.line.remove(waiter)
                    self._refuse(lane, waiter.reply, earliest_s, now_s)

    def _refuse(self, lane: Lane, reply: Reply, earliest_s: float, now_s: float) -> None:
        lane.refused += 1
        self._refused += 1
        wait_s, left_s = earliest_s - now_s, max(0.0, reply.deadline_s - now_s)
        text = explain_pause(lane, self._ban, now_s)
        if not text:
            others = f", behind {len(lane.line)} others" if lane.line else ""
            text = (
                f"no slot of group {lane.key[0]} is free for {wait_s:.1f} s at least{others}, and "
                f"only {left_s:.1f} s are left for this request"
            )
        reply.fail(RateLimited(f"{self._exchange}: {text}", retry_after_s=wait_s))

    # -------------------------------------------------------------- writing down

    def _save_at_once(self) -> None:
        self._unsaved.set()
        self._urgent.set()

    async def _save_in_time(self, keeper: LimitKeeper) -> None:
        """Write down what is spent, soon after it changes; a block at once."""
        while True:
            await self._unsaved.wait()
            with trio.move_on_after(_SAVE_S):
                await self._urgent.wait()
            durable = self._urgent.is_set()
            self._unsaved, self._urgent = trio.Event(), trio.Event()
            await self._save(keeper, clean=False, durable=durable)

    async def _save(self, keeper: LimitKeeper, *, clean: bool, durable: bool = True) -> None:
        clock = self.context.clock
        kept = write_down(
            self._lanes, self._ban, now_s=clock.now_s(), utc_ms=clock.utc_ms(), clean=clean
        )
        await keeper.save(kept, durable=durable)

    # -------------------------------------------------------------- small things

    def _note_use(self, lane: Lane) -> None:
        group, holder = lane.key
        self._unsaved.set()
        if not holder:
            self._unused.put(group, lane.ledger.unused)

    def _report(self) -> tuple[GroupLimits, ...]:
        now_s = self.context.clock.now_s()
        self._lanes.sweep(now_s)
        return tuple(
            report_lane(self._exchange, lane, self._lanes.desk(lane), self._ban, now_s)
            for lane in self._lanes
        )
