"""`Timers`: what is due when, in a heap, so that many of them cost little each."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

# So many entries may be out of date before the heap is built anew.
_SLACK = 64


class Timers(Generic[K]):
    """One alarm for each key. Setting one again moves it; order is by moment, then by setting."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, K]] = []
        # Of each key, the serial number of the entry that counts; the others are out of date.
        self._current: dict[K, tuple[float, int]] = {}
        self._serial = 0

    def set(self, key: K, at_s: float) -> None:
        """Make `key` due at `at_s`."""
        self._serial += 1
        self._current[key] = (at_s, self._serial)
        heapq.heappush(self._heap, (at_s, self._serial, key))
        if len(self._heap) > 2 * len(self._current) + _SLACK:
            self._heap = [(*entry, key) for key, entry in self._current.items()]
            heapq.heapify(self._heap)

    def cancel(self, key: K) -> None:
        """Make `key` not due at all."""
        self._current.pop(key, None)

    def __contains__(self, key: K) -> bool:
        """Return whether `key` is due at some time."""
        return key in self._current

    def next_s(self) -> float | None:
        """Return when the next key is due; None if none is."""
        while self._heap:
            at_s, serial, key = self._heap[0]
            if self._current.get(key) == (at_s, serial):
                return at_s
            heapq.heappop(self._heap)
        return None

    def pop(self) -> K:
        """Return the key that `next_s` was about, and forget it."""
        key = heapq.heappop(self._heap)[2]
        del self._current[key]
        return key

    def __len__(self) -> int:
        """Return how many keys are due at some time."""
        return len(self._current)
