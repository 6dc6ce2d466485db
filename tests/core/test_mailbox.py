"""`Mailbox`: bounded, first in first out, and everybody who waits hears something."""

from __future__ import annotations

import math

import pytest
import trio
import trio.testing

from runtime.core.errors import ActorDown, ActorRestarted, BadSpec, MailboxFull, MessageDropped
from runtime.core.mailbox import Envelope, Mailbox, MailboxSpec, Overflow, Reply
from runtime.core.message import Event, Request


class Ask(Request[int], frozen=True):
    """A request with a number to tell it from others."""

    number: int


class Tell(Event, frozen=True):
    """An event with a number to tell it from others."""

    number: int


def ask(number: int) -> tuple[Envelope, Reply]:
    """Return a request on its way, and the place where its sender waits."""
    reply = Reply(math.inf)
    return Envelope(Ask(number=number), reply), reply


def full(overflow: Overflow, *, capacity: int = 2) -> tuple[Mailbox, list[Reply]]:
    """Return a mailbox at its bound, holding requests 0, 1, …, and their replies."""
    key = (lambda message: message.number) if overflow is Overflow.LATEST else None
    mailbox = Mailbox("box", MailboxSpec(capacity=capacity, overflow=overflow, key=key))
    replies = []
    for number in range(capacity):
        envelope, reply = ask(number)
        mailbox.put_nowait(envelope)
        replies.append(reply)
    return mailbox, replies


async def numbers(mailbox: Mailbox, count: int) -> list[int]:
    """Take `count` messages out and return their numbers."""
    taken = [await mailbox.get() for _ in range(count)]
    return [envelope.message.number for envelope in taken]  # type: ignore[union-attr]


@pytest.mark.parametrize("capacity", [0, -1, math.inf, math.nan])
def test_a_mailbox_that_holds_nothing_or_everything_is_refused(capacity: int) -> None:
    """Every queue has a bound, and one of zero would lose each message."""
    with pytest.raises(BadSpec, match=r"capacity must be at least 1 and finite, was"):
        MailboxSpec(capacity=capacity)


@pytest.mark.parametrize("overflow", list(Overflow))
async def test_messages_come_out_in_the_order_they_went_in(overflow: Overflow) -> None:
    """An actor must see its sender's messages in the sender's order."""
    mailbox, _ = full(overflow, capacity=5)

    assert await numbers(mailbox, 5) == [0, 1, 2, 3, 4]


async def test_a_sender_waits_for_room_where_the_policy_is_to_wait(nursery: trio.Nursery) -> None:
    """Back-pressure: the sender is slowed to the reader's pace, and nothing is lost."""
    mailbox, _ = full(Overflow.WAIT)
    nursery.start_soon(mailbox.put, ask(2)[0])
    await trio.testing.wait_all_tasks_blocked()
    assert (mailbox.counts.depth, mailbox.counts.depth_max) == (3, 3)

    assert await numbers(mailbox, 3) == [0, 1, 2]
    assert (mailbox.counts.depth, mailbox.counts.received) == (0, 3)


async def test_a_cancelled_waiting_sender_leaves_no_trace() -> None:
    """It never came in, so no count may remember it, and the reader must not find it."""
    mailbox, _ = full(Overflow.WAIT)
    with trio.move_on_after(1) as scope:
        await mailbox.put(ask(2)[0])

    assert scope.cancelled_caught
    assert (mailbox.counts.depth, mailbox.counts.received) == (2, 2)
    assert await numbers(mailbox, 2) == [0, 1]
    assert mailbox.counts.depth == 0


async def test_an_event_is_refused_by_a_full_mailbox_that_makes_callers_wait() -> None:
    """Nobody waits for an event, so nobody could wait for room on its behalf."""
    mailbox, _ = full(Overflow.WAIT)

    with pytest.raises(MailboxFull, match=r"box: mailbox is full \(2 messages queued\)"):
        mailbox.put_nowait(Envelope(Tell(number=9)))


async def test_a_full_mailbox_refuses_at_once_where_the_policy_is_to_refuse() -> None:
    """The sender can do something else instead of waiting."""
    mailbox, replies = full(Overflow.REFUSE)

    with pytest.raises(MailboxFull, match=r"box: mailbox is full"):
        await mailbox.put(ask(2)[0])

    assert (mailbox.counts.refused, mailbox.counts.received) == (1, 2)
    assert not any(reply.answered for reply in replies)


async def test_the_oldest_message_makes_room_and_its_sender_is_told() -> None:
    """Newest data matters more, but a caller never learns of it by timing out."""
    mailbox, replies = full(Overflow.DROP_OLDEST)
    await mailbox.put(ask(2)[0])

    with pytest.raises(MessageDropped, match=r"dropped for a newer message"):
        await replies[0].wait()
    assert (mailbox.counts.dropped, mailbox.counts.depth, mailbox.counts.depth_max) == (1, 2, 2)
    assert await numbers(mailbox, 2) == [1, 2]


