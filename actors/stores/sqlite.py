"""Candles in one SQLite file, as columnar chunks: unlimited history, fast into numpy.

What is promised: when `write` returns, its rows survive the process being killed. A flipped bit in
a chunk is an error that names it, never a wrong number; `repair` drops that chunk and no other.

All calls go through one worker thread, in the order in which they were made.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from actors.candles import Candles
from actors.coverage import Coverage, Span
from actors.errors import StoreError
from actors.messages import StoredCandles, StoreWrite
from actors.reports import StoreStatistics
from actors.series import Series
from actors.stores import sqlite_repair, sqlite_rows
from actors.stores.base import CandleStore, SeriesUse
from actors.stores.checks import check_window, check_write
from actors.stores.sqlite_rows import Reading
from actors.stores.sqlite_schema import prepare
from actors.stores.trio_sqlite import BUSY_S, Connection, Database, open_database
from runtime.core.clock import Clock, SystemClock

T = TypeVar("T")

_log = logging.getLogger("marketd.store")


class SqliteStore(CandleStore):
    """A store in one SQLite file; made by `open_sqlite_store`.

    Args:
      database: The open file.
      clock: Where the dates of use are read.
    """

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        # Not yet in the table: they go along with the next write, or when the store is closed.
        # Bounded by the number of series, since only those that exist are counted.
        self._readings: dict[Series, Reading] = {}
        self._reads = self._writes = self._commits = 0
        self._closed = False

    @property
    def lost(self) -> bool:  # type: ignore[override] # read-only here, derived from the file's state
        """Whether only opening the file again can help."""
        return self._database.lost

    async def read(
        self, series: Series, *, start_ms: int, end_ms: int, count: int | None = None
    ) -> StoredCandles:
        """Return the stored candles that open in [start_ms, end_ms); see `CandleStore`."""
        check_window(start_ms, end_ms, count)
        window = Span(start_ms, end_ms)
        stored = await self._run(lambda c: sqlite_rows.read(c, series, window, count))
        self._reads += 1
        if stored is None:
            return StoredCandles(Candles.empty(series).answer(source="store"), Coverage())
        self._note_reading(series, 1, self._clock.utc_ms())
        return stored

    async def coverage(self, series: Series) -> Coverage:
        """Return everything that is proven of `series`; see `CandleStore`."""
        return await self._run(lambda c: sqlite_rows.read_coverage(c, series))

    async def write(self, writes: Sequence[StoreWrite]) -> None:
        """Keep all of `writes` in one transaction; see `CandleStore`."""
        for write in writes:
            check_write(write)
        await self._write(writes)
        self._writes += len(writes)
        self._commits += 1

    async def series(self) -> tuple[Series, ...]:
        """Return every series that has been written, sorted by their text."""
        return await self._run(sqlite_rows.read_names)

    async def use(self, series: Series) -> SeriesUse | None:
        """Return how `series` has been used; see `CandleStore`."""
        use = await self._run(lambda c: sqlite_rows.read_use(c, series))
        reading = self._readings.get(series, Reading(0, 0))
        return use and use.touched(reads=reading.reads, read_ms=reading.read_ms)

    async def delete(self, series: Series) -> None:
        """Forget all rows and all coverage of `series`."""
        await self._run(lambda c: sqlite_rows.delete(c, series))
        self._readings.pop(series, None)

    async def repair(self, series: Series) -> tuple[Span, ...]:
        """Drop what is damaged of `series`; see `CandleStore`.

        Everything else waits while all chunks of the series are checked: a second for millions.
        """
        return await self._run(lambda c: sqlite_repair.repair(c, series))

    async def statistics(self) -> StoreStatistics:
        """Return how much the store holds."""
        series, candles, size = await self._run(sqlite_rows.read_totals)
        return StoreStatistics(
            series=series,
            candles=candles,
            bytes=size,
            reads=self._reads,
            writes=self._writes,
            commits=self._commits,
        )

    async def aclose(self) -> None:
        """Write down what is known of the reads and close; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._readings:
                await self._write(())
        except StoreError as error:
            _log.info("the last reads were not counted: %s", error)
        finally:
            await self._database.aclose()

    async def _write(self, writes: Sequence[StoreWrite]) -> None:
        now_ms = self._clock.utc_ms()
        readings, self._readings = self._readings, {}
        try:
            await self._run(lambda c: sqlite_rows.write(c, writes, readings, now_ms))
        except BaseException:
            for series, reading in readings.items():
                self._note_reading(series, *reading)
            raise

    async def _run(self, work: Callable[[Connection], T]) -> T:
        return await self._database.run(work)

    def _note_reading(self, series: Series, reads: int, read_ms: int) -> None:
        known = self._readings.get(series, Reading(0, 0))
        self._readings[series] = Reading(known.reads + reads, max(known.read_ms, read_ms))


@asynccontextmanager
async def open_sqlite_store(
    path: Path | str, *, clock: Clock | None = None, busy_s: float = BUSY_S
) -> AsyncIterator[SqliteStore]:
    """Open the store at `path`; a new file, mode 0600, if there is none. Its folder must exist.

    Args:
      path: The database file; `-wal` and `-shm` files appear beside it.
      clock: Where the dates of use are read; the system's if not given.
      busy_s: How long to wait for another program's lock, in seconds.

    Raises:
      StoreUnavailable: It cannot be opened; the message names the path and what to do.
      StoreCorrupt: It is not a database, a damaged one, or another program's.
    """
    async with open_database(Path(path), prepare=prepare, busy_s=busy_s) as database:
        store = SqliteStore(database, clock=clock or SystemClock())
        try:
            yield store
        finally:
            await store.aclose()
