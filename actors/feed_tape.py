"""`Tape`: the newest trades of one market, each once. Plain code.

The numbers of trades are remembered beyond a break, so that no trade is told twice; the trades
themselves are not, because some between may be lacking.
"""

from __future__ import annotations

from itertools import pairwise

from actors.feed_tables import TRADES_KEPT
from actors.quotes import Trade


class Tape:
    """The newest trades of one market.

    Bound: the newest `TRADES_KEPT` trades, and twice as many numbers of trades.

    Args:
      trades: Those to begin with, newest first.

    Attributes:
      trades: Newest first, all there were since the stream was last whole.
      seen: The numbers of trades that came, in the order they came.
    """

    __slots__ = ("seen", "trades")

    def __init__(self, trades: tuple[Trade, ...] = ()) -> None:
        self.trades = trades
        self.seen: dict[int, None] = dict.fromkeys(trade.trade_id for trade in reversed(trades))

    @property
    def newest_id(self) -> int | None:
        """Return the number of the newest trade; None if there is none since the last break."""
        return self.trades[0].trade_id if self.trades else None

    def add(self, fresh: list[Trade]) -> tuple[Trade, ...]:
        """Put trades on the tape, given in the order they came; return the whole tape."""
        fresh.reverse()
        held = self.trades
        in_order = all(after.time_ms >= before.time_ms for after, before in pairwise(fresh))
        if held and fresh[-1].time_ms < held[0].time_ms:
            in_order = False
        merged = (*fresh, *held)
        if not in_order:
            # Trades of one moment stay in the order they came.
            merged = tuple(sorted(merged, key=_newest_first))
        self.trades = merged[:TRADES_KEPT]
        self._forget()
        return self.trades

    def _forget(self) -> None:
        seen = self.seen
        if len(seen) > 2 * TRADES_KEPT:
            self.seen = dict.fromkeys(list(seen)[-TRADES_KEPT:])


def _newest_first(trade: Trade) -> int:
    return -trade.time_ms
