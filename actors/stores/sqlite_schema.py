"""The tables of the SQLite store, and how an older file becomes a newer one.

`series` has a row for each series: what is proven of it, and how it has been used.

`chunk` has the candles, as packed columns (see `chunks`). Its id is the series' id times 2^32 plus
the number of the first block the chunk spans, so that the chunks of a series lie side by side in
the order of time, in one tree without a second index.
"""

from __future__ import annotations

from pathlib import Path

from actors.errors import StoreCorrupt, StoreUnavailable
from actors.stores.trio_sqlite import Connection, transaction

# "mktd" in ASCII: says whose file this is.
APPLICATION_ID = 0x6D6B7464

# The n-th entry makes version n out of version n - 1; a new file is version 0. Never edit one that
# was released: add another.
_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE series (
            id INTEGER PRIMARY KEY,
            exchange TEXT NOT NULL,
            market TEXT NOT NULL,
            timeframe TEXT NOT NULL,
            coverage BLOB NOT NULL,
            crc INTEGER NOT NULL,
            candles INTEGER NOT NULL,
            created_ms INTEGER NOT NULL,
            written_ms INTEGER NOT NULL,
            read_ms INTEGER NOT NULL,
            reads INTEGER NOT NULL,
            UNIQUE (exchange, market, timeframe)
        ) STRICT""",
        """CREATE TABLE chunk (
            id INTEGER PRIMARY KEY,
            blocks INTEGER NOT NULL,
            crc INTEGER NOT NULL,
            data BLOB NOT NULL
        ) STRICT""",
    ),
)
VERSION = len(_MIGRATIONS)

_PRAGMAS = (
    # One block of 240 candles is 13 KiB: a page of the usual 4 KiB would chain four for it.
    "PRAGMA page_size = 16384",
    "PRAGMA journal_mode = WAL",
    # With WAL a commit survives the process at NORMAL; only a power cut can take the last ones.
    # Source: https://www.sqlite.org/pragma.html#pragma_synchronous.
    "PRAGMA synchronous = NORMAL",
    "PRAGMA cache_size = -8192",
    "PRAGMA journal_size_limit = 33554432",
    "PRAGMA cell_size_check = ON",
    "PRAGMA trusted_schema = OFF",
)


def prepare(connection: Connection, path: Path) -> None:
    """Check that the file is ours, set it up and bring it to the present version.

    Raises:
      StoreCorrupt: The file is another program's database; nothing was changed.
      StoreUnavailable: A newer marketd wrote it; nothing was changed.
    """
    version = _check_owner(connection, path)
    for pragma in _PRAGMAS:
        connection.execute(pragma).fetchall()
    if version < VERSION:
        with transaction(connection, "IMMEDIATE"):
            # Again, inside the transaction: another process may have been faster.
            _upgrade(connection, _check_owner(connection, path))


def _check_owner(connection: Connection, path: Path) -> int:
    """Return the version of the file."""
    owner = int(connection.execute("PRAGMA application_id").fetchone()[0])
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    tables = int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    is_new = owner == 0 and version == 0 and tables == 0
    if not is_new and owner != APPLICATION_ID:
        raise StoreCorrupt(f"{path}: a database of another program; name another path")
    if version > VERSION:
        raise StoreUnavailable(
            f"{path}: written by a newer marketd (version {version} of the tables, this one knows "
            f"{VERSION}); upgrade marketd or name another path"
        )
    return version


def _upgrade(connection: Connection, version: int) -> None:
    for statements in _MIGRATIONS[version:]:
        for statement in statements:
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
