"""What only a file can get wrong: who may read it, how it is laid out, kill -9, damage.

On the real clock, because the store has a thread.
"""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from textwrap import dedent

import pytest

from actors.errors import StoreCorrupt
from actors.series import Series
from actors.stores.chunks import BLOCK_PERIODS, SLOT_BLOCKS
from actors.stores.sqlite import SqliteStore, open_sqlite_store
from actors.stores.testing import made_write

pytestmark = pytest.mark.real_time

SERIES = Series.parse("KRW-BTC", "1m")
MINUTE_MS = 60_000
START_MS = 1_735_689_600_000  # 2025-01-01T00:00:00Z, where a slot of the store begins
SLOT = BLOCK_PERIODS * SLOT_BLOCKS
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is, or will be."""
    return tmp_path / "candles.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    """An open store that waits hardly at all for the locks of others."""
    async with open_sqlite_store(path, busy_s=0.01) as opened:
        yield opened


def at(minute: int) -> int:
    """Return the opening time of a minute."""
    return START_MS + minute * MINUTE_MS


def change(path: Path, sql: str, *parameters: object) -> None:
    """Change the file behind the store's back."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(sql, parameters)
        connection.commit()


def fetch(path: Path, sql: str) -> list[tuple[object, ...]]:
    """Look into the file behind the store's back."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


async def fill(path: Path, *, first: int = 0, count: int = 300) -> None:
    """Leave a closed file with some candles in it."""
    async with open_sqlite_store(path) as store:
        await store.write([made_write(SERIES, at(first), count)])


# ------------------------------------------------------------------ the file


async def test_a_new_file_can_be_read_by_nobody_else(store: SqliteStore, path: Path) -> None:
    """Nor can the files that SQLite keeps beside it."""
    await store.write([made_write(SERIES, START_MS, 1)])

    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}

    assert modes == {path.name: 0o600, f"{path.name}-wal": 0o600, f"{path.name}-shm": 0o600}


async def test_a_closed_store_is_one_file(path: Path) -> None:
    """It can be copied away without thinking of the others."""
    await fill(path)

    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert fetch(path, "PRAGMA journal_mode") == [("wal",)]


async def test_a_proven_slot_becomes_one_chunk_and_the_growing_end_stays_small(
    store: SqliteStore, path: Path
) -> None:
    """Reading history is cheap, and so is adding one candle."""
    for first in range(0, SLOT + 2 * BLOCK_PERIODS + 40, 40):
        await store.write([made_write(SERIES, at(first), 40)])

    chunks = fetch(path, "SELECT blocks, length(data) / 56 FROM chunk ORDER BY id")

    assert chunks == [(SLOT_BLOCKS, SLOT), (1, BLOCK_PERIODS), (1, BLOCK_PERIODS), (1, 40)]


async def test_use_survives_closing(path: Path) -> None:
    """Reads are counted in memory and written down along with something else."""
    async with open_sqlite_store(path) as store:
        await store.write([made_write(SERIES, START_MS, 1)])
        await store.read(SERIES, start_ms=0, end_ms=START_MS)
        await store.write([made_write(SERIES, START_MS, 1)])
        await store.read(SERIES, start_ms=0, end_ms=START_MS)

    async with open_sqlite_store(path) as store:
        use = await store.use(SERIES)

    assert use is not None
    assert use.reads == 2
    assert use.read_ms >= use.created_ms > 0


KILLED = """
    import sys, trio
    from actors.series import Series
    from actors.stores.sqlite import open_sqlite_store
    from actors.stores.testing import made_write

    async def main():
        series = Series.parse("KRW-BTC", "1m")
        async with open_sqlite_store(sys.argv[1]) as store:
            for page in range(10_000):
                await store.write([made_write(series, 60_000 * 50 * page, 50, seed=page)])
                print(page, flush=True)

    trio.run(main)
