"""`UpbitAccounts`: what is asked about an account, and what answers mean."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.account_values import Order
from actors.errors import InvalidRequest, MalformedPayload
from actors.exchanges.base import ExchangeCall, Response
from actors.exchanges.upbit.accounts import UpbitAccounts
from actors.key_messages import (
    ACCOUNT_CALLS,
    AccountRequest,
    CancelOrder,
    GetApiKeys,
    GetBalances,
    GetOrder,
    GetOrderChance,
    GetOrders,
    OpenAccount,
    PlaceOrder,
)
from runtime.core.message import Request

UUID = "9ca023a5-851b-4fec-9f0a-48cd83c2eaae"

BALANCE = {
    "currency": "KRW",
    "balance": "1386929.37231066771348207123",
    "locked": "0.0",
    "avg_buy_price": "0",
    "avg_buy_price_modified": False,
    "unit_currency": "KRW",
}
ORDER = {
    "uuid": UUID,
    "market": "KRW-BTC",
    "side": "bid",
    "ord_type": "limit",
    "state": "wait",
    "created_at": "2026-01-01T09:00:00+09:00",
    "price": "100000000.0",
    "volume": "0.00120000",
    "remaining_volume": "0.0012",
    "executed_volume": "0.0",
    "reserved_fee": "60.0",
    "paid_fee": "0.0",
    "locked": "120060.0",
    "trades_count": 0,
}
CHANCE = {
    "bid_fee": "0.0005",
    "ask_fee": "0.0005",
    "market": {
        "id": "KRW-BTC",
        "bid_types": ["best_fok", "limit", "price"],
        "ask_types": ["limit", "market"],
        "bid": {"currency": "KRW", "min_total": "5000"},
        "ask": {"currency": "BTC", "min_total": 5000},
        "max_total": "1000000000",
        "state": "active",
    },
    "bid_account": BALANCE,
    "ask_account": BALANCE | {"currency": "BTC"},
}
GOOD_REQUESTS: list[Request[Any]] = [
    GetBalances(account="a"),
    GetOrderChance(account="a", market="KRW-BTC"),
    GetOrder(account="a", uuid=UUID),
    GetOrders(account="a"),
    PlaceOrder(account="a", market="KRW-BTC", side="bid", price="5000", volume="1"),
    CancelOrder(account="a", uuid=UUID),
    GetApiKeys(account="a"),
    AccountRequest(account="a", method="GET", path="/v1/status/wallet"),
]


def call(request: Request[Any]) -> ExchangeCall[Any]:
    """Return what is sent for a request."""
    return UpbitAccounts().call(request, "upbit:main")


def place(**fields: Any) -> ExchangeCall[Any]:
    """Return what is sent for an order."""
    return call(PlaceOrder(**{"account": "a", "market": "KRW-BTC", "side": "bid", **fields}))


def answer(sent: ExchangeCall[Any], body: Any) -> Any:
    """Return what an answer means."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return sent.read(Response(200, {}, raw, 0))


# ------------------------------------------------------------------ questions


def test_every_account_call_can_be_asked() -> None:
    """None of the messages is without words, and each counts for its holder."""
    assert tuple(type(request) for request in GOOD_REQUESTS) == ACCOUNT_CALLS
    assert {call(request).account for request in GOOD_REQUESTS} == {"upbit:main"}
    with pytest.raises(InvalidRequest, match="OpenAccount is nothing an account is asked"):
        call(OpenAccount(exchange="upbit", label="main"))


