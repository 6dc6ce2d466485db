"""The sandbox's private side: what was signed, where it counts, and how it is reached."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from typing import Any

import httpx
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.exchanges.base import encode_query
from actors.exchanges.signing import ToSign
from actors.exchanges.upbit.signer import UpbitSigner
from actors.sandbox.accounts import (
    SANDBOX_ACCESS_KEY,
    SANDBOX_SECRET_KEY,
    default_account,
)
from actors.sandbox.exchange import SandboxExchange
from actors.sandbox.faults import Fault
from actors.sandbox.market import SandboxMarket
from actors.sandbox.private_auth import Gate
from actors.sandbox.private_words import read_words
from actors.sandbox.server import open_sandbox_server
from actors.sandbox.simulated_time import SimulatedTime
from actors.sandbox.testing import Holder, make_token
from actors.sandbox.transport import SandboxTransport
from actors.vault.secret import Secret
from actors.vault.values import Credential
from runtime.core.clock import TrioClock


def claims(**more: Any) -> dict[str, Any]:
    """Return what a good token says."""
    return {"access_key": SANDBOX_ACCESS_KEY, "nonce": "1", **more}


# ------------------------------------------------------------------ what was signed


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/v1/orders/open?market=KRW-ETH", b""),
        ("/v1/orders/open?market=KRW-BTC&limit=5", b""),
        ("/v1/orders/open", b""),
        ("/v1/orders/open", b'{"market":"KRW-ETH"}'),
        ("/v1/orders/open?market=KRW-ETH", b'{"market":"KRW-BTC"}'),
    ],
)
def test_nothing_else_can_be_asked_than_was_signed(
    private: SandboxExchange, target: str, body: bytes
) -> None:
    """Neither more, nor less, nor in the other place."""
    [(name, value)] = UpbitSigner().sign(
        Credential(Secret.of_text(SANDBOX_ACCESS_KEY), Secret.of_text(SANDBOX_SECRET_KEY)),
        ToSign("GET", "/v1/orders/open", params=[("market", "KRW-BTC")]),
        nonce="1",
        utc_ms=0,
    )
    answer = private.handle("GET", target, [(name, value)], "127.0.0.1", body)
    assert (answer.status, b"invalid_query_payload" in answer.body) == (401, True)


NAMES = st.text("abc_", min_size=1, max_size=5)
VALUES = st.text(st.characters(codec="utf-8")) | st.text('&=+%; []"/?#', max_size=8)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=5, unique_by=lambda pair: pair[0]))
@settings(max_examples=60)
def test_what_our_signer_signs_is_what_the_sandbox_reads(pairs: list[tuple[str, str]]) -> None:
    """In a query and in a body, whatever the letters."""
    gate = Gate([default_account(0)])
    credential = Credential(Secret.of_text(SANDBOX_ACCESS_KEY), Secret.of_text(SANDBOX_SECRET_KEY))
    for number, (query, body) in enumerate(
        [(encode_query(pairs), b""), ("", json.dumps(dict(pairs)).encode() if pairs else b"")]
    ):
        request = ToSign("POST", "/v1/orders", query, pairs, body)
        fields = UpbitSigner().sign(credential, request, nonce=str(number), utc_ms=0)
        visitor = gate.let_in({name.lower(): value for name, value in fields}, 0)
        words = read_words("POST", query, body)
        visitor.check(words)
        assert list(words.pairs) == pairs


@pytest.mark.parametrize(
    ("method", "body", "name"),
    [
        ("POST", b"market=KRW-BTC", "invalid_parameter"),
        ("POST", b"{", "invalid_parameter"),
        ("POST", b'{"a":{"b":1}}', "validation_error"),
        ("POST", b"[" * 5_000, "invalid_parameter"),
    ],
)
def test_a_body_that_is_not_plain_json_is_refused(
    private: SandboxExchange, method: str, body: bytes, name: str
) -> None:
    """As Upbit does since forms are not taken any more."""
    token = make_token(claims(), SANDBOX_SECRET_KEY)
    headers = [("Authorization", f"Bearer {token}")]
    answer = private.handle(method, "/v1/orders", headers, "127.0.0.1", body)
    assert (answer.status, json.loads(answer.body)["error"]["name"]) == (400, name)


# ------------------------------------------------------------------ where it counts


def remaining(answer: Any) -> str:
    """Return what an answer says is left."""
    return str(dict(answer.headers)["Remaining-Req"])


def test_private_groups_are_counted_by_account(private: SandboxExchange, weak: Holder) -> None:
    """Whatever the address; and each account for itself."""
    here, there = (Holder(private, client=address) for address in ("10.0.0.1", "10.0.0.2"))
    there._numbers = iter(range(1_000, 2_000))  # type: ignore[assignment] # nonces of its own
    assert remaining(here.ask("GET", "/v1/accounts")) == "group=default; min=1800; sec=29"
    assert remaining(there.ask("GET", "/v1/accounts")) == "group=default; min=1800; sec=28"
    assert remaining(weak.ask("GET", "/v1/api_keys")).endswith("sec=29")
    wish = {"market": "KRW-BTC", "side": "bid", "ord_type": "limit", "price": "1", "volume": "1"}
    assert remaining(here.ask("POST", "/v1/orders", **wish)).startswith("group=order; min=720")
    answer = here.ask("POST", "/v1/orders/test", **wish)
    assert remaining(answer) == "group=order-test; min=480; sec=7"
    assert remaining(here.ask("DELETE", "/v1/orders/open")).startswith("group=order-cancel-all")


def test_one_request_too_many_is_refused_and_does_nothing(holder: Holder, hand_clock: Any) -> None:
    """429 in plain text, and the order was not placed."""
    for _ in range(12):
        holder.refused_order(price="1", volume="1")
    answer = holder.ask("POST", "/v1/orders", market="KRW-BTC", side="bid")
    assert (answer.status, answer.body) == (429, b"Too many API requests.")
    hand_clock.time_s += 1.0
    assert holder.refused_order(price="1", volume="1") == (400, "under_min_total_bid")
    assert holder.ask("DELETE", "/v1/orders/open").status == 200
    assert holder.ask("DELETE", "/v1/orders/open").status == 429


def test_who_proves_nothing_is_counted_by_address(private: SandboxExchange) -> None:
    """So that nobody can use up an account's requests without its key."""
    stranger = Holder(private, secret_key="guess", client="10.9.9.9")  # noqa: S106 - a guess
    statuses = [stranger.ask("GET", "/v1/accounts").status for _ in range(31)]
    assert statuses == [401] * 30 + [429]
    assert Holder(private).ask("GET", "/v1/accounts").status == 200


