"""The commands `marketd account NAME …`: one account at an exchange, signed inside the runtime."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any, Literal
from uuid import uuid4

from actors.errors import InvalidRequest, OutcomeUnknown
from actors.key_messages import (
    AccountRequest,
    CancelOrder,
    GetApiKeys,
    GetBalances,
    GetOrder,
    GetOrderChance,
    GetOrders,
    InvalidateAccount,
    OpenAccount,
    PlaceOrder,
)
from actors.key_rules import split_name
from actors.outcomes import in_doubt
from runtime.cli_keys import confirm, left, show
from runtime.cli_parts import add_part
from runtime.client.blocking import BlockingClient
from runtime.core.message import Request

Make = Callable[[str, argparse.Namespace], Request[Any]]


def add_account(account: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """Add what stands below the command `account`."""
    account.add_argument("name", metavar="NAME", help="its key, such as upbit:main")
    parts = account.add_subparsers(dest="what", metavar="WHAT", title="WHAT", required=True)
    _add_looks(parts, common)
    _add_orders(parts, common)
    anything = _part(parts, common, "request", "any signed request", _request)
    anything.add_argument("method", metavar="METHOD", choices=("GET", "POST", "PUT", "DELETE"))
    anything.add_argument("path", metavar="PATH", help="such as /v1/status/wallet")
    anything.add_argument("params", metavar="NAME=VALUE", nargs="*", help="in this order")
    anything.add_argument("--group", metavar="NAME", default="", help="its rate-limit group")
    _add_yes(anything)
    close = parts.add_parser(
        "close", help="end its account client, for everybody", parents=[common]
    )
    close.set_defaults(run=_close)


def _part(
    parts: Any, common: argparse.ArgumentParser, name: str, help_text: str, make: Make
) -> argparse.ArgumentParser:
    return add_part(parts, [common], name, help_text, run=_run(make))


def _add_yes(part: argparse.ArgumentParser) -> None:
    part.add_argument("--yes", action="store_true", help="do not ask")


def _add_looks(parts: Any, common: argparse.ArgumentParser) -> None:
    _part(parts, common, "balances", "what it has", lambda each, _: GetBalances(account=each))
    chance = _part(parts, common, "chance", "what could be ordered in a market", _chance)
    chance.add_argument("market", metavar="MARKET", help="such as KRW-BTC")
    orders = _part(parts, common, "orders", "open orders, or closed ones", _orders)
    orders.add_argument("--closed", action="store_true", help="those that are not open any more")
    orders.add_argument("--market", metavar="MARKET", default="", help="only of this one")
    orders.add_argument("--count", metavar="N", type=int, default=100, help="the newest so many")
    keys = "the API keys of the account, masked, with their ends"
    _part(parts, common, "keys", keys, lambda each, _: GetApiKeys(account=each))


def _add_orders(parts: Any, common: argparse.ArgumentParser) -> None:
    order = _part(parts, common, "order", "one order", _order)
    _add_order_name(order)
    place = _part(parts, common, "place", "place an order", _place)
    place.add_argument("market", metavar="MARKET", help="such as KRW-BTC")
    place.add_argument("side", choices=("bid", "ask"), help="bid buys, ask sells")
    place.add_argument("type", choices=("limit", "price", "market", "best"), nargs="?")
    place.set_defaults(type="limit")
    place.add_argument("--price", metavar="P", default="", help="for how much")
    place.add_argument("--volume", metavar="V", default="", help="how much")
    place.add_argument(
        "--identifier", metavar="ID", default="", help="your own name for it; made up if not given"
    )
    place.add_argument("--force", choices=("ioc", "fok", "post_only"), default="")
    place.add_argument("--smp", choices=("reduce", "cancel_maker", "cancel_taker"), default="")
    place.add_argument("--test", action="store_true", help="only let the exchange check it")
    _add_yes(place)
    cancel = _part(parts, common, "cancel", "cancel an order", _cancel)
    _add_order_name(cancel)
    _add_yes(cancel)


def _add_order_name(part: argparse.ArgumentParser) -> None:
    part.add_argument("uuid", metavar="UUID", nargs="?", default="", help="its name")
    part.add_argument("--identifier", metavar="ID", default="", help="your own name for it")


def _run(make: Make) -> Callable[[BlockingClient, argparse.Namespace], int]:
    def run(client: BlockingClient, options: argparse.Namespace) -> int:
        exchange, label = split_name(options.name)
        opening = OpenAccount(exchange=exchange, label=label)
        message = make(client.ask(opening, options.timeout).account, options)
        what = _consequence(options, message)
        if what and not confirm(options, what):
            return left()
        if isinstance(message, PlaceOrder) and message.identifier and not options.identifier:
            sys.stderr.write(f"its identifier is {message.identifier}\n")
        try:
            result = client.ask_raw(message, options.timeout).result
        except KeyboardInterrupt as error:
            doubt = in_doubt(message, InterruptedError("interrupted"))
            if isinstance(doubt, OutcomeUnknown):
                raise doubt from error
            raise
        return show(options, f"account {options.what}", result)

    return run


def _consequence(options: argparse.Namespace, message: Request[Any]) -> str:
    """Return what a request does that cannot be taken back; empty if it only looks."""
    match message:
        case PlaceOrder(test=False):
            parts = [f"{options.side} {options.market}", options.type]
            parts += [f"price {options.price}"] if options.price else []
            parts += [f"volume {options.volume}"] if options.volume else []
            return f"place an order for {options.name}: {', '.join(parts)}"
        case CancelOrder():
            return f"cancel order {options.uuid or options.identifier} of {options.name}"
        case AccountRequest(method=method, path=path) if method != "GET":
            return f"send {method} {path} for {options.name}"
        case _:
            return ""


def _close(client: BlockingClient, options: argparse.Namespace) -> int:
    result = client.ask_raw(InvalidateAccount(key=options.name), options.timeout).result
    return show(options, "account close", result)


def _chance(account: str, options: argparse.Namespace) -> GetOrderChance:
    return GetOrderChance(account=account, market=options.market)


def _orders(account: str, options: argparse.Namespace) -> GetOrders:
    state: Literal["open", "closed"] = "closed" if options.closed else "open"
    return GetOrders(account=account, state=state, market=options.market, count=options.count)


def _order(account: str, options: argparse.Namespace) -> GetOrder:
    return GetOrder(account=account, uuid=options.uuid, identifier=options.identifier)


def _cancel(account: str, options: argparse.Namespace) -> CancelOrder:
    return CancelOrder(account=account, uuid=options.uuid, identifier=options.identifier)


def _place(account: str, options: argparse.Namespace) -> PlaceOrder:
    return PlaceOrder(
        account=account,
        market=options.market,
        side=options.side,
        type=options.type,
        price=options.price,
        volume=options.volume,
        # Without one nobody could look for an order of which no answer came.
        identifier=options.identifier or ("" if options.test else f"marketd-{uuid4()}"),
        time_in_force=options.force,
        smp_type=options.smp,
        test=options.test,
    )


def _request(account: str, options: argparse.Namespace) -> AccountRequest:
    params: dict[str, Any] = {}
    for pair in options.params:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InvalidRequest(f"a parameter is written NAME=VALUE, was {pair!r}")
        if name in params:
            # Said twice, it is a list.
            before = params[name]
            params[name] = [*(before if isinstance(before, list) else [before]), value]
        else:
            params[name] = value
    return AccountRequest(
        account=account,
        method=options.method,
        path=options.path,
        params=params,
        group=options.group,
    )