@pytest.mark.parametrize(
    ("request_", "method", "target", "group", "idempotent"),
    [
        (GetBalances(account="a"), "GET", "/v1/accounts", "default", True),
        (
            GetOrderChance(account="a", market="KRW-BTC"),
            "GET",
            "/v1/orders/chance?market=KRW-BTC",
            "default",
            True,
        ),
        (GetOrder(account="a", uuid=UUID), "GET", f"/v1/order?uuid={UUID}", "default", True),
        (
            GetOrder(account="a", identifier="a&b=1"),
            "GET",
            "/v1/order?identifier=a%26b%3D1",
            "default",
            True,
        ),
        (
            GetOrders(account="a", market="KRW-BTC", count=5),
            "GET",
            "/v1/orders/open?market=KRW-BTC&states[]=wait&states[]=watch&limit=5&order_by=desc",
            "default",
            True,
        ),
        (
            GetOrders(account="a", state="closed", count=1_000),
            "GET",
            "/v1/orders/closed?states[]=done&states[]=cancel&limit=1000&order_by=desc",
            "default",
            True,
        ),
        (
            CancelOrder(account="a", uuid=UUID),
            "DELETE",
            f"/v1/order?uuid={UUID}",
            "default",
            True,
        ),
        (GetApiKeys(account="a"), "GET", "/v1/api_keys", "default", True),
    ],
)  # fmt: skip
def test_questions_are_written_as_upbit_wants_them(
    request_: Request[Any], method: str, target: str, group: str, *, idempotent: bool
) -> None:
    """Path, parameters in their order, group, and whether it may be sent again."""
    sent = call(request_)
    assert (sent.method, sent.target, sent.group) == (method, target, group)
    assert (sent.idempotent, sent.body) == (idempotent, b"")


def test_an_order_is_json_and_says_what_is_signed() -> None:
    """The hash is taken over the same words in the same order."""
    sent = place(
        price="100000000", volume="0.0012", identifier="mine-1", time_in_force="ioc",
        smp_type="reduce",
    )  # fmt: skip
    assert list(json.loads(sent.body).items()) == list(sent.params)
    assert list(sent.params) == [
        ("market", "KRW-BTC"),
        ("side", "bid"),
        ("ord_type", "limit"),
        ("price", "100000000"),
        ("volume", "0.0012"),
        ("identifier", "mine-1"),
        ("time_in_force", "ioc"),
        ("smp_type", "reduce"),
    ]
    assert (sent.method, sent.target, sent.group) == ("POST", "/v1/orders", "order")
    assert not sent.idempotent


def test_an_order_to_be_checked_only_goes_elsewhere() -> None:
    """It counts in a group of its own, and does nothing."""
    sent = place(price="5000", volume="1", test=True)
    assert (sent.path, sent.group) == ("/v1/orders/test", "order-test")


def test_what_is_asked_is_told_without_amounts() -> None:
    """It goes into errors and logs."""
    sent = place(price="123456789", volume="0.98765", identifier="mine-1")
    assert sent.what == "limit bid KRW-BTC"
    assert UUID not in call(CancelOrder(account="a", uuid=UUID)).what


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"price": "1", "volume": "1"}, ["price", "volume"]),
        ({"side": "ask", "price": "1", "volume": "1"}, ["price", "volume"]),
        ({"type": "price", "price": "5000"}, ["price"]),
        ({"type": "market", "side": "ask", "volume": "1"}, ["volume"]),
        ({"type": "best", "price": "5000", "time_in_force": "fok"}, ["price"]),
        ({"type": "best", "side": "ask", "volume": "1", "time_in_force": "ioc"}, ["volume"]),
        ({"price": "1", "volume": "1", "time_in_force": "post_only"}, ["price", "volume"]),
    ],
)
def test_each_kind_of_order_says_what_it_needs(fields: dict[str, Any], said: list[str]) -> None:
    """And nothing more."""
    params = dict(place(**fields).params)
    assert [name for name in params if name in ("price", "volume")] == said


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"price": "1"}, "volume must be a decimal number .* was ''"),
        ({"volume": "1"}, "price must be a decimal number .* was ''"),
        (
            {"type": "price", "side": "ask", "price": "1"},
            "price to bid or market to ask; was price",
        ),
        ({"type": "market", "volume": "1"}, "price to bid or market to ask; was market to bid"),
        ({"type": "price", "price": "1", "volume": "1"}, "take price, and no volume"),
        ({"type": "market", "side": "ask", "volume": "1", "price": "1"}, "take volume, and no pri"),
        ({"type": "best", "price": "1"}, "of best orders must be ioc or fok, was empty"),
        ({"type": "best", "price": "1", "time_in_force": "post_only"}, "ioc or fok, was post_only"),
        ({"type": "price", "price": "1", "time_in_force": "ioc"}, "must be empty, was ioc"),
        (
            {"price": "1", "volume": "1", "time_in_force": "post_only", "smp_type": "reduce"},
            "takes no smp_type",
        ),
        ({"price": "1", "volume": "1", "market": "BTC/KRW"}, "as in KRW-BTC, was 'BTC/KRW'"),
        ({"price": "1", "volume": "1", "identifier": "two words"}, "without blanks"),
    ],
)
def test_an_order_upbit_would_refuse_is_refused_here(fields: dict[str, Any], problem: str) -> None:
    """Before it costs a request, and with what is wanted."""
    with pytest.raises(InvalidRequest, match=problem):
        place(**fields)


