"""`fill_flat`: a flat candle where it is proven that nobody traded, and nowhere else."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.candles import Candle, Candles, Missing
from actors.filling import fill_flat
from actors.series import Series
from actors.timeframes import Timeframe

MINUTE_MS = 60_000
# A Monday that is the first of a month as well, so that it opens a candle of every timeframe.
FIRST_MS = 1_748_736_000_000 + 86_400_000 * 92


def candle(open_time_ms: int, price: float, *, closed: bool = True) -> Candle:
    """Return a candle whose four prices differ."""
    return Candle(open_time_ms, price, price + 2, price - 2, price + 1, 3.0, 300.0, closed)


def answer(
    timeframe: Timeframe, rows: list[Candle], *, as_of_ms: int, missing: tuple[Missing, ...] = ()
) -> Candles:
    """Return rows as an answer."""
    made = Candles.from_rows(Series.parse("KRW-BTC", timeframe.value), rows)
    return made.answer(source="memory", as_of_ms=as_of_ms, missing=missing, reason="because")


def minutes(*places: int, as_of: float, missing: tuple[tuple[int, int], ...] = ()) -> Candles:
    """Return an answer with candles at these minutes; the price is ten times the minute."""
    gaps = tuple(Missing(a * MINUTE_MS, b * MINUTE_MS, "not known") for a, b in missing)
    rows = [candle(place * MINUTE_MS, 10.0 * place) for place in places]
    return answer(Timeframe.M1, rows, as_of_ms=int(as_of * MINUTE_MS), missing=gaps)


def told(filled: Candles) -> list[tuple[int, float, bool]]:
    """Return minute, close and whether it was put in, of each candle."""
    assert filled.filled is not None
    places = (filled.open_time_ms // MINUTE_MS).tolist()
    return list(zip(places, filled.close.tolist(), filled.filled.tolist(), strict=True))


def test_a_quiet_minute_gets_the_last_close_and_no_volume() -> None:
    """All four prices are the close before, whatever that candle's own range was."""
    filled = fill_flat(minutes(5, 7, as_of=8.5))

    assert filled[1] == Candle(6 * MINUTE_MS, 51.0, 51.0, 51.0, 51.0, 0.0, 0.0, True)
    assert told(filled) == [(5, 51.0, False), (6, 51.0, True), (7, 71.0, False)]


def test_quiet_minutes_after_the_last_candle_are_filled_up_to_the_one_in_progress() -> None:
    """Of the one in progress nothing is known yet."""
    assert told(fill_flat(minutes(5, as_of=8.5))) == [
        (5, 51.0, False),
        (6, 51.0, True),
        (7, 51.0, True),
    ]


def test_nothing_is_put_where_it_is_merely_not_known() -> None:
    """A hole is a hole; behind it the filling goes on from the last candle known."""
    filled = fill_flat(minutes(1, 5, as_of=6, missing=((2, 4),)))

    assert [place for place, _, _ in told(filled)] == [1, 4, 5]
    assert filled.missing == (Missing(2 * MINUTE_MS, 4 * MINUTE_MS, "not known"),)


def test_a_candle_in_progress_stays_in_progress() -> None:
    """What was put in is final, because that was proven; what was there is as it was."""
    rows = [candle(MINUTE_MS, 1.0), candle(3 * MINUTE_MS, 2.0, closed=False)]
    filled = fill_flat(answer(Timeframe.M1, rows, as_of_ms=3 * MINUTE_MS + 1))

    assert filled.closed.tolist() == [True, True, False]


def test_a_window_begins_with_the_close_before_it() -> None:
    """Who asks for a window wants it whole, also where nobody traded at its beginning."""
    before = minutes(2, as_of=3)
    filled = fill_flat(
        minutes(7, as_of=8), start_ms=5 * MINUTE_MS, end_ms=10 * MINUTE_MS, before=before
    )

    assert told(filled) == [(5, 21.0, True), (6, 21.0, True), (7, 71.0, False)]


