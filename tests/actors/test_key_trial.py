"""What is made of an exchange's answers when a key is tried."""

from __future__ import annotations

from typing import Any

import pytest

from actors.account_values import ApiKey, Balance
from actors.errors import (
    ExchangeUnavailable,
    KeyRefused,
    MalformedPayload,
    RateLimited,
    RequestRejected,
)
from actors.key_messages import GetApiKeys, GetBalances, GetOrders, PlaceOrder
from actors.key_reports import KeyTest
from actors.key_trial import try_account
from runtime.core.message import Request

GOOD: dict[type, Any] = {
    GetBalances: (Balance(currency="KRW", balance="1", locked="0"),),
    GetOrders: (),
    PlaceOrder: None,
    GetApiKeys: (
        ApiKey(hint="othe", expires_ms=5, own=False),
        ApiKey(hint="mine", expires_ms=7, own=True),
    ),
}


async def tried(**answers: Any) -> KeyTest:
    """Return the verdict on a key; `answers` by the name of the message that gets another."""

    async def ask(request: Request[Any], deadline_s: float) -> Any:
        assert deadline_s == 9.0
        assert getattr(request, "test", True), "an order of a trial must be a test"
        answer = answers.get(type(request).__name__, GOOD[type(request)])
        if isinstance(answer, Exception):
            raise answer
        return answer

    return await try_account(ask, "upbit:main#1", 9.0)


def refused(code: str) -> RequestRejected:
    """Return a refusal of the exchange."""
    return RequestRejected(f"upbit: {code}", code=code)


async def test_good_key_is_told_with_its_own_end() -> None:
    """Not with that of another key of the same account."""
    found = await tried()
    assert (found.name, found.works, found.expires_ms) == ("upbit:main", True, 7)
    assert (found.currencies, found.problems) == (("KRW",), ())
    assert set(found.permissions.values()) == {"ok"}


async def test_amounts_are_not_told() -> None:
    """Whether a key works is asked by people who need not know how rich its owner is."""
    assert "balance" not in repr(await tried())


@pytest.mark.parametrize(
    ("code", "works", "order"),
    [
        ("insufficient_funds_bid", True, "ok"),
        ("under_min_total_bid", True, "ok"),
        ("out_of_scope", True, "out_of_scope"),
        ("no_authorization_ip", False, "no_authorization_ip"),
    ],
)
async def test_order_that_is_refused_for_itself_shows_that_the_key_may(
    code: str, order: str, *, works: bool
) -> None:
    """An empty account is no fault of the key; a forbidden address is."""
    found = await tried(PlaceOrder=refused(code))
    assert (found.works, found.permissions["make_orders"]) == (works, order)


async def test_key_that_may_not_read_balances_does_not_work() -> None:
    """Nothing useful can be done with it here."""
    found = await tried(GetBalances=refused("out_of_scope"))
    assert (found.works, found.currencies) == (False, None)
    assert found.problems == ("it may not read balances",)


async def test_every_problem_is_named_once() -> None:
    """The same refusal four times is four permissions, each with its line."""
    error = refused("expired_access_key")
    found = await tried(GetBalances=error, GetOrders=error, PlaceOrder=error, GetApiKeys=error)
    assert not found.works
    assert len(found.problems) == 4
    assert found.expires_ms is None


@pytest.mark.parametrize("error", [ExchangeUnavailable("away"), RateLimited("wait")])
async def test_exchange_that_does_not_answer_says_nothing_of_the_key(error: Exception) -> None:
    """The trial fails as a whole: neither good nor bad is known."""
    with pytest.raises(type(error), match=r"away|wait"):
        await tried(GetOrders=error)


async def test_what_is_not_asked_and_what_makes_no_sense_is_said() -> None:
    """Rules of the owner, and an exchange that changed its format."""
    found = await tried(
        GetOrders=KeyRefused("upbit:main does not sign it"), GetApiKeys=MalformedPayload("html")
    )
    assert found.works
    assert found.permissions["view_orders"] == "not asked: upbit:main does not sign it"
    assert found.permissions["list_keys"] == "an answer without sense"
