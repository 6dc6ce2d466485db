"""One run: everything is asked for, several at once, and again where that may help."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from actors.errors import ExchangeUnavailable, MalformedPayload, UnknownMarket
from actors.exchanges.clock import ExchangeClock
from actors.exchanges.retries import RetryRules
from actors.job_reports import JobSpec
from actors.messages import GetMarkets, Priority
from actors.scheduling.collecting import SERIES_AT_ONCE, Tally, collect
from runtime.core.clock import Clock, TrioClock
from runtime.core.message import Request
from runtime.testing import NEW_YEAR_MS, open_actor
from runtime.testing_jobs import CacheScript, ScriptedCache

MINUTE_MS = 60_000


class TellingCache(ScriptedCache):
    """A cache whose list of markets comes with the exchange's time."""

    def __init__(self, script: CacheScript, theirs: ExchangeClock, ahead_ms: int) -> None:
        super().__init__(script)
        self._theirs, self._ahead_ms = theirs, ahead_ms

    async def handle_call(self, request: Request[Any]) -> object:
        """Tell the time with the markets."""
        if isinstance(request, GetMarkets):
            tell(self._theirs, self.context.clock, self._ahead_ms)
        return await super().handle_call(request)


def tell(theirs: ExchangeClock, clock: Clock, ahead_ms: int) -> None:
    """Let an answer prove that our clock is so far ahead of the exchange's."""
    now_s = clock.now_s()
    theirs.observe(date_ms=clock.utc_ms() - ahead_ms, sent_s=now_s, received_s=now_s)


async def collected(
    script: CacheScript,
    clock: TrioClock,
    seed: int = 0,
    ahead_ms: int = 0,
    *,
    silent: bool = False,
    **fields: Any,
) -> Tally:
    """Return what a run has brought.

    Args:
      script: What the cache does.
      clock: Our clock.
      seed: Of the source of chance.
      ahead_ms: By how much it is ahead of the exchange's.
      silent: Whether the exchange has told its time only when its markets were asked for.
      fields: Of the job.
    """
    usual: dict[str, Any] = {"every_s": 60.0, "timeframes": ("1m",)}
    spec = JobSpec(**(usual | fields))
    tally, theirs = Tally(), ExchangeClock(clock)
    if not silent:
        tell(theirs, clock, ahead_ms)
    async with open_actor(lambda: TellingCache(script, theirs, ahead_ms), clock=clock) as cache:
        await collect(
            spec,
            cache,
            tally,
            exchange_clock=theirs,
            begun_ms=clock.utc_ms(),
            rng=random.Random(seed),
            rules=RetryRules(),
            settle_ms=0,
        )
    return tally


def away() -> ExchangeUnavailable:
    """Return an error that may pass."""
    return ExchangeUnavailable("upbit is away")


async def test_each_series_is_asked_for_once(clock: TrioClock) -> None:
    """As a declared need: bots who wait go first."""
    script = CacheScript()
    tally = await collected(
        script, clock, markets=("KRW-BTC", "KRW-ETH"), timeframes=("1m", "1d"), count=5
    )
    asked = [(each.candles.market, each.candles.timeframe) for _, each in script.asked]
    assert asked == [("KRW-BTC", "1m"), ("KRW-BTC", "1d"), ("KRW-ETH", "1m"), ("KRW-ETH", "1d")]
    assert {each.priority for _, each in script.asked} == {Priority.DECLARED}
    assert (tally.series, tally.failed, tally.candles, tally.tries) == (4, 0, 12, 1)
    assert (tally.complete, tally.error) == (True, "")


async def test_all_markets_of_a_currency_are_found_anew(clock: TrioClock) -> None:
    """Those that are listed at this run; how the currency is written does not matter."""
    script = CacheScript(markets=("KRW-BTC", "BTC-ETH", "KRW-NEW"))
    await collected(script, clock, quote="krw")
    assert [each.candles.market for _, each in script.asked] == ["KRW-BTC", "KRW-NEW"]


async def test_several_series_are_collected_at_once_but_not_all(clock: TrioClock) -> None:
    """Twenty of a second each take three seconds, eight at a time."""
    script = CacheScript(takes_s=1.0, markets=tuple(f"KRW-A{number}" for number in range(20)))
    began_s = clock.now_s()
    tally = await collected(script, clock, quote="KRW")
    assert script.at_once_max == SERIES_AT_ONCE
    assert clock.now_s() - began_s == pytest.approx(3.0)
    assert tally.series == 20


@pytest.mark.parametrize("seed", range(5))
async def test_what_may_pass_is_tried_three_times(clock: TrioClock, seed: int) -> None:
    """One second and two apart, each cut by chance to between a half and all of it."""
    script = CacheScript(errors={"KRW-BTC 1m": [away(), away()]})
    tally = await collected(script, clock, seed, markets=("KRW-BTC",))
    assert (tally.tries, tally.failed, tally.candles) == (3, 0, 3)
    first_s, second_s = (later - sooner for sooner, later in itertools.pairwise(script.moments_s()))
    assert 0.5 <= first_s <= 1.0
    assert 1.0 <= second_s <= 2.0


