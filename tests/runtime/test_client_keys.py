"""Keys and accounts through the clients: the same on both sides, and exact to the last digit."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.account_values import Order
from actors.errors import InvalidRequest
from actors.key_messages import KEY_METHODS, AccountRequest, OpenAccount, PlaceOrder
from runtime.client.account import AccountClient
from runtime.client.account_blocking import SyncAccountClient
from runtime.client.account_requests import any_request
from runtime.client.base import AsyncClient
from runtime.client.blocking import connect
from runtime.client.blocking_base import SyncClient
from runtime.client.keys import KeysClient
from runtime.client.keys_blocking import SyncKeysClient
from runtime.client.trio_client import open_client
from runtime.core.message import Request
from runtime.testing_key_samples import KEY_SAMPLES, sample_key_answer
from runtime.testing_socket import MemoryListener, control_in_thread, open_control

OPENED: Any = sample_key_answer(OpenAccount(exchange="upbit", label="main"))
PAIRS: list[tuple[type, type]] = [(AccountClient, SyncAccountClient), (KeysClient, SyncKeysClient)]

# What the socket calls otherwise than the clients, and why: `keys.keys()` would say nothing.
NAMES = {
    "keys.passphrase": "change_unlock",
    "keys.verify": "verify_audit",
    "account.keys": "api_keys",
    "account.invalidate": "close",
}


def methods(kind: type) -> dict[str, Callable[..., Any]]:
    """Return the public methods of a class."""
    found = inspect.getmembers(kind, inspect.isfunction)
    return {name: method for name, method in found if not name.startswith("_")}


def client_method(method: str) -> str:
    """Return what a method of the socket is called in the clients."""
    return NAMES.get(method, method.partition(".")[2])


def arguments(method: str) -> dict[str, Any]:
    """Return what has to be handed in: the client knows its own account by itself."""
    own = {"account"} | ({"key"} if method.startswith("account.") else set())
    return {name: value for name, value in KEY_SAMPLES.get(method, {}).items() if name not in own}


def asked(method: str, **given_values: Any) -> Request[Any]:
    """Return what the blocking client sends for a method of the socket."""
    sent: list[Request[Any]] = []

    def ask(message: Any, _: float) -> Any:
        sent.append(message)
        return None

    client: Any = SyncAccountClient(ask, OPENED)
    client = client if method.startswith("account.") else SyncKeysClient(ask)
    getattr(client, client_method(method))(**arguments(method), **given_values)
    return sent[0]


async def asked_on_trio(method: str) -> Request[Any]:
    """Return what the client for trio sends."""
    sent: list[Request[Any]] = []

    async def ask(message: Any, _: float) -> Any:
        sent.append(message)
        return None

    client: Any = AccountClient(ask, OPENED)
    client = client if method.startswith("account.") else KeysClient(ask)
    await getattr(client, client_method(method))(**arguments(method))
    return sent[0]


IN_CLIENTS = sorted(set(KEY_METHODS) - {"account.open"})


@pytest.mark.parametrize(("on_trio", "blocking"), PAIRS, ids=["account", "keys"])
def test_both_kinds_have_the_same_methods(on_trio: type, blocking: type) -> None:
    """Who reads about one has read about the other: names, parameters, defaults, words."""
    theirs, ours = methods(on_trio), methods(blocking)
    assert set(theirs) == set(ours)
    for name, method in theirs.items():
        assert inspect.signature(method) == inspect.signature(ours[name]), name
        assert inspect.getdoc(method) == inspect.getdoc(ours[name]), name
        assert inspect.iscoroutinefunction(method), name
        assert not inspect.iscoroutinefunction(ours[name]), name
    words = inspect.getdoc(on_trio) or ""
    assert words.replace("AsyncClient", "SyncClient") == inspect.getdoc(blocking)


def test_accounts_are_opened_alike() -> None:
    """`market.account` and `market.keys` are the ways in."""
    ours, theirs = (inspect.signature(kind.account) for kind in (SyncClient, AsyncClient))
    assert ours.parameters == theirs.parameters
    assert isinstance(inspect.getattr_static(AsyncClient, "keys"), property)
    assert isinstance(inspect.getattr_static(SyncClient, "keys"), property)


@pytest.mark.parametrize("method", IN_CLIENTS)
async def test_every_request_has_a_method_in_both_kinds(method: str) -> None:
    """A new one cannot be forgotten, nor sent differently by one of them."""
    message = asked(method)

    assert type(message) is KEY_METHODS[method]
    assert message == await asked_on_trio(method)
    assert getattr(message, "account", OPENED.account) == OPENED.account


@pytest.mark.parametrize("method", IN_CLIENTS)
def test_every_field_of_a_request_can_be_given(method: str) -> None:
    """An option that only the socket knows is one that no bot finds."""
    kind = SyncAccountClient if method.startswith("account.") else SyncKeysClient
    parameters = set(inspect.signature(methods(kind)[client_method(method)]).parameters)
    own = {"account"} | ({"key"} if method.startswith("account.") else set())

    assert set(KEY_METHODS[method].__struct_fields__) - own == parameters - {"self", "timeout_s"}


def test_every_method_of_the_clients_is_a_request() -> None:
    """Nothing is in the clients that the socket does not have."""
    named = {client_method(method) for method in IN_CLIENTS}
    assert {*methods(SyncAccountClient), *methods(SyncKeysClient)} == named


def test_blocking_client_gets_values_back(tmp_path: Path) -> None:
    """Through a real socket: the sample's own values, of their own types."""
    with control_in_thread(tmp_path / "c.sock"), connect(tmp_path / "c.sock") as market:
        account = market.account("upbit", "main")
        assert account.name == "upbit:main"
        for method in IN_CLIENTS:
            client: Any = account if method.startswith("account.") else market.keys
            answer = getattr(client, client_method(method))(**arguments(method))
            assert answer == sample_key_answer(asked(method)), method


