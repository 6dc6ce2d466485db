"""Streams and REST tell one story: whatever a frame says, a request at that moment says, too."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.sandbox.exchange import SandboxExchange
from actors.sandbox.generated import CHARACTERS, GeneratedSource
from actors.sandbox.market import DAY_MS, SandboxMarket
from actors.sandbox.simulated_time import SimulatedTime
from actors.sandbox.stream_payloads import CANDLE_TYPES, short
from actors.sandbox.testing import frames, rows, wish
from actors.timeframes import Timeframe

NOW_MS = 1_767_225_600_000
MARKETS = {
    seed: tuple(
        SandboxMarket(GeneratedSource(CHARACTERS[kind], seed=seed, listed_ms=NOW_MS - 20 * DAY_MS))
        for kind in (0, 3, 4)
    )
    for seed in (1, 2)
}
PATHS = {"candle.1s": "seconds"} | {
    kind: f"minutes/{kind[7:-1]}" for kind in CANDLE_TYPES if kind != "candle.1s"
}
SAME = (
    "opening_price",
    "high_price",
    "low_price",
    "trade_price",
    "candle_acc_trade_volume",
    "candle_acc_trade_price",
    "candle_date_time_utc",
    "candle_date_time_kst",
    "timestamp",
)

moments_ms = st.integers(NOW_MS - 2 * DAY_MS, NOW_MS + 2 * DAY_MS) | st.integers(
    NOW_MS - 90_000, NOW_MS + 30_000
)
seeds = st.sampled_from(sorted(MARKETS))
codes = st.sampled_from([market.code for market in MARKETS[1]])


class Turned:
    """A clock that stands where it is put."""

    time_s = 0.0

    def now_s(self) -> float:
        """Return where it stands."""
        return self.time_s

    def utc_ms(self) -> int:
        """Return nothing of use: the market has a time of its own."""
        return 0


def open_at(seed: int, now_ms: int) -> tuple[SandboxExchange, Turned]:
    """Return an exchange at a moment."""
    clock = Turned()
    time = SimulatedTime(clock, start_ms=now_ms)
    return SandboxExchange(MARKETS[seed], clock=clock, time=time), clock


def rest_at(seed: int, now_ms: int, target: str) -> dict[str, Any]:
    """Return the first row that a request at a moment is answered with."""
    return rows(open_at(seed, now_ms)[0], target)[0]


def listen(seed: int, now_ms: int, seconds: float, *types: str, code: str) -> list[dict[str, Any]]:
    """Return all that is told of `code` for some seconds, the snapshots first."""
    exchange, _ = open_at(seed, now_ms)
    session = exchange.streams.connect("a")
    session.take(wish(*types, codes=(code,)), 0.0)
    # Where nobody trades for two minutes the connection would be idle.
    session.take("PING", 0.0)
    return [frame for frame in frames(session, seconds) if "type" in frame]


@settings(deadline=None, max_examples=25)
@given(seeds, codes, moments_ms)
def test_candle_frames_equal_the_rows_of_their_moment(seed: int, code: str, now_ms: int) -> None:
    """In every timeframe, snapshots and what follows, to the digit."""
    told = listen(seed, now_ms, 70, *CANDLE_TYPES, code=code)
    assert {frame["type"] for frame in told} == set(CANDLE_TYPES)
    for number, frame in enumerate(told):
        moment_ms = now_ms if number < len(CANDLE_TYPES) else frame["timestamp"]
        target = f"/v1/candles/{PATHS[frame['type']]}?market={code}"
        row = rest_at(seed, moment_ms, target)
        assert {name: frame[name] for name in SAME} == {name: row[name] for name in SAME}


@settings(deadline=None, max_examples=15)
@given(seeds, codes, moments_ms)
def test_tickers_equal_the_rows_of_their_moment(seed: int, code: str, now_ms: int) -> None:
    """Also over midnight, and with the 24 hours that slide along."""
    for frame in listen(seed, now_ms, 90, "ticker", code=code):
        moment_ms = now_ms if frame["stream_type"] == "SNAPSHOT" else frame["trade_timestamp"]
        row = rest_at(seed, moment_ms, f"/v1/ticker?markets={code}")
        for name in set(row) - {"market", "trade_date_kst", "trade_time_kst"}:
            assert frame[name] == row[name], name
        both = frame["acc_ask_volume"] + frame["acc_bid_volume"]
        assert both == pytest.approx(frame["acc_trade_volume"], abs=1e-6)


@settings(deadline=None, max_examples=15)
@given(seeds, codes, moments_ms)
def test_books_and_trades_equal_the_rows_of_their_moment(seed: int, code: str, now_ms: int) -> None:
    """A trade's best prices are those of the book right after it."""
    for frame in listen(seed, now_ms, 8, "orderbook", "trade", code=code):
        moment_ms = now_ms if frame["stream_type"] == "SNAPSHOT" else frame["timestamp"]
        book = rest_at(seed, moment_ms, f"/v1/orderbook?markets={code}")
        if frame["type"] == "orderbook":
            for name in set(book) - {"market"}:
                assert frame[name] == book[name], name
        else:
            best = book["orderbook_units"][0]
            assert (frame["best_ask_price"], frame["best_bid_size"]) == (
                best["ask_price"],
                best["bid_size"],
            )
            row = rest_at(seed, moment_ms, f"/v1/trades/ticks?market={code}")
            for name in ("sequential_id", "trade_price", "trade_volume", "prev_closing_price"):
                assert frame[name] == row[name], name
            assert frame["change_price"] == abs(row["change_price"])


