"""An order book around the last trade, the same for everybody who looks in the same second.

The depth of a side is a rising function of the distance from the best price, made of one hash a
step. Levels of any width are differences of that function, so coarse levels are exactly the sums
of the fine ones in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from actors.sandbox.hashing import mix
from actors.sandbox.market import SandboxMarket
from actors.sandbox.trades import SandboxTrade

DEPTH = 30

_SECOND_MS = 1_000
_LEVEL_EXPONENTS = 19
_ASKS, _BIDS = 1, 2
# Resting at one price is a small part of what an ordinary candle trades.
_LEVEL_SHARE = 20


@dataclass(frozen=True, slots=True)
class SandboxBook:
    """The best orders, best first, as (price units, volume units).

    Attributes:
      time_ms: Since when the book stands so, UTC milliseconds.
      asks: What sellers want.
      bids: What buyers offer; shorter than the asks only where the price nears zero.
    """

    time_ms: int
    asks: tuple[tuple[int, int], ...]
    bids: tuple[tuple[int, int], ...]


def order_book(market: SandboxMarket, now_ms: int, *, step: int) -> SandboxBook | None:
    """Return the book at `now_ms`, or None before the market's first trade.

    Args:
      market: Whose book.
      now_ms: The present, UTC milliseconds.
      step: Prices are gathered into levels this wide, in price units; 0 for single prices.
    """
    last = market.last_trade(now_ms)
    return None if last is None else book_after(market, last, now_ms, step=step)


def book_after(
    market: SandboxMarket, last: SandboxTrade, now_ms: int, *, step: int, depth: int = DEPTH
) -> SandboxBook:
    """Return the book at `now_ms`, when `last` is known to be the newest trade.

    Args:
      market: Whose book.
      last: Its newest trade at `now_ms`.
      now_ms: The present, UTC milliseconds.
      step: Prices are gathered into levels this wide, in price units; 0 for single prices.
      depth: How many levels of each side are wanted.
    """
    time_ms = book_time_ms(last, now_ms)
    key = mix(time_ms, market.source.key)
    tick = market.scale.tick
    best_ask, best_bid = _best(last, tick, key)
    side = _Side(tick, step or tick, key, market.source.typical_volume, depth)
    return SandboxBook(time_ms, side.asks(best_ask), side.bids(best_bid))


def book_time_ms(last: SandboxTrade, now_ms: int) -> int:
    """Return since when the book of `now_ms` stands: it changes each second and with each trade."""
    return max(last.time_ms, now_ms // _SECOND_MS * _SECOND_MS)


def levels_of(market: SandboxMarket, now_ms: int) -> tuple[int, ...]:
    """Return the level widths a market offers: powers of ten from its tick to its price.

    Only markets quoted in won have any beside 0, which means single prices.
    """
    last = market.last_trade(now_ms)
    return (0,) if last is None else levels_after(market, last)


def levels_after(market: SandboxMarket, last: SandboxTrade) -> tuple[int, ...]:
    """Return the level widths a market offers when `last` is its newest trade."""
    if not market.code.startswith("KRW-"):
        return (0,)
    unit, widths = 10**market.scale.price_decimals, [0]
    for exponent in range(_LEVEL_EXPONENTS):
        width = 10**exponent * unit
        if market.scale.tick < width <= last.price:
            widths.append(width)
    return tuple(widths)


def _best(last: SandboxTrade, tick: int, key: int) -> tuple[int, int]:
    spread = tick * (1 + key % 3)
    # A taker who bought hit the best ask, one who sold the best bid: the last price is in the book.
    if last.is_bid:
        return last.price, last.price - spread
    return last.price + spread, last.price


@dataclass(frozen=True, slots=True)
class _Side:
    tick: int
    step: int
    key: int
    typical_volume: int
    depth: int

    def asks(self, best: int) -> tuple[tuple[int, int], ...]:
        first = -(-best // self.step) * self.step
        prices = [first + number * self.step for number in range(self.depth)]
        return self._sizes(_ASKS, [(p, (p - best) // self.tick + 1) for p in prices])

    def bids(self, best: int) -> tuple[tuple[int, int], ...]:
        first = best // self.step * self.step
        prices = [first - number * self.step for number in range(self.depth)]
        return self._sizes(_BIDS, [(p, (best - p) // self.tick + 1) for p in prices if p > 0])

    def _sizes(self, side: int, ends: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
        depths = [0, *(self._depth(side, ticks) for _, ticks in ends)]
        sizes = (after - before for before, after in pairwise(depths))
        return tuple((price, size) for (price, _), size in zip(ends, sizes, strict=True))

    def _depth(self, side: int, ticks: int) -> int:
        # The wobble stays below one step's growth, so that depth rises with every tick.
        growth = max(2, self.typical_volume // _LEVEL_SHARE)
        return ticks * growth + mix(ticks, self.key ^ side) % growth
