"""Batching: what many want within a few milliseconds is asked for once, side by side, for each."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from actors.errors import ExchangeUnavailable, RateLimited, UnknownMarket
from actors.messages import GetCandles
from actors.quote_desk import Quote, QuoteDesk, QuoteKey
from actors.sandbox.bars import Scale
from actors.sandbox.faults import Fault
from actors.sandbox.generated import Character
from actors.timeframes import Timeframe
from runtime.core.clock import TrioClock
from runtime.core.reply import Reply
from runtime.core.table import Table
from runtime.testing import NEW_YEAR_MS
from runtime.testing_rehearsal import Rehearsal, generated, rehearse

GATHER_S = 0.005
BATCH_MAX = 100


@dataclass
class Asked:
    """One request that reached the exchange."""

    codes: tuple[str, ...]
    began_s: float
    within_s: float


@dataclass
class Exchange:
    """Answers requests for quotes, after a while that depends on what is asked for.

    Attributes:
      slow_s: How long it takes for requests with this code in them.
      unknown: Codes that spoil a request.
      broken: Codes whose requests bring no answer.
    """

    slow_s: dict[str, float] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    asked: list[Asked] = field(default_factory=list)

    async def fetch(self, codes: Sequence[str], within_s: float) -> Mapping[str, Quote]:
        """Answer one request."""
        now_s = trio.current_time()
        self.asked.append(Asked(tuple(codes), now_s, within_s))
        took_s = max([0.05, *(self.slow_s.get(code, 0.0) for code in codes)])
        await trio.sleep(min(took_s, within_s))
        if took_s > within_s:
            raise ExchangeUnavailable(f"no whole answer within {within_s:g} s")
        if not self.broken.isdisjoint(codes):
            raise ExchangeUnavailable("gone")
        if not self.unknown.isdisjoint(codes):
            raise UnknownMarket("no such market")
        return {code: Quote(f"value of {code}", now_s) for code in codes}


@dataclass
class Desk:
    """A desk, its exchange, and what those who asked were told when."""

    desk: QuoteDesk
    exchange: Exchange
    clock: TrioClock
    nursery: trio.Nursery
    told: dict[str, tuple[Any, float]] = field(default_factory=dict)

    async def ask(
        self, who: str, *codes: str, patience_s: float = 30.0, after_s: float = 0.0
    ) -> None:
        """Ask as the cache does for a bot, and note the answer under `who`."""
        await trio.sleep(after_s)
        reply = Reply(self.clock.now_s() + patience_s)
        keys = tuple(("ticker", code) for code in codes)
        self.desk.add(keys, reply, max_age_s=0.5, compose=list)
        if not self.desk.running:
            self.desk.running = True
            self.nursery.start_soon(self.desk.run)
        got: Any = "nothing in time"
        with trio.move_on_after(patience_s):
            try:
                got = await reply.wait()
            except (ExchangeUnavailable, RateLimited, UnknownMarket) as error:
                got = error
        self.told[who] = (got, trio.current_time())


OpenDesk = Callable[[Exchange], Any]


@pytest.fixture
def open_desk(clock: TrioClock) -> OpenDesk:
    """Opens a desk before an exchange; nobody may be left in it when it closes."""

    @asynccontextmanager
    async def open_it(exchange: Exchange) -> AsyncIterator[Desk]:
        table: Table[QuoteKey, Quote] = Table("quotes")
        desk = QuoteDesk(
            exchange.fetch,
            batch_max=BATCH_MAX,
            writer=table.claim("test"),
            table=table,
            clock=clock,
            gather_s=GATHER_S,
        )
        async with trio.open_nursery() as nursery:
            yield Desk(desk, exchange, clock, nursery)
        assert not desk.running

    return open_it


def codes(count: int) -> list[str]:
    """Return so many codes."""
    return [f"M{number:03}" for number in range(count)]


@pytest.mark.parametrize(("askers", "requests"), [(1, 1), (100, 1), (101, 2), (250, 3)])
async def test_what_is_asked_within_five_milliseconds_goes_out_together(
    askers: int, requests: int, open_desk: OpenDesk
) -> None:
    """As few requests as it takes, and all of them at the same time."""
    exchange = Exchange()
    async with open_desk(exchange) as desk, trio.open_nursery() as nursery:
        for number, code in enumerate(codes(askers)):
            after_s = number * GATHER_S / askers
            nursery.start_soon(partial(desk.ask, code, code, after_s=after_s))

    assert len(exchange.asked) == requests
    assert len({asked.began_s for asked in exchange.asked}) == 1
    assert sum(len(asked.codes) for asked in exchange.asked) == askers
    assert [desk.told[code][0] for code in codes(askers)] == [
        [f"value of {code}"] for code in codes(askers)
    ]
    assert trio.current_time() == pytest.approx(GATHER_S + 0.05)


async def test_a_slow_batch_holds_nobody_up_whose_data_is_there(open_desk: OpenDesk) -> None:
    """Only who needs something of it waits for it."""
    exchange = Exchange(slow_s={"M240": 8.0})
    async with open_desk(exchange) as desk, trio.open_nursery() as nursery:
        nursery.start_soon(desk.ask, "all", *codes(250))
        nursery.start_soon(partial(desk.ask, "first", "M000", after_s=0.001))
        nursery.start_soon(partial(desk.ask, "last", "M240", after_s=0.001))
        nursery.start_soon(partial(desk.ask, "later", "X", after_s=1.0))

    assert desk.told["first"][1] < 0.1
    assert desk.told["later"][1] < 1.1
    assert desk.told["last"][1] == desk.told["all"][1] == pytest.approx(8.005)


async def test_the_good_half_is_answered_before_the_bad_code_is_found(open_desk: OpenDesk) -> None:
    """Halves go out side by side, and each answers whom it can at once."""
    exchange = Exchange(unknown={"M099"})
    async with open_desk(exchange) as desk, trio.open_nursery() as nursery:
        for number, code in enumerate(codes(100)):
            nursery.start_soon(partial(desk.ask, code, code, after_s=number * GATHER_S / 100))

    assert isinstance(desk.told["M099"][0], UnknownMarket)
    assert all(desk.told[code][0] == [f"value of {code}"] for code in codes(99))
    assert [len(asked.codes) for asked in exchange.asked[:3]] == [100, 50, 50]
    assert exchange.asked[1].began_s == exchange.asked[2].began_s
    assert len(exchange.asked) <= 1 + 2 * math.ceil(math.log2(100))
    assert desk.told["M000"][1] == pytest.approx(GATHER_S + 2 * 0.05)
    assert desk.told["M099"][1] > 0.3


async def test_a_failure_concerns_those_who_need_what_failed(open_desk: OpenDesk) -> None:
    """One batch of three fails; the others' callers notice nothing."""
    exchange = Exchange(broken={"M123"})
    async with open_desk(exchange) as desk, trio.open_nursery() as nursery:
        nursery.start_soon(desk.ask, "all", *codes(250))
        for code in codes(250):
            nursery.start_soon(desk.ask, code, code)

    failed = {who for who, (got, _) in desk.told.items() if isinstance(got, ExchangeUnavailable)}
    (spoilt,) = [asked.codes for asked in exchange.asked if "M123" in asked.codes]
    assert failed == {"all", *spoilt}


