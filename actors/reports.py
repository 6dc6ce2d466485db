"""What actors report about themselves: frozen figures, each field with its unit."""

from __future__ import annotations

from typing import Literal

import msgspec


class WindowUse(msgspec.Struct, frozen=True, kw_only=True):
    """One window of a group.

    Attributes:
      requests: How many requests, or how much weight, we allow ourselves in any `period_s`.
      period_s: The window, in seconds.
      used: How much of it is in use: in flight, or answered less than a window ago.
    """

    requests: int
    period_s: float
    used: int


class ClassUse(msgspec.Struct, frozen=True, kw_only=True):
    """The requests of one priority in a group.

    Attributes:
      priority: `asked`, `repair`, `declared` or `predicted`.
      share: What part of the group it gets at least, if it asks for that much; 0 to 1.
      queued: Requests waiting for a slot.
      next_free_s: Seconds until one more could be sent at the earliest, behind those queued.
      granted: Requests let through since start.
    """

    priority: str
    share: float
    queued: int
    next_free_s: float
    granted: int


class GroupLimits(msgspec.Struct, frozen=True, kw_only=True):
    """One rate-limit group of one exchange, at this moment.

    Attributes:
      exchange: The exchange.
      group: The exchange's own name for the group.
      holder: The account or connection, where the exchange counts by these; else empty.
      windows: All of its windows; every one of them is kept.
      classes: Who asks, most urgent first.
      in_flight: Requests sent and not yet answered.
      queued: Requests waiting for a slot.
      next_free_s: Seconds until a request asked for now could be sent, at the earliest.
      paused_s: Seconds until a pause that the exchange imposed ends; 0 if there is none.
      paused_because: Why, in words; empty if there is no pause.
      server_remaining: What the exchange last said was left in its window; None if nothing yet.
      server_heard_s: How long ago that was, in seconds; None if never.
      granted: Requests let through since start.
      rejected: Answers 429 or 418 since start.
      refused: Requests for a slot since start that we refused: too many waiting, or none in time.
      explanation: In sentences: what waits, for what and until when; empty if nothing does.
    """

    exchange: str
    group: str
    holder: str = ""
    windows: tuple[WindowUse, ...]
    classes: tuple[ClassUse, ...]
    in_flight: int
    queued: int
    next_free_s: float
    paused_s: float
    paused_because: str = ""
    server_remaining: int | None
    server_heard_s: float | None
    granted: int
    rejected: int
    refused: int
    explanation: str = ""


class SeriesReport(msgspec.Struct, frozen=True, kw_only=True):
    """One series in memory.

    Attributes:
      market: The market.
      timeframe: The timeframe.
      candles: How many candles are in memory.
      from_ms: Opening time of the oldest of them; None if there are none.
      to_ms: Opening time of the newest of them; None if there are none.
      reads: Answers given straight from memory.
    """

    market: str
    timeframe: str
    candles: int
    from_ms: int | None
    to_ms: int | None
    reads: int


class CacheCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What the cache of one exchange has done since it was started.

    Attributes:
      memory_answers: Candle requests that reached the actor and needed nothing but memory.
      store_answers: Those for which the store was enough.
      exchange_answers: Those for which the exchange was asked.
      failures: Those that ended in an error.
      pages: Candle pages fetched from the exchange.
      evicted: Series pushed out of memory by the bound.
      bytes: Memory the candles take, in bytes.
      waiting: Requests waiting for data now.
      live_rows: Rows of streams that told something new.
      proven_by_stream: Candles that streams proved final.
      proven_by_page: Candles of streamed series that a page proved final, or confirmed.
      disagreements: Times that a stream and the exchange's own rows differed.
      repairs: Times that the exchange was asked because of a stream, not of a bot.
    """

    memory_answers: int
    store_answers: int
    exchange_answers: int
    failures: int
    pages: int
    evicted: int
    bytes: int
    waiting: int
    live_rows: int = 0
    proven_by_stream: int = 0
    proven_by_page: int = 0
    disagreements: int = 0
    repairs: int = 0


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How a part of the runtime, or what it depends on, is doing.

    Attributes:
      name: What it is about: `store`, or the name of an exchange.
      state: `ok`; `degraded` if some of what it does fails; `away` if it cannot be reached;
        `unknown` if nothing has been asked of it yet.
      reason: What is wrong, in words; empty if nothing is.
      since_ms: When it last worked, on our wall clock in UTC milliseconds; None if not known.
    """

    name: str
    state: Literal["ok", "degraded", "away", "unknown"]
    reason: str = ""
    since_ms: int | None = None


