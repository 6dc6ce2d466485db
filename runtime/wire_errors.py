"""Errors on the wire: the class a runtime raises is the class its client raises.

JSON-RPC error codes are for programs in other languages; a client of ours goes by the name in
`data.type`. Codes from -32000 to -32099 are the ones JSON-RPC leaves to servers.

Source: JSON-RPC 2.0, section 5.1, https://www.jsonrpc.org/specification.
"""

from __future__ import annotations

from typing import Any

import msgspec

from actors import errors as domain
from runtime.core import errors as core
from runtime.names import printable

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
REMOTE_ERROR = -32000

_CODES: dict[type[Exception], int] = {
    domain.InvalidRequest: INVALID_PARAMS,
    domain.UnknownTimeframe: INVALID_PARAMS,
    domain.UnknownGroup: INVALID_PARAMS,
    domain.UnknownKey: INVALID_PARAMS,
    domain.UnknownNeed: INVALID_PARAMS,
    # Well formed, and still not there: a matter between the caller and the exchange.
    domain.UnknownMarket: -32001,
    domain.MarketDataError: -32002,
    core.DomainError: -32003,
    domain.ExchangeError: -32010,
    domain.ExchangeUnavailable: -32011,
    domain.RateLimited: -32012,
    domain.RequestRejected: -32013,
    domain.MalformedPayload: -32014,
    domain.OutcomeUnknown: -32015,
    domain.StoreError: -32020,
    domain.StoreUnavailable: -32021,
    domain.StoreCorrupt: -32022,
    domain.Overloaded: -32030,
    domain.KeysError: -32060,
    domain.KeysSealed: -32061,
    domain.KeyRefused: -32062,
    domain.AccountClosed: -32063,
    domain.UnlockFailed: -32064,
    domain.VaultDamaged: -32065,
    domain.AuditFailed: -32066,
    core.ActorError: -32040,
    core.ActorNotFound: -32041,
    core.ActorDown: -32042,
    core.ActorRestarted: -32043,
    core.CallTimeout: -32044,
    core.MailboxFull: -32045,
    core.MessageDropped: -32046,
    core.UnhandledRequest: -32047,
    core.HandlerFailed: -32048,
    core.SupervisorError: -32049,
    core.StartFailed: -32050,
}
_TYPES = {kind.__name__: kind for kind in _CODES}

# What an error carries beside its message, by the name of its constructor's argument.
_EXTRAS: dict[type[Exception], str] = {
    domain.RateLimited: "retry_after_s",
    domain.UnlockFailed: "retry_after_s",
    domain.RequestRejected: "code",
}


class RemoteError(core.DomainError):
    """The runtime answered with an error that has no class here, or broke the protocol.

    Attributes:
      code: The JSON-RPC error code.
      retryable: Whether the same request may succeed later.
    """

    def __init__(self, message: str, *, code: int = REMOTE_ERROR, retryable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.retryable = retryable


class WireError(msgspec.Struct, frozen=True):
    """The error object of a JSON-RPC response.

    Attributes:
      code: What kind of error, as a number.
      message: What is wrong, for people; no control characters.
      data: `type`, the name of the error's class, and `retryable`; with some, more.
    """

    code: int
    message: str
    data: dict[str, Any] = {}


def protocol_error(code: int, message: str, **data: object) -> WireError:
    """Return an error of the protocol itself: the request was not understood."""
    kind = "InvalidRequest" if code == INVALID_PARAMS else "ProtocolError"
    return WireError(code, printable(message), {"type": kind, "retryable": False, **data})


def error_to_wire(error: Exception) -> WireError | None:
    """Return `error` for the wire; None if it is none that may be shown, but a defect."""
    kind = next((kind for kind in type(error).__mro__ if kind in _CODES), None)
    if kind is None:
        return None
    data: dict[str, Any] = {
        "type": kind.__name__,
        "retryable": bool(getattr(error, "retryable", False)),
    }
    if kind in _EXTRAS:
        data[_EXTRAS[kind]] = getattr(error, _EXTRAS[kind])
    # A remote error that is passed on keeps the code it came with.
    code = error.code if isinstance(error, RemoteError) else _CODES[kind]
    return WireError(code, printable(str(error)), data)


def error_from_wire(wire: WireError) -> Exception:
    """Return the exception that `wire` stands for, ready to raise."""
    name = wire.data.get("type")
    kind = _TYPES.get(name) if isinstance(name, str) else None
    if kind is None or kind is core.DomainError:
        retryable = wire.data.get("retryable") is True
        return RemoteError(wire.message, code=wire.code, retryable=retryable)
    extra = _EXTRAS.get(kind)
    if extra is not None and extra in wire.data:
        return kind(wire.message, **{extra: wire.data[extra]})
    return kind(wire.message)
