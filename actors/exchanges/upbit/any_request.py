"""Any signed request to Upbit: which group it counts in, and how its parameters are written."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from typing import Any, Final, TypeAlias

import msgspec

from actors.account_values import AccountAnswer
from actors.errors import InvalidRequest, UnknownGroup
from actors.exchanges.base import ExchangeCall
from actors.exchanges.upbit import account_wire as wire
from actors.exchanges.upbit import limits
from actors.key_messages import AccountRequest

# One value of a body; a float among them has become text.
Scalar: TypeAlias = str | int | bool

_PARAMS_MAX = 100
_VALUE_MAX = 1_000
_DEFAULT = "default"

_PATH = re.compile(r"/[A-Za-z0-9._/-]{1,200}")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}(?:\[\])?")

_GROUPS: Final[dict[tuple[str, str], str]] = {
    ("POST", "/v1/orders"): "order",
    ("POST", "/v1/orders/cancel_and_new"): "order",
    ("POST", "/v1/orders/test"): "order-test",
    ("DELETE", "/v1/orders/open"): "order-cancel-all",
}
# Counted by address. Asked through an account, they would be counted where nobody looks.
_PUBLIC = ("/v1/market", "/v1/candles", "/v1/ticker", "/v1/trades", "/v1/orderbook")


def group_of(method: str, path: str) -> str:
    """Return the group that a private request counts in."""
    return _GROUPS.get((method, _plain(path)), _DEFAULT)


def any_call(request: AccountRequest, holder: str) -> ExchangeCall[AccountAnswer]:
    """Return what to send for a request that has no message of its own.

    Raises:
      InvalidRequest: Its path or a parameter cannot be sent; says which.
      UnknownGroup: There is no such group for accounts.
    """
    method, path = request.method, _path(request.path)
    values = _values(request.params)
    pairs = [
        (f"{name.removesuffix('[]')}[]" if isinstance(value, list) else name, _text(one))
        for name, value in values.items()
        for one in (value if isinstance(value, list) else [value])
    ]
    has_body = bool(pairs) and method not in ("GET", "DELETE")
    # As JSON an array needs no brackets to be one.
    said = {name.removesuffix("[]"): value for name, value in values.items()}
    what = f"{method} {path}"
    return ExchangeCall(
        group=_group(request.group, method, path),
        path=path,
        params=pairs,
        read=partial(wire.read_answer, what=what),
        what=what,
        account=holder,
        idempotent=method == "GET",
        method=method,
        body=msgspec.json.encode(said) if has_body else b"",
    )


def _group(wanted: str, method: str, path: str) -> str:
    if wanted and wanted not in limits.PRIVATE_LIMITS:
        known = ", ".join(limits.PRIVATE_LIMITS)
        raise UnknownGroup(f"upbit: group of an account's request must be {known}, was {wanted!r}")
    own = group_of(method, path)
    # A caller may know more of an endpoint than we do, but not otherwise.
    if wanted and own not in (_DEFAULT, wanted):
        raise InvalidRequest(f"upbit: {method} {path} counts in group {own}, was {wanted}")
    return wanted or own


def _path(path: str) -> str:
    parts = path.split("/")
    if not _PATH.fullmatch(path) or "//" in path or any(part in (".", "..") for part in parts):
        raise InvalidRequest(
            "upbit: path must be as in /v1/status/wallet: letters, digits, dots, hyphens and "
            f"underscores between single slashes; was {path[:80]!r}"
        )
    if _plain(path).startswith(_PUBLIC):
        raise InvalidRequest(f"upbit: {path} is market data, which is asked without an account")
    return path


def _plain(path: str) -> str:
    """Return `path` without what a server might overlook: capitals, a last slash, `.json`."""
    return path.lower().rstrip("/").partition(".")[0]


def _values(params: Mapping[str, Any]) -> dict[str, Scalar | list[Scalar]]:
    if len(params) > _PARAMS_MAX:
        raise InvalidRequest(f"upbit: wanted at most {_PARAMS_MAX} params, was {len(params)}")
    found: dict[str, Scalar | list[Scalar]] = {}
    for name, value in params.items():
        if not _NAME.fullmatch(name):
            raise InvalidRequest(
                f"upbit: names of params are letters, digits and underscores, was {name[:60]!r}"
            )
        if isinstance(value, (list, tuple)):
            if not 1 <= len(value) <= _PARAMS_MAX:
                raise InvalidRequest(
                    f"upbit: params.{name} must hold 1 to {_PARAMS_MAX} values, was {len(value)}"
                )
            found[name] = [_scalar(f"{name}[{at}]", one) for at, one in enumerate(value)]
        else:
            found[name] = _scalar(name, value)
    return found


def _scalar(name: str, value: Any) -> Scalar:
    if isinstance(value, float) and math.isfinite(value):
        # As text: how a server would write a number again, for the hash, is its own affair.
        return format(Decimal(repr(value)), "f")
    if isinstance(value, (str, int)) and len(str(value)) <= _VALUE_MAX:
        return value
    # Its value is not told: this may be an address, or a code for two factors.
    raise InvalidRequest(
        f"upbit: params.{name} must be text of at most {_VALUE_MAX} letters, a number, or a list "
        f"of these; was {type(value).__name__}"
    )


def _text(value: Scalar) -> str:
    """Return a value as it stands in a query, and in what is hashed of a body."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
