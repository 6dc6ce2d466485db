"""What tests of streams talk to: the other side of a connection, byte by byte if need be."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Request,
    TextMessage,
)
from wsproto.extensions import Extension

from actors.exchanges.streams import StreamLost, StreamSocket
from actors.exchanges.websocket import WebSocket, open_websocket

EventT = TypeVar("EventT", bound=Event)


class StreamPeer:
    """The exchange's side of one connection, over a real socket.

    Attributes:
      raw: The socket, for what no decent peer sends.
      heard: What came from the client so far, but for what is waited for.
      request: The request for the handshake.
    """

    def __init__(self, raw: trio.abc.Stream) -> None:
        self.raw = raw
        self.heard: list[Event] = []
        self.request: Request | None = None
        self._websocket = WSConnection(ConnectionType.SERVER)

    async def accept(self, *, extensions: Sequence[Extension] = (), also: bytes = b"") -> None:
        """Do the handshake; `also` goes out in the same write."""
        while self.request is None:
            self.request = await self._next(Request)
        accepted = self._websocket.send(AcceptConnection(extensions=list(extensions)))
        await self.raw.send_all(accepted + also)

    async def read_head(self) -> bytes:
        """Return the request for the handshake as it is, to be answered by hand."""
        head = b""
        while b"\r\n\r\n" not in head:
            head += await self.raw.receive_some(4096)
        return head

    async def send(self, *events: Event | bytes | str) -> None:
        """Send messages and other events, together."""
        await self.raw.send_all(b"".join(self.encode(each) for each in events))

    def encode(self, event: Event | bytes | str) -> bytes:
        """Return the bytes of a message or another event."""
        if isinstance(event, bytes):
            event = BytesMessage(data=event)
        elif isinstance(event, str):
            event = TextMessage(data=event)
        return self._websocket.send(event)

    async def hear(self) -> str:
        """Return the next text of the client."""
        text = ""
        while True:
            part = await self._next(TextMessage)
            text += part.data
            if part.message_finished:
                return text

    async def hear_out(self) -> list[Event]:
        """Return all that the client says until it says goodbye or hangs up."""
        try:
            while not any(isinstance(event, CloseConnection) for event in self.heard):
                data = await self.raw.receive_some(65_536)
                if not data:
                    break
                self._websocket.receive_data(bytes(data))
                self.heard += self._websocket.events()
        except trio.BrokenResourceError:
            pass
        return self.heard

    async def _next(self, kind: type[EventT]) -> EventT:
        while True:
            for event in self._websocket.events():
                if isinstance(event, kind):
                    return event
                self.heard.append(event)
            data = await self.raw.receive_some(65_536)
            if not data:
                raise EOFError(f"wanted {kind.__name__}, was the end")
            self._websocket.receive_data(bytes(data))


@asynccontextmanager
async def open_stream_peer(
    play: Callable[[StreamPeer], Awaitable[object]],
    *,
    secure: Callable[[trio.SocketStream], trio.abc.Stream] | None = None,
    host: str = "127.0.0.1",
) -> AsyncIterator[str]:
    """Serve each connection with `play` and then hang up; give the address, `host:port`.

    Args:
      play: The exchange's side.
      secure: Makes the stream of a connection a secret one.
      host: Where to listen.
    """

    async def serve(stream: trio.SocketStream) -> None:
        try:
            async with secure(stream) if secure else stream as raw:
                await play(StreamPeer(raw))
        except (trio.BrokenResourceError, trio.ClosedResourceError, EOFError):
            # The client has gone first, which is its right.
            pass

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host=host))
        port = listener.socket.getsockname()[1]
        yield f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_stream_pair(
    play: Callable[[StreamPeer], Awaitable[object]], *, message_bytes_max: int = 1 << 20
) -> AsyncIterator[WebSocket]:
    """Give a connection whose other side does the handshake, plays, and hangs up."""

    async def serve(peer: StreamPeer) -> None:
        await peer.accept()
        await play(peer)

    async with (
        open_stream_peer(serve) as address,
        open_websocket(
            f"ws://{address}/", timeout_s=5, message_bytes_max=message_bytes_max
        ) as websocket,
    ):
        yield websocket


async def receive_all(socket: StreamSocket) -> tuple[list[bytes | str], str]:
    """Return all frames until the connection ends, and how it did."""
    frames: list[bytes | str] = []
    try:
        while True:
            frames += await socket.receive()
    except StreamLost as error:
        return frames, str(error)
