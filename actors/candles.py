"""`Candles`: what bots get when they ask for candles. Immutable, columnar, oldest first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from actors.quotes import Source
from actors.series import Series

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

# One row takes this many bytes: seven columns of eight, and a byte for `closed`.
ROW_BYTES = 57

FLOAT_COLUMNS = ("open", "high", "low", "close", "volume", "value")
COLUMNS = ("open_time_ms", *FLOAT_COLUMNS, "closed")


class Candle(NamedTuple):
    """One candle. `volume` is in the base currency, `value` the turnover in the quote currency."""

    open_time_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    value: float
    closed: bool


class Missing(NamedTuple):
    """A span of an answer about which nothing is known, and why. Half-open, in opening times."""

    start_ms: int
    end_ms: int
    reason: str


class Candles:
    """A run of candles of one series, oldest first, with where they came from.

    A candle that is absent is absent: nobody traded, and nothing is filled in. `missing` names the
    spans of which that is not known. Arrays cannot be written to and may be shared.

    Attributes:
      series: Which market and timeframe.
      open_time_ms: Opening times, int64, strictly rising, UTC milliseconds since the epoch.
      open: First price, float64, in the quote currency; likewise `high`, `low` and `close`.
      volume: Traded size, float64, in the base currency.
      value: Turnover, float64, in the quote currency.
      closed: Whether each candle is proven final, bool. Only the newest can be False.
      source: The farthest place the answer needed: live, memory, store, exchange.
      as_of_ms: The exchange's time when the newest part of the answer was observed; 0 if unknown.
      missing: What is not known of the span that was asked for; empty when `complete`.
      reason: Why it was answered from there, in words.
      filled: Whether each candle was put in where nobody traded, bool; None if none was asked for.
    """

    # Six columns in one slot: an answer from memory is made in a microsecond, and there are many.
    __slots__ = (
        "_as_of_ms",
        "_closed",
        "_filled",
        "_floats",
        "_missing",
        "_open_time_ms",
        "_reason",
        "_series",
        "_source",
    )

    def __init__(
        self,
        series: Series,
        open_time_ms: NDArray[np.int64],
        floats: Sequence[NDArray[np.float64]],
        closed: NDArray[np.bool_],
        *,
        source: Source = "memory",
        as_of_ms: int = 0,
        missing: tuple[Missing, ...] = (),
        reason: str = "",
        filled: NDArray[np.bool_] | None = None,
    ) -> None:
        for column in (open_time_ms, *floats, closed):
            column.flags.writeable = False
        if filled is not None:
            filled.flags.writeable = False
        columns = tuple(floats)
        self._set(series, open_time_ms, columns, closed, filled, source, as_of_ms, missing, reason)

    def _set(  # noqa: PLR0917 - private, and on the way that must take no longer than a microsecond
        self,
        series: Series,
        open_time_ms: NDArray[np.int64],
        floats: tuple[NDArray[np.float64], ...],
        closed: NDArray[np.bool_],
        filled: NDArray[np.bool_] | None,
        source: Source,
        as_of_ms: int,
        missing: tuple[Missing, ...],
        reason: str,
    ) -> Self:
        self._series = series
        self._open_time_ms = open_time_ms
        self._floats = floats
        self._closed = closed
        self._filled = filled
        self._source = source
        self._as_of_ms = as_of_ms
        self._missing = missing
        self._reason = reason
        return self

    @classmethod
    def empty(cls, series: Series) -> Self:
        """Return no candles of `series`."""
        return cls.from_rows(series, ())

    @classmethod
    def from_rows(cls, series: Series, rows: Iterable[Sequence[Any]]) -> Self:
        """Return candles from rows in the order of `Candle`'s fields, oldest first.

        Raises:
          ValueError: The opening times do not rise strictly.
        """
        columns: list[Sequence[Any]] = list(zip(*rows, strict=True)) or [()] * len(COLUMNS)
        times = np.array(columns[0], dtype=np.int64)
        if times.size > 1 and not bool((np.diff(times) > 0).all()):
            raise ValueError(f"opening times of {series} must rise strictly")
        floats = [np.array(column, dtype=np.float64) for column in columns[1:7]]
        return cls(series, times, floats, np.array(columns[7], dtype=np.bool_))

    @property
    def complete(self) -> bool:
        """Return whether everything that was asked for is known."""
        return not self.missing

    @property
    def series(self) -> Series:
        """Return which market and timeframe."""
        return self._series

    @property
    def open_time_ms(self) -> NDArray[np.int64]:
        """Return the opening times, UTC milliseconds since the epoch."""
        return self._open_time_ms

    @property
    def open(self) -> NDArray[np.float64]:
        """Return the first prices, in the quote currency."""
        return self._floats[0]

    @property
    def high(self) -> NDArray[np.float64]:
        """Return the highest prices."""
        return self._floats[1]

    @property
    def low(self) -> NDArray[np.float64]:
        """Return the lowest prices."""
        return self._floats[2]

    @property
    def close(self) -> NDArray[np.float64]:
        """Return the last prices."""
        return self._floats[3]

    @property
    def volume(self) -> NDArray[np.float64]:
        """Return the traded sizes, in the base currency."""
        return self._floats[4]

    @property
    def value(self) -> NDArray[np.float64]:
        """Return the turnovers, in the quote currency."""
        return self._floats[5]

    @property
    def floats(self) -> tuple[NDArray[np.float64], ...]:
        """Return the six float columns in the order of `FLOAT_COLUMNS`."""
        return self._floats

    @property
    def closed(self) -> NDArray[np.bool_]:
        """Return whether each candle is proven final."""
        return self._closed

    @property
    def source(self) -> Source:
        """Return the farthest place the answer needed."""
        return self._source

    @property
    def as_of_ms(self) -> int:
        """Return the exchange's time of the newest part, in milliseconds; 0 if unknown."""
        return self._as_of_ms

    @property
    def missing(self) -> tuple[Missing, ...]:
        """Return what is not known of the span that was asked for."""
        return self._missing

    @property
    def reason(self) -> str:
        """Return why it was answered from there, in words; empty if nobody said."""
        return self._reason

    @property
    def filled(self) -> NDArray[np.bool_] | None:
        """Return which candles were put in where nobody traded; None if nobody asked for that."""
        return self._filled

    @property
    def nbytes(self) -> int:
        """Return the memory the columns take, in bytes."""
        return len(self) * ROW_BYTES

    def __len__(self) -> int:
        """Return the number of candles."""
        return len(self.open_time_ms)

    def __getitem__(self, index: int) -> Candle:
        """Return one candle as plain Python values; negative counts from the newest."""
        columns = (self.open_time_ms, *self.floats, self.closed)
        return Candle(*(column[index].item() for column in columns))

    def __iter__(self) -> Iterator[Candle]:
        """Return the candles one by one, oldest first."""
        return iter(self.rows())

    def __eq__(self, other: object) -> bool:
        """Return whether series and all rows are the same, wherever they came from."""
        if not isinstance(other, Candles):
            return NotImplemented
        return (
            self.series == other.series
            and np.array_equal(self.open_time_ms, other.open_time_ms)
            and np.array_equal(self.closed, other.closed)
            and all(
                np.array_equal(mine, theirs)
                for mine, theirs in zip(self.floats, other.floats, strict=True)
            )
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Return a line that says which, how many, from where, and whether all is there."""
        state = "complete" if self.complete else f"{len(self.missing)} spans missing"
        return f"<Candles {self.series}: {len(self)} from {self.source}, {state}>"

    def slice(self, start: int, stop: int) -> Candles:
        """Return the candles at positions [start, stop), sharing memory and provenance."""
        # A view of a read-only array is read-only, so nothing needs to be locked again.
        made = Candles.__new__(Candles)
        return made._set(  # noqa: SLF001 - its own class
            self._series,
            self._open_time_ms[start:stop],
            tuple([column[start:stop] for column in self._floats]),
            self._closed[start:stop],
            None if self._filled is None else self._filled[start:stop],
            self._source,
            self._as_of_ms,
            self._missing,
            self._reason,
        )

    def between(self, start_ms: int, end_ms: int) -> Candles:
        """Return the candles that open in [start_ms, end_ms), sharing memory."""
        start, stop = np.searchsorted(self.open_time_ms, (start_ms, end_ms))
        return self.slice(int(start), int(stop))

    def last(self, count: int) -> Candles:
        """Return the newest `count` candles, or all there are, sharing memory."""
        return self.slice(max(0, len(self) - count), len(self))

    def closed_only(self) -> Candles:
        """Return the candles that are proven final."""
        return self if bool(self.closed.all()) else self.take(self.closed)

    def take(self, mask: NDArray[np.bool_]) -> Candles:
        """Return the candles for which `mask` is True, as a copy with the same provenance."""
        return Candles(
            self.series,
            self.open_time_ms[mask],
            [column[mask] for column in self.floats],
            self.closed[mask],
            source=self.source,
            as_of_ms=self.as_of_ms,
            missing=self.missing,
            reason=self.reason,
            filled=None if self.filled is None else self.filled[mask],
        )

    def merge(self, newer: Candles) -> Candles:
        """Return the rows of both; where both have a candle, that of `newer` is taken.

        A closed candle is final, so an open one never replaces it.

        Raises:
          ValueError: The two are not of one series.
        """
        if self.series != newer.series:
            raise ValueError(f"cannot merge candles of {newer.series} into those of {self.series}")
        if not len(newer):
            return self
        if not len(self):
            return newer
        times = np.concatenate((self.open_time_ms, newer.open_time_ms))
        closed = np.concatenate((self.closed, newer.closed))
        # Within equal times the row to keep comes last: closed after open, then newer after older.
        order = np.lexsort((np.arange(len(times)), closed, times))
        keep = order[np.append(np.diff(times[order]) > 0, True)]
        floats = [
            np.concatenate((mine, theirs))[keep]
            for mine, theirs in zip(self.floats, newer.floats, strict=True)
        ]
        return Candles(self.series, times[keep], floats, closed[keep])

    def answer(
        self,
        *,
        source: Source,
        as_of_ms: int = 0,
        missing: tuple[Missing, ...] = (),
        reason: str = "",
    ) -> Candles:
        """Return the same rows with another provenance, sharing memory."""
        return Candles.__new__(Candles)._set(  # noqa: SLF001 - its own class
            self._series,
            self._open_time_ms,
            self._floats,
            self._closed,
            self._filled,
            source,
            as_of_ms,
            missing,
            reason,
        )

    def rows(self) -> list[Candle]:
        """Return the candles as named tuples of plain Python values, oldest first."""
        columns = (self.open_time_ms, *self.floats, self.closed)
        return [Candle(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]

    def to_pandas(self) -> pd.DataFrame:
        """Return a pandas data frame indexed by opening time (UTC); needs `marketd[pandas]`."""
        import pandas as pd  # noqa: PLC0415 - heavy and optional

        index = pd.to_datetime(self.open_time_ms, unit="ms", utc=True).rename("open_time")
        return pd.DataFrame(self._table(), index=index)

    def to_polars(self) -> pl.DataFrame:
        """Return a polars data frame with a UTC `open_time` column; needs `marketd[polars]`."""
        import polars as pl  # noqa: PLC0415 - heavy and optional

        times = pl.Series("open_time", self.open_time_ms).cast(pl.Datetime("ms", "UTC"))
        return pl.DataFrame({"open_time": times, **self._table()})

    def _table(self) -> dict[str, NDArray[Any]]:
        """Return all columns but the times, by name."""
        columns = dict(zip(FLOAT_COLUMNS, self.floats, strict=True))
        flags = {"closed": self.closed}
        return (
            {**columns, **flags}
            if self.filled is None
            else {**columns, **flags, "filled": self.filled}
        )
