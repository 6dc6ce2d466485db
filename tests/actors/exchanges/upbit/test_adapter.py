"""`UpbitAdapter`: what is asked, and what errors and headers mean."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import (
    ExchangeUnavailable,
    InvalidRequest,
    MalformedPayload,
    MarketDataError,
    RateLimited,
    RequestRejected,
    UnknownMarket,
)
from actors.exchanges.base import Feedback, Response
from actors.exchanges.upbit.adapter import UpbitAdapter
from actors.exchanges.upbit.limits import PRIVATE_LIMITS
from actors.series import Series
from actors.timeframes import Timeframe, parse_time_ms

UPBIT = UpbitAdapter()
CALL = UPBIT.candles(Series.parse("KRW-BTC", "1m"), to_ms=None)


def respond(status: int, body: bytes | str = b"", **headers: str) -> Response:
    """Return a response; header names are written with underscores."""
    raw = body.encode() if isinstance(body, str) else body
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, named, raw, 0)


# ------------------------------------------------------------------ questions


def test_candles_are_asked_for_in_full_pages_with_an_explicit_utc_end() -> None:
    """Without `count` Upbit sends one row; a time without a zone means another one elsewhere."""
    to_ms = parse_time_ms("2025-06-24T13:56:53+09:00")

    call = UPBIT.candles(Series.parse("KRW-BTC", "15m"), to_ms=to_ms)

    assert (call.group, call.path) == ("candle", "/v1/candles/minutes/15")
    assert list(call.params) == [
        ("market", "KRW-BTC"),
        ("count", "200"),
        ("to", "2025-06-24T04:56:53Z"),
    ]
    assert call.what == "candles KRW-BTC 15m before 2025-06-24T04:56:53Z"


def test_an_end_inside_a_second_is_rounded_up() -> None:
    """`to` is exclusive and has seconds; rounding down would lose the candle of that second."""
    call = UPBIT.candles(Series.parse("KRW-BTC", "1s"), to_ms=1_500)

    assert dict(call.params)["to"] == "1970-01-01T00:00:02Z"


def test_the_newest_candles_are_asked_for_without_an_end() -> None:
    """Our clock must have no say in what is newest."""
    assert "to" not in dict(CALL.params)


@pytest.mark.parametrize("timeframe", list(Timeframe))
def test_every_timeframe_has_a_path(timeframe: Timeframe) -> None:
    """Upbit offers all twelve."""
    path = UPBIT.candles(Series.parse("KRW-BTC", timeframe.value), to_ms=None).path

    minutes, rest = divmod(timeframe.span_ms, 60_000)
    in_minutes = f"/v1/candles/minutes/{minutes}"
    whole = {"1s": "seconds", "1d": "days", "1w": "weeks", "1M": "months"}
    assert path == (f"/v1/candles/{whole[timeframe]}" if timeframe in whole else in_minutes)
    assert rest == 0 or timeframe is Timeframe.S1
    assert timeframe in UPBIT.rules.timeframes


def test_the_other_questions() -> None:
    """Each counts in its own group."""
    markets, tickers = UPBIT.markets(), UPBIT.tickers(["KRW-BTC", "BTC-ETH"])
    books, trades = UPBIT.order_books(["KRW-BTC"]), UPBIT.trades("KRW-BTC", count=500)

    assert (markets.group, markets.path) == ("market", "/v1/market/all")
    assert dict(markets.params) == {"is_details": "true"}
    assert (tickers.group, tickers.path) == ("ticker", "/v1/ticker")
    assert dict(tickers.params) == {"markets": "KRW-BTC,BTC-ETH"}
    assert (books.group, books.path) == ("orderbook", "/v1/orderbook")
    assert (trades.group, trades.path) == ("trade", "/v1/trades/ticks")
    assert dict(trades.params) == {"market": "KRW-BTC", "count": "500"}
    asked = {call.group for call in (CALL, markets, tickers, books, trades)}
    streamed = {UPBIT.stream.rules.connect_group, UPBIT.stream.rules.message_group}
    assert asked | streamed | set(PRIVATE_LIMITS) == set(UPBIT.rules.limits)


def test_many_codes_are_named_in_short() -> None:
    """A message with a hundred codes in it is read by nobody."""
    assert UPBIT.tickers([f"KRW-{n}" for n in range(100)]).what == (
        "tickers KRW-0, KRW-1, KRW-2 and 97 more"
    )


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: UPBIT.tickers([]), "tickers are asked for 1 to 100 at a time, was 0"),
        (lambda: UPBIT.tickers([f"KRW-{n}" for n in range(101)]), "1 to 100 at a time, was 101"),
        (lambda: UPBIT.order_books(["KRW-BTC"] * 2), "order books are asked for once each"),
        (lambda: UPBIT.trades("KRW-BTC", count=501), "must be 1 to 500, was 501"),
        (lambda: UPBIT.trades("KRW-BTC", count=0), "must be 1 to 500, was 0"),
    ],
)
def test_a_question_that_upbit_would_refuse_is_not_asked(
    ask: Callable[[], object], message: str
) -> None:
    """It would cost a request to hear the same."""
    with pytest.raises(InvalidRequest, match=f"^upbit: .*{message}"):
        ask()


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (404, '{"error":{"name":404,"message":"Code not found"}}', UnknownMarket, "no such market"),
        (404, "<html>nginx</html>", RequestRejected, "status 404, '<html>nginx</html>'"),
        (
            400,
            '{"error":{"name":400,"message":"Invalid parameter. Check the given value!"}}',
            RequestRejected,
            "status 400, Invalid parameter. Check the given value!",
        ),
        (401, '{"error":{"name":"out_of_scope","message":"권한"}}', RequestRejected, "권한"),
        (403, "", RequestRejected, "status 403, ''"),
        (429, "Too many API requests.", RateLimited, "in group candle .429, 'Too many API req"),
        (418, "blocked", RateLimited, "this address is blocked for a while .418, 'blocked'"),
        (500, '{"error":{"name":500,"message":"oops"}}', ExchangeUnavailable, "status 500, oops"),
        (503, "maintenance" * 50, ExchangeUnavailable, r"status 503, 'maint.*'\.\.\.$"),
        (301, "moved", ExchangeUnavailable, "status 301"),
        (204, "", MalformedPayload, "wanted status 200, was 204"),
    ],
)
def test_each_status_means_an_error_of_its_own(
    status: int, body: str, kind: type[MarketDataError], message: str
) -> None:
    """The two envelopes, plain text and HTML; the message names exchange and question."""
    error = UPBIT.error(respond(status, body), CALL)

    assert type(error) is kind
    with pytest.raises(kind, match=f"^upbit: candles KRW-BTC 1m: .*{message}"):
        raise error


def test_the_reason_of_a_refusal_is_the_exchanges_own_word() -> None:
    """It is a number on some endpoints and a word on others."""
    word = UPBIT.error(respond(401, '{"error":{"name":"nonce_used","message":""}}'), CALL)
    number = UPBIT.error(respond(400, '{"error":{"name":400,"message":""}}'), CALL)
    nothing = UPBIT.error(respond(403, "<html>"), CALL)

    codes = [error.code for error in (word, number, nothing) if isinstance(error, RequestRejected)]
    assert codes == ["nonce_used", "400", "403"]


def test_what_the_exchange_says_cannot_paint_on_the_terminal() -> None:
    """Errors end in logs and on screens; escape sequences in them are an old trick."""
    body = json.dumps({"error": {"name": 400, "message": "\x1b[2J\ngone"}})

    assert str(UPBIT.error(respond(400, body), CALL)).endswith("status 400, ?[2J?gone")


@pytest.mark.parametrize(
    ("status", "body", "header", "wait_s"),
    [
        (429, "Too many API requests.", "", 1.0),
        (429, "", "3", 3.0),
        (418, "I'm a teapot", "", 60.0),
        (418, "blocked for 30 seconds", "", 30.0),
        (418, "Blocked. Retry after 90s.", "20", 90.0),
        (418, "blocked for 1.5 min, then 2 hours", "", 7200.0),
        (418, "10분 동안 차단되었습니다", "", 600.0),
        (418, "blocked for 500 ms", "", 0.5),
        (418, "blocked until 2026-01-01, error 12345678", "", 60.0),
        (418, "", "Wed, 21 Oct 2026 07:28:00 GMT", 60.0),
    ],
)
def test_the_wait_is_read_wherever_it_is_said(
    status: int, body: str, header: str, wait_s: float
) -> None:
    """The documentation says that a block names its length, but not how."""
    error = UPBIT.error(respond(status, body, retry_after=header), CALL)

    assert isinstance(error, RateLimited)
    assert error.retry_after_s == wait_s


@pytest.mark.recorded
def test_every_documented_error_is_understood(recorded: Path) -> None:
    """All ten examples of the documentation."""
    examples = json.loads((recorded / "rest/official_docs_examples.json").read_bytes())["errors"]

    assert len(examples) >= 5
    for example in examples:
        body = example.get("body_text") or json.dumps(example.get("body"))
        # Some are shown without their status, which is 400 then.
        status = example["status"] or 400
        error = UPBIT.error(respond(status, body), CALL)
        waits, unknown = status in {418, 429}, b"Code not found" in body.encode()
        kind = RateLimited if waits else UnknownMarket if unknown else RequestRejected
        assert type(error) is kind, example


# ------------------------------------------------------------------ headers


@pytest.mark.parametrize(
    ("header", "remaining"),
    [
        ("group=candle; min=600; sec=9", 9),
        ("group=default; min=1800; sec=0", 0),
        ("sec=7", 7),
        ("SEC=7", None),
        (" min=600 ;  sec = 3 ;group=candle", 3),
        ("group=candle; min=600", None),
        ("group=candle; min=600; sec=", None),
        ("group=candle; min=600; sec=-1", None),
        ("group=candle; millisec=5; sec=12345678901", None),
        ("", None),
    ],
)
def test_what_is_left_is_read_from_the_header(header: str, remaining: int | None) -> None:
    """`min` is a constant without meaning; what cannot be read is not guessed."""
    assert UPBIT.feedback(respond(200, remaining_req=header)) == Feedback(remaining=remaining)


def test_a_body_is_no_advice_unless_the_request_was_refused() -> None:
    """`30 seconds` in a market's name is not a wait."""
    assert UPBIT.feedback(respond(200, "30 seconds", retry_after="5")).retry_after_s is None


@settings(max_examples=50)
@given(
    st.integers(100, 599), st.binary() | st.text().map(str.encode), st.text(), st.text(), st.text()
)
def test_no_response_makes_the_adapter_fail(
    status: int, body: bytes, remaining: str, retry: str, message: str
) -> None:
    """Errors are read at the worst moments, from whatever stands between us and the exchange."""
    wrapped = json.dumps({"error": {"name": 1, "message": message}}).encode()
    call = UPBIT.trades("KRW-BTC", count=1)
    for raw in (body, wrapped, b'{"error":' + b"[" * 9999):
        response = respond(status, raw, remaining_req=remaining, retry_after=retry)
        assert isinstance(UPBIT.error(response, call), MarketDataError)
        assert isinstance(UPBIT.feedback(response), Feedback)
