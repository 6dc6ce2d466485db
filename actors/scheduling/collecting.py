"""One run of a job: every series asked for, several at once, each tried again where that may help.

The cache keeps what it fetches, so asking is all that collecting takes; and what a try has fetched
is there for the next one.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import tenacity
import trio

from actors.errors import InvalidRequest
from actors.exchanges.clock import ExchangeClock
from actors.exchanges.retries import RetryRules
from actors.job_reports import JobSpec
from actors.messages import GetMarkets, Priority
from actors.preload_messages import LoadCandles
from actors.scheduling.jobs import newest_settled_ms, question, series_of
from actors.series import Market, Series
from runtime.core.errors import ActorError, DomainError
from runtime.core.ref import ActorRef

T = TypeVar("T")

# More would only wait in the limiter's line.
SERIES_AT_ONCE = 8
# How long one try may take. The longest history is 500 pages, which may wait for bots.
TRY_S_MAX = 600.0
# How far our clock may be ahead of the exchange's for the difference to be waited for, in ms.
_AHEAD_MS_MAX = 60_000
_ERROR_CHARS_MAX = 200


@dataclass(slots=True)
class Tally:
    """What a run has brought so far.

    Attributes:
      series: Series that were collected, or not.
      failed: Series that were not.
      candles: Candles in those that were.
      complete: Whether nothing is missing in them.
      tries: The most tries that any question took.
      first_error: What went wrong first; empty if nothing did.
    """

    series: int = 0
    failed: int = 0
    candles: int = 0
    complete: bool = True
    tries: int = 0
    first_error: str = ""

    def fail(self, what: str) -> None:
        """Count a series that was not collected."""
        self.failed += 1
        self.complete = False
        self.first_error = self.first_error or what[:_ERROR_CHARS_MAX]

    @property
    def error(self) -> str:
        """Return what went wrong, in a line; empty if nothing did."""
        if self.failed and self.series:
            return f"{self.failed} of {self.series} series failed, first {self.first_error}"
        return self.first_error


async def collect(
    spec: JobSpec,
    cache: ActorRef,
    tally: Tally,
    *,
    exchange_clock: ExchangeClock,
    begun_ms: int,
    rng: random.Random,
    rules: RetryRules,
    settle_ms: int,
) -> None:
    """Ask for everything that `spec` names; return when each has come or has failed for good.

    Args:
      spec: What to collect; it has been checked.
      cache: The CacheActor of its exchange.
      tally: What has come is counted here, so that it is known if the run is broken off.
      exchange_clock: What is known of the exchange's clock, by which candles end.
      begun_ms: When the run began by our own clock, by which jobs are due, UTC milliseconds.
      rng: Where chance comes from.
      rules: How often each series is tried, and how far apart.
      settle_ms: How long after its end a candle may still change.
    """
    asking = _Asking(spec, cache, tally, exchange_clock, rng, rules, settle_ms)
    try:
        markets = spec.markets or await asking.tried(asking.markets)
    except (DomainError, ActorError) as error:
        tally.fail(f"the markets of {spec.exchange}: {error}")
        return
    await asking.until_settled(begun_ms)
    # One iterator for all: each takes the next series when it has done with one.
    series = series_of(spec, markets)
    async with trio.open_nursery() as nursery:
        for _ in range(min(SERIES_AT_ONCE, len(markets) * len(spec.timeframes))):
            nursery.start_soon(asking.each, series)


@dataclass(frozen=True, slots=True)
class _Asking:
    spec: JobSpec
    cache: ActorRef
    tally: Tally
    exchange_clock: ExchangeClock
    rng: random.Random
    rules: RetryRules
    settle_ms: int

    async def markets(self) -> tuple[str, ...]:
        """Return the markets of the currency that the job names."""
        request = GetMarkets(exchange=self.spec.exchange)
        listed = [each.market for each in await self.cache.call(request, timeout_s=TRY_S_MAX)]
        quote = self.spec.quote.upper()
        found = tuple(name for name in listed if _quote_of(name) == quote)
        if not found:
            raise InvalidRequest(f"none of its {len(listed)} markets is in {quote}")
        return found

    async def until_settled(self, begun_ms: int) -> None:
        """Return when what the run is for has settled at the exchange, too.

        A clock of ours that is far ahead is wrong, and is not waited for: what there is will do.
        """
        if not self.exchange_clock.observed:
            # Any answer tells the time. If none comes, the candles will not come either.
            with suppress(DomainError, ActorError):
                request = GetMarkets(exchange=self.spec.exchange)
                await self.cache.call(request, timeout_s=TRY_S_MAX)
        wanted_ms = newest_settled_ms(self.spec, begun_ms, self.settle_ms)
        left_ms = wanted_ms - self.exchange_clock.utc_ms()
        if 0 < left_ms <= _AHEAD_MS_MAX:
            # One more, because what is known of that clock is cut to whole milliseconds.
            await trio.sleep((left_ms + 1) / 1_000)

    async def each(self, series: Iterator[Series]) -> None:
        """Collect one series after the other."""
        for wanted in series:
            self.tally.series += 1
            try:
                await self.tried(lambda wanted=wanted: self.candles(wanted))  # type: ignore[misc]
            except (DomainError, ActorError) as error:
                self.tally.fail(f"{wanted}: {error}")

    async def candles(self, series: Series) -> None:
        """Have the candles of one series fetched, and count them."""
        asked = question(self.spec, series, self.exchange_clock.utc_ms(), self.settle_ms)
        request = LoadCandles(candles=asked, priority=Priority.DECLARED)
        candles = await self.cache.call(request, timeout_s=TRY_S_MAX)
        self.tally.candles += len(candles)
        self.tally.complete &= candles.complete

    async def tried(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Return what `ask` returns, asked again where that may help."""
        async for attempt in self._retrying():
            with attempt:
                number = attempt.retry_state.attempt_number
                self.tally.tries = max(self.tally.tries, number)
                return await ask()
        raise AssertionError("the last try returns or raises")

    def _retrying(self) -> tenacity.AsyncRetrying:
        def wait_s(state: tenacity.RetryCallState) -> float:
            grown_s = self.rules.first_s * 2.0 ** (state.attempt_number - 1)
            return min(grown_s, self.rules.longest_s) * self.rng.uniform(0.5, 1.0)

        return tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(self.rules.tries),
            wait=wait_s,
            retry=tenacity.retry_if_exception(_may_pass),
            sleep=trio.sleep,
            reraise=True,
        )


def _quote_of(market: str) -> str:
    return Market.parse(market).code.partition("-")[0]


def _may_pass(error: BaseException) -> bool:
    """Return whether the same question may be answered later."""
    return isinstance(error, ActorError) or getattr(error, "retryable", False) is True
