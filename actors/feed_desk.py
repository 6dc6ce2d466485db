"""`FeedDesk`: what frames tell, into the tables and to whoever wants to know. Plain code.

Speed: this runs for every frame. What is the same for a batch is done once for it: the tables get
the newest of each stream, the cache one message. Tables are written before anything is published.

Order: tickers and order books never go back in time, with one exception: a time so far ahead of
all others that it cannot be right blocks those after it only until `BELIEVED` of them have come.
Every trade is told once, as long as its number is remembered.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, ClassVar, cast

from actors.errors import MalformedPayload
from actors.exchanges.streams import (
    LiveRow,
    StreamAdapter,
    StreamEvent,
    StreamKey,
    StreamRefusal,
    Update,
)
from actors.feed_tables import FeedTables, LiveQuote
from actors.feed_tape import Tape
from actors.feed_watch import Stream, StreamWatch
from actors.quotes import OrderBook, Ticker, Trade
from actors.timeframes import Timeframe
from actors.updates import OrderBookUpdate, TickerUpdate, TradeUpdate
from runtime.core.table import TableWriter

_log = logging.getLogger("marketd.feed")

# A time this far ahead of all others cannot be right.
ABSURD_MS = 60_000
# So many older updates of a stream in a row are believed rather than one from the future.
BELIEVED = 3
# Unreadable frames are logged once in so many seconds.
_LOG_S = 60.0
# Batches whose time is remembered to know the exchange's clock.
_MOMENTS = 15


@dataclass(frozen=True, slots=True)
class DeskParts:
    """What a desk needs.

    Attributes:
      stream: The exchange's language.
      tables: What is published.
      quotes: The right to write the quotes.
      watch: How the streams are doing.
      confirmed: Called when a stream that was not live has told something, before that is taken.
      refused: Called with what the exchange refused.
      rows: Called once for a batch with the rows of candles it told.
      counts: Counts what happens.
    """

    stream: StreamAdapter
    tables: FeedTables
    quotes: TableWriter[StreamKey, LiveQuote]
    watch: StreamWatch
    confirmed: Callable[[Stream, Update, float], None]
    refused: Callable[[StreamRefusal], None]
    rows: Callable[[list[tuple[Stream, StreamKey, LiveRow]], float], None]
    counts: Counter[str]


class FeedDesk:
    """Takes the frames of one exchange's connections.

    Bound: a tape for each stream of trades that is wanted.
    """

    def __init__(self, parts: DeskParts) -> None:
        self._parts = parts
        self._streams = parts.watch.streams
        self._events = parts.tables.events
        self._has = parts.tables.events.has
        self._tapes: dict[StreamKey, Tape] = {}
        # The times that an earlier incarnation had published.
        self._floors_ms: dict[StreamKey, int] = {}
        # Of the codes whose candles are wanted: where their day is told.
        self._days: dict[str, StreamKey] = {}
        # The exchange's time less ours at the end of late batches, in milliseconds.
        self._offsets_ms: deque[float] = deque(maxlen=_MOMENTS)
        self._logged_s = float("-inf")
        # Gathered in a batch: what goes into the tables, and what is published after that.
        self._quotes: dict[Stream, Any] = {}
        self._trades: dict[Stream, list[Trade]] = {}
        self._rows: list[tuple[Stream, StreamKey, LiveRow]] = []
        self._news: list[tuple[tuple[str, str, str], object]] = []

    def inherit(self) -> None:
        """Remember what an earlier incarnation told; its quotes are not live any more."""
        for key, quote in self._parts.tables.quotes.items():
            if key.kind == "trade":
                trades = cast("tuple[Trade, ...]", quote.value)
                self._tapes[key] = Tape(trades)
            else:
                self._floors_ms[key] = cast("Ticker | OrderBook", quote.value).time_ms
            self._parts.quotes.delete(key)

    def rewant(self) -> None:
        """Note that other streams are wanted than before."""
        wanted = self._streams
        codes = {key.code for key in wanted if key.kind == "candle"}
        self._days = {code: StreamKey("candle", code, Timeframe.D1) for code in codes}
        for stream in wanted.values():
            if stream.kind == "ticker" and stream.key.code not in codes:
                # Days that nobody hears of may be lacking when somebody does again.
                stream.told = False
        for key in self._tapes.keys() - wanted.keys():
            del self._tapes[key]
        gone = [key for key, _ in self._parts.tables.quotes.items() if key not in wanted]
        for key in gone:
            self._parts.quotes.delete(key)
        for key in self._floors_ms.keys() & wanted.keys():
            wanted[key].made_ms = max(wanted[key].made_ms, self._floors_ms[key])
        self._floors_ms.clear()

    def is_candle(self, key: StreamKey) -> bool:
        """Return whether the cache is told of `key`."""
        return key.kind == "candle" or (key.kind == "ticker" and key.code in self._days)

    def broke(self, stream: Stream) -> None:
        """Take away what a broken stream told last: it is not live any more."""
        self._parts.quotes.delete(stream.key)

    def lost(self, stream: Stream) -> None:
        """Note that trades before the next one may be lacking."""
        tape = self._tapes.get(stream.key)
        if tape is not None:
            tape.trades = ()

    def knows(self, stream: Stream, update: Update) -> bool:
        """Return whether `update` is what `stream` told last."""
        if stream.kind == "ticker":
            # A snapshot of the same state may be dated anew.
            return cast("Ticker", update.value).trade_time_ms <= stream.traded_ms
        if stream.kind == "orderbook":
            return update.made_ms <= stream.made_ms or self._shows(stream, update)
        if stream.kind != "trade":
            return update.made_ms <= stream.made_ms
        tape = self._tapes.get(stream.key)
        return tape is not None and cast("Trade", update.value).trade_id == tape.newest_id

    def _shows(self, stream: Stream, update: Update) -> bool:
        """Return whether the book that is published is the one of `update`, dated anew."""
        quote = self._parts.tables.quotes.get(stream.key)
        if quote is None:
            return False
        held, told = cast("OrderBook", quote.value), cast("OrderBook", update.value)
        return held.bids == told.bids and held.asks == told.asks

    def revive(self, stream: Stream, now_s: float) -> None:
        """Put back what a stream told before a break in which nothing happened."""
        tape = self._tapes.get(stream.key)
        if tape is not None and tape.trades:
            self._parts.quotes.put(stream.key, LiveQuote(tape.trades, now_s))

    def exchange_ms(self, at_s: float) -> int | None:
        """Return what the exchange's clock showed at `at_s`, about; None if it told nothing yet."""
        if not self._offsets_ms:
            return None
        # The median: a single time that cannot be right does not move it.
        return round(at_s * 1000 + median(self._offsets_ms))

    # -------------------------------------------------------------- frames

    def take(
        self, frames: Sequence[bytes | str], now_s: float, unheard: set[StreamKey] | None = None
    ) -> None:
        """Take frames that arrived together.

        Args:
          frames: In the order they came.
          now_s: When they came.
          unheard: Streams that this connection has not told of yet; those it tells are taken out.
        """
        read, streams, takers = self._parts.stream.read, self._streams, self._takers
        update: Update | None = None
        for frame in frames:
            try:
                events: Sequence[StreamEvent] = read(frame)
            except MalformedPayload as error:
                self._malformed(error, now_s)
                continue
            for event in events:
                if type(event) is not Update:
                    self._other(event)
                    continue
                stream = streams.get(event[0])
                if stream is None:
                    continue
                update = event
                if unheard is not None:
                    unheard.discard(stream.key)
                if stream.state != "live":
                    self._parts.confirmed(stream, event, now_s)
                stream.checked_s = now_s
                takers[stream.kind](self, stream, event, now_s)
        if update is not None and not update.snapshot:
            self._offsets_ms.append(update.made_ms - now_s * 1000)
        self._flush(now_s)

    def _take_ticker(self, stream: Stream, update: Update, now_s: float) -> None:
        if self._take_newest(stream, update, now_s):
            value = cast("Ticker", update.value)
            stream.traded_ms = value.trade_time_ms
            if self._has(stream.topic):
                self._news.append((stream.topic, TickerUpdate(ticker=value)))
            day = self._days.get(stream.key.code)
            if day is not None:
                row = day_row(value)
                if row is not None:
                    self._rows.append((stream, day, row))

    def _take_book(self, stream: Stream, update: Update, now_s: float) -> None:
        if update.snapshot:
            stream.depth_told = stream.depth
        if self._take_newest(stream, update, now_s) and self._has(stream.topic):
            book = cast("OrderBook", update.value)
            self._news.append((stream.topic, OrderBookUpdate(book=book)))

    def _take_newest(self, stream: Stream, update: Update, now_s: float) -> bool:
        """Keep an update unless something newer is known."""
        made_ms = update[2]
        if made_ms > stream.made_ms:
            stream.made_ms, stream.news_s, stream.late = made_ms, now_s, 0
        elif made_ms < stream.made_ms and not self._believes(stream, update, now_s):
            return False
        self._quotes[stream] = update[1]
        return True

    def _take_trade(self, stream: Stream, update: Update, now_s: float) -> None:
        trade = cast("Trade", update[1])
        tape = self._tapes.get(stream.key)
        if tape is None:
            tape = self._tapes[stream.key] = Tape()
        if trade.trade_id in tape.seen:
            if not update.snapshot:
                self._parts.counts["duplicate"] += 1
            return
        tape.seen[trade.trade_id] = None
        stream.news_s = now_s
        stream.made_ms = max(stream.made_ms, update[2])
        fresh = self._trades.get(stream)
        if fresh is None:
            self._trades[stream] = [trade]
        else:
            fresh.append(trade)
        if self._has(stream.topic):
            self._news.append((stream.topic, TradeUpdate(trade=trade)))

    def _take_candle(self, stream: Stream, update: Update, now_s: float) -> None:
        # Which rows are news, the cache finds out: it holds those before them.
        if update[2] > stream.made_ms:
            stream.made_ms, stream.news_s, stream.late = update[2], now_s, 0
        elif update[2] < stream.made_ms:
            self._believes(stream, update, now_s)
        self._rows.append((stream, stream.key, cast("LiveRow", update[1])))

    _takers: ClassVar[dict[str, Callable[[FeedDesk, Stream, Update, float], None]]] = {
        "ticker": _take_ticker,
        "orderbook": _take_book,
        "trade": _take_trade,
        "candle": _take_candle,
    }

    def _believes(self, stream: Stream, update: Update, now_s: float) -> bool:
        """Return whether to take an update older than what is known, because that cannot be right.

        It cannot if it lies far ahead of what this stream has told since, several times over, and
        of what the others have told since.
        """
        made_ms = update.made_ms
        far = stream.made_ms - made_ms > ABSURD_MS and not update.snapshot
        rising = made_ms >= stream.late_ms or not stream.late
        stream.late = stream.late + 1 if far and rising else 0
        stream.late_ms, stream.late_s = made_ms, now_s
        self._parts.counts["late"] += 1
        if stream.late < BELIEVED:
            return False
        others_ms = (_last_ms(each) for each in self._streams.values() if each is not stream)
        recent_ms = [ms for ms, at_s in others_ms if at_s > stream.news_s]
        if recent_ms and max(recent_ms) > stream.made_ms - ABSURD_MS:
            return False
        _log.warning(
            "%s %s told of a time that cannot be right; what it told since counts", *stream.key[:2]
        )
        stream.made_ms, stream.news_s, stream.late = made_ms, now_s, 0
        return True

    def _flush(self, now_s: float) -> None:
        """Put what was gathered into the tables, and only then tell of it."""
        put = self._parts.quotes.put
        if self._quotes:
            for stream, value in self._quotes.items():
                put(stream.key, LiveQuote(value, now_s, stream.depth_told))
            self._quotes.clear()
        if self._trades:
            for stream, fresh in self._trades.items():
                put(stream.key, LiveQuote(self._tapes[stream.key].add(fresh), now_s))
            self._trades.clear()
        if self._rows:
            rows, self._rows = self._rows, []
            self._parts.rows(rows, now_s)
        if self._news:
            news, self._news = self._news, []
            for topic, event in news:
                self._events.publish(topic, event)

    def _malformed(self, error: MalformedPayload, now_s: float) -> None:
        counts = self._parts.counts
        counts["malformed"] += 1
        if now_s - self._logged_s >= _LOG_S:
            self._logged_s = now_s
            _log.warning("unreadable frame, the %dth so far: %s", counts["malformed"], error)

    def _other(self, event: StreamEvent) -> None:
        if isinstance(event, StreamRefusal):
            self._parts.refused(event)


def _last_ms(stream: Stream) -> tuple[int, float]:
    """Return the exchange's time of the last update of a stream, and when that came."""
    if stream.late_s > stream.news_s:
        return stream.late_ms, stream.late_s
    return stream.made_ms, stream.news_s


def day_row(ticker: Ticker) -> LiveRow | None:
    """Return the day's candle that a ticker tells; None if nobody has traded on its day yet."""
    # The matching engine dates trades; what dates messages may be a little off.
    open_ms = Timeframe.D1.floor_ms(ticker.trade_time_ms)
    if Timeframe.D1.floor_ms(ticker.time_ms) > open_ms:
        # Before a day's first trade it may tell of either day.
        return None
    return LiveRow(
        open_ms,
        ticker.open,
        ticker.high,
        ticker.low,
        ticker.price,
        ticker.day_volume,
        ticker.day_value,
        ticker.trade_time_ms,
    )
