"""Candles in progress, computed from finer ones."""

from __future__ import annotations

import math
from collections.abc import Sequence

from actors.exchanges.streams import LiveRow

# Sums of what an exchange rounded to float64 agree to this many units in the last place.
TOLERANCE_ULP = 4


def fold_rows(rows: Sequence[LiveRow], open_time_ms: int) -> LiveRow:
    """Return the candle that opens at `open_time_ms` and consists of `rows`, oldest first.

    Its sums are rounded once, so they need not have the digits that the exchange itself writes.
    """
    return LiveRow(
        open_time_ms,
        rows[0].open,
        max([row.high for row in rows]),
        min([row.low for row in rows]),
        rows[-1].close,
        math.fsum([row.volume for row in rows]),
        math.fsum([row.value for row in rows]),
        max([row.made_ms for row in rows]),
    )


def agrees(row: LiveRow, parts: Sequence[LiveRow]) -> bool:
    """Return whether `row` says the same as the finer `parts` that fill its period."""
    whole = fold_rows(parts, row.open_time_ms)
    return (
        row[1:5] == whole[1:5]
        and is_near(row.volume, whole.volume, row.volume)
        and is_near(row.value, whole.value, row.value)
    )


def is_near(one: float, other: float, scale: float) -> bool:
    """Return whether two sums differ by no more than rounding, at the magnitude of `scale`."""
    return abs(one - other) <= TOLERANCE_ULP * math.ulp(scale)
