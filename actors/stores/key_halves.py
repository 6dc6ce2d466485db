"""Both halves of a kept vault on disk, and how they change together. Runs in the database's thread.

    keys.db            the header, in a row; while the vault is being changed a second one
    keys.sealed        the credentials
    keys.db.good       a copy of the header
    keys.sealed.good   a copy of the credentials

A change is written in this order: the new header as `pending`, then the sealed file, as a whole;
then `pending` becomes `current`, then the copies. The sealed file alone decides: as long as it is
the old one the change has not happened, and from the moment it is the new one it has.
"""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from actors.errors import StoreUnavailable, VaultDamaged
from actors.stores.key_tables import (
    Row,
    digest_of,
    drop_pending,
    promote_pending,
    read_rows,
    write_pending,
)
from actors.stores.keys import HEADER_BYTES_MAX, SEALED_BYTES_MAX, KeptVault
from actors.stores.keys_memory import check_generation
from actors.stores.private_files import Step, check_path, no_step, read_private, replace_private
from actors.stores.trio_sqlite import Connection

_log = logging.getLogger("marketd.keys")

_LINE_BYTES_MAX = 200


@dataclass(frozen=True, slots=True)
class Piece:
    """What stands in one of the files.

    Attributes:
      generation: Which change it is of.
      body: The header, or the sealed half.
    """

    generation: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything is.

    Attributes:
      database: The database.
      sealed: The sealed file.
    """

    database: Path
    sealed: Path

    @property
    def good_header(self) -> Path:
        """Return where the copy of the header is."""
        return self.database.with_name(f"{self.database.name}.good")

    @property
    def good_sealed(self) -> Path:
        """Return where the copy of the sealed half is."""
        return self.sealed.with_name(f"{self.sealed.name}.good")

    def any_there(self) -> bool:
        """Return whether anything is there: one look, which is not worth a thread."""
        parts = (self.database, self.sealed, self.good_header, self.good_sealed)
        return any(os.path.lexists(path) for path in parts)

    def check(self) -> bool:
        """Return whether there is a database, and refuse one that is missing or open to others.

        Raises:
          VaultDamaged: It is missing where there must be one, or open to others.
          StoreUnavailable: It cannot be looked at.
        """
        if check_path(self.database):
            return True
        for path in (self.sealed, self.good_header, self.good_sealed):
            if check_path(path):
                raise VaultDamaged(
                    f"{self.database}: is missing, but {path} is there; {told_of_good(self)}"
                )
        return False


def commit(connection: Connection, places: Places, kept: KeptVault, step: Step = no_step) -> None:
    """Replace the vault: afterwards, and after a crash at any moment, all of it or nothing.

    Raises:
      VaultDamaged: What is there must not be used, nor replaced; or another program changed it.
      StoreUnavailable: It could not be written.
    """
    for name, half, most in (
        ("header", kept.header, HEADER_BYTES_MAX),
        ("sealed part", kept.sealed, SEALED_BYTES_MAX),
    ):
        if len(half) > most:
            raise StoreUnavailable(f"a vault's {name} has room for {most} bytes, not {len(half)}")
    now = settle(connection, places, step)
    check_generation(None if now is None else now.generation, kept.generation)
    restore(connection, places, kept, step)


def restore(connection: Connection, places: Places, kept: KeptVault, step: Step = no_step) -> None:
    """Write a vault, whatever its generation; see the module on the order."""
    write_pending(connection, Row.of(kept), step)
    replace_private(places.sealed, pack("sealed", Piece(kept.generation, kept.sealed)), step)
    promote_pending(connection, step)
    refresh_good(places, kept, step)


def settle(connection: Connection, places: Places, step: Step = no_step) -> KeptVault | None:
    """Bring what a crash left to its old or its new state, and return it; None if there is none.

    Raises:
      VaultDamaged: It is neither; names what is wrong.
    """
    try:
        rows = read_rows(connection, places.database)
        piece = read_piece("sealed", places.sealed, SEALED_BYTES_MAX)
    except VaultDamaged as error:
        raise VaultDamaged(f"{error}; {told_of_good(places)}") from error
    current, pending = rows.get("current"), rows.get("pending")
    row = None
    if piece is not None:
        row = next((each for each in (current, pending) if each and _belongs(piece, each)), None)
    if row is None and (piece is not None or current is not None):
        raise VaultDamaged(f"{_wrong(places, piece, current)}; {told_of_good(places)}")
    if row is not None and row is pending:
        promote_pending(connection, step)
    elif pending is not None:
        drop_pending(connection, step)
    if row is None or piece is None:
        _check_nothing_was_lost(places)
        return None
    kept = KeptVault(row.generation, row.header, piece.body)
    _check_not_older(places, kept)
    return kept


def refresh_good(places: Places, kept: KeptVault, step: Step = no_step) -> None:
    """Make the copies say what `kept` says. That it cannot be done is logged."""
    for kind, path, body, most in (
        ("sealed", places.good_sealed, kept.sealed, SEALED_BYTES_MAX),
        ("header", places.good_header, kept.header, HEADER_BYTES_MAX),
    ):
        piece = Piece(kept.generation, body)
        try:
            found = read_piece(kind, path, most)
        except (VaultDamaged, StoreUnavailable) as error:
            _log.warning("the good copy of the vault is made anew: %s", error)
            found = None
        if found == piece:
            continue
        try:
            replace_private(path, pack(kind, piece), step)
        except StoreUnavailable as error:
            _log.warning("the good copy of the vault is not of its last change: %s", error)


def good_copy(places: Places) -> KeptVault | None:
    """Return the copy of the last good state; None if there is none.

    Raises:
      VaultDamaged: It is damaged, too.
    """
    header = read_piece("header", places.good_header, HEADER_BYTES_MAX)
    sealed = read_piece("sealed", places.good_sealed, SEALED_BYTES_MAX)
    if header is None and sealed is None:
        return None
    if header is not None and sealed is None:
        # A crash can come between the two; then the file itself is what this copy belongs to.
        sealed = read_piece("sealed", places.sealed, SEALED_BYTES_MAX)
    if header is None or sealed is None or header.generation != sealed.generation:
        raise VaultDamaged(
            f"{places.good_header} and {places.good_sealed} do not belong together: they are of "
            f"change {_change(header)} and {_change(sealed)}"
        )
    return KeptVault(header.generation, header.body, sealed.body)


def told_of_good(places: Places) -> str:
    """Return whether a good copy is kept, in words."""
    try:
        good = good_copy(places)
    except (VaultDamaged, StoreUnavailable) as error:
        return f"the good copy is of no use either: {error}"
    if good is None:
        return "no good copy is kept"
    return f"a good copy of change {good.generation} is kept: `marketd keys recover` puts it back"


def pack(kind: str, piece: Piece) -> bytes:
    """Return a file with `piece` in it, after a line that says what it is."""
    proof = hashlib.sha256(f"{kind} {piece.generation}\n".encode() + piece.body).hexdigest()
    first = f"marketd {kind} 1 {piece.generation} {len(piece.body)} {proof}\n"
    return first.encode() + piece.body


def read_piece(kind: str, path: Path, bytes_max: int) -> Piece | None:
    """Return what stands in a file; None if there is none.

    Raises:
      VaultDamaged: It is not what `pack` made; says how.
      StoreUnavailable: It cannot be read.
    """
    data = read_private(path, bytes_max + _LINE_BYTES_MAX)
    if data is None:
        return None
    first, _, body = data[:_LINE_BYTES_MAX].partition(b"\n")
    words = first.split(b" ")
    body = data[len(first) + 1 :]
    known = [b"marketd", kind.encode(), b"1"]
    # `isdigit` of bytes is true for ASCII digits only.
    if len(words) != 6 or words[:3] != known or not (words[3] + words[4]).isdigit():  # noqa: PLR2004 - as `pack` writes
        what = "is empty" if not data else f"does not begin as a {kind} file of a vault does"
        raise VaultDamaged(f"{path}: {what}")
    if len(body) < int(words[4]):
        raise VaultDamaged(f"{path}: is half written: {len(body)} bytes of {int(words[4])}")
    piece = Piece(int(words[3]), body)
    if pack(kind, piece) != data:
        raise VaultDamaged(f"{path}: was changed: its digest is wrong")
    return piece


def _belongs(piece: Piece, row: Row) -> bool:
    return piece.generation == row.generation and digest_of(piece.body) == row.digest


def _wrong(places: Places, piece: Piece | None, current: Row | None) -> str:
    """Return which half is wrong, and how."""
    if piece is None:
        was = 0 if current is None else current.generation
        return f"{places.sealed}: is missing; the header in {places.database} is of change {was}"
    if current is None:
        return (
            f"{places.database}: has no header, but {places.sealed} is there, of change "
            f"{piece.generation}"
        )
    if piece.generation == current.generation:
        return (
            f"{places.sealed}: is not the one that the header in {places.database} belongs to, "
            f"though both are of change {piece.generation}: one of them is of another vault"
        )
    old = places.sealed if piece.generation < current.generation else places.database
    return (
        f"{old}: an old copy was put back: {places.sealed} is of change {piece.generation}, the "
        f"header in {places.database} of change {current.generation}"
    )


def _check_nothing_was_lost(places: Places) -> None:
    if places.good_header.exists() or places.good_sealed.exists():
        raise VaultDamaged(
            f"{places.sealed}: is missing, and {places.database} has no header; "
            f"{told_of_good(places)}"
        )


def _check_not_older(places: Places, kept: KeptVault) -> None:
    for kind, path, most in (
        ("header", places.good_header, HEADER_BYTES_MAX),
        ("sealed", places.good_sealed, SEALED_BYTES_MAX),
    ):
        try:
            good = read_piece(kind, path, most)
        except (VaultDamaged, StoreUnavailable):
            # Made anew, and told, when the copies are refreshed.
            continue
        if good is not None and good.generation > kept.generation:
            raise VaultDamaged(
                f"{places.database} and {places.sealed}: old copies of both were put back, of "
                f"change {kept.generation}, while {path} is of change {good.generation}; "
                f"{told_of_good(places)}"
            )


def _change(piece: Piece | None) -> int:
    return 0 if piece is None else piece.generation
