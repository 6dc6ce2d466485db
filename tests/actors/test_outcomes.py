"""What is told to who asked for a change at the exchange, and got no answer."""

from __future__ import annotations

from typing import Any

import pytest

from actors.errors import OutcomeUnknown
from actors.key_messages import AccountRequest, CancelOrder, GetBalances, PlaceOrder
from actors.outcomes import in_doubt
from runtime.core.errors import CallTimeout
from runtime.core.message import Request

LATE = CallTimeout("no answer within 3 s")


def order(**more: Any) -> PlaceOrder:
    """Return an order."""
    return PlaceOrder(account="a", market="KRW-BTC", side="bid", price="1", volume="1", **more)


def anything(method: Any) -> AccountRequest:
    """Return a request that has no name of its own."""
    return AccountRequest(account="a", method=method, path="/v1/orders")


@pytest.mark.parametrize(
    ("request_", "advice"),
    [
        (order(), "look through the open and the closed orders before you place it again"),
        (order(identifier="mine"), "look for the order with identifier 'mine'; an identifier"),
        (CancelOrder(account="a", uuid="u"), "look at the order before you cancel it again"),
        (anything("POST"), "look whether it had its effect before you send it again"),
        (anything("DELETE"), "look whether it had its effect before you send it again"),
    ],
)
def test_who_changes_something_is_told_how_to_find_out(request_: Request[Any], advice: str) -> None:
    """And that a program must not simply ask again."""
    told = in_doubt(request_, LATE)

    assert isinstance(told, OutcomeUnknown)
    assert not told.retryable
    assert str(told).startswith(f"{LATE}; it may have arrived all the same: {advice}")


@pytest.mark.parametrize(
    "request_", [GetBalances(account="a"), anything("GET"), order(test=True)], ids=repr
)
def test_who_only_looks_gets_the_error_as_it_was(request_: Request[Any]) -> None:
    """It can be asked again at any time."""
    assert in_doubt(request_, LATE) is LATE


def test_what_was_said_is_not_said_twice() -> None:
    """The gate to the exchange knows already that it may have arrived."""
    told = in_doubt(order(), OutcomeUnknown("upbit: status 503; it may have arrived all the same"))
    assert str(told).count("may have arrived") == 1
