"""What is wrong with a vault or its trail, and what recovering it would do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from actors.errors import AuditFailed, VaultDamaged
from actors.key_trail import AuditTrail
from actors.stores.keys import KeptVault, KeyStore
from actors.vault.sealed_form import read_header
from actors.vault_words import lost

_AUDIT_END = "audit_end"


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong.

    Attributes:
      what: In words, with what to do about it.
      whole: The vault as it is kept, if only its trail is wrong.
    """

    what: str
    whole: KeptVault | None = None

    @property
    def wrong(self) -> str:
        """Return what is wrong, without what to do about it."""
        return self.what.partition(";")[0].partition(". ")[0]

    def plan(self, generation: int, keys: int) -> str:
        """Return what recovering does, with a vault of so many keys."""
        vault = f"change {generation} of the vault, with {keys} keys"
        if self.whole is None:
            return f"put back {vault} ({self.wrong})"
        return f"keep {vault}, and go on with what is there of its audit trail ({self.wrong})"


def put_aside(places: Sequence[str]) -> str:
    """Return where what was there is now, in words."""
    return f"what was there is now {', '.join(places)}" if places else "nothing was put aside"


async def find_trouble(store: KeyStore, trail: AuditTrail, *, is_open: bool) -> Trouble | None:
    """Return what is wrong with what is kept; None if nothing is.

    Args:
      store: What keeps the vault.
      trail: Its audit trail.
      is_open: Whether the vault is open: then the trail in memory is what its log must be.
    """
    kept = None
    try:
        kept = await store.load()
        if is_open:
            await trail.look()
            return None
        await check_end(store, trail)
        if kept is None and trail.tells_of_vault:
            return Trouble(lost())
        if kept is not None:
            header = read_header(kept.header)
            trail.check(header.audit_number, header.audit_hash, "was last changed")
            trail.check_change(header.generation)
    except VaultDamaged as error:
        return Trouble(str(error))
    except AuditFailed as error:
        return Trouble(str(error), kept)
    return None


async def check_end(store: KeyStore, trail: AuditTrail) -> None:
    """Read where the trail ends, and refuse one that is not as when the vault was last sealed.

    Raises:
      AuditFailed: It is not, or cannot be read.
    """
    await trail.read_end()
    number, _, hashed = (await store.notes()).get(_AUDIT_END, "0:").partition(":")
    trail.check(int(number) if number.isdecimal() else 0, hashed, "was last sealed")


async def note_end(store: KeyStore, trail: AuditTrail) -> None:
    """Note where the trail ends, for `check_end`."""
    number, hashed = trail.end
    await store.note({_AUDIT_END: f"{number}:{hashed}"})
