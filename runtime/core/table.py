"""`Table`: what one actor knows, readable by everybody without asking it.

One writer, any number of readers, no queue in between: reading is a dictionary look-up. The table
is made by whoever builds the tree and handed to the actor, so it outlives the actor's crash and
the next incarnation finds it as it was. Values should be immutable: readers keep them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterator, Mapping
from types import MappingProxyType
from typing import Generic, TypeVar

from runtime.core.errors import TableOwned

_log = logging.getLogger("marketd.table")

K = TypeVar("K")
V = TypeVar("V")


class Table(Generic[K, V]):
    """A map that many read and one writes.

    Bound: none of its own; the writer bounds what it puts in.

    Args:
      name: For errors.

    Attributes:
      get: Returns the value of a key, or None. The dictionary's own method: nothing is between.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._values: dict[K, V] = {}
        self.get: Callable[[K], V | None] = self._values.get
        # Of each key: the tick of its last use, and how many uses there were.
        self._uses: dict[K, list[int]] = {}
        self._owner: str | None = None
        self._writer: TableWriter[K, V] | None = None
        self._tick = 0

    def use(self, key: K) -> V | None:
        """Return the value of `key`, or None, and count that as a use of it."""
        value = self._values.get(key)
        if value is not None:
            use = self._uses[key]
            self._tick += 1
            use[0] = self._tick
            use[1] += 1
        return value

    def uses(self, key: K) -> int:
        """Return how often `key` was used since it was first put."""
        return self._uses[key][1] if key in self._uses else 0

    def least_recently_used(self, *, besides: Container[K] = ()) -> K | None:
        """Return the key whose last use lies farthest back; None if there is none `besides`."""
        candidates = (key for key in self._uses if key not in besides)
        return min(candidates, key=lambda key: self._uses[key][0], default=None)

    def items(self) -> Iterator[tuple[K, V]]:
        """Return a moment's view of all keys and values, without counting as a use."""
        return iter(list(self._values.items()))

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self._values)

    def claim(
        self, owner: str, *, accept: Callable[[Mapping[K, V]], bool] | None = None
    ) -> TableWriter[K, V]:
        """Make `owner` the one writer; what its earlier incarnation left behind is still there.

        That incarnation can write no more, even if it could not be ended and lives on.

        Args:
          owner: Names the writer, the same name in each of its incarnations.
          accept: Looks at what was left behind; if it returns False or raises a `ValueError`, a
            `TypeError` or a `LookupError`, the heir starts with an empty table. Without it,
            everything is accepted.

        Raises:
          TableOwned: Somebody else has claimed it and not released it.
        """
        if self._owner not in {None, owner}:
            raise TableOwned(f"table {self.name!r} already has a writer: {self._owner!r}")
        refused = accept is not None and bool(self._values) and not _accepted(accept, self._values)
        if refused:
            _log.error("%s found table %r corrupt, and starts it anew", owner, self.name)
            self._values.clear()
            self._uses.clear()
        self._owner = owner
        self._writer = TableWriter(self, owner, refused=refused)
        return self._writer


class TableWriter(Generic[K, V]):
    """The right to write one table, held by one owner at a time.

    Attributes:
      refused: Whether what was left behind was found corrupt, and is gone.
    """

    def __init__(self, table: Table[K, V], owner: str, *, refused: bool = False) -> None:
        self._table = table
        self._owner = owner
        self.refused = refused

    def put(self, key: K, value: V) -> None:
        """Set the value of `key`; a new key counts as just used."""
        table = self._table
        if table._writer is not self:  # Asked here as well: this runs for every request.
            self._own()
        if key not in table._values:
            table._tick += 1
            table._uses[key] = [table._tick, 0]
        table._values[key] = value

    def delete(self, key: K) -> None:
        """Remove `key` if it is there."""
        table = self._own()
        table._values.pop(key, None)
        table._uses.pop(key, None)

    def release(self) -> None:
        """Let somebody else claim the table; the values stay."""
        if self._table._writer is self:
            self._table._owner = self._table._writer = None

    def _own(self) -> Table[K, V]:
        if self._table._writer is not self:
            raise TableOwned(f"table {self._table.name!r} is no longer written by {self._owner!r}")
        return self._table


def _accepted(accept: Callable[[Mapping[K, V]], bool], values: Mapping[K, V]) -> bool:
    try:
        return accept(MappingProxyType(values))
    except (ValueError, TypeError, LookupError):
        # What cannot even be looked at is corrupt.
        return False
