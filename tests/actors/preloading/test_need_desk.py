"""Declared needs: fetched as fast as the limits allow, kept, forecast, and let go."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from actors.errors import InvalidRequest, UnknownMarket, UnknownNeed
from actors.preload_messages import AwaitNeed
from actors.sandbox.faults import Fault
from actors.sandbox.market import SandboxMarket
from runtime.core.clock import TrioClock
from runtime.core.errors import CallTimeout
from runtime.preload_settings import PreloadSettings
from runtime.testing_preload import NEEDS_ONLY
from runtime.testing_rehearsal import rehearse

# Upbit's candles: ten requests a second; a slot is held a little longer, and an answer takes this.
LATENCY_S, REQUESTS, HELD_S = 0.05, 10, 1.005


async def test_what_an_indicator_takes_is_there_before_it_is_asked_for(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """Afterwards even the newest candles but one are in memory: nothing is fetched for the bot."""
    async with rehearse(tmp_path, markets, clock=clock, preload=NEEDS_ONLY) as rehearsal:
        market = rehearsal.market
        need = await market.need(["ATR(20)", "RSI(14)"], market="KRW-BTC", timeframe="1m")
        assert need.report.state != "ready"
        report = await need.wait_ready()
        pages = len(rehearsal.pages())
        candles = await market.candles("KRW-BTC", "1m", report.needed, closed=True)

    assert report.widest.startswith("ATR(20): ")
    assert report.needed % 200 == 0
    assert report.covered == report.needed
    assert report.whole
    assert len(candles) == report.needed
    assert candles.source == "memory"
    assert pages == len(rehearsal.pages()) == report.needed // 200 + 1


@pytest.mark.parametrize("series", [1, 3, 12])
async def test_it_is_as_fast_as_the_limits_allow(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...], series: int
) -> None:
    """Pages times window and round trip, over the limit; beside what a start takes in any case."""
    timeframes = ("1m", "3m", "5m", "10m", "15m")
    names = [(m, t) for t in timeframes for m in ("KRW-BTC", "KRW-ETH", "KRW-DOGE")][:series]
    async with rehearse(tmp_path, markets, clock=clock, preload=NEEDS_ONLY) as rehearsal:
        # The first window is taken for spent.
        await trio.sleep(2)
        began_s = trio.current_time()
        needs = [
            await rehearsal.market.need(history=900, market=market, timeframe=timeframe)
            for market, timeframe in names
        ]
        for need in needs:
            await need.wait_ready()
        took_s = trio.current_time() - began_s
        pages = len(rehearsal.pages())

    bound_s = pages * (HELD_S + LATENCY_S) / REQUESTS
    # Of one series pages come one after the other, and the first waits for others to join.
    serial_s = 0.01 + pages / series * LATENCY_S
    assert took_s <= 1.05 * max(bound_s, serial_s) + LATENCY_S
    assert rehearsal.exchange.log
    assert all(record.status == 200 for record in rehearsal.exchange.log)


async def test_when_it_will_be_ready_is_told_and_comes_true(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """From the limiter's schedule, to a tenth, with hundreds of pages ahead."""
    async with rehearse(tmp_path, markets, clock=clock, preload=NEEDS_ONLY) as rehearsal:
        market = rehearsal.market
        await trio.sleep(2)
        needs = [
            await market.need(history=5_000, market=name, timeframe="1m")
            for name in ("KRW-BTC", "KRW-ETH")
        ]
        told = [(await need.state()).ready_in_s for need in needs]
        began_s = trio.current_time()
        took = []
        for need in needs:
            await need.wait_ready()
            took.append(trio.current_time() - began_s)

    assert told[-1] == pytest.approx(took[-1], rel=0.1)