async def test_a_request_may_take_as_long_as_the_most_patient_waits(open_desk: OpenDesk) -> None:
    """With something left to tell him; but no request takes for ever."""
    exchange = Exchange()
    async with open_desk(exchange) as desk, trio.open_nursery() as nursery:
        nursery.start_soon(partial(desk.ask, "hasty", "A", patience_s=1.0))
        nursery.start_soon(partial(desk.ask, "calm", "A", patience_s=20.0))
        nursery.start_soon(partial(desk.ask, "saint", "B", patience_s=1000.0, after_s=2.0))

    assert [asked.within_s for asked in exchange.asked] == pytest.approx([19.495, 60.0])


async def test_the_impatience_of_one_is_not_the_failure_of_another(open_desk: OpenDesk) -> None:
    """Who joined a request that was given too little time gets one with all of his own."""
    exchange = Exchange(slow_s={"A": 3.0})
    async with open_desk(exchange) as desk, trio.open_nursery() as nursery:
        nursery.start_soon(partial(desk.ask, "hasty", "A", patience_s=1.0))
        nursery.start_soon(partial(desk.ask, "calm", "A", patience_s=20.0, after_s=0.1))

    assert isinstance(desk.told["hasty"][0], ExchangeUnavailable)
    assert desk.told["hasty"][1] < 1.0
    assert desk.told["calm"] == (["value of A"], pytest.approx(0.9 + 3.0, abs=0.02))


async def test_an_exchange_that_only_fails_is_not_asked_on_and_on(open_desk: OpenDesk) -> None:
    """However many join with ever more patience, each stays for two requests at most."""
    exchange = Exchange(broken={"A"})
    async with open_desk(exchange) as desk, trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(
                partial(
                    desk.ask, str(number), "A", patience_s=5.0 + 2 * number, after_s=number / 100
                )
            )

    asked_s = [number / 100 for number in range(100)]
    late_s = [desk.told[str(number)][1] - asked_s[number] for number in range(100)]
    assert max(late_s) <= 2 * (0.05 + GATHER_S) + 1e-6
    assert len(exchange.asked) <= 1 / 0.05 + 2


