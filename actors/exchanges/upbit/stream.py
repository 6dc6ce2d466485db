"""`UpbitStream`: what is sent to Upbit's WebSocket, and what its frames mean. It holds no socket.

A frame is decoded straight into the struct of its type, in whichever of the two spellings it came;
what is no frame about a market is looked at a second time, which only rare frames need.

Order: A frame of JSON_LIST or SIMPLE_LIST tells its updates in the order of its list.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache, partial
from typing import Any, Final, Literal, TypeAlias

import msgspec

from actors.errors import UnknownTimeframe
from actors.exchanges.streams import (
    LiveRow,
    StreamAdapter,
    StreamAlive,
    StreamEvent,
    StreamKey,
    StreamKind,
    StreamListing,
    StreamRefusal,
    Update,
)
from actors.exchanges.upbit import limits, refusals, stream_wire
from actors.exchanges.upbit.values import (
    excerpt,
    invalid,
    make_order_book,
    make_ticker,
    make_trade,
    malformed,
)
from actors.timeframes import Timeframe, format_time_ms

Format: TypeAlias = Literal["DEFAULT", "SIMPLE", "JSON_LIST", "SIMPLE_LIST"]

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - like the times it is taken from, see `wire`
_MICROSECOND = timedelta(microseconds=1)
_SNAPSHOT = "SNAPSHOT"
_DEPTHS = frozenset(map(str, limits.STREAM_DEPTHS))
_TIMEFRAMES = {name: timeframe for timeframe, name in limits.CANDLE_STREAMS.items()}
# `{"type"` and `{"ty"` differ here first. Anything else is found out by trying.
_SHORT_AT = slice(4, 5)
# More than all streams of all markets; a bound, because codes come from outside.
_REMEMBERED = 16_384
# What is not JSON, and yet may be an answer: a sentence, not a page.
_SENTENCE_BYTES = 400
# What decoding raises for bytes that are no such JSON. The last is for brackets in brackets.
_UNREADABLE = (msgspec.MsgspecError, UnicodeError, RecursionError)


class UpbitStream(StreamAdapter):
    """Upbit's public WebSocket.

    Args:
      form: How frames are to be written: SIMPLE has short names and half the bytes. All are read.

    Attributes:
      rules: What Upbit promises and demands of streams; see `limits`.
    """

    rules = limits.STREAM_RULES

    def __init__(self, *, form: Format = "SIMPLE") -> None:
        self._form = form

    def subscribe(self, streams: Mapping[StreamKey, int], *, ticket: str) -> str:
        """Return the text that makes `streams` the whole of what the connection is told.

        Args:
          streams: What is wanted; of an order book with its depth, else with 0. A depth beyond the
            deepest book that is streamed asks for that one.
          ticket: Names the request.

        Raises:
          ValueError: Nothing is wanted: Upbit has no text for that.
          UnknownTimeframe: Upbit streams no such candles.
        """
        if not streams:
            raise ValueError("upbit: wanted at least one stream to subscribe to, was none")
        codes: dict[str, list[str]] = {}
        for key, depth in streams.items():
            codes.setdefault(_type_of(key), []).append(_code_of(key, depth))
        types = [{"type": name, "codes": listed} for name, listed in codes.items()]
        return _text([{"ticket": ticket}, *types, {"format": self._form}])

    def ping(self) -> str:
        """Return the text that asks whether the connection is up."""
        return "PING"

    def read(self, frame: bytes | str) -> Sequence[StreamEvent]:
        """Return what a frame tells; nothing for one of a kind that nobody asked for.

        Raises:
          MalformedPayload: The frame breaks what Upbit documents.
        """
        short = '"' if isinstance(frame, str) else b'"'
        decoder = stream_wire.SIMPLE if frame[_SHORT_AT] == short else stream_wire.DEFAULT
        try:
            told = decoder.decode(frame)
        except _UNREADABLE:
            return _read_other(frame)
        return (_UPDATES[type(told)](told),)


def _text(message: object) -> str:
    return msgspec.json.encode(message).decode()


def _type_of(key: StreamKey) -> str:
    if key.kind != "candle":
        return key.kind
    name = limits.CANDLE_STREAMS.get(key.timeframe) if key.timeframe else None
    if name is None:
        asked = key.timeframe.value if key.timeframe else "no timeframe"
        raise UnknownTimeframe(f"upbit streams no candles of {asked}")
    return name


def _code_of(key: StreamKey, depth: int) -> str:
    if key.kind != "orderbook":
        return key.code
    enough = (streamed for streamed in limits.STREAM_DEPTHS if streamed >= depth)
    return f"{key.code}.{next(enough, limits.STREAM_DEPTHS[-1])}"


def _bare(code: str) -> str:
    """Return a code of an order book without the depth that was asked for."""
    bare, dot, depth = code.rpartition(".")
    return bare if dot and depth in _DEPTHS else code


# ------------------------------------------------------------------ frames about a market


# The same few keys and times come a thousand times a second; looking them up is a quarter of the
# price of making them.
@lru_cache(maxsize=_REMEMBERED)
def _key(kind: StreamKind, code: str, timeframe: Timeframe | None = None) -> StreamKey:
    return StreamKey(kind, _bare(code) if kind == "orderbook" else code, timeframe)


@lru_cache(maxsize=_REMEMBERED)
def _open_ms(time: datetime, timeframe: Timeframe) -> int | None:
    """Return an opening time in milliseconds; None if it is none of `timeframe`."""
    time_us = (time - _EPOCH) // _MICROSECOND
    # All timeframes that are streamed divide the day, so this is their grid.
    if time_us < 0 or time_us % (timeframe.span_ms * 1000):
        return None
    return time_us // 1000


def _ticker_update(frame: stream_wire.Ticker) -> Update:
    return Update(
        _key("ticker", frame.code),
        make_ticker(frame, frame.code, "ticker frame", "live"),
        frame.timestamp,
        frame.stream_type == _SNAPSHOT,
    )


def _trade_update(frame: stream_wire.Trade) -> Update:
    # `timestamp` is the frame's own; REST tells the trade's time under that name.
    return Update(
        _key("trade", frame.code),
        make_trade(frame, frame.code, frame.trade_timestamp, "trade frame"),
        frame.timestamp,
        frame.stream_type == _SNAPSHOT,
    )


def _order_book_update(frame: stream_wire.OrderBook) -> Update:
    key = _key("orderbook", frame.code)
    return Update(
        key,
        make_order_book(frame, key.code, "orderbook frame", "live"),
        frame.timestamp,
        frame.stream_type == _SNAPSHOT,
    )


def _candle_update(frame: stream_wire.Candle, timeframe: Timeframe) -> Update:
    open_ms = _open_ms(frame.candle_date_time_utc, timeframe)
    if open_ms is None:
        wanted, was = f"an opening time of {timeframe.value}", frame.candle_date_time_utc
        raise malformed(_candle_name(frame, timeframe), f"wanted {wanted}, was {was.isoformat()}")
    row = LiveRow(
        open_ms,
        frame.opening_price,
        frame.high_price,
        frame.low_price,
        frame.trade_price,
        frame.candle_acc_trade_volume,
        frame.candle_acc_trade_price,
        frame.timestamp,
    )
    if not (
        # Written so that a NaN fails every comparison, and with it the check.
        0 < row.low <= row.open <= row.high < math.inf
        and row.low <= row.close <= row.high
        and 0 <= row.volume < math.inf
        and 0 <= row.value < math.inf
    ):
        _refuse_row(row, _candle_name(frame, timeframe))
    key = _key("candle", frame.code, timeframe)
    return Update(key, row, frame.timestamp, frame.stream_type == _SNAPSHOT)


def _candle_name(frame: stream_wire.Candle, timeframe: Timeframe) -> str:
    return f"{limits.CANDLE_STREAMS[timeframe]} frame: {frame.code[:40]}"


def _refuse_row(row: LiveRow, what: str) -> None:
    raise malformed(
        what,
        f"{format_time_ms(row.open_time_ms)}: wanted finite prices above zero with low <= open, "
        f"close <= high, and a finite volume and value of at least zero, was open {row.open:g}, "
        f"high {row.high:g}, low {row.low:g}, close {row.close:g}, volume {row.volume:g}, value "
        f"{row.value:g}",
    )


_UPDATES: Final[dict[type[stream_wire.Frame], Callable[[Any], Update]]] = {
    stream_wire.Ticker: _ticker_update,
    stream_wire.SIMPLE_TICKER: _ticker_update,
    stream_wire.Trade: _trade_update,
    stream_wire.SIMPLE_TRADE: _trade_update,
    stream_wire.OrderBook: _order_book_update,
    stream_wire.SIMPLE_ORDER_BOOK: _order_book_update,
    **{
        frame: partial(_candle_update, timeframe=timeframe)
        for frames in (stream_wire.CANDLES, stream_wire.SIMPLE_CANDLES)
        for timeframe, frame in frames.items()
    },
}


# ------------------------------------------------------------------ all other frames


def _read_other(frame: bytes | str) -> Sequence[StreamEvent]:
    """Return what a frame tells that is not one object about a market, beginning with its type."""
    try:
        other = stream_wire.OTHER.decode(frame)
    except msgspec.ValidationError as error:
        # JSON, but no object.
        return _read_list(frame, error)
    except _UNREADABLE as error:
        refusal = _read_sentence(frame)
        if refusal is None:
            raise malformed("frame", f"wanted JSON, was {excerpt(frame)} ({error})") from error
        return (refusal,)
    return _read_object(frame, other)


def _read_list(frame: bytes | str, problem: Exception) -> Sequence[StreamEvent]:
    try:
        items = stream_wire.LIST.decode(frame)
    except _UNREADABLE:
        wanted = f"wanted an object or a list of them, was {excerpt(frame)} ({problem})"
        raise malformed("frame", wanted) from problem
    events: list[StreamEvent] = []
    for item in items:
        body = bytes(item)
        try:
            other = stream_wire.OTHER.decode(body)
        except _UNREADABLE as error:
            wanted = f"wanted a list of objects, was {excerpt(body)} in it"
            raise malformed("frame", wanted) from error
        events += _read_object(body, other)
    return events


def _read_object(frame: bytes | str, other: stream_wire.Other) -> Sequence[StreamEvent]:
    kind = other.type if other.type is not None else other.ty
    if isinstance(kind, str):
        return _read_typed(frame, kind, short=other.type is None)
    if other.error is not None:
        return (_read_refusal(frame),)
    if other.method is not None or other.mthd is not None:
        return _read_method(frame, other)
    if isinstance(other.status, str):
        return (StreamAlive(),) if other.status == "UP" else ()
    raise malformed("frame", f"wanted a type, a status, a method or an error, was {excerpt(frame)}")


def _read_typed(frame: bytes | str, kind: str, *, short: bool) -> Sequence[StreamEvent]:
    if kind not in stream_wire.KINDS:
        # Of the private streams, or newer than this.
        return ()
    try:
        told = (stream_wire.SIMPLE if short else stream_wire.DEFAULT).decode(frame)
    except _UNREADABLE as error:
        raise invalid(f"{kind} frame", error) from error
    return (_UPDATES[type(told)](told),)


def _read_refusal(frame: bytes | str) -> StreamRefusal:
    try:
        said = refusals.REFUSALS.decode(frame).error
    except _UNREADABLE as error:
        raise invalid("error frame", error) from error
    return _refusal(str(said.name), said.message)


def _read_sentence(frame: bytes | str) -> StreamRefusal | None:
    """Return the refusal that text without JSON is; None if it is something else."""
    if len(frame) > _SENTENCE_BYTES:
        return None
    text = frame if isinstance(frame, str) else frame.decode("utf-8", errors="replace")
    return _refusal("", text.strip()) if refusals.said_status("", text) else None


def _refusal(name: str, message: str) -> StreamRefusal:
    status = refusals.said_status(name, message)
    return StreamRefusal(
        refusals.printable(name) or str(status or "unknown"),
        refusals.printable(message),
        status,
        # Other refusals may name durations too, but not to wait for.
        refusals.named_wait_s(message[:4096]) if status else None,
    )


def _read_method(frame: bytes | str, other: stream_wire.Other) -> Sequence[StreamEvent]:
    if "LIST_SUBSCRIPTIONS" not in (other.method, other.mthd):
        return ()
    try:
        told = stream_wire.LISTING.decode(frame)
    except _UNREADABLE as error:
        raise invalid("LIST_SUBSCRIPTIONS frame", error) from error
    rows = told.result if told.rslt is None else told.rslt
    if rows is None:
        # An empty answer would mean that every subscription is gone.
        raise malformed("LIST_SUBSCRIPTIONS frame", f"wanted a result, was {excerpt(frame)}")
    return (StreamListing(frozenset(_listed_keys(rows))),)


def _listed_keys(rows: Iterable[stream_wire.Subscription]) -> Iterable[StreamKey]:
    kinds: dict[str, StreamKind] = {"ticker": "ticker", "trade": "trade", "orderbook": "orderbook"}
    for row in rows:
        name = row.type or row.ty or ""
        timeframe = _TIMEFRAMES.get(name)
        kind = "candle" if timeframe else kinds.get(name)
        if kind is None:
            continue
        for code in row.codes + row.cds:
            yield _key(kind, code, timeframe)