class GapReport(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of time of which not everything is, or was, known.

    Attributes:
      exchange: The exchange.
      market: The market.
      kind: What is not known: `ticker`, `trade`, `orderbook` or `candle`.
      timeframe: Of candles; empty for the others.
      start_ms: Where it begins, on the exchange's clock: opening times of candles.
      end_ms: Where it ends; None while it goes on.
      cause: `stream`: the connection broke, or this market fell silent. `late`: the exchange's rows
        are behind. `quiet`: proven that nobody traded. `maintenance`: proven that no market of the
        exchange traded. `disagreement`: the stream and the exchange's own row differed.
      detail: More, in words.
      state: `open` while something is lacking; `closed` when all of it is known, or never will be.
      tries: How often the exchange has been asked about it.
      next_try_ms: When it will be asked again, on our wall clock; None if it will not.
    """

    exchange: str
    market: str
    kind: Literal["ticker", "trade", "orderbook", "candle"]
    timeframe: str = ""
    start_ms: int
    end_ms: int | None = None
    cause: Literal["stream", "late", "quiet", "maintenance", "disagreement"]
    detail: str = ""
    state: Literal["open", "closed"] = "open"
    tries: int = 0
    next_try_ms: int | None = None


class StreamReport(msgspec.Struct, frozen=True, kw_only=True):
    """The streams of one exchange, at this moment.

    Attributes:
      exchange: The exchange.
      state: `off`, `connecting`, `live` or `away`; see `reason`.
      since_s: For how long, in seconds.
      heard_s: Seconds since anything came; None if nothing has.
      reason: What went wrong last, in words; empty if nothing has.
      wanted: Streams that bots or the router want.
      live: Those of them that are known to work.
      silent: Those that were asked for again because nothing came.
      frames: Frames received since start.
      malformed: Frames that could not be read.
      duplicates: Trades received more than once.
      reconnects: Connections opened after the first.
      renewals: Subscriptions sent again because of silence.
      gaps: Breaks since start.
    """

    exchange: str
    state: Literal["off", "connecting", "live", "away"]
    since_s: float
    heard_s: float | None
    reason: str
    wanted: int
    live: int
    silent: int
    frames: int
    malformed: int
    duplicates: int
    reconnects: int
    renewals: int
    gaps: int


class CacheReport(msgspec.Struct, frozen=True, kw_only=True):
    """The cache of all exchanges, since start.

    Attributes:
      series: What is in memory.
      bytes: Memory the candles take, in bytes.
      bytes_max: The bound on it.
      evicted: Series pushed out of memory by the bound.
      memory_answers: Candle requests answered from memory.
      store_answers: Candle requests for which the store was enough.
      exchange_answers: Candle requests for which the exchange was asked.
      failures: Candle requests that ended in an error.
      pages: Candle pages fetched from the exchange.
      store_bytes: Size of the database, in bytes; None if it is kept in memory or away.
      store_candles: Candles in the database; None if it is away.
    """

    series: tuple[SeriesReport, ...]
    bytes: int
    bytes_max: int
    evicted: int
    memory_answers: int
    store_answers: int
    exchange_answers: int
    failures: int
    pages: int
    store_bytes: int | None
    store_candles: int | None


class StoreStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """How much a store holds and has done.

    Attributes:
      series: Number of series.
      candles: Number of candles.
      bytes: Size of the database, in bytes; None if it has none.
      reads: Reads since the store was opened.
      writes: Rows of `StoreWrite` taken since the store was opened.
      commits: Transactions they were written in.
    """

    series: int
    candles: int
    bytes: int | None
    reads: int
    writes: int
    commits: int
