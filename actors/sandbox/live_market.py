"""One market as one connection follows it: which frames its subscriptions make, and when.

Everything is kept up to date trade by trade. Candles are told once a second, at the same moment
for all timeframes, and only if a trade has changed them: so frames of one moment carry one
timestamp, and the last trades of a window go untold if the next window's first one is quicker.
"""

from __future__ import annotations

from typing import NamedTuple

from actors.sandbox.bars import Bar
from actors.sandbox.book import DEPTH, book_after, book_time_ms, levels_after
from actors.sandbox.live_day import DaySides, LiveDay
from actors.sandbox.market import DAY_MS, SandboxMarket
from actors.sandbox.payloads import Payload, ticker_stamp_ms
from actors.sandbox.stream_payloads import (
    CANDLE_TYPES,
    REALTIME,
    SNAPSHOT,
    book_frame,
    candle_frame,
    ticker_frame,
    trade_frame,
)
from actors.sandbox.tape import Tape
from actors.sandbox.trades import SandboxTrade

_SECOND_MS = 1_000
_NEVER_MS = 1 << 62


class Channel(NamedTuple):
    """One stream of one market.

    Attributes:
      kind: Its type, e.g. `ticker` or `candle.1m`.
      depth: Of an order book, how many levels of each side.
      level: Of an order book, how wide they are, in the quote currency.
    """

    kind: str
    depth: int = DEPTH
    level: float = 0.0


