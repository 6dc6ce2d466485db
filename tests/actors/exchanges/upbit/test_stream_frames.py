"""Upbit's frames: recorded ones come back whole, and no bytes whatever do harm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import MalformedPayload
from actors.exchanges.streams import LiveRow, StreamKey, Update
from actors.exchanges.upbit import stream_wire
from actors.exchanges.upbit.stream import UpbitStream
from actors.quotes import OrderBook, Ticker, Trade
from actors.timeframes import Timeframe

UPBIT = UpbitStream()
# A frame that a client's unit tests keep as an example says 1m and opens at 04:28:05.
OFF_THE_GRID = "2025-01-02T04:28:05"

SPELLINGS = {
    default.__struct_config__.tag: (default, simple)
    for default, simple in zip(stream_wire.DEFAULT_FRAMES, stream_wire.SIMPLE_FRAMES, strict=True)
}


def names(frame: type[msgspec.Struct]) -> dict[str, str]:
    """Return a struct's names on the wire, by its own."""
    return {field.name: field.encode_name for field in msgspec.structs.fields(frame)}


def simple_unit() -> type[msgspec.Struct]:
    """Return the struct of a pair of levels in the SIMPLE spelling."""
    hints = {
        field.name: field.type for field in msgspec.structs.fields(stream_wire.SIMPLE_ORDER_BOOK)
    }
    unit: type[msgspec.Struct] = hints["orderbook_units"].__args__[0]
    return unit


def respell(frame: dict[str, Any], *, short: bool) -> dict[str, Any]:
    """Return a frame in one of the two spellings, whichever it is in."""
    default, simple = SPELLINGS[frame.get("type") or frame["ty"]]
    target, other = (simple, default) if short else (default, simple)
    known = dict(zip(names(other).values(), names(target).values(), strict=True))
    unit, unit_other = (simple_unit(), stream_wire.BookUnit)
    if not short:
        unit, unit_other = unit_other, unit
    units = dict(zip(names(unit_other).values(), names(unit).values(), strict=True))
    written: dict[str, Any] = {}
    for key, value in frame.items():
        if key in {"type", "ty"}:
            written["ty" if short else "type"] = value
        elif isinstance(value, list):
            written[known.get(key, key)] = [
                {units.get(name, name): figure for name, figure in row.items()}
                if isinstance(row, dict)
                else row
                for row in value
            ]
        else:
            written[known.get(key, key)] = value
    return written


def recorded_frames(folder: Path) -> list[tuple[str, bytes]]:
    """Return where each recorded frame about a market is from, and its exact bytes."""
    found: list[tuple[str, bytes]] = []
    for path in sorted(folder.glob("ws/*.jsonl")):
        for number, line in enumerate(path.read_bytes().splitlines(), start=1):
            kept = json.loads(line)
            if kept.get("dir", "recv") != "recv":
                continue
            kept.pop("_from", None)
            raw = kept["raw"].encode() if "raw" in kept else json.dumps(kept).encode()
            found.append((f"{path.name}:{number}", raw))
    for path in sorted(folder.glob("ws/*.txt")):
        pushed = path.read_bytes().partition(b"\n= ")[2]
        found.append((path.name, pushed.strip()))
    return found


def test_no_name_is_short_for_two_things() -> None:
    """Two fields of one name would read each other's values."""
    for default, simple in SPELLINGS.values():
        for frame in (default, simple):
            assert len(set(names(frame).values())) == len(names(frame))
        assert not set(names(default).values()) & set(names(simple).values())


@pytest.mark.recorded
def test_every_recorded_frame_is_read_and_written_back_to_equal_values(recorded: Path) -> None:
    """All its keys, in the spelling it came in and in the other one."""
    counts: dict[str, int] = {}
    for where, raw in recorded_frames(recorded):
        frame = json.loads(raw)
        kind = frame.get("type") or frame.get("ty")
        if kind not in SPELLINGS:
            assert kind in {None, "myOrder", "myAsset"}, where
            continue
        for short in (False, True):
            body = respell(frame, short=short)
            decoder = stream_wire.SIMPLE if short else stream_wire.DEFAULT
            native = short == ("ty" in frame)
            told = decoder.decode(raw if native else json.dumps(body))
            unknown = set(body) - {*names(type(told)).values(), "type", "ty"}
            assert not unknown, f"{where}: fields we have no name for"
            assert json.loads(msgspec.json.encode(told)) == body, where
        counts[kind] = counts.get(kind, 0) + 1

    assert counts["orderbook"] + counts["trade"] >= 145
    assert set(counts) >= {"ticker", "trade", "orderbook", "candle.1m", "candle.5m", "candle.15m"}


@pytest.mark.recorded
def test_every_recorded_frame_tells_the_same_in_both_spellings(recorded: Path) -> None:
    """As text and as bytes; private ones tell nothing."""
    for where, raw in recorded_frames(recorded):
        frame = json.loads(raw)
        kind = frame.get("type") or frame.get("ty")
        if kind not in SPELLINGS:
            assert len(UPBIT.read(raw)) == (kind is None), where
            continue
        if frame.get("candle_date_time_utc") == OFF_THE_GRID:
            with pytest.raises(
                MalformedPayload, match=f"wanted an opening time of 1m, was {OFF_THE_GRID}"
            ):
                UPBIT.read(raw)
            frame["type"] = "candle.1s"
            raw = json.dumps(frame).encode()  # noqa: PLW2901 - the one that is what it says
        told = UPBIT.read(raw)
        assert len(told) == 1, where
        assert told == UPBIT.read(raw.decode()), where
        for short in (False, True):
            body = json.dumps(respell(frame, short=short))
            assert UPBIT.read(body) == told, where
            assert UPBIT.read(f"[{body}, {body}]") == [*told, *told], where


