"""The highest value since a moment, for moments that lie in the past."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque


class Peaks:
    """Remembers how high a figure was, as far back as anybody may still ask.

    Bound: one entry for each fall of the figure since the oldest moment asked for.
    """

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        # Moments rising, figures falling: what is both older and lower can never be a peak.
        self._entries: deque[tuple[float, int]] = deque()

    def note(self, time_s: float, value: int, *, oldest_s: float) -> None:
        """Remember a figure that has risen; nobody will ask for a moment before `oldest_s`."""
        entries = self._entries
        while entries and entries[-1][1] <= value:
            entries.pop()
        entries.append((time_s, value))
        while entries[0][0] < oldest_s:
            entries.popleft()

    def since(self, time_s: float) -> int:
        """Return the highest figure noted at `time_s` or later; 0 if there is none."""
        place = bisect_left(self._entries, time_s, key=lambda entry: entry[0])
        return self._entries[place][1] if place < len(self._entries) else 0
