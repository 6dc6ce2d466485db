"""Files that are ours alone: looked at before they are read, written as a whole or not at all.

Plain functions that block: call them in a thread.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

from actors.errors import StoreUnavailable, VaultDamaged

# Called with what is done next, before it is done. Tests let the process "end" there.
Step = Callable[[str], None]

_READ_FLAGS = (
    os.O_RDONLY
    # A pipe in the file's place would be waited for.
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_BINARY", 0)
)
WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


def no_step(_name: str) -> None:
    """Do nothing: what a `Step` is outside of tests."""


def check_private(path: Path, status: os.stat_result, *, from_root: bool = False) -> None:
    """Refuse what is no plain file, or is not ours alone.

    Args:
      path: How to name it.
      status: What the system says of it, links not followed.
      from_root: Whether it comes from the service manager: root may own it, and it may be readable
        by a group, which is how an access list for one user shows.

    Raises:
      VaultDamaged: It is something else; the message says what to do.
    """
    if not stat.S_ISREG(status.st_mode):
        raise VaultDamaged(f"{path}: must be a plain file, was a {_kind(status.st_mode)}")
    if os.name != "posix":
        return
    if status.st_uid != os.getuid() and not (from_root and status.st_uid == 0):
        raise VaultDamaged(
            f"{path}: must belong to user {os.getuid()}, was that of {status.st_uid}; "
            f"`chown {os.getuid()} {path}` if you trust what is in it"
        )
    forbidden = 0o037 if from_root else 0o077
    if status.st_mode & forbidden:
        mode = stat.S_IMODE(status.st_mode)
        raise VaultDamaged(
            f"{path}: others may use it, its mode was {mode:o}; `chmod 600 {path}` if you trust "
            "what is in it"
        )


def check_folder(folder: Path) -> None:
    """Refuse a folder in which anybody may replace our files.

    Raises:
      VaultDamaged: It is such a one.
    """
    mode = folder.stat().st_mode
    if os.name == "posix" and mode & stat.S_IWOTH:
        raise VaultDamaged(f"{folder}: anybody may write there; `chmod o-w {folder}`")


def check_path(path: Path) -> bool:
    """Return whether there is a file, and refuse one that is not ours alone.

    Raises:
      VaultDamaged: File or folder are open to others.
      StoreUnavailable: It cannot be looked at.
    """
    try:
        status = path.lstat()
        check_private(path, status)
        check_folder(path.parent)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise StoreUnavailable(f"{path}: {error.strerror}") from error
    return True


def read_private(path: Path, bytes_max: int, *, from_root: bool = False) -> bytes | None:
    """Return what is in a file; None if there is none.

    Raises:
      VaultDamaged: It is open to others, no plain file, or too long.
      StoreUnavailable: It cannot be read.
    """
    try:
        handle = os.open(path, _READ_FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise VaultDamaged(f"{path}: must be a plain file, was a symbolic link") from error
        raise StoreUnavailable(f"{path}: {error.strerror}; it must be readable") from error
    try:
        # Looked at once it is open: what the path names may be another file by now.
        check_private(path, os.fstat(handle), from_root=from_root)
        check_folder(path.parent)
        with os.fdopen(handle, "rb", closefd=False) as file:
            data = file.read(bytes_max + 1)
    except OSError as error:
        raise StoreUnavailable(f"{path}: {error.strerror}; check the disk") from error
    finally:
        os.close(handle)
    if len(data) > bytes_max:
        raise VaultDamaged(f"{path}: may have at most {bytes_max} bytes, and has more")
    return data


def replace_private(path: Path, data: bytes, step: Step = no_step, *, durable: bool = True) -> None:
    """Put `data` in the place of what is in `path`: after a crash it is one or the other.

    Args:
      path: The file.
      data: All of what is to be in it.
      step: Called before each step.
      durable: Whether it must outlive the power going away, too; that takes longer.

    Raises:
      StoreUnavailable: It could not be written.
    """
    fresh = path.with_name(f"{path.name}.new")
    try:
        step(f"{path.name}: create")
        # A process that was killed may have left one. Made anew, so that its rights are ours.
        fresh.unlink(missing_ok=True)
        handle = os.open(fresh, WRITE_FLAGS, 0o600)
        with os.fdopen(handle, "wb") as file:
            step(f"{path.name}: write")
            half = len(data) // 2
            file.write(data[:half])
            file.flush()
            step(f"{path.name}: write the rest")
            file.write(data[half:])
            file.flush()
            step(f"{path.name}: sync")
            if durable:
                os.fsync(handle)
        step(f"{path.name}: rename")
        fresh.replace(path)
        step(f"{path.name}: sync folder")
        if durable:
            sync_folder(path.parent)
    except OSError as error:
        raise StoreUnavailable(
            f"{path}: {error.strerror}; file and folder must be writable, with some room"
        ) from error


def sync_folder(folder: Path) -> None:
    """Let names in a folder survive the power going away."""
    # On Windows a folder cannot be opened, and needs not be: its file system keeps a journal.
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make a folder that is ours alone, if it is not there.

    Raises:
      StoreUnavailable: It cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailable(f"{folder}: {error.strerror}; it must be a folder") from error


def _kind(mode: int) -> str:
    kinds = {stat.S_IFLNK: "symbolic link", stat.S_IFDIR: "folder", stat.S_IFIFO: "pipe"}
    return kinds.get(stat.S_IFMT(mode), "special file")
