"""`SandboxExchange`: Upbit's paths, rows, errors and headers, without a socket."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from actors.sandbox.exchange import SandboxExchange
from actors.sandbox.market import DAY_MS
from actors.sandbox.testing import ask, rows

MINUTES = "/v1/candles/minutes/1?market=KRW-BTC"


def test_a_minute_has_the_documented_fields(exchange: SandboxExchange, now_ms: int) -> None:
    """Names, order, dates without a zone, the unit, and KST nine hours ahead."""
    row = rows(exchange, MINUTES)[0]
    assert list(row) == [
        "market",
        "candle_date_time_utc",
        "candle_date_time_kst",
        "opening_price",
        "high_price",
        "low_price",
        "trade_price",
        "timestamp",
        "candle_acc_trade_price",
        "candle_acc_trade_volume",
        "unit",
    ]
    assert row["market"] == "KRW-BTC"
    assert row["candle_date_time_utc"] == "2026-01-01T03:25:00"
    assert row["candle_date_time_kst"] == "2026-01-01T12:25:00"
    assert row["unit"] == 1
    assert row["timestamp"] <= now_ms


@pytest.mark.parametrize(
    ("path", "extra"),
    [
        ("seconds", set()),
        *((f"minutes/{unit}", {"unit"}) for unit in (3, 5, 10, 15, 30, 60, 240)),
        ("days", {"prev_closing_price", "change_price", "change_rate"}),
        ("weeks", {"first_day_of_period"}),
        ("months", {"first_day_of_period"}),
        ("years", {"first_day_of_period"}),
    ],
)
def test_every_kind_of_candle_answers(
    exchange: SandboxExchange, path: str, extra: set[str]
) -> None:
    """With the fields that only it has."""
    found = rows(exchange, f"/v1/candles/{path}?market=KRW-BTC&count=3")
    common = set(rows(exchange, "/v1/candles/seconds?market=KRW-BTC")[0])
    assert all(set(row) == common | extra for row in found)
    opens = [row["candle_date_time_utc"] for row in found]
    assert opens == sorted(opens, reverse=True)


def test_weeks_and_months_name_their_first_day(exchange: SandboxExchange) -> None:
    """Weeks open on Monday."""
    assert (
        rows(exchange, "/v1/candles/weeks?market=KRW-BTC")[0]["first_day_of_period"] == "2025-12-29"
    )
    assert (
        rows(exchange, "/v1/candles/months?market=KRW-BTC")[0]["first_day_of_period"]
        == "2026-01-01"
    )


def test_days_say_how_far_the_price_moved(exchange: SandboxExchange) -> None:
    """From the close of the day before, which is the next row."""
    today, before = rows(exchange, "/v1/candles/days?market=KRW-BTC&count=2")
    assert today["prev_closing_price"] == before["trade_price"]
    assert today["change_price"] == today["trade_price"] - before["trade_price"]
    assert today["change_rate"] == round(today["change_price"] / before["trade_price"], 10)


def test_days_can_be_converted_to_won(exchange: SandboxExchange) -> None:
    """A coin quoted in bitcoin is worth its price times the bitcoin's."""
    bitcoin = rows(exchange, "/v1/candles/days?market=KRW-BTC&count=2&converting_price_unit=KRW")
    ether = rows(exchange, "/v1/candles/days?market=BTC-ETH&count=2&converting_price_unit=KRW")
    for one, other in zip(bitcoin, ether, strict=True):
        assert one["converted_trade_price"] == one["trade_price"]
        assert other["converted_trade_price"] == other["trade_price"] * one["trade_price"]
    dollar = rows(exchange, "/v1/candles/days?market=USDT-BTC&converting_price_unit=KRW")
    assert dollar[0]["converted_trade_price"] is None


def test_to_is_exclusive_in_every_form(exchange: SandboxExchange) -> None:
    """The row that opens at `to` is not in the page."""
    for text in ("2026-01-01T03:00:00Z", "2026-01-01%2003:00:00", "2026-01-01T12:00:00%2B09:00"):
        row = rows(exchange, f"{MINUTES}&to={text}")[0]
        assert row["candle_date_time_utc"] == "2026-01-01T02:59:00"


def test_pages_hold_at_most_200_and_one_by_default(exchange: SandboxExchange) -> None:
    """The default is one row, as documented."""
    assert len(rows(exchange, MINUTES)) == 1
    assert len(rows(exchange, f"{MINUTES}&count=200")) == 200
    assert len(rows(exchange, f"{MINUTES}&count=400")) == 200


