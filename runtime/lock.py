"""One runtime a state folder: a lock that the operating system drops when the process ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runtime.config import SettingsError

LOCK_FILE = "marketd.lock"


class AlreadyRunning(SettingsError):
    """Another runtime has the state folder; the message says which process."""


@contextmanager
def hold_lock(folder: Path) -> Iterator[None]:
    """Keep `folder` to this process for as long as the block runs.

    The file stays behind; only the lock on it counts, and that ends with the process, however it
    ends.

    Raises:
      AlreadyRunning: Another process holds it.
      SettingsError: The file cannot be opened.
    """
    path = folder / LOCK_FILE
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    except OSError as error:
        raise SettingsError(f"{path} cannot be opened: {error.strerror}") from error
    try:
        try:
            lock_file(handle)
        except OSError as error:
            owner = path.read_text(encoding="ascii", errors="replace").strip() or "unknown"
            raise AlreadyRunning(
                f"another runtime (process {owner}) uses {folder}; connect to it, stop it, or "
                "give this one a runtime.state_dir of its own if it talks to another exchange, "
                "such as a sandbox"
            ) from error
        # Only the lock counts. Without the number an error message would say a little less, so a
        # disk that is full is no reason not to start.
        with suppress(OSError):
            os.ftruncate(handle, 0)
            os.write(handle, str(os.getpid()).encode())
        yield
    finally:
        os.close(handle)


def lock_file(handle: int) -> None:
    """Lock an open file for this process, until it is closed; the text in it stays readable.

    Raises:
      OSError: Another process, or this one, has it locked.
    """
    try:
        import fcntl  # noqa: PLC0415 - there is none on Windows
    except ImportError:
        _lock_windows(handle)
    else:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _lock_windows(handle: int) -> None:
    import msvcrt  # noqa: PLC0415 - only there

    # Far behind the text, because a locked byte cannot be read by the process that wants the text.
    os.lseek(handle, 4096, os.SEEK_SET)
    msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    os.lseek(handle, 0, os.SEEK_SET)
