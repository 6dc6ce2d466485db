"""Answers on the wire: as JSON for everybody, and candles as packed columns for those who ask.

Packed, the result says how many `rows` and how many `binary_bytes` follow the line: the columns in
the order of `COLUMNS`, little-endian, eight bytes a value (int64, then float64) and a byte for
`closed`, and one for `filled` if that is true. A client lays numpy arrays over them without looking
at a single number.

numpy is imported where columns are touched, because the command line does not wait for it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from actors.account_values import AccountAnswer, ApiKey, Balance, Order, OrderChance
from actors.job_messages import JOB_METHODS
from actors.job_reports import JobPlan, JobReport, JobRun, JobStarted
from actors.key_messages import KEY_METHODS
from actors.key_reports import (
    Account,
    AuditEntry,
    AuditVerdict,
    KeyChange,
    KeyReport,
    KeyTest,
    VaultStatus,
)
from actors.messages import (
    GetCache,
    GetCandles,
    GetGaps,
    GetLimits,
    GetMarkets,
    GetOrderBook,
    GetStreams,
    GetTicker,
    GetTickers,
    GetTrades,
    Subscribe,
    Unsubscribe,
)
from actors.preload_messages import PRELOAD_METHODS
from actors.preload_reports import Explanation, NeedReport, PreloadReport, Released
from actors.quotes import MarketInfo, OrderBook, Source, Ticker, Trades
from actors.reports import CacheReport, GapReport, GroupLimits, StreamReport
from actors.series import Market, Series
from actors.timeframes import Timeframe
from actors.updates import Subscribed, Unsubscribed
from runtime.core.message import Request
from runtime.messages import (
    Check,
    Checked,
    Discover,
    GetActor,
    GetEvents,
    GetRaw,
    GetState,
    GetStatistics,
    GetStatus,
    GetTree,
    RawAnswer,
    RestartActor,
    ResumeActor,
    Status,
    Stop,
    Stopping,
    SuspendActor,
    TraceActor,
)
from runtime.tree_reports import (
    ActorEvent,
    ActorReport,
    ActorState,
    ActorStatistics,
    Trace,
    Tree,
)
from runtime.wire_errors import RemoteError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actors.candles import Candles

# Rows turned into JSON in one go: a large answer must not hold up everybody else's.
ROWS_PER_PIECE = 2_000
# Most rows a client believes in: far above the runtime's own bound on one answer.
_ROWS_MAX = 10_000_000
# As in `actors.candles`, which brings numpy with it.
_ROW_BYTES = 57


class SeriesName(msgspec.Struct, frozen=True):
    """Which candles."""

    exchange: str
    market: str
    timeframe: str


class MissingSpan(msgspec.Struct, frozen=True):
    """A span [start_ms, end_ms) of opening times of which nothing is known, and why."""

    start_ms: int
    end_ms: int
    reason: str


class CandleRow(msgspec.Struct, frozen=True):
    """One candle."""

    open_time_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    value: float
    closed: bool


class CandlesHead(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of candles beside the rows."""

    series: SeriesName
    complete: bool
    missing: tuple[MissingSpan, ...]
    source: Source
    as_of_ms: int
    reason: str = ""


class CandlesText(CandlesHead, frozen=True, kw_only=True):
    """Candles as JSON, oldest first."""

    candles: tuple[CandleRow, ...]
    filled: tuple[bool, ...] | None = None


class CandlesPacked(CandlesHead, frozen=True, kw_only=True):
    """Candles as columns that follow the line."""

    rows: int
    binary_bytes: int
    filled: bool = False


