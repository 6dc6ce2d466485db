"""`KeyBook`: what is known of each key, and every change of it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from actors.errors import InvalidRequest, KeyRefused, UnknownKey
from actors.exchanges.signing import Signer
from actors.key_making import make_key
from actors.key_messages import (
    AddKey,
    ChangeKey,
    GetAudit,
    ListKeys,
    RemoveKey,
    RestoreKey,
)
from actors.key_reports import AuditEntry, KeyChange, KeyReport, KeyState
from actors.key_rules import (
    check_allow,
    check_cap,
    check_owner,
    check_reach,
    parse_end,
    split_name,
)
from actors.key_sessions import Sessions
from actors.key_uses import KeyUses
from actors.key_words import may_sign, told_changes
from actors.vault.values import Credential, KeyInfo
from actors.vault_desk import VaultDesk
from runtime.core.clock import Clock

KEYS_MAX = 1_000
AUDIT_MAX = 10_000


class KeyBook:
    """The keys of a vault, as people see them.

    Args:
      desk: Where the vault is.
      clock: Where time is read.
      signers: By exchange: those there can be keys of.
      hosts: By exchange: where its keys are used.
      sessions: The account clients that are open; a change of its key ends one.

    Attributes:
      uses: When the keys were last used.
    """

    def __init__(
        self,
        desk: VaultDesk,
        clock: Clock,
        *,
        signers: Mapping[str, Signer],
        hosts: Mapping[str, str],
        sessions: Sessions,
    ) -> None:
        self._desk = desk
        self._clock = clock
        self._signers = signers
        self._hosts = hosts
        self._sessions = sessions
        self._end = sessions.end
        self.uses = KeyUses(desk, clock)

    @property
    def count(self) -> int:
        """Return how many keys are in use, as far as is known."""
        if self._desk.vault is None:
            return 0
        return sum(info.removed_ms is None for info in self._desk.vault.keys.values())

    # -------------------------------------------------------------- looking

    def find(self, name: str, *, active: bool = False) -> KeyInfo:
        """Return what is known of a key.

        Args:
          name: `exchange:label`.
          active: Whether a removed one will not do.

        Raises:
          UnknownKey: There is none; names those there are.
          KeysSealed: The vault is not open.
        """
        exchange, label = split_name(name)
        keys = self._desk.keys.values()
        for info in keys:
            if info.exchange == exchange and info.label == label:
                if active and info.removed_ms is not None:
                    raise UnknownKey(f"key {name} was removed; `marketd keys restore {name}`")
                return info
        known = ", ".join(sorted(info.name for info in keys if info.removed_ms is None))
        raise UnknownKey(f"there is no key {name}; there is {known or 'none'}")

    def list(self, request: ListKeys) -> tuple[KeyReport, ...]:
        """Return the keys asked for, by name.

        Raises:
          KeysSealed: The vault is not open.
        """
        found = [
            info
            for info in self._desk.opened().keys.values()
            if (request.removed or info.removed_ms is None)
            and request.exchange in ("", info.exchange)
            and request.owner in ("", info.uid, info.telegram_id)
        ]
        return tuple(map(self.report, sorted(found, key=lambda info: info.name)))

    def report(self, info: KeyInfo) -> KeyReport:
        """Return what may be told of a key."""
        now_ms = self._clock.utc_ms()
        is_over = info.expires_ms is not None and now_ms >= info.expires_ms
        state: KeyState = "expired" if is_over else "active"
        if info.removed_ms is not None:
            state = "removed"
        return KeyReport(
            name=info.name,
            exchange=info.exchange,
            label=info.label,
            hint=info.hint,
            host=info.host,
            state=state,
            created_ms=info.created_ms,
            expires_ms=info.expires_ms,
            last_used_ms=self.uses.last_ms(info.id),
            removed_ms=info.removed_ms,
            allow=info.allow,
            requests_per_minute=info.requests_per_minute,
            uid=info.uid,
            telegram_id=info.telegram_id,
            account=self._sessions.of_key(info.id) is not None,
        )

    def holder(self, info: KeyInfo) -> str:
        """Return whom the exchange counts a key's requests for: its owner, as far as is known.

        Keys of one uid are one account's, and so is one key under several labels.
        """
        if info.uid:
            return info.uid
        same = [
            each
            for each in self._desk.keys.values()
            if each.exchange == info.exchange and each.access_sha256 == info.access_sha256 != ""
        ]
        oldest = min(same, key=lambda each: (each.created_ms, each.name), default=info)
        return oldest.uid or oldest.name

    def check_end(self, info: KeyInfo) -> None:
        """Refuse a key that the exchange has ended.

        Raises:
          KeyRefused: It is over.
        """
        if self.left_s(info) <= 0:
            self._end(info.id, "the key has expired")
            raise KeyRefused(
                f"key {info.name} has expired; make a new one at the exchange and put it in its "
                f"place: marketd keys add {info.name} --replace"
            )

    def left_s(self, info: KeyInfo) -> float:
        """Return how long a key may still be used, in seconds; endless if that is not known."""
        if info.expires_ms is None:
            return math.inf
        return (info.expires_ms - self._clock.utc_ms()) / 1_000

    # -------------------------------------------------------------- changing

    async def add(self, request: AddKey) -> KeyChange:
        """Keep a key.

        Raises:
          InvalidRequest: Something of it will not do, or there is one of that name.
          KeysError: The vault is not open, or the change could not be put on record.
        """
        before = self._named(f"{request.exchange}:{request.label}")
        info, credential = self.made(request, before)
        try:
            if before is not None and not request.replace:
                state = "" if before.removed_ms is None else ", removed"
                raise InvalidRequest(
                    f"there is a key {info.name} ({before.hint}…{state}) already; replace it "
                    "(--replace), whereupon its secrets are lost, or choose another label"
                )
            if before is None and len(self._desk.keys) >= KEYS_MAX:
                raise InvalidRequest(f"there are {KEYS_MAX} keys already; purge some")
            may = may_sign(info, self._signers[info.exchange])
            what = f"add {info.name} ({info.hint}…), which {may}"
            if before is not None:
                what = (
                    f"replace {info.name} ({before.hint}…), whose secrets are lost; the new one "
                    f"({info.hint}…) {may}"
                )
            if not request.dry_run:
                now_ms = self._clock.utc_ms()
                try:
                    await self._desk.change(
                        "add" if before is None else "replace",
                        info.name,
                        f"for {info.host}",
                        lambda vault, mark: vault.put(info, credential, now_ms=now_ms, audit=mark),
                    )
                finally:
                    self._end(info.id, "the key was replaced")
                if before is not None:
                    await self.uses.forget(info.id)
        finally:
            credential.wipe()
        return self._changed(info, what, done=not request.dry_run)

    async def change(self, request: ChangeKey) -> KeyChange:
        """Change what is known of a key; errors as in `add`."""
        info = self.find(request.key)
        signer = self._signers[info.exchange]
        changes: dict[str, object] = {}
        if request.allow is not None:
            changes["allow"] = check_allow(request.allow)
            check_reach(request.allow, signer)
        if request.requests_per_minute is not None:
            cap = request.requests_per_minute or None
            check_cap(cap)
            changes["requests_per_minute"] = cap
        if request.expires is not None:
            changes["expires_ms"] = parse_end(request.expires)
        for name in ("uid", "telegram_id"):
            value = getattr(request, name)
            if value is not None:
                check_owner(name, value)
                changes[name] = value
        if not changes:
            raise InvalidRequest("nothing was named that is to be changed")
        fresh = msgspec.structs.replace(info, **changes)
        if fresh == info:
            return self._changed(info, f"{info.name} is like that already", done=True)
        what = f"change {info.name}: {told_changes(info, fresh)}; it {may_sign(fresh, signer)}"
        names = ", ".join(name.removesuffix("_ms").replace("_", " ") for name in changes)
        # Whose a key is stands in the vault, and not in the trail.
        detail = f"change {names} of {info.name}, which may sign {', '.join(fresh.allow)}"
        return await self._put("change", fresh, what, detail, dry_run=request.dry_run)

    async def remove(self, request: RemoveKey) -> KeyChange:
        """Take a key out of use, or forget it; errors as in `add`."""
        info = self.find(request.key)
        if not request.purge:
            if info.removed_ms is not None:
                raise InvalidRequest(f"key {info.name} is removed already; --purge forgets it")
            fresh = msgspec.structs.replace(info, removed_ms=self._clock.utc_ms())
            what = f"remove {info.name}, which `keys restore` takes back"
            return await self._put("remove", fresh, what, what, dry_run=request.dry_run)
        what = f"forget {info.name} ({info.hint}…) for good: its secrets are lost"
        if not request.dry_run:
            self._end(info.id, "the key was purged")
            try:
                await self._desk.change(
                    "purge", info.name, "", lambda vault, mark: vault.purge(info.id, audit=mark)
                )
            finally:
                # Who opened it while the change was being written.
                self._end(info.id, "the key was purged")
            await self.uses.forget(info.id)
        return KeyChange(done=not request.dry_run, what=what)

    async def restore(self, request: RestoreKey) -> KeyChange:
        """Take a removed key into use again; errors as in `add`."""
        info = self.find(request.key)
        if info.removed_ms is None:
            raise InvalidRequest(f"key {info.name} is not removed")
        fresh = msgspec.structs.replace(info, removed_ms=None)
        what = f"restore {info.name}"
        return await self._put("restore", fresh, what, what, dry_run=request.dry_run)

    async def rotate(self, *, dry_run: bool) -> KeyChange:
        """Seal everything anew under a new data key; errors as in `add`."""
        vault = self._desk.opened()
        what = f"seal all keys ({len(vault.keys)}) anew under a new data key"
        if not dry_run:
            await self._desk.change("rotate", "", "", lambda vault, mark: vault.rotate(audit=mark))
        return KeyChange(done=not dry_run, what=what)

    def made(self, request: AddKey, before: KeyInfo | None = None) -> tuple[KeyInfo, Credential]:
        """Return a key as the vault holds it, in the place of `before`; errors as in `make_key`."""
        signer = self._signers.get(request.exchange)
        if signer is None:
            known = ", ".join(self._signers) or "none"
            raise InvalidRequest(
                f"no exchange called {request.exchange!r} has keys here; {known} has"
            )
        return make_key(
            request,
            before,
            signer=signer,
            host=self._hosts[request.exchange],
            now_ms=self._clock.utc_ms(),
        )

    async def audit(self, request: GetAudit) -> tuple[AuditEntry, ...]:
        """Return the newest lines of the audit trail, each following from the one before.

        Raises:
          InvalidRequest: The count will not do.
          AuditFailed: A line was changed or is missing; says which.
          KeysSealed: The vault is not open.
        """
        if not 1 <= request.count <= AUDIT_MAX:
            raise InvalidRequest(f"count must be 1 to {AUDIT_MAX}, was {request.count}")
        self._desk.opened()
        entries = await self._desk.trail.listed(AUDIT_MAX if request.key else request.count)
        if request.key:
            entries = tuple(entry for entry in entries if entry.key == request.key)
        return entries[-request.count :]

    # -------------------------------------------------------------- inside

    def _named(self, name: str) -> KeyInfo | None:
        try:
            return self.find(name)
        except UnknownKey:
            return None

    async def _put(
        self, action: str, info: KeyInfo, what: str, detail: str, *, dry_run: bool
    ) -> KeyChange:
        if not dry_run:
            now_ms = self._clock.utc_ms()
            self._end_if_other(info, action)
            try:
                await self._desk.change(
                    action,
                    info.name,
                    detail,
                    lambda vault, mark: vault.put(info, None, now_ms=now_ms, audit=mark),
                )
            finally:
                # Who opened it while the change was being written has the key as it was; and of a
                # change that failed it may not be known what became of it.
                self._end_if_other(info, action)
            self._sessions.renew(info, self._clock.now_s() + self.left_s(info))
        return self._changed(info, what, done=not dry_run)

    def _end_if_other(self, info: KeyInfo, action: str) -> None:
        """End the account client of a key that may do other things, or is over."""
        may = ("allow", "requests_per_minute", "uid", "removed_ms")
        known = [each.info for each in self._sessions if each.info.id == info.id]
        if any(getattr(each, name) != getattr(info, name) for each in known for name in may):
            self._end(info.id, f"of its key there was a change: {action}")
        elif self.left_s(info) <= 0:
            self._end(info.id, "the key has expired")

    def _changed(self, info: KeyInfo, what: str, *, done: bool) -> KeyChange:
        return KeyChange(done=done, what=what, keys=(self.report(info),))
