"""Chunks: columns into bytes and back, and which bytes belong together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.coverage import Coverage, Span
from actors.errors import StoreCorrupt
from actors.series import Series
from actors.stores.chunks import (
    CANDLE_BYTES,
    Grid,
    block_of,
    candles_of,
    chunk_id,
    pack_chunk,
    pack_coverage,
    rows_of,
    unpack_chunk,
    unpack_coverage,
)
from actors.stores.testing import candles_at, made_candles
from actors.timeframes import Timeframe

SERIES = Series.parse("KRW-BTC", "1m")
OTHER = Series.parse("KRW-ETH", "1m")
YEAR_3000_MS = 32_503_680_000_000

spans = st.builds(
    lambda start, length: Span(start, start + length), st.integers(0, 999), st.integers(0, 99)
)


@given(times=st.sets(st.integers(0, YEAR_3000_MS), max_size=30), seed=st.integers(0, 99))
def test_a_chunk_comes_back_as_it_was(times: set[int], seed: int) -> None:
    """Whatever the gaps between its candles."""
    candles = candles_at(SERIES, sorted(times), seed=seed)

    crc, data = pack_chunk(5, 1, rows_of(candles))

    assert len(data) == len(times) * CANDLE_BYTES
    assert candles_of(SERIES, unpack_chunk(SERIES, 5, 1, crc, data)) == candles


@given(bit=st.integers(0, 10 * CANDLE_BYTES * 8 - 1))
def test_any_flipped_bit_is_found(bit: int) -> None:
    """A wrong number must never be returned."""
    crc, data = pack_chunk(5, 1, rows_of(made_candles(SERIES, 0, 10)))
    damaged = bytearray(data)
    damaged[bit // 8] ^= 1 << bit % 8

    with pytest.raises(StoreCorrupt, match=r"KRW-BTC 1m: chunk 5 \(row 5\) is damaged"):
        unpack_chunk(SERIES, 5, 1, crc, bytes(damaged))


def test_the_bytes_are_little_endian_columns() -> None:
    """Files are carried from machine to machine, and read by other programs."""
    candles = made_candles(SERIES, 60_000, 2)

    _, data = pack_chunk(0, 1, rows_of(candles))

    columns = np.frombuffer(data, dtype="<f8").reshape(7, 2)
    assert np.frombuffer(data[:16], dtype="<i8").tolist() == [60_000, 120_000]
    assert all(np.array_equal(*pair) for pair in zip(columns[1:], candles.floats, strict=True))


@pytest.mark.parametrize("timeframe", Timeframe)
def test_keys_have_room_for_every_time(timeframe: Timeframe) -> None:
    """From 1970 to 2999, whatever the timeframe."""
    grid = Grid.of(timeframe)
    for time_ms in (0, 1_735_689_600_000, YEAR_3000_MS):
        block = grid.block(time_ms)
        span = grid.span(block)
        assert span.start_ms <= time_ms < span.end_ms
        assert block_of(chunk_id(2**31 - 1, block)) == block
    assert chunk_id(2**31 - 1, grid.block(2**62)) < 2**63


@given(kept=st.lists(spans, max_size=8), window=spans)
def test_coverage_comes_back_as_it_was_and_clipped(kept: list[Span], window: Span) -> None:
    """Reading a window gives what clipping the whole would give."""
    coverage = Coverage.of(kept)
    crc, data = pack_coverage(SERIES, coverage)

    assert unpack_coverage(SERIES, crc, data) == coverage
    assert unpack_coverage(SERIES, crc, data, window) == coverage.clip(window)


def test_coverage_of_another_series_is_damage() -> None:
    """A proof belongs to the series that it was made for."""
    crc, data = pack_coverage(SERIES, Coverage((Span(0, 5),)))

    with pytest.raises(StoreCorrupt, match="KRW-ETH 1m: its coverage is damaged"):
        unpack_coverage(OTHER, crc, data)
