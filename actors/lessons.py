"""What a page of an exchange proves. Plain functions on immutable values.

A candle is closed when that is proven, never by the clock alone: here by a page that the exchange
made long enough after the candle's end (`LiveMarket` has a quicker proof). A row that follows in
the same page proves nothing: the newest two or three lag, each by a time of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from actors.candles import Candles
from actors.coverage import BEGINNING_MS, Coverage, Span
from actors.exchanges.base import CandlePage
from actors.messages import StoreWrite

if TYPE_CHECKING:
    # It builds on this module.
    from actors.known import Known


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one page proves.

    Attributes:
      proven: The span of which the page tells everything, for good; empty if it proves nothing.
      closed: Its rows in that span, now closed.
      open: Its rows after that span.
    """

    proven: Span
    closed: Candles
    open: Candles

    @property
    def write(self) -> StoreWrite | None:
        """Return what is worth keeping, or None."""
        return StoreWrite(self.closed, self.proven) if self.proven else None


def read_page(
    page: CandlePage,
    *,
    settle_ms: int,
    oldest_ms: int,
    older: Coverage,
    known: Known | None = None,
) -> Lesson:
    """Return what `page` proves.

    Args:
      page: One page as the exchange sent it.
      settle_ms: How long after a period's end its absence, or its last value, can be believed.
      oldest_ms: Before this time the exchange keeps nothing, so that a page that ends early
        proves nothing there; `BEGINNING_MS` if it keeps everything.
      older: What is proven so far. A page that says "nothing older exists" is not asked about what
        is known, and where it contradicts that, this part of it is not believed.
      known: What memory holds, whose rows it could contradict.
    """
    rows = page.candles
    timeframe = rows.series.timeframe
    times = rows.open_time_ms
    settled_ms = timeframe.floor_ms(page.observed_ms - settle_ms)
    limit_ms = page.to_ms
    if limit_ms is None:
        limit_ms = timeframe.shift_ms(timeframe.floor_ms(page.observed_ms), 1)
    first_ms = int(times[0]) if len(times) else limit_ms
    start_ms = first_ms
    if not page.full:
        # The beginning is no opening time of a week; it stands for "as far back as time goes".
        edge_ms = timeframe.ceil_ms(oldest_ms) if oldest_ms > BEGINNING_MS else BEGINNING_MS
        start_ms = _empty_from(min(first_ms, edge_ms), first_ms, older, known)
    end_ms = max(start_ms, min(limit_ms, settled_ms))
    proven = Span(start_ms, end_ms)
    split = int(np.searchsorted(times, end_ms))
    closed = rows.slice(0, split)
    return Lesson(proven, _closed(closed), rows.slice(split, len(rows)))


def _empty_from(edge_ms: int, first_ms: int, older: Coverage, known: Known | None) -> int:
    """Return from where on it is proven that nothing opened before `first_ms`.

    A page that ends early says so of all times since `edge_ms`. But what is known already stays as
    it is: the page might be short because the exchange is not itself, and the rows would be lost.
    """
    gaps = older.gaps(Span(edge_ms, first_ms))
    if len(gaps) != 1 or gaps[0].end_ms < first_ms:
        # All is known, or something older is known with a hole after it, which the page denies.
        return first_ms
    (gap,) = gaps
    if known is not None and len(known.candles.between(edge_ms, first_ms)):
        return first_ms
    return gap.start_ms


def _closed(rows: Candles) -> Candles:
    return Candles(rows.series, rows.open_time_ms, rows.floats, np.ones(len(rows), dtype=np.bool_))
