"""When needs will be ready: as the limiter's schedule stands, and never of an exchange away."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from actors.sandbox.faults import Fault
from actors.sandbox.market import SandboxMarket
from runtime.core.clock import TrioClock
from runtime.preload_settings import PreloadSettings
from runtime.testing_rehearsal import generated, rehearse

PRELOAD = PreloadSettings(learn=False)


@pytest.fixture(scope="module")
def markets() -> tuple[SandboxMarket, ...]:
    """Return markets with ten days of history."""
    return generated(history_days=10)


async def test_a_small_need_is_not_told_to_wait_for_the_pages_of_a_big_one(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """They take turns, page by page, and it begins at once while there are turns left."""
    async with rehearse(tmp_path, markets, clock=clock, preload=PRELOAD) as rehearsal:
        market = rehearsal.market
        await market.need(history=14_000, market="KRW-BTC", timeframe="1m")
        await trio.sleep(2)
        small = await market.need(history=100, market="KRW-ETH", timeframe="1m")
        began_s = trio.current_time()
        await small.wait_ready()
        took_s = trio.current_time() - began_s

    assert small.report.ready_in_s is not None
    assert small.report.ready_in_s < 0.5
    assert took_s < 0.5


async def test_who_finds_no_turn_left_is_told_when_one_will_be(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """More series than fetch at once: the last is told of the others' pages, and it comes true."""
    async with rehearse(tmp_path, markets, clock=clock, preload=PRELOAD) as rehearsal:
        market = rehearsal.market
        await trio.sleep(2)
        names = [
            (name, timeframe)
            for timeframe in ("1m", "3m", "5m", "10m", "15m")
            for name in ("KRW-BTC", "KRW-ETH", "KRW-DOGE")
        ]
        needs = [
            await market.need(history=800, market=name, timeframe=timeframe)
            for name, timeframe in names
        ]
        told_s = [(await need.state()).ready_in_s for need in needs]
        began_s, took_s = trio.current_time(), []
        for need in needs:
            await need.wait_ready()
            took_s.append(trio.current_time() - began_s)

    assert told_s[-1] == pytest.approx(took_s[-1], rel=0.15)
    assert told_s[0] is not None
    assert told_s[0] < took_s[-1]


@pytest.mark.parametrize("fault", [Fault.STATUS_500, Fault.AWAY, Fault.HANG])
async def test_while_the_exchange_is_away_nothing_is_promised_and_the_reason_is_told(
    fault: Fault, tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """Also of needs that were never tried: somebody else has seen it, and how it is now."""
    async with rehearse(tmp_path, markets, clock=clock, preload=PRELOAD) as rehearsal:
        market = rehearsal.market
        rehearsal.exchange.faults.switch_on(fault)
        first = await market.need(history=400, market="KRW-BTC", timeframe="1m")
        await trio.sleep(300)
        fresh = await market.need(history=400, market="KRW-ETH", timeframe="1m")
        told = [await first.state(), fresh.report]
        sentences = await market.explain_preload("KRW-BTC", "1m")

    assert [each.ready_in_s for each in told] == [None, None]
    assert all("away for 2" in each.missing or "away for 3" in each.missing for each in told)
    assert not [text for text in sentences if "all of them in about" in text]
