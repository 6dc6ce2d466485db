"""Requests are refused in words that say what was wanted, or become plain values."""

from __future__ import annotations

import contextlib
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import InvalidRequest, UnknownTimeframe
from actors.messages import GetCandles
from actors.queries import (
    CANDLES_DEFAULT,
    CANDLES_MAX,
    CandleQuery,
    candle_query,
    check_age,
    check_count,
)
from actors.timeframes import Timeframe

NEW_YEAR_MS = 1_767_225_600_000


def query(**fields: Any) -> CandleQuery:
    """Return the query for KRW-BTC 1m with some fields set."""
    request = GetCandles(**{"market": "KRW-BTC", "timeframe": "1m", **fields})
    return candle_query(request, max_age_s=1.5)


def test_what_is_not_said_has_its_default() -> None:
    """The newest 200, as young as the settings want them."""
    plain = query()

    assert (plain.count, plain.start_ms, plain.end_ms) == (CANDLES_DEFAULT, None, None)
    assert (plain.closed, plain.max_age_s, plain.allow_stale) == (False, 1.5, False)


@pytest.mark.parametrize(
    "end",
    [
        NEW_YEAR_MS,
        "2026-01-01",
        "2026-01-01T00:00",
        "2026-01-01 00:00:00",
        "2026-01-01T00:00:00Z",
        "2026-01-01T09:00:00+09:00",
        datetime(2026, 1, 1, tzinfo=UTC),
    ],
)
def test_a_time_may_be_written_in_many_ways(end: Any) -> None:
    """Without a zone it is UTC, never the machine's own zone."""
    assert query(end=end).end_ms == NEW_YEAR_MS


@pytest.mark.parametrize("timeframe", list(Timeframe))
def test_times_move_up_to_the_next_opening_time(timeframe: Timeframe) -> None:
    """A candle belongs to a window by when it opens."""
    first_ms = timeframe.ceil_ms(NEW_YEAR_MS)

    plain = query(timeframe=timeframe.value, start=first_ms - 1, end=first_ms + 1)

    assert plain.start_ms == first_ms
    assert plain.end_ms == timeframe.shift_ms(first_ms, 1)


@pytest.mark.parametrize(
    ("fields", "error", "match"),
    [
        ({"market": "KRW BTC"}, InvalidRequest, "as the exchange writes it.*was 'KRW BTC'"),
        ({"market": ""}, InvalidRequest, "was ''"),
        ({"timeframe": "7m"}, UnknownTimeframe, "must be one of 1s 1m.*was '7m'"),
        ({"timeframe": ""}, UnknownTimeframe, "was ''"),
        ({"count": 0}, InvalidRequest, "count must be 1 to 100000, was 0"),
        ({"count": -5}, InvalidRequest, "was -5"),
        ({"count": CANDLES_MAX + 1}, InvalidRequest, "was 100001"),
        ({"count": 10**5000}, InvalidRequest, "count must be 1 to 100000, was a huge number"),
        ({"count": 5, "start": 0}, InvalidRequest, "either count or start, not both"),
        ({"start": "soon"}, InvalidRequest, "start must be milliseconds.*was 'soon'"),
        ({"end": "2026-13-01"}, InvalidRequest, "end must be milliseconds.*was '2026-13-01'"),
        ({"end": 1_766_000_000}, InvalidRequest, "end must be milliseconds.*looks like seconds"),
        ({"end": -1}, InvalidRequest, "end must lie between the years 1970 and 2999; was -1"),
        ({"end": 10**18}, InvalidRequest, "end must lie between"),
        ({"end": True}, InvalidRequest, "end must be milliseconds.*was True"),
        ({"end": 1.5}, InvalidRequest, "end must be milliseconds.*was 1.5"),
        (
            {"start": NEW_YEAR_MS, "end": NEW_YEAR_MS - 1},
            InvalidRequest,
            "end must not lie before start",
        ),
        ({"start": 0, "end": "2026-01-01"}, InvalidRequest, "at most 100000 candles of 1m, was"),
        ({"max_age_s": -1.0}, InvalidRequest, "max_age_s must be a number of seconds from 0"),
        ({"max_age_s": math.nan}, InvalidRequest, "was nan"),
        ({"max_age_s": math.inf}, InvalidRequest, "was inf"),
    ],
)
def test_what_cannot_be_is_refused(
    fields: dict[str, Any], error: type[InvalidRequest], match: str
) -> None:
    """The message says what was wanted and what was there."""
    with pytest.raises(error, match=match):
        query(**fields)


def test_a_window_may_be_empty() -> None:
    """A bot that asks for what came since its last candle need not treat that case by itself."""
    plain = query(start=NEW_YEAR_MS, end=NEW_YEAR_MS)

    assert plain.start_ms == plain.end_ms == NEW_YEAR_MS


def test_the_widest_window_is_taken() -> None:
    """The bound itself is allowed."""
    end_ms = NEW_YEAR_MS + CANDLES_MAX * 60_000
    assert query(start=NEW_YEAR_MS, end=end_ms).count is None


@pytest.mark.parametrize("value", [0, 0.0, 1e9])
def test_any_age_from_zero_will_do(value: float) -> None:
    """Zero means: ask the exchange in any case."""
    check_age(value)


def test_a_count_names_what_it_counts() -> None:
    """Depths and markets are counted by the same rule."""
    with pytest.raises(InvalidRequest, match="depth must be 1 to 30, was 31"):
        check_count(31, most=30, name="depth")


ANYTHING = st.none() | st.booleans() | st.integers() | st.text(max_size=30) | st.floats()


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "market": st.text(max_size=50),
            "timeframe": st.text(max_size=5),
            "count": st.none() | st.integers(),
            "start": ANYTHING,
            "end": ANYTHING,
            "max_age_s": st.none() | st.floats(),
        },
    )
)
def test_nothing_but_a_refusal_comes_of_nonsense(fields: dict[str, Any]) -> None:
    """Anything else would crash the actor, and take everybody else's requests along."""
    with contextlib.suppress(InvalidRequest):
        assert (query(**fields).count or 1) <= CANDLES_MAX