async def test_a_young_listing_is_ready_with_what_exists_and_says_so(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """Ten days are ten candles of a day."""
    async with rehearse(tmp_path, markets, clock=clock, preload=NEEDS_ONLY) as rehearsal:
        need = await rehearsal.market.need(["HIGH(60)"], market="KRW-BTC", timeframe="1d")
        report = await need.wait_ready()

    assert (report.needed, report.covered, report.whole) == (200, 9, False)
    assert "do not exist" in report.missing


async def test_how_far_it_is_grows_page_by_page(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """And says what is lacking, and until when."""
    async with rehearse(tmp_path, markets, clock=clock, preload=NEEDS_ONLY) as rehearsal:
        need = await rehearsal.market.need(history=4_000, market="KRW-BTC", timeframe="1m")
        seen = []
        while (report := await need.state()).state != "ready":
            seen.append((report.covered, report.ready_in_s, report.missing))
            await trio.sleep(0.5)

    covered = [each[0] for each in seen]
    assert covered == sorted(covered)
    assert len(set(covered)) >= 3
    assert all(each[1] is not None and each[1] > 0 for each in seen)
    assert all(f"oldest {4_000 - each[0]} candles" in each[2] for each in seen)


async def test_a_need_stays_ready_while_it_is_used(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """Without a stream, a page after each long candle; who asks for closed ones waits for none."""
    async with rehearse(tmp_path, markets, clock=clock, preload=NEEDS_ONLY) as rehearsal:
        market = rehearsal.market
        need = await market.need(["SMA(20)"], market="KRW-BTC", timeframe="15m")
        await need.wait_ready()
        sources = []
        for _ in range(6):
            # Half a minute after the end of a candle.
            await trio.sleep(900 - rehearsal.now_ms / 1000 % 900 + 30)
            candles = await market.candles("KRW-BTC", "15m", 200, closed=True)
            sources.append((candles.source, candles.complete))

    assert sources == [("memory", True)] * 6


async def test_of_short_candles_no_more_is_ever_lacking_than_a_page_brings(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """Without a stream the newest is fetched for who asks: a page each minute would be too dear."""
    async with rehearse(tmp_path, markets, clock=clock, preload=NEEDS_ONLY) as rehearsal:
        market = rehearsal.market
        need = await market.need(history=1_000, market="KRW-BTC", timeframe="1m")
        await need.wait_ready()
        before = len(rehearsal.pages())
        await trio.sleep(3_500)
        waited = []
        for _ in range(3):
            pages = len(rehearsal.pages())
            await market.candles("KRW-BTC", "1m", 1_000)
            waited.append(len(rehearsal.pages()) - pages)
            await trio.sleep(3_500)

    assert waited == [1, 1, 1]
    assert len(rehearsal.pages()) - before <= 3 + 3


async def test_a_need_that_nobody_uses_costs_nothing_after_a_while(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """It stays declared for a day, but the newest is fetched only for who asks."""
    async with rehearse(tmp_path, markets, clock=clock, preload=NEEDS_ONLY) as rehearsal:
        need = await rehearsal.market.need(["SMA(20)"], market="KRW-BTC", timeframe="15m")
        await need.wait_ready()
        await trio.sleep(6 * 3_600)
        before = len(rehearsal.pages())
        await trio.sleep(3_600)
        after = len(rehearsal.pages())
        needs = len(await rehearsal.market.needs())

    assert (before, needs) == (after, 1)
    assert 2 < before <= 25


async def test_an_exchange_that_is_away_is_told_and_waited_for(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """It is tried again by itself; who waits goes on waiting."""
    async with rehearse(tmp_path, markets, clock=clock, preload=NEEDS_ONLY) as rehearsal:
        rehearsal.exchange.faults.switch_on(Fault.STATUS_500)
        need = await rehearsal.market.need(["SMA(20)"], market="KRW-BTC", timeframe="1m")
        with pytest.raises(CallTimeout, match=r"within 60 s: 0 of 200 candles, because .*500"):
            await need.wait_ready(timeout_s=60)
        away = await need.state()
        rehearsal.exchange.faults.switch_off()
        report = await need.wait_ready()

    assert away.state == "failing"
    assert "500" in away.missing
    assert away.ready_in_s is None
    assert report.state == "ready"


async def test_who_waits_for_a_market_that_does_not_exist_is_told_at_once(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """The need stays, in case it is listed one day, and is hardly ever asked for."""
    async with rehearse(tmp_path, markets, clock=clock, preload=NEEDS_ONLY) as rehearsal:
        need = await rehearsal.market.need(["SMA(20)"], market="KRW-NOPE", timeframe="1m")
        for _ in range(2):
            with pytest.raises(UnknownMarket, match="no such market"):
                await need.wait_ready()
        told_s = trio.current_time()
        await trio.sleep(3_600)
        state = await need.state()

    assert told_s < 2
    assert state.state == "failing"
    assert len(rehearsal.pages()) <= 5


async def test_declaring_anew_takes_the_place_of_what_was_declared(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """Of one strategy and series there is one need; the widest of all strategies is fetched."""
    async with rehearse(tmp_path, markets, clock=clock, preload=NEEDS_ONLY) as rehearsal:
        market = rehearsal.market
        await market.need(["SMA(20)"], market="KRW-BTC", timeframe="1m", strategy="a")
        await market.need(history=500, market="KRW-BTC", timeframe="1m", strategy="b")
        wide = await market.need(history=700, market="KRW-BTC", timeframe="1m", strategy="a")
        await wide.wait_ready()
        needs = {need.strategy: need.covered for need in await market.needs()}

    assert needs == {"a": 800, "b": 600}


async def test_a_need_that_grows_does_not_wait_until_others_are_ready(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """Though its streams do, because what they cost at first would slow the others down."""
    async with rehearse(tmp_path, markets, clock=clock, preload=NEEDS_ONLY) as rehearsal:
        market = rehearsal.market
        long = await market.need(history=10_000, market="KRW-BTC", timeframe="1m")
        small = await market.need(history=100, market="KRW-ETH", timeframe="1m")
        await small.wait_ready()
        began_s = trio.current_time()
        grown = await market.need(history=700, market="KRW-ETH", timeframe="1m")
        report = await grown.wait_ready()
        took_s = trio.current_time() - began_s
        still = await long.state()

    assert report.covered == 800
    assert took_s < 2
    assert still.state == "fetching"


async def test_what_is_released_is_let_go(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """Who waits for it is told; nothing of it is fetched any more."""
    async with rehearse(tmp_path, markets, clock=clock, preload=NEEDS_ONLY) as rehearsal:
        market = rehearsal.market
        need = await market.need(history=5_000, market="KRW-BTC", timeframe="1m")
        waiting = AwaitNeed(market="KRW-BTC", timeframe="1m")
        told = []

        async def wait() -> None:
            with pytest.raises(UnknownNeed, match="strategies with needs: none"):
                await market.ask(waiting)
            told.append(trio.current_time())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.sleep(1.5)
            await need.release()
        await trio.sleep(5)
        pages = len(rehearsal.pages())
        await trio.sleep(60)

    assert told == [1.5]
    assert len(rehearsal.pages()) == pages


async def test_what_nobody_needs_any_more_gives_its_streams_and_its_memory_back(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """While it is needed both are held, and the newest candle is always there."""
    async with rehearse(tmp_path, markets, clock=clock, preload=NEEDS_ONLY, streams=True) as stage:
        market = stage.market
        (door,) = stage.application.wired.router.doors
        need = await market.need(history=2_000, market="KRW-BTC", timeframe="1m")
        await need.wait_ready()
        await trio.sleep(90)
        (streams,) = await market.streams()
        candles = await market.candles("KRW-BTC", "1m", 100)
        await need.release()
        await trio.sleep(5)
        (afterwards,) = await market.streams()
        known = door.tables.candles.get(("KRW-BTC", "1m"))

    assert streams.wanted >= 2
    assert candles.source == "live"
    assert afterwards.wanted == 0
    assert known is not None
    assert known.closed_rows <= 400


async def test_a_need_whose_series_is_not_asked_for_ends(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """After the time that is set; each use gives it as much again."""
    preload = PreloadSettings(learn=False, keep_need_s=600)
    async with rehearse(tmp_path, markets, clock=clock, preload=preload) as rehearsal:
        market = rehearsal.market
        await market.need(["SMA(20)"], market="KRW-BTC", timeframe="1m")
        await trio.sleep(500)
        await market.candles("KRW-BTC", "1m", 10)
        await trio.sleep(500)
        used = len(await market.needs())
        await trio.sleep(200)
        left = len(await market.needs())

    assert (used, left) == (1, 0)


async def test_a_crash_forgets_no_need(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """They are in the tree's hands, not in the actor's."""
    async with rehearse(tmp_path, markets, clock=clock, preload=NEEDS_ONLY) as rehearsal:
        market = rehearsal.market
        need = await market.need(history=700, market="KRW-BTC", timeframe="1m")
        await trio.sleep(0.5)
        rehearsal.kill("upbit.preloader")
        report = await need.wait_ready()

    assert report.covered == 800


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"indicators": ["ATRR(20)"]}, "ATR"),
        ({"history": "90"}, "a length of time such as"),
        ({"history": 0}, "must be 1 to 100000, was 0"),
        ({"history": "900000d"}, "must be 1 to 100000"),
        ({"strategy": " "}, "strategy must be a name"),
        ({"strategy": "x" * 65}, "strategy must be a name"),
        ({"strategy": "a\x9b31m"}, "strategy must be a name"),
        ({"strategy": "a\u202eb"}, "strategy must be a name"),
        ({"history": float("nan")}, "history must be a number of candles"),
        ({"timeframe": "7m"}, "timeframe must be one of"),
        ({"market": "okx:BTC-USDT"}, "no exchange called 'okx'"),
    ],
)
async def test_what_cannot_be_is_refused_with_what_was_wanted(
    tmp_path: Path,
    clock: TrioClock,
    markets: tuple[SandboxMarket, ...],
    wrong: dict[str, object],
    message: str,
) -> None:
    """And nothing is declared."""
    asked = {"market": "KRW-BTC", "timeframe": "1m", "indicators": ["SMA(20)"], **wrong}
    what = asked.pop("indicators")
    async with rehearse(tmp_path, markets, clock=clock, preload=NEEDS_ONLY) as rehearsal:
        with pytest.raises(InvalidRequest, match=message):
            await rehearsal.market.need(what, **asked)  # type: ignore[arg-type]
        assert await rehearsal.market.needs() == ()


async def test_where_preloading_is_switched_off_a_need_is_refused_with_the_setting(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """Nobody waits for what never comes."""
    async with rehearse(tmp_path, markets, clock=clock) as rehearsal:
        with pytest.raises(InvalidRequest, match=r"preload\.enabled is false"):
            await rehearsal.market.need(["SMA(20)"], market="KRW-BTC", timeframe="1m")
