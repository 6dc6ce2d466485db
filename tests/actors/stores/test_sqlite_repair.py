"""Repair of a file: the damaged chunk goes, all of it and nothing else, and heals when fetched.

On the real clock, because the store has a thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
import trio

from actors.coverage import Coverage, Span
from actors.errors import StoreCorrupt, StoreUnavailable
from actors.messages import StoreWrite
from actors.series import Series
from actors.stores.checks import TIME_MS_MAX
from actors.stores.chunks import BLOCK_PERIODS, SLOT_BLOCKS
from actors.stores.sqlite import SqliteStore, open_sqlite_store
from actors.stores.testing import made_write

pytestmark = pytest.mark.real_time

SERIES = Series.parse("KRW-BTC", "1m")
OTHER = Series.parse("KRW-ETH", "1m")
START_MS = 1_735_689_600_000  # 2025-01-01T00:00:00Z, where a slot of the store begins
SLOT = BLOCK_PERIODS * SLOT_BLOCKS
# Two folded slots and two blocks.
COUNT = 2 * SLOT + BLOCK_PERIODS + 60

FIRST, LAST = "(SELECT min(id) FROM chunk)", "(SELECT max(id) FROM chunk WHERE id < (2 << 32))"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is."""
    return tmp_path / "candles.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    """An open store with two series of four chunks each."""
    async with open_sqlite_store(path, busy_s=0.01) as opened:
        await opened.write([made_write(one, START_MS, COUNT) for one in (SERIES, OTHER)])
        yield opened


def span(start: int, end: int) -> Span:
    """Return the span from one minute to another."""
    return Span(START_MS + start * 60_000, START_MS + end * 60_000)


def change(path: Path, sql: str) -> None:
    """Change the file behind the store's back."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(sql)
        connection.commit()


async def check_healthy(store: SqliteStore, series: Series, *, without: Span) -> None:
    """Hold rows, coverage and count against all that was written, less a span."""
    whole, written = span(0, COUNT), made_write(series, START_MS, COUNT).candles
    stored = await store.read(series, start_ms=0, end_ms=2**60)
    assert stored.coverage == Coverage((whole,)).remove(without)
    kept = written.between(0, without.start_ms).merge(written.between(without.end_ms, 2**60))
    assert stored.candles == kept
    use = await store.use(series)
    assert use is not None
    assert use.candles == len(kept)


async def check_heals(store: SqliteStore) -> None:
    """Write everything again page by page, as a loader does, and find it whole."""
    written = made_write(SERIES, START_MS, COUNT).candles
    for first in range(0, COUNT, 200):
        page = written.slice(first, min(first + 200, COUNT))
        ends = first + len(page)
        await store.write([StoreWrite(page, span(first, ends))])
    await check_healthy(store, SERIES, without=Span(0, 0))


@pytest.mark.parametrize(
    ("which", "lost"),
    [(FIRST, span(0, SLOT)), (LAST, span(2 * SLOT + 240, 2 * SLOT + 480))],
)
@pytest.mark.parametrize(
    "damage",
    [
        "data = substr(data, 1, length(data) - 56)",
        "data = CAST(data || zeroblob(57) AS BLOB)",
        "data = x''",
        "data = CAST(zeroblob(8) || substr(data, 9) AS BLOB)",
        "data = CAST(x'ffffffffffffff7f' || substr(data, 9) AS BLOB)",
        "crc = crc + 1",
        "blocks = 0",
        "blocks = 1 + 2 * (blocks = 1)",
        "blocks = 1 << 60",
    ],
)
async def test_a_damaged_chunk_goes_with_its_coverage_and_nothing_else_does(
    store: SqliteStore, path: Path, damage: str, which: str, lost: Span
) -> None:
    """Whatever of it is wrong, folded or not; then it is written anew like any hole."""
    change(path, f"UPDATE chunk SET {damage} WHERE id = {which}")  # noqa: S608 - constants
    with pytest.raises(StoreCorrupt, match="is damaged"):
        await store.read(SERIES, start_ms=0, end_ms=2**60)

    assert await store.repair(SERIES) == (lost,)

    await check_healthy(store, SERIES, without=lost)
    await check_healthy(store, OTHER, without=Span(0, 0))
    assert await store.repair(SERIES) == ()
    await check_heals(store)


