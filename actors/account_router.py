"""`AccountRouter`: the door for every question about keys and accounts. Plain code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from actors.errors import InvalidRequest, KeyRefused, OutcomeUnknown
from actors.key_messages import (
    ACCOUNT_CALLS,
    KEY_METHODS,
    AddKey,
    ChangeKey,
    CloseTrial,
    OpenAccount,
    OpenTrial,
    TryAccount,
    TryKey,
)
from actors.key_reports import KeyChange, KeyTest, VaultStatus
from actors.key_rules import check_types, split_name
from actors.outcomes import in_doubt
from actors.reports import Health
from actors.router import ask_health
from actors.vault_messages import GetVault
from runtime.core.clock import Clock
from runtime.core.errors import ActorDown, ActorError, ActorRestarted, CallTimeout
from runtime.core.message import Request
from runtime.core.ref import ActorRef

_OWN_TIMEOUT_S = 2.0

_KINDS = tuple(KEY_METHODS.values())


class AccountRouter:
    """Answers every request of `actors.key_messages.KEY_METHODS`.

    Args:
      keys: The KeyActor; None if keys are switched off.
      accounts: The AccountActor of each exchange.
      clock: Where time is read.
    """

    def __init__(
        self, keys: ActorRef | None, accounts: Mapping[str, ActorRef], clock: Clock
    ) -> None:
        self.keys = keys
        self.accounts = accounts
        self._clock = clock

    @staticmethod
    def knows(request: Request[Any]) -> bool:
        """Return whether `request` is one of those answered here."""
        return isinstance(request, _KINDS)

    def validate(self, request: Request[Any]) -> None:
        """Raise the error that `request` would meet before anything is done for it."""
        self._keys()
        check_types(request)
        if isinstance(request, ACCOUNT_CALLS):
            self._account_actor(request.account)  # type: ignore[attr-defined]
        elif isinstance(request, OpenAccount):
            self._of_exchange(request.exchange)
        elif isinstance(request, TryKey):
            self._of_exchange(split_name(request.key)[0])

    async def answer(self, request: Request[Any], *, timeout_s: float) -> Any:
        """Return the answer to `request`.

        Raises:
          DomainError: The answer is an error; `actors.errors` has the tree of them.
          ActorError: No answer came: too late, or the actor was restarted meanwhile.
          OutcomeUnknown: The same, where something was to be changed at the exchange.
        """
        self.validate(request)
        keys = self._keys()
        match request:
            case TryKey(key=key):
                return await self._try(key, self._clock.now_s() + timeout_s)
            case AddKey(test=True):
                return await self._add_tried(request, self._clock.now_s() + timeout_s)
            case _ if isinstance(request, ACCOUNT_CALLS):
                actor = self._account_actor(request.account)  # type: ignore[attr-defined]
                try:
                    return await actor.call(request, timeout_s=timeout_s)
                except (CallTimeout, ActorRestarted, ActorDown, OutcomeUnknown) as error:
                    raise in_doubt(request, error) from error
            case _:
                return await keys.call(request, timeout_s=timeout_s)

    async def health(self) -> tuple[Health, ...]:
        """Return how the keys are, and the way to each exchange's accounts."""
        asked = [] if self.keys is None else [("keys", self.keys)]
        asked += [(f"{name} accounts", ref) for name, ref in self.accounts.items()]
        return tuple([await ask_health(name, ref) for name, ref in asked])

    async def vault(self) -> VaultStatus | None:
        """Return how the vault is; None if there is none, or it does not answer."""
        if self.keys is None:
            return None
        try:
            return await self.keys.call(GetVault(), timeout_s=_OWN_TIMEOUT_S)
        except ActorError:
            # `health` says why.
            return None

    async def _try(self, name: str, deadline_s: float) -> KeyTest:
        keys = self._keys()
        exchange, _ = split_name(name)
        found = await self._tried(OpenTrial(key=name), exchange, deadline_s)
        if found.expires_ms is not None:
            known = ChangeKey(key=name, expires=found.expires_ms)
            await keys.call(known, timeout_s=self._left_s(deadline_s))
        return found

    async def _add_tried(self, request: AddKey, deadline_s: float) -> KeyChange:
        """Keep a key if the exchange takes it, and with the end that the exchange names."""
        keys = self._keys()
        found = await self._tried(OpenTrial(key=request), request.exchange, deadline_s)
        if not found.works:
            why = "; ".join(found.problems) or "it could not read what it should"
            raise KeyRefused(
                f"{found.name} is not kept, because the exchange does not take it: {why}"
            )
        kept = msgspec.structs.replace(request, test=False)
        if found.expires_ms is not None and request.expires is None:
            kept = msgspec.structs.replace(kept, expires=found.expires_ms)
        return await keys.call(kept, timeout_s=self._left_s(deadline_s))

    async def _tried(self, opening: OpenTrial, exchange: str, deadline_s: float) -> KeyTest:
        keys, actor = self._keys(), self._of_exchange(exchange)
        account = (await keys.call(opening, timeout_s=self._left_s(deadline_s))).account
        try:
            return await actor.call(TryAccount(account=account), timeout_s=self._left_s(deadline_s))
        finally:
            keys.cast(CloseTrial(account=account))

    def _left_s(self, deadline_s: float) -> float:
        return max(0.0, deadline_s - self._clock.now_s())

    def _keys(self) -> ActorRef:
        if self.keys is None:
            raise InvalidRequest("keys are switched off: keys.enabled")
        return self.keys

    def _account_actor(self, account: str) -> ActorRef:
        return self._of_exchange(account.partition(":")[0])

    def _of_exchange(self, exchange: str) -> ActorRef:
        actor = self.accounts.get(exchange)
        if actor is None:
            known = ", ".join(self.accounts) or "none"
            raise InvalidRequest(
                f"no accounts at {exchange[:40]!r} are served here; at {known} are"
            )
        return actor
