"""`Candles`: a value that may be handed to anybody, merged from parts that disagree."""

from __future__ import annotations

import copy
import pickle
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.candles import COLUMNS, FLOAT_COLUMNS, ROW_BYTES, Candle, Candles, Missing
from actors.series import Series

SERIES = Series.parse("KRW-BTC", "1m")
OTHER = Series.parse("KRW-ETH", "1m")
MINUTE_MS = 60_000


def row(minute: int, price: float = 100.0, *, closed: bool = True) -> Candle:
    """Return a candle of one price."""
    return Candle(minute * MINUTE_MS, price, price + 2, price - 2, price + 1, 3.0, 300.0, closed)


def candles(*rows: Candle, series: Series = SERIES) -> Candles:
    """Return these rows as candles."""
    return Candles.from_rows(series, rows)


ROWS = st.dictionaries(
    st.integers(0, 12), st.tuples(st.floats(1, 1e9, allow_nan=False), st.booleans()), max_size=10
).map(lambda each: [row(m, price, closed=closed) for m, (price, closed) in sorted(each.items())])


@given(rows=ROWS)
def test_rows_come_out_as_they_went_in(rows: list[Candle]) -> None:
    """Exactly, by iteration, by index, and in each column."""
    made = candles(*rows)

    assert made.rows() == list(made) == rows
    assert [made[index] for index in range(-len(rows), 0)] == rows
    assert len(made) == len(rows)
    for name in COLUMNS:
        assert getattr(made, name).tolist() == [getattr(each, name) for each in rows]


def test_values_of_a_row_are_plain_python() -> None:
    """They go into JSON, into tables and into comparisons."""
    assert [type(value) for value in candles(row(1))[0]] == [int, *[float] * 6, bool]


@pytest.mark.parametrize("minutes", [(2, 1), (1, 1), (1, 3, 2)])
def test_times_that_do_not_rise_are_refused(minutes: tuple[int, ...]) -> None:
    """Everything here searches by time; two candles of one minute would be two truths."""
    with pytest.raises(ValueError, match=r"opening times of KRW-BTC 1m must rise strictly"):
        candles(*map(row, minutes))


@pytest.mark.parametrize("name", [*COLUMNS, "series", "source", "as_of_ms", "missing", "floats"])
def test_no_attribute_can_be_replaced(name: str) -> None:
    """What is in memory is shared with every reader; one bot must not change another's."""
    with pytest.raises(AttributeError, match=r"has no setter"):
        setattr(candles(row(1)), name, None)


@pytest.mark.parametrize("name", COLUMNS)
def test_no_column_can_be_written_to(name: str) -> None:
    """Neither in the whole nor in any part or copy with another origin."""
    whole = candles(row(1), row(2), row(3, closed=False))
    parts = [whole, whole.last(2), whole.between(0, 10**9), whole.closed_only(), whole.slice(0, 1)]
    parts += [whole.answer(source="exchange"), whole.merge(candles(row(9))), Candles.empty(SERIES)]
    for part in parts:
        column = getattr(part, name)
        with pytest.raises(ValueError, match=r"read-only"):
            column[:] = 0
        assert not column.flags.writeable


@given(older=ROWS, newer=ROWS)
def test_merging_keeps_each_time_once_and_never_reopens_a_candle(
    older: list[Candle], newer: list[Candle]
) -> None:
    """The newer row counts, except that an open one never replaces a closed one."""
    model = {each.open_time_ms: each for each in older}
    for each in newer:
        known = model.get(each.open_time_ms)
        if known is None or each.closed or not known.closed:
            model[each.open_time_ms] = each

    assert candles(*older).merge(candles(*newer)).rows() == [model[time] for time in sorted(model)]


@pytest.mark.parametrize("theirs", [[], [row(1)]])
def test_candles_of_another_market_are_never_merged(theirs: list[Candle]) -> None:
    """An exchange that answers for the wrong market must not get into the right one."""
    with pytest.raises(ValueError, match=r"cannot merge candles of KRW-ETH 1m into .* KRW-BTC 1m"):
        candles(row(1)).merge(candles(*theirs, series=OTHER))


@given(rows=ROWS, start=st.integers(-1, 14), end=st.integers(-1, 14), count=st.integers(-1, 12))
def test_parts_are_those_of_a_list(rows: list[Candle], start: int, end: int, count: int) -> None:
    """By time, half-open; and by number, from the newest; also where nothing is left."""
    made = candles(*rows)
    start_ms, end_ms = start * MINUTE_MS, end * MINUTE_MS
    inside = [each for each in rows if start_ms <= each.open_time_ms < end_ms]

    assert made.between(start_ms, end_ms).rows() == inside
    assert made.last(count).rows() == (rows[-count:] if count > 0 else [])
    assert made.closed_only().rows() == [each for each in rows if each.closed]


def test_parts_keep_where_they_came_from() -> None:
    """A strategy that refuses stale data must see that half of it is stale as well."""
    missing = (Missing(0, MINUTE_MS, "the exchange is away"),)
    whole = candles(row(1), row(2, closed=False)).answer(
        source="store", as_of_ms=7, missing=missing
    )
    for part in (whole.last(1), whole.closed_only(), whole.between(0, 1), whole.slice(0, 0)):
        assert (part.source, part.as_of_ms, part.missing) == ("store", 7, missing)
        assert not part.complete


