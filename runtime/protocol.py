"""JSON-RPC 2.0, one object a line, without any input or output of its own.

This is the runtime's end: bytes in, `Call`s and `Refusal`s out. The client's is
`runtime.client.answers`. Beside JSON-RPC's own members a request may carry two of ours: `encoding`,
which is `json` or, for candles, `binary` (see `runtime.wire`); and `timeout_s`, after which nobody
waits for the answer.

Parameters go by name. A batch (an array of requests) is refused: requests on one connection are
worked on side by side anyway, each is answered as soon as it is done, and one batch would make the
quickest answer wait for the slowest.

Source: https://www.jsonrpc.org/specification.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from runtime.core.message import Request
from runtime.messages import METHODS
from runtime.names import did_you_mean, printable
from runtime.wire import result_to_wire
from runtime.wire_errors import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    WireError,
    protocol_error,
)

# Refused lines in a row after which the other side is taken for a flood and not for a client.
REFUSALS_MAX = 100
# How far beyond the bound a line is skipped before the connection is given up. Skipping costs next
# to nothing, so a client that sends 100 MB by mistake still gets its error and lives.
SKIP_FACTOR = 256
TIMEOUT_S_MAX = 3_600.0
_ID_CHARS_MAX = 128
_ID_MAX = 2**53

RequestId = str | int | None

_MEMBERS = ("jsonrpc", "id", "method", "params", "encoding", "timeout_s")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Call:
    """A request that is well formed.

    Attributes:
      id: Names the answer.
      message: What is asked.
      answered: Whether an answer is wanted; not for a notification, which has no id.
      packed: Whether candles are wanted as packed columns.
      timeout_s: How long the client waits, in seconds; None if it does not say.
    """

    id: RequestId
    message: Request[Any]
    answered: bool = True
    packed: bool = False
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A line that is no request, and what is to be said of it.

    Attributes:
      id: The request's, as far as it could be read; None else.
      error: What is wrong.
      answered: Whether to say so; a wrong notification is dropped in silence, as JSON-RPC wants.
    """

    id: RequestId
    error: WireError
    answered: bool = True


class Malformed(Exception):
    """A request that cannot be served.

    Attributes:
      error: What is wrong, for the wire.
    """

    def __init__(self, error: WireError) -> None:
        super().__init__(error.message)
        self.error = error


class RequestParser:
    """Make requests out of bytes, whatever the bytes.

    Bounds: holds `line_bytes_max` and what one `feed` brings.

    Attributes:
      flooded: Nothing sensible has come for so long that the connection should be closed.

    Args:
      line_bytes_max: Longest line, in bytes, without its end.
    """

    def __init__(self, line_bytes_max: int) -> None:
        self.flooded = False
        self._line_bytes_max = line_bytes_max
        self._buffer = bytearray()
        self._searched = 0
        self._skipped = 0
        self._refused = 0

    def feed(self, data: bytes | bytearray) -> None:
        """Take bytes as they came."""
        self._buffer += data

    def next(self) -> Call | Refusal | None:
        """Return what the next line is; None if more bytes are needed for it."""
        while not self.flooded:
            line = self._next_line()
            if line is None:
                return None
            if isinstance(line, Refusal):
                return self._count(line)
            if not line.isspace() and line:
                return self._count(parse_line(line))
        return None

    def _count(self, parsed: Call | Refusal) -> Call | Refusal:
        self._refused = self._refused + 1 if isinstance(parsed, Refusal) else 0
        self.flooded = self.flooded or self._refused >= REFUSALS_MAX
        return parsed

    def _next_line(self) -> bytes | Refusal | None:
        buffer = self._buffer
        end = buffer.find(b"\n", self._searched)
        self._searched = 0 if end >= 0 else len(buffer)
        if self._skipped:
            return self._skip(end)
        if (end if end >= 0 else len(buffer)) > self._line_bytes_max:
            self._skip(end)
            limit = self._line_bytes_max
            message = (
                f"a request must be at most {limit} bytes long; the rest of the line is skipped"
            )
            return Refusal(None, protocol_error(INVALID_REQUEST, message))
        if end < 0:
            return None
        line = bytes(buffer[:end])
        del buffer[: end + 1]
        return line

    def _skip(self, end: int) -> bytes | None:
        """Drop what there is of a line that is too long; an empty line when its end was found."""
        cut = end + 1 if end >= 0 else len(self._buffer)
        self._skipped += cut
        self._searched = 0
        del self._buffer[:cut]
        if end < 0:
            self.flooded = self._skipped > self._line_bytes_max * SKIP_FACTOR
            return None
        self._skipped = 0
        return b""


def parse_line(line: bytes) -> Call | Refusal:
    """Return what one line says; never raises."""
    try:
        request = _decode(line)
    except (ValueError, RecursionError) as error:
        return Refusal(None, protocol_error(PARSE_ERROR, f"the line is not JSON: {error}"))
    if not isinstance(request, dict):
        kind = "batches are not served" if isinstance(request, list) else "it is not an object"
        message = f"a request must be one JSON object a line: {kind}"
        return Refusal(None, protocol_error(INVALID_REQUEST, message))
    request_id = request.get("id")
    if not _is_id(request_id):
        message = f"id must be a whole number or a text of at most {_ID_CHARS_MAX} characters"
        return Refusal(None, protocol_error(INVALID_REQUEST, message))
    answered = "id" in request
    try:
        return _parse_call(request, request_id, answered=answered)
    except Malformed as malformed:
        # Without a method it was no notification, only something without an id.
        said = answered or malformed.error.code == INVALID_REQUEST
        return Refusal(request_id, malformed.error, answered=said)


