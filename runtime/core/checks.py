"""Whether a figure is one: specifications may come from configurations, where anything stands."""

from __future__ import annotations

import math


def is_number(value: object, low: float, high: float = math.inf) -> bool:
    """Return whether `value` is a number from `low` to `high`; True and NaN are none."""
    is_one = isinstance(value, int | float) and not isinstance(value, bool)
    return is_one and low <= value <= high  # type: ignore[operator]


def is_whole(value: object, low: int) -> bool:
    """Return whether `value` is a whole number of at least `low`."""
    return isinstance(value, int) and is_number(value, low)
