"""The sandbox's private side: who is let in, and what for."""

from __future__ import annotations

import json
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.sandbox.accounts import (
    KEY_LIFE_MS,
    PERMISSIONS,
    SANDBOX_ACCESS_KEY,
    SANDBOX_SECRET_KEY,
    SandboxAccount,
    SandboxKey,
    default_account,
)
from actors.sandbox.exchange import SandboxExchange
from actors.sandbox.market import SandboxMarket
from actors.sandbox.private_auth import NONCES_MAX, Gate
from actors.sandbox.private_words import PrivateRefusal
from actors.sandbox.simulated_time import SimulatedTime
from actors.sandbox.testing import Holder, ask, make_token


def send(
    exchange: SandboxExchange, token: str, target: str = "/v1/accounts", *, scheme: str = "Bearer"
) -> tuple[int, str]:
    """Return status and name of what a token is answered with."""
    answer = ask(exchange, target, Authorization=f"{scheme} {token}")
    said = json.loads(answer.body)
    return answer.status, said["error"]["name"] if isinstance(said, dict) else ""


def claims(**more: Any) -> dict[str, Any]:
    """Return what a good token says."""
    return {"access_key": SANDBOX_ACCESS_KEY, "nonce": "1", **more}


# ------------------------------------------------------------------ who is let in


@pytest.mark.parametrize("hash_name", ["HS256", "HS384", "HS512"])
def test_a_token_of_pyjwt_is_let_in(hash_name: str) -> None:
    """With each of the three hashes that Upbit takes."""
    secret = SANDBOX_SECRET_KEY.ljust(64, "x")
    key = SandboxKey("long-key", secret)
    gate = Gate([SandboxAccount("long", (key,))])
    said = {"access_key": "long-key", "nonce": hash_name}
    token = jwt.encode(said, secret, algorithm=hash_name)
    assert gate.let_in({"authorization": f"Bearer {token}"}, 0).account.name == "long"


@pytest.mark.parametrize(
    ("token", "name"),
    [
        ("", "no_authorization_token"),
        ("x", "jwt_verification"),
        ("a.b.c", "jwt_verification"),
        ("a.b.c.d", "jwt_verification"),
        ("é.é.é", "jwt_verification"),
        ("x" * 20_000 + ".x.x", "jwt_verification"),
        (make_token(claims(), "another secret"), "jwt_verification"),
        (make_token(claims(nonce=""), SANDBOX_SECRET_KEY), "jwt_verification"),
        (make_token({"access_key": SANDBOX_ACCESS_KEY}, SANDBOX_SECRET_KEY), "jwt_verification"),
        (make_token(claims(access_key="nobody"), SANDBOX_SECRET_KEY), "invalid_access_key"),
        (make_token(claims(query_hash="ab"), SANDBOX_SECRET_KEY), "invalid_query_payload"),
    ],
)
def test_what_proves_nothing_is_refused(private: SandboxExchange, token: str, name: str) -> None:
    """With the status and the name that Upbit gives."""
    assert send(private, token) == (401, name)


def test_a_token_without_its_signature_proves_nothing(private: SandboxExchange) -> None:
    """The oldest trick: to say that there is none."""
    unsigned = jwt.encode(claims(), "", algorithm="none")
    assert send(private, unsigned) == (401, "jwt_verification")
    good = make_token(claims(), SANDBOX_SECRET_KEY)
    assert send(private, good.rpartition(".")[0] + ".") == (401, "jwt_verification")
    assert send(private, good, scheme="Basic") == (401, "no_authorization_token")
    assert send(private, good) == (200, "")


@given(place=st.integers(0, 10_000), letter=st.sampled_from("Ab0-_"))
@settings(max_examples=50)
def test_no_letter_of_a_token_can_be_changed(place: int, letter: str) -> None:
    """But for the last of each part, some of whose bits mean nothing."""
    gate = Gate([default_account(0)])
    token = make_token(claims(), SANDBOX_SECRET_KEY)
    at = place % (len(token) - 1)
    if token[at] in (letter, ".") or token[at + 1] == ".":
        return
    changed = token[:at] + letter + token[at + 1 :]
    with pytest.raises(PrivateRefusal, match="401"):
        gate.let_in({"authorization": f"Bearer {changed}"}, 0)


def test_a_nonce_works_once(private: SandboxExchange) -> None:
    """Who copies a token on its way cannot use it again."""
    token = make_token(claims(), SANDBOX_SECRET_KEY)
    assert send(private, token) == (200, "")
    assert send(private, token) == (401, "nonce_used")