async def test_the_latest_of_each_key_takes_the_place_of_the_one_before() -> None:
    """Full or not; in the older one's place, so that no key is put off by one that never rests."""
    spec = MailboxSpec(capacity=3, overflow=Overflow.LATEST, key=lambda ask: ask.number % 10)
    mailbox = Mailbox("box", spec)
    replies = {}
    for number in (1, 2, 11, 3, 13, 21):
        envelope, replies[number] = ask(number)
        mailbox.put_nowait(envelope)
    with pytest.raises(MailboxFull, match=r"box: mailbox is full \(3 messages queued\)"):
        mailbox.put_nowait(ask(4)[0])

    for number in (1, 11, 3):
        with pytest.raises(MessageDropped, match=r"box: dropped for a newer message"):
            await replies[number].wait()
    counts = mailbox.counts
    assert (counts.received, counts.dropped, counts.refused, counts.depth) == (6, 3, 1, 3)
    assert await numbers(mailbox, 3) == [21, 2, 13]
    mailbox.put_nowait(ask(31)[0])
    assert await numbers(mailbox, 1) == [31]


def test_a_key_that_fails_is_the_senders_problem() -> None:
    """The mailbox is as it was, and its reader never hears of it."""
    spec = MailboxSpec(overflow=Overflow.LATEST, key=lambda ask: ask.nothing)
    mailbox = Mailbox("box", spec)
    with pytest.raises(AttributeError, match=r"nothing"):
        mailbox.put_nowait(ask(1)[0])

    assert (mailbox.counts.depth, mailbox.counts.received) == (0, 0)


async def test_a_mailbox_can_be_told_to_behave_differently() -> None:
    """What is queued stays in its order, even beyond a smaller bound, and obeys the new rule."""
    mailbox, replies = full(Overflow.WAIT, capacity=6)
    key = {0: "a", 1: "b", 2: "c", 3: "d", 4: "a", 5: "b"}.get
    latest = MailboxSpec(2, Overflow.LATEST, key=lambda ask: key(ask.number))
    mailbox.change(latest)

    assert (mailbox.counts.depth, mailbox.counts.dropped) == (4, 2)
    assert [reply.answered for reply in replies] == [True, True, False, False, False, False]
    with pytest.raises(MailboxFull, match=r"box: mailbox is full \(2 messages queued\)"):
        mailbox.put_nowait(Envelope(Tell(number=-1)))
    mailbox.change(MailboxSpec(capacity=5))
    await mailbox.put(ask(9)[0])
    assert await numbers(mailbox, 5) == [4, 5, 2, 3, 9]


async def test_whoever_reads_anew_takes_the_right_from_whoever_read_before(
    nursery: trio.Nursery,
) -> None:
    """A life that was left behind must not take messages away from the one that follows."""
    mailbox = Mailbox("box")
    first = mailbox.open_reader()
    taken: list[object] = []

    async def read() -> None:
        taken.append(await first.take())

    nursery.start_soon(read)
    await trio.testing.wait_all_tasks_blocked()
    second = mailbox.open_reader()
    mailbox.put_nowait(ask(1)[0])
    await trio.testing.wait_all_tasks_blocked()

    assert taken == [None]
    assert await first.take() is None
    envelope = await second.take()
    assert envelope is not None
    assert envelope.message == Ask(number=1)


async def test_dropping_an_event_tells_nobody() -> None:
    """There is nobody to tell."""
    mailbox = Mailbox("box", MailboxSpec(capacity=1, overflow=Overflow.DROP_OLDEST))
    mailbox.put_nowait(Envelope(Tell(number=0)))
    mailbox.put_nowait(Envelope(Tell(number=1)))

    assert await numbers(mailbox, 1) == [1]
    assert mailbox.counts.dropped == 1


async def test_closing_fails_queued_and_waiting_senders_alike(nursery: trio.Nursery) -> None:
    """A sender that waits for room waits for the actor as well."""
    mailbox, replies = full(Overflow.WAIT)
    envelope, waiting = ask(2)
    nursery.start_soon(mailbox.put, envelope)
    await trio.testing.wait_all_tasks_blocked()
    mailbox.close()

    for reply in [*replies, waiting]:
        with pytest.raises(ActorDown, match=r"box has ended and takes no more messages"):
            await reply.wait()
    assert mailbox.counts.depth == 0


@pytest.mark.parametrize("overflow", list(Overflow))
async def test_a_closed_mailbox_takes_no_more(overflow: Overflow) -> None:
    """Whoever comes later is told at once, whatever the policy, and closing twice is fine."""
    mailbox, _ = full(overflow)
    mailbox.close()
    mailbox.close()

    with pytest.raises(ActorDown, match=r"has ended"):
        await mailbox.put(ask(3)[0])
    with pytest.raises(ActorDown, match=r"has ended"):
        mailbox.put_nowait(Envelope(Tell(number=4)))


async def test_failing_the_queue_gives_each_caller_an_error_of_its_own() -> None:
    """One exception raised in two tasks would mix their tracebacks."""
    mailbox, replies = full(Overflow.WAIT)
    mailbox.fail_queued(lambda: ActorRestarted("crashed"))
    raised = []
    for reply in replies:
        with pytest.raises(ActorRestarted, match=r"crashed") as caught:
            await reply.wait()
        raised.append(caught.value)

    assert raised[0] is not raised[1]


async def test_a_mailbox_stays_open_after_its_queue_was_failed() -> None:
    """The next incarnation reads on."""
    mailbox, _ = full(Overflow.REFUSE)
    mailbox.fail_queued(lambda: ActorRestarted("crashed"))
    mailbox.put_nowait(ask(7)[0])

    assert await numbers(mailbox, 1) == [7]


async def test_a_reader_that_is_cancelled_takes_nothing_with_it() -> None:
    """What it did not get is there for the next incarnation."""
    mailbox = Mailbox("box")
    with trio.move_on_after(1):
        await mailbox.get()
    mailbox.put_nowait(ask(0)[0])

    assert await numbers(mailbox, 1) == [0]
