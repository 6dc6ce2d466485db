"""One run: everything is asked for, several at once, and again where that may help."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from actors.errors import ExchangeUnavailable, MalformedPayload, UnknownMarket
from actors.exchanges.retries import RetryRules
from actors.job_reports import JobSpec
from actors.messages import Priority
from actors.scheduling.collecting import SERIES_AT_ONCE, Tally, collect
from runtime.core.clock import TrioClock
from runtime.testing import open_actor
from runtime.testing_jobs import CacheScript, ScriptedCache


async def collected(script: CacheScript, clock: TrioClock, seed: int = 0, **fields: Any) -> Tally:
    """Return what a run has brought."""
    usual: dict[str, Any] = {"every_s": 60.0, "timeframes": ("1m",)}
    spec = JobSpec(**(usual | fields))
    tally = Tally()
    async with open_actor(lambda: ScriptedCache(script), clock=clock) as cache:
        await collect(
            spec,
            cache,
            tally,
            clock=clock,
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
