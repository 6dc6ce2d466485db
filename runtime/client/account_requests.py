"""The messages behind the account clients' methods, made from what a bot hands in."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from decimal import Decimal
from numbers import Real
from typing import Any, Literal

from actors.errors import InvalidRequest
from actors.key_messages import AccountRequest, PlaceOrder

# Text, digit for digit; or a number that is exact.
Amount = str | int | Decimal

_DIGITS_MAX = 100

Side = Literal["bid", "ask"]
OrderType = Literal["limit", "price", "market", "best"]
TimeInForce = Literal["", "ioc", "fok", "post_only"]
SmpType = Literal["", "reduce", "cancel_maker", "cancel_taker"]
Method = Literal["GET", "POST", "PUT", "DELETE"]


def place_request(
    account: str,
    market: str,
    side: Side,
    type_: OrderType,
    *,
    price: Amount | None,
    volume: Amount | None,
    identifier: str,
    time_in_force: TimeInForce,
    smp_type: SmpType,
    test: bool,
) -> PlaceOrder:
    """Return the request; raises `InvalidRequest` for an amount that is not exact."""
    return PlaceOrder(
        account=account,
        market=market,
        side=side,
        type=type_,
        price=_amount(price, "price"),
        volume=_amount(volume, "volume"),
        identifier=identifier,
        time_in_force=time_in_force,
        smp_type=smp_type,
        test=test,
    )


def any_request(
    account: str, method: Method, path: str, params: Mapping[str, Any] | None, group: str
) -> AccountRequest:
    """Return the request; raises `InvalidRequest` for a number that is not exact."""
    return AccountRequest(
        account=account,
        method=method,
        path=path,
        params={name: _exact(value, name) for name, value in (params or {}).items()},
        group=group,
    )


def _amount(value: Amount | None, name: str) -> str:
    if isinstance(value, bool):
        raise InvalidRequest(f"{name} must be a number, was {value}")
    return "" if value is None else str(_exact(value, name))


def _exact(value: Any, name: str) -> Any:
    if isinstance(value, list | tuple):
        return [_exact(each, name) for each in value]
    if isinstance(value, Decimal):
        return _digits(value, name)
    if isinstance(value, bool):
        return value
    if isinstance(value, Real):
        if not hasattr(value, "__index__"):
            # 0.1 + 0.2 is not 0.3 to a float, numpy's included, and an order is for keeps.
            raise InvalidRequest(
                f"{name} must be exact: text, Decimal or a whole number; was the float {value!r}"
            )
        return operator.index(value)
    return value


def _digits(value: Decimal, name: str) -> str:
    if not value.is_finite():
        raise InvalidRequest(f"{name} must be a number, was {value}")
    # Written out, 1e999999999 would fill the memory.
    if value and not -_DIGITS_MAX < value.adjusted() < _DIGITS_MAX:
        raise InvalidRequest(f"{name} must have at most {_DIGITS_MAX} digits, was {value}")
    # As the digits say; a zero may have any exponent.
    return format(value, "f") if value else "0"
