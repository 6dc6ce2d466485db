"""`Table`: what one actor knows, readable by everybody without asking it.

One writer, any number of readers, no queue in between: reading is a dictionary look-up. The table
is made by whoever builds the tree and handed to the actor, so it outlives the actor's crash and
the next incarnation finds it as it was. Values should be immutable: readers keep them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from runtime.core.errors import TableOwned

K = TypeVar("K")
V = TypeVar("V")


class _Entry(Generic[V]):
    __slots__ = ("reads", "tick", "value")

    def __init__(self, value: V) -> None:
        self.value = value
        self.reads = 0
        self.tick = 0


class Table(Generic[K, V]):
    """A map that many read and one writes.

    Bound: none of its own; the writer bounds what it puts in.

    Args:
      name: For errors.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._entries: dict[K, _Entry[V]] = {}
        self._owner: object | None = None
        self._tick = 0

    def get(self, key: K) -> V | None:
        """Return the value of `key`, or None; counts as a use for `least_recently_read`."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._tick += 1
        entry.tick = self._tick
        entry.reads += 1
        return entry.value

    def peek(self, key: K) -> V | None:
        """Return the value of `key`, or None, without counting as a use."""
        entry = self._entries.get(key)
        return None if entry is None else entry.value

    def reads(self, key: K) -> int:
        """Return how often `key` was read since it was first put."""
        entry = self._entries.get(key)
        return 0 if entry is None else entry.reads

    def least_recently_read(self) -> K | None:
        """Return the key whose last use lies farthest back; None if the table is empty."""
        return min(self._entries, key=lambda key: self._entries[key].tick, default=None)

    def items(self) -> Iterator[tuple[K, V]]:
        """Return a moment's view of all keys and values, without counting as a use."""
        return iter([(key, entry.value) for key, entry in self._entries.items()])

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self._entries)

    def claim(self, owner: object) -> TableWriter[K, V]:
        """Make `owner` the one writer; what an earlier owner left behind is still there.

        Raises:
          TableOwned: Somebody else has claimed it and not released it.
        """
        if self._owner is not None and self._owner is not owner:
            raise TableOwned(f"table {self.name!r} already has a writer: {self._owner!r}")
        self._owner = owner
        return TableWriter(self, owner)


class TableWriter(Generic[K, V]):
    """The right to write one table, held by one owner at a time."""

    def __init__(self, table: Table[K, V], owner: object) -> None:
        self._table = table
        self._owner = owner

    def put(self, key: K, value: V) -> None:
        """Set the value of `key`; a new key counts as just used."""
        table = self._own()
        entry = table._entries.get(key)
        if entry is None:
            entry = table._entries[key] = _Entry(value)
            table._tick += 1
            entry.tick = table._tick
        entry.value = value

    def delete(self, key: K) -> None:
        """Remove `key` if it is there."""
        self._own()._entries.pop(key, None)

    def release(self) -> None:
        """Let somebody else claim the table; the values stay."""
        if self._table._owner is self._owner:
            self._table._owner = None

    def _own(self) -> Table[K, V]:
        if self._table._owner is not self._owner:
            raise TableOwned(f"table {self._table.name!r} is no longer written by {self._owner!r}")
        return self._table
