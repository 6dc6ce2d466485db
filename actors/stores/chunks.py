"""Candles as packed columns: how a series is cut into chunks, and a chunk into bytes.

Time is cut into blocks of 240 periods, and three blocks make a slot of 720. While anything of a
slot is unknown each of its blocks is a chunk of its own, cheap to write anew as candles come in;
once all of it is proven the slot is folded into one chunk, cheap to read. Larger slots would make
long reads a little faster and short ones slower, since a chunk is read and checked as a whole.

A chunk's bytes are its columns one after another, each value eight bytes, little-endian: opening
times as integers, then `FLOAT_COLUMNS` as floats. Only candles that exist are in it, so holes and
months of unequal length need no special case. A checksum over bytes and key is kept beside it.

Pure functions; nothing here knows SQLite or trio.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actors.candles import FLOAT_COLUMNS, Candles
from actors.coverage import Coverage, Span
from actors.errors import StoreCorrupt
from actors.series import Series
from actors.timeframes import Timeframe

BLOCK_PERIODS = 240
SLOT_BLOCKS = 3

# The numbers of blocks fit into 32 bits: the year 3000 in seconds, by 240, needs 28.
_BLOCK_BITS = 32
_BLOCK_MAX = (1 << _BLOCK_BITS) - 1
_COLUMNS = 1 + len(FLOAT_COLUMNS)
CANDLE_BYTES = 8 * _COLUMNS

# Rows of a chunk: the opening times, then the bits of the floats.
Rows = NDArray[np.int64]
_WIRE = np.dtype("<i8")


@dataclass(frozen=True, slots=True)
class Grid:
    """How the time of one series is cut.

    Attributes:
      block_ms: Length of a block, in milliseconds; nominal for months, which only has to be fixed.
    """

    block_ms: int

    @classmethod
    def of(cls, timeframe: Timeframe) -> Grid:
        """Return the grid of a timeframe."""
        return cls(BLOCK_PERIODS * timeframe.span_ms)

    def block(self, time_ms: int) -> int:
        """Return the number of the block that `time_ms` falls into, within what a key can hold."""
        return min(max(time_ms // self.block_ms, 0), _BLOCK_MAX)

    def span(self, block: int, blocks: int = 1) -> Span:
        """Return the time of `blocks` blocks from `block` on."""
        return Span(block * self.block_ms, (block + blocks) * self.block_ms)


def slot_start(block: int) -> int:
    """Return the first block of the slot that `block` is in."""
    return block - block % SLOT_BLOCKS


def chunk_id(series_id: int, block: int) -> int:
    """Return the key of the chunk that begins with `block`."""
    return series_id << _BLOCK_BITS | block


def block_of(key: int) -> int:
    """Return the first block of the chunk with that key."""
    return key & _BLOCK_MAX


def rows_of(candles: Candles) -> Rows:
    """Return the columns of `candles` as one matrix."""
    rows = np.empty((_COLUMNS, len(candles)), dtype=np.int64)
    rows[0] = candles.open_time_ms
    np.stack(candles.floats, out=rows[1:].view(np.float64))
    return rows


def candles_of(series: Series, rows: Rows) -> Candles:
    """Return `rows` as closed candles that come from a store, sharing memory."""
    floats = rows[1:].view(np.float64)
    closed = np.ones(rows.shape[1], dtype=np.bool_)
    return Candles(series, rows[0], list(floats), closed, source="store")


def clip(rows: Rows, start_ms: int, end_ms: int) -> Rows:
    """Return the rows that open in [start_ms, end_ms), sharing memory."""
    times = rows[0]
    if times.size and start_ms <= times[0] and times[-1] < end_ms:
        return rows
    start, stop = np.searchsorted(times, (start_ms, end_ms))
    return rows[:, start:stop]


def replace(old: Sequence[Rows], new: Rows, proven: Span) -> Rows:
    """Return `old`, oldest first, with what opens in `proven` replaced by `new`."""
    before = [clip(rows, 0, proven.start_ms) for rows in old]
    after = [clip(rows, proven.end_ms, 2**62) for rows in old]
    return np.concatenate((*before, new, *after), axis=1)


def pack_chunk(key: int, blocks: int, rows: Rows) -> tuple[int, bytes]:
    """Return the checksum and the bytes of a chunk."""
    data = rows.astype(_WIRE, copy=False).tobytes()
    return _crc(key, blocks, data), data


def unpack_chunk(series: Series, key: int, blocks: int, crc: int, data: bytes) -> Rows:
    """Return the rows of a chunk, sharing memory with `data`.

    Raises:
      StoreCorrupt: The bytes are not those that were written.
    """
    if len(data) % CANDLE_BYTES or crc != _crc(key, blocks, data):
        raise StoreCorrupt(
            f"{series}: chunk {block_of(key)} (row {key}) is damaged; its checksum does not fit. "
            "marketd drops it, and fetches it anew when it is needed"
        )
    rows = np.frombuffer(data, dtype=_WIRE).reshape(_COLUMNS, -1)
    return rows.astype(np.int64, copy=False)


def _crc(key: int, blocks: int, data: bytes) -> int:
    # The key is part of it, so that a chunk in the wrong place is found out as well.
    return zlib.crc32(data, zlib.crc32(struct.pack("<qq", key, blocks)))


def pack_coverage(series: Series, coverage: Coverage) -> tuple[int, bytes]:
    """Return the checksum and the bytes of what is proven of `series`."""
    times = [time_ms for span in coverage for time_ms in (span.start_ms, span.end_ms)]
    data = np.array(times, dtype=_WIRE).tobytes()
    return _series_crc(series, data), data


def unpack_coverage(series: Series, crc: int, data: bytes, window: Span | None = None) -> Coverage:
    """Return what is proven of `series`, only that inside `window` if there is one.

    Raises:
      StoreCorrupt: The bytes are not those that were written.
    """
    if len(data) % 16 or crc != _series_crc(series, data):
        raise StoreCorrupt(
            f"{series}: its coverage is damaged; the checksum does not fit. "
            "marketd drops it, and proves the series anew when it is needed"
        )
    bounds = np.frombuffer(data, dtype=_WIRE).reshape(-1, 2)
    if window is None:
        return Coverage(tuple(Span(*pair) for pair in bounds.tolist()))
    first = int(np.searchsorted(bounds[:, 1], window.start_ms, side="right"))
    last = int(np.searchsorted(bounds[:, 0], window.end_ms, side="left"))
    inside = tuple(Span(*pair) for pair in bounds[first:last].tolist())
    return Coverage(inside).clip(window)


def _series_crc(series: Series, data: bytes) -> int:
    name = f"{series.market.exchange}\0{series.market.code}\0{series.timeframe.value}"
    return zlib.crc32(data, zlib.crc32(name.encode()))
