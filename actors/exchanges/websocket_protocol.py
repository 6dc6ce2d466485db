"""What we say and hear on a stream, as wsproto has it, with three things of our own.

Compression is offered, and unpacks no more than is wanted. Frames are put aside as they are read,
and never become events that somebody has to carry. A refusal is kept with its words, however the
peer breaks off after it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator
from dataclasses import replace
from functools import partial

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol
from wsproto.utilities import RemoteProtocolError

from actors.errors import MalformedPayload
from actors.exchanges.clock import parse_date_ms
from actors.exchanges.dial import printable
from actors.exchanges.inbox import FrameTooLarge, Inbox
from actors.exchanges.streams import StreamLost

REFUSAL_BYTES = 4_096


class Refused(Exception):
    """The peer answered the handshake with something else than a connection."""


class Misbehaved(Exception):
    """The peer does what RFC 6455 does not allow."""


class ClientProtocol(WSConnection):
    """wsproto's connection, that offers compression, and puts frames aside as it reads them."""

    def __init__(
        self,
        inbox: Inbox,
        host: str,
        message_bytes_max: int,
        read_wait_s: Callable[[str], float | None],
    ) -> None:
        super().__init__(ConnectionType.CLIENT)
        self.inbox = inbox
        self.host = host
        self._read_wait_s = read_wait_s
        self.deflate = Deflate(message_bytes_max)
        self.decided = trio.Event()
        self.refusal: RejectConnection | None = None
        self._refusal_body = b""
        self.accepted = False
        self.how = ""

    def ended(self, how: str, kind: type[StreamLost | MalformedPayload] = StreamLost) -> None:
        """Note how the connection ended; only the first word counts."""
        self.how = self.how or printable(how)
        self.inbox.end(partial(kind, f"{self.host}: {self.how}"))
        self.decided.set()

    def lost(self) -> StreamLost:
        """Return the error that says how the connection ended."""
        return StreamLost(f"{self.host}: {self.how}")

    def refused(self) -> StreamLost:
        """Return the error that says why there is no connection."""
        refusal = self.refusal
        if refusal is None:
            return StreamLost(f"{self.host}: no handshake: {self.how}")
        words = self._refusal_body[:REFUSAL_BYTES].decode("utf-8", errors="replace").strip()
        text = f"{self.host}: it refused the connection: {refusal.status_code} {words}"
        wait_s = _retry_after_s(
            {bytes(name).lower(): bytes(value) for name, value in refusal.headers}
        )
        return StreamLost(
            printable(text).rstrip(),
            status=refusal.status_code,
            retry_after_s=self._read_wait_s(words) if wait_s is None else wait_s,
        )

    def send(self, event: Event) -> bytes:
        """Return the bytes of an event."""
        if isinstance(event, Request):
            event = replace(event, extensions=[self.deflate])
        return super().send(event)

    def receive_data(self, data: bytes | None) -> None:
        """Take bytes of the peer."""
        try:
            super().receive_data(data)
        except RemoteProtocolError as error:
            raise Misbehaved(error) from error

    def events(self) -> Generator[Event, None, None]:
        """Give what is not a frame, and put aside what is."""
        put = self.inbox.put
        for event in super().events():
            if isinstance(event, BytesMessage):
                put(bytes(event.data), finished=event.message_finished)
            elif isinstance(event, TextMessage):
                put(event.data, finished=event.message_finished)
            else:
                self._note(event)
                yield event

    def _note(self, event: Event) -> None:
        if isinstance(event, AcceptConnection):
            self.accepted = True
            self.decided.set()
        elif isinstance(event, RejectConnection):
            self.refusal = event
            if not event.has_body:
                raise Refused
        elif isinstance(event, RejectData):
            self._refusal_body += event.data
            if event.body_finished or len(self._refusal_body) > REFUSAL_BYTES:
                raise Refused
        elif isinstance(event, CloseConnection):
            self._note_close(event)

    def _note_close(self, event: CloseConnection) -> None:
        if self.state is ConnectionState.OPEN:
            # It is not the peer's: wsproto says with it that it cannot go on.
            if event.code == CloseReason.MESSAGE_TOO_BIG:
                raise FrameTooLarge("a frame, unpacked, is larger than any that is taken")
            raise Misbehaved(event.reason)
        reason = event.reason or _name(event.code)
        self.ended(f"it closed the connection: {int(event.code)} {reason}")


class Deflate(PerMessageDeflate):
    """Compression that unpacks no more than is wanted: a kilobyte can hold a megabyte."""

    def __init__(self, message_bytes_max: int) -> None:
        super().__init__()
        self._message_bytes_max = message_bytes_max

    def frame_inbound_payload_data(
        self, proto: FrameDecoder | FrameProtocol, data: bytes
    ) -> bytes | CloseReason:
        """Return the unpacked part of a message, or why there is none."""
        unpacker = self._decompressor
        if unpacker is None or not self._inbound_compressed or not self._inbound_is_compressible:
            return super().frame_inbound_payload_data(proto, data)
        try:
            unpacked = unpacker.decompress(data, self._message_bytes_max + 1)
        except zlib.error:
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        return CloseReason.MESSAGE_TOO_BIG if unpacker.unconsumed_tail else unpacked


def _retry_after_s(headers: dict[bytes, bytes]) -> float | None:
    """Return what `Retry-After` says: seconds, or a date, measured from that of the answer."""
    text = headers.get(b"retry-after", b"").decode("latin-1")
    if text.isascii() and text.isdigit() and len(text) < 10:  # noqa: PLR2004 - 30 years
        return float(text)
    until_ms, now_ms = (
        parse_date_ms(each) for each in (text, headers.get(b"date", b"").decode("latin-1"))
    )
    return None if until_ms is None or now_ms is None else max(0.0, (until_ms - now_ms) / 1000)


def _name(code: int) -> str:
    return CloseReason(code).name if code in set(CloseReason) else "without a word"