async def test_a_chunk_in_the_wrong_place_is_unknown_in_both(
    store: SqliteStore, path: Path
) -> None:
    """Where it was there is nothing, which must not be taken for a time without trades."""
    change(path, f"UPDATE chunk SET id = id + 2 WHERE id = {LAST}")  # noqa: S608 - constants

    dropped = await store.repair(SERIES)

    assert dropped == (span(2 * SLOT + 240, 2 * SLOT + 480), span(3 * SLOT, 3 * SLOT + 240))
    await check_healthy(store, SERIES, without=dropped[0])


async def test_a_key_of_no_year_is_dropped_like_any_other(store: SqliteStore, path: Path) -> None:
    """Its time cannot even be written down."""
    change(path, f"UPDATE chunk SET id = (id | 4294967295), crc = 0 WHERE id = {LAST}")  # noqa: S608

    assert await store.repair(SERIES) == (Span(TIME_MS_MAX, TIME_MS_MAX),)


async def test_several_damaged_chunks_go_in_one_repair(store: SqliteStore, path: Path) -> None:
    """Each is told by itself, oldest first."""
    change(path, "UPDATE chunk SET crc = crc + 1 WHERE blocks = 3 AND id < (2 << 32)")

    assert await store.repair(SERIES) == (span(0, SLOT), span(SLOT, 2 * SLOT))

    await check_healthy(store, SERIES, without=span(0, 2 * SLOT))
    await check_heals(store)


@pytest.mark.parametrize("damage", ["crc = crc + 1", "coverage = zeroblob(16)", "coverage = x'00'"])
async def test_damaged_coverage_goes_and_healthy_rows_stay_without_it(
    store: SqliteStore, path: Path, damage: str
) -> None:
    """What was proven is not guessed from the rows there are."""
    change(path, f"UPDATE series SET {damage} WHERE id = 1")  # noqa: S608 - constants

    assert await store.repair(SERIES) == (Span(0, TIME_MS_MAX),)

    stored = await store.read(SERIES, start_ms=0, end_ms=2**60)
    assert stored.candles == made_write(SERIES, START_MS, COUNT).candles
    assert not stored.coverage
    await check_healthy(store, OTHER, without=Span(0, 0))
    await check_heals(store)


@pytest.mark.parametrize("text", ["1w", "1M"])
async def test_a_hole_begins_and_ends_where_a_candle_opens(path: Path, text: str) -> None:
    """The store's grid is not the calendar, but nobody can ask for the middle of a month."""
    series = Series.parse("KRW-BTC", text)
    timeframe = series.timeframe
    async with open_sqlite_store(path) as store:
        written = made_write(series, timeframe.ceil_ms(0), 1_000)
        await store.write([written])
        change(path, f"UPDATE chunk SET crc = crc + 1 WHERE id = {LAST}")  # noqa: S608 - constants
        (dropped,) = await store.repair(series)
        stored = await store.read(series, start_ms=0, end_ms=2**60)

    assert timeframe.is_open_time(dropped.start_ms)
    assert timeframe.is_open_time(dropped.end_ms)
    assert stored.coverage == Coverage((written.proven,)).remove(dropped)
    assert stored.candles == written.candles.between(0, dropped.start_ms)


async def test_a_repair_that_cannot_be_written_changes_nothing(
    store: SqliteStore, path: Path
) -> None:
    """Another program holds the file; it is tried again later."""
    change(path, f"UPDATE chunk SET crc = crc + 1 WHERE id = {FIRST}")  # noqa: S608 - constants
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="another program holds it"):
            await store.repair(SERIES)
        other.execute("ROLLBACK")

    assert await store.coverage(SERIES) == Coverage((span(0, COUNT),))
    assert await store.repair(SERIES) == (span(0, SLOT),)


async def test_a_cancelled_repair_changes_nothing(store: SqliteStore, path: Path) -> None:
    """Chunk and coverage go together or not at all."""
    change(path, f"UPDATE chunk SET crc = crc + 1 WHERE id = {FIRST}")  # noqa: S608 - constants
    with trio.CancelScope() as scope:
        scope.cancel()
        await store.repair(SERIES)

    assert scope.cancelled_caught
    assert await store.coverage(SERIES) == Coverage((span(0, COUNT),))


async def test_missing_tables_cannot_be_repaired(store: SqliteStore, path: Path) -> None:
    """The message says what can be done instead."""
    change(path, "DROP TABLE chunk")

    with pytest.raises(StoreCorrupt, match=r"no such table: chunk; .*move the file"):
        await store.repair(SERIES)
