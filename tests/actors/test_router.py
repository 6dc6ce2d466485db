"""`MarketRouter`: memory answers without a message; what cannot be is refused at the door."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from actors.errors import ExchangeUnavailable, InvalidRequest, UnknownTimeframe
from actors.messages import GetCandles, GetMarkets, GetOrderBook, GetTicker, GetTickers, GetTrades
from actors.queries import CANDLES_MAX
from actors.sandbox.faults import Fault
from actors.sandbox.market import SandboxMarket
from runtime.core.clock import TrioClock
from runtime.core.errors import ActorNotFound
from runtime.core.message import Request
from runtime.testing import NEW_YEAR_MS
from runtime.testing_rehearsal import Rehearsal, generated, rehearse

Open = Callable[..., Any]


class Nonsense(Request[None], frozen=True):
    """A message that is no question about markets."""


@pytest.fixture(scope="module")
def markets() -> tuple[SandboxMarket, ...]:
    """All generated markets with four days of history."""
    return generated(history_days=4)


@pytest.fixture
def opened(markets: tuple[SandboxMarket, ...], clock: TrioClock, tmp_path: Path) -> Open:
    """Opens a rehearsal that begins half a minute after New Year."""

    @asynccontextmanager
    async def open_it(**options: Any) -> AsyncIterator[Rehearsal]:
        start_ms = NEW_YEAR_MS + 30_000
        async with rehearse(tmp_path, markets, clock=clock, start_ms=start_ms, **options) as stage:
            yield stage
            assert stage.exchange.rules.refused() == 0

    return open_it


async def test_what_memory_has_costs_no_switch_of_tasks(opened: Open) -> None:
    """Reads never queue: not behind other readers, nor behind a load."""
    async with opened() as stage:
        market = stage.market
        await market.candles("KRW-BTC", "1m", 50)
        await market.ticker("KRW-BTC")
        await market.orderbook("KRW-BTC")
        await market.trades("KRW-BTC")
        past_ms = NEW_YEAR_MS - 600_000
        with trio.testing.assert_no_checkpoints():
            await market.candles("KRW-BTC", "1m", 50)
            await market.candles("KRW-BTC", "1m", 20, end=past_ms)
            await market.candles("upbit:KRW-BTC", "1m", start=past_ms)
            await market.ticker("upbit:KRW-BTC")
            await market.orderbook("KRW-BTC", 2)
            await market.trades("KRW-BTC", 3)
        assert stage.exchange.calls() == 4
        assert (await market.cache()).memory_answers == 3


async def test_memory_answers_although_nobody_is_there(opened: Open) -> None:
    """An exchange in trouble takes nothing from what is known."""
    async with opened() as stage:
        await stage.market.candles("KRW-BTC", "1m", 50)
        stage.exchange.faults.switch_on(Fault.AWAY)
        await trio.sleep(60)

        answer = await stage.market.candles("KRW-BTC", "1m", 20, end=NEW_YEAR_MS)

        assert answer.source == "memory"
        assert answer.complete


@pytest.mark.parametrize(
    "end",
    [
        NEW_YEAR_MS,
        "2026-01-01",
        "2026-01-01T00:00:00Z",
        "2026-01-01T09:00:00+09:00",
        datetime(2026, 1, 1, tzinfo=UTC),
    ],
)
async def test_any_spelling_of_a_question_gets_the_same_answer(opened: Open, end: Any) -> None:
    """Bots write markets and times in different ways."""
    async with opened() as stage:
        plain = await stage.market.candles("KRW-BTC", "1m", 20, end=NEW_YEAR_MS)

        assert await stage.market.candles("upbit:KRW-BTC", "1m", 20, end=end) == plain
        assert stage.exchange.calls() == 1


@pytest.mark.parametrize(
    ("request_", "match"),
    [
        (GetCandles(market="KRW BTC", timeframe="1m"), "as the exchange writes it"),
        (GetCandles(market="okx:BTC-USDT", timeframe="1m"), "'okx' is configured; there is upbit"),
        (GetCandles(market="KRW-BTC", timeframe="1m", count=0), "count must be 1 to 100000"),
        (GetTicker(market="../../etc"), "as the exchange writes it"),
        (GetTicker(market="KRW-BTC", max_age_s=math.nan), "max_age_s must be a number"),
        (GetTickers(markets=()), "number of markets must be 1 to 1000, was 0"),
        (GetTickers(markets=("KRW-BTC",) * 1_001), "was 1001"),
        (GetTickers(markets=("KRW-BTC", "okx:X")), "'okx' is configured"),
        (GetTickers(markets=("KRW-BTC",), max_age_s=-1), "max_age_s"),
        (GetOrderBook(market="KRW-BTC", depth=0), "depth must be 1 to 30, was 0"),
        (GetOrderBook(market="KRW-BTC", depth=31), "depth must be 1 to 30, was 31"),
        (GetTrades(market="KRW-BTC", count=501), "count must be 1 to 500, was 501"),
        (GetTrades(market="", count=5), "was ''"),
        (GetMarkets(exchange="bithumb"), "'bithumb' is configured; there is upbit"),
        (Nonsense(), "Nonsense is not a question about markets"),
    ],
)
async def test_what_cannot_be_is_refused_before_anything_is_done(
    opened: Open, request_: Request[Any], match: str
) -> None:
    """Whether memory has something to say or not, and without a call to the exchange."""
    async with opened() as stage:
        router = stage.application.wired.router
        with pytest.raises(InvalidRequest, match=match):
            await router.answer(request_, timeout_s=5)
        if not isinstance(request_, Nonsense):
            with pytest.raises(InvalidRequest, match=match):
                router.validate(request_)
        assert stage.exchange.calls() == 0


async def test_the_short_way_through_memory_refuses_what_the_long_way_does(opened: Open) -> None:
    """A market of which everything is in memory must not make an impossible count possible."""
    async with opened(candles_per_series=10_000) as stage:
        market = stage.market
        assert len(await market.candles("KRW-BTC", "1h", 10_000)) == 97
        for count in (0, -1, CANDLES_MAX + 1, 10**30):
            with pytest.raises(InvalidRequest, match="count must be 1 to 100000"):
                await market.candles("KRW-BTC", "1h", count)
        with pytest.raises(UnknownTimeframe, match="was '7m'"):
            await market.candles("KRW-BTC", "7m")


async def test_tickers_come_in_the_order_asked_for(opened: Open) -> None:
    """Also where one market is named twice, in two spellings."""
    async with opened() as stage:
        names = ["KRW-ETH", "upbit:KRW-BTC", "KRW-ETH", "KRW-BTC"]
        tickers = await stage.market.tickers(names)

        assert [t.market for t in tickers] == ["KRW-ETH", "KRW-BTC", "KRW-ETH", "KRW-BTC"]


async def test_a_caller_waits_no_longer_than_it_said(opened: Open) -> None:
    """And its load does not go on for its sake."""
    async with opened() as stage:
        stage.exchange.faults.switch_on(Fault.HANG)
        for ask in (stage.market.candles, stage.market.ticker, stage.market.markets):
            before_s = trio.current_time()
            with pytest.raises(ExchangeUnavailable, match=r"no whole answer within [01]\."):
                await (
                    ask(timeout_s=2) if ask == stage.market.markets else ask("KRW-BTC", timeout_s=2)
                )
            assert before_s + 1.7 < trio.current_time() <= before_s + 2


async def test_reports_tell_where_answers_came_from(opened: Open) -> None:
    """Each answer is counted once, by the farthest place it needed."""
    async with opened(candles_per_series=5) as stage:
        market, end_ms = stage.market, NEW_YEAR_MS - 3_600_000
        for _ in range(3):
            await market.candles("KRW-BTC", "1m", 100, end=end_ms)
        for _ in range(4):
            await market.candles("KRW-BTC", "1m", 3, end=end_ms)
        with pytest.raises(InvalidRequest, match="no such market"):
            await market.candles("KRW-NOPE", "1m")
        report = await market.cache()

        assert report.exchange_answers == 1
        assert report.store_answers == 2
        assert report.memory_answers == 4
        assert report.failures == 1
        assert report.pages == 1
        assert report.store_candles == 200
        (series,) = report.series
        assert (series.market, series.timeframe, series.candles) == ("KRW-BTC", "1m", 5)
        assert series.to_ms == end_ms - 60_000


async def test_figures_of_a_store_that_is_away_are_left_out(opened: Open) -> None:
    """The rest of the report is there all the same."""
    async with opened() as stage:
        stage.application.wired.registry._mailboxes.pop("store")
        report = await stage.market.cache()

        assert (report.store_bytes, report.store_candles) == (None, None)
        assert report.bytes_max == 100_000_000


async def test_limits_are_those_of_the_exchange(opened: Open) -> None:
    """Every group by its own name, with what is in use."""
    async with opened() as stage:
        await stage.market.ticker("KRW-BTC")
        limits = {group.group: group for group in await stage.market.limits()}

        quotation = {"market", "candle", "ticker", "trade", "orderbook"}
        assert set(limits) == {*quotation, "websocket-connect"}
        assert limits["ticker"].granted == 1
        assert limits["candle"].granted == 0


async def test_a_cache_that_is_gone_for_good_is_said_so(opened: Open) -> None:
    """A typed error, at once."""
    async with opened() as stage:
        stage.application.wired.registry._mailboxes.pop("upbit.cache")
        for ask in (partial(stage.market.candles, "KRW-BTC"), stage.market.markets):
            with pytest.raises(ActorNotFound, match=r"upbit\.cache"):
                await ask()


async def test_quiet_minutes_are_filled_if_that_is_asked_for(opened: Open) -> None:
    """Every minute is there then, the traded ones as they are, and it is said which is which."""
    async with opened() as stage:
        router, name = stage.application.wired.router, "BTC-ETH"
        options: dict[str, Any] = {"market": name, "timeframe": "1m", "end": NEW_YEAR_MS}
        start_ms = NEW_YEAR_MS - 120 * 60_000
        plain = await router.answer(GetCandles(**options, start=start_ms), timeout_s=5)
        assert len(plain) < 120
        windows: tuple[dict[str, Any], ...] = ({"start": start_ms}, {"count": 120})
        for window in windows:
            request = GetCandles(**options, **window, fill="flat")
            filled = await router.answer(request, timeout_s=5)

            assert filled.open_time_ms.tolist() == list(range(start_ms, NEW_YEAR_MS, 60_000))
            assert filled.filled is not None
            assert filled.take(~filled.filled).rows() == plain.rows()
            assert not filled.take(filled.filled).volume.any()
