"""Upbit's answers about an account as they are on the wire, and what is made of them.

Every function raises `MalformedPayload` for a body that breaks what Upbit documents, and nothing
else, whatever the bytes. Amounts stay the text that was sent, digit for digit.

Source: docs.upbit.com reference, v1.6.4 (2026-09).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar

import msgspec

from actors.account_values import AccountAnswer, ApiKey, Balance, Order, OrderChance
from actors.exchanges.base import Response
from actors.exchanges.upbit.values import invalid, malformed

T = TypeVar("T")

_HINT_LETTERS = 4

Short = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Words = Annotated[str, msgspec.Meta(max_length=200)]
_NUMBER = r"^[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?\Z"
# Documented as text. A number is taken as well, because that is what it is in the private streams.
Amount: TypeAlias = (
    Annotated[str, msgspec.Meta(max_length=100, pattern=_NUMBER)]
    | Annotated[int, msgspec.Meta(ge=0)]
)
Side = Literal["bid", "ask"]


class BalanceRow(msgspec.Struct):
    """A row of /v1/accounts."""

    currency: Short
    balance: Amount
    locked: Amount
    avg_buy_price: Amount = "0"
    unit_currency: Words = ""


class OrderRow(msgspec.Struct):
    """An order, wherever it is told of."""

    uuid: Short
    market: Short
    side: Side
    ord_type: Short
    state: Short
    created_at: Words = ""
    price: Amount | None = None
    volume: Amount | None = None
    remaining_volume: Amount | None = None
    executed_volume: Amount | None = None
    paid_fee: Amount | None = None
    locked: Amount | None = None
    identifier: Words | None = None
    time_in_force: Words | None = None


class ChanceSide(msgspec.Struct):
    """One side of a market."""

    min_total: Amount


class ChanceMarket(msgspec.Struct):
    """The market of /v1/orders/chance."""

    id: Short
    bid: ChanceSide
    ask: ChanceSide
    bid_types: list[Short] = []
    ask_types: list[Short] = []
    max_total: Amount | None = None
    state: Words = ""


class Chance(msgspec.Struct):
    """The body of /v1/orders/chance."""

    bid_fee: Amount
    ask_fee: Amount
    market: ChanceMarket
    bid_account: BalanceRow
    ask_account: BalanceRow


class KeyRow(msgspec.Struct):
    """A row of /v1/api_keys."""

    access_key: Annotated[str, msgspec.Meta(min_length=8, max_length=200)]
    expire_at: Annotated[datetime, msgspec.Meta(tz=True)]


# A float keeps its digits only as the text it was written in.
_EXACT: Final = msgspec.json.Decoder(float_hook=str)


def read_balances(response: Response, *, what: str) -> tuple[Balance, ...]:
    """Return what the account has."""
    rows = _read(response, list[BalanceRow], what)
    names = [row.currency for row in rows]
    if len(set(names)) < len(names):
        raise malformed(what, "wanted each currency once, was one twice")
    return tuple(_balance(row) for row in rows)


def read_order(response: Response, *, what: str) -> Order:
    """Return one order."""
    return _order(_read(response, OrderRow, what))


def read_orders(response: Response, *, count: int, what: str) -> tuple[Order, ...]:
    """Return the orders of one page, of at most `count`."""
    rows = _read(response, list[OrderRow], what)
    if len(rows) > count:
        raise malformed(what, f"wanted at most {count} rows, was {len(rows)}")
    return tuple(map(_order, rows))


def read_chance(response: Response, *, market: str, what: str) -> OrderChance:
    """Return what could be ordered in `market`."""
    row = _read(response, Chance, what)
    if row.market.id != market:
        raise malformed(what, f"wanted market {market}, was {row.market.id[:40]!r}")
    return OrderChance(
        market=market,
        bid_fee=str(row.bid_fee),
        ask_fee=str(row.ask_fee),
        bid_min_total=str(row.market.bid.min_total),
        ask_min_total=str(row.market.ask.min_total),
        max_total="" if row.market.max_total is None else str(row.market.max_total),
        bid_types=tuple(row.market.bid_types),
        ask_types=tuple(row.market.ask_types),
        state=row.market.state,
        bid_account=_balance(row.bid_account),
        ask_account=_balance(row.ask_account),
    )


def read_keys(
    response: Response, *, is_own: Callable[[str], bool], what: str
) -> tuple[ApiKey, ...]:
    """Return the account's keys, masked; `is_own` tells which of them asked."""
    return tuple(
        ApiKey(
            hint=row.access_key[:_HINT_LETTERS],
            # Its zone is Korea's; what counts is the moment.
            expires_ms=round(row.expire_at.timestamp() * 1000),
            own=is_own(row.access_key),
        )
        for row in _read(response, list[KeyRow], what)
    )


def read_answer(response: Response, *, what: str) -> AccountAnswer:
    """Return the body as it is, if it is JSON."""
    return AccountAnswer(data=_decode(response.body, what) if response.body else None)


def _read(response: Response, form: type[T], what: str) -> T:
    try:
        return msgspec.convert(_decode(response.body, what), form)
    except msgspec.ValidationError as error:
        raise invalid(what, error) from None


def _decode(body: bytes, what: str) -> Any:
    try:
        return _EXACT.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        # Without the error's cause: it would keep the body, and with it what the account has.
        raise malformed(what, f"wanted JSON: {str(error)[:100]}") from None


def _balance(row: BalanceRow) -> Balance:
    return Balance(
        currency=row.currency,
        balance=str(row.balance),
        locked=str(row.locked),
        avg_buy_price=str(row.avg_buy_price),
        unit_currency=row.unit_currency,
    )


def _order(row: OrderRow) -> Order:
    return Order(
        uuid=row.uuid,
        market=row.market,
        side=row.side,
        type=row.ord_type,
        state=row.state,
        created_at=row.created_at,
        price=_text(row.price),
        volume=_text(row.volume),
        remaining_volume=_text(row.remaining_volume),
        executed_volume=_text(row.executed_volume) or "0",
        paid_fee=_text(row.paid_fee) or "0",
        locked=_text(row.locked) or "0",
        identifier=row.identifier or "",
        time_in_force=row.time_in_force or "",
    )


def _text(amount: str | int | None) -> str | None:
    return None if amount is None else str(amount)
