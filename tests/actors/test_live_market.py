"""`LiveMarket`: whatever a stream does to its frames, what is declared final is the truth."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.coverage import Span
from actors.exchanges.streams import LiveRow
from actors.live_market import LiveMarket
from actors.quotes import Trade
from actors.timeframes import Timeframe
from runtime.testing import NEW_YEAR_MS

MINUTE_MS = 60_000
STREAMED = (
    Timeframe.M1,
    Timeframe.M3,
    Timeframe.M5,
    Timeframe.M15,
    Timeframe.H1,
    Timeframe.H4,
    Timeframe.D1,
)
CLOSABLE = STREAMED[:-1]


@dataclass
class Candle:
    """A candle that grows, in exact numbers."""

    open_ms: int
    prices: list[Decimal] = field(default_factory=list)
    volume: Decimal = Decimal(0)
    value: Decimal = Decimal(0)
    made_ms: int = 0

    def trade(self, time_ms: int, price: Decimal, volume: Decimal) -> None:
        """Take a trade."""
        prices = self.prices
        self.prices = [prices[0], max(prices), min(prices), price] if prices else [price] * 4
        self.prices[1] = max(self.prices[1], price)
        self.prices[2] = min(self.prices[2], price)
        self.volume += volume
        self.value += price * volume
        self.made_ms = time_ms

    def row(self) -> LiveRow:
        """Return it as an exchange writes it."""
        first, high, low, last = map(float, self.prices)
        sums = float(self.volume), float(self.value)
        return LiveRow(self.open_ms, first, high, low, last, *sums, self.made_ms)


class World:
    """A random market, and the frames of its streams, at random moments."""

    def __init__(self, chance: random.Random, *, minutes: int, start_ms: int) -> None:
        self.truth: dict[Timeframe, dict[int, Candle]] = {each: {} for each in STREAMED}
        self.frames: list[tuple[Timeframe, LiveRow]] = []
        busy, frames = chance.choice([0.3, 1.0, 4.0]), chance.choice([0.2, 0.6, 1.0])
        time_ms, price = start_ms, Decimal(91_157_000)
        while time_ms < start_ms + minutes * MINUTE_MS:
            self._trade(time_ms, price, Decimal(chance.randint(1, 10**7)) / 10**8)
            price += chance.choice([-1000, 0, 0, 1000])
            if chance.random() < frames:
                # All timeframes are pushed at the same moment.
                self.frames += [(each, self.newest(each, time_ms).row()) for each in STREAMED]
            time_ms += 1 + int(chance.expovariate(busy / MINUTE_MS))
        self.end_ms = time_ms

    def _trade(self, time_ms: int, price: Decimal, volume: Decimal) -> None:
        for timeframe in STREAMED:
            self.newest(timeframe, time_ms).trade(time_ms, price, volume)

    def newest(self, timeframe: Timeframe, time_ms: int) -> Candle:
        """Return the candle of a moment."""
        open_ms = timeframe.floor_ms(time_ms)
        return self.truth[timeframe].setdefault(open_ms, Candle(open_ms))

    def rows(self, timeframe: Timeframe, span: Span) -> list[LiveRow]:
        """Return the final rows of a span."""
        candles = self.truth[timeframe].values()
        return [each.row() for each in candles if span.start_ms <= each.open_ms < span.end_ms]


def disturbed(
    frames: Sequence[tuple[Timeframe, LiveRow]], chance: random.Random
) -> list[tuple[Timeframe, LiveRow]]:
    """Return frames as a bad line brings them: some lost, twice, late, or a kind stalled."""
    lost, late = chance.choice([0.0, 0.02, 0.3]), chance.choice([0.0, 0.1])
    stalled = chance.choice([None, *STREAMED])
    from_, length = chance.random() * len(frames), chance.random() * len(frames) / 3
    cut = chance.random() * len(frames)
    arrivals: list[tuple[float, tuple[Timeframe, LiveRow]]] = []
    for index, frame in enumerate(frames):
        if chance.random() < lost or cut <= index < cut + 40:
            continue
        at = index + (chance.random() * 200 if chance.random() < late else 0.0)
        if frame[0] is stalled and from_ <= index < from_ + length:
            at = from_ + length
        arrivals.append((at, frame))
        if chance.random() < 0.05:
            # Doubled; or the snapshot of a window long past.
            arrivals.append((at + chance.random() * 300, frame))
    return [frame for _, frame in sorted(arrivals, key=lambda each: each[0])]


def check_final(world: World, market: LiveMarket) -> None:
    """Assert that everything declared final is the truth, digit by digit, and nothing lacks."""
    for span in market.minutes.proven:
        rows = market.minutes.between(span.start_ms, span.end_ms)
        assert [r[:7] for r in rows] == [r[:7] for r in world.rows(Timeframe.M1, span)]
        for timeframe in CLOSABLE:
            from_ms = timeframe.ceil_ms(span.start_ms)
            rows, reach_ms = market.final(timeframe, from_ms)
            expected = world.rows(timeframe, Span(from_ms, reach_ms))
            assert [r[:7] for r in rows] == [r[:7] for r in expected]


@given(st.integers(0, 1 << 32))
@settings(max_examples=300, deadline=None)
def test_what_is_declared_final_is_the_truth_whatever_happens_to_frames(seed: int) -> None:
    """Bots trade on it."""
    chance = random.Random(seed)
    start_ms = NEW_YEAR_MS + chance.choice([0, 3 * 3_600_000 + 50 * MINUTE_MS, 86_400_000 - 10**6])
    world = World(chance, minutes=chance.choice([5, 40]), start_ms=start_ms)
    market = LiveMarket()
    frames = disturbed(world.frames, chance)
    for index, (timeframe, row) in enumerate(frames):
        assert market.tell(timeframe, row) != "disagrees"
        if index % 97 == 0:
            check_final(world, market)

    check_final(world, market)


@given(st.integers(0, 1 << 32))
@settings(max_examples=20, deadline=None)
def test_with_every_frame_all_but_the_last_minute_is_proven(seed: int) -> None:
    """From the first minute of the stream, over the border of four hours."""
    market = LiveMarket()
    frames = frames_of_all_trades(random.Random(seed), NEW_YEAR_MS + 3 * 3_600_000 + 50 * MINUTE_MS)
    for timeframe, told in frames:
        market.tell(timeframe, told)
    minutes = [told.open_time_ms for timeframe, told in frames if timeframe is Timeframe.M1]

    assert market.minutes.proven.covers(Span(min(minutes), max(minutes)))


def frames_of_all_trades(chance: random.Random, start_ms: int) -> list[tuple[Timeframe, LiveRow]]:
    """Return frames of a market in which each trade makes one in each timeframe."""
    candles: dict[tuple[Timeframe, int], Candle] = {}
    frames: list[tuple[Timeframe, LiveRow]] = []
    time_ms = start_ms
    for _ in range(60):
        time_ms += 1 + chance.randint(0, 40_000)
        volume = Decimal(chance.randint(1, 99)) / 10**8
        for timeframe in STREAMED:
            open_ms = timeframe.floor_ms(time_ms)
            candle = candles.setdefault((timeframe, open_ms), Candle(open_ms))
            candle.trade(time_ms, Decimal(100), volume)
        frames += [
            (timeframe, candles[timeframe, timeframe.floor_ms(time_ms)].row())
            for timeframe in STREAMED
        ]
    return frames


def row(minute: int, volume: float, made_s: float, *, open_minute: int | None = None) -> LiveRow:
    """Return a row of price 100 by its minute of the year."""
    opened = minute if open_minute is None else open_minute
    made_ms = NEW_YEAR_MS + minute * MINUTE_MS + round(made_s * 1000)
    return LiveRow(
        NEW_YEAR_MS + opened * MINUTE_MS, 100, 100, 100, 100, volume, 100 * volume, made_ms
    )


def test_a_frame_that_says_more_than_what_is_proven_disagrees() -> None:
    """Then the exchange is asked, and its own row stays."""
    market = LiveMarket()
    market.confirm(Timeframe.M1, Span(NEW_YEAR_MS, NEW_YEAR_MS + MINUTE_MS), [row(0, 2.0, 5)])

    assert market.tell(Timeframe.M1, row(0, 2.0, 5)) == "stale"
    assert market.tell(Timeframe.M1, row(0, 3.0, 6)) == "disagrees"
    assert market.minutes.rows[NEW_YEAR_MS].volume == 2.0


def test_a_lost_last_frame_keeps_a_minute_open_until_a_page_brings_it() -> None:
    """The rest is proven without any further request."""
    market = LiveMarket()
    for timeframe, told in (
        (Timeframe.M1, row(0, 1.0, 5)),
        (Timeframe.H4, row(0, 1.0, 5)),
        # Two more were traded in the first minute.
        (Timeframe.M1, row(1, 1.0, 5)),
        (Timeframe.H4, row(1, 4.0, 5, open_minute=0)),
        (Timeframe.M1, row(3, 1.0, 5)),
        (Timeframe.H4, row(3, 5.0, 5, open_minute=0)),
    ):
        market.tell(timeframe, told)

    assert market.minutes.proven.spans == (
        Span(NEW_YEAR_MS + MINUTE_MS, NEW_YEAR_MS + 3 * MINUTE_MS),
    )
    market.confirm(Timeframe.M1, Span(NEW_YEAR_MS, NEW_YEAR_MS + MINUTE_MS), [row(0, 3.0, 9)])
    assert market.minutes.proven.spans == (Span(NEW_YEAR_MS, NEW_YEAR_MS + 3 * MINUTE_MS),)


def test_pairs_of_one_millisecond_that_contradict_each_other_prove_nothing() -> None:
    """Two trades may happen in one; a row that has both and one that has one are no pair."""
    market = LiveMarket()
    for timeframe, told in (
        (Timeframe.M1, row(1, 1.0, 5)),
        (Timeframe.H4, row(1, 9.0, 5, open_minute=0)),
        (Timeframe.M1, row(1, 3.0, 6)),
        (Timeframe.H4, row(1, 10.0, 6, open_minute=0)),
        (Timeframe.M1, row(2, 1.0, 5)),
        (Timeframe.H4, row(2, 12.0, 5, open_minute=0)),
    ):
        market.tell(timeframe, told)

    assert not market.minutes.proven


def trade(number: int, time_ms: int, price: float) -> Trade:
    """Return a trade of one coin."""
    return Trade(
        market="KRW-BTC", time_ms=time_ms, price=price, volume=1.0, side="buy", trade_id=number
    )
