"""`UpbitSigner`: a JWT for each request, built by hand so that the secret is never copied.

Source: https://docs.upbit.com/kr/reference/auth, read 2026-11-21.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Sequence

import msgspec

from actors.exchanges.signing import ToSign
from actors.exchanges.upbit.values import EXCHANGE
from actors.vault.values import Credential

# Upbit takes HS256 as well; this is the one it recommends.
_HEADER = urlsafe_b64encode(b'{"alg":"HS512","typ":"JWT"}')
# Out of the exchange, or to another account or pocket of its owner.
_MOVES = ("withdraw", "transfer")


class _Claims(msgspec.Struct):
    access_key: str
    nonce: str


class _HashedClaims(_Claims):
    query_hash: str
    query_hash_alg: str = "SHA512"


class UpbitSigner:
    """How Upbit wants requests signed.

    Attributes:
      exchange: `upbit`.
      has_passphrase: No.
      needs_clock: No: a token carries a nonce, and no time.
    """

    exchange: str = EXCHANGE
    has_passphrase: bool = False
    needs_clock: bool = False

    def sign(
        self,
        credential: Credential,
        request: ToSign,
        *,
        nonce: str,
        utc_ms: int,  # noqa: ARG002 - other exchanges sign it
    ) -> tuple[tuple[str, str], ...]:
        """Return the header field that proves who asks.

        Args:
          credential: What signs; neither kept nor changed.
          request: What is signed. Of it the token holds nothing but a hash of the parameters.
          nonce: Text that was never used before with this key.
          utc_ms: Not used.

        Raises:
          ValueError: The credential was wiped.
        """
        claims = _claims(credential.access_key.buffer.decode(), nonce, request.params)
        payload = urlsafe_b64encode(msgspec.json.encode(claims)).rstrip(b"=")
        signed = _HEADER + b"." + payload
        signature = hmac.digest(credential.secret_key.buffer, signed, "sha512")
        token = signed + b"." + urlsafe_b64encode(signature).rstrip(b"=")
        return (("Authorization", f"Bearer {token.decode()}"),)

    def is_withdrawal(self, method: str, path: str) -> bool:
        """Return whether a request could take money out of the account."""
        return method.upper() != "GET" and moves_money(path)


def _claims(access_key: str, nonce: str, params: Sequence[tuple[str, str]]) -> _Claims:
    if not params:
        # A request that says nothing has no hash, not that of nothing.
        return _Claims(access_key, nonce)
    # Not encoded, whatever the URL looks like: `states[]=wait`, and a name in its own letters.
    said = "&".join(f"{name}={value}" for name, value in params)
    return _HashedClaims(access_key, nonce, hashlib.sha512(said.encode()).hexdigest())


def moves_money(path: str) -> bool:
    """Return whether a path names, or could hide, what moves money out of an account."""
    text = path.lower()
    # What is escaped may be read by the server as any of these words.
    return "%" in text or any(word in text for word in _MOVES)
