"""What keeps a file from being opened or used: locks, full disks, missing folders, strangers.

On the real clock, because the store has a thread.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from actors.coverage import Span
from actors.errors import StoreCorrupt, StoreError, StoreUnavailable
from actors.series import Series
from actors.stores.sqlite import SqliteStore, open_sqlite_store
from actors.stores.sqlite_schema import VERSION
from actors.stores.testing import made_write

pytestmark = pytest.mark.real_time

SERIES = Series.parse("KRW-BTC", "1m")
MINUTE_MS = 60_000
START_MS = 1_735_689_600_000  # 2025-01-01T00:00:00Z, where a slot of the store begins
NOBODY = 65_534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is, or will be."""
    return tmp_path / "candles.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    """An open store that waits hardly at all for the locks of others."""
    async with open_sqlite_store(path, busy_s=0.01) as opened:
        yield opened


@contextmanager
def without_privileges(folder: Path) -> Iterator[None]:
    """Run the block as somebody who may only look into `folder`."""
    privileged = os.geteuid() == 0
    folder.chmod(0o555)
    if privileged:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if privileged:
            os.seteuid(0)
        folder.chmod(0o755)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may reach; those of `tmp_path` are private."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


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


async def open_and_close(path: Path) -> None:
    """Open and close, for what opening says."""
    async with open_sqlite_store(path, busy_s=0.01):
        pass


# ------------------------------------------------------------------ files that cannot be opened


def content(path: Path) -> bytes:
    """Return what is in the file."""
    return path.read_bytes()


def is_empty(path: Path) -> None:
    """A file with nothing in it."""
    path.write_bytes(b"")


def is_folder(path: Path) -> None:
    """A folder of the file's name."""
    path.mkdir()


def make_readable(path: Path) -> None:
    """Let everybody read the file and nobody write it."""
    path.chmod(0o444)


def is_moved(path: Path) -> None:
    """A file that was moved away."""
    path.rename(path.with_suffix(".old"))


def is_deleted(path: Path) -> None:
    """A file that was deleted, with those beside it."""
    for file in path.parent.iterdir():
        file.unlink()


def is_text(path: Path) -> None:
    """A file that never was a database."""
    path.write_text("Dear diary, " * 1_000)


def is_cut(path: Path) -> None:
    """A database of ours that lost its second half."""
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2 // 16_384 * 16_384)


def is_garbled(path: Path) -> None:
    """A database of ours with noise where its first tree was."""
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 4_000)


def is_foreign(path: Path) -> None:
    """Another program's database."""
    path.unlink()
    change(path, "CREATE TABLE diary (day TEXT)")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (is_text, r"candles\.db: file is not a database; .*move the file away"),
        (is_cut, r"candles\.db: .*malformed; the file is damaged; move the file away"),
        (is_garbled, r"candles\.db: .*malformed; the file is damaged; move the file away"),
        (is_foreign, r"candles\.db: a database of another program; name another path"),
    ],
)
async def test_a_file_that_is_no_store_is_refused_and_not_touched(
    path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    """The message names the file and says what to do; nothing is overwritten."""
    await fill(path, count=3_000)
    spoil(path)
    before = content(path)

    with pytest.raises(StoreCorrupt, match=message):
        await open_and_close(path)

    assert content(path) == before


async def test_a_newer_file_is_refused_and_not_touched(path: Path) -> None:
    """Going back to an older marketd must not cost the data."""
    await fill(path)
    change(path, f"PRAGMA user_version = {VERSION + 1}")

    with pytest.raises(
        StoreUnavailable, match=r"candles\.db: written by a newer marketd .*upgrade"
    ):
        await open_and_close(path)

    assert fetch(path, "PRAGMA user_version") == [(VERSION + 1,)]


async def test_an_empty_file_becomes_a_store(path: Path) -> None:
    """That is what a crash right after its creation leaves behind."""
    is_empty(path)

    await fill(path)

    assert fetch(path, "PRAGMA page_size") == [(16_384,)]


async def test_a_missing_folder_is_named(path: Path) -> None:
    """It is not made: a mistyped path should not become a new home."""
    with pytest.raises(StoreUnavailable, match=r"nowhere/candles\.db: its folder does not exist"):
        await open_and_close(path.parent / "nowhere" / path.name)


async def test_a_folder_in_place_of_the_file_is_named(path: Path) -> None:
    """SQLite's own words for it would leave the reader guessing."""
    is_folder(path)

    with pytest.raises(StoreUnavailable, match=r"candles\.db: .*must be there and writable"):
        await open_and_close(path)


async def test_a_folder_that_may_not_be_written_is_named(open_folder: Path) -> None:
    """Before there is a file."""
    with (
        without_privileges(open_folder),
        pytest.raises(StoreUnavailable, match=r"candles\.db: Permission denied; .*writable"),
    ):
        await open_and_close(open_folder / "candles.db")


async def test_a_file_that_may_not_be_written_is_named(open_folder: Path) -> None:
    """When there is one, of somebody else."""
    path = open_folder / "candles.db"
    await fill(path)
    make_readable(path)

    with (
        without_privileges(open_folder),
        pytest.raises(StoreUnavailable, match=r"candles\.db: .*writable"),
    ):
        await open_and_close(path)


# ------------------------------------------------------------------ trouble while open


async def test_a_lock_of_another_program_is_waited_for_and_then_reported(
    store: SqliteStore, path: Path
) -> None:
    """Reads go on, and writes work again as soon as it lets go."""
    await store.write([made_write(SERIES, START_MS, 5)])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="database is locked; another program holds it"):
            await store.write([made_write(SERIES, at(5), 5)])
        stored = await store.read(SERIES, start_ms=START_MS, end_ms=at(100))
        other.execute("ROLLBACK")

    assert len(stored.candles) == 5
    assert not store.lost
    await store.write([made_write(SERIES, at(5), 5)])


