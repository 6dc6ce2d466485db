"""`Habits`: what is learnt from requests, and which are expected next. Plain code, no clock inside.

Of each series a few rules are kept: timers that run since the last request, times of the clock,
whether closed candles are asked for once they are proven (`habit_own`), and what comes after what
(`habit_chains`). A rule is found among requests that nothing explains yet (`habit_search`), expects
one occurrence at a time, and is believed as far as it came true (`habit_belief`). Whoever acts on
predictions asks before whether one still `stands`: the request may have come, or a better rule
speak of the same.

All times are UTC milliseconds of the exchange's clock, and come in. The same calls give the same
predictions.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from actors.preloading import habit_file, habit_own, habit_rules
from actors.preloading.habit_belief import Belief
from actors.preloading.habit_chains import Chains
from actors.preloading.habit_series import (
    SeriesHabits,
    is_served,
    is_settled,
    mark_hours,
    new_series,
)
from actors.preloading.habit_values import (
    CHANCE_MIN,
    LOOKED_MS,
    Asked,
    Kind,
    Prediction,
    Rule,
    SeriesKey,
)

# Beyond it the series asked for longest ago is forgotten.
SERIES_MAX = 2_000
# Told in one step.
STEP_MAX = 3

# A clock that is set back by more than this makes all moments void.
_SET_BACK_MS = 60_000
# Occurrences looked at in one step; the rest wait for the next.
_LOOKED_AT_MAX = 16
# Of the agenda, which may hold what is out of date.
_AGENDA_MAX = 65_536


class Habits:
    """Learns from requests for candles of one exchange which come next, and when.

    At most `SERIES_MAX` series are known, with a bounded number of rules each.
    """

    def __init__(self) -> None:
        # The series asked for last stands last.
        self._series: dict[SeriesKey, SeriesHabits] = {}
        self._belief = Belief()
        self._chains = Chains(self._series, self._belief)
        # What is to be looked at when: because it was not told, or has not come.
        self._agenda: list[tuple[int, int, Rule]] = []
        self._now_ms = 0
        self._watched_ms = 0

    def __len__(self) -> int:
        """Return of how many series something is known."""
        return len(self._series)

    @property
    def wake_ms(self) -> int | None:
        """Return when `expire` has something to do; None if never. It may have passed."""
        return self._agenda[0][0] if self._agenda else None

    def note(
        self, key: SeriesKey, at_ms: int, *, depth: int, closed: bool, max_age_s: float
    ) -> tuple[Prediction, ...]:
        """Learn from a request, and return what is expected because of it.

        Args:
          key: The series.
          at_ms: When it was asked for, on the exchange's clock.
          depth: How many candles.
          closed: Whether only closed ones.
          max_age_s: How old the page may be that answers it, in seconds.

        Returns:
          At most `STEP_MAX` predictions, the likeliest first. What else is expected is returned by
          `expire`.
        """
        at_ms = self._watch(at_ms)
        series = self._touch(key, at_ms)
        settled = is_settled(series, at_ms, closed=closed)
        asked = Asked(key, at_ms, depth, closed, round(max_age_s * 1000), settled)
        fresh: list[Rule] = []
        explained = habit_own.meet(series, asked, self._belief, fresh)
        explained |= self._chains.follow(series, asked, explained=explained)
        # Requests that one page serves are one need, and only the first of them tells anything.
        if not is_served(series, asked):
            series.paged_ms = at_ms
            if not explained:
                habit_own.discover(series, asked, self._belief, fresh)
                self._chains.link(asked)
            self._chains.lead(series, asked, fresh)
        return self._tell(fresh)

    def expire(self, now_ms: int) -> tuple[Prediction, ...]:
        """Score what was expected and has not come, and return what is expected in its stead.

        To be called again as long as `wake_ms` has passed: one step does a bounded part.

        Returns:
          At most `STEP_MAX` predictions, the likeliest first.
        """
        now_ms = self._watch(now_ms)
        fresh: list[Rule] = []
        for _ in range(_LOOKED_AT_MAX):
            if not self._agenda or self._agenda[0][0] > now_ms:
                break
            _, turn, rule = heapq.heappop(self._agenda)
            if rule.turn != turn or not rule.base_ms:
                continue
            if rule.said:
                habit_own.miss(self._series[rule.key], rule, now_ms, self._belief, fresh)
            else:
                fresh.append(rule)
        return self._tell(fresh)

    def stands(self, prediction: Prediction) -> bool:
        """Return whether a request is still expected, and no better rule speaks of the same one."""
        series = self._series.get(prediction.key)
        if series is None or not prediction.stands:
            return False
        others = (*series.rules, *self._chains.leading_to(series.key, self._now_ms))
        return habit_rules.is_best(prediction.rule, others)

    def standing(self) -> Iterator[Prediction]:
        """Return all that is expected by now, in no order: to go on after a restart, or to show."""
        for series in self._series.values():
            for rule in series.all_rules():
                if rule.said and rule.base_ms and rule.until_ms > self._now_ms:
                    yield _prediction(rule)

    def resume(self, now_ms: int) -> None:
        """Take note that nobody has looked until now, as when the process was not there.

        Then hours without requests tell nothing.
        """
        self._watched_ms = self._watch(now_ms)

    def encode(self) -> bytes:
        """Return all that is learnt, to be kept; at most `habit_file.BYTES_MAX` bytes."""
        series = list(self._series.values())
        while True:
            kept = habit_file.KeptHabits(
                self._now_ms, self._watched_ms, self._belief, list(self._chains.recent), series
            )
            data = habit_file.pack(kept)
            if len(data) <= habit_file.BYTES_MAX:
                return data
            # Names may be of any length; those asked for last are worth most.
            del series[: len(series) - int(0.9 * len(series) * habit_file.BYTES_MAX / len(data))]

    @classmethod
    def decode(cls, data: bytes) -> Habits:
        """Return what `encode` wrote, as if nothing had happened in between.

        Raises:
          ValueError: It is something else, or damaged; says what is wrong.
        """
        kept = habit_file.unpack(data)
        habits = cls()
        habits._now_ms, habits._watched_ms = kept.now_ms, kept.watched_ms
        habits._series.update((series.key, series) for series in kept.series)
        habits._belief = kept.belief
        habits._chains = Chains(habits._series, kept.belief)
        habits._chains.recent.extend(kept.recent)
        for series in kept.series:
            for rule in series.rules:
                if rule.base_ms:
                    habits._plan(rule)
        return habits

    # -------------------------------------------------------------- what is known

    def _watch(self, now_ms: int) -> int:
        """Return the time, which never runs backwards here: set back, it makes all moments void."""
        if now_ms < self._now_ms - _SET_BACK_MS:
            self._forget_moments()
            self._now_ms = self._watched_ms = now_ms
        elif self._agenda and now_ms > self._agenda[0][0] + LOOKED_MS:
            # Somebody who looked would have come sooner.
            self._watched_ms = now_ms
        self._now_ms = max(self._now_ms, now_ms)
        return self._now_ms

    def _forget_moments(self) -> None:
        self._agenda.clear()
        self._chains.recent.clear()
        for series in self._series.values():
            series.times.clear()
            series.paged_ms = 0
            for rule in series.all_rules():
                rule.base_ms = 0

    def _touch(self, key: SeriesKey, at_ms: int) -> SeriesHabits:
        """Return what is known of a series, with its hours up to date."""
        series = self._series.pop(key, None) or new_series(key, at_ms)
        self._series[key] = series
        if len(self._series) > SERIES_MAX:
            for rule in self._series.pop(next(iter(self._series))).all_rules():
                rule.base_ms = 0
        mark_hours(series, at_ms, watched_ms=self._watched_ms)
        return series

    # -------------------------------------------------------------- telling

    def _tell(self, fresh: list[Rule]) -> tuple[Prediction, ...]:
        """Return the likeliest of what is newly expected; put the rest on the agenda."""
        told: list[Rule] = []
        fresh.sort(key=_urgency)
        for rule in fresh:
            if rule.said or not rule.base_ms:
                # It stands twice in the list if it was wrong and right in one step.
                continue
            rule.said = True
            if self._is_worth_telling(rule):
                if len(told) < STEP_MAX:
                    told.append(rule)
                else:
                    # What follows something else is over before there is another step.
                    rule.said = rule.kind == Kind.AFTER
            if rule.kind != Kind.AFTER:
                self._plan(rule)
        if len(self._agenda) > _AGENDA_MAX:
            self._agenda = [each for each in self._agenda if each[2].turn == each[1]]
            heapq.heapify(self._agenda)
        told.sort(key=lambda rule: -rule.chance)
        return tuple([_prediction(rule) for rule in told])

    def _is_worth_telling(self, rule: Rule) -> bool:
        if rule.chance < CHANCE_MIN or rule.until_ms <= max(rule.due_ms, self._now_ms):
            return False
        series = self._series.get(rule.key)
        return series is not None and habit_rules.is_best(rule, series.rules)

    def _plan(self, rule: Rule) -> None:
        """Look at a rule again when what it expects has not come, or at once if it was not told."""
        when_ms = habit_rules.over_ms(rule) + 1 if rule.said else self._now_ms
        heapq.heappush(self._agenda, (when_ms, rule.turn, rule))


def _urgency(rule: Rule) -> tuple[bool, float]:
    # What follows at once cannot wait for another step.
    return (rule.kind != Kind.AFTER, -rule.chance)


def _prediction(rule: Rule) -> Prediction:
    return Prediction(
        rule.key,
        rule.due_ms,
        rule.until_ms,
        rule.from_ms,
        rule.chance,
        rule.depth,
        rule.closed,
        rule,
        rule.turn,
    )
