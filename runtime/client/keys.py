"""`KeysClient`: operations on keys, for bots and operators on trio; `market.keys`."""

from __future__ import annotations

from collections.abc import Iterable

from actors.key_messages import (
    AddKey,
    ChangeKey,
    GetAudit,
    ListKeys,
    RemoveKey,
    RestoreKey,
    TryKey,
    VerifyAudit,
)
from actors.key_reports import AuditEntry, AuditVerdict, KeyChange, KeyReport, KeyTest, VaultStatus
from actors.vault.values import UnlockKind
from actors.vault_messages import (
    ChangeUnlock,
    CreateVault,
    GetVault,
    LockVault,
    RecoverVault,
    RotateVault,
    UnlockVault,
)
from runtime.client.requests import TIMEOUT_S, AsyncAsk, Time, time_of


class KeysClient:
    """What can be done with keys. Every method raises what `AsyncClient.ask` raises.

    Args:
      ask: Asks the runtime.
    """

    def __init__(self, ask: AsyncAsk) -> None:
        self._ask = ask

    async def status(self, *, timeout_s: float = TIMEOUT_S) -> VaultStatus:
        """Return how the vault is."""
        return await self._ask(GetVault(), timeout_s)

    async def create(self, passphrase: str = "", *, timeout_s: float = TIMEOUT_S) -> VaultStatus:
        """Make an empty vault, and leave it open."""
        return await self._ask(CreateVault(passphrase=passphrase), timeout_s)

    async def unlock(self, passphrase: str = "", *, timeout_s: float = TIMEOUT_S) -> VaultStatus:
        """Open the vault; after a wrong try the next has to wait."""
        return await self._ask(UnlockVault(passphrase=passphrase), timeout_s)

    async def lock(self, *, timeout_s: float = TIMEOUT_S) -> VaultStatus:
        """Seal the vault; every account client ends."""
        return await self._ask(LockVault(), timeout_s)

    async def add(
        self,
        exchange: str,
        label: str,
        *,
        access_key: str,
        secret_key: str,
        passphrase: str = "",
        allow: Iterable[str] | None = None,
        requests_per_minute: int | None = None,
        expires: Time | None = None,
        uid: str | None = None,
        telegram_id: str | None = None,
        replace: bool = False,
        test: bool = False,
        dry_run: bool = False,
        timeout_s: float = TIMEOUT_S,
    ) -> KeyChange:
        """Keep a key.

        Args:
          exchange: The exchange it is for.
          label: What to call it.
          access_key: The public half.
          secret_key: The secret half.
          passphrase: The third secret, where the exchange has one.
          allow: What it may sign: `METHOD /path`; `*` is any method, `/*` at the end all below.
            All but withdrawals if None.
          requests_per_minute: Most signatures in any minute.
          expires: When the exchange ends it.
          uid: Who the owner is at the exchange; keys of one uid share its rate limits.
          telegram_id: Who the owner is on Telegram.
          replace: Take the place of a key of that name, whose secrets are then lost; what is None,
            but for `expires`, stays as it was.
          test: Try it against the exchange first, and keep it only if it works.
          dry_run: Only say what would be done.
          timeout_s: How long to wait, in seconds.
        """
        request = AddKey(
            exchange=exchange,
            label=label,
            access_key=access_key,
            secret_key=secret_key,
            passphrase=passphrase,
            allow=None if allow is None else tuple(allow),
            requests_per_minute=requests_per_minute,
            expires=time_of(expires, "expires"),
            uid=uid,
            telegram_id=telegram_id,
            replace=replace,
            test=test,
            dry_run=dry_run,
        )
        return await self._ask(request, timeout_s)

    async def change(
        self,
        key: str,
        *,
        allow: Iterable[str] | None = None,
        requests_per_minute: int | None = None,
        expires: Time | None = None,
        uid: str | None = None,
        telegram_id: str | None = None,
        dry_run: bool = False,
        timeout_s: float = TIMEOUT_S,
    ) -> KeyChange:
        """Change what is known of a key, or what it may do; what is None stays."""
        request = ChangeKey(
            key=key,
            allow=None if allow is None else tuple(allow),
            requests_per_minute=requests_per_minute,
            expires=time_of(expires, "expires"),
            uid=uid,
            telegram_id=telegram_id,
            dry_run=dry_run,
        )
        return await self._ask(request, timeout_s)

    async def list(
        self,
        exchange: str = "",
        *,
        removed: bool = False,
        owner: str = "",
        timeout_s: float = TIMEOUT_S,
    ) -> tuple[KeyReport, ...]:
        """Return the keys there are, masked; only those of `owner`, a uid or Telegram id."""
        request = ListKeys(exchange=exchange, removed=removed, owner=owner)
        return await self._ask(request, timeout_s)

    async def test(self, key: str, *, timeout_s: float = TIMEOUT_S) -> KeyTest:
        """Try a key against its exchange, and keep the end that the exchange names."""
        return await self._ask(TryKey(key=key), timeout_s)

    async def remove(
        self,
        key: str,
        *,
        purge: bool = False,
        dry_run: bool = False,
        timeout_s: float = TIMEOUT_S,
    ) -> KeyChange:
        """Take a key out of use at once; with `purge`, forget it for good."""
        request = RemoveKey(key=key, purge=purge, dry_run=dry_run)
        return await self._ask(request, timeout_s)

    async def restore(
        self, key: str, *, dry_run: bool = False, timeout_s: float = TIMEOUT_S
    ) -> KeyChange:
        """Take a removed key into use again."""
        return await self._ask(RestoreKey(key=key, dry_run=dry_run), timeout_s)

    async def rotate(self, *, dry_run: bool = False, timeout_s: float = TIMEOUT_S) -> KeyChange:
        """Seal everything anew under a new data key."""
        return await self._ask(RotateVault(dry_run=dry_run), timeout_s)

    async def change_unlock(
        self,
        kind: UnlockKind | None = None,
        *,
        passphrase: str = "",
        new_passphrase: str = "",
        dry_run: bool = False,
        timeout_s: float = TIMEOUT_S,
    ) -> KeyChange:
        """Change what unlocks the vault: the passphrase, or another kind altogether."""
        request = ChangeUnlock(
            kind=kind, passphrase=passphrase, new_passphrase=new_passphrase, dry_run=dry_run
        )
        return await self._ask(request, timeout_s)

    async def recover(
        self, passphrase: str = "", *, dry_run: bool = False, timeout_s: float = TIMEOUT_S
    ) -> KeyChange:
        """Put the last good copy in the place of a damaged vault."""
        request = RecoverVault(passphrase=passphrase, dry_run=dry_run)
        return await self._ask(request, timeout_s)

    async def audit(
        self, count: int = 50, *, key: str = "", timeout_s: float = TIMEOUT_S
    ) -> tuple[AuditEntry, ...]:
        """Return what was done with keys, the newest last."""
        return await self._ask(GetAudit(count=count, key=key), timeout_s)

    async def verify_audit(self, *, timeout_s: float = TIMEOUT_S) -> AuditVerdict:
        """Return whether the audit trail is whole."""
        return await self._ask(VerifyAudit(), timeout_s)