async def test_a_full_disk_is_reported_and_the_transaction_undone(store: SqliteStore) -> None:
    """What was there stays readable, and there is room again as soon as there is room."""
    await store.write([made_write(SERIES, START_MS, 5)])
    await store._database.run(lambda c: c.execute("PRAGMA max_page_count = 8").fetchall())

    with pytest.raises(StoreUnavailable, match="disk is full; free some space"):
        await store.write([made_write(SERIES, at(5), 5), made_write(SERIES, at(5_000), 5_000)])

    stored = await store.read(SERIES, start_ms=0, end_ms=at(100_000))
    assert len(stored.candles) == 5
    assert not store.lost
    await store._database.run(lambda c: c.execute("PRAGMA max_page_count = 10000").fetchall())
    await store.write([made_write(SERIES, at(5_000), 5_000)])


@pytest.mark.parametrize("take_away", [is_moved, is_deleted])
async def test_a_file_that_is_taken_away_is_lost_and_made_anew(
    path: Path, take_away: Callable[[Path], None]
) -> None:
    """Writing on would go into a file that nobody finds again."""
    async with open_sqlite_store(path) as store:
        await store.write([made_write(SERIES, START_MS, 5)])
        take_away(path)
        with pytest.raises(StoreUnavailable, match=r"candles\.db: the file was moved, deleted"):
            await store.write([made_write(SERIES, at(5), 5)])
        assert store.lost

    async with open_sqlite_store(path) as store:
        assert await store.series() == ()
        await store.write([made_write(SERIES, START_MS, 5)])


async def test_no_error_of_sqlite_escapes(store: SqliteStore) -> None:
    """Whatever SQLite says becomes an error of the store, with the cause attached."""
    statements = [
        "SELECT nonsense",
        "INSERT INTO chunk VALUES (1, 1, 1, 'text in place of bytes')",
        "INSERT INTO series (id) VALUES (1)",
        "PRAGMA query_only = ON; ",
        "DELETE FROM chunk",
    ]
    raised = []
    for sql in statements:
        try:
            await store._database.run(lambda c, sql=sql: c.execute(sql).fetchall())  # type: ignore[misc]
        except StoreError as error:
            raised.append(error)

    assert len(raised) == len(statements) - 1
    assert all(isinstance(error.__cause__, sqlite3.Error) for error in raised)


async def test_two_stores_in_one_process_can_share_a_file(store: SqliteStore, path: Path) -> None:
    """Opening and closing the second must not take away the first one's locks."""
    await open_and_close(path)
    await store.write([made_write(SERIES, START_MS, 5)])

    async with open_sqlite_store(path) as second:
        await second.write([made_write(SERIES, at(5), 5)])

    stored = await store.read(SERIES, start_ms=0, end_ms=at(100))
    assert stored.coverage.covers(Span(START_MS, at(10)))