"""


async def test_what_was_reported_written_survives_kill_9(path: Path) -> None:
    """The process is killed in the middle of its writing; every page it reported is whole."""
    command = [sys.executable, "-c", dedent(KILLED), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:  # noqa: ASYNC220
        assert process.stdout is not None
        reported = [int(process.stdout.readline()) for _ in range(40)]
        process.send_signal(signal.SIGKILL)
        reported += [int(line) for line in process.stdout.read().split()]

    async with open_sqlite_store(path) as store:
        for page in reported:
            write = made_write(SERIES, MINUTE_MS * 50 * page, 50, seed=page)
            stored = await store.read(
                SERIES, start_ms=write.proven.start_ms, end_ms=write.proven.end_ms
            )
            assert stored.candles == write.candles
            assert stored.coverage.covers(write.proven)


# ------------------------------------------------------------------ damage


@pytest.mark.parametrize("count", [300, SLOT])
async def test_no_flipped_bit_in_a_chunk_goes_unnoticed(path: Path, count: int) -> None:
    """Wherever it is, the error names series and chunk, and no number is returned."""
    await fill(path, count=count)
    ((key, data),) = fetch(path, "SELECT id, data FROM chunk ORDER BY id LIMIT 1")
    assert isinstance(data, bytes)
    for offset in (*range(0, len(data), len(data) // 30), len(data) - 1):
        damaged = bytearray(data)
        damaged[offset] ^= 1 << offset % 8
        change(path, "UPDATE chunk SET data = ? WHERE id = ?", bytes(damaged), key)
        async with open_sqlite_store(path) as store:
            with pytest.raises(StoreCorrupt, match=r"KRW-BTC 1m: chunk \d+ .* is damaged"):
                await store.read(SERIES, start_ms=0, end_ms=at(10_000))


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE chunk SET data = substr(data, 1, length(data) - 56)",
        "UPDATE chunk SET data = CAST(data || zeroblob(56) AS BLOB)",
        "UPDATE chunk SET data = x''",
        "UPDATE chunk SET blocks = blocks + 1",
        "UPDATE chunk SET crc = crc + 1",
        "UPDATE chunk SET id = id + 1",
        "UPDATE series SET crc = crc + 1",
        "UPDATE series SET coverage = zeroblob(16)",
        "UPDATE series SET coverage = x'00'",
    ],
)
async def test_no_other_damage_to_a_record_goes_unnoticed(path: Path, sql: str) -> None:
    """Shortened, lengthened, emptied, moved or with another checksum."""
    await fill(path, count=100)
    change(path, sql)

    async with open_sqlite_store(path) as store:
        with pytest.raises(StoreCorrupt, match=r"KRW-BTC 1m: .*damaged.*marketd drops it"):
            await store.read(SERIES, start_ms=0, end_ms=at(10_000))


async def test_a_damaged_chunk_hurts_nobody_else_and_heals_when_written_anew(path: Path) -> None:
    """Other chunks are read as ever; what replaces all of it need not read it first."""
    await fill(path, count=2 * SLOT)
    change(path, "UPDATE chunk SET crc = crc + 1 WHERE id = (SELECT min(id) FROM chunk)")

    async with open_sqlite_store(path) as store:
        healthy = await store.read(SERIES, start_ms=at(SLOT), end_ms=at(2 * SLOT))
        with pytest.raises(StoreCorrupt, match="is damaged"):
            await store.write([made_write(SERIES, at(5), 1)])
        await store.write([made_write(SERIES, START_MS, SLOT, seed=5)])
        healed = await store.read(SERIES, start_ms=START_MS, end_ms=at(SLOT))
        figures = await store.statistics()

    assert len(healthy.candles) == SLOT
    assert healed.candles == made_write(SERIES, START_MS, SLOT, seed=5).candles
    assert figures.candles == 2 * SLOT


async def test_a_series_that_cannot_be_is_damage(path: Path) -> None:
    """A name that nobody could have written was not written by us."""
    await fill(path)
    change(path, "UPDATE series SET timeframe = '7x'")

    async with open_sqlite_store(path) as store:
        with pytest.raises(StoreCorrupt, match=r"table of series is damaged: .*'7x'"):
            await store.series()


async def test_missing_tables_are_damage(path: Path) -> None:
    """The version says that they are there."""
    await fill(path)
    change(path, "DROP TABLE chunk")

    async with open_sqlite_store(path) as store:
        with pytest.raises(
            StoreCorrupt, match=r"candles.db: no such table: chunk; .*move the file"
        ):
            await store.read(SERIES, start_ms=0, end_ms=at(10))