async def test_who_comes_while_a_request_is_out_for_nobody_is_served(open_desk: OpenDesk) -> None:
    """All who asked have gone, or have their answers; the desk works on."""
    exchange = Exchange(slow_s={"SLOW": 100.0, "A": 2.0})
    async with open_desk(exchange) as desk, trio.open_nursery() as nursery:
        nursery.start_soon(partial(desk.ask, "calm", "A", after_s=0.1))
        with trio.move_on_after(1.0):
            await desk.ask("gone", "SLOW", patience_s=60.0)
        await trio.sleep_until(3.0)
        await desk.ask("next", "X")

    assert "gone" not in desk.told
    assert desk.told["next"][1] < 3.1
    assert trio.current_time() == pytest.approx(59.5, abs=0.1), "the load belongs to no caller"


async def test_over_the_whole_way_askers_of_a_hundred_markets_make_one_request(
    clock: TrioClock, tmp_path: Path
) -> None:
    """Through client, router, cache, limiter and wire; tickers and books alike."""
    async with stage_of(250, clock, tmp_path) as stage:
        markets = list(stage.exchange.markets)
        for count, requests in ((100, 1), (250, 3)):
            for kind in ("ticker", "orderbook"):
                before = len(stage.exchange.log)
                await herd(getattr(stage.market, kind), markets[:count])
                log = list(stage.exchange.log)[before:]
                assert [record.path for record in log] == [f"/v1/{kind}"] * requests
                assert max(each.now_ms for each in log) - log[0].now_ms <= 1
                await trio.sleep(2)


async def test_overlapping_needs_of_candles_are_one_page(clock: TrioClock, tmp_path: Path) -> None:
    """The widest of them covers all."""
    async with (
        stage_of(1, clock, tmp_path, start_ms=NEW_YEAR_MS + 43_200_000) as stage,
        trio.open_nursery() as nursery,
    ):
        (code,) = stage.exchange.markets
        # Of its answer the exchange's time is learned: without that, a page would be for that.
        await stage.market.ticker(code)
        got: list[Any] = []

        async def ask(count: int, end_ms: int) -> None:
            got.append((await stage.market.candles(code, "1m", count, end=end_ms), count, end_ms))

        for number in range(40):
            nursery.start_soon(ask, 5 + 3 * number, NEW_YEAR_MS - (number % 5) * 60_000)
        await trio.sleep(5)
        assert len(got) == 40
        assert len(stage.pages()) == 1
        assert all(
            candles == stage.truth(code, Timeframe.M1.value, end_ms).last(count)
            for candles, count, end_ms in got
        )


async def test_a_page_that_a_hasty_bot_gave_no_time_is_asked_for_again_for_a_calm_one(
    clock: TrioClock, tmp_path: Path
) -> None:
    """Each is told within his time, and only the hasty one of a failure."""
    async with stage_of(1, clock, tmp_path) as stage, trio.open_nursery() as nursery:
        (code,) = stage.exchange.markets
        stage.exchange.faults.switch_on(Fault.HANG, times=1)
        question = GetCandles(market=code, timeframe="1m", count=5)
        told: dict[float, Any] = {}
        began_s = trio.current_time()

        async def ask(patience_s: float) -> None:
            try:
                answer = await stage.application.answer(question, timeout_s=patience_s)
            except ExchangeUnavailable as error:
                answer = error
            told[patience_s] = answer, trio.current_time() - began_s

        nursery.start_soon(ask, 1.0)
        await trio.sleep(0.2)
        nursery.start_soon(ask, 30.0)

    assert isinstance(told[1.0][0], ExchangeUnavailable)
    assert told[1.0][1] < 1.0
    assert len(told[30.0][0]) == 5
    assert told[30.0][1] < 1.2


async def herd(ask: Callable[[str], Any], markets: Sequence[str]) -> None:
    """Ask for each within five milliseconds."""

    async def one(market: str, after_s: float) -> None:
        await trio.sleep(after_s)
        assert (await ask(market)).market == market

    async with trio.open_nursery() as nursery:
        for number, market in enumerate(markets):
            nursery.start_soon(one, market, number * 0.004 / len(markets))


@asynccontextmanager
async def stage_of(
    count: int, clock: TrioClock, folder: Path, *, start_ms: int = NEW_YEAR_MS
) -> AsyncIterator[Rehearsal]:
    """Open a rehearsal with `count` small markets, in which nobody is refused."""
    scale = Scale(0, 8, 1)
    kinds = tuple(
        Character(f"KRW-M{n:03}", 1_000 + n, scale, 3_000_000_000, 0.001, 4) for n in range(count)
    )
    markets = generated(history_days=1, kinds=kinds)
    async with rehearse(folder, markets, clock=clock, start_ms=start_ms) as stage:
        await trio.sleep(2)
        yield stage
        assert stage.exchange.rules.refused() == 0
