"""How much a rule is to be believed.

As far as it came true: counts that fade, kept apart by situation. Whether it came true the last
time says most, because who asks every minute goes on doing so, and who stopped has stopped; the
hour of the week says the rest (`habit_hours`). So a habit that ends costs one page, and one that
comes back is believed from its second time on. Of a young rule too little is known, so it has the
benefit, or the blame, of what became of other young rules of its kind.
"""

from __future__ import annotations

import msgspec

from actors.preloading import habit_rules
from actors.preloading.habit_hours import hour_of, what_hour
from actors.preloading.habit_series import SeriesHabits
from actors.preloading.habit_values import ONE, PAGE_MS, Kind, Rule

# Until a rule was put to the test so often it is young.
_YOUNG = 4 * ONE


def _doubt() -> list[int]:
    """Return the record of young rules before there were any: one in two came true."""
    return [ONE, 2 * ONE] * (2 * len(Kind))


class Belief(msgspec.Struct, array_like=True, eq=False):
    """Believes rules as far as they came true.

    Attributes:
      young: What young rules came to: came true and was expected, alternating; of each kind after
        it came true the last time, and after it did not.
      turn: How often something was expected.
    """

    young: list[int] = msgspec.field(default_factory=_doubt)
    turn: int = 0

    def expect(self, rule: Rule, series: SeriesHabits, base_ms: int) -> None:
        """Let a rule of a series count from `base_ms`, and judge how likely it is to come true."""
        habit_rules.expect(rule, base_ms, series.candle_ms)
        self.turn += 1
        rule.turn = self.turn
        rule.situation = 0 if rule.came else 1
        if rule.kind != Kind.AFTER:
            rule.situation += 2 * what_hour(series.hours, hour_of(rule.due_ms))
        self.judge(rule)

    def judge(self, rule: Rule) -> None:
        """Set how likely what a rule expects comes true in its present situation."""
        record, state = rule.record, 2 * (rule.situation % 2)
        at = 4 * rule.kind + state
        usual = self.young[at] / self.young[at + 1] * rule.share * ONE
        if rule.kind == Kind.AFTER:
            # Told apart by no hours.
            rule.chance = (record[state] + usual) / (record[state + 1] + ONE)
            return
        usual = (sum(record[state::4]) + usual) / (sum(record[state + 1 :: 4]) + ONE)
        at = 2 * rule.situation
        rule.chance = (record[at] + usual * ONE) / (record[at + 1] + ONE)

    def score(self, rule: Rule, at_ms: int | None) -> None:
        """Count whether a request came while the page would have served; None if it did not come.

        One that came before the page was asked for proves nothing: nothing would have been fetched.
        """
        if at_ms is not None and at_ms < rule.due_ms - PAGE_MS:
            return
        came = at_ms is not None and at_ms <= rule.until_ms
        if sum(rule.record[1::2]) < _YOUNG:
            at = 4 * rule.kind + 2 * (rule.situation % 2)
            _count(self.young, at, 50, came=came)
        _count(rule.record, 2 * rule.situation, 10, came=came)


def _count(record: list[int], at: int, memory: int, *, came: bool) -> None:
    """Add one to a record that remembers about the newest `memory`."""
    record[at] = record[at] * (memory - 1) // memory + came * ONE
    record[at + 1] = record[at + 1] * (memory - 1) // memory + ONE
