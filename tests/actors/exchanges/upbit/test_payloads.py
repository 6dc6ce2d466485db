"""Upbit's bodies: the recorded ones are read exactly, and nothing wrong gets through."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import MalformedPayload
from actors.exchanges.base import CandlePage, ExchangeCall, Response
from actors.exchanges.upbit.adapter import UpbitAdapter
from actors.series import Series
from actors.timeframes import Timeframe, format_time_ms, parse_time_ms

UPBIT = UpbitAdapter()
NOW_MS = 1_767_225_600_000


def respond(body: object) -> Response:
    """Return a response with `body` as JSON, or as it is if it is bytes."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(200, {}, raw, NOW_MS)


def candle_row(open_time: str, **fields: object) -> dict[str, object]:
    """Return one good row of KRW-BTC, with `fields` changed."""
    return {
        "market": "KRW-BTC",
        "candle_date_time_utc": open_time,
        "candle_date_time_kst": "2025-07-01T21:00:00",
        "opening_price": 100.0,
        "high_price": 110,
        "low_price": "90.00000000",
        "trade_price": 1.05e2,
        # Outside its own minute, as Upbit's often are.
        "timestamp": 1751327999833,
        "candle_acc_trade_price": 4022470467.03403,
        "candle_acc_trade_volume": 6.043e-05,
        "unit": 1,
        "a field of next year": {"deep": [1, 2, 3]},
        **fields,
    }


def read_candles(
    body: object, timeframe: str = "1m", *, to: str | None = "2025-07-01T12:10:00Z"
) -> CandlePage:
    """Read a page of KRW-BTC."""
    to_ms = None if to is None else parse_time_ms(to)
    call = UPBIT.candles(Series.parse("KRW-BTC", timeframe), to_ms=to_ms)
    return call.read(respond(body))


# ------------------------------------------------------------------ candles


def test_a_page_is_read_oldest_first_into_columns() -> None:
    """Upbit sends newest first; numbers come as numbers, as text and with exponents."""
    rows = [candle_row("2025-07-01T12:01:00"), candle_row("2025-07-01T11:58:00", trade_price=95)]

    page = read_candles(rows)

    assert [format_time_ms(time) for time in page.candles.open_time_ms.tolist()] == [
        "2025-07-01T11:58:00Z",
        "2025-07-01T12:01:00Z",
    ]
    assert tuple(page.candles[0])[1:7] == (100, 110, 90, 95, 6.043e-05, 4022470467.03403)
    assert page.candles[1].close == 105
    assert not page.candles.closed.any()
    assert (page.full, page.observed_ms, page.candles.as_of_ms) == (False, NOW_MS, NOW_MS)
    assert page.candles.source == "exchange"


def test_no_rows_are_an_answer() -> None:
    """Before a market was listed there is nothing."""
    page = read_candles([])

    assert (len(page.candles), page.full) == (0, False)


def test_a_page_with_all_rows_asked_for_is_full() -> None:
    """Only then may there be something older."""
    start_ms = parse_time_ms("2025-07-01T12:00:00")
    rows = [candle_row(format_time_ms(start_ms - 60_000 * index)[:-1]) for index in range(201)]

    assert read_candles(rows[:200]).full
    assert not read_candles(rows[:199]).full
    with pytest.raises(MalformedPayload, match="wanted at most 200 rows, was 201"):
        read_candles(rows)


