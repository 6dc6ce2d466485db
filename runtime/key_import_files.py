"""Files that somebody names: read whole or not at all, and never waited for."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from actors.errors import InvalidRequest
from runtime.key_import_sqlite import SQLITE_MAGIC

FILE_BYTES_MAX = 1024 * 1024


def read_file(path: Path) -> bytes:
    """Return what is in a file; of a SQLite file only what it begins with.

    Args:
      path: The file.

    Raises:
      InvalidRequest: It is no ordinary file, cannot be read, or is too large (1 MiB).
    """
    try:
        # Before it is opened: a pipe would be waited for.
        if not stat.S_ISREG(path.stat().st_mode):
            raise InvalidRequest(f"{path}: is no ordinary file")
        with path.open("rb") as file:
            # Of a database only what it is: SQLite reads it by itself.
            if (magic := file.read(len(SQLITE_MAGIC))) == SQLITE_MAGIC:
                return magic
            data = magic + file.read(FILE_BYTES_MAX)
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"{path}: cannot be read: {error}") from error
    if len(data) > FILE_BYTES_MAX:
        raise InvalidRequest(f"{path}: at most {FILE_BYTES_MAX} bytes, were more")
    return data


def parse_json(path: Path, text: str) -> Any:
    """Return what JSON says.

    Args:
      path: Where it was found, for the error.
      text: The JSON.

    Raises:
      InvalidRequest: It is none; says where, and does not quote it.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        # The error would carry the text.
        raise InvalidRequest(f"{path}: begins like JSON and is none") from None
