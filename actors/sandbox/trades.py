"""The trades inside a candle: made up, but always the same, and adding up to it exactly.

A candle says that somebody traded at its open, high, low and close. So its volume is split into
four shares, one for each of these prices, by a hash of its opening time. That alone fixes the
turnover, for whole columns at once; the single trades are only cut out when they are asked for.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple, TypeAlias

import numpy as np

from actors.sandbox.bars import Bar, Bars, Float64s, Int64s, Period, floors_ms
from actors.sandbox.hashing import bits, mix, mix_all

# Open, high, low, close: prices, or what was traded at them.
Prices: TypeAlias = tuple[Int64s, Int64s, Int64s, Int64s]

# Every candle with this many volume units can hold a trade at each of its four prices.
_ANCHORS = 4
_MINUTE_MS = 60_000
_ORDER_BITS = 8
# Enough for a candle of a day to have a trade in most of its minutes, and still cheap to cut.
_PIECES_MAX = 240


class SandboxTrade(NamedTuple):
    """One trade in whole units.

    Attributes:
      time_ms: When it happened, UTC milliseconds; no two trades of a market share one.
      price: In price units.
      volume: In volume units.
      is_bid: Whether the taker bought.
    """

    time_ms: int
    price: int
    volume: int
    is_bid: bool

    @property
    def sequential_id(self) -> int:
        """Return the number that Upbit would give it: 17 digits that grow with time."""
        return self.time_ms * 10_000


def bars_of(open_ms: Int64s, prices: Prices, volume: Int64s, *, span_ms: int, key: int) -> Bars:
    """Return whole candles, with the turnover and the last trade's time that their trades give.

    Args:
      open_ms: Opening times.
      prices: Open, high, low and close in price units.
      volume: Sizes in volume units, each at least 1 and below 2**62.
      span_ms: How long a candle lasts.
      key: What the trades hang on.
    """
    shares = _shares(open_ms, prices, volume, key)
    value = np.zeros_like(volume)
    for price, share in zip(prices, shares, strict=True):
        value += price * share
    late_ms = bits(mix_all(open_ms, key), 32, 32) % max(1, span_ms // 3)
    return Bars(
        open_ms,
        *prices,
        last_ms=open_ms + (span_ms - 1) - late_ms,
        volume=volume,
        volume_near=volume.astype(np.float64),
        value=value,
        value_near=_near(value, prices, shares),
    )


def _near(value: Int64s, prices: Prices, shares: Prices) -> Float64s:
    high, volume = int(prices[1].max(initial=0)), sum(int(s.max(initial=0)) for s in shares)
    if high * volume < 1 << 62:
        # Nothing has wrapped around, so the exact values are at hand.
        return value.astype(np.float64)
    near = np.zeros(len(value))
    for price, share in zip(prices, shares, strict=True):
        near += price.astype(np.float64) * share.astype(np.float64)
    return near


def _shares(open_ms: Int64s, prices: Prices, volume: Int64s, key: int) -> Prices:
    noise = mix_all(open_ms, key)
    # Weights of 1 to 256 in 1024, three of them; the close gets the rest, at least a quarter.
    weights = [bits(noise, 8 * index, 8) + 1 for index in range(_ANCHORS - 1)]
    spare = np.maximum(volume - _ANCHORS, 0)
    # High and low bits apart, because the plain product could leave 64 bits.
    high_bits, low_bits = spare >> 10, spare & 1023
    large = [1 + high_bits * w + (low_bits * w >> 10) for w in weights]
    # Of one, two or three units there is one for each price that needs a trade; which prices
    # those are is given, because nobody can have traded at more prices than there are units.
    open_, high, _, close = prices
    needs_high = high > np.maximum(open_, close)
    small = [volume >= 2, (volume == 3) & needs_high, (volume == 3) & ~needs_high]  # noqa: PLR2004 - units
    is_large = volume >= _ANCHORS
    first, second, third = (
        np.where(is_large, many, few.astype(np.int64))
        for many, few in zip(large, small, strict=True)
    )
    return first, second, third, volume - first - second - third


def trades_of(bars: Bars, *, span_ms: int, key: int) -> list[SandboxTrade]:
    """Return all trades of whole candles, oldest first.

    Args:
      bars: Candles as `bars_of` makes them, with the same span and key.
      span_ms: How long each lasts.
      key: What the trades hang on.
    """
    prices = (bars.open, bars.high, bars.low, bars.close)
    shares = _shares(bars.open_ms, prices, bars.volume, key)
    pieces_max = min(_PIECES_MAX, max(1, min(3, span_ms // 1_000), span_ms // _MINUTE_MS // 2))
    columns = zip(*(share.tolist() for share in shares), strict=True)
    rows = zip(*(c.tolist() for c in (bars.open_ms, *prices, bars.last_ms)), strict=True)
    trades: list[SandboxTrade] = []
    for (open_ms, *four, last_ms), row_shares in zip(rows, columns, strict=True):
        noise = mix(open_ms, key ^ 0x5EED)
        pieces = _pieces(four, row_shares, pieces_max, noise)
        trades += _timed(pieces, open_ms, last_ms)
    return trades


def _pieces(
    prices: list[int], shares: tuple[int, ...], pieces_max: int, noise: int
) -> list[tuple[int, int, int]]:
    # Price goes from the open by way of both extremes to the close; the hash says by which first.
    stages = (0, 1, 2, 3) if noise & 1 else (0, 2, 1, 3)
    found: list[tuple[int, int, int, int]] = []
    for stage, index in enumerate(stages):
        for number, size in enumerate(_split(shares[index], pieces_max, noise + index)):
            chance = mix(number, noise ^ index)
            order = (stage << _ORDER_BITS) + (chance & ((2 << _ORDER_BITS) - 1))
            found.append((order, prices[index], size, chance))
    if not found:
        return []
    # Whatever the mixing does in the middle, the first trade makes the open and the last the close.
    middle = sorted(found[1:-1])
    return [piece[1:] for piece in (found[0], *middle, *found[1:][-1:])]


def _split(size: int, pieces_max: int, noise: int) -> list[int]:
    count = min(size, pieces_max - noise % (pieces_max // 2 + 1))
    if count <= 1:
        return [size] if size else []
    weights = [1 + mix(number, noise) % 64 for number in range(count)]
    total = sum(weights)
    sizes = [1 + (size - count) * weight // total for weight in weights[:-1]]
    return [*sizes, size - sum(sizes)]


def _timed(pieces: list[tuple[int, int, int]], open_ms: int, last_ms: int) -> list[SandboxTrade]:
    room_ms, count = last_ms - open_ms, len(pieces)
    slot_ms = max(1, room_ms // count)
    trades = []
    before = pieces[0][0]
    for number, (price, size, chance) in enumerate(pieces):
        time_ms = open_ms + room_ms * number // count + (chance >> 20) % slot_ms
        if number == count - 1:
            time_ms = last_ms
        is_bid = price > before or (price == before and bool(chance >> 60 & 1))
        trades.append(SandboxTrade(time_ms, price, size, is_bid))
        before = price
    return trades


def fold_trades(trades: list[SandboxTrade], period: Period) -> Bars:
    """Return the candles of `period` that the trades, oldest first, add up to."""
    times = np.array([trade.time_ms for trade in trades], np.int64)
    opens = floors_ms(period, times)
    cuts = [0, *(np.flatnonzero(opens[1:] != opens[:-1]) + 1).tolist(), len(trades)]
    groups = [(int(opens[a]), trades[a:b]) for a, b in pairwise(cuts) if b > a]
    return Bars.from_rows([_bar(open_ms, group) for open_ms, group in groups])


def _bar(open_ms: int, trades: list[SandboxTrade]) -> Bar:
    prices = [trade.price for trade in trades]
    return Bar(
        open_ms,
        prices[0],
        max(prices),
        min(prices),
        prices[-1],
        sum(trade.volume for trade in trades),
        sum(trade.price * trade.volume for trade in trades),
        trades[-1].time_ms,
    )