def test_candles_are_equal_by_what_they_say() -> None:
    """Wherever they came from; and never equal to something else."""
    one = candles(row(1), row(2))

    assert one == candles(row(1), row(2)).answer(source="exchange", as_of_ms=5)
    assert one != candles(row(1))
    assert one != candles(row(1), row(2, closed=False))
    assert one != candles(row(1), row(2, 101.0))
    assert one != candles(row(1), row(2), series=OTHER)
    assert one != [row(1), row(2)]


def test_candles_cannot_be_a_key() -> None:
    """Equal by content, and large: hashing would be a trap."""
    with pytest.raises(TypeError, match=r"unhashable type"):
        hash(candles())


def test_a_line_says_what_it_is() -> None:
    """For whoever prints it: which, how many, from where, and whether all is there."""
    made = candles(row(1), row(2))
    partly = made.answer(source="store", missing=(Missing(0, 1, "away"),))

    assert repr(made) == "<Candles KRW-BTC 1m: 2 from memory, complete>"
    assert repr(partly) == "<Candles KRW-BTC 1m: 2 from store, 1 spans missing>"


def test_no_candles_are_candles_too() -> None:
    """A market in which nobody traded; types and all."""
    empty = Candles.empty(SERIES)

    assert (len(empty), empty.rows(), empty.complete, empty.nbytes) == (0, [], True, 0)
    assert empty.close.dtype == np.float64
    assert empty.open_time_ms.dtype == np.int64
    assert empty.closed.dtype == np.bool_
    assert empty.closed_only() == empty.last(5) == empty.between(0, 9) == empty


def sent(made: Candles) -> Any:
    """Return what another process would receive."""
    return pickle.loads(pickle.dumps(made))  # noqa: S301 - our own


@pytest.mark.parametrize("remake", [copy.copy, copy.deepcopy, sent])
def test_candles_can_be_copied_and_sent_to_another_process(remake: Any) -> None:
    """Bots that test strategies on several cores do so."""
    made = candles(row(1), row(2, closed=False)).answer(source="store", as_of_ms=7)
    again = remake(made)

    assert again == made
    assert (again.source, again.as_of_ms) == ("store", 7)


def test_a_data_frame_of_pandas_is_indexed_by_utc_time() -> None:
    """With every column; and the user's frame is the user's to change."""
    made = candles(row(0), row(2, closed=False))
    frame = made.to_pandas()

    assert list(frame.columns) == [*FLOAT_COLUMNS, "closed"]
    assert [str(moment) for moment in frame.index] == [
        "1970-01-01 00:00:00+00:00",
        "1970-01-01 00:02:00+00:00",
    ]
    assert frame["close"].tolist() == made.close.tolist()
    frame["close"] *= 2
    assert made.close.tolist() == [101.0, 101.0]


def test_a_data_frame_of_polars_has_a_utc_time() -> None:
    """The same rows in the other library."""
    made = candles(row(0), row(2, closed=False))
    frame = made.to_polars()

    assert frame.columns == ["open_time", *FLOAT_COLUMNS, "closed"]
    assert str(frame.schema["open_time"]) == "Datetime(time_unit='ms', time_zone='UTC')"
    assert frame["open_time"].to_physical().to_list() == made.open_time_ms.tolist()
    assert frame["value"].to_list() == made.value.tolist()


def test_empty_candles_become_empty_data_frames() -> None:
    """With the same columns, so that code after it need not ask."""
    empty = Candles.empty(SERIES)

    assert empty.to_pandas().shape == (0, 7)
    assert empty.to_polars().shape == (0, 8)


def test_a_cached_candle_takes_at_most_80_bytes() -> None:
    """The bound of the architecture, measured over a series as the cache keeps it."""
    rows = [row(minute) for minute in range(200)]
    made = candles(*rows)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        kept = [candles(*rows) for _ in range(20)]
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (after - before) / sum(map(len, kept)) <= 80
    assert (
        made.nbytes
        == 200 * ROW_BYTES
        == sum(column.nbytes for column in (made.open_time_ms, *made.floats, made.closed))
    )


def test_why_and_what_was_filled_in_stay_with_every_part() -> None:
    """A part of an answer is an answer."""
    made = candles(row(1), row(2), row(3))
    marked = Candles(
        SERIES,
        made.open_time_ms,
        made.floats,
        made.closed,
        reason="because",
        filled=np.array([False, True, False]),
    )
    parts = {
        "slice": marked.slice(1, 3),
        "between": marked.between(2 * MINUTE_MS, 4 * MINUTE_MS),
        "last": marked.last(2),
        "take": marked.take(np.array([False, True, True])),
        "closed": marked.last(2).closed_only(),
    }
    for name, part in parts.items():
        assert part.reason == "because", name
        assert part.filled is not None, name
        assert part.filled.tolist() == [True, False], name
    answered = marked.answer(source="live", reason="another")
    assert (answered.source, answered.reason, answered.filled) == ("live", "another", marked.filled)
    assert marked.filled is not None
    with pytest.raises(ValueError, match="read-only"):
        marked.filled[0] = True


def test_tables_have_a_column_for_what_was_filled_in_only_if_that_was_asked_for() -> None:
    """Code that never heard of it finds the columns it knows."""
    made = candles(row(1), row(2))
    marked = Candles(
        SERIES, made.open_time_ms, made.floats, made.closed, filled=np.array([False, True])
    )

    assert "filled" not in made.to_pandas().columns
    assert marked.to_pandas()["filled"].tolist() == [False, True]
    assert marked.to_polars()["filled"].to_list() == [False, True]
    assert marked.rows() == made.rows()
    assert made.filled is None