def parse_message(method: str, params: Any) -> Request[Any]:
    """Return the message that `method` and `params` make.

    Raises:
      Malformed: There is no such method, or a parameter is unknown, missing or of a wrong type.
    """
    kind = METHODS.get(method)
    if kind is None:
        name = printable(method, 60)
        advice = did_you_mean(name, METHODS)
        raise Malformed(protocol_error(METHOD_NOT_FOUND, f"there is no method {name!r}{advice}"))
    if not isinstance(params, dict):
        raise Malformed(protocol_error(INVALID_PARAMS, "params must be an object: they go by name"))
    try:
        message: Request[Any] = msgspec.convert(params, kind)
    except msgspec.ValidationError as error:
        raise Malformed(_bad_params(method, kind, params, str(error))) from None
    return message


def encode_result(
    call: Call, value: Any, mask: Callable[[bytes], bytes] | None = None
) -> Iterator[bytes]:
    """Return the answer to `call`, piece by piece; together they are one line and what follows it.

    Args:
      call: What was asked.
      value: The answer.
      mask: What the result as JSON goes through, if anything.

    Raises:
      Exception: `value` is not what the request is answered with, a defect of the runtime.
    """
    pieces, payload = result_to_wire(call.message, value, packed=call.packed)
    if mask is not None:
        pieces = iter((mask(b"".join(pieces)),))
    start = b'{"jsonrpc":"2.0","id":%b,"result":' % _encode(call.id)
    first = next(pieces)
    second = next(pieces, None)
    if second is None:
        yield b"".join((start, first, b"}\n", payload))
        return
    yield b"".join((start, first, second))
    yield from pieces
    yield b"}\n"


def encode_error(request_id: RequestId, error: WireError) -> bytes:
    """Return the line that says what is wrong."""
    return _encode({"jsonrpc": "2.0", "id": request_id, "error": error}) + b"\n"


def _is_id(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= _ID_CHARS_MAX
    # A fraction would be a legal id, and never the same twice: 1.0 is 1 to one and not to another.
    return value is None or (type(value) is int and -_ID_MAX <= value <= _ID_MAX)


def _parse_call(request: Mapping[str, Any], request_id: RequestId, *, answered: bool) -> Call:
    if request.get("jsonrpc") != "2.0" or not isinstance(request.get("method"), str):
        raise _invalid('a request needs "jsonrpc": "2.0" and a "method"')
    for member in request:
        if member not in _MEMBERS:
            name = printable(member, 60)
            raise _invalid(f"a request has no member {name!r}{did_you_mean(name, _MEMBERS)}")
    message = parse_message(request["method"], request.get("params", {}))
    return Call(
        request_id,
        message,
        answered,
        _parse_encoding(request.get("encoding", "json"), request["method"]),
        _parse_timeout_s(request.get("timeout_s")),
    )


def _parse_encoding(encoding: Any, method: str) -> bool:
    if encoding not in ("json", "binary"):
        raise _invalid('encoding must be "json" or "binary"')
    if encoding == "binary" and method != "candles":
        raise _invalid(f"only candles come in binary; {method} comes as JSON")
    return bool(encoding == "binary")


def _parse_timeout_s(timeout_s: Any) -> float | None:
    if timeout_s is None:
        return None
    if type(timeout_s) not in (int, float) or not 0 < timeout_s <= TIMEOUT_S_MAX:
        raise _invalid(f"timeout_s must be a number above 0 and at most {TIMEOUT_S_MAX:g}")
    return float(timeout_s)


def _invalid(message: str) -> Malformed:
    return Malformed(protocol_error(INVALID_REQUEST, message))


def _bad_params(
    method: str, kind: type[Request[Any]], params: Mapping[str, Any], reason: str
) -> WireError:
    fields = kind.__struct_fields__
    for name in params:
        if name not in fields:
            shown = printable(name, 60)
            advice = did_you_mean(shown, fields)
            message = f"{method} has no parameter {shown!r}{advice}"
            return protocol_error(INVALID_PARAMS, message, parameter=shown)
    # msgspec says "Expected `int`, got `str` - at `$.count`", or which required field is missing.
    wrong = re.fullmatch(r"(.*) - at `\$\.(.*)`", reason)
    if wrong:
        what, name = wrong[1][0].lower() + wrong[1][1:], wrong[2]
        # Not "name: what": what follows the name of a secret and a colon is taken for the secret.
        message = f"{method} has a wrong parameter, {name} ({what})"
        return protocol_error(INVALID_PARAMS, message, parameter=name)
    required = re.fullmatch(r"Object missing required field `(.*)`", reason)
    if required:
        message = f"{method} needs the parameter {required[1]!r}"
        return protocol_error(INVALID_PARAMS, message, parameter=required[1])
    return protocol_error(INVALID_PARAMS, f"{method} cannot be asked so: {reason}")
