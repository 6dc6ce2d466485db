"""Who sends a private request: tokens are checked for real, as Upbit does.

Source: https://docs.upbit.com/kr/reference/auth and its list of errors, read 2026-11-21.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64decode
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from actors.sandbox.accounts import SandboxAccount, SandboxKey
from actors.sandbox.private_words import PrivateRefusal, Words

# How many nonces of a key are remembered; older ones would pass again, which nobody waits for.
NONCES_MAX = 10_000

_TOKEN_LETTERS_MAX = 8_192
_HASHES = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}


class _Header(msgspec.Struct):
    alg: str


class _Claims(msgspec.Struct):
    access_key: str
    nonce: str
    query_hash: str = ""
    query_hash_alg: str = "SHA512"


_HEADERS = msgspec.json.Decoder(_Header)
_CLAIMS = msgspec.json.Decoder(_Claims)


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who sends a request.

    Attributes:
      account: Whose account it is about.
      key: The key that signed.
      query_hash: What it says it asks, hashed; empty if it says nothing.
      query_hash_alg: With what.
    """

    account: SandboxAccount
    key: SandboxKey
    query_hash: str
    query_hash_alg: str

    def check(self, words: Words) -> None:
        """Refuse a request that is not the one which was signed.

        Raises:
          PrivateRefusal: The hash is missing, or of something else.
        """
        hashed = hashlib.sha512(words.said.encode()).hexdigest()
        wanted = ("", hashed) if not words.said else (hashed,)
        if self.query_hash.lower() not in wanted or self.query_hash_alg.upper() != "SHA512":
            raise PrivateRefusal(
                401, "invalid_query_payload", "Jwt의 query를 검증하는데 실패하였습니다."
            )

    def may(self, permission: str) -> None:
        """Refuse what the key is not allowed; an empty permission is everybody's.

        Raises:
          PrivateRefusal: It is not.
        """
        if permission and permission not in self.key.permissions:
            raise PrivateRefusal(401, "out_of_scope", "권한이 부족합니다.")


@dataclass(slots=True)
class _Held:
    account: SandboxAccount
    key: SandboxKey
    nonces: set[str] = field(default_factory=set)
    oldest: deque[str] = field(default_factory=deque)

    def use(self, nonce: str) -> bool:
        """Remember a nonce; return whether it is new."""
        if nonce in self.nonces:
            return False
        if len(self.oldest) == NONCES_MAX:
            self.nonces.discard(self.oldest.popleft())
        self.oldest.append(nonce)
        self.nonces.add(nonce)
        return True


class Gate:
    """Lets in whoever has signed with a key that is known.

    Args:
      accounts: Whose keys are known.

    Raises:
      ValueError: Two keys are the same, or two accounts have one name.
    """

    def __init__(self, accounts: Iterable[SandboxAccount]) -> None:
        self._held: dict[str, _Held] = {}
        names = set()
        for account in accounts:
            if account.name in names:
                raise ValueError(f"accounts need names of their own, two are {account.name!r}")
            names.add(account.name)
            for key in account.keys:
                if key.access_key in self._held:
                    raise ValueError(f"access keys are unique, {key.access_key[:4]}... is not")
                self._held[key.access_key] = _Held(account, key)

    def let_in(self, fields: Mapping[str, str], now_ms: int) -> Visitor:
        """Return who sends a request.

        Args:
          fields: Header fields, names in lower case.
          now_ms: The market's time.

        Raises:
          PrivateRefusal: There is no token, or it proves nothing.
        """
        scheme, _, token = fields.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise PrivateRefusal(401, "no_authorization_token", "인증 토큰이 없습니다.")
        signed, hash_name, claims, signature = _read(token.strip())
        held = self._held.get(claims.access_key)
        if held is None:
            raise PrivateRefusal(401, "invalid_access_key", "잘못된 엑세스 키입니다.")
        wanted = hmac.digest(held.key.secret_key.encode(), signed, hash_name)
        if not hmac.compare_digest(wanted, signature):
            raise _unverified()
        if held.key.expires_ms is not None and held.key.expires_ms <= now_ms:
            raise PrivateRefusal(401, "expired_access_key", "This key has expired.")
        if not held.use(claims.nonce):
            raise PrivateRefusal(401, "nonce_used", "이미 요청한 nonce값이 다시 사용되었습니다.")
        return Visitor(held.account, held.key, claims.query_hash, claims.query_hash_alg)


def _read(token: str) -> tuple[bytes, str, _Claims, bytes]:
    """Return what was signed, with which hash, what it says, and the signature."""
    parts = token.split(".")
    if len(parts) != 3 or len(token) > _TOKEN_LETTERS_MAX:  # noqa: PLR2004 - as the standard says
        raise _unverified()
    try:
        header, payload, signature = (urlsafe_b64decode(f"{part}==") for part in parts)
        hash_name = _HASHES[_HEADERS.decode(header).alg]
        claims = _CLAIMS.decode(payload)
        signed = f"{parts[0]}.{parts[1]}".encode("ascii")
    except (ValueError, KeyError, msgspec.MsgspecError):
        raise _unverified() from None
    if not claims.nonce:
        raise _unverified()
    return signed, hash_name, claims, signature


def _unverified() -> PrivateRefusal:
    return PrivateRefusal(401, "jwt_verification", "Jwt 토큰 검증에 실패했습니다.")
