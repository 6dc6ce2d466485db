"""`SeriesLoader`: what callers get when the exchange, the store or other callers fail them."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from actors.candles import Candles
from actors.errors import (
    ExchangeError,
    ExchangeUnavailable,
    InvalidRequest,
    MalformedPayload,
    StoreUnavailable,
    UnknownMarket,
)
from actors.loader import SeriesLoader
from actors.sandbox.faults import Fault
from actors.sandbox.market import SandboxMarket
from actors.stores.testing import Disk
from runtime.core.clock import TrioClock
from runtime.testing import NEW_YEAR_MS
from runtime.testing_rehearsal import Rehearsal, generated, rehearse

MINUTE_MS = 60_000
NOON_MS = NEW_YEAR_MS + 12 * 3_600_000 + 30_000
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def markets() -> tuple[SandboxMarket, ...]:
    """All generated markets with ten days of history."""
    return generated(history_days=10)


@pytest.fixture
def opened(markets: tuple[SandboxMarket, ...], clock: TrioClock, tmp_path: Path) -> Open:
    """Opens a rehearsal that begins at noon and in which nobody is ever refused."""

    @asynccontextmanager
    async def open_it(**options: Any) -> AsyncIterator[Rehearsal]:
        async with rehearse(
            tmp_path, markets, clock=clock, **{"start_ms": NOON_MS, **options}
        ) as stage:
            yield stage
            assert stage.exchange.rules.refused() == 0

    return open_it


async def ask(stage: Rehearsal, count: int = 300, **options: Any) -> Candles:
    """Ask for the candles before New Year."""
    return await stage.market.candles("KRW-BTC", "1m", count, **{"end": NEW_YEAR_MS, **options})


def truth(stage: Rehearsal, count: int = 300) -> Candles:
    """Return what `ask` must get."""
    return stage.truth("KRW-BTC", "1m", NEW_YEAR_MS).last(count)


async def outcomes(stage: Rehearsal, callers: int, **options: Any) -> list[Candles | ExchangeError]:
    """Return what each of `callers` gets who ask at the same time for more and more."""
    got: list[Candles | ExchangeError] = []

    async def call(number: int) -> None:
        try:
            got.append(await ask(stage, 100 * (number + 1), **options))
        except ExchangeError as error:
            got.append(error)

    async with trio.open_nursery() as nursery:
        for number in range(callers):
            nursery.start_soon(call, number)
    return got


# ---------------------------------------------------------------------- the exchange fails

FAULTS = [
    (Fault.AWAY, ExchangeUnavailable),
    (Fault.STATUS_500, ExchangeUnavailable),
    (Fault.HANG, ExchangeUnavailable),
    (Fault.HALF_BODY, ExchangeUnavailable),
    (Fault.GARBAGE, MalformedPayload),
    (Fault.OTHER_MARKET, MalformedPayload),
]


@pytest.mark.parametrize(("fault", "kind"), FAULTS)
async def test_everybody_who_waits_is_told_what_went_wrong(
    opened: Open, fault: Fault, kind: type[ExchangeError]
) -> None:
    """The error names the exchange and the question; nothing of the answer is kept."""
    async with opened() as stage:
        stage.exchange.faults.switch_on(fault)
        errors = await outcomes(stage, 8)
        stage.exchange.faults.switch_off()

        assert [type(error) for error in errors] == [kind] * 8
        assert len({id(error) for error in errors}) == 8
        assert all("upbit: candles KRW-BTC 1m" in str(error) for error in errors)
        assert (await stage.market.cache()).series == ()
        assert await ask(stage) == truth(stage)


@pytest.mark.parametrize(("fault", "kind"), FAULTS)
async def test_a_load_that_fails_half_way_goes_on_from_there(
    opened: Open, fault: Fault, kind: type[ExchangeError]
) -> None:
    """What the pages before have proven stays proven."""
    async with opened() as stage:
        await ask(stage, 400)
        stage.exchange.faults.switch_on(fault)
        with pytest.raises(kind, match="upbit"):
            await ask(stage, 1_000)
        stage.exchange.faults.switch_off()
        before = len(stage.pages())
        answer = await ask(stage, 1_000)

        assert answer == truth(stage, 1_000)
        assert answer.complete
        assert len(stage.pages()) - before == 3


async def test_who_needs_no_page_does_not_wait_for_one_that_hangs(opened: Open) -> None:
    """The store has it all; what somebody else wants from the exchange is not his business."""
    async with opened(candles_per_series=5) as stage, trio.open_nursery() as nursery:
        await ask(stage)
        stage.exchange.faults.switch_on(Fault.HANG)
        nursery.start_soon(outcomes, stage, 8)
        await trio.sleep(1)
        before_s = trio.current_time()

        assert await ask(stage) == truth(stage)
        assert trio.current_time() == before_s


async def test_who_needs_no_page_gets_no_error_of_one(opened: Open) -> None:
    """All ask in the same moment; the store can answer one of them."""
    async with opened(candles_per_series=5) as stage:
        await ask(stage, 100)
        stage.exchange.faults.switch_on(Fault.STATUS_500)

        got = await outcomes(stage, 3)

        # A page has two hundred rows.
        assert sorted(len(one) for one in got if isinstance(one, Candles)) == [100, 200]


async def test_an_unknown_market_leaves_nothing_behind(opened: Open) -> None:
    """Misspelt names must not pile up."""
    async with opened() as stage:
        for options in ({}, {"allow_stale": True}, {"end": NEW_YEAR_MS}):
            with pytest.raises(UnknownMarket, match=r"candles KRW-NOPE 1m.*: no such market"):
                await stage.market.candles("KRW-NOPE", **options)

        gc.collect()
        assert [each for each in gc.get_objects() if isinstance(each, SeriesLoader)] == []
        report = await stage.market.cache()
        assert (report.series, report.bytes, report.store_candles, report.failures) == ((), 0, 0, 3)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"end": NOON_MS + 86_400_000}, "end must not lie in the future.*2026-01-01T12:00:3"),
        ({"start": NOON_MS + 86_400_000}, "start must not lie in the future"),
        ({"start": NOON_MS + 86_400_000, "end": NOON_MS + 86_460_000}, "start must not lie"),
        ({"start": 0}, "must span at most 100000 candles of 1m"),
    ],
)
async def test_what_only_the_exchange_can_refuse_is_refused(
    opened: Open, options: dict[str, Any], match: str
) -> None:
    """Which time it is there is known only once it has answered; memory must say the same."""
    async with opened() as stage:
        for _ in range(2):
            with pytest.raises(InvalidRequest, match=match):
                await stage.market.candles("KRW-BTC", "1m", **options)
        with pytest.raises(InvalidRequest, match=match):
            await stage.market.candles("KRW-BTC", "1m", **options, allow_stale=True)


async def test_a_bot_whose_clock_is_a_little_ahead_is_answered(opened: Open) -> None:
    """Its now is not yet the exchange's, and no reason for an error."""
    async with opened(start_ms=NOON_MS + 28_000) as stage:
        answer = await stage.market.candles("KRW-BTC", "1m", 3, end=NOON_MS + 90_000)

        assert len(answer) == 3
        assert not answer.closed[-1]


