"""What every store asks of a request before it touches anything."""

from __future__ import annotations

import numpy as np

from actors.candles import Candles
from actors.coverage import Span
from actors.errors import InvalidRequest
from actors.messages import StoreWrite

# The year 3000. A bound, so that keys made from times always fit, whatever a caller sends.
TIME_MS_MAX = 32_503_680_000_000


def check_window(start_ms: int, end_ms: int, count: int | None) -> None:
    """Refuse a window that runs backwards or a negative count.

    Raises:
      InvalidRequest: The message says what was wanted and what was there.
    """
    if end_ms < start_ms:
        raise InvalidRequest(f"a window must not end before it starts, was {start_ms}..{end_ms}")
    if count is not None and count < 0:
        raise InvalidRequest(f"count must not be negative, was {count}")


def check_write(write: StoreWrite) -> None:
    """Refuse rows that a store must never hold.

    Raises:
      InvalidRequest: A row is not closed, lies outside the proven span, is out of order or is not
        a number, or the span lies outside the years 1970 to 2999. The message names the series.
    """
    candles: Candles = write.candles
    proven: Span = write.proven
    if not 0 <= proven.start_ms <= proven.end_ms <= TIME_MS_MAX:
        raise _refused(candles, f"the proven span must lie in 1970 to 2999, was {proven}")
    if not len(candles):
        return
    times = candles.open_time_ms
    if not bool(candles.closed.all()):
        raise _refused(candles, "only closed candles are kept, one was open")
    if times.size > 1 and not bool((np.diff(times) > 0).all()):
        raise _refused(candles, "opening times must rise strictly")
    if not proven.start_ms <= int(times[0]) <= int(times[-1]) < proven.end_ms:
        raise _refused(candles, f"rows {times[0]}..{times[-1]} must lie inside {proven}")
    if not all(bool(np.isfinite(column).all()) for column in candles.floats):
        raise _refused(candles, "prices and volumes must be finite numbers")


def _refused(candles: Candles, why: str) -> InvalidRequest:
    return InvalidRequest(f"{candles.series} cannot be stored: {why}")
