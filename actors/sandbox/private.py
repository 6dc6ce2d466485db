"""The private endpoints of the sandbox exchange: from a signed request to a JSON-able answer.

Source: docs.upbit.com reference, v1.6.4 (2026-09).
"""

from __future__ import annotations

import decimal
import hashlib
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actors.sandbox.accounts import SandboxAccount
from actors.sandbox.ledger import EXACT, Ledger
from actors.sandbox.market import SandboxMarket
from actors.sandbox.payloads import Payload
from actors.sandbox.private_auth import Gate, Visitor
from actors.sandbox.private_orders import OrderBook, SandboxOrder
from actors.sandbox.private_payloads import balance_payload, chance_payload, kst, order_payload
from actors.sandbox.private_words import Words, invalid, read_words

_OPEN_MAX, _CLOSED_MAX, _UUIDS_MAX, _CANCEL_MAX = 100, 1_000, 100, 300
_CANCEL_NAMED_MAX = 20
_CANCEL_USUALLY = 20
_PAGES_MAX = 10_000
_WEEK_MS = 7 * 86_400_000


@dataclass(frozen=True, slots=True)
class Visit:
    """One request, signed and understood.

    Attributes:
      visitor: Who sends it.
      words: What it says.
      now_ms: The market's time.
      markets: What is traded.
      ledger: What the account has.
      orders: What it has ordered.
    """

    visitor: Visitor
    words: Words
    now_ms: int
    markets: Mapping[str, SandboxMarket]
    ledger: Ledger
    orders: OrderBook


Endpoint = Callable[[Visit], Any]


@dataclass(frozen=True, slots=True)
class Route:
    """What answers a method of a path.

    Attributes:
      group: The group it is counted in.
      permission: What the key must be allowed; empty if every key is.
      endpoint: What answers.
      status: The HTTP status of success.
    """

    group: str
    permission: str
    endpoint: Endpoint
    status: int = 200


class PrivateDesk:
    """Serves the holders of accounts.

    Args:
      accounts: Who they are.
      markets: What is traded.

    Raises:
      ValueError: Two accounts or keys are the same, or a balance is no amount.
    """

    def __init__(
        self, accounts: Iterable[SandboxAccount], markets: Mapping[str, SandboxMarket]
    ) -> None:
        found = tuple(accounts)
        self._gate = Gate(found)
        self._markets = markets
        self._ledgers = {account.name: Ledger(account.balances) for account in found}
        self._orders = {
            name: OrderBook(name, ledger, markets) for name, ledger in self._ledgers.items()
        }

    def let_in(self, fields: Mapping[str, str], now_ms: int) -> Visitor:
        """Return who sends a request; see `Gate.let_in`."""
        return self._gate.let_in(fields, now_ms)

    def serve(
        self, route: Route, visitor: Visitor, said: tuple[str, str, bytes], now_ms: int
    ) -> Any:
        """Return the answer to a signed request.

        Args:
          route: What is asked.
          visitor: Who asks.
          said: Its method, query and body as they arrived.
          now_ms: The market's time.

        Raises:
          PrivateRefusal: Upbit would refuse it.
        """
        words = read_words(*said)
        visitor.check(words)
        visitor.may(route.permission)
        name = visitor.account.name
        orders = self._orders[name]
        visit = Visit(visitor, words, now_ms, self._markets, self._ledgers[name], orders)
        with decimal.localcontext(EXACT):
            orders.settle(now_ms)
            return route.endpoint(visit)


def find_route(method: str, path: str) -> Route | None:
    """Return what answers a method of a private path.

    Raises:
      KeyError: The path is not private.
    """
    return _ROUTES[path].get(method)


def is_private(path: str) -> bool:
    """Return whether a path is one of an account."""
    return path in _ROUTES


def _accounts(visit: Visit) -> list[Payload]:
    return [balance_payload(name, held) for name, held in visit.ledger]


def _api_keys(visit: Visit) -> list[Payload]:
    return [
        {"access_key": key.access_key, "expire_at": kst(key.expires_ms)}
        for key in visit.visitor.account.keys
        if key.expires_ms is not None
    ]


def _wallets(visit: Visit) -> list[Payload]:
    names = dict.fromkeys(name for code in visit.markets for name in code.split("-"))
    return [
        {
            "currency": name,
            "wallet_state": "working",
            "block_state": "normal",
            "block_height": None,
            "block_updated_at": None,
            "block_elapsed_minutes": None,
            "net_type": name,
            "network_name": name,
        }
        for name in names
    ]


def _chance(visit: Visit) -> Payload:
    market = visit.markets.get(visit.words.text("market"))
    if market is None:
        raise invalid("market")
    return chance_payload(market, visit.ledger)


def _place(visit: Visit) -> Payload:
    return order_payload(visit.orders.place(visit.words, visit.now_ms))


def _place_test(visit: Visit) -> Payload:
    return order_payload(visit.orders.place(visit.words, visit.now_ms, test=True))


def _order(visit: Visit) -> Payload:
    return order_payload(visit.orders.find(visit.words), trades=True)


def _cancel(visit: Visit) -> Payload:
    return order_payload(visit.orders.cancel(visit.orders.find(visit.words)))


def _open_orders(visit: Visit) -> list[Payload]:
    return _page(visit, _of_states(visit, ("wait", "watch"), usual=("wait",)), _OPEN_MAX)


def _closed_orders(visit: Visit) -> list[Payload]:
    words = visit.words
    start_ms, end_ms = words.moment_ms("start_time"), words.moment_ms("end_time")
    if end_ms is None:
        end_ms = visit.now_ms if start_ms is None else start_ms + _WEEK_MS
    start_ms = end_ms - _WEEK_MS if start_ms is None else start_ms
    if not 0 <= end_ms - start_ms <= _WEEK_MS:
        raise invalid("start_time")
    states = ("done", "cancel")
    found = [
        order
        for order in _of_states(visit, states, usual=states)
        if start_ms <= order.created_ms <= end_ms
    ]
    return _page(visit, found, _CLOSED_MAX)


