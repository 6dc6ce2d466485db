"""Reports on the lanes of a rate limiter: plain functions from its state to values and words."""

from __future__ import annotations

import msgspec

from actors.lanes import Desk, Lane
from actors.limit_words import explain_group
from actors.messages import Priority
from actors.pauses import Pause
from actors.preload_messages import ForecastSlots, SlotForecast
from actors.reports import ClassUse, GroupLimits, WindowUse


def report_lane(exchange: str, lane: Lane, desk: Desk, ban: Pause, now_s: float) -> GroupLimits:
    """Return how a lane is doing, with the reasons in words.

    Args:
      exchange: The exchange's name.
      lane: The lane.
      desk: The desk it stands before.
      ban: The pause of the whole address.
      now_s: The time.
    """
    group, holder = lane.key
    ledger = lane.ledger
    ledger.tidy(now_s)
    classes = tuple(_report_class(lane, desk, priority, ban, now_s) for priority in Priority)
    heard = lane.server_remaining is not None
    report = GroupLimits(
        exchange=exchange,
        group=group,
        holder=holder,
        windows=tuple(
            # What others have spent, or what is not known, can be more than there is.
            WindowUse(
                requests=limit.requests,
                period_s=limit.period_s,
                used=min(used, limit.requests),
            )
            for limit, used in zip(ledger.windows, ledger.used, strict=True)
        ),
        classes=classes,
        in_flight=ledger.in_flight,
        queued=len(lane.line),
        next_free_s=min(each.next_free_s for each in classes),
        paused_s=max(0.0, max(ledger.pause.until_s, ban.until_s) - now_s),
        paused_because=explain_pause(lane, ban, now_s),
        server_remaining=lane.server_remaining,
        server_heard_s=now_s - lane.server_heard_s if heard else None,
        granted=sum(lane.granted.values()),
        rejected=lane.rejected,
        refused=lane.refused,
    )
    return msgspec.structs.replace(report, explanation=explain_group(report))


def forecast_slots(
    request: ForecastSlots, lane: Lane, desk: Desk, ban: Pause, now_s: float
) -> SlotForecast:
    """Return when further requests will have been answered, as things stand.

    Args:
      request: How many.
      lane: The lane they would wait in.
      desk: The desk it stands before.
      ban: The pause of the whole address.
      now_s: The time.
    """
    not_before_s = max(now_s, ban.until_s)
    answered_s = [
        max(not_before_s, desk.forecast_s(lane, request.priority, each, now_s)) - now_s
        for each in request.requests
    ]
    return SlotForecast(answered_s=tuple(answered_s), journey_s=lane.journey_s)


def explain_pause(lane: Lane, ban: Pause, now_s: float) -> str:
    """Return why a lane is paused, and for how long; empty if it is not."""
    own = max(lane.ledgers, key=lambda ledger: ledger.pause.until_s).pause
    pause, why = own, "the exchange answered that there were too many (429"
    scope = f"requests of group {lane.key[0]} are paused"
    if ban.until_s >= own.until_s:
        pause, why = ban, "the exchange has blocked this address (418"
        scope = "all requests are paused"
    if pause.until_s <= now_s:
        return ""
    times = "once" if pause.strikes == 1 else f"{pause.strikes} times in a row"
    return f"{scope} for {pause.until_s - now_s:.1f} s more, because {why}, {times})"


def _report_class(lane: Lane, desk: Desk, priority: Priority, ban: Pause, now_s: float) -> ClassUse:
    earliest_s = max(desk.earliest_s(lane, priority, 1, now_s), ban.until_s)
    return ClassUse(
        priority=priority.name.lower(),
        share=desk.shares[priority],
        queued=lane.line.count(priority),
        next_free_s=max(0.0, earliest_s - now_s),
        granted=lane.granted[priority],
    )
