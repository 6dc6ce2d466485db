"""How a damaged series is mended: what cannot be believed goes, and the proof of it goes with it.

Nothing is guessed back. What is dropped is simply unknown again, and so it is fetched again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from actors.coverage import BEGINNING_MS, Coverage, Span
from actors.errors import StoreCorrupt
from actors.series import Series
from actors.stores.checks import TIME_MS_MAX
from actors.stores.chunks import (
    CANDLE_BYTES,
    SLOT_BLOCKS,
    Grid,
    block_of,
    chunk_id,
    pack_coverage,
    slot_start,
    unpack_chunk,
    unpack_coverage,
)
from actors.stores.sqlite_rows import SeriesRow, find_series
from actors.stores.trio_sqlite import Connection, transaction

_WHOLE = Span(BEGINNING_MS, TIME_MS_MAX)


@dataclass(frozen=True, slots=True)
class _Damaged:
    """A chunk that is not what was written, as it lies there."""

    key: int
    blocks: int
    crc: int
    data: bytes


def repair(connection: Connection, series: Series) -> tuple[Span, ...]:
    """Drop what is damaged of `series`, in one transaction; return the spans, oldest first.

    Reads every chunk of the series, one at a time.
    """
    with transaction(connection, "IMMEDIATE"):
        found = find_series(connection, series)
        if found is None:
            return ()
        damaged = _damaged(connection, series, found.id)
        coverage, dropped = _coverage(series, found)
        for chunk in damaged:
            dropped += _lost(series, found.id, coverage, chunk)
            connection.execute("DELETE FROM chunk WHERE id = ?", (chunk.key,))
        for span in dropped:
            coverage = coverage.remove(span)
        if dropped:
            _rewrite(connection, series, found.id, coverage)
    return tuple(sorted(dropped))


def _damaged(connection: Connection, series: Series, series_id: int) -> list[_Damaged]:
    sql = "SELECT id, blocks, crc, data FROM chunk WHERE id >= ? AND id < ? ORDER BY id"
    rows = connection.execute(sql, (chunk_id(series_id, 0), chunk_id(series_id + 1, 0)))
    return [_Damaged(*row) for row in rows if not _is_sound(series, *row)]


def _is_sound(series: Series, key: int, blocks: int, crc: int, data: bytes) -> bool:
    try:
        unpack_chunk(series, key, blocks, crc, data)
    except StoreCorrupt:
        return False
    return True


def _coverage(series: Series, found: SeriesRow) -> tuple[Coverage, list[Span]]:
    """Return what is proven, and what of that is lost before any chunk was looked at."""
    try:
        return unpack_coverage(series, found.crc, found.coverage), []
    except StoreCorrupt:
        # Healthy rows may stay: without coverage nobody takes them for all there is.
        return Coverage(), [_WHOLE]


def _lost(series: Series, series_id: int, coverage: Coverage, chunk: _Damaged) -> list[Span]:
    """Return the times that the rows of `chunk` may have been of."""
    grid = Grid.of(series.timeframe)
    block, slot = block_of(chunk.key), slot_start(block_of(chunk.key))
    lost = _place(series, series_id, grid, chunk)
    if lost is None:
        # A slot that is wholly proven has one chunk, whatever this one says of itself.
        single = chunk.blocks == 1 and not coverage.covers(grid.span(slot, SLOT_BLOCKS))
        return [_openings(series, grid.span(block) if single else grid.span(slot, SLOT_BLOCKS))]
    first, blocks = lost
    spans = [grid.span(first, blocks)]
    if not first <= block < first + blocks:
        # Who knows what it was put in the place of.
        spans.append(grid.span(block))
    return [_openings(series, span) for span in spans]


def _place(series: Series, series_id: int, grid: Grid, chunk: _Damaged) -> tuple[int, int] | None:
    """Return first block and length of a whole chunk that lies where it does not belong."""
    if len(chunk.data) < CANDLE_BYTES:
        return None
    block = grid.block(int(np.frombuffer(chunk.data, dtype="<i8", count=1)[0]))
    for first, blocks in ((block, 1), (slot_start(block), SLOT_BLOCKS)):
        # The checksum is over the place as well, so it tells where these bytes were written.
        if _is_sound(series, chunk_id(series_id, first), blocks, chunk.crc, chunk.data):
            return first, blocks
    return None


def _openings(series: Series, span: Span) -> Span:
    """Return the times in `span` at which a candle opens, from the first to the end of the last.

    Blocks of weeks and months begin in the middle of one; a hole must not.
    """
    ceil_ms = series.timeframe.ceil_ms
    # A damaged key can name a time that no calendar knows.
    start_ms, end_ms = (ceil_ms(min(time, TIME_MS_MAX)) for time in (span.start_ms, span.end_ms))
    return Span(start_ms, end_ms)


def _rewrite(connection: Connection, series: Series, series_id: int, coverage: Coverage) -> None:
    # Counted anew: a damaged chunk may have had another length.
    sql = "SELECT coalesce(sum(length(data)), 0) FROM chunk WHERE id >= ? AND id < ?"
    keys = (chunk_id(series_id, 0), chunk_id(series_id + 1, 0))
    candles = connection.execute(sql, keys).fetchone()[0] // CANDLE_BYTES
    crc, data = pack_coverage(series, coverage)
    connection.execute(
        "UPDATE series SET coverage = ?, crc = ?, candles = ? WHERE id = ?",
        (data, crc, candles, series_id),
    )
