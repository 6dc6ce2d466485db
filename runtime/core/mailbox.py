"""Mailboxes: bounded queues that outlive the incarnations of the actor that reads them.

A mailbox belongs to its child's specification. When the actor crashes, the message in hand fails
its caller at once; the queued ones wait for the next incarnation or fail too, as the spec says.
"""

from __future__ import annotations

import enum
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import trio

from runtime.core.checks import is_whole
from runtime.core.errors import ActorDown, BadSpec, MailboxFull, MessageDropped
from runtime.core.reader import Envelope, Reader
from runtime.core.reply import Reply
from runtime.core.trace import Happening, Tracer

__all__ = ["Envelope", "Mailbox", "MailboxCounts", "MailboxSpec", "OnCrash", "Overflow", "Reply"]


class Overflow(enum.Enum):
    """What happens to a message that finds the mailbox full."""

    WAIT = "wait"
    """The caller waits for room, within its deadline. Events are refused: nobody waits for them."""
    REFUSE = "refuse"
    """The sender gets `MailboxFull` at once."""
    DROP_OLDEST = "drop oldest"
    """The oldest queued message makes room; if somebody waits for its answer, `MessageDropped`."""
    LATEST = "latest"
    """A message takes the place of a queued one with the same key, full or not; if somebody waits
    for the old one's answer, `MessageDropped`. One with a new key is refused by a full mailbox."""


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
      key: With `Overflow.LATEST`, and only then: what makes two messages the same. Runs in the
        sender's task; what it raises goes to the sender.
    """

    capacity: int = 64
    overflow: Overflow = Overflow.WAIT
    on_crash: OnCrash = OnCrash.KEEP
    key: Callable[[Any], Hashable] | None = None

    def __post_init__(self) -> None:
        """Refuse a mailbox that could hold nothing."""
        if not is_whole(self.capacity, 1):
            raise BadSpec(f"mailbox capacity must be at least 1 and finite, was {self.capacity}")
        kinds = {"overflow": (self.overflow, Overflow), "on_crash": (self.on_crash, OnCrash)}
        for name, (value, kind) in kinds.items():
            if not isinstance(value, kind):
                raise BadSpec(f"mailbox {name} must be an {kind.__name__}, was {value!r}")
        if (self.overflow is Overflow.LATEST) != (self.key is not None):
            raise BadSpec(
                f"a mailbox needs a key for Overflow.LATEST and for nothing else, "
                f"was {self.overflow} with key {self.key!r}"
            )
        if self.key is not None and not callable(self.key):
            raise BadSpec(f"a mailbox's key must be callable, was {self.key!r}")


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


class Mailbox:
    """A bounded queue of envelopes with one reader, the actor's present incarnation.

    Args:
      name: Its owner's path in the tree.
      spec: How it behaves.
      counts: Those of a former mailbox of the same owner, to go on from.

    Attributes:
      is_orphan: Whether it waits for its owner's branch to be started again.
      tracer: Told of what comes in and what is refused, while somebody looks.
    """

    __slots__ = (
        "_by_key",
        "_closed",
        "_queue",
        "_reader",
        "_waiting",
        "counts",
        "is_orphan",
        "name",
        "spec",
        "tracer",
    )

    def __init__(
        self, name: str, spec: MailboxSpec | None = None, counts: MailboxCounts | None = None
    ) -> None:
        self.name = name
        self.spec = spec or MailboxSpec()
        self.counts = counts or MailboxCounts()
        self.is_orphan = False
        self.tracer: Tracer | None = None
        self._queue: deque[Envelope] = deque()
        # Senders that wait for room, in their order. Its bound is the number of callers.
        self._waiting: OrderedDict[trio.lowlevel.Task, Envelope] = OrderedDict()
        self._by_key: dict[Hashable, Envelope] = {}
        self._reader: Reader | None = None
        self._closed = False

    @property
    def is_closed(self) -> bool:
        """Return whether it takes no more messages."""
        return self._closed

    # -------------------------------------------------------------- for senders

    def put_nowait(self, envelope: Envelope) -> None:
        """Queue a message without waiting.

        Raises:
          MailboxFull: No room, and the policy is not to drop the oldest.
          ActorDown: The actor has ended.
        """
        if self._closed:
            raise self._down()
        if self.tracer is not None and self.tracer.on:
            self.tracer.note(Happening.RECEIVED, envelope.message)
        reader = self._reader
        if reader is not None and reader.task is not None and not reader.held:
            self._count_in()
            self.counts.depth -= 1
            reader.hand_over(envelope)
            return
        if self.spec.key is not None and self._conflate(envelope, self.spec.key):
            return
        if len(self._queue) >= self.spec.capacity:
            if self.spec.overflow is not Overflow.DROP_OLDEST:
                self.counts.refused += 1
                if self.tracer is not None and self.tracer.on:
                    self.tracer.note(Happening.REFUSED, envelope.message)
                raise MailboxFull(
                    f"{self.name}: mailbox is full ({self.spec.capacity} messages queued)"
                )
            self._drop(self._pop())
        self._queue.append(envelope)
        self._count_in()

    async def put(self, envelope: Envelope) -> None:
        """Queue a message, waiting for room if that is the policy.

        Raises:
          MailboxFull: No room, and the policy is to refuse.
          ActorDown: The actor has ended, or ended while this was waiting.
        """
        if (
            self.spec.overflow is Overflow.WAIT
            and len(self._queue) >= self.spec.capacity
            and not self._closed
        ):
            await self._put_when_there_is_room(envelope)
        else:
            self.put_nowait(envelope)

    async def _put_when_there_is_room(self, envelope: Envelope) -> None:
        # Counted before the wait: the sender is as good as queued.
        self._count_in()
        task = trio.lowlevel.current_task()
        self._waiting[task] = envelope

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            # It never came in.
            del self._waiting[task]
            self.counts.depth -= 1
            self.counts.received -= 1
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        if self._closed and envelope.reply is None:
            # Who waits for an answer finds the error there; an event has nowhere else to put it.
            raise self._down()

    # -------------------------------------------------------------- for the reader

    def open_reader(self) -> Reader:
        """Return the right to read, taking it from whoever had it."""
        if self._reader is not None:
            self._reader.close()
        self._reader = Reader(self._queue, self._pop)
        return self._reader

    async def get(self) -> Envelope:
        """Return the oldest message, waiting for one.

        Raises:
          ActorDown: The mailbox was closed.
        """
        envelope = await (self._reader or self.open_reader()).take()
        if envelope is None:
            raise self._down()
        return envelope

    # -------------------------------------------------------------- for the supervisor

    def fail_queued(self, error: Callable[[], Exception]) -> None:
        """Empty the queue; every caller in it gets an error of its own."""
        waiting = list(self._waiting.items())
        envelopes = [*self._queue, *(envelope for _, envelope in waiting)]
        self._queue.clear()
        self._waiting.clear()
        self._by_key.clear()
        self.counts.depth = 0
        for envelope in envelopes:
            if envelope.reply is not None:
                envelope.reply.fail(error())
        for task, _ in waiting:
            trio.lowlevel.reschedule(task)

    def close(self) -> None:
        """Refuse everything from now on, and fail what is queued with `ActorDown`."""
        self._closed = True
        self.fail_queued(self._down)
        if self._reader is not None:
            self._reader.close()

    def change(self, spec: MailboxSpec) -> None:
        """Behave as `spec` says from now on; what is queued stays, even beyond a new capacity."""
        if spec == self.spec:
            return
        self.spec = spec
        self._by_key.clear()
        if spec.key is None:
            return
        queued = list(self._queue)
        self._queue.clear()
        for envelope in queued:
            envelope.key = spec.key(envelope.message)
            older = self._by_key.setdefault(envelope.key, envelope)
            if older is envelope:
                self._queue.append(envelope)
            else:
                self.counts.depth -= 1
                self._replace(older, envelope)

    # -------------------------------------------------------------- inside

    def _pop(self) -> Envelope:
        envelope = self._queue.popleft()
        self.counts.depth -= 1
        if self.spec.key is not None:
            self._by_key.pop(envelope.key, None)
        if self._waiting:
            task, waited = self._waiting.popitem(last=False)
            self._queue.append(waited)
            trio.lowlevel.reschedule(task)
        return envelope

    def _conflate(self, envelope: Envelope, key_of: Callable[[Any], Hashable]) -> bool:
        envelope.key = key_of(envelope.message)
        queued = self._by_key.get(envelope.key)
        if queued is None:
            if len(self._queue) < self.spec.capacity:
                self._by_key[envelope.key] = envelope
            return False
        self._replace(queued, envelope)
        self.counts.received += 1
        return True

    def _replace(self, older: Envelope, newer: Envelope) -> None:
        # In the older one's place, so that a key that never rests is not put off for ever.
        self._drop(older)
        older.message, older.reply = newer.message, newer.reply

    def _down(self) -> ActorDown:
        return ActorDown(f"{self.name} has ended and takes no more messages")

    def _count_in(self) -> None:
        counts = self.counts
        counts.received += 1
        counts.depth += 1
        counts.depth_max = max(counts.depth_max, counts.depth)

    def _drop(self, envelope: Envelope) -> None:
        self.counts.dropped += 1
        if envelope.reply is not None:
            envelope.reply.fail(MessageDropped(f"{self.name}: dropped for a newer message"))
