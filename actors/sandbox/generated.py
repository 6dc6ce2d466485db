"""Markets made from a seed: any minute of them can be asked for without the ones before it.

A price is a sum of waves of random numbers, each with its own length from a minute to a quarter
of a year, which together move about like a market. Only additions and multiplications are used:
they give the same bits on every machine, which exponentials and logarithms do not promise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actors.sandbox.bars import Bars, Float64s, Int64s, Scale
from actors.sandbox.hashing import bits, key_of, mix, mix_all
from actors.sandbox.market import DAY_MS, SandboxMarket
from actors.sandbox.recent import Recent
from actors.sandbox.trades import bars_of
from actors.timeframes import Timeframe

HISTORY_DAYS = 400
# Of markets beyond those with a character of their own: adding up a year of many is slow.
EXTRA_HISTORY_DAYS = 14
MARKETS_MAX = 1_000

_MINUTE_MS = 60_000
_MINUTES_A_DAY = 1_440
# A page of 200 candles of four hours reads 34 days; more are summed by the day, not kept.
_DAYS_KEPT = 70
# Length in minutes and height of each wave: the heights grow about as the root of the lengths.
_WAVES = (
    (1, 0.0004),
    (6, 0.001),
    (30, 0.002),
    (240, 0.006),
    (1_440, 0.015),
    (10_080, 0.035),
    (43_200, 0.07),
    (129_600, 0.12),
)
_VOLUME_DECIMALS = 8
_BUSY_WAVE = 240
_CONSONANTS, _VOWELS = "BCDFGHJKLMNPRSTVXZ", "AEIOU"
_SYMBOL_STEP = 421


@dataclass(frozen=True, slots=True)
class Character:
    """What a generated market is like.

    Attributes:
      code: Its name.
      price: Around which its price moves, in ticks.
      scale: Its units.
      volume: What an ordinary minute trades, in volume units.
      quiet: The share of minutes without a trade.
      wick: How far, at most, a minute's extremes go beyond its open and close, in ticks.
    """

    code: str
    price: int
    scale: Scale
    volume: int
    quiet: float
    wick: int


# Prices and ticks are of the order of Upbit's in late 2025; how quiet a market is was read off
# recorded minutes (BTC: 2 missing in five weeks, DOGE: about 0.7 %) or chosen to be thin.
CHARACTERS = (
    Character("KRW-BTC", 155_000, Scale(0, _VOLUME_DECIMALS, 1_000), 130_000_000, 0.0005, 60),
    Character("KRW-ETH", 5_600, Scale(0, _VOLUME_DECIMALS, 1_000), 3_000_000_000, 0.001, 4),
    Character("KRW-XRP", 3_900, Scale(0, _VOLUME_DECIMALS, 1), 3_000_000_000_000, 0.001, 4),
    Character("KRW-DOGE", 330, Scale(0, _VOLUME_DECIMALS, 1), 15_000_000_000_000, 0.007, 2),
    Character("BTC-ETH", 3_600_000, Scale(8, _VOLUME_DECIMALS, 1), 25_000_000, 0.45, 3_000),
    Character("USDT-BTC", 11_100_000, Scale(2, _VOLUME_DECIMALS, 1), 400_000, 0.3, 4_000),
)


class GeneratedSource:
    """The base candles of one market, minute by minute, from a seed.

    Args:
      character: What the market is like.
      seed: Another seed gives another market.
      listed_ms: Nobody traded before the UTC day of this.
    """

    base = Timeframe.M1

    def __init__(self, character: Character, *, seed: int, listed_ms: int) -> None:
        self.code = character.code
        self.scale = character.scale
        self.key = key_of("market", seed, character.code)
        self.first_ms = Timeframe.D1.floor_ms(listed_ms)
        self.typical_volume = character.volume
        self._character = character
        self._days = Recent(self._make_day, size=_DAYS_KEPT)

    def bars(self, start_ms: int, end_ms: int) -> Bars:
        """Return the minutes that open in [start_ms, end_ms)."""
        start_ms = max(start_ms, self.first_ms)
        first, last = start_ms // DAY_MS, -(-end_ms // DAY_MS)
        if last - first > _DAYS_KEPT:
            return self._make(first, last).between(start_ms, end_ms)
        days = (self._days.get(day) for day in range(first, last))
        return Bars.concat(days).between(start_ms, end_ms)

    def _make_day(self, day: int) -> Bars:
        return self._make(day, day + 1)

    def _make(self, first_day: int, end_day: int) -> Bars:
        first, end = first_day * _MINUTES_A_DAY, end_day * _MINUTES_A_DAY
        minutes = np.arange(first, end, dtype=np.int64)
        noise = mix_all(minutes, self.key ^ 0xBA5E)
        trades_there = bits(noise, 0, 16) >= round(self._character.quiet * (1 << 16))
        path = self._path(first - 1, end)
        open_, close = path[:-1], path[1:]
        high = np.maximum(open_, close) + self._wick(bits(noise, 16, 12))
        low = np.maximum(np.minimum(open_, close) - self._wick(bits(noise, 28, 12)), 1)
        volume = self._volume(first, end, noise)
        tick = self.scale.tick
        four = [(column * tick)[trades_there] for column in (open_, high, low, close)]
        return bars_of(
            (minutes * _MINUTE_MS)[trades_there],
            (four[0], four[1], four[2], four[3]),
            volume[trades_there],
            span_ms=_MINUTE_MS,
            key=self.key,
        )

    def _path(self, first: int, end: int) -> Int64s:
        # The price at the end of each minute, in ticks; a minute opens where the one before ends.
        swing: Float64s = np.zeros(end - first)
        for length, height in _WAVES:
            swing += height * self._wave(first, end, length)
        # The first terms of the exponential: prices swing by shares and never reach zero.
        price = self._character.price * (1.0 + swing + 0.5 * swing * swing)
        return np.maximum(np.rint(price), 1.0).astype(np.int64)

    def _wave(self, first: int, end: int, length: int) -> Float64s:
        # Random numbers in [-1, 1) every `length` minutes, joined by straight lines.
        first_knot, end_knot = first // length, (end - 1) // length + 2
        noise = mix_all(np.arange(first_knot, end_knot, dtype=np.int64), self.key ^ length)
        knots = bits(noise, 8, 32) / float(1 << 31) - 1.0
        if length == 1:
            return knots[:-1]
        minutes = np.arange(first, end, dtype=np.int64)
        index = minutes // length
        share = (minutes - index * length) / float(length)
        left = knots[index - first_knot]
        return left + (knots[index - first_knot + 1] - left) * share

    def _wick(self, chance: NDArray[np.int64]) -> Int64s:
        # Cubed, because most minutes barely leave their body and a few go far.
        share = chance / float(1 << 12)
        return (share * share * share * (self._character.wick + 1)).astype(np.int64)

    def _volume(self, first: int, end: int, noise: NDArray[np.uint64]) -> Int64s:
        chance = bits(noise, 40, 24) / float(1 << 24)
        busy = 1.3 + self._wave(first, end, _BUSY_WAVE)
        size = self._character.volume * busy * (0.03 + 4.0 * chance * chance * chance)
        return np.maximum(size.astype(np.int64), 4)


def generated_markets(
    *, seed: int, now_ms: int, history_days: int = HISTORY_DAYS, count: int = len(CHARACTERS)
) -> tuple[SandboxMarket, ...]:
    """Return `count` generated markets of a seed, with at least `history_days` before `now_ms`.

    They are listed on the first of a month, so that a sandbox started again some days later has
    the same first candles. Those beyond the six named ones have `EXTRA_HISTORY_DAYS` at least, and
    are listed on a Monday.

    Raises:
      ValueError: The count is not 1 to `MARKETS_MAX`.
    """
    if not 1 <= count <= MARKETS_MAX:
        raise ValueError(f"there can be 1 to {MARKETS_MAX} markets, was {count}")
    old_ms = Timeframe.MN1.floor_ms(now_ms - history_days * DAY_MS)
    extra_days = min(history_days, EXTRA_HISTORY_DAYS)
    new_ms = Timeframe.W1.floor_ms(now_ms - extra_days * DAY_MS)
    kinds = [(kind, old_ms) for kind in CHARACTERS[:count]]
    kinds += [(extra_character(number), new_ms) for number in range(count - len(kinds))]
    sources = (GeneratedSource(kind, seed=seed, listed_ms=ms) for kind, ms in kinds)
    return tuple(SandboxMarket(source) for source in sources)


def extra_character(number: int) -> Character:
    """Return the character of one more market in won, the same for the same number."""
    noise = mix(number, key_of("extra"))
    # From markets of a few won to those of thousands, from busy to nearly dead.
    price = 200 + noise % 4_800
    decimals = noise >> 16 & 3
    quiet = (noise >> 24 & 0xFF) / 640
    volume = 10**11 * (1 + (noise >> 32 & 0xFF))
    wick = 1 + price // 400
    return Character(
        f"KRW-{_symbol(number)}", price, Scale(decimals, _VOLUME_DECIMALS, 1), volume, quiet, wick
    )


def _symbol(number: int) -> str:
    """Return a name of three or four letters that can be spoken; no two numbers share one."""
    # The step has no divisor in common with the number of names, so all come before one again.
    names = len(_CONSONANTS) ** 2 * len(_VOWELS)
    number, turn = number * _SYMBOL_STEP % names, number // names
    number, last = divmod(number, len(_CONSONANTS))
    first, vowel = divmod(number, len(_VOWELS))
    tail = _VOWELS[(first + last + turn) % len(_VOWELS)] if turn or (first + last) % 3 == 0 else ""
    return _CONSONANTS[first] + _VOWELS[vowel] + _CONSONANTS[last] + tail
