"""`KeyClients`: account clients opened, published, and ended in time."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from hashlib import sha256

import msgspec
import trio

from actors.key_reports import Account, OpenedAccount
from actors.key_sessions import Session, Sessions
from actors.vault.values import Credential, KeyInfo
from runtime.core.clock import Clock
from runtime.core.table import Table


class KeyClients:
    """The account clients of one KeyActor.

    Args:
      accounts: Where they are published; who opened some before this has ended.
      owner: The name of the KeyActor.
      clock: Where time is read.
      rng: Where their names come from.
      idle_s: How long one may be unused, in seconds.
      absolute_s: How long one may be open at all, in seconds.
      learn: Told every secret that is opened.

    Attributes:
      sessions: Those that are open.
      opened: How many were opened.
      expired: How many came to their end by time.
    """

    def __init__(
        self,
        accounts: Table[str, OpenedAccount],
        *,
        owner: str,
        clock: Clock,
        rng: random.Random,
        idle_s: float,
        absolute_s: float,
        learn: Callable[[bytearray], object],
    ) -> None:
        self._accounts = accounts
        self._writer = accounts.claim(owner)
        self._clock = clock
        self._rng = rng
        self._idle_s = idle_s
        self._absolute_s = absolute_s
        self._learn = learn
        self._wake = trio.Event()
        self.sessions = Sessions(self._tell_opened, self._tell_ended)
        self.opened = self.expired = 0
        for account, _ in tuple(accounts.items()):
            self._writer.delete(account)

    def add(
        self,
        info: KeyInfo,
        credential: Credential,
        left_s: float,
        holder: str,
        *,
        trial: bool = False,
    ) -> Session:
        """Open one, for `left_s` seconds at most, that counts for `holder` at the exchange.

        Args:
          info: What is known of its key.
          credential: What signs.
          left_s: How long it may be open, in seconds.
          holder: Whom the exchange counts its requests for.
          trial: Whether it is for trying the key.

        Raises:
          Overloaded: There are as many as there may be.
        """
        now_s = self._clock.now_s()
        session = Session(
            # Not a name that an account client of an earlier runtime may still hold.
            f"{info.name}#{self._rng.getrandbits(48):012x}",
            info,
            credential,
            self._idle_s,
            now_s + min(left_s, self._absolute_s),
            now_s,
            holder,
            trial,
        )
        self.sessions.add(session)
        self.opened += 1
        for secret in (credential.access_key, credential.secret_key, credential.passphrase):
            if secret is not None:
                self._learn(secret.buffer)
        return session

    def describe(self, session: Session) -> Account:
        """Return what its user is told of it."""
        return Account(
            account=session.account,
            exchange=session.info.exchange,
            key=session.info.name,
            idle_s=session.idle_s,
            ends_in_s=session.ends_s - self._clock.now_s(),
            holder=session.holder,
        )

    async def run(self) -> None:
        """End each at the moment its time is over, until cancelled."""
        while True:
            self._wake = trio.Event()
            next_s = self.sessions.next_s()
            left_s = math.inf if next_s is None else next_s - self._clock.now_s()
            with trio.move_on_after(max(0.0, left_s)):
                await self._wake.wait()
            self.expired += self.sessions.expire(self._clock.now_s())

    def _tell_opened(self, session: Session) -> None:
        digest = sha256(session.credential.access_key.buffer).hexdigest()
        self._writer.put(session.account, OpenedAccount(session.holder, digest))
        # Its end may be the next of all.
        self._wake.set()

    def _tell_ended(self, account: str, why: str) -> None:
        before = self._accounts.get(account)
        if before is not None and why:
            self._writer.put(account, msgspec.structs.replace(before, closed=why))
        else:
            self._writer.delete(account)
