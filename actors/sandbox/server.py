"""The sandbox exchange as a real HTTP/1.1 server on loopback, with its streams on the same port.

Everything a client could make grow is bounded: connections, header and body size, and how long a
connection may stay silent. What is not HTTP is answered 400 and the connection closed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus

import h11
import trio

from actors.sandbox.exchange import Answer, SandboxExchange
from actors.sandbox.faults import Fault
from actors.sandbox.stream_desk import STREAM_PATH, ConnectRefused
from actors.sandbox.websocket_server import WRITE_S, BadUpgrade, StreamConnection

HEADER_BYTES_MAX = 16_384
BODY_BYTES_MAX = 65_536
CONNECTIONS_MAX = 256
IDLE_S = 60.0

_READ_BYTES = 65_536
_CLOSE_GRACE_S = 1.0


@dataclass(frozen=True, slots=True)
class SandboxServer:
    """Where a running server listens.

    Attributes:
      host: The address, as it was asked for.
      port: The port it really has.
    """

    host: str
    port: int

    @property
    def url(self) -> str:
        """Return the base URL, without a slash at its end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def stream_url(self) -> str:
        """Return the URL of the streams."""
        return f"ws{self.url.removeprefix('http')}{STREAM_PATH}"


@asynccontextmanager
async def open_sandbox_server(
    exchange: SandboxExchange,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    connections_max: int = CONNECTIONS_MAX,
    idle_s: float = IDLE_S,
    write_s: float = WRITE_S,
) -> AsyncIterator[SandboxServer]:
    """Serve `exchange` over HTTP while the block runs; leaving it closes every connection.

    Args:
      exchange: What answers.
      host: The address to listen on.
      port: The port; 0 for any that is free.
      connections_max: How many connections may be open; one more is closed at once.
      idle_s: How long a connection may stay silent before it is closed, in seconds.
      write_s: How long a stream's client may take to receive before it is let go, in seconds.

    Raises:
      OSError: The address is in use, or not ours to listen on.
    """
    listeners = await trio.open_tcp_listeners(port, host=host)
    bound_port: int = listeners[0].socket.getsockname()[1]
    doorway = _Doorway(exchange, connections_max=connections_max, idle_s=idle_s, write_s=write_s)
    error: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(trio.serve_listeners, doorway.welcome, listeners))
            try:
                yield SandboxServer(host, bound_port)
            finally:
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        [error] = group.exceptions
    # That there is a nursery is our own affair: the block's error leaves it as it was raised.
    if error is not None:
        raise error


class _Doorway:
    def __init__(
        self, exchange: SandboxExchange, *, connections_max: int, idle_s: float, write_s: float
    ) -> None:
        self._exchange = exchange
        self._connections_max = connections_max
        self._idle_s = idle_s
        self._write_s = write_s
        self._open = 0

    async def welcome(self, stream: trio.SocketStream) -> None:
        """Serve one connection until either side has had enough."""
        if self._open >= self._connections_max or self._exchange.faults.away:
            await trio.aclose_forcefully(stream)
            return
        self._open += 1
        try:
            await _Conversation(stream, self._exchange, self._idle_s, self._write_s).run()
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            # The client has gone, which is its right at any moment, or does not read.
            pass
        finally:
            self._open -= 1
            await trio.aclose_forcefully(stream)


