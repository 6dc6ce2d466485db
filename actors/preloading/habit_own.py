"""The rules of a series by itself: timers, times of the clock, candles."""

from __future__ import annotations

from actors.preloading import habit_rules
from actors.preloading.habit_belief import Belief
from actors.preloading.habit_hours import ACTIVE, HOURS, hour_of, what_hour
from actors.preloading.habit_search import TIMES_MAX, find_clock, find_timer
from actors.preloading.habit_series import SeriesHabits, is_served
from actors.preloading.habit_values import HOUR_MS, LOOKED_MS, Asked, Kind, Rule

# Rules of one series; beyond it the one that failed most often in a row is forgotten.
RULES_MAX = 8
# A rule that is believed so far explains a request.
EXPLAINS = 0.5

# So often in a row may a rule be wrong before it waits for the next active hour, or for a request.
_MISSES_MAX = 4
_MISSES_MAX_TIMER = 2


def meet(series: SeriesHabits, asked: Asked, belief: Belief, fresh: list[Rule]) -> bool:
    """Let each rule of a series know of a request for it.

    Args:
      series: The series.
      asked: The request.
      belief: Judges the rules.
      fresh: Where rules are put that expect something new.

    Returns:
      Whether one of those believed expected the request.
    """
    explained = False
    for rule in series.rules:
        if rule.base_ms and asked.at_ms > habit_rules.over_ms(rule):
            miss(series, rule, asked.at_ms, belief, fresh)
        base_ms = habit_rules.base_of(rule, asked)
        if base_ms is None:
            continue
        explained |= rule.chance >= EXPLAINS
        if rule.base_ms and base_ms < rule.base_ms:
            # Once more for what has come already.
            continue
        if rule.base_ms == base_ms:
            belief.score(rule, asked.at_ms)
        rule.came, rule.missed = True, 0
        habit_rules.adopt(rule, asked)
        if rule.kind != Kind.CANDLE:
            habit_rules.add_lag(rule, asked.at_ms - base_ms)
        next_ms = asked.at_ms if rule.kind == Kind.TIMER else base_ms
        belief.expect(rule, series, next_ms + rule.span_ms)
        fresh.append(rule)
    if not explained and not is_served(series, asked):
        _begin_anew(series, asked, belief, fresh)
    return explained


def _begin_anew(series: SeriesHabits, asked: Asked, belief: Belief, fresh: list[Rule]) -> None:
    """Let timers that have stopped run from a request that nothing explains."""
    for rule in series.rules:
        if rule.kind == Kind.TIMER and (rule.missed or not rule.base_ms):
            habit_rules.adopt(rule, asked)
            belief.expect(rule, series, asked.at_ms + rule.span_ms)
            fresh.append(rule)


def miss(series: SeriesHabits, rule: Rule, now_ms: int, belief: Belief, fresh: list[Rule]) -> None:
    """Note that what a rule expected has not come, and let it expect the next."""
    base_ms, rule.base_ms = rule.base_ms, 0
    next_ms: int | None = base_ms + rule.span_ms
    looked = now_ms <= rule.until_ms + LOOKED_MS
    if looked:
        belief.score(rule, None)
        rule.came = False
        rule.missed += 1
    if rule.kind == Kind.TIMER:
        rule.missed = max(rule.missed, 1)
        if not looked or rule.missed >= _MISSES_MAX_TIMER:
            return
        next_ms = base_ms + rule.span_ms + (rule.low_ms + rule.high_ms) // 2
    elif not looked:
        next_ms = base_ms + ((now_ms - base_ms) // rule.span_ms + 1) * rule.span_ms
    elif rule.missed >= _MISSES_MAX:
        next_ms = _awake_ms(series, rule, base_ms)
    if next_ms is not None:
        belief.expect(rule, series, next_ms)
        fresh.append(rule)


def _awake_ms(series: SeriesHabits, rule: Rule, base_ms: int) -> int | None:
    """Return what a rule of the clock counts from in the next active hour; None if there is none.

    Within a week, that is; and then it waits for a request.
    """
    step_ms = max(rule.span_ms, HOUR_MS)
    for steps in range(1, HOURS * HOUR_MS // step_ms + 1):
        time_ms = base_ms + steps * step_ms
        if rule.span_ms < HOUR_MS:
            # The first of the hour.
            time_ms -= time_ms % HOUR_MS
            time_ms += (base_ms - time_ms) % rule.span_ms
        if what_hour(series.hours, hour_of(time_ms)) == ACTIVE:
            return time_ms
    return None


def discover(series: SeriesHabits, asked: Asked, belief: Belief, fresh: list[Rule]) -> None:
    """Look what a request that nothing explains repeats, and keep it for the next such look."""
    times, at_ms = series.times, asked.at_ms
    found: list[tuple[Rule, int]] = []
    if asked.settled:
        rule = Rule(Kind.CANDLE, asked.key, series.candle_ms, lags=[0])
        found.append((rule, habit_rules.floor_ms(at_ms, series.candle_ms)))
    clock = find_clock(times, at_ms)
    if clock is not None:
        span_ms, offset_ms, lags = clock
        found.append((Rule(Kind.CLOCK, asked.key, span_ms, offset_ms, lags=lags), at_ms))
    timer = find_timer(times, at_ms)
    if timer is not None:
        span_ms, lags = timer
        found.append((Rule(Kind.TIMER, asked.key, span_ms, lags=lags), at_ms))
    for rule, from_ms in found:
        base_ms = from_ms + rule.span_ms
        if not any(habit_rules.is_same(rule, base_ms, other) for other in series.rules):
            _add(series, rule, asked)
            belief.expect(rule, series, base_ms)
            fresh.append(rule)
    if not times or at_ms > times[-1]:
        times.append(at_ms)
        del times[:-TIMES_MAX]


def _add(series: SeriesHabits, rule: Rule, asked: Asked) -> None:
    habit_rules.adopt(rule, asked)
    habit_rules.add_lag(rule, rule.lags.pop())
    rule.record = [0] * 12
    if len(series.rules) >= RULES_MAX:
        stalest = max(series.rules, key=lambda each: (each.missed, -each.chance))
        stalest.base_ms = 0
        series.rules.remove(stalest)
    series.rules.append(rule)
