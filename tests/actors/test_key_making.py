"""A key as its owner hands it in: what is refused, and what one that replaces another keeps."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from actors.errors import InvalidRequest
from actors.exchanges.okx.signer import OkxSigner
from actors.exchanges.upbit.signer import UpbitSigner
from actors.key_making import ALLOW, make_key
from actors.key_messages import AddKey
from actors.vault.values import KeyInfo

NOW_MS = 1_767_225_600_000
ACCESS = "an access key"


def made(before: KeyInfo | None = None, exchange: str = "upbit", **said: Any) -> KeyInfo:
    """Return what is known of a new key."""
    given = {"access_key": ACCESS, "secret_key": "a secret key", **said}
    request = AddKey(exchange=exchange, label="main", **given)
    signer = OkxSigner() if exchange == "okx" else UpbitSigner()
    info, credential = make_key(request, before, signer=signer, host="host", now_ms=NOW_MS)
    credential.wipe()
    return info


def test_a_new_key_may_sign_everything_but_withdrawals() -> None:
    """No pattern covers these; see `check_use`."""
    info = made()

    assert (info.allow, info.requests_per_minute, info.uid) == (ALLOW, None, "")
    assert (info.hint, info.host, info.created_ms) == (ACCESS[:4], "host", NOW_MS)


def test_a_key_in_the_place_of_another_keeps_what_is_not_said() -> None:
    """A new key every year must not come with more rights than the old one."""
    before = made(
        allow=("GET /v1/*",), requests_per_minute=5, uid="u", telegram_id="t", expires="2026-06-01"
    )
    after = made(before, access_key="another access key")

    assert (after.id, after.created_ms) == (before.id, before.created_ms)
    assert (after.allow, after.requests_per_minute) == (("GET /v1/*",), 5)
    assert (after.uid, after.telegram_id) == ("u", "t")
    assert after.expires_ms is None
    assert after.access_sha256 != before.access_sha256


def test_a_key_in_the_place_of_another_takes_what_is_said() -> None:
    """Also nothing, where that is said."""
    before = made(allow=("GET /v1/*",), requests_per_minute=5, uid="u")
    after = made(before, allow=("* /*",), requests_per_minute=7, uid="")

    assert (after.allow, after.requests_per_minute, after.uid) == (("* /*",), 7, "")


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ({"secret_key": ACCESS}, "must be two, and are the same text"),
        ({"secret_key": "short"}, "secret_key must be 8 to 1024 bytes long, was 5"),
        ({"secret_key": "x" * 1_025}, "secret_key must be 8 to 1024 bytes long, was 1025"),
        ({"access_key": " an access key"}, "access_key must be printable text without spaces"),
        ({"secret_key": "a secret\x07key"}, "secret_key must be printable text"),
        ({"secret_key": "a secret \ud800key"}, "secret_key must be text of whole characters"),
        ({"passphrase": "a third secret"}, "keys of upbit have no passphrase"),
        ({"exchange": "okx"}, "keys of okx have a passphrase as well"),
        ({"requests_per_minute": 0}, "requests_per_minute must be 1 to 100000, was 0"),
        ({"uid": "two\nlines"}, "uid must be at most 100 characters on one line"),
        ({"allow": ()}, "allow must hold 1 to 100 rules, was 0"),
        ({"expires": NOW_MS}, "expires must lie in the future, was 2026-01-01T00:00:00Z"),
        ({"expires": "2020-01-01"}, "a key that has expired signs nothing"),
        ({"allow": ("GET /*", "* /v1/withdraws/*")}, r"was '\* /v1/withdraws/\*'"),
        ({"uid": ACCESS}, "the key itself must not stand in a name, a note, a rule or a path"),
    ],
)
def test_what_cannot_be_a_key_is_refused_without_quoting_it(
    said: dict[str, Any], wanted: str
) -> None:
    """The message goes to logs and screens."""
    with pytest.raises(InvalidRequest, match=wanted) as caught:
        made(**said)
    assert "secret\x07key" not in str(caught.value)
    assert ACCESS not in str(caught.value)


def test_what_is_known_survives_its_own_form() -> None:
    """It is sealed as JSON, and older vaults lack what came later."""
    info = made()
    older = msgspec.to_builtins(info)
    del older["access_sha256"]

    assert msgspec.json.decode(msgspec.json.encode(info), type=KeyInfo) == info
    assert msgspec.convert(older, KeyInfo).access_sha256 == ""


@pytest.mark.parametrize("expires", ["none", 0, NOW_MS + 1])
def test_end_that_is_not_known_or_lies_ahead_is_taken(expires: str | int) -> None:
    """`none` is how it is said where something must be said."""
    wanted = expires if expires == NOW_MS + 1 else None
    assert made(expires=expires).expires_ms == wanted


def test_rules_that_were_kept_are_not_looked_at_again() -> None:
    """A key that is replaced in a hurry must not fail for a rule of years ago."""
    before = msgspec.structs.replace(made(), allow=("POST /v1/withdraws/*",))
    assert made(before).allow == before.allow