def _by_names(visit: Visit) -> list[Payload]:
    return _page(visit, _named(visit, _UUIDS_MAX), _UUIDS_MAX)


def _named(visit: Visit, most: int) -> list[SandboxOrder]:
    uuids, identifiers = visit.words.names("uuids"), visit.words.names("identifiers")
    # Either, as Upbit wants it, and not more than it looks up at once.
    if bool(uuids) is bool(identifiers) or len(uuids) + len(identifiers) > most:
        raise invalid("uuids or identifiers")
    market = visit.words.text("market")
    return [
        order
        for order in visit.orders
        if (order.uuid in uuids or (order.wish.identifier in identifiers))
        and market in ("", order.wish.market.code)
    ]


def _of_states(visit: Visit, allowed: Sequence[str], *, usual: Sequence[str]) -> list[SandboxOrder]:
    several, one = visit.words.names("states"), visit.words.names("state")
    wanted = several or one or tuple(usual)
    if (several and one) or not set(wanted) <= set(allowed):
        raise invalid("states")
    market = visit.words.text("market")
    if market and market not in visit.markets:
        raise invalid("market")
    return [
        order
        for order in visit.orders
        if order.state in wanted and market in ("", order.wish.market.code)
    ]


def _page(visit: Visit, found: Sequence[SandboxOrder], most: int) -> list[Payload]:
    words = visit.words
    limit = words.whole("limit", default=min(100, most), most=most)
    page = words.whole("page", default=1, most=_PAGES_MAX)
    newest_first = words.one_of("order_by", ("desc", "asc"), "desc") == "desc"
    ordered = found[::-1] if newest_first else found
    return [order_payload(order) for order in ordered[(page - 1) * limit : page * limit]]


def _cancel_open(visit: Visit) -> Payload:
    words = visit.words
    side = words.one_of("cancel_side", ("all", "ask", "bid"), "all")
    count = words.whole("count", default=_CANCEL_USUALLY, most=_CANCEL_MAX)
    newest_first = words.one_of("order_by", ("desc", "asc"), "desc") == "desc"
    pairs, quotes = words.names("pairs"), words.names("quote_currencies")
    if pairs and quotes:
        raise invalid("pairs or quote_currencies")
    spared = words.names("excluded_pairs")
    found = [
        order
        for order in visit.orders
        if order.state == "wait"
        and side in ("all", order.wish.side)
        and (not pairs or order.wish.market.code in pairs)
        and (not quotes or order.wish.quote in quotes)
        and order.wish.market.code not in spared
    ]
    return _cancel_all(visit, (found[::-1] if newest_first else found)[:count])


def _cancel_named(visit: Visit) -> Payload:
    return _cancel_all(visit, _named(visit, _CANCEL_NAMED_MAX))


def _cancel_all(visit: Visit, found: Iterable[SandboxOrder]) -> Payload:
    sides: dict[str, list[Payload]] = {"success": [], "failed": []}
    for order in found:
        row = {"uuid": order.uuid, "market": order.wish.market.code}
        if order.state == "wait":
            visit.orders.cancel(order)
            sides["success"].append(row)
        else:
            sides["failed"].append(row)
    return {name: {"count": len(rows), "orders": rows} for name, rows in sides.items()}


def _withdraw(visit: Visit) -> Payload:
    """Answer as if it were on its way. Nothing leaves the account: there is nowhere to go."""
    words = visit.words
    amount = words.amount("amount")
    if not words.text("currency") or amount is None:
        raise invalid("currency or amount")
    seed = hashlib.sha256(f"{visit.visitor.account.name}/{words.said}/{visit.now_ms}".encode())
    return {
        "type": "withdraw",
        "uuid": str(uuid.UUID(bytes=seed.digest()[:16], version=4)),
        "currency": words.text("currency"),
        "net_type": words.text("net_type") or words.text("currency"),
        "txid": None,
        "state": "WAITING",
        "created_at": kst(visit.now_ms),
        "done_at": None,
        "amount": words.text("amount"),
        "fee": "0",
        "transaction_type": words.text("transaction_type") or "default",
        "is_cancelable": False,
    }


_ROUTES: Mapping[str, Mapping[str, Route]] = {
    "/v1/accounts": {"GET": Route("default", "view_account", _accounts)},
    "/v1/api_keys": {"GET": Route("default", "", _api_keys)},
    "/v1/status/wallet": {"GET": Route("default", "view_account", _wallets)},
    "/v1/orders/chance": {"GET": Route("default", "view_orders", _chance)},
    "/v1/order": {
        "GET": Route("default", "view_orders", _order),
        "DELETE": Route("default", "make_orders", _cancel),
    },
    "/v1/orders": {"POST": Route("order", "make_orders", _place, 201)},
    "/v1/orders/test": {"POST": Route("order-test", "make_orders", _place_test, 201)},
    "/v1/orders/open": {
        "GET": Route("default", "view_orders", _open_orders),
        "DELETE": Route("order-cancel-all", "make_orders", _cancel_open),
    },
    "/v1/orders/closed": {"GET": Route("default", "view_orders", _closed_orders)},
    "/v1/orders/uuids": {
        "GET": Route("default", "view_orders", _by_names),
        "DELETE": Route("default", "make_orders", _cancel_named),
    },
    "/v1/withdraws/coin": {"POST": Route("default", "withdraw", _withdraw, 201)},
}
