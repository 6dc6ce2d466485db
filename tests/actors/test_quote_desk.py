"""`QuoteDesk`: what changes by the moment is fetched once for all who want it now."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from actors.errors import ExchangeUnavailable, MalformedPayload, UnknownMarket
from actors.quote_desk import KEPT_S
from actors.quotes import Ticker
from actors.sandbox.bars import Scale
from actors.sandbox.faults import Fault
from actors.sandbox.generated import Character
from runtime.core.clock import TrioClock
from runtime.testing_rehearsal import Rehearsal, generated, rehearse

Open = Callable[..., Any]


def many(count: int) -> tuple[Character, ...]:
    """Return the characters of `count` small markets."""
    scale = Scale(0, 8, 1)
    return tuple(
        Character(f"KRW-M{n:03}", 1_000 + n, scale, 3_000_000_000, 0.001, 4) for n in range(count)
    )


@pytest.fixture
def opened(clock: TrioClock, tmp_path: Path) -> Open:
    """Opens a rehearsal with some days of history in which nobody is ever refused."""

    @asynccontextmanager
    async def open_it(
        kinds: tuple[Character, ...] = many(6), **options: Any
    ) -> AsyncIterator[Rehearsal]:
        markets = generated(history_days=2, kinds=kinds)
        async with rehearse(tmp_path, markets, clock=clock, **options) as stage:
            yield stage
            assert stage.exchange.rules.refused() == 0

    return open_it


async def all_at_once(*asks: Callable[[], Any]) -> list[Any]:
    """Return answers and errors of all, asked in the same moment, in their order."""
    got: list[Any] = [None] * len(asks)

    async def ask(index: int) -> None:
        try:
            got[index] = await asks[index]()
        except (ExchangeUnavailable, MalformedPayload, UnknownMarket) as error:
            got[index] = error

    async with trio.open_nursery() as nursery:
        for index in range(len(asks)):
            nursery.start_soon(ask, index)
    return got


async def test_a_herd_with_one_question_asks_once(opened: Open) -> None:
    """Whether it comes in the same moment or while the answer is under way."""
    async with opened() as stage, trio.open_nursery() as nursery:

        async def late(after_s: float) -> None:
            await trio.sleep(after_s)
            assert (await stage.market.ticker("KRW-M000")).market == "KRW-M000"

        for number in range(50):
            nursery.start_soon(late, number * 0.001)
    assert stage.exchange.calls() == 1


async def test_markets_wanted_at_the_same_time_share_a_request(opened: Open) -> None:
    """Six bots, six markets, one call; each kind by itself."""
    async with opened() as stage:
        codes = list(stage.exchange.markets)
        tickers = await all_at_once(*(partial(stage.market.ticker, code) for code in codes))
        books = await all_at_once(*(partial(stage.market.orderbook, code) for code in codes))

        assert [ticker.market for ticker in tickers] == codes
        assert [book.market for book in books] == codes
        assert stage.exchange.calls("/v1/ticker") == 1
        assert stage.exchange.calls("/v1/orderbook") == 1


async def test_more_markets_than_one_request_takes_go_out_in_several(opened: Open) -> None:
    """A hundred a request; in the order asked for, also where one is named twice."""
    async with opened(many(230)) as stage:
        codes = [*stage.exchange.markets, "KRW-M000"]
        tickers = await stage.market.tickers(codes)

        assert [ticker.market for ticker in tickers] == codes
        assert stage.exchange.calls("/v1/ticker") == 3


async def test_an_unknown_market_fails_only_who_asked_for_it(opened: Open) -> None:
    """One bad code spoils the whole request, and the exchange does not say which one it is."""
    async with opened(many(100)) as stage:
        codes = list(stage.exchange.markets)[:99]
        good, bad, both, other = await all_at_once(
            partial(stage.market.tickers, codes),
            partial(stage.market.ticker, "KRW-NOPE"),
            partial(stage.market.tickers, [codes[3], "KRW-NOPE"]),
            partial(stage.market.ticker, codes[7]),
        )

        assert [ticker.market for ticker in good] == codes
        assert isinstance(other, Ticker)
        for error in (bad, both):
            assert isinstance(error, UnknownMarket)
            assert "KRW-NOPE" in str(error)
        # Found by halving: each code alone would have taken ten seconds.
        assert stage.exchange.calls("/v1/ticker") <= 16


async def test_a_quote_is_as_young_as_it_was_asked_to_be(opened: Open) -> None:
    """Half a second by default; as old as the caller likes; zero asks in any case."""
    async with opened() as stage:
        market = stage.market
        first = await market.ticker("KRW-M000")
        await trio.sleep(0.4)
        again = await market.ticker("KRW-M000")
        assert (again.source, plain(again)) == ("memory", plain(first))
        assert stage.exchange.calls() == 1
        second = await market.ticker("KRW-M000", max_age_s=0)
        assert second.source == "exchange"
        assert stage.exchange.calls() == 2
        await trio.sleep(100)
        assert plain(await market.ticker("KRW-M000", max_age_s=101)) == plain(second)
        assert plain(await market.ticker("KRW-M000", max_age_s=99)) != plain(second)
        assert stage.exchange.calls() == 3


async def test_a_quote_asked_for_while_waiting_for_a_slot_is_fresh_enough(opened: Open) -> None:
    """It is as old as the request that was sent, not as the wish for it."""
    async with opened() as stage:
        # Everything is held back for a second: a limiter that starts takes its window for spent.
        first, second = await all_at_once(
            partial(stage.market.ticker, "KRW-M000", max_age_s=0),
            partial(self_after, 0.5, partial(stage.market.ticker, "KRW-M000", max_age_s=0)),
        )

        assert first == second
        assert stage.exchange.calls() == 1


def plain(ticker: Ticker) -> Ticker:
    """Return a ticker without where it came from."""
    return msgspec.structs.replace(ticker, source="exchange", reason="")


async def self_after(after_s: float, ask: Callable[[], Any]) -> Any:
    """Ask after a while."""
    await trio.sleep(after_s)
    return await ask()


async def test_books_are_cut_to_the_depth_asked_for(opened: Open) -> None:
    """One whole book is fetched; every depth is a part of it."""
    async with opened() as stage:
        whole = await stage.market.orderbook("KRW-M000", 30)
        three = await stage.market.orderbook("KRW-M000", 3)

        assert len(whole.bids) > 3
        assert (three.bids, three.asks) == (whole.bids[:3], whole.asks[:3])
        assert stage.exchange.calls() == 1


async def test_few_trades_are_a_part_of_many(opened: Open) -> None:
    """Up to a hundred share a page; more take the largest there is, and then serve the others."""
    async with opened() as stage:
        hundred = await stage.market.trades("KRW-M000", 100)
        assert (await stage.market.trades("KRW-M000", 7)).trades == hundred.trades[:7]
        assert stage.exchange.calls() == 1
        many_trades = await stage.market.trades("KRW-M000", 333)

        assert len(many_trades) == 333
        assert len(await stage.market.trades("KRW-M000", 400)) > 0
        assert stage.exchange.calls() == 2


async def test_markets_are_listed_once_a_minute(opened: Open) -> None:
    """They change about once a week."""
    async with opened() as stage:
        first, again = await all_at_once(stage.market.markets, stage.market.markets)
        await trio.sleep(50)
        assert await stage.market.markets() == first == again
        assert stage.exchange.calls() == 1
        await trio.sleep(20)
        assert await stage.market.markets("krw") == first
        assert stage.exchange.calls() == 2
        assert await stage.market.markets("BTC") == ()


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault.AWAY, ExchangeUnavailable),
        (Fault.STATUS_500, ExchangeUnavailable),
        (Fault.HANG, ExchangeUnavailable),
        (Fault.HALF_BODY, ExchangeUnavailable),
        (Fault.GARBAGE, MalformedPayload),
    ],
)
async def test_a_fault_reaches_everybody_and_leaves_nothing_behind(
    opened: Open, fault: Fault, kind: type[Exception]
) -> None:
    """Errors name exchange and question; the next request works."""
    async with opened() as stage:
        market = stage.market
        asks = (
            partial(market.ticker, "KRW-M000"),
            partial(market.ticker, "KRW-M001"),
            partial(market.orderbook, "KRW-M000"),
            partial(market.trades, "KRW-M000"),
            market.markets,
        )
        stage.exchange.faults.switch_on(fault)
        for error in await all_at_once(*asks):
            assert isinstance(error, kind)
            assert str(error).startswith("upbit: ")
        stage.exchange.faults.switch_off()
        # Somebody has to be the first to ask an exchange that was away.
        await trio.sleep(2)
        await market.markets()
        for answer in await all_at_once(*asks):
            assert not isinstance(answer, Exception)


async def test_who_leaves_takes_nothing_from_those_who_stay(opened: Open) -> None:
    """And what nobody wants any more is not asked for."""
    async with opened() as stage:
        with trio.move_on_after(0.5):
            await stage.market.ticker("KRW-M001")
        await trio.sleep(5)
        assert stage.exchange.calls() <= 1

        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()

            async def leave() -> None:
                with scope:
                    await stage.market.tickers(["KRW-M002", "KRW-M003"])

            nursery.start_soon(leave)
            await trio.sleep(0.02)
            scope.cancel()
            assert (await stage.market.ticker("KRW-M003")).market == "KRW-M003"


async def test_quotes_nobody_asks_for_any_more_are_let_go(opened: Open) -> None:
    """Hundreds of markets with hundreds of trades each would fill the memory unseen."""
    async with opened() as stage:
        table = stage.application.wired.router._doors["upbit"].tables.quotes
        await stage.market.tickers(["KRW-M000", "KRW-M001"])
        await stage.market.trades("KRW-M000", 5)
        assert len(table) == 3
        await trio.sleep(KEPT_S + 1)
        await stage.market.ticker("KRW-M002")
        assert [key for key, _ in table.items()] == [("ticker", "KRW-M002")]
