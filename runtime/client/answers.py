"""The client's end of the protocol, without any input or output: requests out, answers in."""

from __future__ import annotations

import operator
from typing import Any, Literal

import msgspec

from actors.errors import InvalidRequest
from actors.key_rules import check_types
from actors.messages import Subscribe
from actors.updates import MarketUpdate
from actors.vault_messages import SecretRequest
from runtime.core.message import Request
from runtime.messages import METHODS
from runtime.names import printable
from runtime.protocol import TIMEOUT_S_MAX, RequestId
from runtime.wire import payload_bytes, result_from_wire
from runtime.wire_errors import RemoteError, WireError, error_from_wire

_NAMES = {kind: name for name, kind in METHODS.items()}


def _plain(value: object) -> object:
    """Return a number of numpy's, which bots compute with, as Python's own."""
    if hasattr(value, "__index__"):
        return operator.index(value)
    raise InvalidRequest(f"a parameter must be text, a number, true or false; was {value!r}")


_encode = msgspec.json.Encoder(enc_hook=_plain).encode


def encode_call(
    request_id: int, message: Request[Any], *, packed: bool = False, timeout_s: float | None = None
) -> bytes:
    """Return the line that asks `message`.

    Raises:
      InvalidRequest: A parameter is of a type that has no form in JSON.
    """
    method = _NAMES[type(message)]
    if isinstance(message, SecretRequest):
        # Bytes would go as base64, and be kept as a key that never works.
        check_types(message)
    request = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": message}
    if packed:
        request["encoding"] = "binary"
    if timeout_s is not None:
        request["timeout_s"] = min(max(timeout_s, 0.001), TIMEOUT_S_MAX)
    try:
        return _encode(request) + b"\n"
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"a parameter of {method} is no text: {error.reason}") from error


class Answer(msgspec.Struct):
    """One answer or notification, as the client reads it.

    Attributes:
      method: What a notification is about; empty for an answer.
      params: What it says, as it came.
      id: Which request it answers; None if the runtime could not tell, or turned us away.
      result: The result, as JSON gave it.
      error: What is wrong, in place of a result.
      payload: The bytes that followed the line.
    """

    jsonrpc: Literal["2.0"]
    method: str = ""
    params: msgspec.Raw = msgspec.Raw(b"")
    id: RequestId = None
    result: Any = None
    error: WireError | None = None
    payload: bytes = b""


class AnswerParser:
    """Make answers out of bytes. The runtime is trusted to keep its lines to a sane length."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._waiting: Answer | None = None
        self._payload_bytes = 0

    @property
    def empty(self) -> bool:
        """Return whether no part of an answer is held."""
        return not self._buffer and self._waiting is None

    def feed(self, data: bytes | bytearray) -> None:
        """Take bytes as they came."""
        self._buffer += data

    def next(self) -> Answer | None:
        """Return the next whole answer; None if more bytes are needed for it.

        Raises:
          RemoteError: What came is no answer; the connection is of no use any more.
        """
        if self._waiting is None:
            line = self._next_line()
            if line is None:
                return None
            self._waiting = _parse_answer(line)
            self._payload_bytes = payload_bytes(self._waiting.result)
        size = self._payload_bytes
        if len(self._buffer) < size:
            return None
        answer, self._waiting = self._waiting, None
        if size:
            with memoryview(self._buffer) as view:
                answer.payload = bytes(view[:size])
            del self._buffer[:size]
        return answer

    def _next_line(self) -> bytes | None:
        end = self._buffer.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._buffer)
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        return line


_decode_answer = msgspec.json.Decoder(Answer).decode


def _parse_answer(line: bytes) -> Answer:
    try:
        return _decode_answer(line)
    except (ValueError, RecursionError) as error:
        shown = printable(line[:80].decode(errors="replace"))
        raise RemoteError(f"what answered is no marketd runtime: {shown!r}") from error


def read_subscribed(request: Subscribe, answer: Answer) -> int:
    """Return the number of the subscription that `answer`, the first on its connection, begins.

    Raises:
      Exception: The answer is an error.
    """
    if answer.error is not None:
        raise error_from_wire(answer.error)
    if answer.id is None:
        raise connection_error(answer)
    begun = result_from_wire(request, answer.result, b"")
    return int(begun.subscription)


class _Updates(msgspec.Struct):
    """What a notification of updates says."""

    subscription: int
    updates: list[MarketUpdate]


_decode_updates = msgspec.json.Decoder(_Updates).decode


def read_updates(answer: Answer, subscription: int) -> list[MarketUpdate]:
    """Return the updates that `answer` brings; none if it is something else.

    Raises:
      RemoteError: They are malformed.
    """
    if answer.method != "update":
        return []
    try:
        told = _decode_updates(answer.params)
    except ValueError as error:
        raise RemoteError(f"the runtime's updates are malformed: {error}") from error
    return told.updates if told.subscription == subscription else []


def connection_error(answer: Answer) -> Exception:
    """Return the error of an answer without an id: about the connection, such as too many."""
    if answer.error is None:
        return RemoteError("the runtime answered without saying what")
    return error_from_wire(answer.error)
