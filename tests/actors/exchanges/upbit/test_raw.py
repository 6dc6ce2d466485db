"""The raw view: an answer in the words of Upbit's REST interface, whatever brought it."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.candles import Candles, Missing
from actors.exchanges.base import Response
from actors.exchanges.upbit.adapter import UpbitAdapter
from actors.quotes import BookLevel, OrderBook, Ticker, Trade, Trades
from actors.series import Series
from actors.timeframes import Timeframe, parse_time_ms

UPBIT = UpbitAdapter()
NOW_MS = 1_767_225_600_000


def respond(body: object) -> Response:
    """Return a response with `body` as JSON."""
    return Response(200, {}, json.dumps(body).encode(), NOW_MS)


def recorded_body(path: Path) -> Any:
    """Return the body in a recorded file, whichever way it was kept."""
    kept = json.loads(path.read_bytes())
    return kept["body"] if isinstance(kept, dict) else kept


def as_numbers(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with numbers that came as text, such as `"148737000.00000000"`, as numbers."""
    return {
        name: float(value) if isinstance(value, str) and "." in value else value
        for name, value in row.items()
    }


def candles(
    timeframe: str, *closes: float, start: str = "2026-01-01", closed: bool = True
) -> Candles:
    """Return candles one after the other, with `closes`."""
    series = Series.parse("KRW-BTC", timeframe)
    open_ms = parse_time_ms(start)
    rows = []
    for close in closes:
        rows.append((open_ms, close, close, close, close, 2.0, 3.0, closed))
        open_ms = series.timeframe.shift_ms(open_ms, 1)
    return Candles.from_rows(series, rows)


# ------------------------------------------------------------------ what REST sent comes back


@pytest.mark.recorded
@pytest.mark.parametrize(
    ("pattern", "timeframe"), [("smtm_upbit_1m_*.json", "1m"), ("jkorf_GetKlines.json", "1s")]
)
def test_recorded_candles_come_back_as_they_were(
    recorded: Path, pattern: str, timeframe: str
) -> None:
    """All but `timestamp`, which we do not keep: it is made, and lies in its own window."""
    body = recorded_body(next(recorded.glob(f"rest/{pattern}")))
    call = UPBIT.candles(Series.parse("KRW-BTC", timeframe), to_ms=None)

    written = UPBIT.raw(call.read(respond(body)).candles)

    assert [row.keys() for row in written] == [row.keys() for row in body]
    made = [row.pop("timestamp") for row in written]
    assert written == [{k: v for k, v in row.items() if k != "timestamp"} for row in body]
    span_ms = Timeframe(timeframe).span_ms
    assert [time % span_ms for time in made] == [span_ms - 1] * len(body)


@pytest.mark.recorded
@pytest.mark.parametrize(("path", "timeframe"), [("minutes/1", "1m"), ("seconds", "1s")])
def test_documented_candles_come_back_as_they_were(
    recorded: Path, path: str, timeframe: str
) -> None:
    """But for `timestamp`."""
    examples = json.loads((recorded / "rest/official_docs_examples.json").read_bytes())
    body = examples[f"GET /v1/candles/{path}"]["body"]
    call = UPBIT.candles(Series.parse("KRW-BTC", timeframe), to_ms=None)

    (written,) = UPBIT.raw(call.read(respond(body)).candles)

    assert list(written) == list(body[0])
    assert written | {"timestamp": 0} == body[0] | {"timestamp": 0}


@pytest.mark.recorded
def test_recorded_tickers_come_back_as_they_were(recorded: Path) -> None:
    """Every field there is."""
    body = recorded_body(recorded / "rest/jkorf_GetTickers.json")
    tickers = UPBIT.tickers(["KRW-BTC", "KRW-ETH"]).read(respond(body))

    written = UPBIT.raw(tickers)

    assert written == [as_numbers(row) for row in body]
    assert UPBIT.raw(tickers[0]) == written[:1]


@pytest.mark.recorded
def test_a_recorded_order_book_comes_back_as_it_was(recorded: Path) -> None:
    """But for `level`: this one was asked for grouped by 10,000 won, which we never do."""
    body = recorded_body(recorded / "rest/jkorf_GetOrderBook.json")
    (book,) = UPBIT.order_books(["KRW-BTC"]).read(respond(body))

    assert UPBIT.raw(book) == [{**body[0], "level": 0}]


