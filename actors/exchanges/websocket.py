"""The wire to an exchange's streams: trio-websocket, behind one small class.

trio-websocket does the handshakes, the pongs and the goodbyes. It cannot offer to compress, and
goes round the scheduler for every message; so the protocol object and the stream that it is given
are ours (`ClientProtocol`, `PacedStream`): one offers compression and puts frames aside as they are
read, the other stops reading when too many wait.

Bounds: `WAITING_BYTES_MAX` of frames wait to be received, and one read more; beyond that nothing is
read, so the peer has to wait. No message is larger than `message_bytes_max`, unpacked. A refusal is
read no further than some kilobytes.

Proxies are not used: those that the environment names are for HTTP.

Error handling: no error of trio-websocket, wsproto, ssl or the socket escapes, and no group of
them; the block's own error leaves as it was raised; cancellation always passes.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from urllib.parse import SplitResult

import trio
import trio_websocket
from wsproto.events import CloseConnection, Ping
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError

from actors.errors import MalformedPayload
from actors.exchanges.dial import check_url, dial
from actors.exchanges.http import user_agent
from actors.exchanges.inbox import FrameTooLarge, Inbox, PacedStream
from actors.exchanges.streams import StreamLost
from actors.exchanges.websocket_protocol import ClientProtocol, Misbehaved, Refused

MESSAGE_BYTES_MAX = 4 * 1024 * 1024
WAITING_BYTES_MAX = 8 * 1024 * 1024

_READ_BYTES = 65_536
# How long a peer may take to answer our goodbye; nothing of it is wanted any more.
_GOODBYE_S = 1.0

# What the system, TLS and the libraries raise at a peer that is not there or does what it likes.
_BROKEN = (
    OSError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    trio.BusyResourceError,
    trio_websocket.ConnectionClosed,
    LocalProtocolError,
)


def never_said(_words: str) -> float | None:
    """Return None: nothing is known of how the exchange writes a time to wait."""
    return None


@asynccontextmanager
async def open_websocket(
    url: str,
    *,
    timeout_s: float,
    message_bytes_max: int = MESSAGE_BYTES_MAX,
    tls: ssl.SSLContext | None = None,
    read_wait_s: Callable[[str], float | None] = never_said,
) -> AsyncIterator[WebSocket]:
    """Open a connection for as long as the block runs.

    Leaving the block says goodbye and takes a second at most, whatever the peer does.

    Args:
      url: Where to, `ws://` or `wss://`.
      timeout_s: How long connecting may take, the handshakes included, in seconds.
      message_bytes_max: Largest message that is taken, unpacked.
      tls: Whom to trust and how; the system's own trust, and names checked, if not given.
      read_wait_s: Reads, from the words of a refusal, how long the exchange wants us to wait.

    Raises:
      StreamLost: There is no connection; says whether the exchange may have counted the attempt.
      ValueError: A setting cannot work; the message says which.
    """
    target = check_url(url)
    if not 0 < timeout_s < math.inf:
        raise ValueError(f"timeout_s must be above zero and finite, was {timeout_s}")
    if message_bytes_max < 1:
        raise ValueError(f"message_bytes_max must be at least 1, was {message_bytes_max}")
    inbox = Inbox(message_bytes_max=message_bytes_max, waiting_bytes_max=WAITING_BYTES_MAX)
    protocol = ClientProtocol(inbox, target.netloc, message_bytes_max, read_wait_s)
    own: BaseException | None = None
    async with trio.open_nursery() as nursery:
        try:
            websocket = await _connect(target, protocol, nursery, timeout_s, tls)
            try:
                yield websocket
            finally:
                await websocket.leave()
        except BaseException as error:  # noqa: BLE001 - raised again below
            # That there is a nursery is our own affair: it would put the error into a group.
            own = error
    if own is not None:
        try:
            raise own
        finally:
            # Or it would hold this frame, which holds it.
            del own


class WebSocket:
    """One open connection. Made by `open_websocket`."""

    def __init__(self, connection: _Connection, protocol: ClientProtocol, tap: PacedStream) -> None:
        self._connection = connection
        self._protocol = protocol
        self._inbox = protocol.inbox
        self._tap = tap
        # Whoever cancels the block does not cancel the reader: it has to hear the goodbye.
        self._reading = trio.CancelScope(shield=True)

    @property
    def compressed(self) -> bool:
        """Return whether the peer may compress what it sends."""
        return self._protocol.deflate.enabled()

    async def send(self, text: str) -> None:
        """Send one text. Cancelled in the middle of it, no more can be sent.

        Raises:
          StreamLost: The connection has ended.
        """
        await self._sending(self._connection.send_message, text)

    async def ping(self) -> None:
        """Send a ping of the protocol; returns when it is sent.

        Raises:
          StreamLost: The connection has ended.
        """
        await self._sending(self._connection.send_ping)

    async def receive(self) -> list[bytes | str]:
        """Return every frame that has arrived, at least one, waiting for the first.

        Raises:
          StreamLost: The connection has ended, and all frames were received.
          MalformedPayload: A message is larger than any that makes sense; nothing more comes.
        """
        return await self._inbox.take()

    async def leave(self) -> None:
        """Say goodbye and close, in a second at most; never raises for a peer that has gone."""
        is_open = not self._inbox.ended
        self._inbox.abandon()
        self._protocol.ended("the connection was left")
        if is_open:
            with suppress(*_BROKEN), trio.move_on_after(_GOODBYE_S, shield=True):
                await self._connection.aclose()
        await self.hang_up()

    async def hang_up(self) -> None:
        """Close without a word."""
        self._reading.cancel()
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(self._tap)

    async def read(self) -> None:
        """Read until the connection ends, and say how it did to whoever receives."""
        with self._reading:
            code = await self._read()
            self._broke()
            # Nobody reads any more, so its answer is not waited for.
            with suppress(*_BROKEN), trio.move_on_after(_GOODBYE_S):
                await self._tap.send_all(self._protocol.send(CloseConnection(code=code)))
            await trio.aclose_forcefully(self._tap)

    async def _read(self) -> CloseReason:
        protocol = self._protocol
        try:
            await self._connection.run()
        except Refused:
            pass
        except FrameTooLarge as error:
            protocol.ended(str(error), MalformedPayload)
            return CloseReason.MESSAGE_TOO_BIG
        except Misbehaved as error:
            protocol.ended(f"it breaks the protocol: {error}")
        except Exception as error:  # noqa: BLE001 - whatever a peer makes the libraries raise
            protocol.ended(f"what it sends cannot be read: {type(error).__name__}: {error}")
        return CloseReason.PROTOCOL_ERROR

    def _broke(self) -> None:
        self._protocol.ended(f"the connection broke: {self._tap.trouble or 'it hung up'}")

    async def _sending(self, send: Callable[..., Awaitable[None]], *what: str) -> None:
        try:
            await send(*what)
        except _BROKEN as error:
            self._broke()
            raise self._protocol.lost() from error
        except BaseException:
            # Some of it may be under way, and what is packed next builds upon it.
            self._tap.tear()
            raise


class _Connection(trio_websocket.WebSocketConnection):
    """trio-websocket's connection, with two doors of its inside opened."""

    def __init__(
        self, stream: trio.abc.Stream, protocol: ClientProtocol, target: SplitResult
    ) -> None:
        super().__init__(
            stream,
            protocol,
            host=target.netloc.rpartition("@")[2],
            path=(target.path or "/") + (f"?{target.query}" if target.query else ""),
            # No `Origin`: with one, Upbit allows a connection every ten seconds.
            client_extra_headers=[(b"User-Agent", user_agent().encode("ascii"))],
            receive_buffer_size=_READ_BYTES,
        )

    async def run(self) -> None:
        """Do the handshake and read until the connection ends."""
        await self._reader_task()

    async def send_ping(self) -> None:
        """Send a ping. Unlike `ping`, wait for no answer: it would be waited for for ever."""
        if self._close_reason:
            raise trio_websocket.ConnectionClosed(self._close_reason)
        await self._send(Ping(payload=b""))


async def _connect(
    target: SplitResult,
    protocol: ClientProtocol,
    nursery: trio.Nursery,
    timeout_s: float,
    tls: ssl.SSLContext | None,
) -> WebSocket:
    """Return an open connection whose reader runs in `nursery`."""
    sent = False
    with trio.move_on_after(timeout_s):
        tap = PacedStream(await dial(target, tls), protocol.inbox)
        sent = True
        websocket = WebSocket(_Connection(tap, protocol, target), protocol, tap)
        try:
            nursery.start_soon(websocket.read)
            await protocol.decided.wait()
        except BaseException:
            await websocket.hang_up()
            raise
        if protocol.accepted:
            return websocket
        await websocket.hang_up()
        raise protocol.refused()
    # It may have told its status and kept the words for itself.
    if protocol.refusal is not None:
        raise protocol.refused()
    raise StreamLost(f"{target.netloc}: no connection within {timeout_s:g} s", sent=sent)
