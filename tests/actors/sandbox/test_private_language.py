"""What our adapter asks, our signer signs: the sandbox understands it, and we its answers."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from actors.account_values import Order
from actors.errors import RequestRejected
from actors.exchanges.base import Response, encode_query
from actors.exchanges.signing import ToSign
from actors.exchanges.upbit.accounts import UpbitAccounts
from actors.exchanges.upbit.adapter import UpbitAdapter
from actors.exchanges.upbit.signer import UpbitSigner
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
from actors.sandbox.accounts import KEY_LIFE_MS, SANDBOX_ACCESS_KEY, SANDBOX_SECRET_KEY
from actors.sandbox.exchange import SandboxExchange
from actors.vault.secret import Secret
from actors.vault.values import Credential
from runtime.core.message import Request


class Trader:
    """Asks as the AccountActor does, without the actors."""

    def __init__(self, exchange: SandboxExchange) -> None:
        self._exchange = exchange
        self._numbers = itertools.count()
        self._key = Credential(
            Secret.of_text(SANDBOX_ACCESS_KEY), Secret.of_text(SANDBOX_SECRET_KEY)
        )

    def ask(self, request: Request[Any]) -> Any:
        """Return what a request is answered with, or raise what its refusal means."""
        call = UpbitAccounts().call(
            request, "upbit:main", is_own=lambda access: access == SANDBOX_ACCESS_KEY
        )
        query = "" if call.body else encode_query(call.params)
        to_sign = ToSign(call.method, call.path, query, call.params, call.body)
        nonce = f"nonce {next(self._numbers)}"
        headers = UpbitSigner().sign(self._key, to_sign, nonce=nonce, utc_ms=0)
        answer = self._exchange.handle(call.method, call.target, headers, "::1", call.body)
        named = {name.lower(): value for name, value in answer.headers}
        assert named["remaining-req"].startswith(f"group={call.group};")
        response = Response(answer.status, named, answer.body, 0)
        if answer.status not in (200, 201):
            raise UpbitAdapter().error(response, call)
        return call.read(response)


@pytest.fixture
def trader(private: SandboxExchange) -> Trader:
    """Who trades with the key that everybody has."""
    return Trader(private)


def test_everything_an_account_is_asked_is_understood(trader: Trader, now_ms: int) -> None:
    """Each question counts in the group that we think, and is answered with what we read."""
    place = PlaceOrder(
        account="a", market="KRW-BTC", side="bid", price="1000000", volume="0.1",
        identifier="mine+&+yours?", time_in_force="post_only",
    )  # fmt: skip
    placed: Order = trader.ask(place)
    assert (placed.state, placed.locked, placed.identifier) == ("wait", "100050", "mine+&+yours?")
    assert trader.ask(GetOrder(account="a", identifier=placed.identifier)) == placed
    assert trader.ask(GetOrders(account="a", market="KRW-BTC")) == (placed,)
    won = next(one for one in trader.ask(GetBalances(account="a")) if one.currency == "KRW")
    assert (won.balance, won.locked) == ("9899950", "100050")
    chance = trader.ask(GetOrderChance(account="a", market="KRW-BTC"))
    assert (chance.bid_fee, chance.bid_account.locked) == ("0.0005", "100050")
    assert trader.ask(CancelOrder(account="a", uuid=placed.uuid)).uuid == placed.uuid
    [ended] = trader.ask(GetOrders(account="a", state="closed"))
    assert (ended.state, ended.locked) == ("cancel", "0")
    [key] = trader.ask(GetApiKeys(account="a"))
    # Written to the second.
    assert key.expires_ms == (now_ms + KEY_LIFE_MS) // 1_000 * 1_000
    assert (key.hint, key.own) == ("sand", True)


@pytest.mark.parametrize(
    "fields",
    [
        {"side": "bid", "type": "price", "price": "10000"},
        {"side": "ask", "type": "market", "volume": "0.01"},
        {"side": "bid", "type": "best", "price": "10000", "time_in_force": "ioc"},
        {"side": "ask", "type": "best", "volume": "0.01", "time_in_force": "fok"},
        {"side": "ask", "price": "900000000", "volume": "0.01", "smp_type": "reduce"},
    ],
)
@pytest.mark.parametrize("test", [False, True])
def test_every_kind_of_order_is_accepted(
    trader: Trader, fields: dict[str, Any], *, test: bool
) -> None:
    """What we refuse nothing of, the exchange does not either."""
    order = trader.ask(PlaceOrder(account="a", market="KRW-BTC", test=test, **fields))
    assert (order.type, order.side) == (fields.get("type", "limit"), fields["side"])


def test_any_request_is_understood(trader: Trader) -> None:
    """With a list in its query, and with one in its body."""
    names = {"uuids": ["a", "b"]}
    get = AccountRequest(account="a", method="GET", path="/v1/orders/uuids", params=names)
    assert trader.ask(get).data == []
    cancel = AccountRequest(account="a", method="DELETE", path="/v1/orders/uuids", params=names)
    assert trader.ask(cancel).data["success"]["count"] == 0
    order = {"market": "KRW-BTC", "side": "bid", "ord_type": "price", "price": 10_000.5}
    post = AccountRequest(account="a", method="POST", path="/v1/orders", params=order)
    assert trader.ask(post).data["price"] == "10000.5"


def test_a_refusal_comes_back_with_its_name(trader: Trader) -> None:
    """As an error that a bot can tell from others."""
    poor = PlaceOrder(account="a", market="KRW-BTC", side="bid", price="1000000", volume="100")
    with pytest.raises(RequestRejected, match="부족") as caught:
        trader.ask(poor)
    assert caught.value.code == "insufficient_funds_bid"
    withdraw = AccountRequest(
        account="a", method="POST", path="/v1/withdraws/coin", params={"currency": "BTC"}
    )
    with pytest.raises(RequestRejected, match="401") as caught:
        trader.ask(withdraw)
    assert caught.value.code == "out_of_scope"
