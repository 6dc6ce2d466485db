"""Reaching the local socket: where it is, who is at the other end; without trio.

A Unix socket: mode 0600, and both ends look at whose process is at the other. Where there are none
(Windows), loopback TCP: a file in the socket's place, mode 0600, names the port and a token that a
client sends as its first line.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
import sys
from pathlib import Path
from typing import NamedTuple, Protocol

HAS_UNIX_SOCKETS = hasattr(socket, "AF_UNIX")
LOOPBACK = "127.0.0.1"
TOKEN_BYTES = 32
# The first line of a client on TCP: the token as hexadecimal digits and a newline.
GREETING_BYTES = 2 * TOKEN_BYTES + 1


class RuntimeUnreachable(Exception):
    """No runtime answers at the socket; the message names it and says how to start one.

    Attributes:
      retryable: Always True: it may be starting.
    """

    retryable = True


class PeerRefused(Exception):
    """The process at the other end is not the user's own."""


class Target(NamedTuple):
    """What to connect to.

    Attributes:
      family: The kind of socket.
      address: Its address.
      greeting: What to send first.
    """

    family: int
    address: str | tuple[str, int]
    greeting: bytes


class HasOptions(Protocol):
    """A socket of any library, as far as asking for its peer goes."""

    @property
    def family(self) -> int:
        """Return the kind of socket."""

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes:
        """Return an option's raw value."""


def find_target(path: Path) -> Target:
    """Return what to connect to for the runtime whose socket is at `path`.

    Raises:
      RuntimeUnreachable: There is nothing at `path`, or nothing of ours.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISSOCK(mode):
            return Target(socket.AF_UNIX, os.fspath(path), b"")
        # Looked at before it is read: reading from a pipe would wait for ever.
        content = path.read_bytes()[:256] if stat.S_ISREG(mode) else b""
        port, _, token = content.partition(b" ")
        if len(token) != GREETING_BYTES:
            raise RuntimeUnreachable(f"{path} is not the socket of a marketd runtime")
        return Target(socket.AF_INET, (LOOPBACK, int(port)), token)
    except (OSError, ValueError) as error:
        raise unreachable(path, error) from error


def unreachable(path: Path, error: Exception) -> RuntimeUnreachable:
    """Return the error that says that nobody answers at `path`, and what to do about it."""
    reason = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
    return RuntimeUnreachable(
        f"no marketd runtime answers at {path} ({reason}); start one with `marketd`, or name its "
        "socket with --socket or MARKETD_CONTROL__SOCKET"
    )


def connect_blocking(path: Path, *, timeout_s: float) -> socket.socket:
    """Return a connected socket.

    Args:
      path: The socket's file.
      timeout_s: How long connecting may take, in seconds.

    Raises:
      RuntimeUnreachable: Nobody answers there, or somebody who is not the same user.
    """
    target = find_target(path)
    connected = socket.socket(target.family, socket.SOCK_STREAM)
    try:
        connected.settimeout(timeout_s)
        connected.connect(target.address)
        tune(connected)
        check_peer(connected)
        if target.greeting:
            connected.sendall(target.greeting)
    except (OSError, PeerRefused) as error:
        connected.close()
        raise unreachable(path, error) from error
    except BaseException:
        connected.close()
        raise
    return connected


def tune(connected: socket.socket) -> None:
    """Have small packets sent at once on TCP, where they would otherwise wait for each other."""
    if connected.family == socket.AF_INET:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def check_peer(connected: HasOptions) -> None:
    """Return if the other end is a process of the same user, or of root.

    Where the system does not tell, the rights of the file must do.

    Raises:
      PeerRefused: It is another user's.
    """
    if not HAS_UNIX_SOCKETS or connected.family != socket.AF_UNIX:
        return
    uid = _peer_uid(connected)
    if uid is not None and uid not in (os.getuid(), 0):
        raise PeerRefused(f"the other end belongs to user {uid}, not to {os.getuid()}")


def _peer_uid(connected: HasOptions) -> int | None:
    # By a variable: a type checker would call the other systems' lines unreachable.
    system: str = sys.platform
    if system == "linux":
        # struct ucred: pid, uid, gid. Source: unix(7).
        size = struct.calcsize("3i")
        raw = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        return int(struct.unpack("3i", raw)[1])
    if system in ("darwin", "freebsd"):
        # struct xucred begins with its version and the uid; level 0, option LOCAL_PEERCRED = 1.
        # Source: unix(4) of FreeBSD, sys/un.h of macOS.
        return int(struct.unpack_from("2I", connected.getsockopt(0, 1, 128))[1])
    return None
