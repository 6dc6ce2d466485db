"""Settings of the keys."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from runtime.setting_rules import Bounds, FileName


class KeysSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of accounts.

    Attributes:
      enabled: Whether there are any.
      unlock: What unlocks a vault that is made: `passphrase`, `key_file` or `credential`. One that
        is there says itself what unlocks it.
      key_file: Path of the key file; empty for `unlock.key` in the user's own configuration folder.
        It is made when the first vault is.
      credential: Name of the service manager's credential.
      sealed_file: Path of the sealed credentials; empty for `keys.sealed` in `runtime.state_dir`.
      idle_s: How long an account client may be unused before it ends, in seconds.
      absolute_s: How long an account client may be open at all, in seconds.
      audit_mb: How much the audit trail may hold, in MB; then its oldest part is deleted.
    """

    enabled: bool = True
    unlock: Literal["passphrase", "key_file", "credential"] = "passphrase"
    key_file: str = ""
    credential: Annotated[str, FileName()] = "marketd-keys"
    sealed_file: str = ""
    idle_s: Annotated[float, Bounds(1, 86_400)] = 300.0
    absolute_s: Annotated[float, Bounds(1, 604_800)] = 43_200.0
    audit_mb: Annotated[int, Bounds(32, 1_000_000)] = 1_000
