"""The SQLite store against a SELECT that reads a candle a row, in the same run.

The peer is as good as rows get: `sqlite3` in the caller's own thread, rows clustered by series and
time (`WITHOUT ROWID`), one prepared statement, one conversion into numpy. Ours pays for the way to
its worker thread and back, and for the coverage that comes with each answer.

Printed are medians and their ratio; timing is not asserted.
"""

from __future__ import annotations

import sqlite3
import statistics
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from actors.candles import Candles
from actors.coverage import Span
from actors.messages import StoreWrite
from actors.series import Series
from actors.stores.sqlite import SqliteStore, open_sqlite_store
from actors.stores.testing import made_candles

SERIES = Series.parse("KRW-BTC", "1m")
MINUTE_MS = 60_000
START_MS = 1_735_689_600_000  # 2025-01-01T00:00:00Z
CANDLES = 100_000
PAGE = 200
ROUNDS = {200: 400, 10_000: 40}

SELECT = """
SELECT open_time_ms, open, high, low, close, volume, value FROM candle
WHERE series_id = 1 AND open_time_ms < ? ORDER BY open_time_ms DESC LIMIT ?"""


@contextmanager
def open_rows(path: Path, candles: Candles) -> Iterator[sqlite3.Connection]:
    """Open the peer: the same candles, one a row."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA page_size = 16384")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(
            """CREATE TABLE candle (series_id INTEGER, open_time_ms INTEGER, open REAL, high REAL,
            low REAL, close REAL, volume REAL, value REAL, PRIMARY KEY (series_id, open_time_ms)
            ) WITHOUT ROWID"""
        )
        rows = ((1, *row[:7]) for row in candles)
        connection.executemany("INSERT INTO candle VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        connection.commit()
        yield connection


async def fill(store: SqliteStore, candles: Candles) -> None:
    """Write `candles` as they come in: in pages of the exchange's size."""
    for first in range(0, len(candles), PAGE):
        page = candles.slice(first, first + PAGE)
        start_ms = int(page.open_time_ms[0])
        await store.write([StoreWrite(page, Span(start_ms, start_ms + PAGE * MINUTE_MS))])


def read_rows(connection: sqlite3.Connection, end_ms: int, count: int) -> list[NDArray[Any]]:
    """Return the columns as the peer reads them."""
    found = connection.execute(SELECT, (end_ms, count)).fetchall()
    found.reverse()
    times, *floats = zip(*found, strict=True)
    return [np.array(times, dtype=np.int64), *(np.array(c, dtype=np.float64) for c in floats)]


async def measure(
    store: SqliteStore, rows: sqlite3.Connection, count: int, ends_ms: list[int]
) -> tuple[float, float]:
    """Return the median seconds of ours and of the peer, taken in turn."""
    ours_s, theirs_s = [], []
    for end_ms in ends_ms:
        started_s = time.perf_counter()
        stored = await store.read(SERIES, start_ms=0, end_ms=end_ms, count=count)
        between_s = time.perf_counter()
        columns = read_rows(rows, end_ms, count)
        theirs_s.append(time.perf_counter() - between_s)
        ours_s.append(between_s - started_s)
        assert np.array_equal(stored.candles.open_time_ms, columns[0])
        assert np.array_equal(stored.candles.floats, columns[1:])
    return statistics.median(ours_s), statistics.median(theirs_s)


@pytest.mark.benchmark
@pytest.mark.real_time
async def test_columnar_chunks_against_a_row_a_candle(tmp_path: Path) -> None:
    """Wanted: 200 candles no slower, thread included, and 10,000 at least ten times faster."""
    candles = made_candles(SERIES, START_MS, CANDLES)
    chance = np.random.default_rng(11)
    newest_ms = START_MS + CANDLES * MINUTE_MS
    async with open_sqlite_store(tmp_path / "chunks.db") as store:
        await fill(store, candles)
        with open_rows(tmp_path / "rows.db", candles) as rows:
            for count, rounds in ROUNDS.items():
                anywhere = chance.integers(count, CANDLES, rounds) * MINUTE_MS + START_MS
                for where, ends_ms in (
                    ("newest", [newest_ms] * rounds),
                    ("anywhere", anywhere.tolist()),
                ):
                    ours_s, theirs_s = await measure(store, rows, count, ends_ms)
                    print(
                        f"\n{count:>6} candles, {where:<8}: ours {ours_s * 1e6:8.0f} us, rows "
                        f"{theirs_s * 1e6:8.0f} us, {theirs_s / ours_s:5.1f} times faster",
                        end="",
                    )
    sizes = [(tmp_path / name).stat().st_size for name in ("chunks.db", "rows.db")]
    print(f"\n  bytes a candle: ours {sizes[0] / CANDLES:.0f}, rows {sizes[1] / CANDLES:.0f}")
