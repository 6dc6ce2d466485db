"""`VaultDesk`: opens and seals the vault, and changes it, one thing after another.

Every change goes the same way: a line in the audit trail, then both halves of the vault written,
then what is in memory. If the process ends anywhere in between, the old or the new vault opens,
and the trail says what was under way.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress

import trio

from actors.errors import (
    AuditFailed,
    InvalidRequest,
    KeysSealed,
    StoreError,
    UnlockFailed,
    VaultDamaged,
)
from actors.key_reports import AuditVerdict
from actors.key_trail import AuditTrail
from actors.stores.keys import KeptVault, KeyStore, OpenKeyStore
from actors.vault.secret import Secret
from actors.vault.values import UnlockKind
from actors.vault.vault import Draft, Vault, params_of
from actors.vault_recovery import Trouble, check_end, find_trouble, note_end, put_aside
from actors.vault_unlocker import Unlocker, Unlocking
from actors.vault_view import VaultView
from actors.vault_words import lost, none_yet, opened_by, sealed
from runtime.core.clock import Clock

_log = logging.getLogger("marketd.keys")

# Why a vault is sealed that somebody wanted sealed.
ASKED = "asked to"


class VaultDesk(VaultView):
    """The vault of one runtime.

    Args:
      open_store: Opens what keeps it.
      unlocking: How it is unlocked.
      clock: Where time is read.
      ended: Told why, whenever an open vault is sealed, whoever seals it.

    Attributes:
      unlocker: Opens it, and counts tries that fail.
    """

    def __init__(
        self,
        open_store: OpenKeyStore,
        unlocking: Unlocking,
        clock: Clock,
        ended: Callable[[str], None] = lambda _: None,
    ) -> None:
        super().__init__(unlocking.kind)
        self._open_store = open_store
        self._ended = ended
        self.unlocker = Unlocker(unlocking, clock)
        self._clock = clock
        self._stack = AsyncExitStack()
        self._store: KeyStore | None = None
        self._one = trio.Lock()

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

    async def unlock(self, passphrase: Secret) -> bool:
        """Open the vault; return False if it was open already, and nothing was tried.

        Raises:
          UnlockFailed: That does not open it, or it is too early for another try.
          KeysSealed: There is no vault yet.
          VaultDamaged: What is there must not be used.
          AuditFailed: The trail cannot be written, or lines of it are missing.
        """
        async with self._one:
            if self.vault is not None:
                return False
            store = await self._opened()
            await self._unlock(store, await self._load(store), passphrase)
            return True

    async def lock(self, why: str) -> None:
        """Seal the vault; nothing happens if it is sealed."""
        async with self._one:
            await self._seal(why)

    async def recover(self, passphrase: Secret, *, dry_run: bool) -> str:
        """Mend vault or trail, and leave the vault open; return what was done.

        What keeps a vault that is whole stays where it is; then only its trail begins anew.

        Raises:
          InvalidRequest: Both are as they should be, or there is no good copy.
          UnlockFailed: That does not open the vault, or the copy.
          VaultDamaged: The copy is damaged, too.
        """
        async with self._one:
            store = await self._opened()
            trouble = await self._trouble(store)
            kept = trouble.whole or await store.good_copy()
            if kept is None:
                raise InvalidRequest(f"no good copy of the vault is kept; {trouble.what}")
            vault = await self._tried(store, kept, passphrase)
            plan = trouble.plan(kept.generation, len(vault.keys))
            if dry_run:
                vault.wipe()
                return plan
            aside = await self.trail.begin()
            detail = f"change {kept.generation}: {trouble.wrong}"
            await self.trail.write("recover", detail=detail)
            if trouble.whole is None:
                aside += await store.recover(kept)
            self._adopt(vault)
            # From now on the trail counts from where it is, whatever is missing of it.
            await self._commit("recovered", "", vault.rotate(audit=self.trail.end))
            return f"{plan}; {put_aside(aside)}"

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
            self.kind, self.reason = kind, opened_by(kind)

    async def look_at_trail(self) -> None:
        """Find out whether the audit trail of an open vault is gone; `told` says so."""
        if self.vault is not None:
            with suppress(AuditFailed):
                await self.trail.look()

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
            if self.is_lost:
                _log.error("there are no keys: %s", self.reason)
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
        if self.is_lost:
            self.reason = lost()

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
        await check_end(store, self.trail)
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
                # A trail that is to be recovered takes no line; the try is counted all the same.
                with suppress(AuditFailed):
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
            await note_end(await self._opened(), self.trail)
        except (AuditFailed, StoreError, VaultDamaged) as error:
            _log.error("the keys are sealed, and that is not on record: %s", error)

    async def _trouble(self, store: KeyStore) -> Trouble:
        """Return what is wrong with the vault, or with its trail.

        Raises:
          InvalidRequest: Nothing is, as far as it could be recovered.
        """
        trouble = await find_trouble(store, self.trail, is_open=self.vault is not None)
        if trouble is not None:
            return trouble
        if self.vault is None:
            raise InvalidRequest(f"nothing is wrong with what is kept; {self.reason}")
        found = self.trail.trouble or "the vault is open and whole"
        raise InvalidRequest(f"{found}; there is nothing to recover")
