"""Faults of streams and of time: each does what its name says, and again from the same seed."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.sandbox.exchange import SandboxExchange
from actors.sandbox.fault_options import FaultOptionError, read_faults
from actors.sandbox.market import SandboxMarket
from actors.sandbox.simulated_time import SimulatedTime
from actors.sandbox.stream_desk import ConnectRefused
from actors.sandbox.stream_faults import REORDER_FRAMES_MAX, StreamFault, StreamFaults
from actors.sandbox.testing import ask, frames, rows, wish

START_S = 1_000.0
TYPES = ("ticker", "trade", "orderbook", "candle.1m")

Told = list[tuple[Any, ...]]


@pytest.fixture
def faults(exchange: SandboxExchange) -> StreamFaults:
    """The switches of the exchange."""
    return exchange.stream_faults


def keys(found: list[Any]) -> Told:
    """Return what tells frames apart."""
    return [(f["type"], f["code"], f["timestamp"], f["stream_type"]) for f in found]


def listen(exchange: SandboxExchange, seconds: float, *types: str) -> Told:
    """Return what is told of two markets on a new connection."""
    session = exchange.streams.connect("a")
    session.take(wish(*types or TYPES, codes=("KRW-BTC", "KRW-ETH")), START_S)
    found = keys(frames(session, START_S + seconds))
    exchange.streams.leave(session)
    return found


@pytest.mark.parametrize("fault", [StreamFault.CUT, StreamFault.HALF_OPEN])
def test_connections_end_at_random_moments(
    exchange: SandboxExchange, faults: StreamFaults, fault: StreamFault
) -> None:
    """On average after the time that was named; nothing comes after it."""
    exchange.streams.faults.switch_on(fault, 20.0)
    lived_s = []
    for number in range(40):
        session = exchange.streams.connect(f"client {number}")
        session.take(wish("orderbook"), START_S)
        told = len(frames(session, START_S + 500))
        assert session.faults.half_open == (fault is StreamFault.HALF_OPEN)
        assert (session.ended is not None) == (fault is StreamFault.CUT)
        assert session.next_s == float("inf")
        assert frames(session, START_S + 900) == []
        lived_s.append(faults.log[-1].now_s - START_S)
        assert told >= int(lived_s[-1])
    assert 10 < sum(lived_s) / len(lived_s) < 40
    assert faults.struck(fault) == 40
    assert {strike.connection for strike in faults.log} == set(range(1, 41))


def test_connections_can_be_struck_now(exchange: SandboxExchange, faults: StreamFaults) -> None:
    """Those there are, and none that comes later."""
    one, two = exchange.streams.connect("a"), exchange.streams.connect("a")
    exchange.streams.half_open()
    exchange.streams.leave(one)
    exchange.streams.cut()
    three = exchange.streams.connect("a")
    assert one.faults.half_open
    assert one.ended is None
    assert two.ended is not None
    assert two.ended.code == 0
    assert three.ended is None
    assert [(s.fault, s.connection) for s in faults.log] == [
        ("half_open", 1),
        ("half_open", 2),
        ("cut", 2),
    ]


def test_one_stream_stalls_until_it_is_subscribed_to_anew(
    exchange: SandboxExchange, faults: StreamFaults
) -> None:
    """The rest goes on."""
    session = exchange.streams.connect("a")
    session.take(wish(*TYPES, codes=("KRW-BTC", "KRW-ETH")), START_S)
    frames(session, START_S + 1)
    faults.switch_on(StreamFault.STALL, 0.1)
    frames(session, START_S + 1.4)
    faults.switch_off(StreamFault.STALL)
    silent = {tuple(s.detail.split()) for s in faults.log}
    told = {key[:2] for key in keys(frames(session, START_S + 90))}
    assert silent
    assert told == {(kind, code) for kind in TYPES for code in ("KRW-BTC", "KRW-ETH")} - silent
    session.take(wish(*TYPES, codes=("KRW-BTC", "KRW-ETH")), START_S + 90)
    assert len({key[:2] for key in keys(frames(session, START_S + 90))}) == 8


def test_a_named_stream_is_silent_while_its_stall_is_on(
    exchange: SandboxExchange, faults: StreamFaults
) -> None:
    """Whoever subscribes to it, and however often."""
    faults.switch_on(StreamFault.STALL, code="KRW-BTC")
    assert {key[1] for key in listen(exchange, 60)} == {"KRW-ETH"}
    faults.switch_off()
    faults.switch_on(StreamFault.STALL, code="KRW-BTC", kind="ticker")
    assert len({key[:2] for key in listen(exchange, 60)}) == 7


def test_frames_are_lost_and_doubled(exchange: SandboxExchange, faults: StreamFaults) -> None:
    """About as many as was said, each one written down; never one that was not there."""
    whole = Counter(listen(exchange, 300))
    faults.switch_on(StreamFault.LOSE, 0.2)
    left = Counter(listen(exchange, 300))
    lost = faults.struck("lose")
    assert whole - left
    assert not left - whole
    assert whole.total() - left.total() == lost
    assert 0.1 < lost / whole.total() < 0.3
    faults.switch_off()
    faults.switch_on(StreamFault.DUPLICATE, 0.2, kind="trade")
    more = Counter(listen(exchange, 300)) - whole
    assert {key[0] for key in more} == {"trade"}
    assert more.total() == faults.struck("duplicate")


def test_frames_overtake_each_other_within_bounds(
    exchange: SandboxExchange, faults: StreamFaults
) -> None:
    """None is missing at the end."""
    whole = listen(exchange, 300, "trade", "ticker")
    faults.switch_on(StreamFault.REORDER, 0.3)
    mixed = listen(exchange, 302, "trade", "ticker")[: len(whole)]
    places = {key: place for place, key in enumerate(whole)}
    moves = [place - places[key] for place, key in enumerate(mixed) if key in places]
    assert any(moves)
    assert max(map(abs, moves)) <= 3 * REORDER_FRAMES_MAX
    assert len(set(whole) - set(mixed)) <= REORDER_FRAMES_MAX


def test_a_snapshot_can_be_an_old_one(exchange: SandboxExchange, faults: StreamFaults) -> None:
    """Of the window before, though the present one has trades; the next trade puts it right."""
    faults.switch_on(StreamFault.OLD_SNAPSHOT, 1.0)
    session = exchange.streams.connect("a")
    session.take(wish("candle.240m", "ticker"), START_S)
    first, _, *later = frames(session, START_S + 60)
    assert first["candle_date_time_utc"] == "2025-12-31T20:00:00"
    [row] = rows(exchange, "/v1/candles/minutes/240?market=KRW-BTC&to=2026-01-01T00:00:00Z")
    assert first["trade_price"] == row["trade_price"]
    candles = {f["candle_date_time_utc"] for f in later if f["type"] == "candle.240m"}
    assert candles == {"2026-01-01T00:00:00"}
    assert faults.struck("old_snapshot") == 1


def test_a_skewed_clock_dates_messages_and_no_trades(
    exchange: SandboxExchange, faults: StreamFaults
) -> None:
    """The matching engine's own times stay right."""
    session = exchange.streams.connect("a")
    session.take(wish(*TYPES), START_S)
    right = {f["type"]: f for f in frames(session, START_S)}
    books = "/v1/orderbook?markets=KRW-BTC"
    [book] = rows(exchange, books)
    faults.switch_on(StreamFault.CLOCK_SKEW, -2.5)
    session.take(wish(*TYPES), START_S)
    wrong = {f["type"]: f for f in frames(session, START_S)}
    for kind, frame in right.items():
        off_ms = 0 if kind == "candle.1m" else 2_500
        assert wrong[kind] == {**frame, "timestamp": frame["timestamp"] - off_ms}
    assert rows(exchange, books) == [{**book, "timestamp": book["timestamp"] - 2_500}]
    date = dict(ask(exchange, "/v1/market/all").headers)["Date"]
    assert date == "Thu, 01 Jan 2026 03:25:43 GMT"


