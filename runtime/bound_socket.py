"""The runtime's own end of the local socket: the file, the lock, and who may have them.

The socket's file outlives a runtime that was killed. Who owns the path is therefore said by a lock
on `<path>.lock`, which the operating system drops with the process: with the lock in hand, a file
that nobody answers behind is a dead runtime's and is removed; a living one's is never touched.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import socket
import stat
import sys
from pathlib import Path

from runtime.config import SettingsError
from runtime.paths import ensure_private_dir
from runtime.transport import (
    HAS_UNIX_SOCKETS,
    LOOPBACK,
    TOKEN_BYTES,
    RuntimeUnreachable,
    find_target,
)

_BACKLOG = 128
_PROBE_S = 1.0


class SocketTaken(SettingsError):
    """Another runtime, or something else, is where the socket should be."""


class BoundSocket:
    """A listening socket, with the file and the lock that belong to it.

    Attributes:
      socket: Accepts connections.
      path: Its file.
      greeting: What each client must send first; empty on a Unix socket.

    Args:
      path: Where the socket is wanted.
      unix: Whether to use a Unix socket; for tests of the other way.

    Raises:
      SocketTaken: A living runtime is there, or a file that is no socket.
      SettingsError: The folder or the socket cannot be made.
    """

    def __init__(self, path: Path, *, unix: bool = HAS_UNIX_SOCKETS) -> None:
        self.path = path
        self.greeting = b""
        ensure_private_dir(path.parent)
        with contextlib.ExitStack() as undo:
            self._lock = _lock(path)
            undo.callback(os.close, self._lock)
            _remove_dead(path)
            family = socket.AF_UNIX if unix else socket.AF_INET
            self.socket = undo.enter_context(socket.socket(family, socket.SOCK_STREAM))
            try:
                self._bind(unix=unix)
            except OSError as error:
                raise SettingsError(f"socket {path} cannot be made: {error.strerror}") from error
            self._file = _identity(path)
            undo.pop_all()

    def close(self) -> None:
        """Stop listening and remove the file, unless it has been replaced by somebody else's."""
        self.socket.close()
        with contextlib.suppress(OSError):
            if _identity(self.path) == self._file:
                self.path.unlink()
        os.close(self._lock)

    def _bind(self, *, unix: bool) -> None:
        if unix:
            self.socket.bind(os.fspath(self.path))
            # Nobody can connect before `listen`, so there is no moment with other rights.
            self.path.chmod(0o600)
        else:
            self.socket.bind((LOOPBACK, 0))
            self.greeting = secrets.token_hex(TOKEN_BYTES).encode() + b"\n"
            port = self.socket.getsockname()[1]
            text = f"{port} ".encode() + self.greeting
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with os.fdopen(os.open(self.path, flags, 0o600), "wb") as file:
                file.write(text)
        self.socket.listen(_BACKLOG)


def is_greeting(received: bytes, expected: bytes) -> bool:
    """Return whether a client's first line is the right one, in a time that tells nothing."""
    return hmac.compare_digest(received, expected)


def _lock(path: Path) -> int:
    """Return a descriptor that holds the lock of the socket at `path`."""
    lock_path = path.with_name(path.name + ".lock")
    try:
        lock = os.open(lock_path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    except OSError as error:
        raise SettingsError(f"{lock_path} cannot be opened: {error.strerror}") from error
    try:
        _lock_nowait(lock)
    except OSError as error:
        os.close(lock)
        raise SocketTaken(
            f"another runtime has the socket {path}; stop it with `marketd stop`, or choose "
            "another with control.socket"
        ) from error
    return lock


def _lock_nowait(lock: int) -> None:
    if sys.platform == "win32":
        import msvcrt  # noqa: PLC0415 - Windows only

        msvcrt.locking(lock, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl  # noqa: PLC0415 - not on Windows

        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _remove_dead(path: Path) -> None:
    """Remove what a dead runtime left at `path`; the caller holds the lock."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise SettingsError(f"socket {path} cannot be looked at: {error.strerror}") from error
    # A plain file is ours only if it reads like one that names a port and a token.
    if not stat.S_ISSOCK(mode) and not (stat.S_ISREG(mode) and _names_port(path)):
        raise SocketTaken(f"something that is no socket is in the way at {path}")
    if stat.S_ISSOCK(mode) and _answers(path):
        raise SocketTaken(f"another program listens at {path}; choose another control.socket")
    path.unlink(missing_ok=True)


def _names_port(path: Path) -> bool:
    try:
        return find_target(path).family == socket.AF_INET
    except RuntimeUnreachable:
        return False


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_S)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            return False
        except OSError:
            # Busy or not for us, but not dead.
            return True
    return True


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino
