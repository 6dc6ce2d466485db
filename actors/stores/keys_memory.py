"""A key store and an audit log in memory, for tests and trials; under the others' contract."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from actors.errors import AuditFailed, StoreUnavailable, VaultDamaged
from actors.stores.keys import AuditLog, KeptVault, KeyStore


class MemoryKeyStore(KeyStore):
    """A vault in memory.

    Attributes:
      kept: What was committed last.
      good: The good copy of it.
      trouble: Set it, and everything fails with it.
      commits: How often something was committed.
    """

    def __init__(self) -> None:
        self.kept: KeptVault | None = None
        self.good: KeptVault | None = None
        self.trouble: StoreUnavailable | VaultDamaged | None = None
        self.commits = 0
        self._notes: dict[str, str] = {}

    async def load(self) -> KeptVault | None:
        """Return the vault; see `KeyStore`."""
        self._check()
        return self.kept

    async def commit(self, kept: KeptVault) -> None:
        """Replace the vault; see `KeyStore`."""
        self._check()
        check_generation(None if self.kept is None else self.kept.generation, kept.generation)
        self.kept = self.good = kept
        self.commits += 1

    async def good_copy(self) -> KeptVault | None:
        """Return the good copy; see `KeyStore`."""
        return self.good

    async def recover(self, kept: KeptVault) -> tuple[str, ...]:
        """Put `kept` in the vault's place; see `KeyStore`."""
        self.kept = self.good = kept
        return ()

    async def notes(self) -> dict[str, str]:
        """Return what was noted; see `KeyStore`."""
        self._check()
        return dict(self._notes)

    async def note(self, facts: Mapping[str, str]) -> None:
        """Note facts; see `KeyStore`."""
        self._check()
        self._notes.update(facts)

    def _check(self) -> None:
        if self.trouble is not None:
            raise self.trouble


class MemoryAuditLog(AuditLog):
    """An audit trail in memory.

    Attributes:
      lines: What was written.
      trouble: Set it, and everything fails, with it in the words.
    """

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.trouble = ""

    async def append(self, lines: Sequence[bytes], *, durable: bool) -> None:
        """Add lines; see `AuditLog`."""
        del durable
        self._check()
        if any(b"\n" in line or not line for line in lines):
            raise AuditFailed("a line of the audit trail must be one line")
        self.lines.extend(lines)

    async def tail(self, count: int) -> tuple[bytes, ...]:
        """Return the newest lines; see `AuditLog`."""
        self._check()
        return tuple(self.lines[-count:]) if count > 0 else ()

    async def put_aside(self) -> tuple[str, ...]:
        """Begin with nothing; see `AuditLog`."""
        self._check()
        self.lines = []
        return ()

    async def segments(self) -> tuple[tuple[str, bytes], ...]:
        """Return everything; see `AuditLog`."""
        self._check()
        return (("memory", b"".join(line + b"\n" for line in self.lines)),)

    def _check(self) -> None:
        if self.trouble:
            raise AuditFailed(f"the audit trail in memory: {self.trouble}")


class MemoryKeys:
    """Opens one store in memory as often as wanted; what is in it stays.

    Attributes:
      store: The vault.
      log: The audit trail.
    """

    def __init__(self) -> None:
        self.store = MemoryKeyStore()
        self.log = MemoryAuditLog()

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[tuple[KeyStore, AuditLog]]:
        """Open both."""
        yield self.store, self.log


def check_generation(before: int | None, after: int) -> None:
    """Refuse a change that was not made of what is there.

    Raises:
      VaultDamaged: Something else was committed in between.
    """
    wanted = 1 if before is None else before + 1
    if after != wanted:
        raise VaultDamaged(
            f"the vault was changed by somebody else: wanted change {wanted} next, was {after}"
        )