@pytest.mark.parametrize("timeframe", list(Timeframe))
def test_every_timeframe_is_checked_against_its_own_grid(timeframe: Timeframe) -> None:
    """Weeks open on Mondays and months on the first; a second too late is on no grid but 1s."""
    open_ms = timeframe.floor_ms(parse_time_ms("2025-07-23T13:37:11"))
    later_ms = timeframe.shift_ms(open_ms, 1)
    good = [candle_row(format_time_ms(time)[:-1]) for time in (later_ms, open_ms)]

    page = read_candles(good, timeframe.value, to=None)

    assert page.candles.open_time_ms.tolist() == [open_ms, later_ms]
    bad = [good[0], candle_row(format_time_ms(open_ms - 1)[:-1])]
    with pytest.raises(MalformedPayload, match=r"KRW-BTC .*(row 1: wanted an|whole seconds)"):
        read_candles(bad, timeframe.value, to=None)
    if timeframe is not Timeframe.S1:
        bad = [good[0], candle_row(format_time_ms(open_ms - 1000)[:-1])]
        with pytest.raises(MalformedPayload, match=f"row 1: wanted .* time of {timeframe.value}"):
            read_candles(bad, timeframe.value, to=None)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([candle_row("2025-07-01T12:00:00", market="KRW-ETH")], "row 0: .*KRW-BTC, was 'KRW-ETH'"),
        ([candle_row("2025-07-01T12:10:00")], "row 0: wanted a time before 2025-07-01T12:10:00Z"),
        (
            [candle_row("2025-07-01T12:00:00"), candle_row("2025-07-01T12:01:00")],
            "row 1: wanted an opening time before 2025-07-01T12:00:00.000, was .*12:01",
        ),
        (
            [candle_row("2025-07-01T12:00:00"), candle_row("2025-07-01T12:00:00")],
            "row 1: wanted an opening time before 2025-07-01T12:00",
        ),
        ([candle_row("1969-12-31T23:59:00")], "row 0: wanted an opening time of 1m"),
        ([candle_row("2025-07-01T12:00:00+09:00")], "wanted .*no timezone.*candle_date_time_utc"),
        ([candle_row("yesterday")], "candle_date_time_utc"),
        ([candle_row("2025-07-01T12:00:00", high_price=104)], "row 0 .*open, close <= high, was"),
        ([candle_row("2025-07-01T12:00:00", low_price=101)], "row 0 .*low <= open"),
        ([candle_row("2025-07-01T12:00:00", low_price=0)], "row 0 .*above zero.*low 0,"),
        ([candle_row("2025-07-01T12:00:00", trade_price="nan")], "row 0 .*finite.*close nan"),
        ([candle_row("2025-07-01T12:00:00", high_price="inf")], "row 0 .*finite.*high inf"),
        ([candle_row("2025-07-01T12:00:00", candle_acc_trade_volume=-1)], "volume -1"),
        ([candle_row("2025-07-01T12:00:00", candle_acc_trade_price="inf")], "value inf"),
        (
            [candle_row("2025-07-01T12:00:00", opening_price=None)],
            r"wanted `float`, was `null`.*\$\[0\].opening_price",
        ),
        (
            [candle_row("2025-07-01T12:00:00", opening_price=True)],
            r"wanted `float`, was `bool`.*\$\[0\].opening_price",
        ),
        ([{"market": "KRW-BTC"}], "missing required field `candle_date_time_utc`"),
        ({"error": {"name": 404}}, "wanted `array`, was `object`"),
        (b"<html><body>Bad Gateway</body></html>", "wanted JSON, was '<html>.*"),
        (b"", "wanted JSON, was ''"),
        (b'[{"market":"KRW-BTC"', "wanted JSON, was .*truncated"),
        (b'[{"market":"\xff\xfe"}]', "wanted JSON|required"),
        (b'[{"x":' + b"[" * 100_000, "wanted JSON, was .*recursion"),
    ],
)
def test_a_page_that_breaks_a_promise_is_refused_whole(rows: object, message: str) -> None:
    """Nothing wrong is ever stored; the message says what was wanted, what was there and where."""
    with pytest.raises(MalformedPayload, match=f"^upbit: candles KRW-BTC 1m before .*{message}"):
        read_candles(rows)


# ------------------------------------------------------------------ recorded bodies


