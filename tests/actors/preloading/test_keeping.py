"""`SeriesKeeper`: several needs of one series, failures, and what is tried again when."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import trio

from actors.errors import UnknownMarket
from actors.sandbox.faults import Fault
from actors.sandbox.market import SandboxMarket
from runtime.core.clock import TrioClock
from runtime.testing_preload import NEEDS_ONLY
from runtime.testing_rehearsal import rehearse


async def test_a_ready_need_stays_ready_when_another_strategy_wants_more(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """Everything that it takes is at hand, whatever others wait for."""
    async with rehearse(tmp_path, markets, clock=clock, preload=NEEDS_ONLY) as rehearsal:
        market = rehearsal.market
        small = await market.need(history=200, market="KRW-BTC", timeframe="1m", strategy="a")
        before = await small.wait_ready()
        await trio.sleep(5)
        wide = await market.need(history=5_000, market="KRW-BTC", timeframe="1m", strategy="b")
        began_s = trio.current_time()
        while_fetching = await small.wait_ready()
        waited_s = trio.current_time() - began_s
        (report,) = await market.preload()
        sentences = await market.explain_preload("KRW-BTC", "1m")
        after = await wide.wait_ready()

    assert waited_s == 0
    assert (while_fetching.state, while_fetching.covered, while_fetching.ready_in_s) == (
        "ready",
        200,
        0.0,
    )
    assert while_fetching.missing == ""
    assert before.took_s == while_fetching.took_s is not None
    assert (report.ready, report.fetching[0].whom) == (1, "b")
    assert not [text for text in sentences if ", ," in text or ",  " in text]
    assert (after.state, after.covered) == ("ready", 5_000)
    assert after.took_s is not None
    assert after.took_s > 2


@pytest.mark.parametrize("order", [("wide", "small"), ("small", "wide")])
async def test_who_needs_little_does_not_wait_for_who_needs_much_of_the_same(
    order: tuple[str, str],
    tmp_path: Path,
    clock: TrioClock,
    markets: tuple[SandboxMarket, ...],
) -> None:
    """Whoever came first: the newest candles are fetched before the older ones in any case."""
    sizes = {"wide": 8_000, "small": 200}
    async with rehearse(tmp_path, markets, clock=clock, preload=NEEDS_ONLY) as rehearsal:
        market = rehearsal.market
        await trio.sleep(2)
        began_s, needs = trio.current_time(), {}
        for name in order:
            needs[name] = await market.need(
                history=sizes[name], market="KRW-BTC", timeframe="1m", strategy=name
            )
            await trio.sleep(0.5)
        told = await needs["small"].state()
        small = await needs["small"].wait_ready()
        small_s = trio.current_time() - began_s
        wide = await needs["wide"].wait_ready()
        pages = len(rehearsal.pages())

    assert told.state == "ready" or (told.ready_in_s or 9) < 1
    assert small_s < 1.5
    assert small.took_s is not None
    assert small.took_s < 1
    assert wide.covered == 8_000
    # Once and not twice: one page more at most for having begun anew.
    assert pages <= 8_000 // 200 + 3


async def test_who_waits_hears_at_once_that_he_needs_less_than_before(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """Declared anew, the need is ready with what is there."""
    async with rehearse(tmp_path, markets, clock=clock, preload=NEEDS_ONLY) as rehearsal:
        market = rehearsal.market
        other = await market.need(history=400, market="KRW-BTC", timeframe="1m", strategy="o")
        await other.wait_ready()
        need = await market.need(history=20_000, market="KRW-BTC", timeframe="1m")
        ready_s = []

        async def wait() -> None:
            await need.wait_ready()
            ready_s.append(trio.current_time())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.sleep(3)
            await market.need(history=400, market="KRW-BTC", timeframe="1m")
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
        pages = len(rehearsal.pages())
        await trio.sleep(30)

    assert ready_s
    # Nobody needs the rest of the long one any more.
    assert len(rehearsal.pages()) == pages


async def test_more_that_cannot_be_fetched_takes_nothing_from_who_is_ready(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """The one fails with the reason; the other has what it needs."""
    async with rehearse(tmp_path, markets, clock=clock, preload=NEEDS_ONLY) as rehearsal:
        market = rehearsal.market
        small = await market.need(history=200, market="KRW-BTC", timeframe="1m", strategy="a")
        await small.wait_ready()
        rehearsal.exchange.faults.switch_on(Fault.STATUS_500)
        wide = await market.need(history=2_000, market="KRW-BTC", timeframe="1m", strategy="b")
        await trio.sleep(10)
        states = [await small.state(), await wide.state()]

    assert [each.state for each in states] == ["ready", "failing"]
    assert [each.missing != "" for each in states] == [False, True]


async def test_a_failing_need_that_grows_is_tried_at_once_and_keeps_its_reason(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """It never says that it is about to be fetched while nobody is going to."""
    async with rehearse(tmp_path, markets, clock=clock, preload=NEEDS_ONLY) as rehearsal:
        market = rehearsal.market
        need = await market.need(history=200, market="KRW-NOPE", timeframe="1m")
        with pytest.raises(UnknownMarket, match="no such market"):
            await need.wait_ready()
        await trio.sleep(60)
        before = len(rehearsal.pages())
        grown = await market.need(history=1_000, market="KRW-NOPE", timeframe="1m")
        await trio.sleep(2)
        state = await grown.state()
        after = len(rehearsal.pages())

    assert after == before + 1
    assert grown.report.ready_in_s is None
    assert (state.state, state.needed) == ("failing", 1_000)
    assert "no such market" in grown.report.missing
    assert "no such market" in state.missing


async def test_a_need_comes_back_soon_after_the_exchange_does(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """However long it was away; once its breaker lets somebody see, and a quarter minute more."""
    breaker_s, retry_s = 30.0, 15.0 * 1.2
    async with rehearse(tmp_path, markets, clock=clock, preload=NEEDS_ONLY) as rehearsal:
        rehearsal.exchange.faults.switch_on(Fault.STATUS_500)
        needs = [
            await rehearsal.market.need(["SMA(20)"], market=name, timeframe=timeframe)
            for name in ("KRW-BTC", "KRW-ETH")
            for timeframe in ("1m", "5m", "15m", "1h")
        ]
        await trio.sleep(900)
        rehearsal.exchange.faults.switch_off()
        back_s = trio.current_time()
        for need in needs:
            await need.wait_ready()
        took_s = trio.current_time() - back_s

    assert took_s < breaker_s + retry_s + 1


async def test_a_need_of_a_market_that_does_not_exist_is_one_line_in_the_log(
    tmp_path: Path,
    clock: TrioClock,
    markets: tuple[SandboxMarket, ...],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """However often it is tried: a strategy of the settings has nobody else to tell."""
    with caplog.at_level(logging.WARNING):
        async with rehearse(tmp_path, markets, clock=clock, preload=NEEDS_ONLY) as rehearsal:
            await rehearsal.market.need(["SMA(20)"], market="KRW-NOPE", timeframe="1m")
            await trio.sleep(3_600)

    told = [each.getMessage() for each in caplog.records if "KRW-NOPE 1m" in each.getMessage()]
    assert len(told) == 1
    assert told[0].startswith("a need of KRW-NOPE 1m cannot be fetched: ")
