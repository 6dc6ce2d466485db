"""At which hours of the week a series is asked for."""

from __future__ import annotations

from actors.preloading.habit_hours import ACTIVE, HOURS, QUIET, UNKNOWN, mark, no_hours, what_hour


def test_an_hour_that_was_not_seen_goes_by_the_same_hour_of_other_days() -> None:
    """On its second day a habit is known to sleep at night."""
    hours = no_hours()
    assert what_hour(hours, 9) == UNKNOWN
    mark(hours, 9, active=True)
    mark(hours, 10, active=False)

    assert [what_hour(hours, 24 * day + 9) for day in range(7)] == [ACTIVE] * 7
    assert what_hour(hours, 24 + 10) == QUIET
    assert what_hour(hours, 24 + 11) == UNKNOWN


def test_one_holiday_is_not_a_new_habit_and_two_are() -> None:
    """What was so for a long time is forgotten in two weeks."""
    hours = no_hours()
    for week in range(5):
        mark(hours, week * HOURS, active=True)

    mark(hours, 0, active=False)
    assert what_hour(hours, 0) == ACTIVE
    mark(hours, 0, active=False)
    assert what_hour(hours, 0) == QUIET
