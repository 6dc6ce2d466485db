"""`OkxSigner` against the documentation's recipe, written out, and ccxt."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import datetime
from typing import Any

import ccxt
import pytest

from actors.exchanges.okx.signer import OkxSigner
from actors.exchanges.signing import ToSign
from actors.vault.secret import Secret
from actors.vault.values import Credential

# Source: https://www.okx.com/docs-v5/en/#overview-rest-authentication, read 2026-11-21: its example
# time, path, body and secret. It gives no signature; the one below was made with OpenSSL's command.
TIME = "2020-12-08T09:08:57.715Z"
TIME_MS = 1_607_418_537_715
SIGNS_WITH = "22582BD0CFF14C41EDBF1AB98506286D"
BALANCE = ToSign("GET", "/api/v5/account/balance", query="ccy=BTC", params=[("ccy", "BTC")])
BODY = b'{"instId":"BTC-USDT","lever":"5","mgnMode":"isolated"}'
BALANCE_SIGN = "HiZhvSfMtWJA3uUIVXV3a/bSXNPCWvYFXoGCVS8V4zY="
LEVERAGE_SIGN = "eCnnCgWLjlQ9XnpUkrcny3qNq3WW/81KNrDr/XR6Xv8="


def credential(third: str | None = "a passphrase") -> Credential:
    """Return the documentation's key."""
    passphrase = None if third is None else Secret.of_text(third)
    return Credential(Secret.of_text("access-key"), Secret.of_text(SIGNS_WITH), passphrase)


def sign(request: ToSign, utc_ms: int = TIME_MS) -> dict[str, str]:
    """Return the header fields of a request."""
    return dict(OkxSigner().sign(credential(), request, nonce="", utc_ms=utc_ms))


def test_a_get_is_signed_as_the_documentation_says() -> None:
    """Time, method, and the path with its query."""
    said = f"{TIME}GET/api/v5/account/balance?ccy=BTC".encode()
    wanted = base64.b64encode(hmac.new(SIGNS_WITH.encode(), said, hashlib.sha256).digest()).decode()
    assert sign(BALANCE) == {
        "OK-ACCESS-KEY": "access-key",
        "OK-ACCESS-SIGN": wanted,
        "OK-ACCESS-TIMESTAMP": TIME,
        "OK-ACCESS-PASSPHRASE": "a passphrase",
    }
    assert wanted == BALANCE_SIGN


def test_a_post_is_signed_with_its_body_to_the_byte() -> None:
    """Not with what the body means."""
    request = ToSign("POST", "/api/v5/account/set-leverage", body=BODY)
    assert sign(request)["OK-ACCESS-SIGN"] == LEVERAGE_SIGN


@pytest.mark.parametrize("ms", [0, 1, 999, 1_000, TIME_MS, 1_767_225_600_000])
def test_time_has_always_three_digits_behind_the_second(ms: int) -> None:
    """A whole second would else be written without them, and be another text."""
    assert sign(BALANCE, ms)["OK-ACCESS-TIMESTAMP"][19] == "."
    assert len(sign(BALANCE, ms)["OK-ACCESS-TIMESTAMP"]) == len(TIME)


@pytest.mark.parametrize(
    ("method", "path", "params"),
    [
        ("GET", "account/balance", {"ccy": "BTC"}),
        ("GET", "account/balance", {}),
        ("POST", "account/set-leverage", {"instId": "BTC-USDT", "lever": "5"}),
    ],
)
def test_headers_equal_those_of_ccxt(method: str, path: str, params: dict[str, str]) -> None:
    """For the same question at the same moment."""
    keys = {"apiKey": "access-key", "secret": SIGNS_WITH, "password": "a passphrase"}
    signed: dict[str, Any] = ccxt.okx(keys).sign(path, ["private"], method, params)
    url, _, query = signed["url"].partition("?")
    body = (signed["body"] or "").encode()
    theirs = {name: value for name, value in signed["headers"].items() if "OK-" in name}
    moment = datetime.fromisoformat(theirs["OK-ACCESS-TIMESTAMP"])
    utc_ms = round(moment.timestamp() * 1000)
    ours = sign(ToSign(method, f"/api/v5/{path}", query=query, body=body), utc_ms)
    assert url.endswith(f"/api/v5/{path}")
    assert ours == theirs


def test_a_key_without_a_passphrase_signs_nothing() -> None:
    """OKX would refuse it, and the attempt would count."""
    with pytest.raises(ValueError, match="needs a passphrase, had none"):
        OkxSigner().sign(credential(None), BALANCE, nonce="", utc_ms=0)


@pytest.mark.parametrize(
    ("method", "path", "moves"),
    [
        ("POST", "/api/v5/asset/withdrawal", True),
        ("POST", "/api/v5/asset/withdrawal-lightning", True),
        ("POST", "/api/v5/asset/transfer", True),
        ("POST", "/api/v5/asset/subaccount/transfer", True),
        ("POST", "/api/v5/asset/Cancel-Withdrawal", True),
        ("POST", "/api/v5/asset/%74ransfer", True),
        ("GET", "/api/v5/asset/withdrawal-history", False),
        ("POST", "/api/v5/trade/order", False),
    ],
)
def test_what_moves_money_out_is_a_withdrawal(method: str, path: str, *, moves: bool) -> None:
    """However it is spelt; looking at withdrawals is none."""
    assert OkxSigner().is_withdrawal(method, path) is moves
