"""What tests of stores, and of what is built on them, need.

Seeded candles and writes; and a disk that fails when told to.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import numpy as np
import trio

from actors.candles import Candles
from actors.coverage import Coverage, Span
from actors.errors import StoreCorrupt, StoreError
from actors.messages import StoredCandles, StoreWrite
from actors.series import Series
from actors.stores.memory import MemoryStore


def candles_at(series: Series, times_ms: Sequence[int], *, seed: int = 0) -> Candles:
    """Return closed candles that open at `times_ms`, which must rise, with seeded figures."""
    chance = np.random.default_rng(seed)
    times = np.array(times_ms, dtype=np.int64)
    floats = [chance.random(times.size) * 1e8 for _ in range(6)]
    return Candles(series, times, floats, np.ones(times.size, dtype=np.bool_))


def made_candles(series: Series, start_ms: int, count: int, *, seed: int = 0) -> Candles:
    """Return `count` closed candles in a row, the first opening at `start_ms`."""
    times = [series.timeframe.shift_ms(start_ms, n) for n in range(count)]
    return candles_at(series, times, seed=seed)


def made_write(series: Series, start_ms: int, count: int, *, seed: int = 0) -> StoreWrite:
    """Return a write of `count` candles in a row that proves exactly their time."""
    end_ms = series.timeframe.shift_ms(start_ms, count)
    return StoreWrite(made_candles(series, start_ms, count, seed=seed), Span(start_ms, end_ms))


class Disk:
    """What a store is kept on: it outlives the actor, takes its time, and fails when told to.

    Attributes:
      store: What is on it.
      opened: How often it was opened; likewise `closed`.
      opened_at_s: When opening was tried, on trio's clock.
      cannot_open: Raised by opening; likewise `cannot_read` and `cannot_write`.
      damaged: The series that nothing can be read from or written to until it is repaired.
      dropped: What repairing it drops.
      cannot_repair: Raised by repairing.
      repairs: The series whose repair was tried.
      lost: What the open store says of itself; opening anew mends it.
      takes_s: How long a read or a write takes, in seconds.
      commits: How many writes went into each commit.
    """

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.opened = self.closed = 0
        self.opened_at_s: list[float] = []
        self.cannot_open: StoreError | None = None
        self.cannot_read: Exception | None = None
        self.cannot_write: StoreError | None = None
        self.damaged: Series | None = None
        self.dropped: tuple[Span, ...] = (Span(0, 60_000),)
        self.cannot_repair: StoreError | None = None
        self.repairs: list[Series] = []
        self.lost = False
        self.takes_s = 0.0
        self.commits: list[int] = []

    @asynccontextmanager
    async def open(self) -> AsyncIterator[MemoryStore]:
        """Open the disk's only store."""
        await trio.lowlevel.checkpoint()
        self.opened_at_s.append(trio.current_time())
        if self.cannot_open:
            raise self.cannot_open
        self.opened += 1
        self.lost = False
        yield _DiskStore(self)
        self.closed += 1


class _DiskStore(MemoryStore):
    """The store as long as it is open."""

    def __init__(self, disk: Disk) -> None:
        super().__init__()
        self._disk = disk

    @property
    def lost(self) -> bool:  # type: ignore[override] # read-only here
        """Whether the disk went away."""
        return self._disk.lost

    async def read(
        self, series: Series, *, start_ms: int, end_ms: int, count: int | None = None
    ) -> StoredCandles:
        """Read, unless the disk cannot."""
        await trio.sleep(self._disk.takes_s)
        if self._disk.cannot_read:
            raise self._disk.cannot_read
        self._check([series])
        return await self._disk.store.read(series, start_ms=start_ms, end_ms=end_ms, count=count)

    async def coverage(self, series: Series) -> Coverage:
        """Return what is proven."""
        return await self._disk.store.coverage(series)

    async def write(self, writes: Sequence[StoreWrite]) -> None:
        """Write, unless the disk cannot."""
        await trio.sleep(self._disk.takes_s)
        if self._disk.cannot_write:
            raise self._disk.cannot_write
        self._check([write.candles.series for write in writes])
        await self._disk.store.write(writes)
        self._disk.commits.append(len(writes))

    async def repair(self, series: Series) -> tuple[Span, ...]:
        """Mend the damaged series, unless the disk cannot."""
        self._disk.repairs.append(series)
        await trio.sleep(self._disk.takes_s)
        if self._disk.cannot_repair:
            raise self._disk.cannot_repair
        if self._disk.damaged != series:
            return ()
        self._disk.damaged = None
        return self._disk.dropped

    def _check(self, wanted: Sequence[Series]) -> None:
        if self._disk.damaged in wanted:
            raise StoreCorrupt(f"{self._disk.damaged}: damaged")