class LiveMarket:
    """Follow a market from `now_ms` on.

    Attributes:
      due_ms: The next moment at which something may have to be told.
      skew_ms: How far the stamps of frames are off the market's time.

    Args:
      market: What is followed.
      sides: What is known of its day.
      now_ms: The present, UTC milliseconds.
    """

    def __init__(self, market: SandboxMarket, sides: DaySides, now_ms: int) -> None:
        self._market = market
        self._sides = sides
        self._code, self._scale = market.code, market.scale
        self._tape = Tape(market, now_ms + 1)
        self._last = market.last_trade(now_ms)
        last_ms = now_ms if self._last is None else self._last.time_ms
        self._previous_close = market.previous_close(last_ms, now_ms)
        self._today = _day(last_ms)
        self._trades = False
        self._tickers = False
        self._day: LiveDay | None = None
        self._day_ms = -1
        self._books: dict[Channel, int] = {}
        self._bars: dict[str, tuple[int, Bar | None]] = {}
        # Each market has its own moment of the second, as if each had its own server.
        self._phase_ms = market.source.key % _SECOND_MS
        self._candles_ms = _NEVER_MS
        self._book_ms = _NEVER_MS
        self._now_ms = now_ms
        self.skew_ms = 0
        self.due_ms = self._tape.due_ms

    def follow(self, channel: Channel) -> None:
        """Tell from now on what happens on `channel`."""
        if channel.kind == "ticker":
            self._tickers = True
            self._day = self._day or self._open_day()
        elif channel.kind == "trade":
            self._trades = True
        elif channel.kind == "orderbook":
            self._books.setdefault(channel, -1)
            self._book_ms = _next_second(self._now_ms)
        elif channel.kind not in self._bars:
            timeframe = CANDLE_TYPES[channel.kind]
            bars = self._market.candles(timeframe, to_ms=None, count=1, now_ms=self._now_ms)
            self._bars[channel.kind] = (timeframe.span_ms, bars[0] if bars else None)
        self._plan()

    def _open_day(self) -> LiveDay | None:
        self._day_ms = self._now_ms
        return LiveDay.of(self._market, self._sides, self._now_ms)

    def snapshot(self, channel: Channel, *, old: bool = False) -> Payload | None:
        """Return the present state of `channel`, or None if it has none.

        Args:
          channel: What is wanted.
          old: Of a candle, leave out the newest one.
        """
        last, now_ms = self._last, self._now_ms
        if last is None:
            return None
        if channel.kind == "ticker":
            # The day that is followed stands as of its newest trade; time has passed since.
            day = self._day if self._day_ms == now_ms else None
            day = day or self._open_day()
            if self._tickers:
                self._day = day
            return None if day is None else self._ticker(day, SNAPSHOT)
        if channel.kind == "trade":
            return self._trade(last, SNAPSHOT)
        if channel.kind == "orderbook":
            return self._book(channel, last, SNAPSHOT)
        timeframe = CANDLE_TYPES[channel.kind]
        found = self._market.candles(timeframe, to_ms=None, count=1 + old, now_ms=now_ms)
        bar = found[-1]
        return candle_frame(self._code, self._scale, channel.kind, bar, SNAPSHOT)

    def step(self) -> list[Payload]:
        """Return what is to be told at `due_ms`, and go on to the next moment."""
        now_ms = self._now_ms = self.due_ms
        frames: list[Payload] = []
        if now_ms >= self._tape.due_ms:
            trade = self._tape.take()
            if trade is not None:
                self._add(trade, frames)
        if now_ms >= self._book_ms:
            self._book_ms = _next_second(now_ms)
            self._tell_books(frames)
        if now_ms >= self._candles_ms:
            self._tell_candles(frames)
        self._plan()
        return frames

    def pass_to(self, now_ms: int) -> None:
        """Let time pass in which nothing happened."""
        self._now_ms = max(self._now_ms, now_ms)

    def _plan(self) -> None:
        self.due_ms = min(self._tape.due_ms, self._book_ms, self._candles_ms)

    def _add(self, trade: SandboxTrade, frames: list[Payload]) -> None:
        self._turn_day(trade)
        self._last = trade
        if self._trades:
            frames.append(self._trade(trade, REALTIME))
        if self._tickers:
            if self._day is None:
                self._day = self._open_day()
            else:
                self._day.add(trade)
            if self._day is not None:
                frames.append(self._ticker(self._day, REALTIME))
        if self._books:
            self._tell_books(frames)
        if self._bars:
            self._fold(trade)
            if self._candles_ms == _NEVER_MS:
                wait_ms = (self._phase_ms - trade.time_ms) % _SECOND_MS
                self._candles_ms = trade.time_ms + wait_ms

    def _turn_day(self, trade: SandboxTrade) -> None:
        today = _day(trade.time_ms)
        if today != self._today:
            self._today = today
            if self._last is not None:
                self._previous_close = self._last.price

    def _fold(self, trade: SandboxTrade) -> None:
        time_ms, price, volume, _ = trade
        value = price * volume
        for kind, (span_ms, bar) in self._bars.items():
            open_ms = time_ms // span_ms * span_ms
            if bar is None or bar[0] != open_ms:
                bar = Bar(open_ms, price, price, price, price, volume, value, time_ms)  # noqa: PLW2901 - the next state
            else:
                _, open_, high, low, _, volumes, values, _ = bar
                high, low = max(high, price), min(low, price)
                bar = Bar(  # noqa: PLW2901 - the next state
                    open_ms, open_, high, low, price, volumes + volume, values + value, time_ms
                )
            self._bars[kind] = (span_ms, bar)

    def _tell_candles(self, frames: list[Payload]) -> None:
        self._candles_ms = _NEVER_MS
        for kind, (_, bar) in self._bars.items():
            if bar is not None:
                frames.append(candle_frame(self._code, self._scale, kind, bar, REALTIME))

    def _tell_books(self, frames: list[Payload]) -> None:
        last = self._last
        if last is None:
            return
        time_ms = book_time_ms(last, self._now_ms)
        for channel, told_ms in self._books.items():
            if told_ms != time_ms:
                self._books[channel] = time_ms
                frame = self._book(channel, last, REALTIME)
                if frame is not None:
                    frames.append(frame)

    def _trade(self, trade: SandboxTrade, stream_type: str) -> Payload:
        book = book_after(self._market, trade, self._now_ms, step=0, depth=1)
        before = self._previous_close
        return trade_frame(
            self._code,
            self._scale,
            trade,
            trade.price if before is None else before,
            book,
            stamp_ms=ticker_stamp_ms(trade, self._now_ms) + self.skew_ms,
            stream_type=stream_type,
        )

    def _ticker(self, day: LiveDay, stream_type: str) -> Payload:
        stamp_ms = ticker_stamp_ms(day.last, self._now_ms) + self.skew_ms
        return ticker_frame(
            self._code, self._scale, day, stamp_ms=stamp_ms, stream_type=stream_type
        )

    def _book(self, channel: Channel, last: SandboxTrade, stream_type: str) -> Payload | None:
        step = 0
        if channel.level:
            wanted = channel.level * 10**self._scale.price_decimals
            step = int(wanted)
            # A level that a market does not offer is silence, not an error.
            if step != wanted or step not in levels_after(self._market, last):
                return None
        book = book_after(self._market, last, self._now_ms, step=step)
        return book_frame(
            self._code,
            self._scale,
            book,
            depth=channel.depth,
            step=step,
            skew_ms=self.skew_ms,
            stream_type=stream_type,
        )


def _next_second(now_ms: int) -> int:
    return (now_ms // _SECOND_MS + 1) * _SECOND_MS


def _day(now_ms: int) -> int:
    return now_ms // DAY_MS
