"""`Known`, `read_page` and `learn`: whatever pages come, nothing is believed that is not so.

The model is a market of which everything is known beforehand. An exchange shows it as time goes
on: rows late, the newest ones unfinished, pages short where the market begins.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.candles import Candle, Candles
from actors.coverage import BEGINNING_MS, Coverage, Span
from actors.exchanges.base import CandlePage
from actors.known import Known, learn
from actors.lessons import Lesson, read_page
from actors.queries import CandleQuery
from actors.series import Market, Series
from actors.timeframes import Timeframe
from runtime.testing import NEW_YEAR_MS

SETTLE_MS = 5_000
MINUTE_MS = 60_000
MINUTES = Series.parse("KRW-BTC", "1m")


@dataclass
class Row:
    """A candle: when the exchange begins to show it, and when it shows it as it will stay."""

    candle: Candle
    shown_ms: int
    final_ms: int


class World:
    """One market, and an exchange that shows it at `now_ms`."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.timeframe = chance.choice(list(Timeframe))
        self.series = Series(Market("upbit", "KRW-BTC"), self.timeframe)
        self.origin_ms = self.timeframe.floor_ms(NEW_YEAR_MS)
        self.page_rows = chance.choice([2, 3, 5, 20])
        # Where the exchange forgets; the market may have begun before or after that.
        self.oldest_ms = chance.choice([BEGINNING_MS, self.at(chance.randint(-3, 15)) - 1])
        self.rows = self._rows(chance.random(), chance.randint(0, 25))
        self.now_ms = self.at(30)

    def at(self, index: int) -> int:
        """Return an opening time by number."""
        return self.timeframe.shift_ms(self.origin_ms, index)

    def _rows(self, quiet: float, listed: int) -> list[Row]:
        rows: list[Row] = []
        next_shown_ms = 1 << 62
        for index in reversed(range(listed, 90)):
            if self.chance.random() < quiet:
                continue
            open_ms, end_ms = self.at(index), self.at(index + 1)
            shown_ms = self.chance.randint(open_ms, end_ms + SETTLE_MS)
            late_ms = end_ms + self.chance.randint(0, SETTLE_MS)
            # Once a later row is shown this one is final, if it is shown at all.
            final_ms = max(shown_ms, min(late_ms, next_shown_ms))
            next_shown_ms = min(next_shown_ms, shown_ms)
            price = float(index + 1)
            candle = Candle(open_ms, price, price, price, price, price, price, closed=True)
            rows.append(Row(candle, shown_ms, final_ms))
        return rows[::-1]

    def truth(self, span: Span) -> Candles:
        """Return the final candles in `span`."""
        inside = [row.candle for row in self.rows if span.start_ms <= row.candle[0] < span.end_ms]
        return Candles.from_rows(self.series, inside)

    def page(self, to_ms: int | None) -> CandlePage:
        """Return what the exchange answers now."""
        end_ms = 1 << 62 if to_ms is None else to_ms
        shown = [
            row
            for row in self.rows
            if row.shown_ms <= self.now_ms and self.oldest_ms <= row.candle[0] < end_ms
        ][-self.page_rows :]
        candles = [
            row.candle._replace(close=row.candle.close + 0.5 * (row.final_ms > self.now_ms))
            for row in shown
        ]
        return CandlePage(
            Candles.from_rows(self.series, [c._replace(closed=False) for c in candles]),
            to_ms,
            full=len(shown) == self.page_rows,
            # Only a lower bound of the exchange's clock is known.
            observed_ms=self.now_ms - self.chance.randint(0, 999),
        )


