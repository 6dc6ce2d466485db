"""`UpbitStream`: what is sent, and what every frame that is not about a market means."""

from __future__ import annotations

import json
from typing import Any

import pytest

from actors.errors import MalformedPayload, UnknownTimeframe
from actors.exchanges.streams import StreamAlive, StreamKey, StreamListing, StreamRefusal, Update
from actors.exchanges.upbit.adapter import UpbitAdapter
from actors.exchanges.upbit.stream import UpbitStream
from actors.quotes import BookLevel, OrderBook, Ticker, Trade
from actors.timeframes import Timeframe

UPBIT = UpbitStream()
NOW_MS = 1_767_225_600_000


def ticker_frame(**fields: object) -> dict[str, Any]:
    """Return one good ticker, with `fields` changed."""
    prices = ("opening_price", "high_price", "low_price", "trade_price", "prev_closing_price")
    changes = ("signed_change_price", "signed_change_rate", "trade_volume")
    sums = ("acc_trade_price", "acc_trade_price_24h", "acc_trade_volume", "acc_trade_volume_24h")
    weeks = ("highest_52_week_price", "lowest_52_week_price")
    numbers = dict.fromkeys((*prices, *changes, *sums, *weeks), 2.0)
    times = {"timestamp": NOW_MS, "trade_timestamp": NOW_MS - 5}
    return {"type": "ticker", "code": "KRW-BTC", **times, **numbers, **fields}


def trade_frame(**fields: object) -> dict[str, Any]:
    """Return one good trade, with `fields` changed."""
    return {
        "type": "trade",
        "code": "KRW-BTC",
        "timestamp": NOW_MS,
        "trade_timestamp": NOW_MS - 7,
        "trade_price": 5,
        "trade_volume": 1e-8,
        "ask_bid": "BID",
        "sequential_id": 3,
        **fields,
    }


def book_frame(*units: tuple[object, object, object, object], **fields: object) -> dict[str, Any]:
    """Return an order book from (bid, its size, ask, its size)."""
    names = ("bid_price", "bid_size", "ask_price", "ask_size")
    return {
        "type": "orderbook",
        "code": "KRW-BTC.15",
        "timestamp": NOW_MS,
        "total_ask_size": 3,
        "total_bid_size": 4,
        "orderbook_units": [dict(zip(names, unit, strict=True)) for unit in units],
        **fields,
    }


def candle_frame(stream: str = "candle.1m", **fields: object) -> dict[str, Any]:
    """Return one good candle, with `fields` changed."""
    prices = ("opening_price", "high_price", "low_price", "trade_price")
    sums = ("candle_acc_trade_volume", "candle_acc_trade_price")
    return {
        "type": stream,
        "code": "KRW-BTC",
        "candle_date_time_utc": "2026-01-01T00:00:00",
        **dict.fromkeys((*prices, *sums), 2.0),
        "timestamp": NOW_MS,
        **fields,
    }


def read(frame: object) -> Any:
    """Return the one thing that `frame` tells."""
    (event,) = UPBIT.read(json.dumps(frame).encode())
    return event


# ------------------------------------------------------------------ what is sent


def test_a_subscription_names_all_that_is_wanted_once_for_each_type() -> None:
    """A new request replaces the one before, so it must be whole."""
    streams = {
        StreamKey("ticker", "KRW-BTC"): 0,
        StreamKey("candle", "KRW-BTC", Timeframe.H1): 0,
        StreamKey("ticker", "KRW-ETH"): 0,
        StreamKey("candle", "KRW-BTC", Timeframe.S1): 0,
        StreamKey("trade", "KRW-ETH"): 0,
    }

    sent = json.loads(UPBIT.subscribe(streams, ticket="t-1"))

    assert sent == [
        {"ticket": "t-1"},
        {"type": "ticker", "codes": ["KRW-BTC", "KRW-ETH"]},
        {"type": "candle.60m", "codes": ["KRW-BTC"]},
        {"type": "candle.1s", "codes": ["KRW-BTC"]},
        {"type": "trade", "codes": ["KRW-ETH"]},
        {"format": "SIMPLE"},
    ]