# The same as below, by method, of keys, accounts, jobs and preloading.
_BY_METHOD: dict[str, tuple[Any, str]] = {
    "keys.status": (VaultStatus, ""),
    "keys.create": (VaultStatus, ""),
    "keys.unlock": (VaultStatus, ""),
    "keys.lock": (VaultStatus, ""),
    "keys.recover": (KeyChange, ""),
    "keys.rotate": (KeyChange, ""),
    "keys.passphrase": (KeyChange, ""),
    "keys.add": (KeyChange, ""),
    "keys.change": (KeyChange, ""),
    "keys.list": (tuple[KeyReport, ...], "keys"),
    "keys.test": (KeyTest, ""),
    "keys.remove": (KeyChange, ""),
    "keys.restore": (KeyChange, ""),
    "keys.audit": (tuple[AuditEntry, ...], "audit"),
    "keys.verify": (AuditVerdict, ""),
    "account.open": (Account, ""),
    "account.invalidate": (bool, "ended"),
    "account.balances": (tuple[Balance, ...], "balances"),
    "account.chance": (OrderChance, ""),
    "account.order": (Order, ""),
    "account.orders": (tuple[Order, ...], "orders"),
    "account.place": (Order, ""),
    "account.cancel": (Order, ""),
    "account.keys": (tuple[ApiKey, ...], "keys"),
    "account.request": (AccountAnswer, ""),
    "jobs": (tuple[JobReport, ...], "jobs"),
    "jobs.add": (JobPlan, ""),
    "jobs.remove": (JobReport, ""),
    "jobs.run": (JobStarted, ""),
    "jobs.runs": (tuple[JobRun, ...], "runs"),
    "need": (NeedReport, ""),
    "need.ready": (NeedReport, ""),
    "needs": (tuple[NeedReport, ...], "needs"),
    "need.release": (Released, ""),
    "preload": (tuple[PreloadReport, ...], "preload"),
    "preload.explain": (Explanation, ""),
}
_OTHER_METHODS = KEY_METHODS | JOB_METHODS | PRELOAD_METHODS
_OTHER_RESULTS = {kind: _BY_METHOD[name] for name, kind in _OTHER_METHODS.items()}

# What each request is answered with, and the name under which a list stands in its object.
RESULTS: dict[type[Request[Any]], tuple[Any, str]] = {
    GetCandles: (CandlesText, ""),
    GetTicker: (Ticker, ""),
    GetTickers: (tuple[Ticker, ...], "tickers"),
    GetOrderBook: (OrderBook, ""),
    GetTrades: (Trades, ""),
    GetMarkets: (tuple[MarketInfo, ...], "markets"),
    GetLimits: (tuple[GroupLimits, ...], "limits"),
    GetCache: (CacheReport, ""),
    GetStreams: (tuple[StreamReport, ...], "streams"),
    GetGaps: (tuple[GapReport, ...], "gaps"),
    GetRaw: (RawAnswer, ""),
    Subscribe: (Subscribed, ""),
    Unsubscribe: (Unsubscribed, ""),
    GetStatus: (Status, ""),
    GetTree: (Tree, ""),
    GetActor: (ActorReport, ""),
    GetState: (ActorState, ""),
    GetStatistics: (ActorStatistics, ""),
    GetEvents: (tuple[ActorEvent, ...], "events"),
    TraceActor: (Trace, ""),
    SuspendActor: (ActorState, ""),
    ResumeActor: (ActorState, ""),
    RestartActor: (ActorState, ""),
    **_OTHER_RESULTS,
    Stop: (Stopping, ""),
    Check: (Checked, ""),
    Discover: (dict[str, Any], ""),
}

_encode = msgspec.json.Encoder().encode


def result_to_wire(
    message: Request[Any], value: Any, *, packed: bool = False
) -> tuple[Iterator[bytes], bytes]:
    """Return the result as JSON, in pieces, and the bytes that follow its line.

    Args:
      message: The request; its type says what `value` is.
      value: The answer.
      packed: Whether candles go as columns.
    """
    if isinstance(message, GetCandles):
        return _pack(value) if packed else (_candles_pieces(value), b"")
    _, name = RESULTS[type(message)]
    return iter((_encode({name: value} if name else value),)), b""


def result_from_wire(message: Request[Any], result: Any, payload: bytes) -> Any:
    """Return the value that an answer to `message` stands for.

    Args:
      message: The request that was sent.
      result: The result, as JSON gave it.
      payload: The bytes that followed its line.

    Raises:
      RemoteError: It is not what the request is answered with.
    """
    kind, name = RESULTS[type(message)]
    try:
        if isinstance(message, GetCandles):
            return _unpack(result, payload) if "rows" in result else _candles_from_text(result)
        return msgspec.convert(result[name] if name else result, kind)
    except (ValueError, KeyError, TypeError) as error:
        raise RemoteError(
            f"the runtime's answer to {type(message).__name__} is malformed: {error!r}"
        ) from error


def payload_bytes(result: Any) -> int:
    """Return how many bytes follow the line of `result`.

    Raises:
      RemoteError: It says something impossible.
    """
    if not isinstance(result, dict) or "binary_bytes" not in result:
        return 0
    size = result["binary_bytes"]
    if type(size) is not int or not 0 <= size <= _ROWS_MAX * (_ROW_BYTES + 1):
        raise RemoteError(f"the runtime announced {size!r} bytes of candles")
    return size


