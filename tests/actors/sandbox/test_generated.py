"""Generated markets: the same for the same seed from wherever one looks, and plausible."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.sandbox.bars import Bars
from actors.sandbox.generated import CHARACTERS, Character, GeneratedSource, generated_markets
from actors.sandbox.hashing import mix, mix_all
from actors.sandbox.market import DAY_MS
from actors.timeframes import Timeframe

START_MS = 1_767_225_600_000

kinds = st.sampled_from(CHARACTERS)


@settings(deadline=None, max_examples=30)
@given(kinds, st.integers(0, 5), st.integers(0, 100), st.integers(0, 3 * DAY_MS))
def test_a_minute_is_the_same_from_wherever_one_looks(
    kind: Character, seed: int, days: int, start_ms: int
) -> None:
    """Made alone, within a day, or in one piece with a hundred days."""
    source = GeneratedSource(kind, seed=seed, listed_ms=START_MS)
    window = (START_MS + start_ms, START_MS + start_ms + 3_600_000)
    fresh = GeneratedSource(kind, seed=seed, listed_ms=START_MS)
    wide = fresh.bars(START_MS, START_MS + (4 + days) * DAY_MS).between(*window)
    assert source.bars(*window).rows() == wide.rows()


def day_of(kind: Character, seed: int = 1) -> Bars:
    """Return one day of minutes."""
    source = GeneratedSource(kind, seed=seed, listed_ms=START_MS)
    return source.bars(START_MS, START_MS + DAY_MS)


@pytest.mark.parametrize("kind", CHARACTERS, ids=lambda kind: kind.code)
def test_candles_are_possible_and_on_the_tick_grid(kind: Character) -> None:
    """Low at the bottom, high at the top, whole ticks, something traded."""
    for bar in day_of(kind).rows():
        assert 0 < bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
        assert all(price % kind.scale.tick == 0 for price in bar[1:5])
        assert bar.volume >= 4


@pytest.mark.parametrize("kind", CHARACTERS, ids=lambda kind: kind.code)
def test_thin_markets_have_more_silent_minutes(kind: Character) -> None:
    """Clients must meet missing candles."""
    silent = 1_440 - len(day_of(kind))
    assert abs(silent - 1_440 * kind.quiet) <= 8 + 1_440 * kind.quiet * 0.2


def test_prices_stay_near_their_scale_for_two_years() -> None:
    """A made-up market must not run away to nothing or to the moon."""
    for kind in CHARACTERS:
        source = GeneratedSource(kind, seed=3, listed_ms=START_MS)
        starts = range(START_MS, START_MS + 730 * DAY_MS, 20 * DAY_MS)
        days = Bars.concat(source.bars(start_ms, start_ms + DAY_MS) for start_ms in starts)
        ticks = days.close / kind.scale.tick
        assert kind.price * 0.6 < ticks.min() < ticks.max() < kind.price * 1.6


def test_volumes_have_eight_decimals() -> None:
    """Round numbers would hide a client that loses digits."""
    rows = day_of(CHARACTERS[0]).rows()
    assert sum(bar.volume % 10 != 0 for bar in rows) > len(rows) / 2


def test_seeds_and_markets_differ() -> None:
    """Otherwise there would be one market under six names."""
    ratios = {
        tuple(b.close / b.open for b in day_of(k, s).rows()[:50])
        for k in CHARACTERS
        for s in (1, 2)
    }
    assert len(ratios) == 2 * len(CHARACTERS)


def test_markets_are_listed_on_the_first_of_a_month() -> None:
    """A sandbox started again next week keeps its first candles."""
    markets = generated_markets(seed=1, now_ms=START_MS + 12 * DAY_MS)
    later = generated_markets(seed=1, now_ms=START_MS + 15 * DAY_MS)
    firsts = {market.source.first_ms for market in (*markets, *later)}
    assert len(firsts) == 1
    assert Timeframe.MN1.is_open_time(firsts.pop())


@given(st.lists(st.integers(-(2**40), 2**40)), st.integers(0, 2**64 - 1))
def test_the_fast_hash_is_the_plain_one(numbers: list[int], key: int) -> None:
    """Both are used for the same market."""
    found = mix_all(np.array(numbers, np.int64), key).tolist()
    assert found == [mix(number, key) for number in numbers]