def test_seconds_reach_back_three_months(
    exchange: SandboxExchange, now_ms: int, hand_clock: Any
) -> None:
    """Older ones are an empty list, and the page at the edge is short."""
    hand_clock.time_s += 80 * 86_400
    edge_ms = now_ms + 80 * DAY_MS - 90 * DAY_MS
    text = f"2025-12-22T{(edge_ms // 3_600_000) % 24:02}"
    assert rows(exchange, f"/v1/candles/seconds?market=KRW-BTC&to={text}:20:00Z&count=9") == []
    page = rows(exchange, f"/v1/candles/seconds?market=KRW-BTC&to={text}:26:30Z&count=200")
    assert 0 < len(page) < 60
    assert rows(exchange, f"{MINUTES}&to={text}:20:00Z") != []


def test_a_ticker_agrees_with_days_and_trades(exchange: SandboxExchange) -> None:
    """Three endpoints, one market."""
    ticker = rows(exchange, "/v1/ticker?markets=KRW-XRP")[0]
    day = rows(exchange, "/v1/candles/days?market=KRW-XRP")[0]
    trade = rows(exchange, "/v1/trades/ticks?market=KRW-XRP")[0]

    assert ticker["opening_price"] == day["opening_price"]
    assert ticker["acc_trade_volume"] == day["candle_acc_trade_volume"]
    assert ticker["acc_trade_price"] == day["candle_acc_trade_price"]
    assert ticker["signed_change_price"] == day["change_price"]
    assert ticker["trade_price"] == trade["trade_price"] == day["trade_price"]
    assert ticker["trade_timestamp"] == trade["timestamp"] == day["timestamp"]
    assert ticker["trade_volume"] == trade["trade_volume"]
    assert ticker["trade_date"] + ticker["trade_time"] == "20260101" + trade[
        "trade_time_utc"
    ].replace(":", "")
    sign = {"RISE": 1, "FALL": -1, "EVEN": 0}[ticker["change"]]
    assert ticker["signed_change_price"] == sign * ticker["change_price"]
    assert ticker["signed_change_rate"] == sign * ticker["change_rate"]


def test_tickers_come_for_many_markets_at_once(exchange: SandboxExchange) -> None:
    """By code in the order asked for, or all of some quote currencies."""
    codes = [row["market"] for row in rows(exchange, "/v1/ticker?markets=KRW-XRP,KRW-BTC")]
    assert codes == ["KRW-XRP", "KRW-BTC"]
    codes = [row["market"] for row in rows(exchange, "/v1/ticker/all?quote_currencies=BTC,USDT")]
    assert codes == ["BTC-ETH", "USDT-BTC"]
    assert rows(exchange, "/v1/ticker/all?quote_currencies=EUR") == []


def test_markets_are_listed(exchange: SandboxExchange) -> None:
    """With their events if wanted."""
    plain = rows(exchange, "/v1/market/all")
    assert plain[0] == {
        "market": "KRW-BTC",
        "korean_name": "비트코인",
        "english_name": "Bitcoin",
    }
    assert len(plain) == 6
    event = rows(exchange, "/v1/market/all?is_details=true")[0]["market_event"]
    assert event["warning"] is False
    assert len(event["caution"]) == 5


def test_trades_page_back_by_cursor(exchange: SandboxExchange) -> None:
    """Newest first, without overlap."""
    whole = rows(exchange, "/v1/trades/ticks?market=KRW-BTC&count=500")
    assert len(whole) == 500
    cursor = whole[99]["sequential_id"]
    page = rows(exchange, f"/v1/trades/ticks?market=KRW-BTC&count=50&cursor={cursor}")
    assert page == whole[100:150]
    assert set(whole[0]) == {
        "market",
        "trade_date_utc",
        "trade_time_utc",
        "timestamp",
        "trade_price",
        "trade_volume",
        "prev_closing_price",
        "change_price",
        "ask_bid",
        "sequential_id",
    }


def test_trades_of_other_days_and_times(exchange: SandboxExchange) -> None:
    """`days_ago` counts UTC days, `to` is a time within one."""
    path = "/v1/trades/ticks?market=KRW-BTC"
    last_of_yesterday = rows(exchange, f"{path}&days_ago=1")[0]
    assert last_of_yesterday["trade_date_utc"] == "2025-12-31"
    for text in ("010203", "01:02:03"):
        row = rows(exchange, f"{path}&days_ago=7&to={text}")[0]
        assert row["trade_date_utc"] == "2025-12-25"
        assert row["trade_time_utc"] < "01:02:03"
    assert rows(exchange, f"{path}&to=00:00:00") == []