def _head(candles: Candles) -> dict[str, Any]:
    series = candles.series
    missing = tuple(MissingSpan(*span) for span in candles.missing)
    return {
        "series": SeriesName(series.market.exchange, series.market.code, series.timeframe.value),
        "complete": candles.complete,
        "missing": missing,
        "source": candles.source,
        "as_of_ms": candles.as_of_ms,
        "reason": candles.reason,
    }


def _candles_pieces(candles: Candles) -> Iterator[bytes]:
    # The object is left open behind the head, so that the rows can follow piece by piece.
    yield _encode(_head(candles))[:-1] + b',"candles":['
    columns = (candles.open_time_ms, *candles.floats, candles.closed)
    for start in range(0, len(candles), ROWS_PER_PIECE):
        cut = [column[start : start + ROWS_PER_PIECE].tolist() for column in columns]
        rows = _encode([CandleRow(*row) for row in zip(*cut, strict=True)])[1:-1]
        yield b"," + rows if start else rows
    yield b'],"filled":null}' if candles.filled is None else b'],"filled":['
    if candles.filled is not None:
        for start in range(0, len(candles), ROWS_PER_PIECE):
            flags = _encode(candles.filled[start : start + ROWS_PER_PIECE].tolist())[1:-1]
            yield b"," + flags if start else flags
        yield b"]}"


def _candles_from_text(result: Any) -> Candles:
    import numpy as np  # noqa: PLC0415 - not for the command line

    from actors.candles import Candles  # noqa: PLC0415 - numpy

    text = msgspec.convert(result, CandlesText)
    rows = [msgspec.structs.astuple(row) for row in text.candles]
    candles = Candles.from_rows(_series(text), rows)
    if text.filled is None:
        return candles.answer(**_provenance(text))
    if len(text.filled) != len(candles):
        raise ValueError(f"{len(text.filled)} marks for {len(candles)} candles")
    return Candles(
        candles.series,
        candles.open_time_ms,
        candles.floats,
        candles.closed,
        filled=np.array(text.filled, np.bool_),
        **_provenance(text),
    )


def _pack(candles: Candles) -> tuple[Iterator[bytes], bytes]:
    columns: list[NDArray[Any]] = [candles.open_time_ms, *candles.floats]
    if sys.byteorder == "big":
        columns = [column.astype(column.dtype.newbyteorder("<")) for column in columns]
    columns.append(candles.closed)
    is_filled = candles.filled is not None
    if candles.filled is not None:
        columns.append(candles.filled)
    payload = b"".join([column.tobytes() for column in columns])
    size = {"rows": len(candles), "binary_bytes": len(payload), "filled": is_filled}
    return iter((_encode({**_head(candles), **size}),)), payload


def _unpack(result: Any, payload: bytes) -> Candles:
    import numpy as np  # noqa: PLC0415 - not for the command line

    from actors.candles import FLOAT_COLUMNS, Candles  # noqa: PLC0415 - numpy

    head = msgspec.convert(result, CandlesPacked)
    rows = head.rows
    row_bytes = _ROW_BYTES + head.filled
    if rows < 0 or not rows * row_bytes == head.binary_bytes == len(payload):
        raise ValueError(f"{rows} rows in {len(payload)} bytes")
    span = rows * 8
    times = np.frombuffer(payload, "<i8", rows)
    floats = [
        np.frombuffer(payload, "<f8", rows, span * place)
        for place in range(1, len(FLOAT_COLUMNS) + 1)
    ]
    place = len(FLOAT_COLUMNS) + 1
    closed = np.frombuffer(payload, np.bool_, rows, span * place)
    filled = np.frombuffer(payload, np.bool_, rows, span * place + rows) if head.filled else None
    return Candles(_series(head), times, floats, closed, filled=filled, **_provenance(head))


def _series(head: CandlesHead) -> Series:
    market = Market(head.series.exchange, head.series.market)
    return Series(market, Timeframe(head.series.timeframe))


def _provenance(head: CandlesHead) -> dict[str, Any]:
    from actors.candles import Missing  # noqa: PLC0415 - numpy

    spans = tuple(Missing(span.start_ms, span.end_ms, span.reason) for span in head.missing)
    return {
        "source": head.source,
        "as_of_ms": head.as_of_ms,
        "missing": spans,
        "reason": head.reason,
    }
