"""`Bars`: sums are exact however large, and coarse candles open where the domain says."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.sandbox.bars import YEAR, Bar, Bars, Scale, exact, floors_ms
from actors.timeframes import Timeframe

MINUTE_MS = 60_000

volumes = st.integers(1, 10**24)


@given(st.lists(st.tuples(volumes, volumes), min_size=1, max_size=40))
def test_sums_beyond_64_bits_are_exact(sizes: list[tuple[int, int]]) -> None:
    """A year's turnover in the smallest units does not fit an int64, and must not be rounded."""
    rows = [Bar(n * MINUTE_MS, 1, 1, 1, 1, v, x, n) for n, (v, x) in enumerate(sizes)]
    bars = Bars.from_rows(rows)

    assert bars.rows() == rows
    assert bars.totals() == (sum(v for v, _ in sizes), sum(x for _, x in sizes))
    day = bars.fold(Timeframe.D1).rows()[0]
    assert (day.volume, day.value) == bars.totals()


@given(st.integers(-(10**30), 10**30), st.floats(-0.4, 0.4))
def test_an_integer_is_found_from_its_remainder_and_its_neighbourhood(
    number: int, off: float
) -> None:
    """That is how two columns hold one exact sum."""
    wrapped = (number + 2**63) % 2**64 - 2**63
    assert exact(wrapped, float(number + int(off * 2**62))) == number


@given(st.integers(0, 4_000_000_000_000), st.sampled_from(Timeframe))
def test_floors_agree_with_the_domain(time_ms: int, timeframe: Timeframe) -> None:
    """Borders have one definition; this is its fast twin."""
    assert floors_ms(timeframe, np.array([time_ms])).tolist() == [timeframe.floor_ms(time_ms)]


def test_years_open_in_january() -> None:
    """The domain has no years, Upbit does."""
    last_of_2025, first_of_2026 = 1_767_225_599_999, 1_767_225_600_000
    found = floors_ms(YEAR, np.array([last_of_2025, first_of_2026])).tolist()
    assert found == [1_735_689_600_000, first_of_2026]


def test_no_candle_is_made_for_a_span_without_candles() -> None:
    """Upbit has no rows for silence."""
    rows = [Bar(n * MINUTE_MS, 5, 7, 4, 6, 10, 50, n * MINUTE_MS + 9) for n in (0, 1, 7)]

    folded = Bars.from_rows(rows).fold(Timeframe.M3).rows()

    assert [bar.open_ms // MINUTE_MS for bar in folded] == [0, 6]
    assert folded[0] == Bar(0, 5, 7, 4, 6, 20, 100, MINUTE_MS + 9)


@given(st.decimals(min_value="0.00000001", max_value="90000000", places=8))
def test_a_scaled_number_is_the_float_of_its_text(number: Decimal) -> None:
    """Dividing integers rounds once, as parsing does."""
    text = f"{number:.8f}"
    units = int(text.replace(".", ""))
    assert Scale(8, 8, 1).volume(units) == float(text)
    assert Scale(8, 8, 1).price(units) == float(text)


def test_nothing_folds_to_nothing() -> None:
    """Empty windows are ordinary."""
    empty = Bars.from_rows(())
    assert len(empty.fold(Timeframe.H1)) == 0
    assert empty.totals() == (0, 0)
    assert empty.rows() == []
    assert len(Bars.concat(())) == 0


def test_slices_keep_order() -> None:
    """Windows are half-open in opening times."""
    bars = Bars.from_rows([Bar(n, 1, 1, 1, 1, 1, 1, n) for n in range(10)])
    assert [bar.open_ms for bar in bars.between(3, 6).rows()] == [3, 4, 5]
    with pytest.raises(ValueError, match="zip"):
        Bars.from_rows([Bar(0, 1, 1, 1, 1, 1, 1, 1), (1, 2)])  # type: ignore[list-item]
