"""`MemoryStore`: bounded, so that a run of months does not eat the machine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.coverage import Coverage, Span
from actors.series import Series
from actors.stores.memory import MemoryStore
from actors.stores.testing import made_write

BTC, ETH, XRP = (Series.parse(f"KRW-{code}", "1m") for code in ("BTC", "ETH", "XRP"))
MINUTE_MS = 60_000


async def test_the_series_used_longest_ago_goes_first_with_its_coverage() -> None:
    """A read counts as use. What went is unknown again, so that it is fetched anew."""
    store = MemoryStore(candles_max=25)
    await store.write([made_write(BTC, 0, 10)])
    await store.write([made_write(ETH, 0, 10)])
    await store.read(BTC, start_ms=0, end_ms=MINUTE_MS)

    await store.write([made_write(XRP, 0, 10)])

    assert await store.series() == (BTC, XRP)
    assert not await store.coverage(ETH)


async def test_a_series_too_long_by_itself_keeps_its_newest_part() -> None:
    """The coverage of what went goes too."""
    store = MemoryStore(candles_max=25)

    await store.write([made_write(BTC, 0, 40)])

    stored = await store.read(BTC, start_ms=0, end_ms=40 * MINUTE_MS)
    assert stored.candles == made_write(BTC, 0, 40).candles.last(25)
    assert stored.coverage == Coverage((Span(15 * MINUTE_MS, 40 * MINUTE_MS),))


@given(
    writes=st.lists(
        st.tuples(st.sampled_from([BTC, ETH, XRP]), st.integers(0, 99), st.integers(0, 60)),
        max_size=12,
    ),
    candles_max=st.integers(1, 50),
)
async def test_the_bound_holds_and_what_is_covered_is_there(
    writes: list[tuple[Series, int, int]], candles_max: int
) -> None:
    """Every minute of these series has a candle, so covered times and rows must be the same."""
    store = MemoryStore(candles_max=candles_max)
    for series, first, count in writes:
        await store.write([made_write(series, first * MINUTE_MS, count)])

    assert (await store.statistics()).candles <= candles_max
    for series in await store.series():
        stored = await store.read(series, start_ms=0, end_ms=2**60)
        covered = [
            time_ms
            for span in stored.coverage
            for time_ms in range(span.start_ms, span.end_ms, MINUTE_MS)
        ]
        assert stored.candles.open_time_ms.tolist() == covered


def test_a_bound_that_keeps_nothing_is_refused() -> None:
    """A store that forgets at once would send every question to the exchange."""
    with pytest.raises(ValueError, match="candles_max must be at least 1, was 0"):
        MemoryStore(candles_max=0)
