"""When so many candles of a series were at hand for the first time. Values only; times come in."""

from __future__ import annotations

import math

ALL = math.inf
"""As many as exist, however many are wanted."""


class Reached:
    """Remembers the first moment of each number that was more than any before.

    Bound: one entry for each number up to the largest that is wanted.
    """

    def __init__(self) -> None:
        # Numbers and moments, both rising.
        self._moments_s: dict[float, float] = {}

    def __len__(self) -> int:
        """Return how many moments it remembers."""
        return len(self._moments_s)

    def note(self, candles: float, now_s: float) -> None:
        """Note that so many are at hand now."""
        if candles > max(self._moments_s, default=0):
            self._moments_s[candles] = now_s

    def keep(self, candles: int) -> None:
        """Forget more than so many: they may be let go now."""
        kept: dict[float, float] = {}
        for number, moment_s in self._moments_s.items():
            kept.setdefault(number if number == ALL else min(number, candles), moment_s)
        self._moments_s = kept

    def first_s(self, candles: int) -> float | None:
        """Return when so many were at hand for the first time; None if they never were."""
        moments_s = (moment_s for number, moment_s in self._moments_s.items() if number >= candles)
        return next(moments_s, None)