def test_rows_are_late_each_by_a_lag_of_its_own(
    markets: tuple[SandboxMarket, ...], hand_clock: Any, now_ms: int
) -> None:
    """A row only grows, never says what was not so, and is final once the bound has passed."""
    start_ms = now_ms // 60_000 * 60_000 + 55_000
    exchange = SandboxExchange(
        markets, clock=hand_clock, time=SimulatedTime(hand_clock, start_ms=start_ms)
    )
    exchange.stream_faults.switch_on(StreamFault.LATE_ROWS, 4.0)
    honest = SandboxExchange(markets, clock=hand_clock, time=exchange.time)
    target = "/v1/candles/minutes/1?market=KRW-BTC&count=5"
    volumes: dict[str, float] = {}
    behind = 0
    for _ in range(120):
        hand_clock.time_s += 0.5
        late, true = rows(exchange, target), rows(honest, target)
        assert len(late) == 5
        behind += late != true
        for row in late:
            opened = row["candle_date_time_utc"]
            assert row["candle_acc_trade_volume"] >= volumes.get(opened, 0.0)
            volumes[opened] = row["candle_acc_trade_volume"]
        settled = [row for row in true if row["timestamp"] + 4_000 <= exchange.time.now_ms()]
        assert all(row in late or row == true[-1] for row in settled)
    assert behind > 10


