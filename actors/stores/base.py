"""What a place for candles must do. Every store, the one in memory included, passes one test suite.

A store keeps only what is final: closed candles, and the spans in which everything is known.
Nothing unproven is ever on disk, so whatever is read back can be believed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

import msgspec

from actors.coverage import Coverage, Span
from actors.messages import StoredCandles, StoreWrite
from actors.reports import StoreStatistics
from actors.series import Series


class SeriesUse(msgspec.Struct, frozen=True, kw_only=True):
    """How one series has been used.

    Attributes:
      candles: How many candles are stored.
      created_ms: When it was first written, in UTC milliseconds.
      written_ms: When it was last written; 0 if never.
      read_ms: When it was last read; 0 if never.
      reads: How often it has been read.
    """

    candles: int = 0
    created_ms: int
    written_ms: int = 0
    read_ms: int = 0
    reads: int = 0

    def touched(
        self,
        *,
        candles: int | None = None,
        written_ms: int = 0,
        read_ms: int = 0,
        reads: int = 0,
    ) -> SeriesUse:
        """Return this with what has happened since; dates never go back."""
        return SeriesUse(
            candles=self.candles if candles is None else candles,
            created_ms=self.created_ms,
            written_ms=max(self.written_ms, written_ms),
            read_ms=max(self.read_ms, read_ms),
            reads=self.reads + reads,
        )


class CandleStore(ABC):
    """A place for closed candles and their coverage. Used by one task at a time for writing.

    Error handling: every method raises `StoreUnavailable` when the database cannot be reached,
    read or written (nothing was changed; try again), and `StoreCorrupt` when what is there breaks
    the promises above (the message names series and record; do not try again before `repair`). No
    driver's error escapes. A request that makes no sense is `InvalidRequest`, before anything is
    touched.

    Attributes:
      lost: Whether this store can be of no use any more, so that only opening it again can help.
    """

    lost: bool = False

    @abstractmethod
    async def read(
        self, series: Series, *, start_ms: int, end_ms: int, count: int | None = None
    ) -> StoredCandles:
        """Return the stored candles that open in [start_ms, end_ms).

        Args:
          series: Market and timeframe.
          start_ms: First opening time wanted.
          end_ms: First opening time no longer wanted.
          count: Only the newest so many of them; None for all.

        Returns:
          The rows, oldest first, all closed, with the series' whole coverage clipped to
          [start_ms, end_ms). Rows are returned wherever they are, holes in coverage or not.
        """

    @abstractmethod
    async def coverage(self, series: Series) -> Coverage:
        """Return everything that is proven of `series`; empty for a series never written."""

    @abstractmethod
    async def write(self, writes: Sequence[StoreWrite]) -> None:
        """Keep all of `writes` in one transaction: all of them or none.

        Within a write's `proven` span its rows replace whatever was there, so that a time proven
        empty has no row afterwards. When this returns the rows survive the process being killed.
        """

    @abstractmethod
    async def series(self) -> tuple[Series, ...]:
        """Return every series that has been written, sorted by their text."""

    @abstractmethod
    async def use(self, series: Series) -> SeriesUse | None:
        """Return how `series` has been used; None for a series never written.

        The figures about reading may be some reads behind after the process was killed.
        """

    @abstractmethod
    async def delete(self, series: Series) -> None:
        """Forget all rows and all coverage of `series`."""

    @abstractmethod
    async def repair(self, series: Series) -> tuple[Span, ...]:
        """Drop what is damaged of `series`, and its part of the coverage, in one transaction.

        Whatever is sound stays as it is, and nothing is guessed: a dropped span is unknown
        afterwards, as if it had never been written. If the coverage itself is damaged all of it
        goes, and sound rows stay without it. Afterwards reads and writes of the series work.

        Returns:
          The spans of which something was dropped, oldest first, one for each damaged piece;
          all of time for coverage. Empty if nothing is damaged or the series was never written.

        Raises:
          StoreUnavailable: Nothing was changed; try again.
          StoreCorrupt: The damage is not in the series alone, and cannot be repaired.
        """

    @abstractmethod
    async def statistics(self) -> StoreStatistics:
        """Return how much the store holds."""

    @abstractmethod
    async def aclose(self) -> None:
        """Release everything; a second call does nothing."""


OpenStore = Callable[[], AbstractAsyncContextManager[CandleStore]]
"""Opens a store for as long as a block runs; entered and left in different tasks."""
