"""What is signed, and who does it: the part of an exchange's language that needs a secret."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from actors.vault.values import Credential


class ToSign(msgspec.Struct, frozen=True):
    """A request that is to be signed, exactly as it will be sent.

    Attributes:
      method: The HTTP method, upper case.
      path: Its path, without the query.
      query: Its query, percent-encoded, without the question mark; empty if there is none.
      params: What query or body say, in sent order, not encoded; arrays as `name[]`, repeated.
      body: The body; empty if there is none.
    """

    method: str
    path: str
    query: str = ""
    params: Sequence[tuple[str, str]] = ()
    body: bytes = b""


class Signer(Protocol):
    """How an exchange wants requests signed. Plain code: time and chance are handed in.

    Attributes:
      exchange: The exchange.
      has_passphrase: Whether its keys have a third secret.
      needs_clock: Whether the signature holds the exchange's time.
    """

    exchange: str
    has_passphrase: bool
    needs_clock: bool

    def sign(
        self, credential: Credential, request: ToSign, *, nonce: str, utc_ms: int
    ) -> tuple[tuple[str, str], ...]:
        """Return the header fields that prove who asks.

        Args:
          credential: What signs; neither kept nor changed.
          request: What is signed.
          nonce: Text that was never used before with this key.
          utc_ms: The exchange's time, UTC milliseconds.
        """

    def is_withdrawal(self, method: str, path: str) -> bool:
        """Return whether a request could take money out of the account."""