async def test_waits_are_those_of_the_seed(clock: TrioClock) -> None:
    """A run can be replayed."""
    waits = []
    for _ in range(2):
        script = CacheScript(errors={"KRW-BTC 1m": [away(), away()]})
        await collected(script, clock, 7, markets=("KRW-BTC",))
        waits.append([later - sooner for sooner, later in itertools.pairwise(script.moments_s())])
    assert waits[0] == pytest.approx(waits[1])


async def test_one_that_fails_for_good_holds_up_no_other(clock: TrioClock) -> None:
    """The error names the first, and says how many there were."""
    script = CacheScript(
        errors={"KRW-BTC 1m": [away()] * 3, "KRW-NONE 1m": [UnknownMarket("there is none")]}
    )
    markets = ("KRW-BTC", "KRW-NONE", "KRW-ETH")
    tally = await collected(script, clock, markets=markets)
    assert (tally.series, tally.failed, tally.candles, tally.tries) == (3, 2, 3, 3)
    assert tally.error == "2 of 3 series failed, first KRW-NONE 1m: there is none"
    assert not tally.complete


@pytest.mark.parametrize("error", [UnknownMarket("no"), MalformedPayload("no")])
async def test_what_cannot_pass_is_not_tried_again(clock: TrioClock, error: Exception) -> None:
    """The same question would have the same answer."""
    script = CacheScript(errors={"KRW-BTC 1m": [error]})
    tally = await collected(script, clock, markets=("KRW-BTC",))
    assert (len(script.asked), tally.tries, tally.failed) == (1, 1, 1)


async def test_markets_that_cannot_be_found_fail_the_run(clock: TrioClock) -> None:
    """After the same tries as a series has; nothing else is asked."""
    script = CacheScript(errors={"markets": [away()] * 3})
    tally = await collected(script, clock, quote="KRW")
    assert tally.error == "the markets of upbit: upbit is away"
    assert (script.asked, tally.tries, tally.failed) == ([], 3, 1)


async def test_a_currency_without_markets_fails_the_run(clock: TrioClock) -> None:
    """It is misspelt, most likely: nothing collected is no success."""
    tally = await collected(CacheScript(), clock, quote="KRV")
    assert tally.error == "the markets of upbit: none of its 3 markets is in KRV"


async def test_an_error_is_shortened(clock: TrioClock) -> None:
    """A hundred of them are kept of each job."""
    script = CacheScript(errors={"KRW-BTC 1m": [UnknownMarket("x" * 5_000)]})
    tally = await collected(script, clock, markets=("KRW-BTC",))
    assert len(tally.error) < 300


async def test_a_clock_that_is_ahead_waits_for_the_exchange_s(clock: TrioClock) -> None:
    """A job on the minute wants that minute, which ends twelve seconds later there."""
    script = CacheScript()
    await collected(script, clock, ahead_ms=12_000, markets=("KRW-BTC",))
    assert script.moments_s() == [pytest.approx(12.0, abs=0.01)]
    assert script.asked[0][1].candles.end == NEW_YEAR_MS


@pytest.mark.parametrize("ahead_ms", [-2 * 86_400_000, -12_000, 60_001, 2 * 86_400_000])
async def test_a_clock_that_is_wrong_asks_for_what_the_exchange_has(
    clock: TrioClock, ahead_ms: int
) -> None:
    """At once: nobody waits for two days, and what is to come is not asked for."""
    script = CacheScript()
    await collected(script, clock, ahead_ms=ahead_ms, markets=("KRW-BTC",), history="1h")
    ((asked_s, asked),) = script.asked
    end_ms = (NEW_YEAR_MS - ahead_ms) // MINUTE_MS * MINUTE_MS
    assert (asked_s, asked.candles.end) == (0.0, end_ms)
    assert asked.candles.start == end_ms - 60 * MINUTE_MS


async def test_the_time_of_an_exchange_that_has_told_none_is_asked_for(clock: TrioClock) -> None:
    """The first run of a process that nobody else has asked for anything."""
    script = CacheScript()
    await collected(script, clock, ahead_ms=86_400_000, silent=True, markets=("KRW-BTC",))
    assert script.asked[0][1].candles.end == NEW_YEAR_MS - 86_400_000


async def test_an_exchange_that_tells_no_time_is_asked_by_our_clock(clock: TrioClock) -> None:
    """Whether it is away is for the candles to find out."""
    script, theirs, tally = CacheScript(errors={"markets": [away()]}), ExchangeClock(clock), Tally()
    spec = JobSpec(every_s=60.0, timeframes=("1m",), markets=("KRW-BTC",))
    async with open_actor(lambda: ScriptedCache(script), clock=clock) as cache:
        await collect(
            spec,
            cache,
            tally,
            exchange_clock=theirs,
            begun_ms=clock.utc_ms(),
            rng=random.Random(0),
            rules=RetryRules(),
            settle_ms=0,
        )
    assert script.errors == {"markets": []}
    assert script.asked[0][1].candles.end == NEW_YEAR_MS
    assert (tally.tries, tally.error) == (1, "")
