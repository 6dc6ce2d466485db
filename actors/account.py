"""`AccountActor`: what is asked about accounts at one exchange, signed and within its limits.

    account client --> AccountActor --> permit --> KeyActor signs --> exchange

State: the connections to the exchange, and the calls under way; a call that is in hand when the
actor dies fails with `ActorRestarted`, and nobody knows whether an order arrived: ask for it by its
identifier. Nothing is kept of any answer.

Who talks to it: account clients, through the router of accounts. It never sees a key.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import Any

from actors.errors import AccountClosed, ExchangeUnavailable, Overloaded
from actors.exchanges.accounts import AccountAdapter
from actors.exchanges.base import ExchangeCall, encode_query
from actors.exchanges.clock import ExchangeClock
from actors.exchanges.signing import ToSign
from actors.exchanges.throttled import ThrottledExchange
from actors.key_messages import ACCOUNT_CALLS, SignRequest, TryAccount
from actors.key_reports import AccountStatistics, OpenedAccount
from actors.key_trial import try_account
from actors.messages import GetHealth
from actors.outcomes import changes_something
from actors.patience import patience_s
from actors.reports import Health
from runtime.core.actor import Actor
from runtime.core.errors import ActorError, DomainError, UnhandledRequest
from runtime.core.message import Request
from runtime.core.ref import ActorRef
from runtime.core.reply import Reply
from runtime.core.table import Table

# Calls taken on and not yet answered. The limits let out far fewer in the time anybody waits.
IN_HAND_MAX = 1_000


class AccountActor(Actor):
    """Ask one exchange about the accounts whose keys are open.

    Args:
      open_gate: Opens the way to the exchange, anew for each incarnation.
      adapter: The exchange's language for accounts.
      keys: The KeyActor.
      accounts: The account clients there are.
      host: Where the exchange is: host and port.
      exchange_clock: What is known of the exchange's clock.
    """

    def __init__(
        self,
        open_gate: Callable[[], AbstractAsyncContextManager[ThrottledExchange]],
        *,
        adapter: AccountAdapter,
        keys: ActorRef,
        accounts: Table[str, OpenedAccount],
        host: str,
        exchange_clock: ExchangeClock,
    ) -> None:
        self._open_gate = open_gate
        self._adapter = adapter
        self._keys = keys
        self._accounts = accounts
        self._host = host
        self._exchange_clock = exchange_clock
        self._opened = AsyncExitStack()
        self._in_hand = self._requests = self._failures = 0

    async def on_start(self) -> None:
        """Open the way to the exchange."""
        self._gate = await self._opened.enter_async_context(self._open_gate())

    async def on_stop(self) -> None:
        """Close it."""
        await self._opened.aclose()

    async def handle_call(self, request: Request[Any]) -> object:
        """Take over the request; it is answered when the exchange has answered."""
        match request:
            case GetHealth():
                return self._health()
            case TryAccount(account=account):
                self._opened_account(account)
                self._start(partial(try_account, self._ask, account))
            case _ if isinstance(request, ACCOUNT_CALLS):
                # Refused at once, before anything waits for a slot: what is closed, and what cannot
                # be asked so.
                call = self._call(request)
                self._start(partial(self._fetch, request, call))
            case _:
                kind = type(request).__name__
                raise UnhandledRequest(f"AccountActor has no handler for {kind}")
        return None

    def statistics(self) -> AccountStatistics:
        """Return what has been done since start."""
        return AccountStatistics(
            requests=self._requests, failures=self._failures, in_hand=self._in_hand
        )

    def _start(self, work: Callable[[float], Any]) -> None:
        if self._in_hand >= IN_HAND_MAX:
            raise Overloaded(f"{IN_HAND_MAX} calls about accounts are under way already")
        self._in_hand += 1
        self.context.nursery.start_soon(self._work, work, self.context.take_reply())

    async def _work(self, work: Callable[[float], Any], reply: Reply) -> None:
        now_s = self.context.clock.now_s()
        # In time to tell who asked why there is no answer, and that nothing was sent if so.
        deadline_s = now_s + patience_s([reply.deadline_s], now_s, most_s=math.inf)
        try:
            reply.send(await work(deadline_s))
        except (DomainError, ActorError) as error:
            # The limiter, or who signs, may be away or be restarted: that is theirs.
            reply.fail(error)
        finally:
            self._in_hand -= 1

    async def _ask(self, request: Request[Any], deadline_s: float) -> Any:
        return await self._fetch(request, self._call(request), deadline_s)

    async def _fetch(
        self, request: Request[Any], call: ExchangeCall[Any], deadline_s: float
    ) -> Any:
        account: str = request.account  # type: ignore[attr-defined]
        try:
            fetched = await self._gate.fetch(
                call,
                sign=partial(self._sign, account, deadline_s),
                timeout_s=deadline_s - self.context.clock.now_s(),
            )
        except DomainError:
            self._failures += 1
            raise
        except ActorError as error:
            if not changes_something(request):
                raise
            # It is about who gives leave or who signs. To who asked, an actor that was restarted
            # is one that may have sent the order before.
            raise ExchangeUnavailable(f"{self._gate.name} was not asked: {error}") from error
        self._requests += 1
        return fetched.value

    async def _sign(
        self, account: str, deadline_s: float, call: ExchangeCall[Any]
    ) -> ExchangeCall[Any]:
        request = SignRequest(
            account=account,
            host=self._host,
            request=ToSign(
                method=call.method,
                path=call.path,
                query="" if call.body else encode_query(call.params),
                params=call.params,
                body=call.body,
            ),
            utc_ms=self._exchange_clock.utc_ms(),
        )
        left_s = deadline_s - self.context.clock.now_s()
        headers = await self._keys.call(request, timeout_s=left_s)
        return replace(call, headers=headers)

    def _call(self, request: Request[Any]) -> ExchangeCall[Any]:
        account: str = request.account  # type: ignore[attr-defined]
        opened = self._opened_account(account)
        return self._adapter.call(
            request,
            opened.holder,
            is_own=lambda access: sha256(access.encode()).hexdigest() == opened.access_sha256,
        )

    def _opened_account(self, account: str) -> OpenedAccount:
        opened = self._accounts.get(account)
        if opened is None:
            raise AccountClosed(
                f"account {account[:100]!r} is closed: this runtime has not opened it; open it"
            )
        if opened.closed:
            raise AccountClosed(f"account {account} is closed: {opened.closed}; open it again")
        return opened

    def _health(self) -> Health:
        seen = self._gate.state
        return Health(
            name=f"{self._adapter.name} accounts",
            state=seen.state,
            reason=seen.last_error if seen.state == "away" else "",
            since_ms=seen.last_success_ms,
        )
