"""`UpbitAccounts`: what is asked about an account, in Upbit's words. It cannot sign or send.

Source: https://docs.upbit.com/kr/reference/new-order and its siblings, read 2026-11-21.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from actors.account_values import ApiKey, Balance, Order, OrderChance
from actors.errors import InvalidRequest
from actors.exchanges.accounts import AccountAdapter, is_other
from actors.exchanges.base import ExchangeCall, Response
from actors.exchanges.upbit import account_wire as wire
from actors.exchanges.upbit.any_request import any_call, group_of
from actors.exchanges.upbit.values import EXCHANGE
from actors.key_messages import (
    AccountRequest,
    CancelOrder,
    GetApiKeys,
    GetBalances,
    GetOrder,
    GetOrderChance,
    GetOrders,
    PlaceOrder,
)
from runtime.core.message import Request

Params = Sequence[tuple[str, str]]

_ORDERS_MAX = {"open": 100, "closed": 1_000}
_STATES = {"open": ("wait", "watch"), "closed": ("done", "cancel")}

_CODE = re.compile(r"[A-Z0-9]{1,20}-[A-Z0-9.]{1,20}")
# No blanks and nothing invisible, so that it is the same in a URL, in JSON and in a hash.
_NAME = re.compile(r"[!-~]{1,100}")
# A plain decimal number: no sign, no exponent, no separator. A bound, because it is sent on.
_AMOUNT = re.compile(r"(?:0|[1-9][0-9]{0,19})(?:\.[0-9]{1,20})?")

# What each kind of order must say, by side; the rest it must not.
_NEEDED: Final[dict[tuple[str, str], tuple[str, ...]]] = {
    ("limit", "bid"): ("price", "volume"),
    ("limit", "ask"): ("price", "volume"),
    ("price", "bid"): ("price",),
    ("market", "ask"): ("volume",),
    ("best", "bid"): ("price",),
    ("best", "ask"): ("volume",),
}
_FORCES: Final[dict[str, tuple[str, ...]]] = {
    "limit": ("", "ioc", "fok", "post_only"),
    "price": ("",),
    "market": ("",),
    "best": ("ioc", "fok"),
}


class UpbitAccounts(AccountAdapter):
    """Upbit's account language.

    Attributes:
      name: `upbit`.
    """

    name = EXCHANGE

    def call(
        self, request: Request[Any], holder: str, *, is_own: Callable[[str], bool] = is_other
    ) -> ExchangeCall[Any]:
        """Return what to send for one of `actors.key_messages.ACCOUNT_CALLS`.

        Args:
          request: What is asked.
          holder: Whose limits it counts in; becomes the call's `account`.
          is_own: Tells whether an access key is the one that asks.

        Raises:
          InvalidRequest: It cannot be asked so; says what is wanted, what was there and where.
        """
        if isinstance(request, GetApiKeys):
            return _keys(holder, is_own)
        make = _CALLS.get(type(request))
        if make is None:
            raise InvalidRequest(f"upbit: {type(request).__name__} is nothing an account is asked")
        return make(request, holder)


def _balances(_request: GetBalances, holder: str) -> ExchangeCall[tuple[Balance, ...]]:
    # Not "balances": what follows them and a colon is taken for an amount, and hidden.
    what = "what the account holds"
    return _get("/v1/accounts", (), partial(wire.read_balances, what=what), what, holder)


def _chance(request: GetOrderChance, holder: str) -> ExchangeCall[OrderChance]:
    market = _market(request.market)
    what = f"order chance {market}"
    read = partial(wire.read_chance, market=market, what=what)
    return _get("/v1/orders/chance", (("market", market),), read, what, holder)


def _order(request: GetOrder, holder: str) -> ExchangeCall[Order]:
    name = _one_name(request)
    what = f"order by {name[0]}"
    return _get("/v1/order", (name,), partial(wire.read_order, what=what), what, holder)


def _orders(request: GetOrders, holder: str) -> ExchangeCall[tuple[Order, ...]]:
    state, count = request.state, request.count
    most = _ORDERS_MAX.get(state)
    if most is None:
        raise InvalidRequest(f"upbit: state of orders must be open or closed, was {state!r}")
    if not 1 <= count <= most:
        raise InvalidRequest(f"upbit: count of {state} orders must be 1 to {most}, was {count}")
    params = [("market", _market(request.market))] if request.market else []
    params += [("states[]", name) for name in _STATES[state]]
    params += [("limit", str(count)), ("order_by", "desc")]
    what = f"{state} orders {request.market}".rstrip()
    read = partial(wire.read_orders, count=count, what=what)
    return _get(f"/v1/orders/{state}", params, read, what, holder)


def _keys(holder: str, is_own: Callable[[str], bool]) -> ExchangeCall[tuple[ApiKey, ...]]:
    what = "API keys"
    return _get("/v1/api_keys", (), partial(wire.read_keys, is_own=is_own, what=what), what, holder)


def _place(request: PlaceOrder, holder: str) -> ExchangeCall[Order]:
    params = _order_params(request)
    path = "/v1/orders/test" if request.test else "/v1/orders"
    # Without amounts: it goes into errors and logs.
    what = f"{'test ' if request.test else ''}{request.type} {request.side} {request.market}"
    return ExchangeCall(
        group=group_of("POST", path),
        path=path,
        params=params,
        read=partial(wire.read_order, what=what),
        what=what,
        account=holder,
        # Sent twice it may buy twice; one that is only checked buys nothing.
        idempotent=request.test,
        method="POST",
        body=msgspec.json.encode(dict(params)),
    )


def _cancel(request: CancelOrder, holder: str) -> ExchangeCall[Order]:
    name = _one_name(request)
    what = f"cancel by {name[0]}"
    return ExchangeCall(
        group=group_of("DELETE", "/v1/order"),
        path="/v1/order",
        params=(name,),
        read=partial(wire.read_order, what=what),
        what=what,
        account=holder,
        method="DELETE",
    )


def _get(
    path: str, params: Params, read: Callable[[Response], Any], what: str, holder: str
) -> ExchangeCall[Any]:
    return ExchangeCall(
        group=group_of("GET", path), path=path, params=params, read=read, what=what, account=holder
    )


def _order_params(request: PlaceOrder) -> list[tuple[str, str]]:
    """Return what an order says, in the order it is sent and signed."""
    kind, side, force = request.type, request.side, request.time_in_force
    needed = _NEEDED.get((kind, side))
    if needed is None:
        raise InvalidRequest(
            f"upbit: an order must be limit or best, price to bid or market to ask; was {kind} "
            f"to {side}"
        )
    forces = _FORCES[kind]
    if force not in forces:
        wanted = " or ".join(name or "empty" for name in forces)
        raise InvalidRequest(
            f"upbit: time_in_force of {kind} orders must be {wanted}, was {force or 'empty'}"
        )
    if force == "post_only" and request.smp_type:
        raise InvalidRequest(
            f"upbit: an order that is post_only takes no smp_type, was {request.smp_type}"
        )
    params = [("market", _market(request.market)), ("side", side), ("ord_type", kind)]
    params += _amounts(request, needed)
    if request.identifier:
        params.append(("identifier", _name("identifier", request.identifier)))
    more = (("time_in_force", force), ("smp_type", request.smp_type))
    return params + [(name, value) for name, value in more if value]


def _amounts(request: PlaceOrder, needed: Sequence[str]) -> list[tuple[str, str]]:
    found = []
    for name in ("price", "volume"):
        text = getattr(request, name)
        if name in needed:
            found.append((name, _amount(name, text)))
        elif text:
            raise InvalidRequest(
                f"upbit: {request.type} orders to {request.side} take {' and '.join(needed)}, "
                f"and no {name}"
            )
    return found


def _amount(name: str, text: str) -> str:
    # What was there is said only if it is no number: an amount is the caller's own affair.
    if not _AMOUNT.fullmatch(text):
        raise InvalidRequest(
            f"upbit: {name} must be a decimal number above 0 as text, such as 5000 or 0.0012, "
            f"without sign or exponent; was {text[:40]!r}"
        )
    if not text.strip("0."):
        raise InvalidRequest(f"upbit: {name} must be above 0, was {text}")
    return text


def _market(code: str) -> str:
    if not _CODE.fullmatch(code):
        raise InvalidRequest(f"upbit: market must be written as in KRW-BTC, was {code[:60]!r}")
    return code


def _name(field: str, text: str) -> str:
    if not _NAME.fullmatch(text):
        raise InvalidRequest(
            f"upbit: {field} must be 1 to 100 letters, digits or signs without blanks, was "
            f"{text[:60]!r}"
        )
    return text


def _one_name(request: GetOrder | CancelOrder) -> tuple[str, str]:
    """Return the one of its two names that an order is asked for by."""
    names = [(field, getattr(request, field)) for field in ("uuid", "identifier")]
    given = [(field, _name(field, text)) for field, text in names if text]
    if len(given) != 1:
        raise InvalidRequest(
            f"upbit: an order is named by its uuid or its identifier, one of them; was {len(given)}"
        )
    return given[0]


_CALLS: Final[dict[type[Request[Any]], Callable[[Any, str], ExchangeCall[Any]]]] = {
    GetBalances: _balances,
    GetOrderChance: _chance,
    GetOrder: _order,
    GetOrders: _orders,
    PlaceOrder: _place,
    CancelOrder: _cancel,
    AccountRequest: any_call,
}
