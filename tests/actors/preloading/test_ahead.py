"""Fetching ahead: what bots do again and again is there before they ask."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from actors.keeper import MemoryKeeper
from actors.preload_reports import PreloadReport
from actors.preloading.ahead import open_habits
from actors.preloading.habits import Habits
from actors.sandbox.faults import Fault
from actors.sandbox.market import SandboxMarket
from runtime.core.clock import TrioClock
from runtime.preload_settings import PreloadSettings
from runtime.testing_rehearsal import Rehearsal, generated, rehearse

STEP_S = 60.3


@pytest.fixture(scope="module")
def markets() -> tuple[SandboxMarket, ...]:
    """Return markets with three days of history."""
    return generated(history_days=3)


@asynccontextmanager
async def opened(
    folder: Path, markets: tuple[SandboxMarket, ...], clock: TrioClock, *, learn: bool = True
) -> AsyncIterator[Rehearsal]:
    """Run a runtime that learns, without streams: each page is a request."""
    preload = PreloadSettings(learn=learn)
    async with rehearse(folder, markets, clock=clock, preload=preload) as rehearsal:
        yield rehearsal


async def ask_again_and_again(
    rehearsal: Rehearsal, times: int, *, step_s: float = STEP_S, market: str = "KRW-BTC"
) -> list[float]:
    """Ask like a bot that sleeps in between; return how long it waited each time."""
    waits_s = []
    for _ in range(times):
        began_s = trio.current_time()
        await rehearsal.market.candles(market, "1m", 60)
        waits_s.append(trio.current_time() - began_s)
        await trio.sleep_until(began_s + step_s)
    return waits_s


async def report_of(rehearsal: Rehearsal) -> PreloadReport:
    """Return what the preloader says of itself."""
    (report,) = await rehearsal.market.preload()
    return report


async def test_a_bot_with_a_timer_waits_a_few_times_and_then_no_more(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """Its pages are as many as without: each is only asked for a moment sooner."""
    async with opened(tmp_path, markets, clock) as rehearsal:
        waits_s = await ask_again_and_again(rehearsal, 29)
        await rehearsal.market.candles("KRW-BTC", "1m", 60)
        await trio.sleep(1)
        report = await report_of(rehearsal)
        calls = rehearsal.exchange.calls()

    assert max(waits_s[10:]) == 0
    assert waits_s[0] > 0
    assert calls <= 32
    assert report.used >= 20
    assert report.ready_when_asked == report.used
    assert report.wasted == 0
    assert report.expected[0].because.startswith("every")


async def test_what_is_fetched_ahead_goes_last(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """It takes slots only as predicted, so whoever asks goes before it."""
    async with opened(tmp_path, markets, clock) as rehearsal:
        await ask_again_and_again(rehearsal, 20)
        report = await report_of(rehearsal)
        granted = {
            each.priority: each.granted
            for group in await rehearsal.market.limits()
            if group.group == "candle"
            for each in group.classes
        }

    assert granted["predicted"] == report.acted
    assert granted["asked"] + granted["predicted"] == len(rehearsal.pages())


async def test_a_habit_that_ends_costs_a_few_pages_and_no_more(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """Each that nobody used counts against the habit, and raises the bar for all."""
    async with opened(tmp_path, markets, clock) as rehearsal:
        await ask_again_and_again(rehearsal, 20)
        before = await report_of(rehearsal)
        await trio.sleep(3_600)
        after = await report_of(rehearsal)

    assert 1 <= after.wasted <= 6
    assert after.used + after.wasted == after.acted
    assert len(rehearsal.pages()) == 20 - after.used + after.acted
    assert after.bar > before.bar


async def test_nothing_is_fetched_ahead_where_learning_is_switched_off(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """Needs can be declared all the same."""
    async with opened(tmp_path, markets, clock, learn=False) as rehearsal:
        waits_s = await ask_again_and_again(rehearsal, 20)
        report = await report_of(rehearsal)
        await (await rehearsal.market.need(market="KRW-ETH", timeframe="1h")).wait_ready()

    assert min(waits_s) > 0
    assert (report.predictions, report.acted) == (0, 0)


async def test_what_a_stream_keeps_up_to_date_is_not_fetched(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """It is there already."""
    preload = PreloadSettings()
    async with rehearse(tmp_path, markets, clock=clock, preload=preload, streams=True) as rehearsal:
        waits_s = await ask_again_and_again(rehearsal, 60, step_s=20.0)
        report = await report_of(rehearsal)

    assert max(waits_s[20:]) == 0
    assert report.predictions >= 20
    assert report.acted <= 10


async def test_an_exchange_that_is_away_is_not_asked_in_vain_without_end(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """Nothing crashes, and when it is back the habit is still known."""
    async with opened(tmp_path, markets, clock) as rehearsal:
        await ask_again_and_again(rehearsal, 20)
        rehearsal.exchange.faults.switch_on(Fault.AWAY)
        await trio.sleep(20 * STEP_S)
        rehearsal.exchange.faults.switch_off()
        waits_s = await ask_again_and_again(rehearsal, 20)
        tree = await rehearsal.market.actor("upbit.preloader")
        report = await report_of(rehearsal)

    assert max(waits_s[10:]) == 0
    assert tree.state.restarts == 0
    # Of pages that did not come none was used, and none is held against its habit.
    assert report.used + report.wasted < report.acted


async def test_habits_outlive_a_restart(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """The first request afterwards finds its page."""
    async with opened(tmp_path, markets, clock) as rehearsal:
        await ask_again_and_again(rehearsal, 20)
        await rehearsal.market.restart("upbit.preloader")
        waits_s = await ask_again_and_again(rehearsal, 5)

    assert waits_s == [0.0] * 5


async def test_a_crash_costs_minutes_of_learning_and_delays_nobody(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """What was written down before is known."""
    async with opened(tmp_path, markets, clock) as rehearsal:
        await ask_again_and_again(rehearsal, 20)
        rehearsal.kill("upbit.preloader")
        waits_s = await ask_again_and_again(rehearsal, 10)

    assert max(waits_s) <= 0.061
    assert waits_s[-1] == 0


def test_habits_that_cannot_be_read_are_dropped_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And learnt anew; nothing that is damaged is believed."""
    habits = Habits()
    habits.note(("KRW-BTC", "1m"), 1_767_225_600_000, depth=1, closed=False, max_age_s=1.0)
    data = bytearray(habits.encode())
    data[len(data) // 2] ^= 1
    with caplog.at_level(logging.WARNING):
        opened_habits = open_habits(MemoryKeeper(bytes(data)), "upbit")

    assert len(opened_habits) == 0
    assert "learnt habits are dropped" in caplog.text
    assert len(open_habits(MemoryKeeper(habits.encode()), "upbit")) == 1
    assert len(open_habits(None, "upbit")) == 0


async def test_everything_is_explained_in_sentences(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """What is needed, what is expected and why, and how good that has been."""
    async with opened(tmp_path, markets, clock) as rehearsal:
        market = rehearsal.market
        first = await market.explain_preload()
        need = await market.need(["ATR(20)"], market="KRW-ETH", timeframe="1h", strategy="mine")
        await need.wait_ready()
        await ask_again_and_again(rehearsal, 20)
        await market.candles("KRW-BTC", "1m", 60)
        await trio.sleep(1)
        everything = " ".join(await market.explain_preload())
        one = " ".join(await market.explain_preload("KRW-XRP", "1m"))

    assert first == (
        "No strategy has declared that it needs anything.",
        "No request is expected.",
        "Nothing that was fetched ahead has been put to the test yet.",
    )
    assert "mine needs 400 candles of KRW-ETH 1h (ATR(20): Wilder" in everything
    assert "A request for KRW-BTC 1m is expected in" in everything
    assert "it will be fetched before" in everything
    assert "were asked for in time (100%)" in everything
    assert "No request for KRW-XRP 1m is expected." in one
