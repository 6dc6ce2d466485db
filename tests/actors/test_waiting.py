"""`WaitingLine`: whose turn it is, and who has gone."""

from __future__ import annotations

import itertools

import trio
from hypothesis import given
from hypothesis import strategies as st

from actors.messages import Priority
from actors.waiting import Waiter, WaitingLine
from runtime.core.mailbox import Reply

PRIORITIES = st.sampled_from(list(Priority))
ARRIVALS = itertools.count()


def waiter(priority: Priority = Priority.ASKED, *, weight: int = 1) -> Waiter:
    """Return somebody who comes after all before him."""
    return Waiter(next(ARRIVALS), priority, weight, 0.0, Reply(deadline_s=10.0))


@given(st.lists(PRIORITIES, max_size=30))
def test_each_priority_is_served_in_the_order_in_which_it_came(priorities: list[Priority]) -> None:
    """First come, first served, among equals."""
    line = WaitingLine()
    waiters = [waiter(priority) for priority in priorities]
    for each in waiters:
        line.join(each, left=lambda: None)
    for priority in Priority:
        served = []
        while (first := line.first(priority)) is not None:
            served.append(first)
            line.remove(first)
        assert served == [each for each in waiters if each.priority is priority]
    assert len(line) == 0


@given(st.lists(st.tuples(PRIORITIES, st.integers(1, 5), st.booleans()), max_size=30))
def test_the_figures_are_those_of_the_ones_who_wait(
    joins: list[tuple[Priority, int, bool]],
) -> None:
    """Forecasts are made of them, so nobody who has gone may count."""
    line = WaitingLine()
    there = []
    for priority, weight, stays in joins:
        each = waiter(priority, weight=weight)
        line.join(each, left=lambda: None)
        if stays:
            there.append(each)
        else:
            line.remove(each)

    assert list(line) == sorted(there, key=lambda each: (each.priority, each.arrival))
    for priority in Priority:
        same = [each for each in there if each.priority is priority]
        above = [each for each in there if each.priority < priority]
        assert line.count(priority) == len(same)
        assert line.weights[priority] == sum(each.weight for each in same)
        assert line.above(priority) == (sum(each.weight for each in above), len(above))


async def test_who_goes_leaves_the_line_at_once_and_it_is_told() -> None:
    """His place may have been all that kept others waiting."""
    line, left = WaitingLine(), []
    gone, stays = waiter(), waiter()
    for each in (gone, stays):
        line.join(each, left=lambda: left.append(trio.current_time()))
    with trio.move_on_after(1.0):
        await gone.reply.wait()

    assert gone.reply.answered, "a reply that is never used would be remembered for ever"
    assert list(line) == [stays]
    assert left == [1.0]


async def test_who_was_served_before_he_went_is_not_missed() -> None:
    """The permit is his, and he gives it back himself."""
    line, left = WaitingLine(), []
    served = waiter()
    line.join(served, left=lambda: left.append(1))
    line.remove(served)
    with trio.move_on_after(1.0):
        await served.reply.wait()

    assert left == []
    assert not served.reply.answered
