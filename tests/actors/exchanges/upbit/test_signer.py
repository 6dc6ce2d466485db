"""`UpbitSigner` against the documentation, PyJWT, ccxt and pyupbit."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import ccxt
import jwt
import pytest
import pyupbit
from hypothesis import given
from hypothesis import strategies as st

from actors.exchanges.signing import ToSign
from actors.exchanges.upbit.signer import UpbitSigner
from actors.vault.secret import Secret
from actors.vault.values import Credential

SIGNS_WITH = "a-secret-of-at-least-sixty-four-bytes-so-that-nobody-warns-of-it-0000"

# Source: https://docs.upbit.com/kr/reference/auth, read 2026-11-21: the access key, nonce and
# query hash of its example, and the first two parts of the token that stands there.
DOCUMENTED = {
    "access_key": "a7Xd92LmQW3vBtRzYpMj5CxNKeT1HuVs0fFgJcAw",
    "nonce": "b2f1e3f8-2dc1-4d6f-a838-c74c49b0e39a",
    "query_hash": "0b3e884d40cc992a85730cf470b4a3286f13d9c46204279ef32153bcdcd4edb7"
    "c12925e7266636e86a6d6ae5804a6bb394e632e4dba9b4045ad470c93720e5e6",
    "query_hash_alg": "SHA512",
}
DOCUMENTED_HEADER = "eyJhbGciOiJIUzUxMiIsInR5cCI6IkpXVCJ9"
DOCUMENTED_PAYLOAD = (
    "eyJhY2Nlc3Nfa2V5IjoiYTdYZDkyTG1RVzN2QnRSellwTWo1Q3hOS2VUMUh1VnMwZkZnSmNBdyIsIm5vbmNlIjoiYjJm"
    "MWUzZjgtMmRjMS00ZDZmLWE4MzgtYzc0YzQ5YjBlMzlhIiwicXVlcnlfaGFzaCI6IjBiM2U4ODRkNDBjYzk5MmE4NTcz"
    "MGNmNDcwYjRhMzI4NmYxM2Q5YzQ2MjA0Mjc5ZWYzMjE1M2JjZGNkNGVkYjdjMTI5MjVlNzI2NjYzNmU4NmE2ZDZhZTU4"
    "MDRhNmJiMzk0ZTYzMmU0ZGJhOWI0MDQ1YWQ0NzBjOTM3MjBlNWU2IiwicXVlcnlfaGFzaF9hbGciOiJTSEE1MTIifQ"
)
ORDER = [
    ("market", "KRW-BTC"),
    ("side", "bid"),
    ("ord_type", "limit"),
    ("price", "100000000"),
    ("volume", "0.0012"),
]


def credential(access: str = "access-key-0000") -> Credential:
    """Return a key that nobody has."""
    return Credential(Secret.of_text(access), Secret.of_text(SIGNS_WITH))


def token(params: Any = (), *, access: str = "access-key-0000", nonce: str = "n-1") -> str:
    """Return the token of a request with `params`."""
    request = ToSign(method="GET", path="/v1/orders", params=params)
    [(name, value)] = UpbitSigner().sign(credential(access), request, nonce=nonce, utc_ms=0)
    assert name == "Authorization"
    return value.removeprefix("Bearer ")


def claims(text: str) -> dict[str, Any]:
    """Return what a token says, its signature checked by PyJWT."""
    found: dict[str, Any] = jwt.decode(text, SIGNS_WITH, algorithms=["HS512"])
    return found


def part(text: str) -> bytes:
    """Return one part of a token, decoded."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_a_token_is_laid_out_as_in_the_documentation() -> None:
    """Header, names, their order and their spelling, to the byte; the hash is put in its place."""
    access, nonce = DOCUMENTED["access_key"], DOCUMENTED["nonce"]
    header, payload, _ = token([("market", "KRW-BTC")], access=access, nonce=nonce).split(".")
    assert header == DOCUMENTED_HEADER
    ours = part(payload).decode()
    theirs = ours.replace(json.loads(ours)["query_hash"], DOCUMENTED["query_hash"])
    assert theirs.encode() == part(DOCUMENTED_PAYLOAD)
    assert json.loads(theirs) == DOCUMENTED


def test_a_request_without_parameters_has_no_hash() -> None:
    """As the documentation says: there is nothing to hash."""
    assert claims(token()) == {"access_key": "access-key-0000", "nonce": "n-1"}


