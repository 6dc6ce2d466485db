"""Those who wait for slots of one group, in the order in which they came. Times come in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from actors.messages import Priority
from runtime.core.errors import CallTimeout
from runtime.core.mailbox import Reply


@dataclass(slots=True, eq=False)
class Waiter:
    """Somebody who waits. Nothing of it changes; frozen, it would take a microsecond more to make.

    Attributes:
      arrival: Counts up over all groups that share something.
      priority: Whose turn it is when several wait.
      weight: How much his request counts for.
      since_s: When he came.
      reply: Where he waits.
    """

    arrival: int
    priority: Priority
    weight: int
    since_s: float
    reply: Reply


class WaitingLine:
    """Those of one group: first come, first served within each priority.

    Who is cancelled or runs out of time leaves at once, wherever he stands.

    Attributes:
      weights: The weight of those who wait, by priority.
    """

    def __init__(self) -> None:
        self._queues: dict[Priority, OrderedDict[int, Waiter]] = {
            priority: OrderedDict() for priority in Priority
        }
        self.weights = dict.fromkeys(Priority, 0)
        self._size = 0

    def __len__(self) -> int:
        """Return how many wait."""
        return self._size

    def priorities(self) -> list[Priority]:
        """Return the priorities that somebody waits with, most urgent first."""
        return [priority for priority, queue in self._queues.items() if queue]

    def __iter__(self) -> Iterator[Waiter]:
        """Return all who wait: the most urgent first, then as they came."""
        for queue in self._queues.values():
            yield from list(queue.values())

    def count(self, priority: Priority) -> int:
        """Return how many wait with one priority."""
        return len(self._queues[priority])

    def above(self, priority: Priority) -> tuple[int, int]:
        """Return the weight, and the number, of those with a more urgent priority."""
        weight = count = 0
        for other, queue in self._queues.items():
            if other is priority:
                break
            weight += self.weights[other]
            count += len(queue)
        return weight, count

    def join(self, waiter: Waiter, *, left: Callable[[], None]) -> None:
        """Put somebody in line; `left` is called if he goes without having been served."""
        self._queues[waiter.priority][waiter.arrival] = waiter
        self.weights[waiter.priority] += waiter.weight
        self._size += 1

        def leave() -> None:
            if self.remove(waiter):
                # A reply that is never used would be remembered for ever.
                waiter.reply.fail(CallTimeout("the caller has gone"))
                left()

        waiter.reply.on_abandoned = leave

    def first(self, priority: Priority) -> Waiter | None:
        """Return who is next with one priority; None if nobody waits."""
        queue = self._queues[priority]
        return next(iter(queue.values())) if queue else None

    def remove(self, waiter: Waiter) -> bool:
        """Take somebody out; return whether he was there."""
        if self._queues[waiter.priority].pop(waiter.arrival, None) is None:
            return False
        self.weights[waiter.priority] -= waiter.weight
        self._size -= 1
        return True
