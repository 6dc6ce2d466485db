"""What the SQLite store does inside a transaction: plain functions, run in the worker thread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from actors.candles import Candles
from actors.coverage import Coverage, Span
from actors.errors import StoreCorrupt
from actors.messages import StoredCandles, StoreWrite
from actors.series import Market, Series
from actors.stores.base import SeriesUse
from actors.stores.chunks import (
    CANDLE_BYTES,
    SLOT_BLOCKS,
    Grid,
    Rows,
    block_of,
    candles_of,
    chunk_id,
    clip,
    pack_chunk,
    pack_coverage,
    replace,
    rows_of,
    slot_start,
    unpack_chunk,
    unpack_coverage,
)
from actors.stores.trio_sqlite import Connection, transaction
from actors.timeframes import Timeframe
from runtime.core.errors import DomainError

_SERIES = "SELECT id, crc, coverage, candles FROM series"
_SERIES += " WHERE exchange = ? AND market = ? AND timeframe = ?"
_CHUNKS = "SELECT id, blocks, crc, data FROM chunk WHERE id BETWEEN ? AND ? ORDER BY id DESC"
_USED = """
UPDATE series SET reads = reads + ?, read_ms = max(read_ms, ?)
WHERE exchange = ? AND market = ? AND timeframe = ?"""


class SeriesRow(NamedTuple):
    """What the table says of one series, unchecked."""

    id: int
    crc: int
    coverage: bytes
    candles: int


class _Stub(NamedTuple):
    """A chunk without its bytes."""

    id: int
    blocks: int
    candles: int

    @property
    def block(self) -> int:
        return block_of(self.id)


class Reading(NamedTuple):
    """Reads of one series that the table does not know of yet."""

    reads: int
    read_ms: int


def names(series: Series) -> tuple[str, str, str]:
    """Return what the table finds a series by."""
    return (series.market.exchange, series.market.code, series.timeframe.value)


def find_series(connection: Connection, series: Series) -> SeriesRow | None:
    """Return the row of `series`; None if it was never written."""
    row = connection.execute(_SERIES, names(series)).fetchone()
    return SeriesRow(*row) if row else None


# ------------------------------------------------------------------ reading


def read(
    connection: Connection, series: Series, window: Span, count: int | None
) -> StoredCandles | None:
    """Return what is stored of `window`, only the newest `count` rows; None if never written."""
    with transaction(connection):
        found = find_series(connection, series)
        if found is None:
            return None
        parts = _newest_first(connection, series, found.id, window)
        rows = _take(parts, count)
        coverage = unpack_coverage(series, found.crc, found.coverage, window)
    if rows is None:
        return StoredCandles(Candles.empty(series).answer(source="store"), coverage)
    return StoredCandles(candles_of(series, rows), coverage)


def _newest_first(
    connection: Connection, series: Series, series_id: int, window: Span
) -> Iterator[Rows]:
    """Return the rows of `window` chunk by chunk, the newest chunk first."""
    if not window:
        return
    grid = Grid.of(series.timeframe)
    first, last = grid.block(window.start_ms), grid.block(window.end_ms - 1)
    spans = [(first, last)]
    if first != slot_start(first):
        # A folded slot has its key at its own start, before the first block of the window.
        spans.append((slot_start(first), slot_start(first)))
    for low, high in spans:
        keys = (chunk_id(series_id, low), chunk_id(series_id, high))
        for row in connection.execute(_CHUNKS, keys):
            rows = clip(unpack_chunk(series, *row), window.start_ms, window.end_ms)
            if rows.shape[1]:
                yield rows


def _take(parts: Iterator[Rows], count: int | None) -> Rows | None:
    """Return the newest `count` rows as one matrix of its own, oldest first; None for none."""
    taken: list[Rows] = []
    wanted = count
    while wanted is None or wanted > 0:
        rows = next(parts, None)
        if rows is None:
            break
        if wanted is not None:
            rows = rows[:, max(0, rows.shape[1] - wanted) :]
            wanted -= rows.shape[1]
        taken.append(rows)
    # Always a copy: a view of 200 rows would keep the bytes of the whole chunk in memory.
    return np.concatenate(taken[::-1], axis=1) if taken else None


def read_coverage(connection: Connection, series: Series) -> Coverage:
    """Return everything that is proven of `series`."""
    found = find_series(connection, series)
    return unpack_coverage(series, found.crc, found.coverage) if found else Coverage()


def read_names(connection: Connection) -> tuple[Series, ...]:
    """Return every series, sorted by their text."""
    rows = connection.execute("SELECT exchange, market, timeframe FROM series").fetchall()
    try:
        return tuple(sorted((_series(*row) for row in rows), key=str))
    except DomainError as error:
        raise StoreCorrupt(f"the table of series is damaged: {error}") from error


def _series(exchange: str, code: str, timeframe: str) -> Series:
    return Series(Market.parse(f"{exchange}:{code}"), Timeframe.parse(timeframe))


def read_use(connection: Connection, series: Series) -> SeriesUse | None:
    """Return how `series` has been used, as far as the table knows."""
    sql = "SELECT candles, created_ms, written_ms, read_ms, reads FROM series"
    sql += " WHERE exchange = ? AND market = ? AND timeframe = ?"
    row = connection.execute(sql, names(series)).fetchone()
    if row is None:
        return None
    candles, created_ms, written_ms, read_ms, reads = row
    return SeriesUse(
        candles=candles, created_ms=created_ms, written_ms=written_ms, read_ms=read_ms, reads=reads
    )


def read_totals(connection: Connection) -> tuple[int, int, int]:
    """Return the number of series, the number of candles, and the size in bytes."""
    sql = """SELECT count(*), coalesce(sum(candles), 0),
        (SELECT page_count * page_size FROM pragma_page_count, pragma_page_size) FROM series"""
    series, candles, size = connection.execute(sql).fetchone()
    return series, candles, size


# ------------------------------------------------------------------ writing


def write(
    connection: Connection,
    writes: Sequence[StoreWrite],
    readings: Mapping[Series, Reading],
    now_ms: int,
) -> None:
    """Keep all of `writes`, and count `readings`, in one transaction."""
    with transaction(connection, "IMMEDIATE"):
        for one in writes:
            _write_one(connection, one, now_ms)
        for series, (reads, read_ms) in readings.items():
            connection.execute(_USED, (reads, read_ms, *names(series)))


def delete(connection: Connection, series: Series) -> None:
    """Forget `series`."""
    with transaction(connection, "IMMEDIATE"):
        found = find_series(connection, series)
        if found is None:
            return
        keys = (chunk_id(found.id, 0), chunk_id(found.id + 1, 0))
        connection.execute("DELETE FROM chunk WHERE id >= ? AND id < ?", keys)
        connection.execute("DELETE FROM series WHERE id = ?", (found.id,))


def _write_one(connection: Connection, one: StoreWrite, now_ms: int) -> None:
    candles: Candles = one.candles
    series: Series = candles.series
    found = find_series(connection, series) or _create(connection, series, now_ms)
    coverage = unpack_coverage(series, found.crc, found.coverage).add(one.proven)
    writing = _Writing(connection, series, found.id, coverage, one.proven, rows_of(candles))
    added = writing.run() if one.proven else 0
    connection.execute(
        "UPDATE series SET coverage = ?, crc = ?, candles = ?, written_ms = ? WHERE id = ?",
        (*reversed(pack_coverage(series, coverage)), found.candles + added, now_ms, found.id),
    )


def _create(connection: Connection, series: Series, now_ms: int) -> SeriesRow:
    crc, coverage = pack_coverage(series, Coverage())
    sql = "INSERT INTO series VALUES (NULL, ?, ?, ?, ?, ?, 0, ?, ?, 0, 0) RETURNING id"
    values = (*names(series), coverage, crc, now_ms, now_ms)
    series_id = connection.execute(sql, values).fetchone()[0]
    return SeriesRow(series_id, crc, coverage, 0)


@dataclass(frozen=True, slots=True)
class _Writing:
    """The chunks of one write.

    Attributes:
      connection: Inside a transaction.
      series: Whose candles.
      series_id: Its id in the table.
      coverage: What is proven once this is written.
      proven: What this write proves; not empty.
      new: The rows of this write.
    """

    connection: Connection
    series: Series
    series_id: int
    coverage: Coverage
    proven: Span
    new: Rows

    def run(self) -> int:
        """Write what changes, and return how many candles there are more than before."""
        grid = Grid.of(self.series.timeframe)
        stubs = self._stubs(grid)
        slots = {slot_start(stub.block) for stub in stubs}
        slots |= {slot_start(block) for block in self._new_blocks(grid)}
        return sum(
            self._write_slot(grid, slot, [s for s in stubs if slot_start(s.block) == slot])
            for slot in sorted(slots)
        )

    def _stubs(self, grid: Grid) -> list[_Stub]:
        """Return the chunks of every slot that the proven span touches."""
        low = slot_start(grid.block(self.proven.start_ms))
        high = slot_start(grid.block(self.proven.end_ms - 1)) + SLOT_BLOCKS - 1
        # The length is known without reading the bytes.
        sql = "SELECT id, blocks, length(data) FROM chunk WHERE id BETWEEN ? AND ?"
        keys = (chunk_id(self.series_id, low), chunk_id(self.series_id, high))
        found = self.connection.execute(sql, keys).fetchall()
        return [_Stub(key, blocks, size // CANDLE_BYTES) for key, blocks, size in found]

    def _new_blocks(self, grid: Grid) -> set[int]:
        return set((np.unique(self.new[0] // grid.block_ms)).tolist())

    def _write_slot(self, grid: Grid, slot: int, stubs: list[_Stub]) -> int:
        whole = grid.span(slot, SLOT_BLOCKS)
        if self.coverage.covers(whole) or any(stub.blocks == SLOT_BLOCKS for stub in stubs):
            return self._write_chunk(slot, SLOT_BLOCKS, whole, stubs)
        added = 0
        for block in range(slot, slot + SLOT_BLOCKS):
            span = grid.span(block)
            if span.start_ms < self.proven.end_ms and self.proven.start_ms < span.end_ms:
                inside = [stub for stub in stubs if stub.block == block]
                added += self._write_chunk(block, 1, span, inside)
        return added

    def _write_chunk(self, block: int, blocks: int, span: Span, stubs: list[_Stub]) -> int:
        """Make one chunk of `span` out of `stubs` and the new rows."""
        key = chunk_id(self.series_id, block)
        replaced = self.proven.start_ms <= span.start_ms and span.end_ms <= self.proven.end_ms
        # What is replaced whole is not read, so that writing it anew also heals a damaged chunk.
        old = [] if replaced else [self._load(stub) for stub in stubs]
        rows = replace(old, clip(self.new, span.start_ms, span.end_ms), self.proven)
        for stub in stubs:
            if stub.id != key or not rows.shape[1]:
                self.connection.execute("DELETE FROM chunk WHERE id = ?", (stub.id,))
        if rows.shape[1]:
            crc, data = pack_chunk(key, blocks, rows)
            sql = "INSERT OR REPLACE INTO chunk VALUES (?, ?, ?, ?)"
            self.connection.execute(sql, (key, blocks, crc, data))
        return int(rows.shape[1]) - sum(stub.candles for stub in stubs)

    def _load(self, stub: _Stub) -> Rows:
        sql = "SELECT id, blocks, crc, data FROM chunk WHERE id = ?"
        row = self.connection.execute(sql, (stub.id,)).fetchone()
        return unpack_chunk(self.series, *row)
