"""`Mailbox` against a model: a list, a bound and four counters."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TypeAlias

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.core.errors import ActorDown, ActorError, ActorRestarted, MailboxFull, MessageDropped
from runtime.core.mailbox import Envelope, Mailbox, MailboxSpec, Overflow, Reply
from runtime.core.message import Request

Step: TypeAlias = tuple[str, int]

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "put", "get", "get", "cancel", "fail", "close"]),
        st.integers(0, 20),
    ),
    max_size=40,
)


class Numbered(Request[None], frozen=True):
    """A message that can be told from others."""

    number: int


def key_of(message: Numbered) -> int:
    """Return the key by which messages are taken for the same: every third one is."""
    return message.number % 3


@dataclass
class Machine:
    """A mailbox and what it should hold: the first `capacity` are queued, the rest wait."""

    capacity: int
    overflow: Overflow
    nursery: trio.Nursery
    inside: list[int] = field(default_factory=list)
    closed: bool = False
    received: int = 0
    refused: int = 0
    dropped: int = 0
    depth_max: int = 0
    fates: dict[int, type[ActorError] | None] = field(default_factory=dict)
    seen: dict[int, type[ActorError]] = field(default_factory=dict)
    replies: dict[int, Reply] = field(default_factory=dict)
    scopes: dict[int, trio.CancelScope] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Open the real one."""
        key = key_of if self.overflow is Overflow.LATEST else None
        self.mailbox = Mailbox("box", MailboxSpec(self.capacity, self.overflow, key=key))

    async def step(self, kind: str, pick: int) -> None:
        """Do one thing to both, let every task run, and compare."""
        match kind:
            case "put":
                self.put(len(self.fates))
            case "get" if self.inside:
                envelope = await self.mailbox.get()
                assert envelope.message == Numbered(number=self.inside.pop(0))
            case "cancel" if len(self.inside) > self.capacity:
                waiting = self.inside[self.capacity :]
                number = waiting[pick % len(waiting)]
                self.scopes[number].cancel()
                self.inside.remove(number)
                self.received -= 1
            case "fail":
                self.mailbox.fail_queued(lambda: ActorRestarted("crashed"))
                self.end_all(ActorRestarted)
            case "close" if pick < 3:
                self.mailbox.close()
                self.end_all(ActorDown)
                self.closed = True
        await trio.testing.wait_all_tasks_blocked()
        self.compare()

    def put(self, number: int) -> None:
        """Send one message, in a task of its own because it may have to wait."""
        self.fates[number] = None
        self.replies[number] = Reply(math.inf)
        self.scopes[number] = trio.CancelScope()
        self.nursery.start_soon(self._send, number)
        is_full = len(self.inside) >= self.capacity
        if self.closed:
            self.fates[number] = ActorDown
            return
        same = [each for each in self.inside if each % 3 == number % 3]
        if same and self.overflow is Overflow.LATEST:
            self.fates[same[0]] = MessageDropped
            self.inside[self.inside.index(same[0])] = number
            self.dropped += 1
            self.received += 1
            return
        if is_full and self.overflow in {Overflow.REFUSE, Overflow.LATEST}:
            self.fates[number] = MailboxFull
            self.refused += 1
            return
        if is_full and self.overflow is Overflow.DROP_OLDEST:
            self.fates[self.inside.pop(0)] = MessageDropped
            self.dropped += 1
        self.inside.append(number)
        self.received += 1
        self.depth_max = max(self.depth_max, len(self.inside))

    def end_all(self, fate: type[ActorError]) -> None:
        """Let the model's senders hear `fate`."""
        self.fates.update(dict.fromkeys(self.inside, fate))
        self.inside.clear()

    def compare(self) -> None:
        """Hold the mailbox against the model."""
        counts = self.mailbox.counts
        assert counts.depth == len(self.inside)
        assert (counts.received, counts.refused, counts.dropped) == (
            self.received,
            self.refused,
            self.dropped,
        )
        assert counts.depth_max == self.depth_max
        told = {number for number, fate in self.fates.items() if fate is not None}
        heard = {number for number, reply in self.replies.items() if reply.answered}
        assert told == heard | set(self.seen)

    async def compare_fates(self) -> None:
        """Check that every sender heard what the model says, and no other error."""
        for number, fate in self.fates.items():
            if fate is not None and number not in self.seen:
                with pytest.raises(fate, match=r".+"):
                    await self.replies[number].wait()
            elif fate is not None:
                assert self.seen[number] is fate

    async def _send(self, number: int) -> None:
        with self.scopes[number]:
            try:
                await self.mailbox.put(Envelope(Numbered(number=number), self.replies[number]))
            except ActorError as error:
                self.seen[number] = type(error)


@given(steps=STEPS, capacity=st.integers(1, 4), overflow=st.sampled_from(list(Overflow)))
@settings(max_examples=60, deadline=None)
def test_a_mailbox_does_what_a_bounded_list_does(
    steps: list[Step], capacity: int, overflow: Overflow
) -> None:
    """Whatever is put, taken, cancelled, failed or closed: content, counts and fates agree."""

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            machine = Machine(capacity, overflow, nursery)
            for kind, pick in steps:
                await machine.step(kind, pick)
            await machine.compare_fates()
            nursery.cancel_scope.cancel()

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
