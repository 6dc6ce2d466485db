"""What is asked for after what: one series after another, or after another two.

A few series that were asked for just now are remembered, and what comes is taken for what follows
them. Most of it does not: such followers are forgotten as they fail, and cost little until then. A
follower only speaks up where no rule of the series itself knows better.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping

from actors.preloading import habit_rules
from actors.preloading.habit_belief import Belief
from actors.preloading.habit_own import EXPLAINS
from actors.preloading.habit_series import SeriesHabits
from actors.preloading.habit_values import CHANCE_MIN, Asked, Kind, Rule, SeriesKey

# What follows one series after one other, and after two; beyond it what failed most often in a
# row is forgotten.
FOLLOWERS_MAX = 8
SECOND_MAX = 4

# What follows comes within this time, and with at most so many others in between.
_FOLLOW_MS = 10_000
_RECENT_MAX = 8
# What failed so often in a row is no habit.
_MISSES_MAX = 4
# Of so many it may be found that something follows them.
_LINKED_MAX = 4


class Chains:
    """Learns what is asked for after what.

    Args:
      series: All series that are known.
      belief: Judges the rules.
    """

    def __init__(self, series: Mapping[SeriesKey, SeriesHabits], belief: Belief) -> None:
        self.recent: deque[tuple[SeriesKey, int]] = deque(maxlen=_RECENT_MAX)
        self._series = series
        self._belief = belief

    def follow(self, series: SeriesHabits, asked: Asked, *, explained: bool) -> bool:
        """Let the rules that expect a series after others know of a request for it.

        Args:
          series: The series.
          asked: The request.
          explained: Whether a rule of the series itself did expect it: then one that was not told
            has proved nothing.

        Returns:
          Whether one of those believed expected it.
        """
        expected = False
        for rule in self.leading_to(asked.key, asked.at_ms):
            lag_ms = asked.at_ms - rule.base_ms
            if not rule.base_ms or lag_ms > _FOLLOW_MS:
                continue
            if rule.said or not explained:
                expected |= rule.chance >= EXPLAINS
                if not rule.said:
                    habit_rules.expect(rule, rule.base_ms, series.candle_ms)
                self._belief.score(rule, asked.at_ms)
                rule.came, rule.missed = True, 0
            habit_rules.adopt(rule, asked)
            habit_rules.add_lag(rule, lag_ms)
            rule.base_ms = 0
        return expected

    def leading_to(self, key: SeriesKey, at_ms: int) -> Iterator[Rule]:
        """Return the rules by which a series follows what was asked for lately."""
        before: list[SeriesKey] = []
        for source, when_ms in self.recent:
            if at_ms - when_ms > _FOLLOW_MS:
                continue
            series = self._series.get(source)
            if series is not None:
                for rule in series.followers.get(key, ()):
                    if rule.before is None or rule.before in before:
                        yield rule
            before.append(source)

    def lead(self, series: SeriesHabits, asked: Asked, fresh: list[Rule]) -> None:
        """Expect what follows a request; put the rules that do into `fresh`."""
        if series.followers:
            self._expect_followers(series, asked, fresh)
        self.recent.append((asked.key, asked.at_ms))

    def _expect_followers(self, series: SeriesHabits, asked: Asked, fresh: list[Rule]) -> None:
        before = {each for each, when_ms in self.recent if asked.at_ms - when_ms <= _FOLLOW_MS}
        failed: list[Rule] = []
        for rules in series.followers.values():
            for rule in rules:
                if rule.base_ms:
                    # It came again, and what should have followed has not.
                    self._belief.score(rule, None)
                    rule.came, rule.base_ms = False, 0
                    rule.missed += 1
                    if rule.missed >= _MISSES_MAX:
                        failed.append(rule)
                        continue
                if rule.before is None or rule.before in before:
                    self._expect(rule, asked.at_ms, fresh)
        for rule in failed:
            _forget(series, rule)

    def _expect(self, rule: Rule, at_ms: int, fresh: list[Rule]) -> None:
        target = self._series.get(rule.key)
        if target is None:
            return
        rule.base_ms, rule.said, rule.situation = at_ms, False, 0 if rule.came else 1
        self._belief.judge(rule)
        if rule.chance < CHANCE_MIN:
            # The rest is made up for if it comes true.
            return
        self._belief.expect(rule, target, at_ms)
        if target.paged_ms >= rule.from_ms or any(
            other.base_ms and other.chance >= rule.chance and habit_rules.covers(other, rule)
            for other in target.rules
        ):
            rule.base_ms = 0
        else:
            fresh.append(rule)

    def link(self, asked: Asked) -> None:
        """Take what came just before for what a request follows, if that is not known yet."""
        recent = [each for each in self.recent if asked.at_ms - each[1] <= _FOLLOW_MS]
        previous: SeriesKey | None = None
        for source, when_ms in recent[-_LINKED_MAX:]:
            leader = self._series.get(source)
            if leader is not None and source != asked.key:
                known = leader.followers.get(asked.key, ())
                for before in (None, previous):
                    if any(rule.before == before for rule in known) or before == source:
                        continue
                    _make_room(leader, second=before is not None)
                    rule = Rule(Kind.AFTER, asked.key, source=source, before=before)
                    rule.record = [0] * 4
                    habit_rules.adopt(rule, asked)
                    habit_rules.add_lag(rule, asked.at_ms - when_ms)
                    known = leader.followers.setdefault(asked.key, [])
                    known.append(rule)
            previous = source


def _make_room(series: SeriesHabits, *, second: bool) -> None:
    """Forget what failed most often of what follows a series, if there is no room for more."""
    same = [
        rule
        for rules in series.followers.values()
        for rule in rules
        if (rule.before is not None) is second
    ]
    if len(same) < (SECOND_MAX if second else FOLLOWERS_MAX):
        return
    stalest = max(same, key=lambda rule: (rule.missed, -rule.turn))
    _forget(series, stalest)


def _forget(series: SeriesHabits, rule: Rule) -> None:
    rule.base_ms = 0
    rules = series.followers[rule.key]
    rules.remove(rule)
    if not rules:
        del series.followers[rule.key]
