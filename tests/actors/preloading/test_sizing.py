"""How many candles of each series are worth their memory."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.candles import ROW_BYTES
from actors.preloading.habit_values import SeriesKey
from actors.preloading.sizing import HALF_S, Sizing
from actors.preloading.uses import SERIES_MAX

USUAL, SERIES_BYTES = 200, 4_096
MUCH = 100_000_000


def key(number: int) -> SeriesKey:
    """Return the key of a series."""
    return (f"KRW-{number}", "1m")


def rows_of(
    sizing: Sizing,
    *,
    now_s: float = 0.0,
    bytes_max: int = MUCH,
    needed: dict[SeriesKey, int] | None = None,
) -> dict[SeriesKey, int]:
    """Return what is to be kept of each series."""
    return sizing.rows(
        now_s,
        usual=USUAL,
        bytes_max=bytes_max,
        series_bytes=SERIES_BYTES,
        needed=needed or {},
    )


def test_while_there_is_room_everything_that_is_asked_for_is_kept() -> None:
    """Memory that is not used helps nobody."""
    sizing = Sizing()
    sizing.note(key(1), 3_000, 0.0)
    sizing.note(key(2), 14, 0.0)
    rows = rows_of(sizing)
    assert rows[key(1)] >= 3_000
    assert rows[key(2)] >= USUAL


def test_what_is_needed_is_kept_though_nobody_asked_yet() -> None:
    """Need comes before habit."""
    assert rows_of(Sizing(), needed={key(1): 1_000})[key(1)] >= 1_000


def test_where_memory_is_scarce_the_rows_that_answer_most_are_kept() -> None:
    """One deep question does not push out what is asked each second."""
    sizing = Sizing()
    for at_s in range(100):
        sizing.note(key(1), 25, float(at_s))
        sizing.note(key(2), 25, float(at_s))
    # Once, so deep that all of the memory would be its.
    sizing.note(key(3), 10_000, 100.0)
    rows = rows_of(sizing, now_s=100.0, bytes_max=3 * SERIES_BYTES + 1_000 * ROW_BYTES)
    assert rows[key(1)] >= 25
    assert rows[key(2)] >= 25
    assert rows[key(3)] < 1_000


def test_when_the_market_gets_busier_each_series_keeps_less() -> None:
    """The bound is for all of them together."""
    sizing = Sizing()
    bytes_max = 100 * SERIES_BYTES + 10_000 * ROW_BYTES
    for depth in (25, 400, 400):
        sizing.note(key(0), depth, 0.0)
    quiet = rows_of(sizing, bytes_max=bytes_max)[key(0)]
    for number in range(1, 100):
        for depth in (25, 25, 25, 400):
            sizing.note(key(number), depth, 1.0)
    busy = rows_of(sizing, now_s=1.0, bytes_max=bytes_max)
    assert quiet >= 400
    assert sum(busy.values()) <= 10_000
    assert sum(rows < 400 for rows in busy.values()) > 50


def test_a_depth_that_nobody_asks_any_more_is_forgotten() -> None:
    """What counts is what is asked now."""
    sizing = Sizing()
    sizing.note(key(1), 10_000, 0.0)
    for hour in range(1, 12):
        sizing.note(key(1), 50, hour * HALF_S)
    assert rows_of(sizing, now_s=11 * HALF_S)[key(1)] < 1_000


def test_a_series_that_nobody_asks_any_more_is_let_go() -> None:
    """It goes back to what is usual."""
    sizing = Sizing()
    sizing.note(key(1), 500, 0.0)
    assert rows_of(sizing, now_s=8 * HALF_S) == {}


def test_no_more_series_are_known_than_there_may_be() -> None:
    """The one asked for longest ago goes."""
    sizing = Sizing()
    for number in range(SERIES_MAX + 10):
        sizing.note(key(number), 10, 0.0)
    rows = rows_of(sizing)
    assert len(rows) == SERIES_MAX
    assert key(0) not in rows


@settings(max_examples=50)
@given(
    uses=st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from([1, 14, 200, 777, 5_000, 90_000])),
        max_size=40,
    ),
    rows_max=st.integers(0, 20_000),
    needed=st.dictionaries(st.integers(0, 7), st.integers(1, 10_000), max_size=3),
)
def test_the_bound_is_kept_but_for_the_least_of_each_series(
    uses: list[tuple[int, int]], rows_max: int, needed: dict[int, int]
) -> None:
    """Whatever was asked and is needed."""
    sizing = Sizing()
    for number, depth in uses:
        sizing.note(key(number), depth, 0.0)
    named = {key(number): rows for number, rows in needed.items()}
    series = len({number for number, _ in uses} | set(needed))
    bytes_max = series * SERIES_BYTES + rows_max * ROW_BYTES
    rows = rows_of(sizing, bytes_max=bytes_max, needed=named)
    least = 27 * series
    assert sum(rows.values()) <= rows_max + least
    assert all(each >= 1 for each in rows.values())
