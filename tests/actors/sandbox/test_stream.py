"""`StreamSession`: what a client may send, what it is answered, and in which form."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.sandbox.exchange import SandboxExchange
from actors.sandbox.market import SandboxMarket
from actors.sandbox.simulated_time import SimulatedTime
from actors.sandbox.stream import FRAMES_A_STEP, Ending, StreamSession
from actors.sandbox.stream_desk import ConnectRefused
from actors.sandbox.testing import frames, wish

START_S = 1_000.0


@pytest.fixture
def session(exchange: SandboxExchange) -> StreamSession:
    """A connection that has just been opened, at `START_S`."""
    return exchange.streams.connect("a")


def say(session: StreamSession, text: str, at_s: float = START_S) -> list[Any]:
    """Return what a text is answered at once."""
    session.take(text, at_s)
    return frames(session, at_s)


def names(found: list[Any]) -> set[tuple[str, str, str]]:
    """Return which streams were told of, and whether in answer or as news."""
    return {(f["type"], f["code"], f["stream_type"]) for f in found if "type" in f}


def test_each_code_gets_a_snapshot_and_then_what_happens(session: StreamSession) -> None:
    """In the order of the request; unknown codes and depths are met with silence."""
    codes = ("KRW-BTC", "KRW-NONE", "krw-btc", "KRW-ETH", "KRW-ETH.7")
    first = say(session, wish("ticker", "trade", codes=codes))
    assert [(f["type"], f["code"], f["stream_type"]) for f in first] == [
        ("ticker", "KRW-BTC", "SNAPSHOT"),
        ("ticker", "KRW-ETH", "SNAPSHOT"),
        ("trade", "KRW-BTC", "SNAPSHOT"),
        ("trade", "KRW-ETH", "SNAPSHOT"),
    ]
    later = frames(session, START_S + 60)
    assert {f["stream_type"] for f in later} == {"REALTIME"}
    assert len(names(later)) == 4


def test_a_new_request_replaces_the_old_one(session: StreamSession) -> None:
    """All of it; what is still wanted is told anew."""
    say(session, wish("trade", "ticker", codes=("KRW-BTC", "KRW-ETH")))
    frames(session, START_S + 10)
    again = say(session, wish("ticker", codes=("KRW-ETH",)), START_S + 10)
    assert names(again) == {("ticker", "KRW-ETH", "SNAPSHOT")}
    assert names(frames(session, START_S + 80)) == {("ticker", "KRW-ETH", "REALTIME")}


def test_a_refused_request_replaces_nothing(session: StreamSession) -> None:
    """The client still gets what it got."""
    say(session, wish("ticker"))
    assert "error" in say(session, wish("nonsense"))[0]
    assert names(frames(session, START_S + 60)) == {("ticker", "KRW-BTC", "REALTIME")}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"is_only_snapshot": True}, {"SNAPSHOT"}),
        ({"isOnlySnapshot": True}, {"SNAPSHOT"}),
        ({"is_only_realtime": True}, {"REALTIME"}),
        ({"isOnlyRealtime": True, "is_only_snapshot": False}, {"REALTIME"}),
        ({}, {"SNAPSHOT", "REALTIME"}),
    ],
)
def test_either_half_can_be_had_alone(
    session: StreamSession, more: dict[str, Any], expected: set[str]
) -> None:
    """Under today's names and those of 2021."""
    session.take(wish("ticker", "candle.1m", "orderbook", "trade", **more), START_S)
    found = frames(session, START_S + 60)
    assert {f["stream_type"] for f in found} == expected
    assert len({f["type"] for f in found}) == 4


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("", "WRONG_FORMAT"),
        ("{}", "WRONG_FORMAT"),
        ("[]", "WRONG_FORMAT"),
        ("[1]", "WRONG_FORMAT"),
        ("[" * 5_000, "WRONG_FORMAT"),
        ("[" + " " * 300_000 + "]", "WRONG_FORMAT"),
        ('[{"type":"ticker","codes":["KRW-BTC"]}]', "NO_TICKET"),
        ('[{"ticket":""},{"type":"ticker","codes":["KRW-BTC"]}]', "NO_TICKET"),
        ('[{"ticket":"x"}]', "NO_TYPE"),
        ('[{"ticket":"x"},{"codes":["KRW-BTC"]}]', "NO_TYPE"),
        ('[{"ticket":"x"},{"type":"ticker"}]', "NO_CODES"),
        ('[{"ticket":"x"},{"type":"ticker","codes":[]}]', "NO_CODES"),
        ('[{"ticket":"x"},{"type":"ticker","codes":"KRW-BTC"}]', "INVALID_PARAM"),
        ('[{"ticket":"x"},{"type":"ticker","codes":[1]}]', "INVALID_PARAM"),
        ('[{"ticket":"x"},{"type":"candle.1d","codes":["KRW-BTC"]}]', "INVALID_PARAM"),
        ('[{"ticket":"x"},{"type":["x"],"codes":["KRW-BTC"]}]', "INVALID_PARAM"),
        ('[{"ticket":"x"},{"type":"myOrder","codes":["KRW-BTC"]}]', "INVALID_AUTH"),
        ('[{"ticket":"x"},{"method":"STOP"}]', "INVALID_PARAM"),
        (wish("ticker", form="XML"), "INVALID_PARAM"),
        (wish("ticker", is_only_snapshot="yes"), "INVALID_PARAM"),
        (wish("ticker", is_only_snapshot=True, is_only_realtime=True), "INVALID_PARAM"),
        (wish("orderbook", level="x"), "INVALID_PARAM"),
        (wish("orderbook", level=-1), "INVALID_PARAM"),
        (wish("orderbook", level=True), "INVALID_PARAM"),
    ],
)
def test_what_cannot_be_meant_is_named(session: StreamSession, text: str, name: str) -> None:
    """By Upbit's names, in a frame of its own."""
    [answer] = say(session, text)
    assert answer["error"]["name"] == name
    assert answer["error"]["message"]


