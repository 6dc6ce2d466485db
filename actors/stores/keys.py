"""What keeps a vault and its audit trail: two places for the vault, that change together (A1).

A store knows nothing of cryptography. It keeps two texts, `header` (with the wrapped data key) and
`sealed` (with the credentials), apart from each other, and tells whether they belong together. A
database server can be a store as well: the header in one, the sealed part in another.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

HEADER_BYTES_MAX = 64 * 1024
SEALED_BYTES_MAX = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class KeptVault:
    """The two halves of a vault as they were written together.

    Attributes:
      generation: Counts the changes, from 1.
      header: Wrapped data key, parameters, and what proves that the halves belong together.
      sealed: The sealed credentials.
    """

    generation: int
    header: bytes
    sealed: bytes


class KeyStore(ABC):
    """Where a vault is kept. One process uses it at a time.

    Error handling: every method raises `VaultDamaged` for what is there and must not be used, and
    `StoreUnavailable` for what cannot be read or written at the moment; nothing else.
    """

    @abstractmethod
    async def load(self) -> KeptVault | None:
        """Return the vault as it was last committed; None if there has never been one.

        What a crash left half done is brought to its old or its new state here.

        Raises:
          VaultDamaged: A half is missing, changed, old, or open to others; the message names the
            place, what was wanted and what was there, and whether a good copy is kept.
        """

    @abstractmethod
    async def commit(self, kept: KeptVault) -> None:
        """Replace the vault: afterwards, and after a crash at any moment, all of it or nothing.

        Its generation must be one more than what is there (1 where there is nothing). The state
        after it is kept as the good copy as well. Not interrupted when the caller is cancelled.
        """

    @abstractmethod
    async def good_copy(self) -> KeptVault | None:
        """Return the copy that was last known to be good; None if there is none.

        Raises:
          VaultDamaged: It is damaged too.
        """

    @abstractmethod
    async def recover(self, kept: KeptVault) -> tuple[str, ...]:
        """Put `kept`, from `good_copy`, in the vault's place; return where the old parts are."""

    @abstractmethod
    async def notes(self) -> dict[str, str]:
        """Return small facts that are no secrets: tries to unlock, last uses, the audit's end."""

    @abstractmethod
    async def note(self, facts: Mapping[str, str]) -> None:
        """Add or replace such facts."""


class AuditLog(ABC):
    """Lines that are only ever added; see `actors.vault.audit` for what stands in them."""

    @abstractmethod
    async def append(self, lines: Sequence[bytes], *, durable: bool) -> None:
        """Add whole lines, without their newlines; returns when they are written.

        Args:
          lines: What to add, in order; all or none of it counts.
          durable: Whether they must survive the power going away, not only this process.

        Raises:
          AuditFailed: They could not be written.
        """

    @abstractmethod
    async def put_aside(self) -> tuple[str, ...]:
        """Begin with nothing; return where what was there is now.

        Raises:
          AuditFailed: It cannot be moved.
        """

    def deleted(self) -> tuple[str, ...]:
        """Return the parts that were deleted because of the bound, since this was last asked."""
        return ()

    @abstractmethod
    async def tail(self, count: int) -> tuple[bytes, ...]:
        """Return the last `count` lines, the newest last.

        Raises:
          AuditFailed: They cannot be read.
        """

    @abstractmethod
    async def segments(self) -> tuple[tuple[str, bytes], ...]:
        """Return everything there is, oldest first: each piece with its name.

        Raises:
          AuditFailed: It cannot be read.
        """


class OpenKeyStore(Protocol):
    """Opens a store and its audit trail for as long as a block runs."""

    def __call__(self) -> AbstractAsyncContextManager[tuple[KeyStore, AuditLog]]:
        """Open both."""