# ---------------------------------------------------------------------- what there is will do


async def test_nothing_known_is_an_answer_with_everything_missing(opened: Open) -> None:
    """Empty, and by no means complete."""
    async with opened() as stage:
        stage.exchange.faults.switch_on(Fault.AWAY)

        for end, closed in ((NEW_YEAR_MS, False), (None, False), (None, True)):
            answer = await ask(stage, end=end, closed=closed, allow_stale=True)
            assert len(answer) == 0
            assert not answer.complete
            assert "upbit: candles KRW-BTC 1m" in answer.missing[0].reason


async def test_stale_candles_say_what_is_not_known(opened: Open) -> None:
    """All rows there are, the open one too, and the time since then by name."""
    async with opened() as stage:
        fresh = await stage.market.candles("KRW-BTC", "1m", 10)
        stage.exchange.faults.switch_on(Fault.STATUS_500)
        await trio.sleep(300)

        stale = await stage.market.candles("KRW-BTC", "1m", 10, allow_stale=True)

        assert stale == fresh
        assert stale.as_of_ms == fresh.as_of_ms
        open_ms = int(fresh.open_time_ms[-1])
        assert [gap[:2] for gap in stale.missing] == [(open_ms, open_ms + 6 * MINUTE_MS)]
        assert "500" in stale.missing[0].reason


async def test_a_stale_answer_that_is_too_short_says_so(opened: Open) -> None:
    """Fewer than asked for, because nobody knows what was before."""
    async with opened() as stage:
        await ask(stage, 100)
        stage.exchange.faults.switch_on(Fault.AWAY)

        stale = await ask(stage, 500, allow_stale=True)

        assert stale == truth(stage, 200)
        assert [gap[:2] for gap in stale.missing] == [(0, int(stale.open_time_ms[0]))]


