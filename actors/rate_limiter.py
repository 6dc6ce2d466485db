"""Spend an exchange's request budget without ever overrunning it.

One `RateLimiterActor` guards one address at one exchange. It owns a ledger of slots for each of the
exchange's groups (`slots` has the arithmetic, and why it is safe) and the lines of those who wait.

    ThrottledExchange --AcquirePermit--> RateLimiterActor     answered when a slot is free
    ThrottledExchange --ReleasePermit--> RateLimiterActor     an event: what became of the request

When it dies, those who wait are told so by the core, and nothing else is lost: the ledgers are kept
in a `Table` that outlives it. Permits that were out then are still known to its successor.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import trio

from actors.errors import Overloaded, RateLimited, UnknownGroup
from actors.exchanges.base import RateLimit
from actors.messages import AcquirePermit, GetLimits, Permit, ReleasePermit
from actors.pauses import Pause, PauseRules
from actors.reports import GroupLimits
from actors.slots import GroupLedger, GroupSnapshot, SlotRules
from actors.waiting import WaitingLine
from runtime.core.actor import Actor
from runtime.core.mailbox import Reply
from runtime.core.message import Event, Request
from runtime.core.table import Table, TableWriter

_log = logging.getLogger("marketd.rate_limiter")

# Key of the pause of the whole address in the table; no group has this name.
ADDRESS = "*"

_TOO_MANY_REQUESTS = 429
_BANNED = 418

# Refusals of one group in a row: a window, then twice that, and so on up to this.
_PAUSE_S_MAX = 60.0
# Source: https://docs.upbit.com/kr/reference/rate-limits, read 2026-11-21: a block lasts longer
# the more often it is earned. How much is not said, so these are ours.
_BAN = PauseRules(first_s=60.0, longest_s=3600.0, forgiven_after_s=24 * 3600.0)

# The timer never sleeps less: a moment that rounding puts just ahead of the clock would otherwise
# be waited for in a circle.
_SLEEP_S_MIN = 0.001


class LimiterStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What a limiter has done since it started.

    Attributes:
      granted: Requests let through.
      rejected: Answers 429 and 418 that were reported.
      refused: Requests for a permit that were refused: too many waiting, or a pause too long.
      queued: Requests waiting now.
      wait_s_max: The longest anybody waited for a permit, in seconds.
    """

    granted: int
    rejected: int
    refused: int
    queued: int
    wait_s_max: float


class _Group:
    """One group: its ledger, who waits, and what has been counted."""

    def __init__(self, name: str, ledger: GroupLedger, *, waiting_max: int) -> None:
        self.name = name
        self.ledger = ledger
        self.line = WaitingLine(waiting_max)
        self.pause_rules = PauseRules(first_s=ledger.hold_s, longest_s=_PAUSE_S_MAX)
        self.server_remaining: int | None = None
        self.granted = 0
        self.rejected = 0