@pytest.mark.parametrize(
    ("depth", "suffix"), [(1, 1), (2, 5), (5, 5), (6, 15), (15, 15), (16, 30), (30, 30), (99, 30)]
)
def test_an_order_book_is_asked_for_as_deep_as_needed_and_no_deeper(
    depth: int, suffix: int
) -> None:
    """Bandwidth of 250 books is worth a thought; beyond 30 levels there is nothing."""
    text = UPBIT.subscribe({StreamKey("orderbook", "KRW-BTC"): depth}, ticket="t")

    assert json.loads(text)[1] == {"type": "orderbook", "codes": [f"KRW-BTC.{suffix}"]}


@pytest.mark.parametrize("timeframe", [Timeframe.D1, Timeframe.W1, Timeframe.MN1, None])
def test_candles_that_are_not_streamed_cannot_be_asked_for(timeframe: Timeframe | None) -> None:
    """Upbit would answer with silence."""
    with pytest.raises(UnknownTimeframe, match=r"upbit streams no candles of (1|no timeframe)"):
        UPBIT.subscribe({StreamKey("candle", "KRW-BTC", timeframe): 0}, ticket="t")


def test_a_subscription_to_nothing_is_refused() -> None:
    """It would be an error at Upbit; the way to want nothing is to hang up."""
    with pytest.raises(ValueError, match="wanted at least one stream"):
        UPBIT.subscribe({}, ticket="t")


def test_the_rules_fit_the_limits_and_the_codes() -> None:
    """The connect group must be a group that the rate limiter knows."""
    rules = UpbitAdapter.stream.rules

    assert rules.connect_group in UpbitAdapter.rules.limits
    assert rules.timeframes == set(Timeframe) - {Timeframe.D1, Timeframe.W1, Timeframe.MN1}
    for timeframe in rules.timeframes:
        text = UPBIT.subscribe({StreamKey("candle", "KRW-BTC", timeframe): 0}, ticket="t")
        (event,) = UPBIT.read(json.dumps(candle_frame(json.loads(text)[1]["type"])))
        assert isinstance(event, Update)
        assert event.key == StreamKey("candle", "KRW-BTC", timeframe)


# ------------------------------------------------------------------ frames about a market


def test_a_ticker_is_live_and_a_snapshot_is_known_as_one() -> None:
    """A snapshot answers a subscription; the rest is news."""
    news = read(ticker_frame(highest_52_week_date="2025-10-08", stream_type="REALTIME"))
    answer = read(ticker_frame(stream_type="SNAPSHOT"))

    assert isinstance(news.value, Ticker)
    assert news.key == StreamKey("ticker", "KRW-BTC")
    assert (news.value.source, news.value.high_52w_date, news.value.low_52w_date) == (
        "live",
        "2025-10-08",
        "",
    )
    assert (news.made_ms, news.value.trade_time_ms) == (NOW_MS, NOW_MS - 5)
    assert (news.snapshot, answer.snapshot) == (False, True)


def test_a_trade_has_the_time_it_happened_as_over_rest() -> None:
    """The frame's own `timestamp` is later; REST's field of that name is the trade's time."""
    update = read(trade_frame(prev_closing_price="4.5"))

    assert update.value == Trade(
        market="KRW-BTC",
        time_ms=NOW_MS - 7,
        price=5.0,
        volume=1e-8,
        side="buy",
        trade_id=3,
        previous_close=4.5,
    )
    assert update.made_ms == NOW_MS
    assert read(trade_frame()).value.previous_close is None


@pytest.mark.parametrize("code", ["KRW-BTC", "KRW-BTC.1", "KRW-BTC.15", "KRW-BTC.30"])
def test_an_order_book_is_known_by_its_market_whatever_depth_was_asked_for(code: str) -> None:
    """What asks for it by market must find it."""
    update = read(book_frame((99, 1, 100, 2), (98, 3, 0, 0), code=code, level=0))

    assert update.key == StreamKey("orderbook", "KRW-BTC")
    assert update.value == OrderBook(
        market="KRW-BTC",
        time_ms=NOW_MS,
        bids=(BookLevel(99, 1), BookLevel(98, 3)),
        asks=(BookLevel(100, 2),),
        total_bid_size=4,
        total_ask_size=3,
        source="live",
    )


