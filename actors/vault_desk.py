"""`VaultDesk`: opens and seals the vault, and changes it, one thing after another.

Every change goes the same way: a line in the audit trail, then both halves of the vault written,
then what is in memory. If the process ends anywhere in between, the old or the new vault opens,
and the trail says what was under way.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack

import trio

from actors.errors import (
    AuditFailed,
    InvalidRequest,
    KeysSealed,
    StoreError,
    UnlockFailed,
    VaultDamaged,
)
from actors.key_reports import AuditVerdict, VaultState
from actors.key_trail import AuditTrail
from actors.stores.keys import KeptVault, KeyStore, OpenKeyStore
from actors.vault.sealed_form import read_header
from actors.vault.secret import Secret
from actors.vault.values import UnlockKind
from actors.vault.vault import Draft, Vault, params_of
from actors.vault_unlocker import Unlocker, Unlocking
from actors.vault_words import none_yet, opened_by, sealed
from runtime.core.clock import Clock

_log = logging.getLogger("marketd.keys")

_AUDIT_END = "audit_end"
# Why a vault is sealed that somebody wanted sealed.
ASKED = "asked to"


class VaultDesk:
    """The vault of one runtime.

    Args:
      open_store: Opens what keeps it.
      unlocking: How it is unlocked.
      clock: Where time is read.
      ended: Told why, whenever an open vault is sealed, whoever seals it.

    Attributes:
      state: How the vault is.
      reason: Why, and what to do about it.
      vault: The vault while it is open.
      unlocker: Opens it, and counts tries that fail.
    """

    def __init__(
        self,
        open_store: OpenKeyStore,
        unlocking: Unlocking,
        clock: Clock,
        ended: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._open_store = open_store
        self._ended = ended
        self.unlocker = Unlocker(unlocking, clock)
        self._clock = clock
        self._stack = AsyncExitStack()
        self._store: KeyStore | None = None
        self._trail: AuditTrail | None = None
        self._one = trio.Lock()
        self.state: VaultState = "none"
        self.reason = ""
        self.vault: Vault | None = None
        self.kind: UnlockKind = unlocking.kind

    # -------------------------------------------------------------- opening and closing

    async def start(self) -> None:
        """Look what there is; whatever that is, the desk is there afterwards."""
        async with self._one:
            await self._look()

    async def close(self) -> None:
        """Seal the vault and close what keeps it."""
        async with self._one:
            await self._seal(ASKED)
            await self._stack.aclose()
            self._store = self._trail = None

    async def create(self, passphrase: Secret) -> None:
        """Make a vault, and leave it open.

        Raises:
          InvalidRequest: There is one, or the passphrase will not do.
          VaultDamaged: There is one that must not be used.
          AuditFailed: It could not be put on record.
        """
        async with self._one:
            store = await self._opened()
            if await store.load() is not None:
                raise InvalidRequest("there is a vault already; unlock it, or add keys to it")
            await self._create(store, passphrase)

    async def unlock(self, passphrase: Secret) -> None:
        """Open the vault.

        Raises:
          UnlockFailed: That does not open it, or it is too early for another try.
          KeysSealed: There is no vault yet.
          VaultDamaged: What is there must not be used.
          AuditFailed: The trail cannot be written, or lines of it are missing.
        """
        async with self._one:
            if self.vault is None:
                store = await self._opened()
                await self._unlock(store, await self._load(store), passphrase)

    async def lock(self, why: str) -> None:
        """Seal the vault; nothing happens if it is sealed."""
        async with self._one:
            await self._seal(why)

    async def recover(self, passphrase: Secret, *, dry_run: bool) -> str:
        """Put the good copy in the vault's place, and leave it open; return what was done.

        Raises:
          InvalidRequest: The vault is as it should be, or there is no good copy.
          UnlockFailed: That does not open the copy.
          VaultDamaged: The copy is damaged, too.
        """
        async with self._one:
            store = await self._opened()
            what = await self._trouble(store)
            good = await store.good_copy()
            if good is None:
                raise InvalidRequest(f"no good copy of the vault is kept; {what}")
            vault = await self._tried(store, good, passphrase)
            # What is wrong, without what to do about it.
            wrong = what.partition(";")[0].partition(". ")[0]
            told = f"change {good.generation} of the vault, with {len(vault.keys)} keys ({wrong})"
            if dry_run:
                vault.wipe()
                return f"put back {told}"
            aside = await self.trail.begin()
            await self.trail.write("recover", detail=f"change {good.generation}: {wrong}")
            places = (*aside, *await store.recover(good))
            self._adopt(vault)
            # From now on the trail counts from where it is, whatever is missing of it.
            await self._commit("recovered", "", vault.rotate(audit=self.trail.end))
            return f"put back {told}; what was there is now {', '.join(places) or 'gone'}"

    # -------------------------------------------------------------- changing it

    async def change(
        self,
        action: str,
        key: str,
        detail: str,
        build: Callable[[Vault, tuple[int, str]], Draft],
    ) -> None:
        """Change the vault.

        Args:
          action: What is done, in one word, for the trail.
          key: To which key.
          detail: More of it.
          build: Makes the change; is given the vault, and where the trail is.

        Raises:
          KeysSealed: It is not open.
          AuditFailed: It could not be put on record; nothing was changed.
          StoreUnavailable: It could not be written; nothing was changed.
        """
        async with self._one:
            vault = self.opened()
            await self.trail.write(action, key, detail)
            await self._commit(action, key, build(vault, self.trail.end))

    async def rewrap(self, kind: UnlockKind, old: Secret, new: Secret) -> None:
        """Change what unlocks the vault; errors as in `change`, and `UnlockFailed`."""
        async with self._one:
            vault, store = self.opened(), await self._opened()
            kept = await self._load(store)
            if self.kind == "passphrase":
                # Who finds an open vault must not be able to lock its owner out.
                (await self._tried(store, kept, old)).wipe()
            kek = await self.unlocker.new_kek(kind, new)
            await self.trail.write("passphrase", detail=f"{self.kind} to {kind}")
            await self._commit("passphrase", "", vault.rewrap(kek, audit=self.trail.end))
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

    async def verify(self) -> AuditVerdict:
        """Return whether the audit trail is whole."""
        async with self._one:
            await self._opened()
            return await self.trail.verify(None if self.vault is None else self.vault.audit_mark)

    async def facts(self) -> dict[str, str]:
        """Return what was noted."""
        return await (await self._opened()).notes()

    async def note(self, facts: Mapping[str, str]) -> None:
        """Note small facts that are no secrets."""
        await (await self._opened()).note(facts)

    # -------------------------------------------------------------- inside the lock

    async def _opened(self) -> KeyStore:
        if self._store is None:
            store, log = await self._stack.enter_async_context(self._open_store())
            self._store, self._trail = store, AuditTrail(log, self._clock.utc_ms)
        return self._store

    async def _look(self) -> None:
        try:
            store = await self._opened()
            await self.trail.read_end()
            kept = await store.load()
            if kept is not None:
                self.kind = params_of(kept.header).kind
            self._sealed(none=kept is None)
            if kept is not None and self.kind != "passphrase":
                await self._unlock(store, kept, Secret(b""))
        except (VaultDamaged, AuditFailed, StoreError, UnlockFailed) as error:
            self._trouble_is(error)

    async def _damaged(self, error: VaultDamaged) -> None:
        await self._seal(f"what is kept is damaged: {error}")
        self._trouble_is(error)

    def _trouble_is(self, error: Exception) -> None:
        _log.error("the keys stay sealed: %s", error)
        self.reason = str(error)
        self.state = "damaged" if isinstance(error, VaultDamaged) else "sealed"

    def _sealed(self, *, none: bool) -> None:
        self.state = "none" if none else "sealed"
        self.reason = none_yet(self.kind) if none else sealed()

    async def _load(self, store: KeyStore) -> KeptVault:
        try:
            kept = await store.load()
        except VaultDamaged as error:
            await self._damaged(error)
            raise
        if kept is None:
            self._sealed(none=True)
            raise KeysSealed(self.reason)
        return kept

    async def _unlock(self, store: KeyStore, kept: KeptVault, passphrase: Secret) -> None:
        await self._check_end(store)
        await self.trail.write("unlock", detail=self.kind)
        vault = await self._tried(store, kept, passphrase)
        try:
            self.trail.check(*vault.audit_mark, "was last changed")
            self.trail.check_change(vault.generation)
        except AuditFailed:
            vault.wipe()
            raise
        self._adopt(vault)
        await self.trail.write("unlock.done", detail=f"{self.kind}, change {vault.generation}")

    async def _check_end(self, store: KeyStore) -> None:
        """Refuse a trail that is not what it was when the vault was last sealed."""
        await self.trail.read_end()
        number, _, hashed = (await store.notes()).get(_AUDIT_END, "0:").partition(":")
        self.trail.check(int(number) if number.isdecimal() else 0, hashed, "was last sealed")

    def _adopt(self, vault: Vault) -> None:
        if self.vault is not None and self.vault is not vault:
            self.vault.wipe()
        self.vault, self.state = vault, "open"
        self.kind = vault.kind
        self.reason = opened_by(self.kind)

    async def _tried(self, store: KeyStore, kept: KeptVault, passphrase: Secret) -> Vault:
        try:
            return await self.unlocker.open(store, kept, passphrase)
        except UnlockFailed as error:
            if not error.too_early:
                await self.trail.write("unlock.failed", detail=self.kind)
            raise
        except VaultDamaged as error:
            await self._damaged(error)
            raise

    async def _create(self, store: KeyStore, passphrase: Secret) -> None:
        kek = await self.unlocker.new_kek(self.unlocker.kind, passphrase)
        await self.trail.read_end()
        await self.trail.write("create", detail=self.unlocker.kind)
        vault, kept = Vault.create(kek, audit=self.trail.end)
        await store.commit(kept)
        self._adopt(vault)
        await self.trail.write("create.done", detail="change 1")

    async def _commit(self, action: str, key: str, draft: Draft) -> None:
        assert self._store is not None, "a vault is open"
        assert self.vault is not None, "a vault is open"
        try:
            await self._store.commit(draft.kept)
        except (StoreError, VaultDamaged):
            await self._after_failure(action, key, draft)
            raise
        self.vault.adopt(draft)
        await self._done(action, key)

    async def _after_failure(self, action: str, key: str, draft: Draft) -> None:
        """Find out which state is there now; if that cannot be told, seal."""
        assert self._store is not None, "a vault is open"
        assert self.vault is not None, "a vault is open"
        try:
            kept = await self._store.load()
        except VaultDamaged as error:
            await self._damaged(error)
            return
        except StoreError as error:
            await self._seal(f"it could not be written, and not be read either: {error}")
            return
        if kept is not None and kept.header == draft.kept.header:
            self.vault.adopt(draft)
        elif kept is None or kept.generation != self.vault.generation:
            await self._seal("it was changed by somebody else")
        await self.trail.write(f"{action}.failed", key)

    async def _done(self, action: str, key: str) -> None:
        try:
            await self.trail.write(f"{action}.done", key, f"change {self.opened().generation}")
        except AuditFailed as error:
            # That it was going to be done is on record.
            _log.error("%s of %s is done, and that is not on record: %s", action, key, error)

    async def _seal(self, why: str) -> None:
        vault, self.vault = self.vault, None
        if vault is None:
            return
        vault.wipe()
        self._sealed(none=False)
        if why != ASKED:
            self.reason = f"{self.reason}; they were sealed because {why}"
        self._ended("the keys were locked")
        try:
            await self.trail.write("lock", detail=why)
            number, hashed = self.trail.end
            await self.note({_AUDIT_END: f"{number}:{hashed}"})
        except (AuditFailed, StoreError, VaultDamaged) as error:
            _log.error("the keys are sealed, and that is not on record: %s", error)

    async def _trouble(self, store: KeyStore) -> str:
        """Return what is wrong with the vault, or with its trail.

        Raises:
          InvalidRequest: Nothing is.
        """
        if self.vault is not None:
            raise InvalidRequest("the vault is open and whole; there is nothing to recover")
        try:
            kept = await store.load()
            await self._check_end(store)
            if kept is not None:
                header = read_header(kept.header)
                self.trail.check(header.audit_number, header.audit_hash, "was last changed")
                self.trail.check_change(header.generation)
        except (VaultDamaged, AuditFailed) as error:
            return str(error)
        raise InvalidRequest(f"nothing is wrong with what is kept; {self.reason}")