def test_an_unknown_method_of_a_private_path_is_refused(holder: Holder) -> None:
    """And without an account every private path asks for a token."""
    assert holder.refusal("PUT", "/v1/accounts") == (405, "method_not_allowed")


def test_without_accounts_nobody_is_let_in(exchange: SandboxExchange) -> None:
    """As it was before there were any."""
    assert Holder(exchange).refusal("GET", "/v1/accounts") == (401, "invalid_access_key")


@pytest.mark.parametrize(
    ("fault", "happened"),
    [(Fault.HANG, True), (Fault.HALF_BODY, True), (Fault.GARBAGE, True), (Fault.STATUS_500, False),
     (Fault.AWAY, False)],
)  # fmt: skip
def test_a_fault_may_hide_that_an_order_was_placed(
    private: SandboxExchange, holder: Holder, fault: Fault, *, happened: bool
) -> None:
    """What a bot must be ready for: no answer does not mean no order."""
    private.faults.switch_on(fault, group="order", times=1)
    wish = {"market": "KRW-BTC", "side": "bid", "ord_type": "limit", "price": "1000", "volume": "9"}
    holder.ask("POST", "/v1/orders", **wish)
    assert len(holder.get("/v1/orders/open")) == happened


# ------------------------------------------------------------------ how it is reached


async def test_a_body_reaches_the_exchange_through_httpx(
    private: SandboxExchange, holder: Holder
) -> None:
    """The way in which marketd's own tests ask."""
    wish = {"market": "KRW-BTC", "side": "bid", "ord_type": "price", "price": "10000"}
    [(name, value)] = UpbitSigner().sign(
        Credential(Secret.of_text(SANDBOX_ACCESS_KEY), Secret.of_text(SANDBOX_SECRET_KEY)),
        ToSign("POST", "/v1/orders", params=list(wish.items())),
        nonce="through httpx",
        utc_ms=0,
    )
    transport = SandboxTransport(private)
    async with httpx.AsyncClient(base_url="http://sandbox", transport=transport) as client:
        response = await client.post("/v1/orders", json=wish, headers={name: value})
    assert (response.status_code, response.json()["ord_type"]) == (201, "price")
    assert len(holder.get("/v1/orders/closed")) == 1


@pytest.mark.real_time
async def test_a_body_reaches_the_exchange_through_a_socket(
    markets: tuple[SandboxMarket, ...], clock: TrioClock, now_ms: int
) -> None:
    """The way in which everybody else's clients ask."""
    accounts = [default_account(now_ms)]
    time = SimulatedTime(clock, start_ms=now_ms)
    exchange = SandboxExchange(markets, clock=clock, time=time, accounts=accounts)
    wish = {"market": "KRW-BTC", "side": "bid", "ord_type": "price", "price": "10000"}
    said = "&".join(f"{name}={value}" for name, value in wish.items())
    hashed = hashlib.sha512(said.encode()).hexdigest()
    token = make_token(claims(query_hash=hashed), SANDBOX_SECRET_KEY)
    with trio.fail_after(5):
        async with open_sandbox_server(exchange) as server, httpx.AsyncClient() as client:
            post = partial(client.post, f"{server.url}/v1/orders", json=wish)
            response = await post(headers={"Authorization": f"Bearer {token}"})
    assert (response.status_code, response.json()["state"]) == (201, "wait")
