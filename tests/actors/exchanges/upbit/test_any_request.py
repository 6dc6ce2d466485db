"""Any signed request to Upbit: how it is written, where it counts, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from actors.errors import InvalidRequest, UnknownGroup
from actors.exchanges.base import ExchangeCall, Response
from actors.exchanges.upbit.accounts import UpbitAccounts
from actors.key_messages import AccountRequest


def anything(method: Any, path: str, *, group: str = "", **params: Any) -> ExchangeCall[Any]:
    """Return what is sent for any request."""
    request = AccountRequest(account="a", method=method, path=path, params=params, group=group)
    return UpbitAccounts().call(request, "upbit:main")


def answer(sent: ExchangeCall[Any], body: bytes) -> Any:
    """Return what an answer means."""
    return sent.read(Response(200, {}, body, 0))


def test_any_get_is_a_query_and_may_be_repeated() -> None:
    """Lists become names with brackets, in their order."""
    sent = anything("GET", "/v1/orders/uuids", uuids=["a", "b"], limit=5, deep=True)
    assert sent.target == "/v1/orders/uuids?uuids[]=a&uuids[]=b&limit=5&deep=true"
    assert (sent.idempotent, sent.group, sent.body) == (True, "default", b"")
    named: dict[str, Any] = {"uuids[]": ["a"]}
    assert anything("GET", "/v1/orders/uuids", **named).target == "/v1/orders/uuids?uuids[]=a"


def test_any_post_is_json_and_is_never_repeated() -> None:
    """Nobody knows what it does. A float becomes text, because it is signed as text."""
    sent = anything("POST", "/v1/somewhere", amount=0.00000001, ids=["a", "b"], count=2, sure=True)
    assert json.loads(sent.body) == {
        "amount": "0.00000001",
        "ids": ["a", "b"],
        "count": 2,
        "sure": True,
    }
    assert list(sent.params) == [
        ("amount", "0.00000001"),
        ("ids[]", "a"),
        ("ids[]", "b"),
        ("count", "2"),
        ("sure", "true"),
    ]
    assert not sent.idempotent
    assert not anything("DELETE", "/v1/orders/uuids", uuids=["a"]).idempotent
    assert anything("POST", "/v1/somewhere").body == b""


def test_any_answer_comes_back_with_its_digits() -> None:
    """Numbers with a fraction as text, whole ones as they are."""
    sent = anything("GET", "/v1/status/wallet")
    body = b'[{"a":0.10000000000000000001,"b":1e-9,"c":12,"d":null,"e":"x"}]'
    [row] = answer(sent, body).data
    assert row == {"a": "0.10000000000000000001", "b": "1e-9", "c": 12, "d": None, "e": "x"}
    assert answer(sent, b"").data is None


@pytest.mark.parametrize(
    ("method", "path", "group"),
    [
        ("POST", "/v1/orders", "order"),
        ("POST", "/v1/orders/", "order"),
        ("POST", "/V1/Orders.json", "order"),
        ("POST", "/v1/orders/cancel_and_new", "order"),
        ("POST", "/v1/orders/test", "order-test"),
        ("DELETE", "/v1/orders/open", "order-cancel-all"),
        ("GET", "/v1/orders/open", "default"),
        ("POST", "/v1/withdraws/coin", "default"),
    ],
)
def test_any_request_counts_where_upbit_counts_it(method: str, path: str, group: str) -> None:
    """However its path is spelt."""
    assert anything(method, path).group == group


def test_a_group_may_be_named_for_what_is_not_known_here() -> None:
    """But no request leaves the group that it is known to count in."""
    assert anything("POST", "/v1/new", group="order").group == "order"
    with pytest.raises(InvalidRequest, match="counts in group order, was default"):
        anything("POST", "/v1/orders", group="default")
    with pytest.raises(UnknownGroup, match=r"must be default, order, .* was 'candle'"):
        anything("GET", "/v1/new", group="candle")


@pytest.mark.parametrize(
    "path",
    ["", "/", "v1/accounts", "//evil", "/v1//orders", "/v1/../x", "/v1/./orders", "/v1/%6frders",
     "/v1/orders?market=KRW-BTC", "/v1/orders#x", "/v1/or ders", "/v1/orders\n", "http://evil/v1",
     "/v1/" + "x" * 300],
)  # fmt: skip
def test_a_path_that_could_be_read_in_two_ways_is_refused(path: str) -> None:
    """What was allowed and what is asked must be the same thing."""
    with pytest.raises(InvalidRequest, match="path must be as in"):
        anything("GET", path)


@pytest.mark.parametrize("path", ["/v1/ticker", "/v1/candles/minutes/1", "/V1/Market/all"])
def test_market_data_is_not_asked_through_an_account(path: str) -> None:
    """It counts by address, where an account's requests are not counted."""
    with pytest.raises(InvalidRequest, match="is market data"):
        anything("GET", path)


@pytest.mark.parametrize(
    "params",
    [
        {"a b": "1"},
        {"a&b": "1"},
        {"": "1"},
        {"a": None},
        {"a": {"b": 1}},
        {"a": [["b"]]},
        {"a": []},
        {"a": float("nan")},
        {"a": "x" * 1_001},
        {f"n{number}": 1 for number in range(101)},
    ],
)
def test_params_that_cannot_be_signed_are_refused(params: dict[str, Any]) -> None:
    """And what they held is not told."""
    with pytest.raises(InvalidRequest, match=r"^upbit: .*param"):
        anything("POST", "/v1/somewhere", **params)