@pytest.mark.recorded
def test_recorded_trades_come_back_as_they_were(recorded: Path) -> None:
    """Every field there is."""
    body = recorded_body(recorded / "rest/jkorf_GetTradeHistory.json")
    trades = UPBIT.trades("KRW-BTC", count=1).read(respond(body))

    (written,) = UPBIT.raw(Trades(market="KRW-BTC", trades=trades))

    assert written == body[0]


# ------------------------------------------------------------------ what is made


def test_candles_are_newest_first_and_minutes_say_their_unit() -> None:
    """Code that expects Upbit's rows takes the first for the newest."""
    written = UPBIT.raw(candles("4h", 5.0, 7.0))

    assert [row["candle_date_time_utc"] for row in written] == [
        "2026-01-01T04:00:00",
        "2026-01-01T00:00:00",
    ]
    assert [row["candle_date_time_kst"] for row in written] == [
        "2026-01-01T13:00:00",
        "2026-01-01T09:00:00",
    ]
    assert {row["unit"] for row in written} == {240}


def test_a_candle_in_progress_is_stamped_with_when_it_was_looked_at() -> None:
    """REST stamps it with its last trade, which we do not know; the window's end is to come."""
    open_ms = parse_time_ms("2026-01-01")
    growing = candles("1m", 5.0, closed=False)

    def stamp(answer: Candles) -> object:
        return UPBIT.raw(answer)[0]["timestamp"]

    assert stamp(growing.answer(source="live", as_of_ms=open_ms + 1234)) == open_ms + 1234
    assert stamp(growing.answer(source="live", as_of_ms=open_ms + 99_999)) == open_ms + 59_999
    assert stamp(growing.answer(source="live", as_of_ms=open_ms - 1)) == open_ms
    assert stamp(growing) == open_ms + 59_999
    assert (
        stamp(candles("1m", 5.0).answer(source="memory", as_of_ms=open_ms + 5)) == open_ms + 59_999
    )


def test_a_day_is_compared_with_the_day_before_where_that_is_known() -> None:
    """Nothing is invented: the first row has no day before it here."""
    newest, oldest = UPBIT.raw(candles("1d", 94_922_000.0, 94_237_000.0))

    assert {
        name: newest[name] for name in ("prev_closing_price", "change_price", "change_rate")
    } == {
        # A row of the real exchange has these.
        "prev_closing_price": 94922000.0,
        "change_price": -685000.0,
        "change_rate": -0.0072164514,
    }
    assert not {"prev_closing_price", "change_price", "change_rate", "unit"} & set(oldest)


def test_a_day_after_an_unknown_one_is_not_compared() -> None:
    """The row before it may not be the day before it; a day without trades is another thing."""
    days = candles("1d", 5.0, 6.0, 7.0).take(candles("1d", 5.0, 6.0, 7.0).close != 6.0)
    start_ms = parse_time_ms("2026-01-02")
    unknown = Missing(start_ms, start_ms + Timeframe.D1.span_ms, "not fetched")

    assert UPBIT.raw(days)[0]["prev_closing_price"] == 5.0
    assert "prev_closing_price" not in UPBIT.raw(days.answer(source="store", missing=(unknown,)))[0]


@pytest.mark.parametrize(("timeframe", "start"), [("1w", "2025-12-29"), ("1M", "2026-02-01")])
def test_weeks_and_months_say_their_first_day(timeframe: str, start: str) -> None:
    """And end when they end: February is short."""
    (written,) = UPBIT.raw(candles(timeframe, 5.0, start=start))

    assert written["first_day_of_period"] == start
    assert "unit" not in written
    end = {"1w": "2026-01-05", "1M": "2026-03-01"}[timeframe]
    assert written["timestamp"] == parse_time_ms(end) - 1


