"""`PubSub`: tell whoever is interested, without waiting for anybody.

Each subscription has a bounded queue of its own. A subscriber that does not keep up loses its
oldest events and is told how many; it never slows the publisher or another subscriber.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import trio

from runtime.core.errors import BadSpec


class Subscription:
    """One subscriber's queue.

    Attributes:
      dropped: Events lost so far because the queue was full.
    """

    def __init__(self, capacity: int) -> None:
        self.dropped = 0
        self._events: deque[Any] = deque(maxlen=capacity)
        self._waiting = trio.lowlevel.ParkingLot()
        self._ended = False

    async def receive(self) -> Any:
        """Return the oldest event, waiting for one.

        Raises:
          trio.EndOfChannel: The subscription has ended, and what it had queued was received.
        """
        await trio.lowlevel.checkpoint()
        while not self._events:
            if self._ended:
                raise trio.EndOfChannel
            await self._waiting.park()
        return self._events.popleft()

    def __aiter__(self) -> Subscription:
        """Iterate over events for as long as the subscription lives."""
        return self

    async def __anext__(self) -> Any:
        """Return the next event."""
        try:
            return await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    def _offer(self, event: object) -> None:
        if len(self._events) == self._events.maxlen:
            self.dropped += 1
        self._events.append(event)
        self._waiting.unpark()

    def _end(self) -> None:
        self._ended = True
        self._waiting.unpark_all()


class PubSub:
    """Topics and their subscribers."""

    def __init__(self) -> None:
        self._subscriptions: dict[Hashable, list[Subscription]] = {}

    def publish(self, topic: Hashable, event: object) -> int:
        """Hand `event` to every subscriber of `topic`; return how many there were."""
        subscriptions = self._subscriptions.get(topic, ())
        for subscription in subscriptions:
            subscription._offer(event)
        return len(subscriptions)

    @contextmanager
    def subscribe(self, *topics: Hashable, capacity: int = 256) -> Iterator[Subscription]:
        """Receive what is published under `topics` for as long as the block runs.

        Args:
          topics: One or more topics; one named twice counts once.
          capacity: Most events queued; beyond it the oldest is dropped and counted.
        """
        if capacity < 1:
            raise BadSpec(f"subscription capacity must be at least 1, was {capacity}")
        subscription = Subscription(capacity)
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
