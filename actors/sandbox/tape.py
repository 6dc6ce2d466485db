"""A market's trades one after the other, without asking for any of them twice."""

from __future__ import annotations

from collections import deque

from actors.sandbox.market import DAY_MS, SandboxMarket
from actors.sandbox.trades import SandboxTrade, trades_of

# Cutting many candles at once is cheaper than one by one; all of a chunk are held in memory.
_CHUNK_BARS = 16


class Tape:
    """Read a market's trades in order.

    Attributes:
      due_ms: When the next trade happens; or, if none is near, when to look for one again.

    Args:
      market: Whose trades.
      start_ms: The first one is at or after this, UTC milliseconds.
    """

    def __init__(self, market: SandboxMarket, start_ms: int) -> None:
        self._source = market.source
        self._span_ms = market.source.base.span_ms
        self._ready: deque[SandboxTrade] = deque()
        # Many tapes are opened at one moment. Chunks of unequal length keep them from all having
        # to be cut again at one moment, too.
        self._bars = 1 + market.source.key % _CHUNK_BARS
        self._next_ms = max(market.source.base.floor_ms(start_ms), market.source.first_ms)
        self.due_ms = start_ms
        self._cut(start_ms)

    def take(self) -> SandboxTrade | None:
        """Return the trade of `due_ms` and go on to the next; None if there was none after all."""
        if not self._ready:
            self._cut(self.due_ms)
            return None
        trade = self._ready.popleft()
        if self._ready:
            self.due_ms = self._ready[0].time_ms
        else:
            self._cut(trade.time_ms + 1)
        return trade

    def _cut(self, start_ms: int) -> None:
        end_ms = self._next_ms + self._bars * self._span_ms
        bars = self._source.bars(self._next_ms, end_ms)
        if not len(bars):
            # Nobody trades for a while, or ever again: look farther, but not without end.
            end_ms = self._next_ms + max(DAY_MS, self._span_ms)
            bars = self._source.bars(self._next_ms, end_ms)[: self._bars]
            if len(bars):
                end_ms = int(bars.open_ms[-1]) + self._span_ms
        self._next_ms = end_ms
        self._bars = _CHUNK_BARS
        if len(bars):
            cut = trades_of(bars, span_ms=self._span_ms, key=self._source.key)
            self._ready.extend(trade for trade in cut if trade.time_ms >= start_ms)
        self.due_ms = self._ready[0].time_ms if self._ready else end_ms