def test_maintenance_means_that_nobody_trades(
    markets: tuple[SandboxMarket, ...], hand_clock: Any, now_ms: int
) -> None:
    """Streams end and are refused, requests are answered 503, and later nothing is found there."""
    minute_ms = now_ms // 60_000 * 60_000
    span = (minute_ms + 120_000, minute_ms + 300_000)
    time = SimulatedTime(hand_clock, start_ms=minute_ms)
    exchange = SandboxExchange(markets, clock=hand_clock, time=time, maintenance=[span])
    session = exchange.streams.connect("a")
    session.take(wish("trade", "orderbook"), START_S)
    told = frames(session, START_S + 500)
    assert max(f["timestamp"] for f in told) < span[0]
    assert session.ended is not None
    assert session.ended.code == 1001
    hand_clock.time_s += 130
    assert ask(exchange, "/v1/ticker?markets=KRW-BTC").status == 503
    with pytest.raises(ConnectRefused, match="503"):
        exchange.streams.connect("a")
    hand_clock.time_s += 175
    assert ask(exchange, "/v1/ticker?markets=KRW-BTC").status == 200
    hand_clock.time_s += 300
    opened = [
        row["candle_date_time_utc"][11:16]
        for row in rows(exchange, "/v1/candles/minutes/1?market=KRW-BTC&count=8")
    ]
    assert opened == ["03:35", "03:34", "03:33", "03:32", "03:31", "03:30", "03:26", "03:25"]
    assert exchange.stream_faults.struck("maintenance") == 3


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 2**32))
def test_a_seed_makes_the_same_trouble_again(seed: int) -> None:
    """With everything on at once."""

    def run(rng_seed: int) -> tuple[list[bytes], list[Any]]:
        clock = Stopped()
        faults = StreamFaults(random.Random(rng_seed))
        exchange = SandboxExchange(
            MARKETS, clock=clock, time=SimulatedTime(clock, start_ms=MS), stream_faults=faults
        )
        for fault in (StreamFault.LOSE, StreamFault.DUPLICATE, StreamFault.REORDER):
            faults.switch_on(fault, 0.1)
        faults.switch_on(StreamFault.STALL, 15)
        faults.switch_on(StreamFault.CUT, 60)
        session = exchange.streams.connect("a")
        session.take(wish(*TYPES), START_S)
        found = [frame.data for _ in range(4) for frame in session.advance(START_S + 200)]
        return found, list(faults.log)

    assert run(seed) == run(seed)
    assert run(seed)[1] != run(seed + 1)[1]


class Stopped:
    """A clock that stands still."""

    def now_s(self) -> float:
        """Return the start."""
        return START_S

    def utc_ms(self) -> int:
        """Return nothing of use."""
        return 0


def _markets() -> tuple[SandboxMarket, ...]:
    from actors.sandbox.generated import generated_markets  # noqa: PLC0415 - built once, below

    return generated_markets(seed=3, now_ms=MS, history_days=3, count=2)


MS = 1_767_225_600_000
MARKETS = _markets()


@pytest.mark.parametrize(
    ("fault", "size"),
    [
        (StreamFault.LOSE, 0.0),
        (StreamFault.LOSE, 1.5),
        (StreamFault.CUT, 0.0),
        (StreamFault.STALL, -1.0),
        (StreamFault.LATE_ROWS, float("nan")),
        (StreamFault.CLOCK_SKEW, float("inf")),
    ],
)
def test_numbers_that_cannot_be_are_refused(fault: StreamFault, size: float) -> None:
    """With the fault's name and what it needs."""
    with pytest.raises(ValueError, match=f"{fault.value} needs"):
        StreamFaults().switch_on(fault, size)


def test_faults_are_read_from_words(exchange: SandboxExchange) -> None:
    """What `--fault` takes."""
    options = read_faults(
        [
            "cut:60",
            "stall:0:KRW-BTC",
            "lose:0.01:candle.1m",
            "duplicate:1:ticker:KRW-ETH",
            "clock_skew:-3",
            "garbage:candle",
            "hang",
            "maintenance:2026-01-01T17:00/2026-01-01T18:00",
        ]
    )
    options.switch_on(exchange.faults, exchange.stream_faults)
    assert options.maintenance == [(1_767_286_800_000, 1_767_290_400_000)]
    assert exchange.stream_faults.skew_ms == -3_000
    [lose] = exchange.stream_faults.all_of(StreamFault.LOSE)
    assert (lose.size, lose.code, lose.kind) == (0.01, None, "candle.1m")
    [double] = exchange.stream_faults.all_of(StreamFault.DUPLICATE)
    assert (double.code, double.kind) == ("KRW-ETH", "ticker")
    assert json.dumps(options.requests) == '[["garbage", "candle"], ["hang", null]]'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flood:3", "--fault must be one of cut half_open"),
        ("cut", "cut needs a number, as in cut:0.5"),
        ("cut:soon", "cut needs a number"),
        ("cut:-1", "cut needs a number of seconds above 0"),
        ("lose:2", "lose needs a probability"),
        ("cut:60:KRW-BTC", "cut takes nothing but a number"),
        ("lose:0.1:KRW-BTC:KRW-ETH", "one market and one type"),
        ("garbage:coffee", "garbage can be limited to one of market candle"),
        ("maintenance:60", "maintenance needs START/END"),
        ("maintenance:soon/later", "maintenance must be milliseconds"),
        ("maintenance:2026-01-02/2026-01-01", "must end after it begins"),
    ],
)
def test_words_that_cannot_be_meant_are_refused(text: str, message: str) -> None:
    """With what was wanted."""
    with pytest.raises(Exception, match=message) as caught:
        read_faults([text])
    assert isinstance(caught.value, FaultOptionError) or "milliseconds" in message
