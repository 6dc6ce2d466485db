"""Every store behaves like a dict of rows and a set of known times, whatever is done to it.

On the real clock, because the SQLite store has a thread.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.candles import Candle, Candles
from actors.coverage import Coverage, Span
from actors.messages import StoreWrite
from actors.series import Series
from actors.stores.base import CandleStore
from actors.stores.chunks import CANDLE_BYTES
from actors.stores.memory import open_memory_store
from actors.stores.sqlite import open_sqlite_store
from actors.stores.testing import candles_at

pytestmark = pytest.mark.real_time

# Each with the opening time of period 0, one period before a border of the store's grid.
SERIES = {
    Series.parse("KRW-BTC", "1m"): 1_735_689_540_000,
    Series.parse("KRW-ETH", "1m"): 1_735_689_540_000,
    Series.parse("KRW-BTC", "1w"): 1_735_516_800_000,
    Series.parse("KRW-BTC", "1M"): 1_072_915_200_000,
}
PERIODS_MAX = 3_200


@dataclass(frozen=True)
class Write:
    """Prove the periods [start, start + length); those that `step` divides have a candle."""

    series: Series
    start: int
    length: int
    step: int
    seed: int


@dataclass(frozen=True)
class Read:
    """Read the periods [start, start + length), only the newest `count`."""

    series: Series
    start: int
    length: int
    count: int | None


@dataclass(frozen=True)
class Delete:
    """Forget a series."""

    series: Series


@dataclass(frozen=True)
class Reopen:
    """Close the store and open it again."""


@dataclass(frozen=True)
class Damage:
    """Flip bytes of some chunk and repair; a store in memory has none, and is only repaired."""

    chunk: int
    offset: int
    flip: int


Operation = Damage | Write | Read | Delete | Reopen

series = st.sampled_from(list(SERIES))
# Near the borders of blocks and slots more often than chance would have it.
starts = st.one_of(
    st.integers(0, PERIODS_MAX),
    st.builds(lambda n, d: max(0, n * 240 + d), st.integers(0, 13), st.integers(-2, 2)),
)
lengths = st.one_of(st.integers(0, 500), st.sampled_from([1, 240, 1_440, 2_881]))
operations = st.one_of(
    st.builds(Write, series, starts, lengths, st.integers(1, 7), st.integers(0, 9)),
    st.builds(Read, series, starts, lengths, st.none() | st.integers(0, 600)),
    st.builds(Delete, series),
    st.builds(Damage, st.integers(0, 99), st.integers(0, 99_999), st.integers(1, 255)),
    st.just(Reopen()),
)


def at(one: Series, period: int) -> int:
    """Return the opening time of a period; months only reach as far as their grid is tried."""
    return one.timeframe.shift_ms(SERIES[one], period)


@dataclass
class Model:
    """The plain truth."""

    rows: dict[Series, dict[int, Candle]] = field(default_factory=dict)
    known: dict[Series, set[int]] = field(default_factory=dict)

    def write(self, one: Write) -> StoreWrite:
        """Take note of a write and return it as the store wants it."""
        periods = range(one.start, one.start + one.length)
        times = [at(one.series, period) for period in periods]
        candles = candles_at(one.series, times[:: one.step], seed=one.seed)
        rows = self.rows.setdefault(one.series, {})
        for time_ms in times:
            rows.pop(time_ms, None)
        rows.update({candle.open_time_ms: candle for candle in candles})
        self.known.setdefault(one.series, set()).update(times)
        end_ms = at(one.series, one.start + one.length)
        return StoreWrite(candles, Span(at(one.series, one.start), end_ms))

    def lose(self, one: Series, span: Span) -> None:
        """Take note that a span is unknown again."""
        for time_ms in [t for t in self.known[one] if span.start_ms <= t < span.end_ms]:
            self.known[one].discard(time_ms)
            self.rows[one].pop(time_ms, None)

    def read(self, one: Read) -> tuple[Candles, Coverage]:
        """Return what a store must answer."""
        times = [at(one.series, period) for period in range(one.start, one.start + one.length)]
        known = self.known.get(one.series, set())
        rows = self.rows.get(one.series, {})
        found = [rows[time_ms] for time_ms in times if time_ms in rows]
        if one.count is not None:
            found = found[max(0, len(found) - one.count) :]
        shift_ms = one.series.timeframe.shift_ms
        spans = [Span(time_ms, shift_ms(time_ms, 1)) for time_ms in times if time_ms in known]
        return Candles.from_rows(one.series, found), Coverage.of(spans)


async def apply(store: CandleStore, model: Model, one: Operation) -> None:
    """Do one thing to both, and hold them against each other."""
    match one:
        case Write():
            await store.write([model.write(one)])
        case Read():
            start_ms, end_ms = at(one.series, one.start), at(one.series, one.start + one.length)
            stored = await store.read(one.series, start_ms=start_ms, end_ms=end_ms, count=one.count)
            assert (stored.candles, stored.coverage) == model.read(one)
        case Delete():
            await store.delete(one.series)
            model.rows.pop(one.series, None)
            model.known.pop(one.series, None)
        case Damage():
            for series in SERIES:
                assert await store.repair(series) == ()
        case Reopen():
            pass


async def damage(path: Path, store: CandleStore, model: Model, one: Damage) -> None:
    """Flip a byte of one chunk; repairing loses one span with a row in it, of one series."""
    with closing(sqlite3.connect(path)) as file:
        chunks = file.execute("SELECT id, data FROM chunk ORDER BY id").fetchall()
        if not chunks:
            return
        key, data = chunks[one.chunk % len(chunks)]
        flipped = bytearray(data)
        flipped[one.offset % len(data)] ^= one.flip
        file.execute("UPDATE chunk SET data = ? WHERE id = ?", (bytes(flipped), key))
        file.commit()
    dropped = {series: await store.repair(series) for series in SERIES}
    ((hit, (span,)),) = [(series, spans) for series, spans in dropped.items() if spans]
    before = len(model.rows[hit])
    model.lose(hit, span)
    # Exactly as many rows go as the chunk had.
    assert before - len(model.rows[hit]) == len(data) // CANDLE_BYTES


async def check_whole(store: CandleStore, model: Model) -> None:
    """Hold everything against everything."""
    assert set(await store.series()) == set(model.rows)
    for one in model.rows:
        await apply(store, model, Read(one, 0, PERIODS_MAX + 3_000, None))
    figures = await store.statistics()
    assert figures.candles == sum(map(len, model.rows.values()))


@given(todo=st.lists(operations, max_size=12))
@settings(max_examples=25, deadline=None)
async def test_the_store_in_memory_behaves_like_a_dict(todo: Sequence[Operation]) -> None:
    """Whatever the order of overlapping writes, reads and deletions."""
    model = Model()
    async with open_memory_store() as store:
        for one in todo:
            await apply(store, model, one)
        await check_whole(store, model)


@given(todo=st.lists(operations, max_size=12))
@settings(max_examples=25, deadline=None)
async def test_the_sqlite_store_behaves_like_a_dict_that_is_closed_now_and_then(
    todo: Sequence[Operation],
) -> None:
    """Nothing depends on what the process remembers."""
    model = Model()
    with tempfile.TemporaryDirectory() as folder:
        lives: list[list[Operation]] = [[]]
        for one in todo:
            if isinstance(one, Reopen):
                lives.append([])
            else:
                lives[-1].append(one)
        path = Path(folder) / "candles.db"
        for life in lives:
            async with open_sqlite_store(path) as store:
                for one in life:
                    if isinstance(one, Damage):
                        await damage(path, store, model, one)
                    else:
                        await apply(store, model, one)
                await check_whole(store, model)