@pytest.mark.parametrize("form", ["DEFAULT", "SIMPLE", "JSON_LIST", "SIMPLE_LIST"])
def test_all_formats_say_the_same(session: StreamSession, form: str) -> None:
    """Names may be short, and events wrapped."""
    types = ("ticker", "trade", "orderbook", "candle.240m")
    long = say(session, wish(*types))
    found = say(session, wish(*types, form=form))
    if form.endswith("LIST"):
        assert {len(event) for event in found} == {1}
        found = [event[0] for event in found]
    if form.startswith("SIMPLE"):
        assert [list(event.values())[:3] for event in found if event["ty"] != "orderbook"] == [
            list(event.values())[:3] for event in long if event["type"] != "orderbook"
        ]
        assert max(len(name) for event in found for name in event) <= 6
        assert set(found[2]["obu"][0]) == {"ap", "bp", "as", "bs"}
    else:
        assert found == long


def test_books_have_the_depth_and_level_asked_for(session: StreamSession) -> None:
    """A level that the market does not offer is silence, as at Upbit."""
    depths = [len(f["orderbook_units"]) for f in say(session, wish("orderbook"))]
    codes = ("KRW-BTC.1", "KRW-BTC.5", "KRW-BTC.15", "KRW-BTC.30")
    depths += [len(f["orderbook_units"]) for f in say(session, wish("orderbook", codes=codes))]
    assert depths == [30, 1, 5, 15, 30]
    [coarse] = say(session, wish("orderbook", level=100_000))
    assert coarse["level"] == 100_000
    assert {unit["ask_price"] % 100_000 for unit in coarse["orderbook_units"]} == {0}
    assert say(session, wish("orderbook", level=3)) == []
    assert frames(session, START_S + 5) == []


def test_books_come_once_a_second_and_with_each_trade(session: StreamSession) -> None:
    """Whenever a request would find another one."""
    session.take(wish("orderbook", "trade", is_only_realtime=True), START_S)
    found = frames(session, START_S + 60)
    books = [f["timestamp"] for f in found if f["type"] == "orderbook"]
    trades = [f["trade_timestamp"] for f in found if f["type"] == "trade"]
    assert len(set(books)) == len(books)
    assert set(trades) <= set(books)
    assert len([ms for ms in books if ms % 1000 == 0]) == 60


def test_a_candle_without_a_trade_yet_is_the_one_before(
    markets: tuple[SandboxMarket, ...], hand_clock: Any, now_ms: int
) -> None:
    """That is what Upbit's snapshot shows right after a border."""
    minute_ms = now_ms // 60_000 * 60_000
    time = SimulatedTime(hand_clock, start_ms=minute_ms)
    session = SandboxExchange(markets, clock=hand_clock, time=time).streams.connect("a")
    found = say(session, wish("candle.1m"))
    assert [f["candle_date_time_utc"] for f in found] == ["2026-01-01T03:24:00"]
    later = frames(session, START_S + 59)
    assert {f["candle_date_time_utc"] for f in later} == {"2026-01-01T03:25:00"}


