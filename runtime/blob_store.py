"""Small values in files of their own, beside the database.

    scheduler.blob        one line that names format, length and checksum, then the bytes
    scheduler.blob.bad    what was there and could not be believed, for who wants to look

What is kept here can be done without, so a damaged file costs a warning and nothing else.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import trio

from actors.errors import StoreUnavailable, VaultDamaged
from actors.keeper import BLOB_BYTES_MAX
from actors.stores.private_files import read_private, replace_private

_log = logging.getLogger("marketd.blob_store")

_FORMAT = b"marketd-blob-1"
# Format, length and SHA-256 in hex, apart by a space, and the line's end.
_HEADER_BYTES_MAX = 100


class FileBlobKeeper:
    """A `BlobKeeper` over a file that nobody else may read.

    Its folder exists, and only one process uses it.

    Args:
      path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writing = trio.Lock()
        self._failing = False

    def load(self) -> bytes | None:
        """Return what was saved last; None if there is nothing, or it is not whole."""
        try:
            found = read_private(self._path, BLOB_BYTES_MAX + _HEADER_BYTES_MAX)
            return None if found is None else unframed(found)
        except (StoreUnavailable, VaultDamaged, ValueError) as error:
            _log.warning(
                "%s cannot be used, so it begins anew; %s: %s",
                self._path,
                _put_aside(self._path),
                error,
            )
            return None

    async def save(self, data: bytes) -> str:
        """Replace the file, in a thread; whoever is cancelled meanwhile waits for it.

        What goes wrong is logged once, until it goes well again.

        Returns:
          What went wrong; empty if nothing did.
        """
        with trio.CancelScope(shield=True):
            # In turn: an older value must not replace a newer one.
            async with self._writing:
                why = await trio.to_thread.run_sync(  # noqa: TID251 - a disk may take seconds
                    self._write, data
                )
        if why and not self._failing:
            _log.warning("what is to be kept for the next process cannot be: %s", why)
        if self._failing and not why:
            _log.info("%s can be written again", self._path)
        self._failing = bool(why)
        return why

    def _write(self, data: bytes) -> str:
        """Write the file; return why that failed, empty if it did not."""
        if len(data) > BLOB_BYTES_MAX:
            size = len(data)
            return f"{self._path}: it would be {size} bytes long, and may be {BLOB_BYTES_MAX}"
        try:
            replace_private(self._path, framed(data))
        except StoreUnavailable as error:
            return str(error)
        return ""


def _put_aside(path: Path) -> str:
    """Keep what cannot be used for who wants to look; return what became of it, in words."""
    aside = path.with_name(f"{path.name}.bad")
    try:
        path.replace(aside)
    except OSError as error:
        return f"it cannot be put aside ({error.strerror}), and is in the way"
    return f"it is now {aside.name}"


def framed(data: bytes) -> bytes:
    """Return `data` as it stands in a file."""
    digest = hashlib.sha256(data).hexdigest().encode()
    return b"%s %d %s\n%s" % (_FORMAT, len(data), digest, data)


def unframed(found: bytes) -> bytes:
    """Return what `framed` was given; raises `ValueError` if it was not that which was found."""
    _, _, data = found.partition(b"\n")
    if framed(data) != found:
        raise ValueError("it is cut short, changed, or no such file")
    return data