async def test_trio_client_gets_values_back() -> None:
    """The same, over a connection in memory."""
    listener = MemoryListener()
    async with (
        open_control(listener=listener),
        open_client("unused", dial=listener.connect) as market,
    ):
        account = await market.account("upbit", "main")
        for method in IN_CLIENTS:
            client: Any = account if method.startswith("account.") else market.keys
            answer = await getattr(client, client_method(method))(**arguments(method))
            assert answer == sample_key_answer(asked(method)), method


# ------------------------------------------------------------------ numbers


def placed(**amounts: Any) -> PlaceOrder:
    """Return what an order of these amounts is sent as."""
    message = asked("account.place", **amounts)
    assert isinstance(message, PlaceOrder)
    return message


@given(value=st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**40), places=None))
def test_decimal_is_the_same_after_the_way(value: Decimal) -> None:
    """Over the wire and back, and never with an exponent, which exchanges refuse."""
    if value and not -100 < value.adjusted() < 100:
        with pytest.raises(InvalidRequest, match="at most 100 digits"):
            placed(price=value)
        return
    sent = msgspec.json.decode(msgspec.json.encode(placed(price=value)), type=PlaceOrder).price

    assert Decimal(sent) == value
    assert "e" not in sent.lower()
    assert any_request("a", "GET", "/", {"p": [value]}, "").params == {"p": [sent]}


@given(value=st.integers(min_value=-(10**99), max_value=10**99))
def test_whole_number_is_written_out(value: int) -> None:
    """All its digits."""
    assert placed(volume=value).volume == str(value)


@given(text=st.text(max_size=30))
def test_text_goes_as_it_is(text: str) -> None:
    """Zeros at the end and all: the exchange says what is wrong with it."""
    assert placed(price=text).price == text


@pytest.mark.parametrize(
    "value", [0.1, 1.0, float("nan"), np.float64(1), np.float32(0.1), Fraction(1, 3)], ids=repr
)
def test_float_is_refused_by_name(value: Any) -> None:
    """0.1 + 0.2 is not 0.3 to a float, whoever made it."""
    for name in ("price", "volume"):
        with pytest.raises(InvalidRequest, match=f"{name} must be exact: text, Decimal"):
            placed(**{name: value})
    for params in ({"p": value}, {"p": [1, value]}, {"p": ("a", [value])}):
        with pytest.raises(InvalidRequest, match="p must be exact"):
            any_request("a", "POST", "/v1/x", params, "")


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "sNaN"])
def test_decimal_that_is_no_number_is_refused(value: str) -> None:
    """It has no digits to send."""
    with pytest.raises(InvalidRequest, match="price must be a number"):
        placed(price=Decimal(value))


def test_decimal_beyond_all_markets_is_refused() -> None:
    """Written out, it would fill the memory."""
    with pytest.raises(InvalidRequest, match="price must have at most 100 digits"):
        placed(price=Decimal("1e999999999"))


def test_truth_is_no_amount() -> None:
    """Python takes True for 1; nobody who orders does."""
    with pytest.raises(InvalidRequest, match="volume must be a number, was True"):
        placed(volume=True)


def test_numpy_whole_number_is_one() -> None:
    """Bots compute with numpy, whose integers no encoder knows."""
    params = any_request("a", "POST", "/v1/x", {"n": np.int64(5), "yes": True}, "").params
    assert msgspec.json.encode(params) == b'{"n":5,"yes":true}'


def test_parameters_keep_their_order() -> None:
    """The exchange's hash is over them as they are sent."""
    message = any_request("a", "GET", "/v1/x", {"z": "1", "a": 2, "m": ["x", "y"]}, "orders")
    assert isinstance(message, AccountRequest)
    assert list(message.params.items()) == [("z", "1"), ("a", 2), ("m", ["x", "y"])]


def test_answers_of_samples_are_orders() -> None:
    """What `place`, `order` and `cancel` promise."""
    assert {
        type(sample_key_answer(asked(f"account.{name}"))) for name in ("place", "order", "cancel")
    } == {Order}
