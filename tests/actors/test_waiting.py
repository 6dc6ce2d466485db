"""`WaitingLine`: whose turn it is, and who has gone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.messages import Priority
from actors.waiting import WaitingLine
from runtime.core.mailbox import Reply

PRIORITIES = st.sampled_from(list(Priority))


def gone(reply: Reply) -> Reply:
    """Return the reply as its caller leaves it when he is cancelled."""
    reply.abandoned = True
    return reply


@given(st.lists(PRIORITIES, max_size=30))
def test_turns_go_by_priority_and_then_by_arrival(priorities: list[Priority]) -> None:
    """First come, first served, among equals."""
    line = WaitingLine(100)
    replies = [Reply(deadline_s=10.0) for _ in priorities]
    for reply, priority in zip(replies, priorities, strict=True):
        assert line.join(reply, priority, 0.0)

    order = []
    while waiter := line.next(0.0):
        order.append(replies.index(waiter.reply))

    assert order == sorted(range(len(priorities)), key=lambda index: priorities[index])


def test_who_has_gone_is_passed_over() -> None:
    """A slot given to nobody would be lost until it heals."""
    line = WaitingLine(100)
    late, there = Reply(deadline_s=1.0), Reply(deadline_s=9.0)
    for reply in (gone(Reply(deadline_s=9.0)), late, there):
        line.join(reply, Priority.ASKED, 0.0)

    assert line.count(2.0) == 1
    waiter = line.next(2.0)
    assert waiter is not None
    assert waiter.reply is there
    assert line.next(2.0) is None


def test_a_full_line_takes_nobody_until_somebody_has_gone() -> None:
    """The bound is on those who wait, not on those who once did."""
    line = WaitingLine(2)
    first = Reply(deadline_s=9.0)
    assert line.join(first, Priority.ASKED, 0.0)
    assert line.join(Reply(deadline_s=9.0), Priority.ASKED, 0.0)
    assert not line.join(Reply(deadline_s=9.0), Priority.ASKED, 0.0)

    gone(first)

    assert line.join(Reply(deadline_s=9.0), Priority.ASKED, 0.0)
    assert line.count(0.0) == 2


def test_those_without_the_time_to_wait_leave_together() -> None:
    """When a pause begins they can be told at once, instead of timing out one by one."""
    line = WaitingLine(10)
    for deadline_s in (5.0, 1.0, 3.0):
        line.join(Reply(deadline_s=deadline_s), Priority.ASKED, 0.0)

    assert sorted(waiter.reply.deadline_s for waiter in line.leave_before(3.0)) == [1.0]
    assert line.count(0.0) == 2
