"""What a CacheActor publishes for everybody to read, and how it keeps data."""

from __future__ import annotations

from dataclasses import dataclass, field

from actors.known import Known
from actors.quote_desk import Quote, QuoteKey
from actors.reports import GapReport
from actors.series import Series
from runtime.core.table import Table

# What a series costs in memory beside its rows; measured, rounded up.
SERIES_BYTES = 4_096


@dataclass(frozen=True, slots=True)
class LoadPolicy:
    """How candles are loaded.

    Attributes:
      settle_s: How long after a period's end its last value, or its absence, can be believed.
      gather_s: How long a load waits for others to join before its first page.
      page_timeout_s: How long one page may take, waiting for its permit included.
      rows_max: Closed candles in memory of a series of which it is not known how deep it is asked.
      save_s: How long what a stream has proven is gathered before it is stored.
    """

    settle_s: float = 5.0
    gather_s: float = 0.01
    page_timeout_s: float = 30.0
    rows_max: int = 200
    save_s: float = 30.0


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """How one exchange's data is kept.

    Attributes:
      load: How candles are loaded.
      memory_bytes_max: Most memory for candles; beyond it the least recently read series goes.
      max_age_s: How old the newest candle may be where a request does not say.
      quote_max_age_s: How old a ticker, order book or trade may be where a request does not say.
    """

    load: LoadPolicy = field(default_factory=LoadPolicy)
    memory_bytes_max: int = 100_000_000
    max_age_s: float = 1.0
    quote_max_age_s: float = 0.5


class CacheTables:
    """What a CacheActor publishes; made by whoever builds the tree, so it outlives the actor.

    Attributes:
      candles: What memory holds of each series, by market and timeframe as text.
      quotes: Tickers, order books, trades and the list of markets.
      gaps: The newest gaps of candles, by a number that rises.
    """

    def __init__(self, exchange: str) -> None:
        self.candles: Table[tuple[str, str], Known] = Table(f"{exchange} candles")
        self.quotes: Table[QuoteKey, Quote] = Table(f"{exchange} quotes")
        self.gaps: Table[int, GapReport] = Table(f"{exchange} candle gaps")


def candles_key(series: Series) -> tuple[str, str]:
    """Return the key of `series` in the table of candles."""
    return str(series.market), series.timeframe.value
