"""`VaultView`: how a vault is at this moment, told without waiting for anything."""

from __future__ import annotations

from collections.abc import Mapping

from actors.errors import AuditFailed, KeysSealed, VaultDamaged
from actors.key_reports import VaultState
from actors.key_trail import AuditTrail
from actors.vault.values import KeyInfo, UnlockKind
from actors.vault.vault import Vault
from actors.vault_words import cannot_sign


class VaultView:
    """What is known of a vault; the `VaultDesk` keeps it true.

    Args:
      kind: What unlocks it.

    Attributes:
      state: How the vault is.
      reason: Why, and what to do about it; `told` says whether anything can be signed, too.
      vault: The vault while it is open.
      kind: What unlocks it.
    """

    def __init__(self, kind: UnlockKind) -> None:
        self._trail: AuditTrail | None = None
        self.state: VaultState = "none"
        self.reason = ""
        self.vault: Vault | None = None
        self.kind = kind

    def opened(self) -> Vault:
        """Return the open vault.

        Raises:
          KeysSealed: It is not open; says what to do.
          VaultDamaged: It is damaged; says how.
        """
        if self.vault is None:
            if self.state == "damaged":
                raise VaultDamaged(self.reason)
            raise KeysSealed(self.reason)
        return self.vault

    @property
    def makes_itself(self) -> bool:
        """Return whether the first key makes the vault: there never was one, nobody is asked."""
        return self.state == "none" and self.kind != "passphrase" and not self.is_lost

    @property
    def is_lost(self) -> bool:
        """Return whether there is no vault, though the audit trail tells of one."""
        return self.state == "none" and self._trail is not None and self._trail.tells_of_vault

    @property
    def keys(self) -> Mapping[str, KeyInfo]:
        """Return what is known of each key; nothing yet where the first one makes the vault.

        Raises:
          KeysError: As in `opened`.
        """
        self.check()
        return {} if self.vault is None else self.vault.keys

    def check(self) -> None:
        """Raise why no key can be used; nothing happens if one can, or could be the first."""
        if not self.makes_itself:
            self.opened()

    @property
    def cannot_sign(self) -> str:
        """Return why nothing is signed though the vault is open; empty if that is not so."""
        if self.vault is None or self._trail is None or not self._trail.trouble:
            return ""
        return cannot_sign(self._trail.trouble)

    @property
    def told(self) -> str:
        """Return how the vault is, why, and what to do about it."""
        return self.cannot_sign or self.reason

    @property
    def trail(self) -> AuditTrail:
        """Return the audit trail.

        Raises:
          AuditFailed: What keeps it is not open.
        """
        if self._trail is None:
            raise AuditFailed(f"the audit trail cannot be used: {self.reason}")
        return self._trail

    @property
    def lines(self) -> int:
        """Return how many lines this runtime has written to the trail."""
        return 0 if self._trail is None else self._trail.lines
