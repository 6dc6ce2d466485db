"""`KeyActor`: ssh-agent for exchanges. What leaves it is a signature, never a secret.

    AccountActor --SignRequest--> KeyActor --> is it allowed? --> audit trail --> signature

State: the open vault, and the credentials of the account clients that are open. All of it is gone
when the actor dies: its next incarnation begins sealed, unless it can unlock by itself. What must
outlive it (the vault, the trail, tries to unlock) is in the store before anything is answered.

Who talks to it: account clients through an AccountActor, and operators through the socket.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
import trio

from actors.errors import AccountClosed, Overloaded
from actors.exchanges.signing import Signer
from actors.key_book import KeyBook
from actors.key_clients import KeyClients
from actors.key_messages import (
    AddKey,
    ChangeKey,
    CloseTrial,
    GetAudit,
    InvalidateAccount,
    ListKeys,
    OpenAccount,
    OpenTrial,
    RemoveKey,
    RestoreKey,
    SignRequest,
)
from actors.key_reports import Account, KeyChange, KeyStatistics, OpenedAccount, VaultStatus
from actors.key_rules import check_apart, check_use
from actors.key_sessions import Session
from actors.key_watch import KeyWatch
from actors.messages import GetHealth
from actors.reports import Health
from actors.stores.keys import OpenKeyStore
from actors.vault.secret import Secret
from actors.vault.values import Credential, KeyInfo
from actors.vault_counter import VaultCounter
from actors.vault_desk import VaultDesk
from actors.vault_messages import GetVault
from actors.vault_unlocker import Unlocking
from runtime.core.actor import Actor
from runtime.core.errors import DomainError, UnhandledRequest
from runtime.core.message import Event, Request
from runtime.core.reply import Reply
from runtime.core.table import Table

_log = logging.getLogger("marketd.keys")

IDLE_S = 300.0
ABSOLUTE_S = 12 * 3_600.0
# A key is tried within this.
TRIAL_S = 60.0
# Requests taken on and not yet answered. A signature takes a millisecond, so this is a flood.
IN_HAND_MAX = 4_096


class KeyActor(Actor):
    """Keep keys sealed, and sign with them what their owners allow.

    Args:
      open_store: Opens what keeps vault and audit trail; entered and left in different tasks.
      unlocking: How the vault is unlocked.
      signers: How each exchange wants requests signed.
      hosts: Where each exchange is; a key is bound to that when it is added.
      accounts: Where open account clients are published: whom the exchange counts each for.
      places: Where the vault's parts are kept, for people.
      idle_s: How long an account client may be unused, in seconds.
      absolute_s: How long it may be open at all, in seconds.
      learn: Told every secret there is in memory, so that it can be masked wherever it turns up.
    """

    def __init__(
        self,
        open_store: OpenKeyStore,
        *,
        unlocking: Unlocking,
        signers: Mapping[str, Signer],
        hosts: Mapping[str, str],
        accounts: Table[str, OpenedAccount],
        places: tuple[str, ...] = (),
        idle_s: float = IDLE_S,
        absolute_s: float = ABSOLUTE_S,
        learn: Callable[[bytearray], object] = lambda _: None,
    ) -> None:
        self._open_store = open_store
        self._unlocking = unlocking
        self._signers = signers
        self._hosts = hosts
        self._accounts = accounts
        self._places = places
        self._idle_s = idle_s
        self._absolute_s = absolute_s
        self._learn = learn
        self._in_hand = 0
        # Changes of keys are made one by one, each of what the one before has left.
        self._changing = trio.Lock()
        self._signatures = self._refused = 0

    # -------------------------------------------------------------- callbacks

    async def on_start(self) -> None:
        """Look what there is, and unlock it if nobody needs to be asked."""
        clock = self.context.clock
        self._clients = KeyClients(
            self._accounts,
            owner=self.context.name,
            clock=clock,
            rng=self.context.rng,
            idle_s=self._idle_s,
            absolute_s=self._absolute_s,
            learn=self._learn,
        )
        self._sessions = self._clients.sessions
        self._desk = VaultDesk(
            self._open_store, self._unlocking, clock, ended=self._sessions.end_all
        )
        self._book = KeyBook(
            self._desk,
            clock,
            signers=self._signers,
            hosts=self._hosts,
            sessions=self._sessions,
        )
        self._watch = KeyWatch(self._desk, clock)
        self._counter = VaultCounter(
            self._desk,
            self._book,
            self._sessions,
            status=self._status,
            opened=self._watch.look,
            learn=self._learn,
        )
        self._learn_to_answer()
        await self._desk.start()
        await self._book.uses.learn()
        self.context.nursery.start_soon(self._clients.run)
        self.context.nursery.start_soon(self._watch.run)

    async def on_stop(self) -> None:
        """Wipe everything."""
        self._sessions.end_all("the runtime stopped")
        await self._book.uses.keep()
        await self._desk.close()

    async def handle_call(self, request: Request[Any]) -> object:
        """Answer at once what needs no disk, and take over the rest."""
        at_once = self._at_once.get(type(request))
        if at_once is not None:
            return at_once(request)
        later = self._later.get(type(request))
        if later is None:
            raise UnhandledRequest(f"KeyActor has no handler for {type(request).__name__}")
        if self._in_hand >= IN_HAND_MAX:
            raise Overloaded(f"{IN_HAND_MAX} requests about keys are in hand already")
        self._in_hand += 1
        self.context.nursery.start_soon(self._work, later, request, self.context.take_reply())
        return None

    async def handle_cast(self, event: Event) -> None:
        """End an account client that was for trying a key."""
        match event:
            case CloseTrial(account=account):
                self._sessions.close(account, "its key was tried")
            case _:
                raise UnhandledRequest(f"KeyActor has no handler for {type(event).__name__}")

    def statistics(self) -> KeyStatistics:
        """Return what has been done since start."""
        return KeyStatistics(
            state=self._desk.state,
            keys=self._book.count,
            accounts=len(self._sessions),
            opened=self._clients.opened,
            expired=self._clients.expired,
            signatures=self._signatures,
            refused=self._refused,
            unlock_failures=self._desk.unlocker.failures,
            audit_lines=self._desk.lines,
        )

    def _learn_to_answer(self) -> None:
        self._at_once: dict[type, Callable[[Any], object]] = {
            GetVault: lambda _: self._status(),
            GetHealth: lambda _: self._health(),
            ListKeys: self._book.list,
            InvalidateAccount: self._invalidate,
        }
        self._later: dict[type, Callable[[Any], Awaitable[object]]] = {
            SignRequest: self._sign,
            OpenAccount: self._open_account,
            OpenTrial: self._open_trial,
            **self._counter.answers(),
            AddKey: partial(self._in_turn, self._add),
            ChangeKey: partial(self._in_turn, self._book.change),
            RemoveKey: partial(self._in_turn, self._book.remove),
            RestoreKey: partial(self._in_turn, self._book.restore),
            GetAudit: self._book.audit,
        }

    # -------------------------------------------------------------- signing

    async def _sign(self, request: SignRequest) -> tuple[tuple[str, str], ...]:
        session = self._session(request.account)
        info, signer = session.info, self._signers[session.info.exchange]
        ask = request.request
        name = info.name
        # First of all, and without a line: that would say it again.
        check_apart(session.credential, (ask.path,))
        try:
            self._book.check_end(info)
            check_use(info, signer, ask.method, ask.path, request.host)
            session.cap.take(self.context.clock.now_s())
        except DomainError as error:
            self._refused += 1
            await self._desk.trail.write("refuse", name, str(error)[:300], durable=False)
            raise
        detail = f"{ask.method} {ask.path}"
        await self._desk.trail.write("sign", name, detail, durable=False)
        # It may have been locked, or removed, while the line was written.
        session = self._session(request.account)
        self._sessions.use(session, self.context.clock.now_s())
        self._book.uses.used(info.id)
        self._signatures += 1
        nonce = str(UUID(int=self.context.rng.getrandbits(128), version=4))
        return signer.sign(session.credential, ask, nonce=nonce, utc_ms=request.utc_ms)

    def _session(self, account: str) -> Session:
        try:
            return self._sessions.get(account, self.context.clock.now_s())
        except AccountClosed:
            # Why it is closed is best said by who has closed all of them.
            self._desk.check()
            raise

    # -------------------------------------------------------------- account clients

    async def _open_account(self, request: OpenAccount) -> Account:
        info = self._book.find(f"{request.exchange}:{request.label}", active=True)
        self._book.check_end(info)
        session = self._sessions.of_key(info.id)
        if session is None or self.context.clock.now_s() >= session.until_s:
            self._sessions.expire(self.context.clock.now_s())
            await self._desk.trail.write("open", info.name, durable=False)
            # Both may have changed while the line was written.
            info = self._book.find(info.name, active=True)
            session = self._sessions.of_key(info.id)
        if session is None:
            credential = self._desk.opened().credential(info.id)
            session = self._clients.add(
                info, credential, self._book.left_s(info), self._book.holder(info)
            )
        return self._clients.describe(session)

    async def _open_trial(self, request: OpenTrial) -> Account:
        name = self._to_try(request.key)[0].name
        await self._desk.trail.write("try", name, durable=False)
        # It may have been locked, or the key removed, while the line was written.
        info, credential = self._to_try(request.key)
        left_s = min(TRIAL_S, self._book.left_s(info))
        holder = self._book.holder(info)
        trial = self._clients.add(info, credential, left_s, holder, trial=True)
        return self._clients.describe(trial)

    def _to_try(self, key: AddKey | str) -> tuple[KeyInfo, Credential]:
        if isinstance(key, AddKey):
            self._desk.check()
            return self._book.made(key)
        info = self._book.find(key, active=True)
        self._book.check_end(info)
        return info, self._desk.opened().credential(info.id)

    # -------------------------------------------------------------- changes

    async def _add(self, request: AddKey) -> KeyChange:
        for text in (request.access_key, request.secret_key, request.passphrase):
            self._learn(bytearray(text.encode(errors="replace")))
        if not self._desk.makes_itself:
            return await self._book.add(request)
        # No vault is made for a key that is refused.
        plan = await self._book.add(msgspec.structs.replace(request, dry_run=True))
        if request.dry_run:
            kind = self._desk.kind.replace("_", " ")
            what = f"make a vault that is unlocked by {kind}, and {plan.what}"
            return msgspec.structs.replace(plan, what=what)
        await self._desk.create(Secret(b""))
        return await self._book.add(request)

    async def _in_turn(
        self, do: Callable[[Any], Awaitable[KeyChange]], request: Request[Any]
    ) -> KeyChange:
        async with self._changing:
            return await do(request)

    # -------------------------------------------------------------- small things

    async def _work(
        self, do: Callable[[Any], Awaitable[object]], request: Request[Any], reply: Reply
    ) -> None:
        try:
            reply.send(await do(request))
        except DomainError as error:
            reply.fail(error)
        finally:
            self._in_hand -= 1

    def _invalidate(self, request: InvalidateAccount) -> bool:
        return self._sessions.end(self._book.find(request.key).id, "it was invalidated")

    def _status(self) -> VaultStatus:
        desk = self._desk
        return VaultStatus(
            state=desk.state,
            unlock=desk.kind,
            reason=desk.told,
            keys=self._book.count if desk.vault is not None else None,
            accounts=len(self._sessions),
            retry_after_s=desk.unlocker.retry_after_s,
            generation=None if desk.vault is None else desk.vault.generation,
            signatures=self._signatures,
            refused=self._refused,
            places=self._places,
        )

    def _health(self) -> Health:
        state, reason = self._watch.health()
        return Health(name="keys", state=state, reason=reason)
