"""A key as its owner hands it in, checked and made into what the vault holds. Plain functions."""

from __future__ import annotations

from hashlib import sha256

from actors.errors import InvalidRequest
from actors.exchanges.signing import Signer
from actors.key_messages import AddKey
from actors.key_rules import (
    check_allow,
    check_apart,
    check_cap,
    check_label,
    check_owner,
    check_reach,
    parse_end,
)
from actors.timeframes import format_time_ms
from actors.vault.secret import Secret
from actors.vault.sodium import random_bytes
from actors.vault.values import Credential, KeyInfo

# What a key may sign if nobody says: everything but withdrawals, which no pattern covers.
ALLOW = ("* /*",)
HINT_CHARACTERS = 4
SECRET_BYTES_MIN = 8
SECRET_BYTES_MAX = 1_024


def make_key(
    request: AddKey, before: KeyInfo | None, *, signer: Signer, host: str, now_ms: int
) -> tuple[KeyInfo, Credential]:
    """Return a new key as the vault holds it.

    Args:
      request: What its owner hands in.
      before: The key in whose place it comes; what is not said stays as it was there.
      signer: Its exchange's.
      host: Where it will be used.
      now_ms: The time, UTC milliseconds.

    Raises:
      InvalidRequest: Something of it will not do; no secret is in the message.
    """
    check_label(request.label)
    _check_secrets(request, signer)
    info = KeyInfo(
        id=random_bytes(16).hex() if before is None else before.id,
        exchange=request.exchange,
        label=request.label,
        hint=request.access_key[:HINT_CHARACTERS],
        host=host,
        created_ms=now_ms if before is None else before.created_ms,
        changed_ms=now_ms,
        # Never that of the key before: it has a year of its own.
        expires_ms=_end(request, now_ms),
        allow=_allow(request, before, signer),
        requests_per_minute=_cap(request, before),
        uid=_owner("uid", request.uid, before),
        telegram_id=_owner("telegram_id", request.telegram_id, before),
        access_sha256=sha256(request.access_key.encode()).hexdigest(),
    )
    passphrase = Secret.of_text(request.passphrase) if request.passphrase else None
    access, secret = Secret.of_text(request.access_key), Secret.of_text(request.secret_key)
    credential = Credential(access, secret, passphrase)
    check_apart(credential, (info.label, info.uid, info.telegram_id, *info.allow))
    return info, credential


def _end(request: AddKey, now_ms: int) -> int | None:
    ends_ms = None if request.expires is None else parse_end(request.expires)
    if ends_ms is not None and ends_ms <= now_ms:
        raise InvalidRequest(
            f"a key that has expired signs nothing: expires must lie in the future, was "
            f"{format_time_ms(ends_ms)}"
        )
    return ends_ms


def _allow(request: AddKey, before: KeyInfo | None, signer: Signer) -> tuple[str, ...]:
    if request.allow is not None:
        rules = check_allow(request.allow)
        check_reach(rules, signer)
        return rules
    return ALLOW if before is None else before.allow


def _cap(request: AddKey, before: KeyInfo | None) -> int | None:
    if request.requests_per_minute is not None or before is None:
        check_cap(request.requests_per_minute)
        return request.requests_per_minute
    return before.requests_per_minute


def _owner(name: str, value: str | None, before: KeyInfo | None) -> str:
    if value is not None:
        check_owner(name, value)
        return value
    return "" if before is None else str(getattr(before, name))


def _check_secrets(request: AddKey, signer: Signer) -> None:
    if signer.has_passphrase != bool(request.passphrase):
        wanted = "have a passphrase as well" if signer.has_passphrase else "have no passphrase"
        raise InvalidRequest(f"keys of {request.exchange} {wanted}")
    for name in ("access_key", "secret_key", "passphrase"):
        _check_secret(name, getattr(request, name), optional=name == "passphrase")
    if request.access_key == request.secret_key:
        raise InvalidRequest("access_key and secret_key must be two, and are the same text")


def _check_secret(name: str, value: str, *, optional: bool) -> None:
    """Refuse what cannot be a secret, without saying what it was."""
    if optional and not value:
        return
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise InvalidRequest(f"{name} must be text of whole characters")
    size = len(value.encode())
    if not SECRET_BYTES_MIN <= size <= SECRET_BYTES_MAX:
        raise InvalidRequest(
            f"{name} must be {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes long, was {size}"
        )
    if not value.isprintable() or value != value.strip():
        raise InvalidRequest(f"{name} must be printable text without spaces around it")
