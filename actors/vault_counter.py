"""`VaultCounter`: answers what people ask of the vault as a whole."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from actors.errors import InvalidRequest
from actors.key_book import KeyBook
from actors.key_messages import VerifyAudit
from actors.key_reports import AuditVerdict, KeyChange, VaultStatus
from actors.key_sessions import Sessions
from actors.vault.secret import Secret
from actors.vault_desk import ASKED, VaultDesk
from actors.vault_messages import (
    ChangeUnlock,
    CreateVault,
    LockVault,
    RecoverVault,
    RotateVault,
    UnlockVault,
)
from actors.vault_words import open_already


class VaultCounter:
    """Takes the passphrases that come with requests, and sees that none of them is left behind.

    Args:
      desk: Where the vault is.
      book: Its keys.
      sessions: The account clients that are open.
      status: Returns how the vault is.
      opened: Called when it has just been opened.
      learn: Told every secret there is in memory.
    """

    def __init__(
        self,
        desk: VaultDesk,
        book: KeyBook,
        sessions: Sessions,
        *,
        status: Callable[[], VaultStatus],
        opened: Callable[[], object],
        learn: Callable[[bytearray], object],
    ) -> None:
        self._desk = desk
        self._book = book
        self._sessions = sessions
        self._status = status
        self._opened = opened
        self._learn = learn

    def answers(self) -> dict[type, Callable[[Any], Awaitable[object]]]:
        """Return what answers each kind of request."""
        return {
            CreateVault: self._create,
            UnlockVault: self._unlock,
            LockVault: self._lock,
            RecoverVault: self._recover,
            ChangeUnlock: self._change_unlock,
            RotateVault: self._rotate,
            VerifyAudit: self._verify,
        }

    async def _create(self, request: CreateVault) -> VaultStatus:
        passphrase = _secret(request.passphrase)
        try:
            await self._desk.create(passphrase)
            self._learn_if_any(passphrase)
        finally:
            passphrase.wipe()
        return await self._is_open()

    async def _unlock(self, request: UnlockVault) -> VaultStatus:
        passphrase = _secret(request.passphrase)
        try:
            was_tried = await self._desk.unlock(passphrase)
            if not was_tried:
                status = self._status()
                return msgspec.structs.replace(status, reason=open_already(status.reason))
            self._learn_if_any(passphrase)
        finally:
            passphrase.wipe()
        return await self._is_open()

    async def _is_open(self) -> VaultStatus:
        await self._book.uses.learn()
        self._opened()
        return self._status()

    async def _lock(self, _: LockVault) -> VaultStatus:
        self._sessions.end_all("the keys were locked")
        await self._book.uses.keep()
        await self._desk.lock(ASKED)
        return self._status()

    async def _recover(self, request: RecoverVault) -> KeyChange:
        passphrase = _secret(request.passphrase)
        try:
            what = await self._desk.recover(passphrase, dry_run=request.dry_run)
            self._learn_if_any(passphrase)
        finally:
            passphrase.wipe()
        if not request.dry_run:
            self._sessions.end_all("the vault was recovered")
            await self._book.uses.learn()
        return KeyChange(done=not request.dry_run, what=what)

    async def _change_unlock(self, request: ChangeUnlock) -> KeyChange:
        kind = request.kind or self._desk.kind
        what = f"the vault is unlocked by {kind.replace('_', ' ')} from now on"
        old, new = _secret(request.passphrase), _secret(request.new_passphrase)
        try:
            self._desk.opened()
            if not request.dry_run:
                await self._desk.rewrap(kind, old, new)
                self._learn_if_any(new)
        finally:
            old.wipe()
            new.wipe()
        return KeyChange(done=not request.dry_run, what=what)

    async def _rotate(self, request: RotateVault) -> KeyChange:
        return await self._book.rotate(dry_run=request.dry_run)

    async def _verify(self, _: VerifyAudit) -> AuditVerdict:
        self._desk.opened()
        return await self._desk.verify()

    def _learn_if_any(self, passphrase: Secret) -> None:
        # Not before it has proved right: guesses would fill the room there is for secrets.
        if len(passphrase):
            self._learn(passphrase.buffer)


def _secret(text: str) -> Secret:
    # Not by the error of encoding it, which would hold the whole text.
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise InvalidRequest("a passphrase must be text of whole characters")
    return Secret.of_text(text)
