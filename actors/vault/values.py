"""What a vault holds: for each key what may be told, and what may not."""

from __future__ import annotations

from typing import Literal

import msgspec

from actors.vault.secret import Secret

UnlockKind = Literal["passphrase", "key_file", "credential"]


class KeyInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a key, but for the key. Sealed as well, and opened when the vault is.

    Attributes:
      id: Its identity for ever, hexadecimal digits; a label may be used again after a purge.
      exchange: The exchange it is for.
      label: What its owner calls it; unique among the exchange's keys, removed ones included.
      hint: The first 4 characters of the access key.
      host: Host and port it may be used at, such as `api.upbit.com`; nowhere else.
      created_ms: When it was added, UTC milliseconds.
      changed_ms: When this was last changed.
      expires_ms: When the exchange ends it, UTC milliseconds; None if not known.
      removed_ms: When it was removed; None if it was not.
      allow: What it may sign: `METHOD /path`, `*` for any method, a `*` at the end of a path for
        everything below. Withdrawals only where a whole path is named.
      requests_per_minute: Most signatures in any minute; None for no bound.
      uid: Who the owner is at the exchange; empty if not known.
      telegram_id: Who the owner is on Telegram; empty if not known.
      access_sha256: Digest of the access key, hexadecimal: tells that two labels are one key.
    """

    id: str
    exchange: str
    label: str
    hint: str
    host: str
    created_ms: int
    changed_ms: int
    expires_ms: int | None = None
    removed_ms: int | None = None
    allow: tuple[str, ...] = ("* /*",)
    requests_per_minute: int | None = None
    uid: str = ""
    telegram_id: str = ""
    access_sha256: str = ""

    @property
    def name(self) -> str:
        """Return `exchange:label`, as people write it."""
        return f"{self.exchange}:{self.label}"


class Credential(msgspec.Struct, frozen=True):
    """What signs.

    Attributes:
      access_key: The public half; not told either, but for its beginning.
      secret_key: The secret half.
      passphrase: The third secret, where the exchange has one (OKX); else None.
    """

    access_key: Secret
    secret_key: Secret
    passphrase: Secret | None = None

    def wipe(self) -> None:
        """Overwrite all of it."""
        self.access_key.wipe()
        self.secret_key.wipe()
        if self.passphrase is not None:
            self.passphrase.wipe()
