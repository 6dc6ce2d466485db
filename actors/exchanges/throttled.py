"""`ThrottledExchange`: the only way to an exchange, and it leads past the rate limiter.

    fetch(call) -> permit -> send -> give the permit back -> read

Adapters hold no connection, and the sender given to a `ThrottledExchange` is known to nobody else,
so there is no request without a permit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeVar

import trio

from actors.errors import (
    ExchangeUnavailable,
    MalformedPayload,
    MarketDataError,
    RateLimited,
)
from actors.exchanges.base import ExchangeAdapter, ExchangeCall, Response
from actors.exchanges.clock import ExchangeClock, parse_date_ms
from actors.exchanges.permits import PermitDesk
from actors.exchanges.sender import RawResponse, Sender, SendFailed
from actors.messages import Permit, Priority, ReleasePermit
from actors.quotes import OrderBook, Ticker
from runtime.core.clock import Clock
from runtime.core.ref import ActorRef

T = TypeVar("T")

_log = logging.getLogger("marketd.exchange")

# A request is under way no longer than this, whatever its caller allows: well before the limiter
# would take its permit for lost (`SlotRules.lost_s`).
SEND_S_MAX = 25.0


@dataclass(frozen=True, slots=True)
class ExchangeState:
    """How an exchange has been doing, as seen by those who asked it something.

    Attributes:
      state: `ok` or `away` by the last answer; `unknown` before the first.
      last_success_ms: When it last answered with anything it should, on our wall clock, in UTC
        milliseconds. That we asked for something it does not have is our fault, and a success.
      last_failure_ms: When it last did not.
      last_error: What went wrong then; empty if nothing has.
    """

    state: Literal["unknown", "ok", "away"] = "unknown"
    last_success_ms: int | None = None
    last_failure_ms: int | None = None
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class Fetched(Generic[T]):
    """An answer of an exchange.

    Attributes:
      value: What it says.
      sent_s: When the question was sent, on `Clock.now_s`: it is at least as young as that.
    """

    value: T
    sent_s: float


@dataclass(slots=True)
class _Outcome:
    """What became of one request, as far as the limiter must know."""

    sent: bool = False
    answered: bool = False
    status: int = 0
    remaining: int | None = None
    retry_after_s: float | None = None

    def release(self, permit: Permit) -> ReleasePermit:
        """Return what to tell the limiter."""
        return ReleasePermit(
            permit=permit,
            sent=self.sent,
            answered=self.answered,
            status=self.status,
            remaining=self.remaining,
            retry_after_s=self.retry_after_s,
        )


class ThrottledExchange:
    """Ask one exchange questions, within its limits.

    Safe for any number of tasks at once; each `fetch` is one request and no more: nothing is sent
    again by itself.

    Args:
      adapter: The exchange's language.
      sender: What carries requests; from now on nobody else's.
      limiter: The exchange's `RateLimiterActor`.
      clock: Where time is read.
      exchange_clock: Told the exchange's time with each answer.
    """

    def __init__(
        self,
        adapter: ExchangeAdapter,
        sender: Sender,
        limiter: ActorRef,
        clock: Clock,
        exchange_clock: ExchangeClock,
    ) -> None:
        self._adapter = adapter
        self._sender = sender
        self._permits = PermitDesk(limiter, clock)
        self._clock = clock
        self._exchange_clock = exchange_clock
        self._state = ExchangeState()

    @property
    def name(self) -> str:
        """Return the exchange's name."""
        return self._adapter.name

    @property
    def state(self) -> ExchangeState:
        """Return how the exchange has been doing."""
        return self._state

    async def fetch(
        self,
        call: ExchangeCall[T],
        *,
        latest: Callable[[], ExchangeCall[T]] | None = None,
        priority: Priority = Priority.ASKED,
        timeout_s: float,
    ) -> Fetched[T]:
        """Return the answer to `call`, and when it was asked.

        Args:
          call: The question; from the adapter of this exchange.
          latest: Gives the question to send instead, of the same group, once there is leave to
            send: what is wanted may have changed while this waited for it.
          priority: Whose turn it is when slots are scarce.
          timeout_s: How long all of it may take, the wait for a slot included, in seconds.

        Raises:
          ExchangeUnavailable: No answer, half of one, or 5xx; names exchange, question and cause.
          RateLimited: The exchange refused, or no slot was free in time; see `retry_after_s`.
          RequestRejected: The exchange understood and refused.
          UnknownMarket: There is no such market.
          MalformedPayload: The answer breaks the exchange's promises.
          Overloaded: Too many wait for a slot already.
          ActorError: The limiter is not there.
        """
        deadline_s = self._clock.now_s() + timeout_s
        permit = await self._permits.acquire(
            call.group, priority, timeout_s=timeout_s, about=self._about(call)
        )
        try:
            wanted = call if latest is None else latest()
            fetched = await self._ask(wanted, permit, deadline_s)
        except MarketDataError as error:
            self._note(error)
            await self._permits.pay_all_owed()
            raise
        self._note(None)
        await self._permits.pay_all_owed()
        return fetched

    # -------------------------------------------------------------- the request

    async def _ask(self, call: ExchangeCall[T], permit: Permit, deadline_s: float) -> Fetched[T]:
        outcome = _Outcome()
        asked_ms, sent_s = self._exchange_clock.utc_ms(), self._clock.now_s()
        try:
            raw = await self._send(call, outcome, min(deadline_s - sent_s, SEND_S_MAX))
            received_s = self._clock.now_s()
            date_ms = parse_date_ms(raw.headers.get("date", ""))
            server_ms = asked_ms if date_ms is None else date_ms
            response = Response(raw.status, raw.headers, raw.body, server_ms)
            feedback = self._adapter.feedback(response)
            outcome.remaining = feedback.remaining
            outcome.retry_after_s = feedback.retry_after_s
        finally:
            self._permits.give_back(outcome.release(permit))
        if date_ms is not None:
            self._exchange_clock.observe(date_ms=date_ms, sent_s=sent_s, received_s=received_s)
        if response.status != 200:  # noqa: PLR2004 - the one status that carries an answer
            raise self._adapter.error(response, call)
        value = call.read(response)
        if date_ms is not None and (made_ms := _made_ms(value)) is not None:
            self._exchange_clock.observe(
                date_ms=date_ms, sent_s=sent_s, received_s=received_s, made_ms=made_ms
            )
        return Fetched(value, sent_s)

    async def _send(self, call: ExchangeCall[Any], outcome: _Outcome, left_s: float) -> RawResponse:
        """Send within `left_s` seconds, keeping `outcome` true at every moment."""
        if left_s > 0:
            outcome.sent = True
            try:
                with trio.move_on_after(left_s):
                    raw = await self._sender.send(call)
                    outcome.answered, outcome.status = True, raw.status
                    return raw
            except SendFailed as error:
                outcome.sent = error.sent
                raise ExchangeUnavailable(f"{self._about(call)}: {error}") from error
            except MalformedPayload as error:
                outcome.answered = True
                raise MalformedPayload(f"{self._about(call)}: {error}") from error
        raise ExchangeUnavailable(
            f"{self._about(call)}: no whole answer within {max(left_s, 0.0):.3g} s"
        )

    # -------------------------------------------------------------- small things

    def _about(self, call: ExchangeCall[Any]) -> str:
        return f"{self._adapter.name}: {call.what}"

    def _note(self, error: MarketDataError | None) -> None:
        now_ms = self._clock.utc_ms()
        if isinstance(error, ExchangeUnavailable | RateLimited | MalformedPayload):
            if self._state.state != "away":
                _log.warning("%s does not answer as it should: %s", self.name, error)
            self._state = replace(
                self._state, state="away", last_failure_ms=now_ms, last_error=str(error)
            )
        else:
            if self._state.state == "away":
                _log.info("%s answers again", self.name)
            self._state = replace(self._state, state="ok", last_success_ms=now_ms)


def _made_ms(value: object) -> int | None:
    """Return when the youngest part of an answer was made, where it says so."""
    if not isinstance(value, tuple):
        return None
    times = (item.time_ms for item in value if isinstance(item, Ticker | OrderBook))
    return max(times, default=None)