@settings(deadline=None, max_examples=10)
@given(seeds, codes, moments_ms)
def test_the_trades_of_a_minute_are_its_candle(seed: int, code: str, now_ms: int) -> None:
    """None is missing, none is told twice."""
    start_ms = Timeframe.M1.floor_ms(now_ms)
    exchange, _ = open_at(seed, start_ms)
    session = exchange.streams.connect("a")
    session.take(wish("trade", codes=(code,), is_only_realtime=True), 0.0)
    minutes: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for trade in frames(session, 119.9995):
        minutes[Timeframe.M1.floor_ms(trade["trade_timestamp"])].append(trade)
    # A trade in the very millisecond of the subscription belongs to the snapshot.
    minutes.pop(start_ms, None)
    assert minutes or code != "KRW-BTC"
    for open_ms, trades in minutes.items():
        scale = exchange.markets[code].scale
        units = [round(trade["trade_volume"] * 10**scale.volume_decimals) for trade in trades]
        page = rest_at(seed, open_ms + 59_999, f"/v1/candles/minutes/1?market={code}")
        prices = [trade["trade_price"] for trade in trades]
        assert scale.volume(sum(units)) == page["candle_acc_trade_volume"]
        assert (prices[0], max(prices), min(prices), prices[-1]) == tuple(
            page[name] for name in ("opening_price", "high_price", "low_price", "trade_price")
        )


def test_candles_of_one_moment_carry_one_timestamp() -> None:
    """And no window is told more than once a second, nor out of order."""
    told = listen(1, NOW_MS + 3_600_000, 600, *CANDLE_TYPES, code="KRW-BTC")[len(CANDLE_TYPES) :]
    moments = [
        {frame["timestamp"] for frame in told[at : at + len(CANDLE_TYPES)]}
        for at in range(0, len(told), len(CANDLE_TYPES))
    ]
    assert len(moments) > 50
    assert {len(moment) for moment in moments} == {1}
    times = [moment.pop() for moment in moments]
    assert all(one < two for one, two in pairwise(times))


def test_a_day_told_trade_by_trade_does_not_drift() -> None:
    """After a day and a half of increments the ticker is the one a request gives."""
    told = listen(2, NOW_MS - 5 * 3_600_000, 36 * 3_600, "ticker", code="BTC-ETH")
    assert len(told) > 1_000
    last = told[-1]
    row = rest_at(2, last["trade_timestamp"], "/v1/ticker?markets=BTC-ETH")
    assert {name: last[name] for name in row if name in last} == {
        name: row[name] for name in row if name in last
    }


@pytest.mark.recorded
def test_frames_have_the_fields_that_were_recorded(recorded: Path) -> None:
    """Neither more nor fewer than the documentation's, and short ones as a client got them."""
    told = listen(1, NOW_MS, 1, "ticker", "trade", "orderbook", "candle.1m", code="KRW-BTC")
    ours = {frame["type"]: frame for frame in told if frame["stream_type"] == "SNAPSHOT"}
    compared = 0
    for name in ("official_docs_messages.jsonl", "maxt_candle_frames_20260730.jsonl"):
        for line in (recorded / "ws" / name).read_text(encoding="utf-8").splitlines():
            theirs = json.loads(line)
            theirs.pop("_from", None)
            kind = (
                "candle.1m" if theirs.get("type", "").startswith("candle") else theirs.get("type")
            )
            if kind in ours:
                assert set(ours[kind]) == set(theirs), kind
                compared += 1
    assert compared >= 10
    seen = set()
    path = recorded / "ws" / "cryptofeed_upbit_ws_20210417_simple_first150.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if record["dir"] == "recv":
            theirs = json.loads(record["raw"])
            names = set(short(ours[theirs["ty"]]))
            # In 2021 books had no level and trades no best prices.
            assert names - {"lv", "bap", "bas", "bbp", "bbs"} == set(theirs)
            seen.add(theirs["ty"])
    assert seen == {"trade", "orderbook"}


def test_two_connections_are_told_the_same() -> None:
    """Whichever was opened first: also what the rest interface does not have, the sides."""
    exchange, _ = open_at(1, NOW_MS + 5 * 3_600_000)
    early, late = exchange.streams.connect("a"), exchange.streams.connect("a")
    early.take(wish("ticker"), 0.0)
    late.take(wish("ticker"), 100.0)
    behind = exchange.streams.connect("a")
    behind.take(wish("ticker"), 30.0)
    told = [
        {frame["trade_timestamp"]: frame for frame in frames(session, 300.0)[1:]}
        for session in (early, late, behind)
    ]
    for other in told[1:]:
        assert other
        assert {moment: told[0][moment] for moment in other} == other
