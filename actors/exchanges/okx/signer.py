"""`OkxSigner`: a hash over time, method, path and body, and the passphrase beside it.

Source: https://www.okx.com/docs-v5/en/#overview-rest-authentication, read 2026-11-21.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from datetime import UTC, datetime, timedelta

from actors.exchanges.signing import ToSign
from actors.vault.values import Credential

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# `/asset/withdrawal`, `/asset/transfer`, and their kin of accounts below this one.
_MOVES = ("withdraw", "transfer")


class OkxSigner:
    """How OKX wants requests signed.

    Attributes:
      exchange: `okx`.
      has_passphrase: Yes: each key has one, chosen by its owner.
      needs_clock: Yes: it refuses what is more than 30 seconds off its own time.
    """

    exchange: str = "okx"
    has_passphrase: bool = True
    needs_clock: bool = True

    def sign(
        self,
        credential: Credential,
        request: ToSign,
        *,
        nonce: str,  # noqa: ARG002 - other exchanges want one
        utc_ms: int,
    ) -> tuple[tuple[str, str], ...]:
        """Return the header fields that prove who asks.

        Args:
          credential: What signs; neither kept nor changed.
          request: What is signed: method, path, query as it is sent, and body.
          nonce: Not used.
          utc_ms: The exchange's time, UTC milliseconds.

        Raises:
          ValueError: The credential has no passphrase, or was wiped.
        """
        if credential.passphrase is None:
            raise ValueError("a key of okx needs a passphrase, had none")
        time = _iso(utc_ms)
        target = f"{request.path}?{request.query}" if request.query else request.path
        said = f"{time}{request.method.upper()}{target}".encode() + request.body
        signature = hmac.digest(credential.secret_key.buffer, said, "sha256")
        return (
            ("OK-ACCESS-KEY", credential.access_key.buffer.decode()),
            ("OK-ACCESS-SIGN", b64encode(signature).decode()),
            ("OK-ACCESS-TIMESTAMP", time),
            ("OK-ACCESS-PASSPHRASE", credential.passphrase.buffer.decode()),
        )

    def is_withdrawal(self, method: str, path: str) -> bool:
        """Return whether a request could take money out of the account."""
        text = path.lower()
        # What is escaped may be read by the server as any of these words.
        hides = "%" in text or any(word in text for word in _MOVES)
        return method.upper() != "GET" and hides


def _iso(utc_ms: int) -> str:
    """Return as 2020-12-08T09:08:57.715Z: always with three digits behind the second."""
    moment = _EPOCH + timedelta(milliseconds=utc_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
