"""The cache as a whole, against an exchange of which the truth is known.

A whole runtime in virtual time. What is asked is answered with the truth, in the fewest pages, and
nothing is asked of the exchange twice.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.candles import Candles
from actors.sandbox.faults import Fault
from actors.sandbox.market import SandboxMarket
from actors.timeframes import Timeframe
from runtime.core.clock import TrioClock
from runtime.testing import NEW_YEAR_MS
from runtime.testing_rehearsal import Rehearsal, generated, in_virtual_time, rehearse

# Well inside a minute: no border passes while a batch is being answered.
NOON_MS = NEW_YEAR_MS + 13 * 3_600_000 + 7 * 60_000 + 30_500
PAGE_ROWS = 200


@pytest.fixture(scope="module")
def markets() -> tuple[SandboxMarket, ...]:
    """All generated markets with ten days of history."""
    return generated(history_days=10)


@pytest.fixture(scope="module")
def shown() -> dict[tuple[str, str], Candles]:
    """All candles of each series as they are shown at noon, once somebody has needed them."""
    return {}


@asynccontextmanager
async def opened(markets: Sequence[SandboxMarket], **options: Any) -> AsyncIterator[Rehearsal]:
    """Run a rehearsal in a folder of its own, from noon on."""
    clock = TrioClock(start_utc_ms=NOON_MS)
    with tempfile.TemporaryDirectory() as folder:
        options = {"start_ms": NOON_MS, **options}
        async with rehearse(Path(folder), tuple(markets), clock=clock, **options) as stage:
            yield stage
            assert stage.exchange.rules.refused() == 0


async def all_at_once(asks: Sequence[Callable[[], Awaitable[Any]]]) -> list[Any]:
    """Return the answers to all of `asks`, asked in the same moment, in their order."""
    answers: list[Any] = [None] * len(asks)

    async def ask(index: int) -> None:
        answers[index] = await asks[index]()

    async with trio.open_nursery() as nursery:
        for index in range(len(asks)):
            nursery.start_soon(ask, index)
    return answers


# ---------------------------------------------------------------------- any batch of questions


@dataclass(frozen=True)
class Question:
    """A request for candles that lie in the past, or up to now.

    Attributes:
      timeframe: Which.
      market: Which.
      end: How many periods before the present one it ends; None for now.
      count: How many candles; None for a window.
      span: How many periods the window spans.
      closed: Leave out what is open.
    """

    market: str
    timeframe: str
    end: int | None
    count: int | None
    span: int
    closed: bool

    def times(self, now_ms: int) -> tuple[int | None, int]:
        """Return start and end of what is asked for; an end of None is now."""
        timeframe = Timeframe.parse(self.timeframe)
        limit_ms = timeframe.shift_ms(timeframe.floor_ms(now_ms), 1)
        # What is before 1973 is taken for seconds.
        first_ms = timeframe.ceil_ms(100_000_000_000)
        end_ms = max(first_ms, timeframe.shift_ms(limit_ms, -(self.end or 0)))
        if self.count is not None:
            return None, end_ms
        return max(first_ms, timeframe.shift_ms(end_ms, -self.span)), end_ms

    async def ask(self, stage: Rehearsal) -> Candles:
        """Ask it."""
        start_ms, end_ms = self.times(stage.now_ms)
        return await stage.market.candles(
            self.market,
            self.timeframe,
            self.count,
            start=start_ms,
            end=None if self.end is None else end_ms,
            closed=self.closed,
        )

    def answer(self, shown: Candles) -> Candles:
        """Return the right answer, if these are all candles that are shown."""
        start_ms, end_ms = self.times(NOON_MS)
        if self.closed:
            end_ms = min(end_ms, Timeframe.parse(self.timeframe).floor_ms(NOON_MS))
        rows = shown.between(start_ms or 0, end_ms)
        return rows if self.count is None else rows.last(self.count)


QUESTIONS = st.builds(
    Question,
    market=st.sampled_from(["KRW-BTC", "KRW-DOGE", "BTC-ETH"]),
    timeframe=st.sampled_from(["1m", "1m", "1m", "15m", "4h", "1d", "1w", "1M"]),
    end=st.none() | st.integers(2, 900),
    count=st.none() | st.integers(1, 450),
    span=st.integers(1, 600),
    closed=st.booleans(),
)


class Truth:
    """What is shown at noon, and what follows from it.

    Args:
      stage: Where to look.
      shown: What was looked up before.
    """

    def __init__(self, stage: Rehearsal, shown: dict[tuple[str, str], Candles]) -> None:
        self._stage = stage
        self._shown = shown

    def shown(self, name: tuple[str, str]) -> Candles:
        """Return all candles of a series that are shown when the first page is made."""
        if name not in self._shown:
            timeframe = Timeframe.parse(name[1])
            limit_ms = timeframe.shift_ms(timeframe.floor_ms(NOON_MS), 1)
            self._shown[name] = self._stage.truth(*name, limit_ms, now_ms=NOON_MS + 1_200)
        return self._shown[name]

    def check(self, question: Question, answer: Candles) -> None:
        """The answer is complete, its closed rows are the truth and no row is lacking."""
        truth = question.answer(self.shown((question.market, question.timeframe)))
        assert answer.complete, answer.missing
        assert answer.open_time_ms.tolist() == truth.open_time_ms.tolist()
        final = answer.closed_only()
        assert final == truth.slice(0, len(final))
        assert len(answer) - len(final) <= (0 if question.closed or question.end else 1)

    def fewest_pages(self, questions: Sequence[Question]) -> int:
        """Return how many full pages cover all of `questions`, taken from the newest end down."""
        total = 0
        for name in {(question.market, question.timeframe) for question in questions}:
            needs = []
            for question in questions:
                start_ms, end_ms = question.times(NOON_MS)
                if (question.market, question.timeframe) != name or start_ms == end_ms:
                    continue
                rows = question.answer(self.shown(name))
                if start_ms is None:
                    start_ms = int(rows.open_time_ms[0]) if len(rows) == question.count else 0
                needs.append((start_ms, end_ms))
            total += _pages(self.shown(name).open_time_ms.tolist(), needs)
        return total


def _pages(times: Sequence[int], needs: Sequence[tuple[int, int]]) -> int:
    pages, covered = 0, 1 << 62
    while True:
        tops = [min(end, covered) for start, end in needs if start < min(end, covered)]
        if not tops:
            return pages
        pages += 1
        before = [time for time in times if time < max(tops)]
        covered = before[-PAGE_ROWS] if len(before) >= PAGE_ROWS else 0


@given(st.lists(QUESTIONS, min_size=1, max_size=10))
@settings(max_examples=10, deadline=None)
def test_any_batch_is_answered_with_the_truth_in_the_fewest_pages(
    markets: tuple[SandboxMarket, ...],
    shown: dict[tuple[str, str], Candles],
    questions: list[Question],
) -> None:
    """And the same batch again costs nothing but a look at what is newest."""

    async def main() -> None:
        async with opened(markets) as stage:
            truth = Truth(stage, shown)
            asks = [partial(question.ask, stage) for question in questions]
            for question, answer in zip(questions, await all_at_once(asks), strict=True):
                truth.check(question, answer)
            pages = len(stage.pages())
            assert pages == truth.fewest_pages(questions)
            past = [question for question in questions if question.end is not None]
            asks = [partial(question.ask, stage) for question in past]
            for question, answer in zip(past, await all_at_once(asks), strict=True):
                truth.check(question, answer)
            assert len(stage.pages()) == pages

    in_virtual_time(main)


# ---------------------------------------------------------------------- asked once


async def test_fifty_callers_with_overlapping_ranges_cost_the_fewest_pages(
    markets: tuple[SandboxMarket, ...], shown: dict[tuple[str, str], Candles]
) -> None:
    """A herd of bots that start together must not be a herd at the exchange."""
    chance = random.Random(7)
    questions = [
        Question("KRW-BTC", "1m", chance.randint(5, 1_500), chance.randint(1, 700), 0, False)
        for _ in range(50)
    ]
    async with opened(markets) as stage:
        truth = Truth(stage, shown)
        answers = await all_at_once([partial(question.ask, stage) for question in questions])

        for question, answer in zip(questions, answers, strict=True):
            truth.check(question, answer)
        assert len(stage.pages()) == truth.fewest_pages(questions)


async def test_minutes_without_a_trade_are_absent_and_never_asked_for_again(
    markets: tuple[SandboxMarket, ...],
) -> None:
    """Nearly half of the minutes of this market have no candle; none of them is a hole."""
    start_ms, end_ms = NEW_YEAR_MS - 86_400_000, NEW_YEAR_MS
    async with opened(markets) as stage:
        whole = await stage.market.candles("BTC-ETH", "1m", start=start_ms, end=end_ms)
        pages = len(stage.pages())
        assert whole == stage.truth("BTC-ETH", "1m", end_ms, start_ms=start_ms)
        assert whole.complete
        assert len(whole) < 1_000

        for time_ms in range(start_ms, end_ms, 600_000):
            part = await stage.market.candles("BTC-ETH", start=time_ms, end=time_ms + 600_000)
            assert part == whole.between(time_ms, time_ms + 600_000)
            assert part.complete
        assert len(stage.pages()) == pages


async def test_what_is_stored_needs_no_exchange(markets: tuple[SandboxMarket, ...]) -> None:
    """Memory was pushed out, and nobody is there to ask."""
    async with opened(markets, candles_per_series=5) as stage:
        first = await stage.market.candles("KRW-BTC", "1m", 300, end=NEW_YEAR_MS)
        stage.exchange.faults.switch_on(Fault.AWAY)

        again = await stage.market.candles("KRW-BTC", "1m", 300, end=NEW_YEAR_MS)

        assert again == first
        assert (first.source, again.source) == ("exchange", "store")


async def test_a_store_is_asked_without_waiting_for_others(
    markets: tuple[SandboxMarket, ...],
) -> None:
    """Only pages are worth gathering for; a read from the store takes no virtual time at all."""
    async with opened(markets, candles_per_series=5, gather_s=0.5) as stage:
        await stage.market.candles("KRW-BTC", "1m", 300, end=NEW_YEAR_MS)
        before_s = trio.current_time()

        await stage.market.candles("KRW-BTC", "1m", 300, end=NEW_YEAR_MS)

        assert trio.current_time() == before_s


async def test_a_new_market_has_all_its_candles_and_no_more(
    markets: tuple[SandboxMarket, ...],
) -> None:
    """Where a market begins is proven, so that nothing is asked for beyond it."""
    async with opened(markets) as stage:
        every = await stage.market.candles("KRW-BTC", "1h", 5_000, end=NEW_YEAR_MS)
        pages = len(stage.pages())
        again = await stage.market.candles("KRW-BTC", "1h", 99_999, end=NEW_YEAR_MS)

        assert every == again == stage.truth("KRW-BTC", "1h", NEW_YEAR_MS)
        assert every.complete
        assert pages == 2
        assert len(stage.pages()) == pages


async def test_seconds_reach_back_three_months() -> None:
    """What the exchange does not keep is named as missing, and not asked for."""
    old_ms = NEW_YEAR_MS - 95 * 86_400_000
    async with opened(generated(history_days=100)[:1]) as stage:
        answer = await stage.market.candles("KRW-BTC", "1s", start=old_ms, end=old_ms + 60_000)

        assert len(answer) == 0
        assert [gap[:2] for gap in answer.missing] == [(old_ms, old_ms + 60_000)]
        assert "upbit no longer has 1s so far back" in answer.missing[0].reason
        assert stage.pages() == []


# ---------------------------------------------------------------------- the live edge


@given(st.randoms(use_true_random=False))
@settings(max_examples=10, deadline=None)
def test_around_the_border_of_a_candle_nothing_unfinished_is_called_closed(
    markets: tuple[SandboxMarket, ...], chance: random.Random
) -> None:
    """Rows are late, unfinished or not there yet, and bots ask at any moment."""
    start_ms = NEW_YEAR_MS + chance.randint(40_000, 60_000)
    lag_ms = chance.choice([0, 700, 3_000])
    timeframe, market = chance.choice(["1s", "1m", "3m"]), chance.choice(["KRW-BTC", "BTC-ETH"])

    async def main() -> None:
        async with opened(
            markets, start_ms=start_ms, row_lag_ms=lag_ms, jitter_s=0.2, seed=chance.randint(0, 99)
        ) as stage:
            for _ in range(40):
                await trio.sleep(chance.choice([0.0, 0.05, 0.4, 2.0, 7.0, 31.0]))
                await check_newest(stage, chance, market, timeframe)

    in_virtual_time(main)


async def check_newest(
    stage: Rehearsal, chance: random.Random, market: str, timeframe: str
) -> None:
    """Ask for the newest candles in some way, and hold the answer against the truth."""
    period = Timeframe.parse(timeframe)
    asked_ms = stage.now_ms
    max_age_s = chance.choice([None, 0.0, 0.3, 20.0])
    closed = chance.random() < 0.5
    end_ms = chance.choice([None, None, period.floor_ms(asked_ms), period.ceil_ms(asked_ms)])
    answer = await stage.market.candles(
        market, timeframe, chance.randint(1, 30), end=end_ms, closed=closed, max_age_s=max_age_s
    )
    final = answer.closed_only()
    times = answer.open_time_ms
    reach_ms = period.floor_ms(answer.as_of_ms)
    if end_ms is not None:
        reach_ms = min(end_ms, period.floor_ms(asked_ms) if closed else end_ms)
    first_ms = int(times[0]) if len(times) else reach_ms
    truth = stage.truth(market, timeframe, stage.now_ms, start_ms=first_ms)
    assert final == truth.take(np.isin(truth.open_time_ms, final.open_time_ms))
    assert not (closed and len(final) < len(answer))
    if answer.complete:
        # All that had ended is there: closed, or open if that will do.
        known = truth.between(first_ms, reach_ms).open_time_ms
        assert np.isin(known, times).all() or end_ms == period.ceil_ms(asked_ms)
    if end_ms is None:
        # The `Date` header has no fractions of a second.
        age_ms = 1_000 * (1.0 if max_age_s is None else max_age_s)
        is_settled = closed and answer.complete and reach_ms >= period.floor_ms(asked_ms)
        assert answer.as_of_ms > asked_ms - age_ms - 1_000 or is_settled
