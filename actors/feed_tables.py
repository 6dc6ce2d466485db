"""What a FeedActor publishes for everybody to read, and how it keeps its streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from actors.exchanges.streams import StreamKey
from actors.quotes import OrderBook, Ticker, Trade
from actors.reports import GapReport
from runtime.core.pubsub import PubSub
from runtime.core.table import Table

# The one key of the table about the connection.
LINE = "line"
# Trades of a market kept for readers, newest first.
TRADES_KEPT = 500


@dataclass(frozen=True, slots=True)
class FeedPolicy:
    """How one exchange's streams are kept.

    Attributes:
      silent_s: A stream that has said nothing for so long is subscribed to anew. Where that only
        brings what is known, it is asked later and later, up to `silent_s_max`.
      silent_s_max: The longest such time.
      ping_s: How often the exchange is asked whether the connection is up.
      dead_s: A connection on which nothing at all came for so long has ended.
      rotate_s: A connection is replaced by a new one at this age, the new one first.
      backoff_s: How long to wait before the second try to connect; doubled from try to try.
      backoff_s_max: The longest such time. Each is cut by chance to between a half and all of it.
    """

    silent_s: float = 60.0
    silent_s_max: float = 600.0
    ping_s: float = 10.0
    dead_s: float = 25.0
    rotate_s: float = 21_600.0
    backoff_s: float = 0.5
    backoff_s_max: float = 60.0


class LiveQuote(NamedTuple):
    """The newest a stream has told of a market.

    Attributes:
      value: A ticker, an order book, or the newest trades, newest first: all there were since the
        stream was last whole, at most `TRADES_KEPT`.
      received_s: When it came, on `Clock.now_s`.
      depth: Levels of an order book that are streamed, a side; else 0.
    """

    value: Ticker | OrderBook | tuple[Trade, ...]
    received_s: float
    depth: int = 0


class StreamState(NamedTuple):
    """How one wanted stream is doing.

    Attributes:
      state: `asked` until its first snapshot has come; `live` from then on; `silent` if it was
        asked for again because nothing came.
      since_s: Since when it is so, on `Clock.now_s`.
      depth: Levels of an order book that were asked for, a side; else 0.
    """

    state: Literal["asked", "live", "silent"]
    since_s: float
    depth: int = 0


class LineState(NamedTuple):
    """How the connection is doing.

    Attributes:
      state: `off` while nothing is wanted; `connecting`; `live`; `away` while waiting to try again.
      since_s: Since when it is so, on `Clock.now_s`.
      heard_s: When anything came last, on `Clock.now_s`; -inf if never.
      failures: Tries in a row that failed.
      reason: What went wrong last, in words.
    """

    state: Literal["off", "connecting", "live", "away"]
    since_s: float
    heard_s: float
    failures: int = 0
    reason: str = ""


OFF = LineState("off", 0.0, float("-inf"))


class FeedTables:
    """What a FeedActor publishes; made by whoever builds the tree, so it outlives the actor.

    Attributes:
      quotes: The newest ticker, order book and trades of streamed markets: the key is the stream's.
      streams: How each wanted stream is doing.
      line: How the connection is doing, under `LINE`.
      gaps: The newest gaps of streams other than candles, by a number that rises.
      events: Where news are published, under topics of `actors.updates`.
    """

    def __init__(self, exchange: str) -> None:
        self.quotes: Table[StreamKey, LiveQuote] = Table(f"{exchange} live quotes")
        self.streams: Table[StreamKey, StreamState] = Table(f"{exchange} streams")
        self.line: Table[str, LineState] = Table(f"{exchange} line")
        self.gaps: Table[int, GapReport] = Table(f"{exchange} stream gaps")
        self.events = PubSub()

    def heard_s(self, key: StreamKey) -> float | None:
        """Return when the connection was last heard if `key` is live on it, else None."""
        line, stream = self.line.get(LINE), self.streams.get(key)
        if line is None or line.state != "live" or stream is None or stream.state != "live":
            return None
        return line.heard_s