@pytest.mark.recorded
def test_the_recorded_page_equals_its_rows_exactly(recorded: Path) -> None:
    """Real traffic of 2020: 200 rows, 35 of them with a `timestamp` outside their minute."""
    raw = next(recorded.glob("rest/smtm_upbit_1m_*.json")).read_bytes()
    rows: list[dict[str, Any]] = json.loads(raw)

    page = read_candles(raw, to="2020-02-20T11:20:00Z")

    assert page.full
    fields = ("opening_price", "high_price", "low_price", "trade_price")
    sums = ("candle_acc_trade_volume", "candle_acc_trade_price")
    for candle, row in zip(page.candles, reversed(rows), strict=True):
        assert format_time_ms(candle.open_time_ms) == f"{row['candle_date_time_utc']}Z"
        assert tuple(candle)[1:7] == tuple(row[name] for name in (*fields, *sums))


# ------------------------------------------------------------------ anything at all

CALLS: list[ExchangeCall[Any]] = [
    *(UPBIT.candles(Series.parse("KRW-BTC", frame), to_ms=None) for frame in ("1m", "1w", "1M")),
    UPBIT.candles(Series.parse("KRW-BTC", "1m"), to_ms=NOW_MS),
    UPBIT.tickers(["KRW-BTC"]),
    UPBIT.order_books(["KRW-BTC"]),
    UPBIT.trades("KRW-BTC", count=2),
    UPBIT.markets(),
]

SCALARS = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8)
# Good for every question at once, as fields that nobody asked for are ignored.
GOOD_ROW: dict[str, Any] = {
    **candle_row("2025-07-01T00:00:00"),
    **dict.fromkeys(
        ("prev_closing_price", "trade_volume", "signed_change_price", "signed_change_rate"), 2.0
    ),
    **dict.fromkeys(("acc_trade_price", "acc_trade_price_24h", "acc_trade_volume"), "2"),
    **dict.fromkeys(("acc_trade_volume_24h", "highest_52_week_price", "lowest_52_week_price"), 2e3),
    "trade_timestamp": NOW_MS,
    "total_ask_size": 1,
    "total_bid_size": 1,
    "orderbook_units": [{"ask_price": 3, "bid_price": 2, "ask_size": 1, "bid_size": 1}],
    "ask_bid": "BID",
    "sequential_id": 17,
}
# Good rows with any of their fields made into something else, and often not.
NEARLY_GOOD = st.lists(
    st.dictionaries(st.sampled_from(sorted(GOOD_ROW)), SCALARS, max_size=2).map(
        lambda changes: {**GOOD_ROW, **changes}
    ),
    max_size=3,
).map(lambda rows: json.dumps(rows).encode())
ANY_JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
).map(lambda value: json.dumps(value).encode())


@settings(max_examples=60)
@given(st.sampled_from(CALLS), st.binary() | ANY_JSON | NEARLY_GOOD)
def test_any_bytes_give_a_value_or_a_malformed_payload(
    call: ExchangeCall[Any], body: bytes
) -> None:
    """Nothing an exchange can send may crash us, or get through unchecked."""
    try:
        value = call.read(respond(body))
    except MalformedPayload as error:
        assert str(error).startswith(f"upbit: {call.what}: ")  # noqa: PT017 - both are good
        return
    if isinstance(value, CandlePage):
        candles = value.candles
        assert all(
            0 < candle.low <= min(candle.open, candle.close)
            and max(candle.open, candle.close) <= candle.high < math.inf
            and 0 <= candle.volume < math.inf
            and 0 <= candle.value < math.inf
            and candles.series.timeframe.is_open_time(candle.open_time_ms)
            for candle in candles
        )
    else:
        assert msgspec.json.encode(value)


@given(st.sampled_from(CALLS), NEARLY_GOOD, st.integers(0))
def test_half_a_body_is_never_a_value(call: ExchangeCall[Any], body: bytes, cut: int) -> None:
    """A connection that ends early must not look like a short page."""
    with pytest.raises(MalformedPayload, match="upbit"):
        call.read(respond(body[: cut % len(body)]))


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.what)
def test_the_row_that_the_others_are_made_from_is_good(call: ExchangeCall[Any]) -> None:
    """Else the two tests above would only ever see errors."""
    assert call.read(respond([{**GOOD_ROW, "candle_date_time_utc": "2025-09-01T00:00:00"}]))