@pytest.mark.parametrize(
    "text",
    ["0", "0.0", "-1", "+1", "1e3", "1E-8", "1,000", " 1", "1 ", "1\n", ".5", "5.", "01", "NaN",
     "Infinity", "٣", "1" * 21, "0." + "1" * 21],
)  # fmt: skip
@pytest.mark.parametrize("field", ["price", "volume"])
def test_an_amount_is_a_plain_number_above_zero(field: str, text: str) -> None:
    """What a float prints for a small number is none, and money is no place to guess."""
    with pytest.raises(InvalidRequest, match=f"{field} must be"):
        place(**{"price": "1", "volume": "1", field: text})


@given(st.decimals(min_value="0.00000001", max_value="9999999999", places=8))
def test_an_amount_is_sent_digit_for_digit(amount: Any) -> None:
    """Nobody rounds, and nobody takes zeros away."""
    text = f"{amount:f}"
    sent = place(price=text, volume=text)
    assert json.loads(sent.body)["price"] == text
    assert dict(sent.params)["volume"] == text


@pytest.mark.parametrize("kind", [GetOrder, CancelOrder])
def test_an_order_is_named_by_one_of_its_names(kind: Any) -> None:
    """Both could mean two orders."""
    for names in ({}, {"uuid": UUID, "identifier": "mine"}):
        with pytest.raises(InvalidRequest, match="one of them; was"):
            call(kind(account="a", **names))
    with pytest.raises(InvalidRequest, match="uuid must be"):
        call(kind(account="a", uuid="x" * 101))


@pytest.mark.parametrize(
    ("state", "count"), [("open", 0), ("open", 101), ("closed", 1_001), ("closed", -1)]
)
def test_no_more_orders_are_asked_for_than_upbit_gives(state: Any, count: int) -> None:
    """It would cut the answer without a word."""
    with pytest.raises(InvalidRequest, match=f"count of {state} orders must be 1 to"):
        call(GetOrders(account="a", state=state, count=count))


# ------------------------------------------------------------------ answers


def test_balances_keep_every_digit() -> None:
    """More digits than a float has."""
    [balance] = answer(call(GetBalances(account="a")), [BALANCE])
    assert balance.balance == "1386929.37231066771348207123"
    assert (balance.currency, balance.locked, balance.unit_currency) == ("KRW", "0.0", "KRW")


def test_a_number_that_is_not_text_keeps_its_digits_too() -> None:
    """As in the private streams; through a float the last ones would be lost."""
    body = b'[{"currency":"BTC","balance":0.12345678901234567890,"locked":0,"avg_buy_price":1E+2}]'
    [balance] = answer(call(GetBalances(account="a")), body)
    assert (balance.balance, balance.locked) == ("0.12345678901234567890", "0")
    assert balance.avg_buy_price == "1E+2"