def test_a_ticker_says_its_direction_and_its_korean_time() -> None:
    """Over midnight in Korea the date is another one."""
    numbers = dict.fromkeys(
        ("price", "volume", "open", "high", "low", "previous_close", "day_volume", "day_value",
         "volume_24h", "value_24h", "high_52w", "low_52w"), 2.0,
    )  # fmt: skip
    time_ms = parse_time_ms("2026-01-01T15:00:00.999Z")

    def write(change: float) -> dict[str, Any]:
        told = {"market": "KRW-BTC", "time_ms": time_ms, "trade_time_ms": time_ms}
        changes = {"change": change, "change_rate": change / 10}
        ticker = msgspec.convert({**told, **numbers, **changes}, Ticker)
        (written,) = UPBIT.raw(ticker)
        return written

    assert [write(change)["change"] for change in (1.0, 0.0, -1.0)] == ["RISE", "EVEN", "FALL"]
    falling = write(-1.0)
    assert (falling["change_price"], falling["signed_change_price"]) == (1.0, -1.0)
    assert (falling["change_rate"], falling["signed_change_rate"]) == (0.1, -0.1)
    assert (falling["trade_date"], falling["trade_time"]) == ("20260101", "150000")
    assert (falling["trade_date_kst"], falling["trade_time_kst"]) == ("20260102", "000000")
    assert "highest_52_week_date" not in falling


def test_the_shorter_side_of_a_book_is_filled_up() -> None:
    """REST sends the sides in pairs."""
    book = OrderBook(
        market="KRW-BTC", time_ms=NOW_MS, bids=(BookLevel(99.0, 1.0), BookLevel(98.0, 2.0)),
        asks=(BookLevel(100.0, 3.0),), total_bid_size=3.0, total_ask_size=3.0,
    )  # fmt: skip

    (written,) = UPBIT.raw(book)

    assert written["orderbook_units"][1] == {
        "ask_price": 0.0, "bid_price": 98.0, "ask_size": 0.0, "bid_size": 2.0,
    }  # fmt: skip
    assert UPBIT.order_books(["KRW-BTC"]).read(respond([written])) == (book,)


def test_trades_without_the_close_before_do_not_invent_it() -> None:
    """Some exchanges' trades do not tell it, and older rows of ours do not either."""
    trade = Trade(
        market="KRW-BTC", time_ms=NOW_MS + 5, price=9.0, volume=1.0, side="sell", trade_id=1
    )

    (written,) = UPBIT.raw(Trades(market="KRW-BTC", trades=(trade,)))

    assert written == {
        "market": "KRW-BTC",
        "trade_date_utc": "2026-01-01",
        "trade_time_utc": "00:00:00",
        "timestamp": NOW_MS + 5,
        "trade_price": 9.0,
        "trade_volume": 1.0,
        "ask_bid": "ASK",
        "sequential_id": 1,
    }


def test_a_difference_of_prices_has_the_digits_of_prices() -> None:
    """As floats, 0.00000113 less 0.00000119 has seventeen digits; a recorded trade has 6E-8."""
    trade = Trade(
        market="BTC-ITAM", time_ms=NOW_MS, price=0.00000113, volume=1.0, side="sell", trade_id=1,
        previous_close=0.00000119,
    )  # fmt: skip

    (written,) = UPBIT.raw(Trades(market="BTC-ITAM", trades=(trade,)))

    assert written["change_price"] == -6e-8


@given(
    st.sampled_from(Timeframe),
    st.lists(st.floats(1e-8, 1e12), min_size=1, max_size=5),
    st.dates(
        min_value=date.fromisoformat("1971-01-04"), max_value=date.fromisoformat("2990-01-01")
    ),
)
def test_what_is_written_is_read_back_as_it_was(
    timeframe: Timeframe, closes: list[float], day: date
) -> None:
    """The raw view is REST's own language: our reader of REST must understand it, to the digit."""
    start = timeframe.ceil_ms(parse_time_ms(day.isoformat()))
    series = Series.parse("KRW-BTC", timeframe.value)
    rows = [
        (timeframe.shift_ms(start, n), close, close, close, close, close, close, False)
        for n, close in enumerate(closes)
    ]
    answer = Candles.from_rows(series, rows)

    page = UPBIT.candles(series, to_ms=None).read(respond(UPBIT.raw(answer)))

    assert page.candles == answer
