"""Mailboxes: bounded queues that outlive the incarnations of the actor that reads them.

A mailbox belongs to its child's specification. When the actor crashes, the message in hand fails
its caller at once; the queued ones wait for the next incarnation or fail too, as the spec says.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import trio

from runtime.core.errors import ActorDown, BadSpec, MailboxFull, MessageDropped
from runtime.core.message import Event, Request


class Overflow(enum.Enum):
    """What happens to a message that finds the mailbox full."""

    WAIT = "wait"
    """The caller waits for room, within its deadline. Events are refused: nobody waits for them."""
    REFUSE = "refuse"
    """The sender gets `MailboxFull` at once."""
    DROP_OLDEST = "drop oldest"
    """The oldest queued message makes room; if somebody waits for its answer, `MessageDropped`."""


class OnCrash(enum.Enum):
    """What happens to queued messages when the actor crashes."""

    KEEP = "keep"
    """They wait for the next incarnation."""
    FAIL = "fail"
    """Their callers get `ActorRestarted`."""


@dataclass(frozen=True, slots=True)
class MailboxSpec:
    """How a mailbox behaves at its bound and when its reader crashes.

    Attributes:
      capacity: Most messages queued, not counting the one in hand.
      overflow: What happens to one more.
      on_crash: What happens to the queued ones when the actor crashes.
    """

    capacity: int = 64
    overflow: Overflow = Overflow.WAIT
    on_crash: OnCrash = OnCrash.KEEP

    def __post_init__(self) -> None:
        """Refuse a mailbox that could hold nothing."""
        if not 1 <= self.capacity < math.inf:
            raise BadSpec(f"mailbox capacity must be at least 1 and finite, was {self.capacity}")


class Reply:
    """Where one caller waits for one answer. The first answer counts; later ones are dropped.

    Attributes:
      deadline_s: When the caller stops waiting, on `Clock.now_s`.
      abandoned: Whether the caller was cancelled or ran out of time, so that nobody will read it.
    """

    __slots__ = ("_answered", "_error", "_forget", "_task", "_value", "abandoned", "deadline_s")

    def __init__(self, deadline_s: float) -> None:
        self.deadline_s = deadline_s
        self.abandoned = False
        self._answered = False
        self._value: object = None
        self._error: Exception | None = None
        self._task: trio.lowlevel.Task | None = None
        self._forget: Callable[[Reply], None] | None = None

    @property
    def answered(self) -> bool:
        """Return whether an answer or an error was given."""
        return self._answered

    def send(self, value: object) -> None:
        """Answer with `value`."""
        self._settle(value, None)

    def fail(self, error: Exception) -> None:
        """Answer with an error, raised where the caller waits."""
        self._settle(None, error)

    def _settle(self, value: object, error: Exception | None) -> None:
        if self._answered:
            return
        self._answered = True
        self._value, self._error = value, error
        if self._forget is not None:
            self._forget(self)
        if self._task is not None:
            trio.lowlevel.reschedule(self._task)
            self._task = None

    async def wait(self) -> Any:
        """Return the answer, or raise the error, once there is one."""
        if not self._answered:
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        if self._error is not None:
            raise self._error
        return self._value

    def _abort(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._task = None
        self.abandoned = True
        return trio.lowlevel.Abort.SUCCEEDED


@dataclass(slots=True)
class Envelope:
    """A message on its way, with the place for its answer if somebody waits for one."""

    message: Request[Any] | Event
    reply: Reply | None = None


@dataclass(slots=True)
class MailboxCounts:
    """What went through a mailbox since it was made.

    Attributes:
      depth: Messages queued now, with those whose senders wait for room.
      depth_max: The highest `depth` seen.
      received: Messages taken in.
      refused: Messages refused because there was no room.
      dropped: Messages dropped for newer ones.
    """

    depth: int = 0
    depth_max: int = 0
    received: int = 0
    refused: int = 0
    dropped: int = 0


@dataclass(slots=True)
class Mailbox:
    """A bounded queue of envelopes with one reader, the actor's present incarnation."""

    name: str
    spec: MailboxSpec = field(default_factory=MailboxSpec)
    counts: MailboxCounts = field(default_factory=MailboxCounts)
    _channels: tuple[trio.MemorySendChannel[Envelope], trio.MemoryReceiveChannel[Envelope]] = field(
        init=False, repr=False
    )

    def __post_init__(self) -> None:
        """Open for messages; nobody needs to be reading yet."""
        self._channels = trio.open_memory_channel[Envelope](self.spec.capacity)

    def put_nowait(self, envelope: Envelope) -> None:
        """Queue a message without waiting.

        Raises:
          MailboxFull: No room, and the policy is not to drop the oldest.
          ActorDown: The actor has ended.
        """
        send, receive = self._channels
        try:
            send.send_nowait(envelope)
        except trio.WouldBlock:
            if self.spec.overflow is not Overflow.DROP_OLDEST:
                self.counts.refused += 1
                raise MailboxFull(
                    f"{self.name}: mailbox is full ({self.spec.capacity} messages queued)"
                ) from None
            self._drop(receive.receive_nowait())
            send.send_nowait(envelope)
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            raise self._down() from None
        self._count_in()

    async def put(self, envelope: Envelope) -> None:
        """Queue a message, waiting for room if that is the policy.

        Raises:
          MailboxFull: No room, and the policy is to refuse.
          ActorDown: The actor has ended, or ended while this was waiting.
        """
        if self.spec.overflow is not Overflow.WAIT:
            self.put_nowait(envelope)
            return
        send, _ = self._channels
        try:
            send.send_nowait(envelope)
            self._count_in()
        except trio.WouldBlock:
            await self._put_when_there_is_room(envelope)
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            raise self._down() from None

    async def _put_when_there_is_room(self, envelope: Envelope) -> None:
        # Counted before the wait: the reader takes the message straight from the waiting sender.
        self._count_in()
        try:
            await self._channels[0].send(envelope)
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            raise self._down() from None
        except trio.Cancelled:
            # It never came in.
            self.counts.depth -= 1
            self.counts.received -= 1
            raise

    async def get(self) -> Envelope:
        """Return the oldest message, waiting for one."""
        envelope = await self._channels[1].receive()
        self.counts.depth -= 1
        return envelope

    def fail_queued(self, error: Callable[[], Exception]) -> None:
        """Empty the queue; every caller in it gets an error of its own."""
        while True:
            try:
                envelope = self._channels[1].receive_nowait()
            except (trio.WouldBlock, trio.EndOfChannel, trio.ClosedResourceError):
                break
            if envelope.reply is not None:
                envelope.reply.fail(error())
        self.counts.depth = 0

    def close(self) -> None:
        """Refuse everything from now on, and fail what is queued with `ActorDown`."""
        self.fail_queued(self._down)
        for channel in self._channels:
            channel.close()

    def _down(self) -> ActorDown:
        return ActorDown(f"{self.name} has ended and takes no more messages")

    def _count_in(self) -> None:
        counts = self.counts
        counts.received += 1
        counts.depth += 1
        counts.depth_max = max(counts.depth_max, counts.depth)

    def _drop(self, envelope: Envelope) -> None:
        self.counts.dropped += 1
        self.counts.depth -= 1
        if envelope.reply is not None:
            envelope.reply.fail(
                MessageDropped(f"{self.name}: dropped for a newer message, the mailbox was full")
            )