def test_an_order_is_read_whole() -> None:
    """From placing, asking and cancelling alike."""
    wanted = Order(
        uuid=UUID, market="KRW-BTC", side="bid", type="limit", state="wait",
        created_at="2026-01-01T09:00:00+09:00", price="100000000.0", volume="0.00120000",
        remaining_volume="0.0012", executed_volume="0.0", paid_fee="0.0", locked="120060.0",
    )  # fmt: skip
    assert answer(place(price="1", volume="1"), ORDER) == wanted
    assert answer(call(GetOrder(account="a", uuid=UUID)), ORDER) == wanted
    assert answer(call(CancelOrder(account="a", uuid=UUID)), ORDER) == wanted
    assert answer(call(GetOrders(account="a")), [ORDER, ORDER]) == (wanted, wanted)


def test_what_an_order_does_not_have_is_none() -> None:
    """A market order has no price, one without identifier an empty one."""
    body = ORDER | {"price": None, "ord_type": "market", "identifier": None, "time_in_force": None}
    order = answer(call(GetOrder(account="a", uuid=UUID)), body)
    assert (order.price, order.identifier, order.time_in_force) == (None, "", "")


def test_a_chance_is_read_whole() -> None:
    """Fees, bounds, kinds and both accounts."""
    chance = answer(call(GetOrderChance(account="a", market="KRW-BTC")), CHANCE)
    assert (chance.bid_fee, chance.bid_min_total, chance.ask_min_total) == (
        "0.0005",
        "5000",
        "5000",
    )
    assert chance.bid_types == ("best_fok", "limit", "price")
    assert (chance.max_total, chance.state) == ("1000000000", "active")
    assert (chance.bid_account.currency, chance.ask_account.currency) == ("KRW", "BTC")


def test_keys_are_masked_and_end_in_utc() -> None:
    """Upbit writes the end in Korea's time."""
    body = [{"access_key": "abcdefgh12345678", "expire_at": "2026-07-01T09:00:00+09:00"}]
    [key] = answer(call(GetApiKeys(account="a")), body)
    assert (key.hint, key.expires_ms) == ("abcd", 1_782_864_000_000)
    assert "efgh" not in repr(key)


@pytest.mark.parametrize(
    ("sent", "body"),
    [
        (GOOD_REQUESTS[0], {"currency": "KRW"}),
        (GOOD_REQUESTS[0], [BALANCE | {"balance": "-1"}]),
        (GOOD_REQUESTS[0], [BALANCE | {"balance": "NaN"}]),
        (GOOD_REQUESTS[0], [BALANCE | {"balance": "1\n"}]),
        (GOOD_REQUESTS[0], [BALANCE | {"locked": None}]),
        (GOOD_REQUESTS[0], [BALANCE, BALANCE]),
        (GOOD_REQUESTS[0], b"<html>"),
        (GOOD_REQUESTS[0], b"\xff"),
        (GOOD_REQUESTS[0], b"[" * 100_000),
        (GOOD_REQUESTS[1], CHANCE | {"market": {"id": "KRW-ETH"}}),
        (GOOD_REQUESTS[2], ORDER | {"uuid": ""}),
        (GOOD_REQUESTS[2], ORDER | {"side": "both"}),
        (GetOrders(account="a", count=1), [ORDER, ORDER]),
        (GOOD_REQUESTS[6], [{"access_key": "abcdefgh", "expire_at": "2026-07-01T09:00:00"}]),
        (GOOD_REQUESTS[7], b"{"),
    ],
)
def test_an_answer_that_breaks_its_promises_is_not_used(sent: Request[Any], body: Any) -> None:
    """Half a balance is worse than none; and what it said is not repeated in the error."""
    with pytest.raises(MalformedPayload, match=r"^upbit: .*: ") as caught:
        answer(call(sent), body)
    assert "1386929" not in str(caught.value)
