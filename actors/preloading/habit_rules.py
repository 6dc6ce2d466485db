"""What one rule expects: which requests are its own, and when the page for the next must be there.

Plain functions on a `Rule`; how far it is believed is in `habit_belief`.
"""

from __future__ import annotations

from collections.abc import Iterable

from actors.preloading.habit_values import (
    FOLLOWER_LAGS_MAX,
    LAGS_MAX,
    MONDAY_MS,
    PAGE_MS,
    SETTLE_MS,
    WEEK_MS,
    Asked,
    Kind,
    Rule,
)

# A page is there so much earlier than the earliest request it is for, if it keeps so long.
_GUARD_MS = 300
# A page is not asked for before the end of a candle if it is for after that, and clocks differ.
_CLOCKS_MS = 20
# How far from what was seen a request may be and still be the one expected.
_SLACK_MS = 500
_SLACK_MS_MAX = 2_000


def floor_ms(at_ms: int, span_ms: int) -> int:
    """Return the last border at or before `at_ms` of a clock that ticks every `span_ms`."""
    origin_ms = MONDAY_MS if span_ms == WEEK_MS else 0
    return (at_ms - origin_ms) // span_ms * span_ms + origin_ms


def add_lag(rule: Rule, lag_ms: int) -> None:
    """Keep a lag, and find anew which lags one page can serve together: as many as can be.

    Of two choices with equally many the later is taken.
    """
    lags = rule.lags
    lags.append(lag_ms)
    if len(lags) > (FOLLOWER_LAGS_MAX if rule.kind == Kind.AFTER else LAGS_MAX):
        del lags[0]
    ordered = sorted(lags)
    low_ms, high_ms = ordered[0], ordered[-1]
    slack_ms = min(max(high_ms - low_ms, _SLACK_MS), _SLACK_MS_MAX)
    rule.near_ms, rule.far_ms = low_ms - slack_ms, high_ms + slack_ms
    width_ms = max(0, rule.max_age_ms - PAGE_MS)
    if high_ms - low_ms <= width_ms:
        rule.low_ms, rule.high_ms, rule.share = low_ms, high_ms, 1.0
        return
    first = best = 0
    for last, high_ms in enumerate(ordered):
        while high_ms - ordered[first] > width_ms:
            first += 1
        if last - first + 1 >= best:
            best = last - first + 1
            rule.low_ms, rule.high_ms = ordered[first], high_ms
    rule.share = best / len(ordered)


def base_of(rule: Rule, asked: Asked) -> int | None:
    """Return what a rule counted from if it expected a request like this; None if it did not."""
    if rule.kind == Kind.CANDLE:
        return floor_ms(asked.at_ms, rule.span_ms) if asked.settled else None
    base_ms = rule.base_ms
    if rule.kind == Kind.CLOCK:
        # The nearest, whether it expects just that or not.
        shifted_ms = asked.at_ms - rule.offset_ms + rule.span_ms // 2
        base_ms = floor_ms(shifted_ms, rule.span_ms) + rule.offset_ms
    is_near = rule.near_ms <= asked.at_ms - base_ms <= rule.far_ms
    return base_ms if base_ms and is_near else None


def is_same(rule: Rule, base_ms: int, other: Rule) -> bool:
    """Return whether a rule that was just found, and would count from then, says what another says.

    Two bots may sleep as long, but not at the same time.
    """
    if rule.kind != other.kind:
        return False
    if rule.kind == Kind.TIMER:
        is_as_long = other.near_ms <= rule.span_ms - other.span_ms <= other.far_ms
        at_once = other.near_ms <= base_ms - other.base_ms <= other.far_ms
        return is_as_long and (at_once or not other.base_ms)
    if rule.span_ms != other.span_ms:
        return False
    apart_ms = (rule.offset_ms - other.offset_ms + rule.span_ms // 2) % rule.span_ms
    return other.near_ms <= apart_ms - rule.span_ms // 2 <= other.far_ms


def over_ms(rule: Rule) -> int:
    """Return the moment after which what the rule expects has not come."""
    return rule.until_ms if rule.kind == Kind.CANDLE else rule.base_ms + rule.far_ms


def adopt(rule: Rule, asked: Asked) -> None:
    """Take over what was asked for last."""
    rule.depth, rule.closed, rule.max_age_ms = asked.depth, asked.closed, asked.max_age_ms


def expect(rule: Rule, base_ms: int, candle_ms: int) -> None:
    """Let a rule count from `base_ms`; set when its page must be there, and till when it serves.

    A page is for requests after the end of a candle or for requests before it: who asks because a
    candle has ended must not be given what was so before.

    Args:
      rule: The rule.
      base_ms: What it counts from.
      candle_ms: How long a candle of its series lasts; 0 if that is not known.
    """
    rule.base_ms, rule.said = base_ms, False
    if rule.kind == Kind.CANDLE:
        rule.settled, rule.from_ms = True, base_ms + SETTLE_MS
        rule.due_ms = rule.from_ms + 2 * PAGE_MS
        rule.until_ms = base_ms + rule.span_ms
        return
    first_ms, last_ms = base_ms + rule.low_ms, base_ms + rule.high_ms
    spare_ms = max(0, rule.max_age_ms - PAGE_MS - (last_ms - first_ms))
    due_ms = first_ms - min(spare_ms // 2, _GUARD_MS)
    border_ms = floor_ms(first_ms, candle_ms) if candle_ms else 0
    rule.settled = (
        rule.closed and candle_ms > SETTLE_MS and first_ms >= border_ms + SETTLE_MS + PAGE_MS
    )
    if rule.settled:
        rule.from_ms = border_ms + SETTLE_MS
        rule.due_ms = max(due_ms, rule.from_ms + PAGE_MS)
        rule.until_ms = border_ms + candle_ms
        return
    begin_ms = border_ms + _CLOCKS_MS if candle_ms > rule.max_age_ms else 0
    rule.due_ms = max(due_ms, begin_ms + PAGE_MS)
    rule.until_ms = rule.due_ms - PAGE_MS + rule.max_age_ms
    rule.from_ms = max(min(last_ms, rule.until_ms) - rule.max_age_ms, begin_ms)


def covers(rule: Rule, other: Rule) -> bool:
    """Return whether the page for what `rule` expects serves what `other` expects, too."""
    asked_ms = rule.due_ms - PAGE_MS
    if other.kind == Kind.CANDLE or other.settled:
        return other.from_ms <= asked_ms < other.until_ms
    return other.from_ms <= asked_ms <= other.base_ms + other.low_ms


def is_best(rule: Rule, others: Iterable[Rule]) -> bool:
    """Return whether none of the others knows better of the same request."""
    mine = (rule.chance, -rule.turn)
    return not any(
        other.base_ms
        and other is not rule
        and (other.chance, -other.turn) > mine
        and covers(other, rule)
        for other in others
    )
