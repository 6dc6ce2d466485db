"""One stream connection of the sandbox's server, from the upgrade to the last byte.

One task reads and one writes. Nothing a client does can grow: messages and texts are bounded, and
a client that does not read is let go when a write takes too long.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import trio
from wsproto import WSConnection
from wsproto.connection import ConnectionState, ConnectionType
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    Pong,
    Request,
    TextMessage,
)
from wsproto.extensions import PerMessageDeflate
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from actors.sandbox.stream import StreamSession
from actors.sandbox.stream_desk import StreamDesk
from actors.sandbox.stream_requests import TEXT_BYTES_MAX

WRITE_S = 10.0

_READ_BYTES = 65_536
_TOO_BIG, _NOT_TEXT = 1009, 1007
_CLOSE_GRACE_S = 1.0


class BadUpgrade(Exception):
    """The request for an upgrade is not one that RFC 6455 allows."""


class StreamConnection:
    """A connection that has become a stream.

    Args:
      stream: The socket.
      desk: The exchange's streams.
      session: The connection as the exchange sees it.
      write_s: How long one write may take, in seconds, before the client is let go.
    """

    def __init__(
        self,
        stream: trio.SocketStream,
        desk: StreamDesk,
        session: StreamSession,
        *,
        write_s: float = WRITE_S,
    ) -> None:
        self._stream = stream
        self._desk = desk
        self._session = session
        self._write_s = write_s
        self._websocket = WSConnection(ConnectionType.SERVER)
        self._sending = trio.Lock()
        self._changed = trio.Event()
        self._parts: list[str] = []
        self._part_bytes = 0
        session.wake = self._wake

    async def run(
        self, headers: Sequence[tuple[bytes, bytes]], target: bytes, trailing: bytes
    ) -> None:
        """Accept the upgrade that was asked for, and serve until either side has had enough.

        Args:
          headers: The fields of the request.
          target: Its target.
          trailing: What the client has sent after it already.

        Raises:
          BadUpgrade: It cannot be accepted, and nothing was sent.
        """
        try:
            self._websocket.initiate_upgrade_connection(list(headers), target.decode("latin-1"))
            for event in self._websocket.events():
                assert isinstance(event, Request)
            accept = AcceptConnection(extensions=[PerMessageDeflate()])
            accepted = self._websocket.send(accept)
        except (RemoteProtocolError, LocalProtocolError) as error:
            raise BadUpgrade(str(error)) from error
        await self._stream.send_all(accepted)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read, trailing, nursery.cancel_scope)
                await self._write()
                nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            # The client has gone, which is its right at any moment, or does not read.
            pass

    def _wake(self) -> None:
        self._changed.set()

    # ------------------------------------------------------------------ from the client

    async def _read(self, trailing: bytes, scope: trio.CancelScope) -> None:
        data = trailing
        try:
            while True:
                # Of a half-open connection nothing is ever answered.
                if data and not self._session.faults.half_open:
                    self._websocket.receive_data(data)
                    for event in self._websocket.events():
                        await self._hear(event)
                data = await self._stream.receive_some(_READ_BYTES)
                if not data:
                    break
        except RemoteProtocolError as error:
            hint = error.event_hint
            if isinstance(hint, CloseConnection):
                await self._send(hint)
        if self._session.ended is None:
            self._session.end("the client has gone")
        scope.cancel()

    async def _hear(self, event: Event) -> None:
        now_s = self._desk.now_s()
        if isinstance(event, Ping):
            self._session.heard(now_s)
            await self._send(event.response())
        elif isinstance(event, Message):
            self._collect(event, now_s)
            self._wake()
        elif isinstance(event, CloseConnection):
            if self._websocket.state is ConnectionState.REMOTE_CLOSING:
                await self._send(event.response())
            self._session.end("the client has closed it")

    def _collect(self, event: Message[Any], now_s: float) -> None:
        try:
            # A text in a binary frame is a text all the same.
            part = event.data if isinstance(event, TextMessage) else bytes(event.data).decode()
        except UnicodeDecodeError:
            self._session.end("a message is not text", _NOT_TEXT)
            return
        self._parts.append(part)
        self._part_bytes += len(part)
        if self._part_bytes > TEXT_BYTES_MAX:
            self._session.end("a message is too long", _TOO_BIG)
        elif event.message_finished:
            self._session.take("".join(self._parts), now_s)
            self._parts.clear()
            self._part_bytes = 0

    # ------------------------------------------------------------------ to the client

    async def _write(self) -> None:
        session = self._session
        while session.ended is None:
            self._changed = trio.Event()
            now_s = self._desk.now_s()
            frames = session.advance(now_s)
            if frames:
                await self._send(*(BytesMessage(data=frame.data) for frame in frames))
                continue
            with trio.move_on_after(max(0.0, session.next_s - self._desk.now_s())):
                await self._changed.wait()
        if session.ended.code:
            await self._send(CloseConnection(code=session.ended.code, reason=session.ended.reason))
            with trio.move_on_after(_CLOSE_GRACE_S):
                await self._stream.send_eof()

    async def _send(self, *events: BytesMessage | CloseConnection | Pong) -> None:
        async with self._sending:
            if self._session.faults.half_open:
                return
            try:
                data = b"".join(self._websocket.send(event) for event in events)
            except LocalProtocolError:
                # The client has closed its side in the meantime: there is nobody to tell.
                return
            with trio.fail_after(self._write_s):
                await self._stream.send_all(data)