class _Conversation:
    """One connection: request after request until one side closes or breaks the protocol."""

    def __init__(
        self, stream: trio.SocketStream, exchange: SandboxExchange, idle_s: float, write_s: float
    ) -> None:
        self._stream = stream
        self._exchange = exchange
        self._idle_s = idle_s
        self._write_s = write_s
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEADER_BYTES_MAX)
        self._client = str(stream.socket.getpeername()[0])

    async def run(self) -> None:
        try:
            while True:
                with trio.move_on_after(self._idle_s) as patience:
                    request = await self._request()
                if patience.cancelled_caught or request is None:
                    return
                if not await self._serve(*request):
                    return
                self._http.start_next_cycle()
        except h11.RemoteProtocolError as error:
            await self._object(error.error_status_hint)

    async def _request(self) -> tuple[h11.Request, bytes] | None:
        """Return the next request with its whole body; None at the end."""
        request: h11.Request | None = None
        body = bytearray()
        while True:
            event = await self._event()
            if isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > BODY_BYTES_MAX:
                    raise h11.RemoteProtocolError("body too large", error_status_hint=413)
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                return request, bytes(body)
            else:
                return None

    async def _event(self) -> h11.Event | None:
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Event):
                return event
            if event is h11.PAUSED:
                return None
            if self._http.they_are_waiting_for_100_continue:
                go_on = h11.InformationalResponse(status_code=100, headers=[])
                await self._stream.send_all(self._http.send(go_on) or b"")
            self._http.receive_data(await self._stream.receive_some(_READ_BYTES))

    async def _serve(self, request: h11.Request, body: bytes) -> bool:
        """Answer one request; return whether the connection can be used for another."""
        headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in request.headers]
        method, target = request.method.decode("latin-1"), request.target.decode("latin-1")
        if target.partition("?")[0] == STREAM_PATH:
            return await self._serve_stream(request, dict(headers))
        answer = self._exchange.handle(method, target, headers, self._client, body)
        if answer.delivery is Fault.HANG:
            await self._wait_for_the_client_to_go()
            return False
        if answer.delivery is Fault.AWAY:
            return False
        await self._send(answer, is_head=method == "HEAD")
        return answer.delivery is None and self._http.our_state is h11.DONE

    async def _serve_stream(self, request: h11.Request, fields: dict[str, str]) -> bool:
        """Turn the connection into a stream, or answer why not."""
        if request.method != b"GET" or "upgrade" not in fields:
            await self._send(_text(426, "The streams need a WebSocket.", ("Upgrade", "websocket")))
            return self._http.our_state is h11.DONE
        desk = self._exchange.streams
        try:
            session = desk.connect(self._client, origin="origin" in fields)
        except ConnectRefused as refused:
            await self._send(_text(refused.status, refused.text))
            return False
        connection = StreamConnection(self._stream, desk, session, write_s=self._write_s)
        trailing = self._http.trailing_data[0]
        try:
            await connection.run(list(request.headers), request.target, trailing)
        except BadUpgrade as error:
            await self._send(_text(400, f"This is no WebSocket: {error}."))
        finally:
            desk.leave(session)
        return False

    async def _send(self, answer: Answer, *, is_head: bool = False) -> None:
        length = ("Content-Length", str(len(answer.body)))
        body = b"" if is_head else answer.body
        pieces = [_head(self._http, answer.status, [*answer.headers, length])]
        if answer.delivery is Fault.HALF_BODY:
            pieces.append(body[: len(body) // 2])
        else:
            pieces.append(self._http.send(h11.Data(data=body)) or b"" if body else b"")
            pieces.append(self._http.send(h11.EndOfMessage()) or b"")
        with trio.fail_after(self._idle_s):
            await self._stream.send_all(b"".join(pieces))

    async def _object(self, status: int) -> None:
        # Only before anything of an answer was sent can there be another one.
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        text = b"This is not HTTP that can be answered."
        headers = (("Content-Type", "text/plain"), ("Connection", "close"))
        await self._send(Answer(status, headers, text))
        with trio.move_on_after(_CLOSE_GRACE_S):
            # Closing with unread input would reset the connection before the answer is read.
            await self._stream.send_eof()
            await self._wait_for_the_client_to_go()

    async def _wait_for_the_client_to_go(self) -> None:
        while await self._stream.receive_some(_READ_BYTES):
            pass


def _text(status: int, text: str, *headers: tuple[str, str]) -> Answer:
    return Answer(status, (("Content-Type", "text/plain"), *headers), text.encode())


def _head(http: h11.Connection, status: int, headers: Sequence[tuple[str, str]]) -> bytes:
    reason = HTTPStatus(status).phrase
    return http.send(h11.Response(status_code=status, reason=reason, headers=list(headers))) or b""
