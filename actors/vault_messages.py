"""Messages about the vault: making, opening, sealing and changing it.

Those that carry a secret never show it: their `repr` is made here.
"""

from __future__ import annotations

from typing import Any

from actors.key_reports import KeyChange, VaultStatus
from actors.vault.values import UnlockKind
from runtime.core.message import ReplyT, Request

_SECRET = ("access_key", "secret_key", "passphrase", "new_passphrase")


class SecretRequest(Request[ReplyT], frozen=True, kw_only=True):
    """A message with secrets in it, which shows everything else."""

    def __repr__(self) -> str:
        """Return what it is, without its secrets."""
        fields = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({fields})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Return its fields; each secret that is there as three asterisks."""
        values = [(name, getattr(self, name)) for name in self.__struct_fields__]
        return [(name, "***" if name in _SECRET and value else value) for name, value in values]


class GetVault(Request[VaultStatus], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the vault is; answered in any state."""


class CreateVault(
    SecretRequest[VaultStatus], frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """Make an empty vault, and leave it open. Refused if there is one.

    Attributes:
      passphrase: What will unlock it; empty if `keys.unlock` is not `passphrase`.
    """

    passphrase: str = ""


class UnlockVault(
    SecretRequest[VaultStatus], frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """Open the vault. After a wrong try the next has to wait, each time longer.

    Of one that is open already nothing is tried, and the `reason` in the answer says so.

    Attributes:
      passphrase: Empty if `keys.unlock` is not `passphrase`.
    """

    passphrase: str = ""


class LockVault(Request[VaultStatus], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Seal the vault: every account client ends, and nothing is signed until it is unlocked."""


class RecoverVault(SecretRequest[KeyChange], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Put the last good copy in the place of a damaged vault; what was there is put aside.

    Where only the audit trail is wrong, the vault stays, and the trail goes on or begins anew.

    Attributes:
      passphrase: Opens what is kept; empty if `keys.unlock` is not `passphrase`.
      dry_run: Only say what would be done.
    """

    passphrase: str = ""
    dry_run: bool = False


class RotateVault(Request[KeyChange], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Seal everything anew under a new data key. Account clients stay open.

    Attributes:
      dry_run: Only say what would be done.
    """

    dry_run: bool = False


class ChangeUnlock(SecretRequest[KeyChange], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Change what unlocks the vault. Nothing but the data key is sealed anew.

    Attributes:
      kind: How it is to be unlocked from now on; as now if None.
      passphrase: The present one, if there is one; checked as when unlocking.
      new_passphrase: The new one, if `kind` is `passphrase`.
      dry_run: Only say what would be done.
    """

    kind: UnlockKind | None = None
    passphrase: str = ""
    new_passphrase: str = ""
    dry_run: bool = False