def test_the_hash_is_of_parameters_in_sent_order_and_not_encoded() -> None:
    """Brackets, colons and letters of any script as they are."""
    params = [("states[]", "wait"), ("states[]", "watch"), ("at", "2026-01-01T00:00:00+09:00")]
    params.append(("name", "비트코인"))
    said = "states[]=wait&states[]=watch&at=2026-01-01T00:00:00+09:00&name=비트코인"
    found = claims(token(params))
    assert found["query_hash"] == hashlib.sha512(said.encode()).hexdigest()
    assert found["query_hash_alg"] == "SHA512"
    assert claims(token(params[::-1]))["query_hash"] != found["query_hash"]


@given(nonce=st.text(max_size=40), access=st.text(st.characters(codec="utf-8"), min_size=1))
def test_a_token_equals_that_of_pyjwt_whatever_is_in_it(nonce: str, access: str) -> None:
    """Quotes, escapes and foreign letters: a token is never broken, and never says more."""
    found = claims(token(ORDER, access=access, nonce=nonce))
    assert (found["access_key"], found["nonce"]) == (access, nonce)
    assert list(found) == ["access_key", "nonce", "query_hash", "query_hash_alg"]


def test_a_token_is_the_bytes_that_pyjwt_makes() -> None:
    """Two implementations of the same standard."""
    ours = token(ORDER)
    said = {"alg": "HS512", "typ": "JWT"}
    assert ours == jwt.encode(claims(ours), SIGNS_WITH, algorithm="HS512", headers=said)


@pytest.mark.parametrize(
    ("method", "path", "params"),
    [
        ("GET", "accounts", {}),
        ("GET", "orders/chance", {"market": "KRW-BTC"}),
        ("DELETE", "order", {"uuid": "9ca023a5-851b-4fec-9f0a-48cd83c2eaae"}),
        ("POST", "orders", dict(ORDER)),
    ],
)
def test_claims_equal_those_of_ccxt(method: str, path: str, params: dict[str, str]) -> None:
    """For the same question with the same nonce; it signs with SHA-256, which Upbit takes too."""
    exchange = ccxt.upbit({"apiKey": "access-key-0000", "secret": SIGNS_WITH})
    signed = exchange.sign(path, ["private"], method, params)
    theirs = signed["headers"]["Authorization"].removeprefix("Bearer ")
    found = jwt.decode(theirs, SIGNS_WITH, algorithms=["HS256"])
    assert claims(token(list(params.items()), nonce=found["nonce"])) == found


@pytest.mark.parametrize(
    "query", [None, {"market": "KRW-BTC"}, dict(ORDER), {"uuids[]": ["a", "b"]}]
)
def test_claims_equal_those_of_pyupbit(query: dict[str, Any] | None) -> None:
    """For the same question with the same nonce."""
    headers = pyupbit.Upbit("access-key-0000", SIGNS_WITH)._request_headers(query)
    theirs = headers["Authorization"].removeprefix("Bearer ")
    found = jwt.decode(theirs, SIGNS_WITH, algorithms=["HS256"])
    params = [
        (name, one)
        for name, value in (query or {}).items()
        for one in (value if isinstance(value, list) else [value])
    ]
    assert claims(token(params, nonce=found["nonce"])) == found


def test_signing_leaves_the_credential_as_it_was() -> None:
    """It belongs to the vault, which wipes it."""
    held = credential()
    UpbitSigner().sign(held, ToSign("GET", "/v1/accounts"), nonce="n", utc_ms=0)
    assert (held.access_key, held.secret_key) == (credential().access_key, credential().secret_key)
    held.wipe()
    with pytest.raises(ValueError, match="wiped"):
        UpbitSigner().sign(held, ToSign("GET", "/v1/accounts"), nonce="n", utc_ms=0)


@pytest.mark.parametrize(
    ("method", "path", "moves"),
    [
        ("POST", "/v1/withdraws/coin", True),
        ("POST", "/v1/withdraws/krw", True),
        ("DELETE", "/v1/withdraws/coin", True),
        ("post", "/V1/WithDraws/Coin", True),
        ("POST", "/v1/pockets/transfers", True),
        ("POST", "/v1/%77ithdraws/coin", True),
        ("GET", "/v1/withdraws", False),
        ("GET", "/v1/withdraws/chance", False),
        ("POST", "/v1/orders", False),
        ("DELETE", "/v1/order", False),
    ],
)
def test_what_moves_money_out_is_a_withdrawal(method: str, path: str, *, moves: bool) -> None:
    """However it is spelt; looking at withdrawals is none."""
    assert UpbitSigner().is_withdrawal(method, path) is moves
