"""`KeyUses`: when each key was last used, over restarts. It is no secret."""

from __future__ import annotations

from contextlib import suppress

from actors.errors import AuditFailed, StoreError, VaultDamaged
from actors.vault_desk import VaultDesk
from runtime.core.clock import Clock

_USED = "used:"


class KeyUses:
    """When the keys of a vault were last used.

    Args:
      desk: Where the vault is.
      clock: Where time is read.
    """

    def __init__(self, desk: VaultDesk, clock: Clock) -> None:
        self._desk = desk
        self._clock = clock
        self._used_ms: dict[str, int] = {}

    def last_ms(self, key_id: str) -> int | None:
        """Return when a key was last used, UTC milliseconds; None if it never was."""
        return self._used_ms.get(key_id)

    def used(self, key_id: str) -> None:
        """Note that a key has signed just now."""
        # One that is only tried is not kept, and must leave nothing behind.
        if self._desk.vault is not None and key_id in self._desk.vault.keys:
            self._used_ms[key_id] = self._clock.utc_ms()

    async def forget(self, key_id: str) -> None:
        """Forget when a key was last used: another one is in its place, or none."""
        if self._used_ms.pop(key_id, None) is not None:
            # Empty stands for never: a note can only be replaced.
            await self._note({f"{_USED}{key_id}": ""})

    async def learn(self) -> None:
        """Take up when keys were last used, from before this runtime."""
        vault = self._desk.vault
        if vault is None:
            return
        facts = await self._desk.facts()
        for key_id in vault.keys:
            noted = facts.get(f"{_USED}{key_id}", "")
            if noted.isdecimal() and key_id not in self._used_ms:
                self._used_ms[key_id] = int(noted)

    async def keep(self) -> None:
        """Note when keys were last used; no reason to fail."""
        if self._used_ms:
            await self._note({f"{_USED}{key}": str(ms) for key, ms in self._used_ms.items()})

    async def _note(self, facts: dict[str, str]) -> None:
        # The audit trail has it as well.
        with suppress(StoreError, AuditFailed, VaultDamaged):
            await self._desk.note(facts)