class Learner:
    """Memory and store, filled from pages as the loader does it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rows_max = world.chance.choice([1, 4, 1000])
        self.known: Known | None = None
        self.stored = Coverage()
        self.kept: dict[int, Candle] = {}
        self.asked_s = 0.0

    def coverage(self) -> Coverage:
        """Return all that is proven."""
        return self.stored if self.known is None else self.stored.add(self.known.span)

    def fetch(self, to_ms: int | None) -> Lesson:
        """Fetch a page and learn from it."""
        self.asked_s += 1.0
        page = self.world.page(to_ms)
        lesson = read_page(
            page,
            settle_ms=SETTLE_MS,
            oldest_ms=self.world.oldest_ms,
            older=self.coverage(),
            known=self.known,
        )
        self.known = learn(self.known, page, lesson, asked_s=self.asked_s, rows_max=self.rows_max)
        if lesson.write is not None:
            self.stored = self.stored.add(lesson.proven)
            span = lesson.proven
            outside = [c for c in self.kept.values() if not span.start_ms <= c[0] < span.end_ms]
            self.kept = {candle[0]: candle for candle in (*outside, *lesson.closed)}
        return lesson

    def wander(self) -> None:
        """Let time pass, and ask for some page that may come next."""
        world, chance = self.world, self.world.chance
        span_ms = world.timeframe.span_ms
        world.now_ms += chance.choice([0, 900, SETTLE_MS, span_ms // 2, span_ms, 6 * span_ms])
        world.now_ms = min(world.now_ms, world.at(88))
        gaps = self.coverage().gaps(Span(0, world.timeframe.floor_ms(world.now_ms)))
        ends = [gap.end_ms for gap in gaps] or [world.now_ms]
        self.fetch(
            chance.choice(
                [
                    None,
                    world.timeframe.floor_ms(chance.choice(ends)),
                    world.at(chance.randint(-2, 60)),
                ]
            )
        )


WORLDS = st.randoms(use_true_random=False).map(World)


def walk(world: World, check: Callable[[Learner], None]) -> None:
    """Wander about, checking after every step."""
    learner = Learner(world)
    for _ in range(world.chance.randint(1, 8)):
        learner.wander()
        check(learner)


def check_kept(learner: Learner) -> None:
    """What is stored is exactly the truth of what is proven."""
    kept = sorted(learner.kept.values())
    truth = [candle for span in learner.stored for candle in learner.world.truth(span)]
    assert kept == truth


def check_known(learner: Learner) -> None:
    """What memory calls closed is exactly the truth of its span; the rest comes after."""
    known, world = learner.known, learner.world
    assert known is not None
    closed = known.candles.slice(0, known.closed_rows)
    assert closed == world.truth(known.span)
    assert len(closed) <= learner.rows_max
    later = known.candles.slice(known.closed_rows, len(known.candles))
    assert not later.closed.any()
    assert len(later) <= world.page_rows
    assert bool((later.open_time_ms >= known.proven_ms).all())
    assert bool((np.diff(known.candles.open_time_ms) > 0).all())


@given(WORLDS)
@settings(max_examples=60, deadline=None)
def test_nothing_is_stored_that_is_not_so(world: World) -> None:
    """What is proven is believed for ever, so a single mistake would never be found."""
    walk(world, check_kept)


@given(WORLDS)
@settings(max_examples=60, deadline=None)
def test_memory_holds_the_newest_rows_without_a_hole(world: World) -> None:
    """Readers are answered from it without a second look."""
    walk(world, check_known)


def queries(world: World, known: Known) -> list[CandleQuery]:
    """Return some questions about the time around what is known."""
    chance = world.chance
    found = []
    for _ in range(6):
        end_ms = chance.choice([None, known.proven_ms, world.at(chance.randint(0, 90))])
        count = chance.choice([None, 1, 2, 5, 50])
        start_ms = None
        if count is None:
            start_ms = chance.choice([known.from_ms, known.proven_ms, world.at(20)])
            end_ms = None if end_ms is None else max(start_ms, end_ms)
        closed = chance.random() < 0.5
        max_age_s = chance.choice([0.0, 0.5, 100.0])
        query = CandleQuery(world.series, count, start_ms, end_ms, closed, max_age_s, False)
        found.append(query)
    return found


def expected(learner: Learner, query: CandleQuery) -> tuple[list[Candle], set[int], bool]:
    """Return rows, missing opening times and whether the rows are enough, by plain counting."""
    known, world = learner.known, learner.world
    assert known is not None
    end_ms = 1 << 62 if query.end_ms is None else query.end_ms
    start_ms = query.start_ms or 0
    later = [c for c in known.candles if c[0] >= known.proven_ms and not query.closed]
    rows = [c for c in (*world.truth(known.span), *later) if start_ms <= c[0] < end_ms]
    reach_ms = min(end_ms, world.timeframe.floor_ms(known.observed_ms))
    seen = {candle[0] for candle in later}
    missing = set()
    time_ms = known.proven_ms
    while time_ms < reach_ms:
        missing.add(time_ms)
        time_ms = world.timeframe.shift_ms(time_ms, 1)
    missing = {time_ms for time_ms in missing - seen if time_ms >= start_ms}
    enough = known.from_ms == BEGINNING_MS or (query.count is None and start_ms >= known.from_ms)
    if query.count is not None:
        rows = rows[-query.count :]
        if len(rows) == query.count:
            missing = {time_ms for time_ms in missing if time_ms > rows[0][0]}
            enough = True
    return rows, missing, enough


@given(WORLDS)
@settings(max_examples=60, deadline=None)
def test_answers_from_memory_are_the_truth_or_none(world: World) -> None:
    """And `missing` names exactly the periods that have ended and are not known."""

    def check(learner: Learner) -> None:
        known = learner.known
        assert known is not None
        for query in queries(world, known):
            now_s = learner.asked_s + world.chance.choice([0.0, 0.4, 7.0])
            answer = known.answer(query, now_s=now_s, now_ms=known.observed_ms)
            rows, missing, enough = expected(learner, query)
            if answer is None:
                continue
            assert enough
            assert answer.rows() == rows
            assert [
                gap for gap in answer.missing if not missing.issuperset(_times(world, gap))
            ] == []
            assert sum(len(_times(world, gap)) for gap in answer.missing) == len(missing)

    walk(world, check)


def _times(world: World, gap: tuple[int, int, str]) -> list[int]:
    times = []
    time_ms = gap[0]
    while time_ms < gap[1]:
        times.append(time_ms)
        time_ms = world.timeframe.shift_ms(time_ms, 1)
    return times


@given(WORLDS)
@settings(max_examples=60, deadline=None)
def test_memory_answers_what_it_has(world: World) -> None:
    """Never answering would be safe as well, and useless."""

    def check(learner: Learner) -> None:
        known = learner.known
        assert known is not None
        for query in queries(world, known):
            settled = query.end_ms is not None and query.end_ms <= known.proven_ms
            fresh = known.asked_s == learner.asked_s and (query.end_ms or 0) <= known.limit_ms
            now_ms = max(known.observed_ms, known.proven_ms)
            answer = known.answer(query, now_s=learner.asked_s, now_ms=now_ms)
            if (settled or fresh) and expected(learner, query)[2]:
                assert answer is not None or (query.start_ms or 0) > known.limit_ms

    walk(world, check)