def test_the_subscriptions_can_be_listed(session: StreamSession) -> None:
    """With the codes as they were sent; a format in it changes the format of what follows."""
    say(session, wish("ticker", "orderbook", codes=("KRW-BTC", "KRW-ETH.5")))
    ask = [{"ticket": "q"}, {"method": "LIST_SUBSCRIPTIONS"}]
    codes = ["KRW-BTC", "KRW-ETH.5"]
    assert say(session, json.dumps(ask)) == [
        {
            "method": "LIST_SUBSCRIPTIONS",
            "result": [
                {"type": "ticker", "codes": codes},
                {"type": "orderbook", "codes": codes, "level": 0},
            ],
            "ticket": "q",
        }
    ]
    [short] = say(session, json.dumps([*ask, {"format": "SIMPLE"}]))
    assert short["rslt"][1] == {"ty": "orderbook", "cds": codes, "lv": 0}
    assert {"mthd", "rslt", "tckt"} == set(short)
    assert all("ty" in f for f in frames(session, START_S + 30))


def test_a_ping_is_answered_every_ten_seconds_from_then_on(session: StreamSession) -> None:
    """However often it is asked."""
    assert say(session, "PING") == [{"status": "UP"}]
    assert say(session, "PING", START_S + 3) == []
    assert frames(session, START_S + 65) == [{"status": "UP"}] * 6


def test_too_many_texts_are_refused_and_then_not_heard(session: StreamSession) -> None:
    """Five a second pass; who goes on is told for how long it is shut out."""
    answers = [say(session, "x")[0]["error"]["name"] for _ in range(30)]
    assert answers[:6] == ["WRONG_FORMAT"] * 5 + ["Too Many Requests"]
    assert answers[-1] == "I'm a teapot"
    [blocked] = say(session, wish("ticker"), START_S + 1)
    assert "seconds" in blocked["error"]["message"]
    assert names(say(session, wish("ticker"), START_S + 20)) != set()


def test_a_hundred_texts_a_minute_is_the_other_limit(session: StreamSession) -> None:
    """At a pace that the first would let pass."""
    answers = [
        say(session, "x", START_S + number * 0.25)[0]["error"]["name"] for number in range(101)
    ]
    assert answers == ["WRONG_FORMAT"] * 100 + ["Too Many Requests"]


def test_a_silent_connection_is_closed(session: StreamSession) -> None:
    """After two minutes in which nothing went either way; a ping counts."""
    session.heard(START_S + 100)
    frames(session, START_S + 219)
    assert not session.ended
    frames(session, START_S + 221)
    assert session.ended == Ending("nothing went either way for 120 s", 1000)


def test_one_address_may_connect_five_times_a_second(exchange: SandboxExchange) -> None:
    """And with an `Origin` header once in ten."""
    for _ in range(5):
        exchange.streams.leave(exchange.streams.connect("a"))
    with pytest.raises(ConnectRefused, match="429"):
        exchange.streams.connect("a")
    exchange.streams.connect("b", origin=True)
    with pytest.raises(ConnectRefused, match="429"):
        exchange.streams.connect("b", origin=True)
    assert [record.status for record in exchange.streams.log] == [101] * 5 + [429, 101, 429]
    assert exchange.streams.open == 1


def test_a_step_is_bounded(session: StreamSession) -> None:
    """However long nobody has looked."""
    session.take(wish("ticker", "trade", "orderbook"), START_S)
    frames(session, START_S)
    step = session.advance(START_S + 100_000)
    assert FRAMES_A_STEP <= len(step) < FRAMES_A_STEP + 10


objects: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.sampled_from(["ticket", "type", "codes", "level", "format", "method", "isOnlySnapshot"]),
    st.sampled_from(
        ["x", "", "ticker", "orderbook", ["KRW-BTC"], ["KRW-BTC.5"], [], 1e300, 0.5, None, True, {}]
    )
    | st.text(),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(objects, max_size=4).map(json.dumps) | st.text())
def test_nothing_that_is_sent_breaks_a_connection(exchange: SandboxExchange, text: str) -> None:
    """Whatever arrives is answered or told, in JSON."""
    exchange.rules._addresses.clear()
    session = exchange.streams.connect("a")
    say(session, text)
    frames(session, START_S + 3)
    exchange.streams.leave(session)
    assert session.ended is None
