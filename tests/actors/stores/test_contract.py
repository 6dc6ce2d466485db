"""What every store promises, and every store keeps: one suite for all of them.

On the real clock, because the SQLite store has a thread.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest

from actors.candles import Candles
from actors.coverage import Coverage, Span
from actors.errors import InvalidRequest, StoreUnavailable
from actors.messages import StoreWrite
from actors.series import Series
from actors.stores.base import CandleStore
from actors.stores.memory import open_memory_store
from actors.stores.sqlite import open_sqlite_store
from actors.stores.testing import candles_at, made_candles, made_write

pytestmark = pytest.mark.real_time

BTC = Series.parse("KRW-BTC", "1m")
ETH = Series.parse("KRW-ETH", "1m")
MONTHS = Series.parse("okx:BTC-USDT", "1M")
MINUTE_MS = 60_000
# A slot of 1,440 minutes begins here.
START_MS = 1_735_689_600_000  # 2025-01-01T00:00:00Z
END_MS = START_MS + 10_000 * MINUTE_MS

Opener: TypeAlias = Callable[[], AbstractAsyncContextManager[CandleStore]]


@pytest.fixture(params=["memory", "sqlite"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    """What opens the store under test."""
    if request.param == "memory":
        return open_memory_store
    return lambda: open_sqlite_store(tmp_path / "candles.db")


@pytest.fixture
async def store(opener: Opener) -> AsyncIterator[CandleStore]:
    """An open, empty store."""
    async with opener() as opened:
        yield opened


def at(minute: int) -> int:
    """Return the opening time of a minute."""
    return START_MS + minute * MINUTE_MS


def span(start: int, end: int) -> Span:
    """Return the span from one minute to another."""
    return Span(at(start), at(end))


async def everything(store: CandleStore, series: Series) -> Candles:
    """Return all that is stored of `series`."""
    stored = await store.read(series, start_ms=0, end_ms=2**60)
    assert isinstance(stored.candles, Candles)
    return stored.candles


async def test_what_was_written_is_read_back_bit_for_bit(store: CandleStore) -> None:
    """Prices go through the store without being touched."""
    written = made_candles(BTC, START_MS, 500)
    await store.write([StoreWrite(written, span(0, 500))])

    stored = await store.read(BTC, start_ms=START_MS, end_ms=END_MS)

    assert stored.candles == written
    assert stored.candles.source == "store"
    assert bool(stored.candles.closed.all())
    assert stored.coverage == Coverage((span(0, 500),))


async def test_awkward_floats_survive(store: CandleStore) -> None:
    """Negative zero, the smallest and the largest double are prices like any other."""
    row = (START_MS, -0.0, 5e-324, 1.7976931348623157e308, 0.1, 1e-17, 3.0, True)
    await store.write([StoreWrite(Candles.from_rows(BTC, [row]), span(0, 1))])

    (candle,) = await everything(store, BTC)

    assert candle == row
    assert np.signbit(candle.open)


async def test_a_series_never_written_is_empty_and_unknown(store: CandleStore) -> None:
    """Asking is not an error."""
    stored = await store.read(BTC, start_ms=START_MS, end_ms=END_MS, count=200)

    assert len(stored.candles) == 0
    assert stored.candles.series == BTC
    assert not stored.coverage
    assert not await store.coverage(BTC)
    assert await store.use(BTC) is None
    assert await store.series() == ()


async def test_windows_are_half_open(store: CandleStore) -> None:
    """A candle that opens at the end is not part of the window."""
    await store.write([made_write(BTC, START_MS, 10)])

    stored = await store.read(BTC, start_ms=at(3), end_ms=at(7))

    assert stored.candles.open_time_ms.tolist() == [at(3), at(4), at(5), at(6)]
    assert stored.coverage == Coverage((span(3, 7),))


@pytest.mark.parametrize("count", [0, 1, 239, 240, 241, 1_440, 3_000, 9_999])
async def test_count_takes_the_newest(store: CandleStore, count: int) -> None:
    """However many chunks they lie in."""
    written = made_candles(BTC, START_MS, 3_000)
    await store.write([StoreWrite(written, span(0, 3_000))])

    stored = await store.read(BTC, start_ms=0, end_ms=END_MS, count=count)

    assert stored.candles == written.last(count)


async def test_rows_of_the_proven_span_replace_what_was_there(store: CandleStore) -> None:
    """A time that is proven empty has no row afterwards."""
    await store.write([made_write(BTC, START_MS, 10)])
    kept = [at(4), at(6)]

    await store.write([StoreWrite(candles_at(BTC, kept, seed=1), span(3, 8))])

    times = (await everything(store, BTC)).open_time_ms.tolist()
    assert times == [at(0), at(1), at(2), *kept, at(8), at(9)]


async def test_a_span_without_a_trade_is_proven_by_no_rows(store: CandleStore) -> None:
    """Minutes in which nobody traded are known, so that they are never asked for again."""
    await store.write([StoreWrite(Candles.empty(BTC), Span(0, START_MS))])

    stored = await store.read(BTC, start_ms=at(-60), end_ms=at(0))

    assert len(stored.candles) == 0
    assert stored.coverage == Coverage((span(-60, 0),))
    assert await store.series() == (BTC,)


async def test_coverage_grows_together_across_writes(store: CandleStore) -> None:
    """Spans that touch become one; a hole between them stays a hole."""
    for start, end in ((0, 10), (20, 30), (10, 15)):
        await store.write([StoreWrite(Candles.empty(BTC), span(start, end))])

    assert await store.coverage(BTC) == Coverage((span(0, 15), span(20, 30)))


async def test_later_writes_of_one_transaction_win(store: CandleStore) -> None:
    """They are applied in their order."""
    first, second = made_write(BTC, START_MS, 5), made_write(BTC, START_MS, 5, seed=1)

    await store.write([first, second, made_write(ETH, START_MS, 3)])

    assert await everything(store, BTC) == second.candles
    assert len(await everything(store, ETH)) == 3
    assert (await store.statistics()).commits == 1


async def test_months_are_as_long_as_they_are(store: CandleStore) -> None:
    """The grid of the store is not the calendar, and nobody notices."""
    written = made_write(MONTHS, 0, 600)
    await store.write([written])

    stored = await store.read(MONTHS, start_ms=START_MS, end_ms=2**60, count=3)

    assert await everything(store, MONTHS) == written.candles
    assert stored.candles == Candles.empty(MONTHS)  # 600 months after 1970 is 2020
    assert await store.coverage(MONTHS) == Coverage((written.proven,))


@pytest.mark.parametrize("text", ["1s", "1m", "4h", "1d", "1w"])
async def test_every_timeframe_is_kept_page_by_page_from_the_newest_back(
    store: CandleStore, text: str
) -> None:
    """That is how history is fetched: each page joins the one after it."""
    series = Series.parse("KRW-BTC", text)
    start_ms = series.timeframe.floor_ms(1_000_000_000_000)
    written = made_candles(series, start_ms, 1_600)
    for first in range(1_400, -1, -200):
        page = written.slice(first, first + 200)
        ends_ms = int(page.open_time_ms[-1]) + series.timeframe.span_ms
        await store.write([StoreWrite(page, Span(int(page.open_time_ms[0]), ends_ms))])

    assert await everything(store, series) == written
    assert len((await store.coverage(series)).spans) == 1


async def test_deleting_forgets_one_series_only(store: CandleStore) -> None:
    """Rows and coverage go; the neighbours stay."""
    await store.write([made_write(BTC, START_MS, 300), made_write(ETH, START_MS, 300)])

    await store.delete(BTC)
    await store.delete(MONTHS)

    assert await store.series() == (ETH,)
    assert not await store.coverage(BTC)
    assert len(await everything(store, BTC)) == 0
    assert len(await everything(store, ETH)) == 300


async def test_repair_of_what_is_sound_changes_nothing(store: CandleStore) -> None:
    """Whoever repairs once too often loses nothing; damage itself is made in the state machine."""
    await store.write([made_write(BTC, START_MS, 1_000)])

    assert await store.repair(BTC) == ()
    assert await store.repair(ETH) == ()

    assert await everything(store, BTC) == made_candles(BTC, START_MS, 1_000)
    assert await store.coverage(BTC) == Coverage((span(0, 1_000),))
    assert await store.series() == (BTC,)


async def test_series_are_sorted_by_their_text(store: CandleStore) -> None:
    """So that lists look the same every time."""
    await store.write([made_write(s, 0, 1) for s in (MONTHS, ETH, BTC)])

    assert await store.series() == (BTC, ETH, MONTHS)


async def test_statistics_count_what_is_held_and_done(store: CandleStore) -> None:
    """Replaced rows are not counted twice."""
    await store.write([made_write(BTC, START_MS, 300), made_write(ETH, START_MS, 200)])
    await store.write([made_write(BTC, at(100), 300)])
    await everything(store, BTC)

    figures = await store.statistics()

    assert (figures.series, figures.candles) == (2, 600)
    assert (figures.reads, figures.writes, figures.commits) == (1, 3, 2)
    assert figures.bytes is None or figures.bytes > 600 * 56


async def test_use_tells_how_much_and_how_lately(store: CandleStore) -> None:
    """What is never read can be given up first."""
    await store.write([made_write(BTC, START_MS, 300)])
    for _ in range(3):
        await everything(store, BTC)

    use = await store.use(BTC)

    assert use is not None
    assert (use.candles, use.reads) == (300, 3)
    assert use.created_ms <= use.written_ms <= use.read_ms


REFUSED: dict[str, tuple[Callable[[], StoreWrite], str]] = {
    "outside the proven span": (
        lambda: StoreWrite(made_candles(BTC, START_MS, 5), span(0, 4)),
        "must lie inside",
    ),
    "before the proven span": (
        lambda: StoreWrite(made_candles(BTC, START_MS, 5), span(1, 5)),
        "must lie inside",
    ),
    "not closed": (
        lambda: StoreWrite(
            Candles.from_rows(BTC, [(START_MS, *[1.0] * 6, False)]),
            span(0, 1),
        ),
        "only closed candles",
    ),
    "not finite": (
        lambda: StoreWrite(
            Candles.from_rows(BTC, [(START_MS, *[float("nan")] * 6, True)]), span(0, 1)
        ),
        "must be finite",
    ),
    "out of order": (
        lambda: StoreWrite(candles_at(BTC, [at(1), at(0)]), span(0, 2)),
        "must rise strictly",
    ),
    "before 1970": (lambda: StoreWrite(Candles.empty(BTC), Span(-5, 0)), "1970 to 2999"),
    "after 2999": (lambda: StoreWrite(Candles.empty(BTC), Span(0, 2**60)), "1970 to 2999"),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_a_write_that_breaks_the_promises_is_refused_and_nothing_is_kept(
    store: CandleStore, what: str
) -> None:
    """Nothing wrong is ever stored, and a good write in the same transaction goes with it."""
    make, message = REFUSED[what]

    with pytest.raises(InvalidRequest, match=message):
        await store.write([made_write(ETH, START_MS, 1), make()])

    assert await store.series() == ()


@pytest.mark.parametrize(("start", "end", "count"), [(5, 4, None), (0, 5, -1)])
async def test_a_window_that_makes_no_sense_is_refused(
    store: CandleStore, start: int, end: int, count: int | None
) -> None:
    """It is the caller's mistake, not an empty answer."""
    with pytest.raises(InvalidRequest, match="must not"):
        await store.read(BTC, start_ms=at(start), end_ms=at(end), count=count)


async def test_after_closing_everything_says_so(opener: Opener) -> None:
    """And closing again does nothing."""
    async with opener() as store:
        await store.write([made_write(BTC, START_MS, 3)])
        await store.aclose()
        await store.aclose()
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: store.read(BTC, start_ms=0, end_ms=1),
            lambda: store.coverage(BTC),
            lambda: store.write([made_write(BTC, START_MS, 3)]),
            store.series,
            lambda: store.use(BTC),
            lambda: store.delete(BTC),
            lambda: store.repair(BTC),
            store.statistics,
        ]
        for call in calls:
            with pytest.raises(StoreUnavailable, match="was closed"):
                await call()
