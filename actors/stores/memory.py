"""Candles kept in this process only: for tests, simulations and `store.kind = "memory"`.

What is lost when it goes away: everything. It has no threads, so it works on fake time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from actors.candles import Candles
from actors.coverage import BEGINNING_MS, Coverage, Span
from actors.errors import StoreUnavailable
from actors.messages import StoredCandles, StoreWrite
from actors.reports import StoreStatistics
from actors.series import Series
from actors.stores.base import CandleStore, SeriesUse
from actors.stores.checks import check_window, check_write
from runtime.core.clock import Clock, SystemClock

# About 57 MB of columns.
CANDLES_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class _Kept:
    """Everything known of one series."""

    candles: Candles
    coverage: Coverage
    use: SeriesUse

    def written(self, write: StoreWrite, now_ms: int) -> _Kept:
        """Return this with the rows of the proven span replaced by those of `write`."""
        proven: Span = write.proven
        before = self.candles.between(BEGINNING_MS, proven.start_ms)
        after = self.candles.between(proven.end_ms, _END_MS)
        candles = before.merge(write.candles).merge(after)
        use = self.use.touched(candles=len(candles), written_ms=now_ms)
        return _Kept(candles, self.coverage.add(proven), use)

    def shortened(self, candles_max: int, now_ms: int) -> _Kept:
        """Return this with its newest `candles_max` rows, and the coverage that goes with them."""
        candles = self.candles.last(candles_max)
        cut_ms = int(candles.open_time_ms[0]) if len(candles) else _END_MS
        use = self.use.touched(candles=len(candles), written_ms=now_ms)
        # A copy: a slice would keep the memory of the rows that went.
        candles = Candles(
            candles.series,
            candles.open_time_ms.copy(),
            [column.copy() for column in candles.floats],
            candles.closed.copy(),
        )
        return _Kept(candles, self.coverage.remove(Span(BEGINNING_MS, cut_ms)), use)


_END_MS = 2**62


class MemoryStore(CandleStore):
    """A bounded store in memory.

    Bound: beyond `candles_max` the series used longest ago go first, their coverage with them; a
    series that is too long by itself loses its oldest rows, and the coverage of those times.

    Args:
      candles_max: How many candles are kept in all.
      clock: Where the dates of use are read.
    """

    def __init__(self, *, candles_max: int = CANDLES_MAX, clock: Clock | None = None) -> None:
        if candles_max < 1:
            raise ValueError(f"candles_max must be at least 1, was {candles_max}")
        self._candles_max = candles_max
        self._clock = clock or SystemClock()
        # Least recently used first.
        self._kept: OrderedDict[Series, _Kept] = OrderedDict()
        self._reads = self._writes = self._commits = 0
        self._closed = False

    async def read(
        self, series: Series, *, start_ms: int, end_ms: int, count: int | None = None
    ) -> StoredCandles:
        """Return the stored candles that open in [start_ms, end_ms); see `CandleStore`."""
        check_window(start_ms, end_ms, count)
        await self._checkpoint()
        self._reads += 1
        kept = self._kept.get(series)
        if kept is None:
            return StoredCandles(Candles.empty(series).answer(source="store"), Coverage())
        use = kept.use.touched(reads=1, read_ms=self._clock.utc_ms())
        self._kept[series] = _Kept(kept.candles, kept.coverage, use)
        self._kept.move_to_end(series)
        rows = kept.candles.between(start_ms, end_ms)
        if count is not None:
            rows = rows.last(count)
        return StoredCandles(
            rows.answer(source="store"), kept.coverage.clip(Span(start_ms, end_ms))
        )

    async def coverage(self, series: Series) -> Coverage:
        """Return everything that is proven of `series`; see `CandleStore`."""
        await self._checkpoint()
        kept = self._kept.get(series)
        return kept.coverage if kept else Coverage()

    async def write(self, writes: Sequence[StoreWrite]) -> None:
        """Keep all of `writes`; see `CandleStore`."""
        for write in writes:
            check_write(write)
        await self._checkpoint()
        now_ms = self._clock.utc_ms()
        for write in writes:
            series: Series = write.candles.series
            kept = self._kept.get(series) or _new(series, now_ms)
            self._kept[series] = kept.written(write, now_ms)
            self._kept.move_to_end(series)
        self._writes += len(writes)
        self._commits += 1
        self._keep_bound(now_ms)

    async def series(self) -> tuple[Series, ...]:
        """Return every series that has been written, sorted by their text."""
        await self._checkpoint()
        return tuple(sorted(self._kept, key=str))

    async def use(self, series: Series) -> SeriesUse | None:
        """Return how `series` has been used; see `CandleStore`."""
        await self._checkpoint()
        kept = self._kept.get(series)
        return kept.use if kept else None

    async def delete(self, series: Series) -> None:
        """Forget all rows and all coverage of `series`."""
        await self._checkpoint()
        self._kept.pop(series, None)

    async def repair(self, series: Series) -> tuple[Span, ...]:
        """Return nothing: what is in memory is not damaged."""
        del series
        await self._checkpoint()
        return ()

    async def statistics(self) -> StoreStatistics:
        """Return how much the store holds; it has no size on disk."""
        await self._checkpoint()
        return StoreStatistics(
            series=len(self._kept),
            candles=self._count(),
            bytes=None,
            reads=self._reads,
            writes=self._writes,
            commits=self._commits,
        )

    async def aclose(self) -> None:
        """Forget everything; a second call does nothing."""
        self._closed = True
        self._kept.clear()
        await trio.lowlevel.checkpoint()

    async def _checkpoint(self) -> None:
        if self._closed:
            raise StoreUnavailable("the store in memory was closed")
        # As any store does; a caller that only ever meets this one must not learn to rely on
        # reads that never yield.
        await trio.lowlevel.checkpoint()

    def _count(self) -> int:
        return sum(len(kept.candles) for kept in self._kept.values())

    def _keep_bound(self, now_ms: int) -> None:
        excess = self._count() - self._candles_max
        while excess > 0 and len(self._kept) > 1:
            _, gone = self._kept.popitem(last=False)
            excess -= len(gone.candles)
        if excess > 0:
            series, kept = self._kept.popitem()
            self._kept[series] = kept.shortened(self._candles_max, now_ms)


def _new(series: Series, now_ms: int) -> _Kept:
    return _Kept(Candles.empty(series), Coverage(), SeriesUse(created_ms=now_ms))


@asynccontextmanager
async def open_memory_store(
    *, candles_max: int = CANDLES_MAX, clock: Clock | None = None
) -> AsyncIterator[MemoryStore]:
    """Open an empty store in memory; it is forgotten when the block ends."""
    store = MemoryStore(candles_max=candles_max, clock=clock)
    try:
        yield store
    finally:
        await store.aclose()
