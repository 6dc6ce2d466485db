"""`SandboxExchange`: its limits, its faults, and what must never break it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.sandbox.exchange import SandboxExchange
from actors.sandbox.faults import Fault
from actors.sandbox.market import SandboxMarket
from actors.sandbox.simulated_time import SimulatedTime
from actors.sandbox.testing import ask, rows
from actors.timeframes import Timeframe
from runtime.core.clock import Clock

MINUTES = "/v1/candles/minutes/1?market=KRW-BTC"


def test_too_many_requests_get_plain_text(exchange: SandboxExchange) -> None:
    """429 is not JSON; after it come blocks that say how long they last."""
    answers = [ask(exchange, MINUTES) for _ in range(32)]
    assert [answer.status for answer in answers[9:12]] == [200, 429, 429]
    assert answers[10].body == b"Too many API requests."
    assert dict(answers[10].headers)["Content-Type"].startswith("text/plain")
    assert dict(answers[10].headers)["Remaining-Req"].endswith("sec=0")
    assert answers[31].status == 418
    assert b"10 seconds" in answers[31].body
    assert exchange.rules.refused() == 22


def test_an_origin_header_is_counted_apart(exchange: SandboxExchange) -> None:
    """Whatever its value."""
    assert ask(exchange, MINUTES, Origin="null").status == 200
    refused = ask(exchange, "/v1/market/all", origin="http://localhost")
    assert refused.status == 429
    assert dict(refused.headers)["Remaining-Req"] == "group=origin; min=6; sec=0"


def test_the_log_tells_what_was_asked(exchange: SandboxExchange, now_ms: int) -> None:
    """Tests count exchange calls with it."""
    ask(exchange, f"{MINUTES}&count=5&to=2026-01-01T03:00:00Z")
    ask(exchange, "/v1/ticker?markets=KRW-NONE")
    first, second = exchange.log
    assert first.params == {"market": "KRW-BTC", "count": "5", "to": "2026-01-01T03:00:00Z"}
    assert (first.path, first.status, first.now_ms) == ("/v1/candles/minutes/1", 200, now_ms)
    assert second.status == 404
    assert (exchange.calls(), exchange.calls("/v1/candles")) == (2, 1)


def test_faults_strike_the_group_and_the_number_they_are_set_for(
    exchange: SandboxExchange,
) -> None:
    """Everything else goes on."""
    exchange.faults.switch_on(Fault.STATUS_500, group="candle", times=2)
    assert ask(exchange, "/v1/market/all").status == 200
    assert [ask(exchange, MINUTES).status for _ in range(3)] == [500, 500, 200]
    exchange.faults.switch_on(Fault.STATUS_500)
    assert ask(exchange, "/v1/market/all").status == 500
    exchange.faults.switch_off()
    assert ask(exchange, "/v1/market/all").status == 200


def test_faults_of_delivery_are_left_to_the_shell(exchange: SandboxExchange) -> None:
    """The exchange says what should happen to the bytes."""
    for fault in (Fault.HANG, Fault.HALF_BODY, Fault.AWAY):
        exchange.faults.switch_on(fault, times=1)
        assert ask(exchange, MINUTES).delivery is fault
    assert exchange.calls() == 2


def test_garbage_is_not_json_and_other_markets_are_others(exchange: SandboxExchange) -> None:
    """A client must notice both."""
    exchange.faults.switch_on(Fault.GARBAGE, times=1)
    with pytest.raises(ValueError, match=r"decode|Expecting"):
        json.loads(ask(exchange, MINUTES).body)
    exchange.faults.switch_on(Fault.OTHER_MARKET, times=1)
    assert rows(exchange, MINUTES)[0]["market"] == "KRW-ETH"
    assert rows(exchange, MINUTES)[0]["market"] == "KRW-BTC"


def test_another_market_can_be_sent_where_there_is_only_one(
    markets: tuple[SandboxMarket, ...], hand_clock: Clock, now_ms: int
) -> None:
    """Then its name is one that nobody asked for."""
    time = SimulatedTime(hand_clock, start_ms=now_ms)
    alone = SandboxExchange(markets[:1], clock=hand_clock, time=time)
    alone.faults.switch_on(Fault.OTHER_MARKET)
    assert rows(alone, MINUTES)[0]["market"] == "KRW-OTHER"


def test_rows_can_show_up_late(
    markets: tuple[SandboxMarket, ...], hand_clock: Any, now_ms: int
) -> None:
    """With a lag, candles know the market as it was; tickers are not late."""
    time = SimulatedTime(hand_clock, start_ms=Timeframe.M1.floor_ms(now_ms) + 1_500)
    late = SandboxExchange(markets, clock=hand_clock, time=time, row_lag_ms=2_000)
    assert rows(late, MINUTES)[0]["candle_date_time_utc"] == "2026-01-01T03:24:00"
    last = markets[0].last_trade(Timeframe.M1.floor_ms(now_ms) - 500)
    assert last is not None
    assert rows(late, MINUTES)[0]["timestamp"] == last.time_ms
    hand_clock.time_s += 60
    assert rows(late, MINUTES)[0]["candle_date_time_utc"] == "2026-01-01T03:25:00"


def test_a_market_is_unknown_before_its_first_trade(
    markets: tuple[SandboxMarket, ...], hand_clock: Clock
) -> None:
    """A replay that has not reached it yet does not list it."""
    time = SimulatedTime(hand_clock, start_ms=markets[0].source.first_ms - 1)
    early = SandboxExchange(markets, clock=hand_clock, time=time)
    assert rows(early, "/v1/market/all") == []
    assert ask(early, MINUTES).status == 404


paths = st.sampled_from(
    [
        "/v1/market/all",
        "/v1/candles/seconds",
        "/v1/candles/minutes/3",
        "/v1/candles/days",
        "/v1/ticker",
        "/v1/ticker/all",
        "/v1/trades/ticks",
        "/v1/orderbook",
        "/v1/orderbook/instruments",
    ]
)
names = st.sampled_from(["market", "markets", "to", "count", "level", "cursor", "days_ago"])
values = st.sampled_from(["KRW-BTC", "0", "-1", "5", "x", "", "9" * 18, "-" + "9" * 18]) | st.text()


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(paths | st.text(), st.lists(st.tuples(names, values), max_size=5), st.text())
def test_nothing_that_is_asked_breaks_the_exchange(
    exchange: SandboxExchange,
    hand_clock: Any,
    path: str,
    pairs: list[tuple[str, str]],
    tail: str,
) -> None:
    """Whatever arrives is answered, with a body that matches its type."""
    hand_clock.time_s += 5
    query = "&".join(f"{name}={value}" for name, value in pairs)
    for target in (f"{path}?{query}", f"{path}?{query}{tail}"):
        answer = ask(exchange, target)
        assert answer.status in (200, 400, 404)
        json.loads(answer.body)