def test_a_nonce_counts_for_its_key_and_only_if_it_was_signed() -> None:
    """Else anybody could use up those of others."""
    keys = (SandboxKey("one", "first"), SandboxKey("two", "second"))
    gate = Gate([SandboxAccount("a", keys)])

    def enter(access_key: str, secret_key: str) -> None:
        token = make_token({"access_key": access_key, "nonce": "1"}, secret_key)
        gate.let_in({"authorization": f"Bearer {token}"}, 0)

    with pytest.raises(PrivateRefusal, match="jwt_verification"):
        enter("one", "forged")
    enter("one", "first")
    enter("two", "second")
    with pytest.raises(PrivateRefusal, match="nonce_used"):
        enter("two", "second")


def test_nonces_are_forgotten_only_when_there_are_too_many() -> None:
    """Memory has a bound; nobody waits that long with a copied token."""
    gate = Gate([SandboxAccount("a", (SandboxKey("one", "first"),))])

    def enter(nonce: int) -> None:
        token = make_token({"access_key": "one", "nonce": str(nonce)}, "first", hash_name="HS256")
        gate.let_in({"authorization": f"Bearer {token}"}, 0)

    for nonce in range(NONCES_MAX + 1):
        enter(nonce)
    enter(0)
    with pytest.raises(PrivateRefusal, match="nonce_used"):
        enter(2)


def test_a_key_ends_to_the_millisecond(weak: Holder, hand_clock: Any) -> None:
    """And is listed with its end, in Korea's time."""
    hand_clock.time_s += 9.999
    rows = weak.get("/v1/api_keys")
    assert rows == [{"access_key": "weak-key", "expire_at": "2026-01-01T12:25:55+09:00"}]
    hand_clock.time_s += 0.001
    assert weak.refusal("GET", "/v1/api_keys") == (401, "expired_access_key")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/accounts"),
        ("GET", "/v1/orders/chance"),
        ("GET", "/v1/order"),
        ("GET", "/v1/orders/open"),
        ("GET", "/v1/orders/closed"),
        ("POST", "/v1/orders"),
        ("POST", "/v1/orders/test"),
        ("DELETE", "/v1/order"),
        ("DELETE", "/v1/orders/open"),
        ("POST", "/v1/withdraws/coin"),
    ],
)
def test_a_key_may_only_what_it_was_allowed(weak: Holder, method: str, path: str) -> None:
    """Whatever the request says."""
    assert weak.refusal(method, path) == (401, "out_of_scope")


def test_a_withdrawal_needs_its_own_permission(
    markets: tuple[SandboxMarket, ...], hand_clock: Any, now_ms: int, holder: Holder
) -> None:
    """Which the key that everybody has is without."""
    wish = {"currency": "BTC", "net_type": "BTC", "amount": "0.01", "address": "somewhere"}
    assert holder.refusal("POST", "/v1/withdraws/coin", **wish) == (401, "out_of_scope")
    account = SandboxAccount("rich", (SandboxKey("key", "secret", PERMISSIONS),), {"BTC": "1"})
    time = SimulatedTime(hand_clock, start_ms=now_ms)
    exchange = SandboxExchange(markets, clock=hand_clock, time=time, accounts=[account])
    answer = Holder(exchange, "key", "secret").ask("POST", "/v1/withdraws/coin", **wish)
    assert (answer.status, json.loads(answer.body)["state"]) == (201, "WAITING")


# ------------------------------------------------------------------ accounts


def test_a_key_does_not_show_its_secret() -> None:
    """Neither in a log nor in a traceback."""
    account = default_account(5)
    assert SANDBOX_SECRET_KEY not in repr(account)
    assert account.keys[0].expires_ms == KEY_LIFE_MS + 5


def test_accounts_that_contradict_each_other_are_refused() -> None:
    """Before anybody can ask."""
    key = SandboxKey("one", "first")
    with pytest.raises(ValueError, match="access keys are unique, one"):
        Gate([SandboxAccount("a", (key,)), SandboxAccount("b", (key,))])
    with pytest.raises(ValueError, match="names of their own, two are 'a'"):
        Gate([SandboxAccount("a"), SandboxAccount("a")])
    with pytest.raises(ValueError, match=r"permissions of a key .*; was fly"):
        SandboxKey("one", "first", frozenset({"fly"}))
