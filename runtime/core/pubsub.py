"""`PubSub`: tell whoever is interested, without waiting for anybody.

Each subscription has a bounded queue of its own, and says what is to become of events that are not
read in time: of many the oldest are dropped, or a newer one takes the place of the older one of the
same key. Either way they are counted, and the reader is told; it never slows the publisher or
another subscriber.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import trio

from runtime.core.errors import BadSpec


class LeftOut(NamedTuple):
    """Events that a subscriber will not get.

    Attributes:
      replaced: Because a newer one of the same key took their place.
      dropped: Because the queue was full; the oldest go first.
    """

    replaced: int
    dropped: int


class Subscription:
    """One subscriber's queue; made with `PubSub.subscribe`, or to be given to several of them.

    Attributes:
      dropped: Events lost so far because the queue was full.
      replaced: Events whose place a newer one of the same key took, so far.

    Args:
      capacity: Most events queued; beyond it the oldest is dropped and counted.
      key: Makes the key of an event of a topic. A newer event takes the place of a queued one of
        the same key, in the queue's order too. None keeps every event.

    Raises:
      BadSpec: It could hold nothing.
    """

    def __init__(
        self, capacity: int, *, key: Callable[[Hashable, Any], Hashable] | None = None
    ) -> None:
        if capacity < 1:
            raise BadSpec(f"subscription capacity must be at least 1, was {capacity}")
        self.dropped = 0
        self.replaced = 0
        self._capacity = capacity
        self._key = key
        # One kind of queue for both policies. A plain dictionary keeps the order as well, but
        # looking for its first key takes the longer, the more were removed there.
        self._events: OrderedDict[Hashable, Any] = OrderedDict()
        self._last = 0
        self._told = LeftOut(0, 0)
        self._waiting = trio.lowlevel.ParkingLot()
        self._ended = False

    async def receive(self) -> Any:
        """Return the oldest event, waiting for one. `left_out` says what is lacking before it.

        Raises:
          trio.EndOfChannel: The subscription has ended, and what it had queued was received.
        """
        await trio.lowlevel.checkpoint()
        while not self._events:
            await self._park()
        return self.take()

    async def wait(self) -> None:
        """Return when `take` has something to give; always lets others run first.

        Raises:
          trio.EndOfChannel: The subscription has ended, and what it had queued was received.
        """
        await trio.lowlevel.checkpoint()
        while not self._events:
            await self._park()

    def take(self) -> Any | None:
        """Return the oldest event without waiting; None if there is none."""
        return self._events.popitem(last=False)[1] if self._events else None

    def left_out(self) -> LeftOut:
        """Return what was left out since this was asked last."""
        before = self._told
        if before.replaced == self.replaced and before.dropped == self.dropped:
            return NOTHING
        self._told = LeftOut(self.replaced, self.dropped)
        return LeftOut(self.replaced - before.replaced, self.dropped - before.dropped)

    def offer(self, topic: Hashable, event: object) -> None:
        """Queue `event` as if it had been published under `topic`; never waits."""
        events = self._events
        if self._key is None:
            self._last += 1
            key: Hashable = self._last
        else:
            key = self._key(topic, event)
            if key in events:
                events[key] = event
                self.replaced += 1
                return
        if len(events) >= self._capacity:
            events.popitem(last=False)
            self.dropped += 1
        events[key] = event
        if self._waiting:
            self._waiting.unpark()

    def __aiter__(self) -> Subscription:
        """Iterate over events for as long as the subscription lives."""
        return self

    async def __anext__(self) -> Any:
        """Return the next event."""
        try:
            return await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    async def _park(self) -> None:
        if self._ended:
            raise trio.EndOfChannel
        await self._waiting.park()

    def _end(self) -> None:
        self._ended = True
        self._waiting.unpark_all()


NOTHING = LeftOut(0, 0)


def latest_of_topic(topic: Hashable, event: object) -> Hashable:
    """Return a key by which only the newest event of each topic is kept."""
    del event
    return topic


class PubSub:
    """Topics and their subscribers."""

    def __init__(self) -> None:
        self._subscriptions: dict[Hashable, list[Subscription]] = {}

    def publish(self, topic: Hashable, event: object) -> int:
        """Hand `event` to every subscriber of `topic`; return how many there were."""
        subscriptions = self._subscriptions.get(topic)
        if subscriptions is None:
            return 0
        for subscription in subscriptions:
            subscription.offer(topic, event)
        return len(subscriptions)

    def has(self, topic: Hashable) -> bool:
        """Return whether anybody subscribes to `topic`; costs no more than a dictionary read."""
        return topic in self._subscriptions

    @contextmanager
    def subscribe(
        self,
        *topics: Hashable,
        capacity: int = 256,
        key: Callable[[Hashable, Any], Hashable] | None = None,
        into: Subscription | None = None,
    ) -> Iterator[Subscription]:
        """Receive what is published under `topics` for as long as the block runs.

        Args:
          topics: One or more topics; one named twice counts once.
          capacity: Most events queued; beyond it the oldest is dropped and counted.
          key: Makes the key by which a newer event takes the place of an older one, such as
            `latest_of_topic`; None keeps every event.
          into: The queue to use, with a policy of its own, where one reader hears several `PubSub`.
            It ends with the first of the blocks.
        """
        subscription = Subscription(capacity, key=key) if into is None else into
        unique = tuple(dict.fromkeys(topics))
        for topic in unique:
            self._subscriptions.setdefault(topic, []).append(subscription)
        try:
            yield subscription
        finally:
            subscription._end()
            for topic in unique:
                subscriptions = self._subscriptions[topic]
                subscriptions.remove(subscription)
                if not subscriptions:
                    del self._subscriptions[topic]
