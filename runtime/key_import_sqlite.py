"""Keys that older programs put into a table of SQLite. Reads only; knows `sqlite3`, and no table.

Which table and column, no two programs agree on: every value that may be a key is a candidate, and
whichever opens the file is the one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from actors.errors import InvalidRequest
from runtime.key_import_ciphers import is_key

SQLITE_MAGIC = b"SQLite format 3\0"
_TABLES_MAX = 100
_ROWS_MAX = 1_000
_CANDIDATES_MAX = 32
_VALUE_BYTES_MAX = 128


def candidate_keys(path: Path) -> list[tuple[str, bytes]]:
    """Return every value that may be a key, with the place it was found at.

    Bounds: 100 tables, 1000 rows of each, 32 candidates; what is beyond is not looked at.

    Raises:
      InvalidRequest: There is none, or the file cannot be read.
    """
    # Read only, so that no journal of a program that runs is touched.
    uri = f"file:{quote(str(path.absolute()))}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=1.0)) as connection:
            found = [
                each for table in _tables(connection) for each in _in_table(connection, path, table)
            ]
    except sqlite3.Error as error:
        raise InvalidRequest(f"{path}: cannot be read as SQLite: {error}") from error
    if not found:
        raise InvalidRequest(
            f"{path}: no table has a key in it; wanted 32 bytes, raw, in hexadecimal or base64"
        )
    return found[:_CANDIDATES_MAX]


def _tables(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name LIMIT ?", (_TABLES_MAX,)
    )
    return [str(row[0]) for row in rows.fetchall()]


def _in_table(
    connection: sqlite3.Connection, path: Path, table: str
) -> Iterator[tuple[str, bytes]]:
    # A name cannot be bound. It is one that SQLite gave us, quoted as SQL wants it.
    name = table.replace('"', '""')
    rows = connection.execute(f'SELECT * FROM "{name}" LIMIT {_ROWS_MAX}')  # noqa: S608
    columns = [str(column[0]) for column in rows.description]
    for row in rows:
        for column, value in zip(columns, row, strict=True):
            data = value.encode() if isinstance(value, str) else value
            if isinstance(data, bytes) and len(data) <= _VALUE_BYTES_MAX and is_key(data):
                yield f"{path} ({table}.{column})", data