class RateLimiterActor(Actor):
    """Hand out permits so that no group overruns its limit.

    Order: the smaller `Priority` first, within one priority first come, first served. A caller who
    has gone gives his place to the next.

    Bound: `waiting_max` callers wait in each group; one more is told `Overloaded`. Its mailbox
    should have room for some thousand messages: releases are never waited for, and one that finds
    no room is told later.

    Pauses: after a 429 the group sends nothing for a window, and longer each time it happens again.
    After a 418 no group sends anything for a minute, doubling up to an hour, or for as long as the
    exchange says if that is longer. Who could not wait that long is told at once.

    Args:
      exchange: The exchange's name, for reports and errors.
      limits: The budget of each group, by the exchange's own group name.
      table: Where the ledgers are kept from one incarnation to the next. An entry that cannot be
        believed is refused, and counts as a budget that has just been spent; so does no entry.
      rules: How long slots are held.
      waiting_max: Most callers waiting in one group.
    """

    def __init__(
        self,
        exchange: str,
        limits: Mapping[str, RateLimit],
        *,
        table: Table[str, GroupSnapshot],
        rules: SlotRules = SlotRules(),  # noqa: B008 - frozen
        waiting_max: int = 1000,
    ) -> None:
        if waiting_max < 1:
            raise ValueError(f"waiting_max must be at least 1, was {waiting_max}")
        if ADDRESS in limits:
            raise ValueError(f"no group may be called {ADDRESS!r}")
        self._exchange = exchange
        self._limits = dict(limits)
        self._table = table
        self._rules = rules
        self._waiting_max = waiting_max
        self._groups: dict[str, _Group] = {}
        self._ban = Pause()
        self._changed = trio.Event()
        self._refused = 0
        self._wait_s_max = 0.0

    async def on_start(self) -> None:
        """Take up the ledgers where the last incarnation left them."""
        now_s = self.context.clock.now_s()
        self._writer: TableWriter[str, GroupSnapshot] = self._table.claim(self.context.name)
        # Unlike those of any earlier incarnation, whose permits may still come back.
        self._permit_ids = itertools.count((self.context.incarnation << 40) + 1)
        for name, limit in self._limits.items():
            ledger = self._restore(name, limit, now_s)
            self._groups[name] = _Group(name, ledger, waiting_max=self._waiting_max)
            # So that a crash before the first request does not start the same wait again.
            self._writer.put(name, ledger.snapshot())
        address = GroupLedger.restored(
            RateLimit(requests=1), self._rules, self._table.get(ADDRESS), now_s
        )
        self._ban = address.pause if address else Pause()
        self.context.nursery.start_soon(self._grant_in_time)

    async def handle_call(self, request: Request[Any]) -> object:
        """Answer `AcquirePermit` when a slot is free, and `GetLimits` at once."""
        match request:
            case AcquirePermit():
                self._acquire(request, self._group(request.group))
                return None
            case GetLimits():
                return tuple(self._report(group) for group in self._groups.values())
            case _:
                return await super().handle_call(request)

    async def handle_cast(self, event: Event) -> None:
        """Take a permit back, and let the next one go."""
        match event:
            case ReleasePermit():
                self._take_back(event, self._group(event.permit.group))
            case _:
                await super().handle_cast(event)

    def statistics(self) -> LimiterStatistics:
        """Return what has been granted and refused since start."""
        now_s = self.context.clock.now_s()
        groups = self._groups.values()
        return LimiterStatistics(
            granted=sum(group.granted for group in groups),
            rejected=sum(group.rejected for group in groups),
            refused=self._refused,
            queued=sum(group.line.count(now_s) for group in groups),
            wait_s_max=self._wait_s_max,
        )

    # -------------------------------------------------------------- asking

    def _acquire(self, request: AcquirePermit, group: _Group) -> None:
        reply, now_s = self.context.take_reply(), self.context.clock.now_s()
        if reply.deadline_s < self._paused_until_s(group):
            self._refuse_for_pause(group, [reply], now_s)
        elif not group.line.join(reply, request.priority, now_s):
            self._refused += 1
            reply.fail(
                Overloaded(
                    f"{self._exchange}: {self._waiting_max} requests already wait for a slot in "
                    f"group {group.name}, which is the most that may"
                )
            )
        else:
            self._grant(group, now_s)

    def _grant(self, group: _Group, now_s: float) -> None:
        """Let go whoever can go now; the timer sees to the others."""
        while now_s >= self._ban.until_s and group.ledger.free(now_s):
            waiter = group.line.next(now_s)
            if waiter is None:
                return
            permit = Permit(next(self._permit_ids), group.name)
            group.ledger.grant(permit.id, now_s)
            group.granted += 1
            self._wait_s_max = max(self._wait_s_max, now_s - waiter.since_s)
            # Written down before it is given away: a crash in between must not forget it.
            self._writer.put(group.name, group.ledger.snapshot())
            waiter.reply.send(permit)
        if group.line:
            self._changed.set()

    async def _grant_in_time(self) -> None:
        """Let waiters go as time frees their slots; one task for all groups."""
        while True:
            now_s = self.context.clock.now_s()
            next_s = math.inf
            for group in self._groups.values():
                self._grant(group, now_s)
                if group.line:
                    next_s = min(next_s, max(group.ledger.next_change_s(now_s), self._ban.until_s))
            self._changed = trio.Event()
            with trio.move_on_after(max(next_s - now_s, _SLEEP_S_MIN)):
                await self._changed.wait()

    # -------------------------------------------------------------- giving back

    def _take_back(self, event: ReleasePermit, group: _Group) -> None:
        now_s = self.context.clock.now_s()
        granted_s = group.ledger.settle(
            event.permit.id, now_s, sent=event.sent, answered=event.answered
        )
        if event.remaining is not None:
            group.server_remaining = event.remaining
            group.ledger.heed(event.remaining, now_s)
        self._heed_status(event, group, granted_s, now_s)
        self._writer.put(group.name, group.ledger.snapshot())
        self._grant(group, now_s)

    def _heed_status(
        self, event: ReleasePermit, group: _Group, granted_s: float | None, now_s: float
    ) -> None:
        """Pause after a refusal; forget past ones after an answer that is none."""
        ledger, asked_s = group.ledger, event.retry_after_s or 0.0
        if event.status == _TOO_MANY_REQUESTS:
            group.rejected += 1
            ledger.pause = ledger.pause.struck(
                now_s, group.pause_rules, granted_s=granted_s, asked_s=asked_s
            )
            self._announce_pause([group], now_s)
        elif event.status == _BANNED:
            group.rejected += 1
            self._ban = self._ban.struck(now_s, _BAN, granted_s=granted_s, asked_s=asked_s)
            self._writer.put(ADDRESS, GroupSnapshot(pause=self._ban))
            self._announce_pause(self._groups.values(), now_s)
        elif event.answered:
            ledger.pause = ledger.pause.forgiven(group.pause_rules, granted_s=granted_s)
            self._ban = self._ban.forgiven(_BAN, granted_s=granted_s)

    # -------------------------------------------------------------- pauses

    def _paused_until_s(self, group: _Group) -> float:
        return max(group.ledger.pause.until_s, self._ban.until_s)

    def _announce_pause(self, groups: Iterable[_Group], now_s: float) -> None:
        """Log a pause, and tell those who cannot wait so long."""
        for group in groups:
            _log.warning("%s", self._explain_pause(group, now_s))
            hopeless = group.line.leave_before(self._paused_until_s(group))
            self._refuse_for_pause(group, [waiter.reply for waiter in hopeless], now_s)

    def _refuse_for_pause(self, group: _Group, replies: Iterable[Reply], now_s: float) -> None:
        text = self._explain_pause(group, now_s)
        for reply in replies:
            self._refused += 1
            reply.fail(RateLimited(text, retry_after_s=self._paused_until_s(group) - now_s))

    def _explain_pause(self, group: _Group, now_s: float) -> str:
        pause, why = group.ledger.pause, "it answered that there were too many (429"
        scope = f"requests of group {group.name} are paused"
        if self._ban.until_s >= pause.until_s:
            pause, why = self._ban, "it has blocked this address (418"
            scope = "all requests are paused"
        times = "once" if pause.strikes == 1 else f"{pause.strikes} times in a row"
        wait_s = pause.until_s - now_s
        return f"{self._exchange}: {scope} for {wait_s:.1f} s more, because {why}, {times})"

    # -------------------------------------------------------------- small things

    def _group(self, name: str) -> _Group:
        group = self._groups.get(name)
        if group is None:
            raise UnknownGroup(
                f"{self._exchange}: no limit is kept for group {name!r}, there are "
                f"{', '.join(self._groups)}"
            )
        return group

    def _restore(self, name: str, limit: RateLimit, now_s: float) -> GroupLedger:
        snapshot = self._table.get(name)
        if snapshot is not None:
            ledger = GroupLedger.restored(limit, self._rules, snapshot, now_s)
            if ledger is not None:
                return ledger
            _log.error("%s: the ledger of group %s makes no sense", self._exchange, name)
        # Whoever was here before may have spent everything a moment ago. If there was a ledger,
        # that was us, and what we sent may still be under way.
        transit_s = 0.0 if snapshot is None else self._rules.transit_s
        spent_until_s = now_s + limit.period_s + self._rules.margin_s + transit_s
        return GroupLedger(limit, self._rules, spent_until_s=spent_until_s)

    def _report(self, group: _Group) -> GroupLimits:
        now_s = self.context.clock.now_s()
        ledger, queued = group.ledger, group.line.count(now_s)
        next_s = max(ledger.expected_s(now_s, queued), self._ban.until_s)
        return GroupLimits(
            exchange=self._exchange,
            group=group.name,
            requests=ledger.limit.requests,
            period_s=ledger.limit.period_s,
            in_flight=ledger.in_flight,
            held=ledger.used,
            queued=queued,
            next_free_s=max(0.0, next_s - now_s),
            paused_s=max(0.0, self._paused_until_s(group) - now_s),
            server_remaining=group.server_remaining,
            granted=group.granted,
            rejected=group.rejected,
        )
