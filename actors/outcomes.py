"""What is told to who asked for a change at the exchange, and got no answer."""

from __future__ import annotations

from typing import Any

from actors.errors import OutcomeUnknown
from actors.key_messages import AccountRequest, CancelOrder, PlaceOrder
from runtime.core.message import Request


def in_doubt(request: Request[Any], error: Exception) -> Exception:
    """Return the error to raise where `error` came instead of an answer.

    It is `error` itself for a request that changes nothing: that may be asked again at any time.
    Else it is an `OutcomeUnknown`, which says how to find out.
    """
    look = _advice(request)
    if not look:
        return error
    told = "" if isinstance(error, OutcomeUnknown) else "; it may have arrived all the same"
    return OutcomeUnknown(f"{error}{told}: {look}")


def changes_something(request: Request[Any]) -> bool:
    """Return whether a request changes something at the exchange."""
    return bool(_advice(request))


def _advice(request: Request[Any]) -> str:
    """Return how to find out what became of a request; empty if it changes nothing."""
    match request:
        case PlaceOrder(test=False, identifier=""):
            return "look through the open and the closed orders before you place it again"
        case PlaceOrder(test=False, identifier=identifier):
            # Source: https://docs.upbit.com/kr/reference/new-order, read 2026-11-21.
            return (
                f"look for the order with identifier {identifier[:100]!r}; an identifier is taken "
                "only once, so placing it again under the same one is safe"
            )
        case CancelOrder():
            return "look at the order before you cancel it again"
        case AccountRequest(method=method) if method != "GET":
            return "look whether it had its effect before you send it again"
        case _:
            return ""
