"""A small memory of results that are costly to make again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """Keep the results used last, at most `size` of them; the one used longest ago goes first.

    Args:
      make: Makes the result for a key. Must always make the same one for the same key.
      size: How many to keep.
    """

    def __init__(self, make: Callable[[int], T], *, size: int) -> None:
        self._make = make
        self._size = size
        self._kept: OrderedDict[int, T] = OrderedDict()

    def get(self, key: int) -> T:
        """Return the result for `key`, made now if it is not kept."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        made = self._kept[key] = self._make(key)
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)
        return made