def test_order_books_have_thirty_pairs_or_fewer(exchange: SandboxExchange) -> None:
    """`count` cuts the pairs, not the totals; a level that is not offered is an empty list."""
    book = rows(exchange, "/v1/orderbook?markets=KRW-BTC")[0]
    assert len(book["orderbook_units"]) == 30
    assert book["level"] == 0
    total = sum(round(unit["ask_size"] * 10**8) for unit in book["orderbook_units"])
    assert round(book["total_ask_size"] * 10**8) == total

    short = rows(exchange, "/v1/orderbook?markets=KRW-BTC&count=5&level=10000")[0]
    assert len(short["orderbook_units"]) == 5
    assert short["level"] == 10_000
    assert all(unit["bid_price"] % 10_000 == 0 for unit in short["orderbook_units"])
    assert rows(exchange, "/v1/orderbook?markets=KRW-BTC&level=7") == []
    assert rows(exchange, "/v1/orderbook?markets=BTC-ETH&level=10000") == []


def test_instruments_give_numbers_as_text(exchange: SandboxExchange) -> None:
    """As Upbit does."""
    found = rows(exchange, "/v1/orderbook/instruments?markets=KRW-BTC,BTC-ETH,USDT-BTC")
    assert [row["tick_size"] for row in found] == ["1000", "0.00000001", "0.01"]
    assert found[0]["supported_levels"][:2] == ["0", "10000"]
    assert [row["quote_currency"] for row in found] == ["KRW", "BTC", "USDT"]


@pytest.mark.parametrize(
    ("target", "status", "message"),
    [
        ("/v1/candles/minutes/1", 400, "Missing request parameter error"),
        ("/v1/candles/minutes/7?market=KRW-BTC", 400, "Invalid parameter"),
        ("/v1/candles/minutes/x?market=KRW-BTC", 400, "Type mismatch"),
        ("/v1/candles/days?market=KRW-BTC&converting_price_unit=USD", 400, "Invalid parameter"),
        (f"{MINUTES}&to=2026-01-01T12:00:00+09:00", 400, "Invalid parameter"),
        (f"{MINUTES}&to=2026-01-01 12:00:00", 400, "Invalid parameter"),
        (f"{MINUTES}&count=x", 400, "Type mismatch"),
        ("/v1/candles/minutes/1?market=KRW-NONE", 404, "Code not found"),
        ("/v1/candles/minutes/1?market=krw-btc", 404, "Code not found"),
        ("/v1/ticker", 400, "Missing request parameter"),
        ("/v1/ticker?markets=KRW-BTC,KRW-NONE", 404, "Code not found"),
        ("/v1/orderbook?markets=KRW-BTC&level=x", 400, "Type mismatch"),
        ("/v1/orderbook?markets=KRW-BTC&level=-1", 400, "Invalid parameter"),
        ("/v1/orderbook?markets=KRW-BTC&level=nan", 400, "Invalid parameter"),
        ("/v1/trades/ticks?market=KRW-BTC&days_ago=8", 400, "Invalid parameter"),
        ("/v1/trades/ticks?market=KRW-BTC&cursor=x", 400, "Type mismatch"),
        ("/v1/market/all?is_details=maybe", 400, "Type mismatch"),
        ("/v1/nothing", 404, "Not found"),
        ("/", 404, "Not found"),
    ],
)
def test_errors_have_the_quotation_envelope(
    exchange: SandboxExchange, target: str, status: int, message: str
) -> None:
    """`name` is the status as a number, the message Upbit's own."""
    answer = ask(exchange, target)
    error = json.loads(answer.body)["error"]
    assert (answer.status, error["name"]) == (status, status)
    assert error["message"].startswith(message)


def test_only_get_is_served(exchange: SandboxExchange) -> None:
    """There is nothing to post to."""
    assert exchange.handle("POST", MINUTES, [], "127.0.0.1").status == 405


def test_headers_carry_limit_and_the_markets_time(
    exchange: SandboxExchange, hand_clock: Any
) -> None:
    """Clients learn the exchange's clock from `Date`."""
    hand_clock.time_s += 60
    headers = dict(ask(exchange, MINUTES).headers)
    assert headers["Date"] == "Thu, 01 Jan 2026 03:26:45 GMT"
    assert headers["Remaining-Req"] == "group=candle; min=600; sec=9"
    assert headers["Content-Type"].startswith("application/json")


@pytest.mark.parametrize(
    ("offer", "encoding"),
    [("gzip", "gzip"), ("br, GZIP;q=0.5", "gzip"), ("*", "gzip"), ("br", ""), ("gzip;q=0", "")],
)
def test_bodies_are_compressed_for_who_can_read_it(
    exchange: SandboxExchange, offer: str, encoding: str
) -> None:
    """Quotation endpoints offer gzip."""
    plain = ask(exchange, f"{MINUTES}&count=50").body
    answer = ask(exchange, f"{MINUTES}&count=50", **{"Accept-Encoding": offer})
    assert dict(answer.headers).get("Content-Encoding", "") == encoding
    assert (gzip.decompress(answer.body) if encoding else answer.body) == plain
