"""One runtime of a user an exchange: a lock for each exchange host, whatever the state folder.

An exchange counts by address, so two runtimes on one machine would overrun its limits together
even if each keeps them. Two ways out were open: the second asks the first for permits, or it
refuses to start. We refuse. To ask, a permit would have to travel over a socket that may go away
between the permit and the request, and then nobody knows what was spent; and who shares the
limits has every reason to share the cache and the streams as well, which `connect()` gives. A
refusal is also safe by construction: the operating system holds the lock, so there is no moment at
which two runtimes send, and nothing stale is left when a process ends, however it ends.

There is no setting to switch this off, because none would be safe. A sandbox on loopback has a
lock of its own, by host and port. What it does not cover: other users of the machine, containers,
processes of one user that were given different home folders, and other machines behind the same
address. For these there is only what the exchange's headers say.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from runtime.config import Settings, SettingsError
from runtime.lock import AlreadyRunning, lock_file
from runtime.origin import is_this_machine
from runtime.paths import APP, ensure_private_dir, socket_path

_DEFAULT_PORTS = {"http": 80, "https": 443}
# Far more than a process number and a path need.
_OWNER_BYTES_MAX = 10_000
# A lock file can be gone between opening and locking, because its owner ended just then.
_TRIES_MAX = 20


class LimitsTaken(AlreadyRunning):
    """Another runtime of this user talks to the exchange; the message says which, and its way."""


class _Owner(msgspec.Struct, frozen=True):
    pid: int
    socket: str = ""


class _Gone(Exception):
    """Nobody will meet us at the lock file that we have locked."""


def limits_dir(rest_url: str) -> Path:
    """Return the folder of the locks: the user's own, whatever the settings say.

    Sandboxes on loopback come with a new port each time, so what they leave behind is in the folder
    that ends with the session. It is not for real exchanges: a cron job sees another one.
    """
    if is_this_machine(rest_url):
        # Without such a folder it is the other one: also for who has named a socket of his own.
        with suppress(SettingsError):
            return socket_path(Settings()).parent / "limits"
    import platformdirs  # noqa: PLC0415 - a command with a socket of its own must not wait for it

    return platformdirs.user_state_path(APP, appauthor=False) / "limits"


def exchange_key(rest_url: str) -> str:
    """Return the name under which an exchange's limits are shared, fit for a file's name.

    The scheme, the path and how the host is written do not matter; the port does if it is not the
    usual one.
    """
    parts = urlsplit(rest_url)
    host = (parts.hostname or "").rstrip(".").lower()
    port = parts.port
    if port == _DEFAULT_PORTS.get(parts.scheme):
        port = None
    name = host if port is None else f"{host}:{port}"
    safe = re.sub(r"[^a-z0-9.-]", "_", name)[:100]
    # Two names that look alike once made safe must not share a lock.
    return safe if safe == name else f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


@contextmanager
def hold_limits(folder: Path, rest_url: str, socket: Path | None) -> Iterator[None]:
    """Keep the limits of the exchange at `rest_url` to this process while the block runs.

    Args:
      folder: Where locks are; made if it is not there.
      rest_url: The exchange.
      socket: Where this runtime can be asked; None if it listens to nobody.

    Raises:
      LimitsTaken: Another process has them.
      SettingsError: The folder is not this user's own, or the lock file cannot be opened.
    """
    ensure_private_dir(folder)
    _check_ours(folder)
    path = folder / f"{exchange_key(rest_url)}.lock"
    handle = _locked(path, rest_url)
    try:
        # Only the lock counts; on a full disk the message of another would say a little less.
        with suppress(OSError):
            os.ftruncate(handle, 0)
            owner = _Owner(os.getpid(), "" if socket is None else str(socket))
            os.write(handle, msgspec.json.encode(owner))
        yield
    finally:
        # Each sandbox would leave one. Windows removes no open file, and keeps it.
        with suppress(OSError):
            path.unlink()
        os.close(handle)


def _check_ours(folder: Path) -> None:
    """Refuse a folder in which somebody else could put files in place of ours.

    Raises:
      SettingsError: It belongs to somebody else, or is a link.
    """
    if os.name != "posix":
        return
    # Not through a link: who laid it would choose which of our files we write to.
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise SettingsError(f"{folder} is a link; it must be a folder, so remove the link")
    if found.st_uid != os.geteuid():
        raise SettingsError(
            f"the folder {folder} belongs to user {found.st_uid}, and this runtime runs as user "
            f"{os.geteuid()}; run it as that user, or with a HOME of its own"
        )
    if found.st_mode & 0o077:
        folder.chmod(0o700)


def _locked(path: Path, rest_url: str) -> int:
    """Return a descriptor of the lock file, locked."""
    for _ in range(_TRIES_MAX):
        with suppress(_Gone):
            return _lock_once(path, rest_url)
    raise SettingsError(f"{path} vanishes each time it is locked; see who removes it")


def _lock_once(path: Path, rest_url: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
    try:
        handle = os.open(path, flags, 0o600)
    except OSError as error:
        raise SettingsError(f"{path} cannot be opened: {error.strerror}; remove it") from error
    try:
        lock_file(handle)
    except OSError as error:
        os.close(handle)
        raise LimitsTaken(_explain(rest_url, _read_owner(path))) from error
    try:
        same = os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        same = False
    if not same:
        os.close(handle)
        raise _Gone
    return handle


def _read_owner(path: Path) -> _Owner | None:
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_OWNER_BYTES_MAX), type=_Owner)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _explain(rest_url: str, owner: _Owner | None) -> str:
    host = urlsplit(rest_url).netloc.rpartition("@")[2]
    who = "unknown" if owner is None else str(owner.pid)
    text = (
        f"another runtime of this user (process {who}) already talks to {host}, which counts "
        "requests by address, so this one does not start"
    )
    if owner is not None and owner.socket:
        return (
            f'{text}; ask that one: connect("{owner.socket}") or open_client("{owner.socket}") in '
            f"a bot, --socket {owner.socket} in a shell; or end it: "
            f"marketd stop --socket {owner.socket}"
        )
    return (
        f"{text}; it listens on no socket, so nobody can ask it: end it, start `marketd`, and "
        "connect() both to that; or let it open_runtime(listen=True), and connect() this one to it"
    )