def test_quiet_minutes_at_the_end_of_a_window_are_filled_with_a_candle_before_it_too() -> None:
    """How far the answer reaches is what it says, not what the candle before it said."""
    filled = fill_flat(
        minutes(7, as_of=20),
        start_ms=6 * MINUTE_MS,
        end_ms=10 * MINUTE_MS,
        before=minutes(2, as_of=3),
    )

    assert [place for place, _, _ in told(filled)] == [6, 7, 8, 9]


def test_a_window_without_a_trade_is_filled_from_the_candle_before_it() -> None:
    """And reaches as far as the answer, which knew that there was no trade."""
    filled = fill_flat(
        minutes(as_of=20), start_ms=6 * MINUTE_MS, end_ms=9 * MINUTE_MS, before=minutes(2, as_of=3)
    )

    assert told(filled) == [(6, 21.0, True), (7, 21.0, True), (8, 21.0, True)]


def test_nothing_comes_before_the_first_candle_of_a_listing() -> None:
    """There was no price that could be repeated."""
    assert told(fill_flat(minutes(5, as_of=6), start_ms=0)) == [(5, 51.0, False)]


def test_of_nothing_nothing_is_made() -> None:
    """But it says that filling was asked for."""
    filled = fill_flat(minutes(as_of=9), count=5)

    assert len(filled) == 0
    assert filled.filled is not None


def test_where_it_came_from_is_kept() -> None:
    """Filling changes rows, not provenance."""
    filled = fill_flat(minutes(1, 3, as_of=4), count=2)

    assert (filled.source, filled.as_of_ms, filled.reason) == ("memory", 4 * MINUTE_MS, "because")
    assert len(filled) == 2


class Case(NamedTuple):
    """What truly was: which periods were traded in, and which of them nothing is known of."""

    timeframe: Timeframe
    traded: set[int]
    unknown: tuple[int, int]
    ended: int


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw some thirty periods of any timeframe."""
    traded = draw(st.sets(st.integers(0, 30), max_size=20))
    start = draw(st.integers(0, 30))
    stop = draw(st.integers(start, 31))
    timeframe = draw(st.sampled_from(list(Timeframe)))
    return Case(timeframe, traded, (start, stop), draw(st.integers(0, 32)))


@given(case=cases(), count=st.none() | st.integers(1, 40))
def test_every_proven_quiet_period_is_there_once_and_nothing_else(
    case: Case, count: int | None
) -> None:
    """Against the plainest way to say it: one period after the other."""
    timeframe, (from_, to) = case.timeframe, case.unknown
    opens = [timeframe.shift_ms(FIRST_MS, place) for place in range(40)]
    known = sorted(p for p in case.traded if not from_ <= p < to and p <= case.ended)
    gaps = (Missing(opens[from_], opens[to], "hole"),) if to > from_ else ()
    rows = [candle(opens[place], 10.0 + place) for place in known]
    made = answer(timeframe, rows, as_of_ms=opens[case.ended] + 500, missing=gaps)

    wanted: list[tuple[int, float, bool]] = []
    for place in range(40):
        if place in known:
            wanted.append((opens[place], 11.0 + place, False))
        elif wanted and place < case.ended and not from_ <= place < to:
            wanted.append((opens[place], wanted[-1][1], True))
    if count is not None:
        wanted = wanted[-count:]
    filled = fill_flat(made, count=count)

    assert filled.filled is not None
    columns = (filled.open_time_ms, filled.close, filled.filled)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == wanted
    flat = filled.take(filled.filled)
    assert not flat.volume.any()
    assert not flat.value.any()
    assert flat.closed.all()
    for column in (flat.open, flat.high, flat.low):
        assert np.array_equal(column, flat.close)


@pytest.mark.parametrize("timeframe", [Timeframe.W1, Timeframe.MN1])
def test_weeks_and_months_are_stepped_through_by_the_calendar(timeframe: Timeframe) -> None:
    """Months have no fixed length."""
    opens = [timeframe.shift_ms(FIRST_MS, place) for place in range(15)]
    rows = [candle(opens[0], 1.0), candle(opens[14], 2.0)]

    assert fill_flat(answer(timeframe, rows, as_of_ms=opens[14])).open_time_ms.tolist() == opens
