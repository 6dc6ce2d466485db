"""Trying a key against its exchange: what it can read, what it may do, when it ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from actors.account_values import ApiKey, Balance
from actors.errors import ExchangeError, InvalidRequest, KeyRefused, RequestRejected
from actors.key_messages import GetApiKeys, GetBalances, GetOrders, PlaceOrder
from actors.key_reports import KeyTest
from runtime.core.message import Request

Ask = Callable[[Request[Any], float], Awaitable[Any]]


async def try_account(ask: Ask, account: str, deadline_s: float) -> KeyTest:
    """Return what the exchange says of a key.

    Args:
      ask: Asks the exchange something about an account, until a deadline.
      account: An open account client of the key.
      deadline_s: When nobody waits any more, on `Clock.now_s`.

    Raises:
      ExchangeUnavailable: The exchange does not answer, so nothing is known.
    """
    questions: dict[str, Request[Any]] = {
        "view_account": GetBalances(account=account),
        "view_orders": GetOrders(account=account, count=1),
        "make_orders": PlaceOrder(
            account=account,
            market="KRW-BTC",
            side="bid",
            price="1000",
            volume="5",
            test=True,
        ),
        "list_keys": GetApiKeys(account=account),
    }
    answers: dict[str, Any] = {}
    permissions: dict[str, str] = {}
    for permission, question in questions.items():
        permissions[permission], answers[permission] = await _answer(ask, question, deadline_s)
    return _verdict(account.partition("#")[0], permissions, answers)


async def _answer(ask: Ask, question: Request[Any], deadline_s: float) -> tuple[str, Any]:
    try:
        return "ok", await ask(question, deadline_s)
    except RequestRejected as error:
        if isinstance(question, PlaceOrder) and error.code not in _KEY_TROUBLES:
            # It got as far as the order itself, which is more than a key without leave does.
            return "ok", None
        return error.code or "refused", None
    except (KeyRefused, InvalidRequest) as error:
        return f"not asked: {error}", None
    except ExchangeError as error:
        if error.retryable:
            raise
        return "an answer without sense", None


# What an exchange says of the key itself. Source: Upbit's list of errors, read 2026-11-21.
_KEY_TROUBLES = frozenset(
    {
        "out_of_scope",
        "expired_access_key",
        "invalid_access_key",
        "jwt_verification",
        "invalid_query_payload",
        "nonce_used",
        "no_authorization_ip",
        "no_authorization_i_p",
        "no_authorization_token",
    }
)


def _verdict(name: str, permissions: dict[str, str], answers: dict[str, Any]) -> KeyTest:
    balances: tuple[Balance, ...] | None = answers["view_account"]
    keys: tuple[ApiKey, ...] | None = answers["list_keys"]
    own = next((key for key in keys or () if key.own), None)
    problems = [
        f"{permission}: the exchange says {said}"
        for permission, said in permissions.items()
        if said in _KEY_TROUBLES - {"out_of_scope"}
    ]
    if permissions["view_account"] == "out_of_scope":
        problems.append("it may not read balances")
    return KeyTest(
        name=name,
        works=not problems and permissions["view_account"] == "ok",
        currencies=None if balances is None else tuple(each.currency for each in balances),
        permissions=permissions,
        expires_ms=None if own is None else own.expires_ms,
        problems=tuple(dict.fromkeys(problems)),
    )