@pytest.mark.recorded
def test_recorded_frames_are_read_to_the_digit(recorded: Path) -> None:
    """Exponents and zeros at the end included."""
    frames = dict(recorded_frames(recorded))

    def events(name: str) -> list[Any]:
        return [
            event for where, raw in frames.items() if name in where for event in UPBIT.read(raw)
        ]

    stream = events("cryptofeed")
    book = next(event for event in stream if isinstance(event.value, OrderBook))
    trade = next(event for event in stream if event.key == StreamKey("trade", "BTC-ITAM"))
    row = events("maxt")[1]
    (ticker,) = events("sub_Tickers")

    assert stream[0].value == Trade(
        market="KRW-LAMB", time_ms=1618678262000, price=127.0, volume=46.48838371, side="buy",
        trade_id=1618678262000003, previous_close=123.0,
    )  # fmt: skip
    assert trade.value.price == 1.13e-6
    assert (book.value.market, len(book.value.asks)) == ("KRW-LAMB", 15)
    assert book.value.asks[0] == msgspec.convert([127.0, 280460.37885666], type(book.value.asks[0]))
    assert row == Update(
        StreamKey("candle", "KRW-BTC", Timeframe.M1),
        LiveRow(1785397560000, 91157000.0, 91157000.0, 91133000.0, 91157000.0, 0.8004467,
                72957159.34596, 1785397618309),
        1785397618309,
        snapshot=False,
    )  # fmt: skip
    assert isinstance(ticker.value, Ticker)
    assert (ticker.snapshot, ticker.value.change) == (True, -306)
    assert (ticker.value.high_52w_date, ticker.value.low_52w_date) == ("2023-07-06", "2022-11-21")


# ------------------------------------------------------------------ anything at all

numbers = (
    st.floats() | st.integers(-(2**70), 2**70) | st.sampled_from(["1e-8", "nan", "5.00000000"])
)
anything = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)  # fmt: skip


@st.composite
def frames(draw: st.DrawFn) -> dict[str, Any]:
    """Return a frame in the DEFAULT spelling, good but for a field or two."""
    default, _ = SPELLINGS[draw(st.sampled_from(sorted(map(str, SPELLINGS))))]
    figures = st.floats(0.001, 1e12) | st.integers(1, 10**9)
    frame: dict[str, Any] = {"type": default.__struct_config__.tag}
    for field in msgspec.structs.fields(default):
        if field.required or draw(st.booleans()):
            frame[field.name] = draw(figures)
    for name in ("timestamp", "trade_timestamp", "sequential_id"):
        if name in frame:
            frame[name] = draw(st.integers(0, 2_000_000_000_000))
    known = {
        "code": "KRW-BTC", "ask_bid": "ASK", "highest_52_week_date": "2026-01-01",
        "lowest_52_week_date": None, "stream_type": "SNAPSHOT", "trade_date": "20260101",
        "candle_date_time_utc": "2026-01-01T00:00:00", "high_price": 1e13, "low_price": 1e-5,
        "orderbook_units": [{"ask_price": 2 + n, "bid_price": 1 / (1 + n), "ask_size": 1,
                             "bid_size": 1} for n in range(draw(st.integers(0, 31)))],
    }  # fmt: skip
    frame |= {name: value for name, value in known.items() if name in frame}
    for name in draw(st.lists(st.sampled_from(sorted(frame.keys() - {"type"})), max_size=2)):
        frame[name] = draw(anything)
    return frame


def outcome(frame: bytes | str) -> object:
    """Return what `frame` tells, or that it is refused."""
    try:
        return list(UPBIT.read(frame))
    except MalformedPayload as error:
        text = str(error)
    assert text.startswith("upbit: ")
    assert len(text) < 1000
    return "refused"


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_arbitrary_bytes_are_refused_and_nothing_else_happens(frame: bytes | str) -> None:
    """A crash here would end the stream of every market."""
    outcome(frame)


@given(anything)
def test_arbitrary_json_is_refused_and_nothing_else_happens(value: object) -> None:
    """JSON of any form, which gets further in."""
    outcome(json.dumps(value))


@given(frames())
def test_a_frame_means_the_same_in_both_spellings_or_is_refused_in_both(
    frame: dict[str, Any],
) -> None:
    """Whatever stands in its fields; NaN equals nothing, but is never told of."""
    assert outcome(json.dumps(frame)) == outcome(json.dumps(respell(frame, short=True)).encode())


@given(frames(), st.integers(0, 400))
def test_a_frame_that_was_cut_off_is_refused(frame: dict[str, Any], length: int) -> None:
    """A connection may end inside one."""
    raw = json.dumps(frame).encode()
    if length < len(raw):
        assert outcome(raw[:length]) == "refused"