def test_a_dot_in_a_name_is_not_taken_for_a_depth() -> None:
    """Only the four depths are cut off."""
    assert read(book_frame(code="KRW-BTC.2")).key.code == "KRW-BTC.2"
    assert read(trade_frame(code="KRW-A.5")).key.code == "KRW-A.5"


def test_lists_of_frames_tell_all_of_them_in_order() -> None:
    """JSON_LIST and SIMPLE_LIST wrap events in a list; one of an unknown kind hides no other."""
    frames = [trade_frame(), {"type": "myOrder", "x": 1}, ticker_frame(), {"status": "UP"}]

    events = UPBIT.read(json.dumps(frames))

    assert [type(event) for event in events] == [Update, Update, StreamAlive]
    assert UPBIT.read(b"[]") == []


@pytest.mark.parametrize("frame", [{"type": "myAsset"}, {"ty": "announcement"}, {"status": "DOWN"},
                                   {"method": "NEW"}])  # fmt: skip
def test_what_nobody_asked_for_tells_nothing(frame: object) -> None:
    """Upbit adds kinds of frames; none may end the stream."""
    assert list(UPBIT.read(json.dumps(frame))) == []


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (ticker_frame(trade_price=0), "ticker frame: KRW-BTC: wanted a finite trade_price above z"),
        (ticker_frame(low_price="nan"), "wanted a finite low_price above zero, was nan"),
        (ticker_frame(signed_change_rate="inf"), "wanted a finite signed_change_rate, was inf"),
        (ticker_frame(acc_trade_price=-1), "wanted a finite acc_trade_price of at least zero"),
        (ticker_frame(trade_price=None), r"wanted `float`, was `null` - at `\$.trade_price`"),
        (ticker_frame(timestamp=10**20), r"32503679999999.*\$.timestamp"),
        (trade_frame(trade_volume=0), "trade frame: KRW-BTC: wanted a finite trade_volume above"),
        (trade_frame(ask_bid="BUY"), "trade frame: Invalid enum value 'BUY'"),
        (trade_frame(prev_closing_price=-2), "wanted a finite prev_closing_price of at least zero"),
        (book_frame((99, 1, 100, 1), (99, 1, 101, 1)), "wanted falling bid prices, was 99 after"),
        (book_frame((99, "inf", 100, 1)), "wanted a finite bid_size above zero, was inf"),
        (book_frame(total_bid_size="nan"), "wanted a finite total_bid_size of at least zero"),
        (candle_frame(high_price=1), "candle.1m frame: KRW-BTC: 2026.*wanted finite prices above"),
        (candle_frame(candle_acc_trade_volume=-1), "volume -1, value 2"),
        (
            candle_frame("candle.3m", candle_date_time_utc="2026-01-01T00:01:00"),
            "candle.3m frame: KRW-BTC: wanted an opening time of 3m, was 2026-01-01T00:01:00",
        ),
        (candle_frame(candle_date_time_utc="2026-01-01T00:00:00Z"), "timezone"),
        (candle_frame(candle_date_time_utc="1969-12-31T23:59:00"), "wanted an opening time of 1m"),
        ({"type": "ticker", "code": "KRW-BTC"}, "ticker frame: Object missing required field"),
        ({"type": 5}, "wanted a type, a status, a method or an error, was '{\"type\": 5}'"),
        ({}, "wanted a type, a status, a method or an error"),
        ({"error": "no"}, "error frame: wanted `object`, was `str`"),
        ({"method": "LIST_SUBSCRIPTIONS", "result": 1}, "LIST_SUBSCRIPTIONS frame: wanted `arr"),
        ([[ticker_frame()]], "wanted a list of objects, was"),
        (7, r"wanted an object or a list of them, was '7' \(Expected `object`, got `int`\)"),
        ({"mthd": "LIST_SUBSCRIPTIONS"}, "LIST_SUBSCRIPTIONS frame: wanted a result, was"),
        (trade_frame(code="K" * 61), r"trade frame: wanted `str` of length <= 60 - at `\$.code`"),
    ],
)
def test_a_frame_that_breaks_a_promise_is_refused(frame: object, message: str) -> None:
    """A bot would trade on it; the error says what was wanted, what was there and where."""
    with pytest.raises(MalformedPayload, match=f"^upbit: .*{message}"):
        UPBIT.read(json.dumps(frame))


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        "",
        b"\xff\xfe",
        b"{",
        "<html>too</html>",
        "{\ud800",
        b"[" * 9999,
        b'{"type":' * 9999,
        b'[{"type":"trade"},',
        b'{"type":"trade","trade_price":429,"trade_vol',
    ],
)
def test_what_is_no_json_is_refused(frame: bytes | str) -> None:
    """Whatever sits in between may answer in Upbit's place."""
    with pytest.raises(MalformedPayload, match=r"^upbit: frame: wanted "):
        UPBIT.read(frame)


