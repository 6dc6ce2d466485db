"""The local socket for trio: the listener of the runtime, and connecting."""

from __future__ import annotations

import select
from pathlib import Path
from typing import Protocol

import trio

from runtime.bound_socket import BoundSocket, is_greeting
from runtime.transport import (
    GREETING_BYTES,
    HAS_UNIX_SOCKETS,
    PeerRefused,
    check_peer,
    find_target,
    unreachable,
)

_GREETING_S = 5.0


class Listener(Protocol):
    """Where connections come from; tests have one without a network."""

    async def accept(self) -> trio.abc.Stream:
        """Return the next connection."""

    async def admit(self, stream: trio.abc.Stream) -> None:
        """Return if whoever is at the other end may ask; raises `PeerRefused` if not."""

    def close(self) -> None:
        """Stop listening."""


class LocalListener:
    """Accepts connections on the local socket, until it is closed.

    Args:
      path: Where the socket is wanted.
      unix: Whether to use a Unix socket; for tests of the other way.

    Raises:
      SocketTaken: A living runtime is there, or a file that is no socket.
      SettingsError: The folder or the socket cannot be made.
    """

    def __init__(self, path: Path, *, unix: bool = HAS_UNIX_SOCKETS) -> None:
        self._bound = BoundSocket(path, unix=unix)
        self._socket = trio.socket.from_stdlib_socket(self._bound.socket)

    async def accept(self) -> trio.abc.Stream:
        """Return the next connection."""
        accepted, _ = await self._socket.accept()
        return trio.SocketStream(accepted)

    async def admit(self, stream: trio.abc.Stream) -> None:
        """Return if whoever is at the other end may ask.

        Raises:
          PeerRefused: It is another user's process, or has not the token.
        """
        assert isinstance(stream, trio.SocketStream)
        if not self._bound.greeting:
            check_peer(stream.socket)
            return
        received = b""
        with trio.move_on_after(_GREETING_S):
            while len(received) < GREETING_BYTES:
                # Exactly so many: what follows belongs to the first request.
                part = await stream.receive_some(GREETING_BYTES - len(received))
                if not part:
                    break
                received += part
        if not is_greeting(received, self._bound.greeting):
            raise PeerRefused("the client did not send the token")

    def close(self) -> None:
        """Stop listening, and remove the socket's file."""
        self._socket.close()
        self._bound.close()


def has_hung_up(stream: trio.abc.Stream) -> bool:
    """Return whether the other end has gone altogether, and not merely said that it sends no more.

    Reading shows the end of the data in both cases. False where the system cannot tell them apart.
    """
    if not isinstance(stream, trio.SocketStream) or not hasattr(select, "poll"):
        return False
    poll = select.poll()
    # Hang-ups are reported whether asked for or not.
    poll.register(stream.socket.fileno(), 0)
    return any(events & select.POLLHUP for _, events in poll.poll(0))


async def connect_trio(path: Path) -> trio.SocketStream:
    """Return a connection to the runtime at `path`.

    Raises:
      RuntimeUnreachable: Nobody answers there, or somebody who is not the same user.
    """
    target = find_target(path)
    connecting = trio.socket.socket(target.family, trio.socket.SOCK_STREAM)
    try:
        await connecting.connect(target.address)
        check_peer(connecting)
        stream = trio.SocketStream(connecting)
        if target.greeting:
            await stream.send_all(target.greeting)
    except (OSError, PeerRefused, trio.BrokenResourceError) as error:
        connecting.close()
        raise unreachable(path, error) from error
    except BaseException:
        connecting.close()
        raise
    return stream
