"""Candles as exact integers, and how fine ones add up to coarse ones.

Prices and volumes are whole numbers of the market's smallest unit (`Scale`), so that sums are the
same in whatever order they are taken, and a number from a file comes back as the same float64.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, Final, Literal, NamedTuple, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from actors.timeframes import Timeframe

Int64s = NDArray[np.int64]
Float64s = NDArray[np.float64]

# Upbit also has candles of a year, which the domain's timeframes do not know.
YEAR: Final = "1y"
Period: TypeAlias = Timeframe | Literal["1y"]

_CALENDAR_UNITS = {Timeframe.MN1: "M", YEAR: "Y"}
_HALF, _WHOLE = 1 << 63, 1 << 64


class Bar(NamedTuple):
    """One candle in whole units.

    Attributes:
      open_ms: Opening time, UTC milliseconds since the epoch.
      open: First price in price units; likewise `high`, `low` and `close`.
      volume: Traded size in volume units.
      value: Turnover in units of price unit times volume unit.
      last_ms: When the last trade in it happened.
    """

    open_ms: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    value: int
    last_ms: int


@dataclass(frozen=True, slots=True)
class Scale:
    """What a market's whole numbers mean.

    Attributes:
      price_decimals: A price unit is 10 to the minus this, in the quote currency.
      volume_decimals: A volume unit is 10 to the minus this, in the base currency.
      tick: The step between two prices, in price units.
    """

    price_decimals: int
    volume_decimals: int
    tick: int

    # Dividing two Python integers rounds once and correctly, so the result is the very float64
    # that parsing the decimal text gives.
    def price(self, units: int) -> float:
        """Return a price in the quote currency."""
        return units / _power(self.price_decimals)

    def volume(self, units: int) -> float:
        """Return a size in the base currency."""
        return units / _power(self.volume_decimals)

    def value(self, units: int) -> float:
        """Return a turnover in the quote currency."""
        return units / _power(self.price_decimals + self.volume_decimals)


@dataclass(frozen=True, slots=True, eq=False)
class Bars:
    """Columns of candles, oldest first.

    Sums of volume and turnover outgrow 64 bits. Each is therefore kept twice: exactly but modulo
    2**64, and approximately as a float. Together they name one integer (see `exact`), and both
    can be summed by numpy.

    Attributes:
      open_ms: Opening times, strictly rising, UTC milliseconds.
      open: First prices in price units; likewise `high`, `low` and `close`.
      last_ms: When the last trade of each happened.
      volume: Sizes in volume units, modulo 2**64; `volume_near` the same, about.
      value: Turnovers in price units times volume units, modulo 2**64; `value_near` about.
    """

    open_ms: Int64s
    open: Int64s
    high: Int64s
    low: Int64s
    close: Int64s
    last_ms: Int64s
    volume: Int64s
    volume_near: Float64s
    value: Int64s
    value_near: Float64s

    def __len__(self) -> int:
        """Return how many candles there are."""
        return len(self.open_ms)

    def __getitem__(self, part: slice) -> Self:
        """Return a run of them as views."""
        return type(self)(*(column[part] for column in self.columns()))

    def columns(self) -> list[Any]:
        """Return the arrays in the order of the attributes."""
        return [getattr(self, field.name) for field in fields(self)]

    @classmethod
    def from_rows(cls, rows: Sequence[Bar]) -> Self:
        """Return columns of `rows`, oldest first. Also for rows whose sums exceed 64 bits."""
        table: list[Sequence[int]] = list(zip(*rows, strict=True)) or [()] * len(Bar._fields)
        open_ms, open_, high, low, close, volume, value, last_ms = table
        columns = [*_int64s(open_ms, open_, high, low, close, last_ms), *_summable(volume, value)]
        return cls(*columns)

    @classmethod
    def concat(cls, parts: Iterable[Bars]) -> Bars:
        """Return the parts one after the other; they must already be in order."""
        full = [part for part in parts if len(part)]
        if len(full) <= 1:
            return full[0] if full else cls.from_rows(())
        columns = zip(*(part.columns() for part in full), strict=True)
        return cls(*(np.concatenate(pieces) for pieces in columns))

    def between(self, start_ms: int, end_ms: int) -> Self:
        """Return those that open in [start_ms, end_ms)."""
        first, last = np.searchsorted(self.open_ms, (start_ms, end_ms))
        return self[int(first) : int(last)]

    def fold(self, period: Period) -> Bars:
        """Return the candles of `period` that these add up to; no candle without one of these."""
        if not len(self):
            return self
        opens = floors_ms(period, self.open_ms)
        starts = np.flatnonzero(np.concatenate(([True], opens[1:] != opens[:-1])))
        ends = np.append(starts[1:], len(self)) - 1
        return Bars(
            open_ms=opens[starts],
            open=self.open[starts],
            high=np.maximum.reduceat(self.high, starts),
            low=np.minimum.reduceat(self.low, starts),
            close=self.close[ends],
            last_ms=self.last_ms[ends],
            volume=np.add.reduceat(self.volume, starts),
            volume_near=np.add.reduceat(self.volume_near, starts),
            value=np.add.reduceat(self.value, starts),
            value_near=np.add.reduceat(self.value_near, starts),
        )

    def rows(self) -> list[Bar]:
        """Return them as exact rows, oldest first."""
        volumes = map(exact, self.volume.tolist(), self.volume_near.tolist())
        values = map(exact, self.value.tolist(), self.value_near.tolist())
        prices = (column.tolist() for column in (self.open, self.high, self.low, self.close))
        columns = (self.open_ms.tolist(), *prices, volumes, values, self.last_ms.tolist())
        return [Bar(*row) for row in zip(*columns, strict=True)]

    def totals(self) -> tuple[int, int]:
        """Return the exact sums of volume and of turnover, in units."""
        volume = exact(int(self.volume.sum()), float(self.volume_near.sum()))
        return volume, exact(int(self.value.sum()), float(self.value_near.sum()))


def _int64s(*columns: Sequence[int]) -> list[Any]:
    return [np.array(column, np.int64) for column in columns]


def _summable(*columns: Sequence[int]) -> list[Any]:
    arrays: list[Any] = []
    for numbers in columns:
        wrapped = [(number + _HALF) % _WHOLE - _HALF for number in numbers]
        arrays += [np.array(wrapped, np.int64), np.array(numbers, np.float64)]
    return arrays


@cache
def _power(decimals: int) -> int:
    return int(10**decimals)


def exact(wrapped: int, near: float) -> int:
    """Return the integer that equals `wrapped` modulo 2**64 and lies closest to `near`."""
    # A float64 sum of any market's history is off by far less than the 2**63 that it may be.
    guess = int(near)
    return guess + (wrapped - guess + _HALF) % _WHOLE - _HALF


def floors_ms(period: Period, times_ms: Int64s) -> Int64s:
    """Return the opening times of the candles of `period` that the times fall into."""
    unit = _CALENDAR_UNITS.get(period)
    if unit is not None:
        moments = times_ms.astype("datetime64[ms]").astype(f"datetime64[{unit}]")
        return moments.astype("datetime64[ms]").astype(np.int64)
    timeframe = Timeframe(period)
    offset_ms, span_ms = timeframe.floor_ms(0), timeframe.span_ms
    return (times_ms - offset_ms) // span_ms * span_ms + offset_ms