# ------------------------------------------------------------------ about the connection


def test_the_answer_to_a_ping_says_that_the_connection_is_up() -> None:
    """And nothing of the subscriptions."""
    assert read({"status": "UP"}) == StreamAlive()


@pytest.mark.parametrize(
    "frame",
    [
        {
            "method": "LIST_SUBSCRIPTIONS",
            "result": [
                {"type": "ticker", "codes": ["KRW-BTC", "KRW-ETH"]},
                {"type": "orderbook", "codes": ["KRW-BTC.15"], "level": 0},
                {"type": "candle.240m", "codes": ["KRW-BTC"]},
                {"type": "myOrder", "codes": ["KRW-BTC"]},
                {"type": "myAsset"},
            ],
            "ticket": "unique uuid",
        },
        {
            "mthd": "LIST_SUBSCRIPTIONS",
            "rslt": [
                {"ty": "ticker", "cds": ["KRW-BTC", "KRW-ETH"]},
                {"ty": "orderbook", "cds": ["KRW-BTC.15"], "lv": 0},
                {"ty": "candle.240m", "cds": ["KRW-BTC"]},
                {"ty": "myOrder", "cds": ["KRW-BTC"]},
            ],
            "tckt": "unique uuid",
        },
    ],
)
def test_a_listing_is_read_in_both_spellings(frame: object) -> None:
    """It shows codes that Upbit dropped in silence."""
    assert read(frame) == StreamListing(
        frozenset(
            {
                StreamKey("ticker", "KRW-BTC"),
                StreamKey("ticker", "KRW-ETH"),
                StreamKey("orderbook", "KRW-BTC"),
                StreamKey("candle", "KRW-BTC", Timeframe.H4),
            }
        )
    )


@pytest.mark.parametrize(
    ("name", "message", "status", "wait_s"),
    [
        ("WRONG_FORMAT", "Format 이 맞지 않습니다.", 0, None),
        ("INVALID_PARAM", "429 is too many codes, wait 5 seconds", 0, None),
        ("TOO_MANY_REQUESTS", "slow down", 429, None),
        (429, "Too Many Requests", 429, None),
        ("X", "I'm a teapot, blocked for 90 seconds", 418, 90.0),
        (418, "10분 동안 차단되었습니다.", 418, 600.0),
    ],
)
def test_a_refusal_says_whether_we_asked_too_often_and_how_long_to_wait(
    name: str | int, message: str, status: int, wait_s: float | None
) -> None:
    """Only for those two is waiting the answer."""
    refusal = read({"error": {"name": name, "message": message}})

    assert refusal == StreamRefusal(str(name), message, status, wait_s)


def test_a_refusal_in_plain_words_is_understood_too() -> None:
    """REST sends 429 as plain text, so a socket may as well."""
    assert UPBIT.read(b"Too many API requests.") == (
        StreamRefusal("429", "Too many API requests.", 429, None),
    )
    assert UPBIT.read("I'm a teapot: 2 min")[0] == StreamRefusal(
        "418", "I'm a teapot: 2 min", 418, 120.0
    )


def test_words_of_a_refusal_cannot_break_a_log() -> None:
    """They come from outside."""
    refusal = read({"error": {"name": "A\nB", "message": "x\x1b[31m" + "y" * 999}})

    assert refusal.code == "A?B"
    assert refusal.message.startswith("x?[31my")
    assert len(refusal.message) == 200
