"""`ThrottledExchange`: the only way to an exchange, and it leads past the rate limiter.

    fetch(call) -> breaker -> permit -> send -> give the permit back -> read

Adapters hold no connection, and the sender given to a `ThrottledExchange` is known to nobody else,
so there is no request without a permit. What brought no answer is asked again, if that does no
harm; while the exchange is away, one request at a time goes out, and all others are told at once.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeVar

import trio

from actors.errors import (
    ExchangeUnavailable,
    MalformedPayload,
    MarketDataError,
    OutcomeUnknown,
    RateLimited,
)
from actors.exchanges.base import ExchangeAdapter, ExchangeCall, Response
from actors.exchanges.breaker import Breaker
from actors.exchanges.clock import ExchangeClock, parse_date_ms
from actors.exchanges.permits import PermitDesk
from actors.exchanges.retries import RetryRules, TryFailed, retrying
from actors.exchanges.sender import RawResponse, Sender, SendFailed
from actors.messages import Permit, Priority, ReleasePermit
from actors.quotes import OrderBook, Ticker
from runtime.core.clock import Clock
from runtime.core.ref import ActorRef

T = TypeVar("T")

# Returns a call with the header fields that prove who asks.
Sign = Callable[[ExchangeCall[Any]], Awaitable[ExchangeCall[Any]]]

_MAY_HAVE_ARRIVED = "; it may have arrived all the same, and is not sent again"

_log = logging.getLogger("marketd.exchange")

# What carries an answer.
_ANSWERS = (200,)
_ANSWERS_TO_CHANGES = (200, 201)

# A request is under way no longer than this, whatever its caller allows: well before the limiter
# would take its permit for lost (`SlotRules.lost_s`).
SEND_S_MAX = 25.0
# An exchange that has said nothing for so long is to blame for that, whoever gave up waiting. Who
# gives up sooner has asked for too much.
FAIR_S = 5.0


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
    period_s: float | None = None
    retry_after_s: float | None = None

    def release(self, permit: Permit) -> ReleasePermit:
        """Return what to tell the limiter."""
        return ReleasePermit(
            permit=permit,
            sent=self.sent,
            answered=self.answered,
            status=self.status,
            remaining=self.remaining,
            period_s=self.period_s,
            retry_after_s=self.retry_after_s,
        )


class ThrottledExchange:
    """Ask one exchange questions, within its limits.

    Safe for any number of tasks at once. Each try of a `fetch` is one request with a permit of its
    own.

    Args:
      adapter: The exchange's language.
      sender: What carries requests; from now on nobody else's.
      limiter: The exchange's `RateLimiterActor`.
      clock: Where time is read.
      exchange_clock: Told the exchange's time with each answer.
      breaker: Whether the exchange is away, as far as is known; it may be older than this object.
      rng: Where chance comes from: it spreads what is tried again.
      rules: What is tried again.
    """

    def __init__(
        self,
        adapter: ExchangeAdapter,
        sender: Sender,
        limiter: ActorRef,
        clock: Clock,
        exchange_clock: ExchangeClock,
        *,
        breaker: Breaker,
        rng: random.Random,
        rules: RetryRules = RetryRules(),  # noqa: B008 - frozen
    ) -> None:
        self._adapter = adapter
        self._sender = sender
        self._permits = PermitDesk(limiter, clock)
        self._clock = clock
        self._exchange_clock = exchange_clock
        self._breaker = breaker
        self._rng = rng
        self._rules = rules
        self._state = ExchangeState()

    @property
    def name(self) -> str:
        """Return the exchange's name."""
        return self._adapter.name

    @property
    def state(self) -> ExchangeState:
        """Return how the exchange has been doing."""
        if self._breaker.is_open:
            reason = self._breaker.explain(self._clock.now_s())
            return replace(self._state, state="away", last_error=f"{self.name}: {reason}")
        return self._state

    async def fetch(
        self,
        call: ExchangeCall[T],
        *,
        latest: Callable[[], ExchangeCall[T]] | None = None,
        sign: Sign | None = None,
        priority: Priority = Priority.ASKED,
        timeout_s: float,
    ) -> Fetched[T]:
        """Return the answer to `call`, and when it was asked.

        Args:
          call: The question; from the adapter of this exchange.
          latest: Gives the question to send instead, of the same group, once there is leave to
            send: what is wanted may have changed while this waited for it. It weighs as much, for
            the same account.
          sign: Signs the question; called for every try anew, when there is leave to send.
          priority: Whose turn it is when slots are scarce.
          timeout_s: How long all of it may take, waits and tries included, in seconds.

        Raises:
          ExchangeUnavailable: No answer, half of one, or 5xx, however often it was tried; names
            exchange, question and cause. Or the exchange has been away for some time, and is not
            asked now; then it says when it will be.
          RateLimited: The exchange refused, or no slot is free in time; see `retry_after_s`.
          RequestRejected: The exchange understood and refused.
          UnknownMarket: There is no such market.
          MalformedPayload: The answer breaks the exchange's promises.
          OutcomeUnknown: One of these three happened to a question that changes something, after
            it was sent.
          Overloaded: Too many wait for a slot already.
          KeysError: It is not signed.
          ActorError: The limiter, or who signs, is not there.
        """
        deadline_s = self._clock.now_s() + timeout_s
        tries = 0
        try:
            async for attempt in retrying(
                self._rules,
                clock=self._clock,
                rng=self._rng,
                sleep=self._rest,
                deadline_s=deadline_s,
            ):
                with attempt:
                    tries += 1
                    return await self._try(call, latest, sign, priority, deadline_s)
        except TryFailed as error:
            times = f", the last of {tries} tries" if tries > 1 else ""
            cause = error.__cause__ or error
            if not error.repeatable:
                raise OutcomeUnknown(f"{error}{times}{_MAY_HAVE_ARRIVED}") from cause
            raise ExchangeUnavailable(f"{error}{times}") from cause
        except MalformedPayload as error:
            if call.idempotent:
                raise
            raise OutcomeUnknown(f"{error}{_MAY_HAVE_ARRIVED}") from (error.__cause__ or error)
        raise AssertionError("the last try answers or raises")

    async def _rest(self, seconds: float) -> None:
        """Wait for the next try, or until the breaker will refuse it: then that is told at once."""
        breaker = self._breaker
        if breaker.is_open and self._clock.now_s() + seconds < breaker.probe_s:
            return
        with trio.CancelScope() as scope:
            breaker.watch(scope.cancel)
            try:
                await trio.sleep(seconds)
            finally:
                breaker.unwatch(scope.cancel)

    # -------------------------------------------------------------- one try

    async def _try(
        self,
        call: ExchangeCall[T],
        latest: Callable[[], ExchangeCall[T]] | None,
        sign: Sign | None,
        priority: Priority,
        deadline_s: float,
    ) -> Fetched[T]:
        probe = self._enter(call) == "probe"
        try:
            permit = await self._acquire(call, priority, deadline_s, probe=probe)
            outcome = _Outcome()
            try:
                asked = latest or (lambda: call)
                fetched = await self._ask(asked, sign, outcome, permit, deadline_s)
            except MarketDataError as error:
                # Who signs may refuse in words that an exchange uses, too; it was not asked then.
                if outcome.sent or isinstance(error, TryFailed):
                    # From now on it is no probe any more: the breaker has learned from it.
                    probe = self._note(error, probe=probe)
                await self._permits.pay_all_owed()
                raise
            probe = self._note(None, probe=probe)
            await self._permits.pay_all_owed()
            return fetched
        finally:
            if probe:
                self._breaker.give_up(self._clock.now_s(), self._rng)

    def _enter(self, call: ExchangeCall[Any]) -> Literal["pass", "probe"]:
        entered = self._breaker.enter(self._clock.now_s())
        if entered == "refuse":
            raise self._refusal(call)
        return entered

    async def _acquire(
        self, call: ExchangeCall[Any], priority: Priority, deadline_s: float, *, probe: bool
    ) -> Permit:
        """Return leave to send; who is not the probe is told as soon as the breaker opens."""
        with trio.CancelScope() as scope:
            self._breaker.watch(scope.cancel)
            try:
                permit = await self._permits.acquire(
                    call.group,
                    priority,
                    timeout_s=deadline_s - self._clock.now_s(),
                    about=self._about(call),
                    weight=call.weight,
                    holder=call.account,
                )
            finally:
                self._breaker.unwatch(scope.cancel)
            if probe or not self._breaker.is_open:
                return permit
            # It came in the moment in which the breaker opened.
            self._permits.give_back(_Outcome().release(permit))
        raise self._refusal(call)

    def _refusal(self, call: ExchangeCall[Any]) -> ExchangeUnavailable:
        return ExchangeUnavailable(
            f"{self._about(call)}: not asked, {self._breaker.explain(self._clock.now_s())}"
        )

    async def _ask(
        self,
        latest: Callable[[], ExchangeCall[T]],
        sign: Sign | None,
        outcome: _Outcome,
        permit: Permit,
        deadline_s: float,
    ) -> Fetched[T]:
        try:
            call = latest() if sign is None else await sign(latest())
            asked_ms, sent_s = self._exchange_clock.utc_ms(), self._clock.now_s()
            raw = await self._send(call, outcome, deadline_s - sent_s)
            received_s = self._clock.now_s()
            date_ms = parse_date_ms(raw.headers.get("date", ""))
            server_ms = asked_ms if date_ms is None else date_ms
            response = Response(raw.status, raw.headers, raw.body, server_ms)
            feedback = self._adapter.feedback(response)
            outcome.remaining, outcome.period_s = feedback.remaining, feedback.period_s
            outcome.retry_after_s = feedback.retry_after_s
        finally:
            self._permits.give_back(outcome.release(permit))
        if date_ms is not None:
            self._exchange_clock.observe(date_ms=date_ms, sent_s=sent_s, received_s=received_s)
        if response.status not in (_ANSWERS if call.method == "GET" else _ANSWERS_TO_CHANGES):
            error = self._adapter.error(response, call)
            if isinstance(error, ExchangeUnavailable):
                raise TryFailed(str(error), repeatable=call.idempotent, blames=True)
            raise error
        value = call.read(response)
        if date_ms is not None and (made_ms := _made_ms(value)) is not None:
            self._exchange_clock.observe(
                date_ms=date_ms, sent_s=sent_s, received_s=received_s, made_ms=made_ms
            )
        return Fetched(value, sent_s)

    async def _send(self, call: ExchangeCall[Any], outcome: _Outcome, left_s: float) -> RawResponse:
        """Send within `left_s` seconds, keeping `outcome` true at every moment."""
        within_s = min(left_s, SEND_S_MAX)
        if within_s > 0:
            outcome.sent = True
            try:
                with trio.move_on_after(within_s):
                    raw = await self._sender.send(call)
                    outcome.answered, outcome.status = True, raw.status
                    return raw
            except SendFailed as error:
                outcome.sent = error.sent
                repeatable = call.idempotent or not error.sent
                text = f"{self._about(call)}: {error}"
                raise TryFailed(text, repeatable=repeatable, blames=True) from error
            except MalformedPayload as error:
                outcome.answered = True
                raise MalformedPayload(f"{self._about(call)}: {error}") from error
        raise TryFailed(
            f"{self._about(call)}: no whole answer within {max(within_s, 0.0):.3g} s",
            repeatable=call.idempotent or not outcome.sent,
            blames=within_s >= FAIR_S,
        )

    # -------------------------------------------------------------- small things

    def _about(self, call: ExchangeCall[Any]) -> str:
        return f"{self._adapter.name}: {call.what}"

    def _note(self, error: MarketDataError | None, *, probe: bool) -> bool:
        """Learn from how a try ended; return whether a probe is still without a result."""
        if isinstance(error, TryFailed):
            if not error.blames:
                # It says nothing of the exchange.
                return probe
            now_s = self._clock.now_s()
            if self._breaker.failed(now_s, str(error), self._rng, probe=probe):
                _log.warning("%s counts as away: %s", self.name, self._breaker.explain(now_s))
        elif self._breaker.answered(probe=probe):
            _log.info("%s answers again, so everybody may ask it", self.name)
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
        return False


def _made_ms(value: object) -> int | None:
    """Return when the youngest part of an answer was made, where it says so."""
    if not isinstance(value, tuple):
        return None
    times = (item.time_ms for item in value if isinstance(item, Ticker | OrderBook))
    return max(times, default=None)
