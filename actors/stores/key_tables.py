"""The database half of a kept vault: the header, and notes. Runs in the database's thread.

`vault` has at most two rows: `current`, and while the vault is being changed `pending`. Each has
the digest of the sealed half it belongs to, and a digest over itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from actors.errors import VaultDamaged
from actors.stores.keys import KeptVault
from actors.stores.private_files import Step
from actors.stores.trio_sqlite import Connection, transaction

# "mktk" in ASCII: says whose file this is.
APPLICATION_ID = 0x6D6B746B
VERSION = 1
NOTES_MAX = 10_000

_TABLES = (
    """CREATE TABLE vault (
        slot TEXT PRIMARY KEY CHECK (slot IN ('current', 'pending')),
        generation INTEGER NOT NULL,
        digest TEXT NOT NULL,
        header BLOB NOT NULL,
        proof TEXT NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {VERSION}",
)
_PRAGMAS = (
    # A header that a passphrase no longer opens must not stay readable in a page that is free.
    "PRAGMA secure_delete = ON",
    "PRAGMA journal_mode = DELETE",
    # As FULL, and the folder is synced as well when the journal goes.
    # Source: https://www.sqlite.org/pragma.html#pragma_synchronous.
    "PRAGMA synchronous = EXTRA",
    "PRAGMA cell_size_check = ON",
    "PRAGMA trusted_schema = OFF",
)


@dataclass(frozen=True, slots=True)
class Row:
    """A header as it is kept.

    Attributes:
      generation: Counts the changes.
      digest: SHA-256 of the sealed half, hexadecimal.
      header: The header.
    """

    generation: int
    digest: str
    header: bytes

    @staticmethod
    def of(kept: KeptVault) -> Row:
        """Return the row for a vault."""
        return Row(kept.generation, digest_of(kept.sealed), kept.header)

    @property
    def proof(self) -> str:
        """Return a digest over all of it."""
        return digest_of(f"{self.generation} {self.digest}\n".encode() + self.header)


def digest_of(data: bytes) -> str:
    """Return SHA-256, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def prepare(connection: Connection, path: Path) -> None:
    """Check that the file is ours and whole, and set it up if it is new.

    Raises:
      VaultDamaged: It is damaged, or another program's.
    """
    is_new = _check_owner(connection, path)
    if not is_new:
        found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            raise VaultDamaged(f"{path}: the database is damaged: {found}")
    for pragma in _PRAGMAS:
        connection.execute(pragma).fetchall()
    if is_new:
        with transaction(connection, "IMMEDIATE"):
            # Again, inside the transaction: another process may have been faster.
            for statement in _TABLES if _check_owner(connection, path) else ():
                connection.execute(statement)


def read_rows(connection: Connection, path: Path) -> dict[str, Row]:
    """Return what is kept, by its slot.

    Raises:
      VaultDamaged: A row was changed.
    """
    # As bytes: what was changed need not be text any more, and a reader of text would choke on it.
    found = connection.execute(
        "SELECT CAST(slot AS BLOB), generation, CAST(digest AS BLOB), CAST(header AS BLOB),"
        " CAST(proof AS BLOB) FROM vault LIMIT 3"
    ).fetchall()
    rows = {}
    for slot, generation, digest, header, proof in found:
        row = Row(generation, _text(digest), header or b"")
        if slot not in {b"current", b"pending"} or row.proof != _text(proof):
            raise VaultDamaged(f"{path}: the header kept there was changed")
        rows[_text(slot)] = row
    return rows


def write_pending(connection: Connection, row: Row, step: Step) -> None:
    """Put `row` beside the current one."""
    step("database: pending")
    with transaction(connection, "IMMEDIATE"):
        connection.execute(
            "INSERT OR REPLACE INTO vault VALUES ('pending', ?, ?, ?, ?)",
            (row.generation, row.digest, row.header, row.proof),
        )
        step("database: commit pending")


def promote_pending(connection: Connection, step: Step) -> None:
    """Make the pending row the current one, if there is one."""
    step("database: current")
    with transaction(connection, "IMMEDIATE"):
        # Whoever looked in between, from another process, may have done it already.
        connection.execute(
            "DELETE FROM vault WHERE slot = 'current'"
            " AND EXISTS (SELECT 1 FROM vault WHERE slot = 'pending')"
        )
        connection.execute("UPDATE vault SET slot = 'current' WHERE slot = 'pending'")
        step("database: commit current")


def drop_pending(connection: Connection, step: Step) -> None:
    """Forget the pending row."""
    step("database: drop pending")
    with transaction(connection, "IMMEDIATE"):
        connection.execute("DELETE FROM vault WHERE slot = 'pending'")


def read_notes(connection: Connection) -> dict[str, str]:
    """Return what was noted."""
    found = connection.execute(
        "SELECT CAST(name AS BLOB), CAST(value AS BLOB) FROM notes LIMIT ?", (NOTES_MAX,)
    ).fetchall()
    return {_text(name): _text(value) for name, value in found}


def write_notes(connection: Connection, facts: Mapping[str, str]) -> None:
    """Add or replace notes."""
    with transaction(connection, "IMMEDIATE"):
        for name, value in facts.items():
            connection.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, value))


def _check_owner(connection: Connection, path: Path) -> bool:
    """Return whether the file is new."""
    owner = int(connection.execute("PRAGMA application_id").fetchone()[0])
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    tables = int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    is_new = owner == 0 and version == 0 and tables == 0
    if not is_new and (owner != APPLICATION_ID or version != VERSION):
        raise VaultDamaged(
            f"{path}: wanted a database of keys (application {APPLICATION_ID}, version {VERSION}), "
            f"was application {owner}, version {version}"
        )
    return is_new


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="replace")