async def test_a_stale_window_names_its_holes(opened: Open) -> None:
    """Between two pages that were fetched lies a stretch that was not."""
    async with opened(candles_per_series=10) as stage:
        await ask(stage, 100, end=NEW_YEAR_MS - 500 * MINUTE_MS)
        await ask(stage, 100)
        stage.exchange.faults.switch_on(Fault.AWAY)

        stale = await stage.market.candles(
            "KRW-BTC",
            "1m",
            start=NEW_YEAR_MS - 600 * MINUTE_MS,
            end=NEW_YEAR_MS - 100 * MINUTE_MS,
            allow_stale=True,
        )

        assert not stale.complete
        (gap,) = stale.missing
        assert gap.start_ms == NEW_YEAR_MS - 500 * MINUTE_MS
        rows = stage.truth("KRW-BTC", "1m", NEW_YEAR_MS - 100 * MINUTE_MS)
        known = rows.between(NEW_YEAR_MS - 600 * MINUTE_MS, gap.start_ms)
        assert stale == known.merge(rows.between(gap.end_ms, NEW_YEAR_MS))


# ---------------------------------------------------------------------- the store fails


def break_reads(disk: Disk) -> None:
    """Nothing can be read."""
    disk.cannot_read = StoreUnavailable("the disk is gone")


def break_writes(disk: Disk) -> None:
    """Nothing can be written."""
    disk.cannot_write = StoreUnavailable("the disk is full")


def break_both(disk: Disk) -> None:
    """Nothing can be read or written."""
    break_reads(disk)
    break_writes(disk)


@pytest.mark.parametrize("fail", [break_reads, break_writes, break_both])
async def test_without_a_store_the_answers_are_as_right_as_ever(
    opened: Open, fail: Callable[[Disk], None]
) -> None:
    """The exchange has it all; only slower. Once the store is back it is used again."""
    disk = Disk()
    async with opened(open_store=disk.open, candles_per_series=5) as stage:
        assert await ask(stage) == truth(stage)
        fail(disk)
        for _ in range(2):
            answer = await ask(stage, 700)
            assert answer == truth(stage, 700)
            assert answer.complete
        disk.cannot_read = disk.cannot_write = None
        assert await ask(stage, 700) == truth(stage, 700)
        before = len(stage.pages())

        assert await ask(stage, 700) == truth(stage, 700)
        assert len(stage.pages()) == before


async def test_a_store_that_is_not_there_at_first_is_used_later(opened: Open) -> None:
    """It is opened again and again; nobody waits for that."""
    disk = Disk()
    disk.cannot_open = StoreUnavailable("not mounted")
    async with opened(open_store=disk.open, candles_per_series=5) as stage:
        assert await ask(stage) == truth(stage)
        disk.cannot_open = None
        await trio.sleep(120)
        await ask(stage)

        assert (await ask(stage)).source == "store"


async def test_a_store_that_forgets_is_found_out(opened: Open) -> None:
    """One in memory begins empty when it is started again; its rows must not just be missing."""
    async with opened(candles_per_series=5) as stage:
        await ask(stage, 600)
        stage.kill("store")
        await trio.sleep(0.5)
        answer = await ask(stage, 600)

        assert answer == truth(stage, 600)
        assert answer.complete
        assert await ask(stage, 600) == truth(stage, 600)


async def test_a_store_that_dies_in_the_middle_of_a_load_spoils_nothing(opened: Open) -> None:
    """At whatever moment: every caller gets the whole truth."""
    for after_s in (0.0, 0.005, 0.02, 0.06, 0.11, 0.4):
        disk = Disk()
        disk.takes_s = 0.03
        async with (
            opened(open_store=disk.open, candles_per_series=5) as stage,
            trio.open_nursery() as nursery,
        ):
            await ask(stage, 100)
            nursery.start_soon(partial(ask, stage, 1_500))
            await trio.sleep(after_s)
            stage.kill("store")
            assert await ask(stage, 1_200) == truth(stage, 1_200)


# ---------------------------------------------------------------------- callers who leave


async def test_a_load_nobody_waits_for_stops_after_the_page_under_way(opened: Open) -> None:
    """Its slots belong to those who still want something."""
    async with opened() as stage:
        with trio.move_on_after(2):
            await ask(stage, 10_000)
        under_way = len(stage.pages())
        await trio.sleep(10)

        assert under_way > 5
        assert len(stage.pages()) <= under_way + 1


async def test_who_leaves_cancels_nothing_for_those_who_stay(opened: Open) -> None:
    """Nor does he make it any dearer."""
    async with opened() as stage, trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def leave() -> None:
            with scope:
                await ask(stage, 2_000)

        nursery.start_soon(leave)
        await trio.sleep(0.9)
        stay = truth(stage, 1_000)
        with trio.CancelScope() as later:
            later.deadline = trio.current_time() + 60
            nursery.start_soon(_cancel_later, scope)

            assert await ask(stage, 1_000) == stay
        assert scope.cancelled_caught


async def _cancel_later(scope: trio.CancelScope) -> None:
    await trio.sleep(0.4)
    scope.cancel()
