"""Flat candles for periods in which nobody traded, for those who want every period.

An exchange like Upbit has no candle where nobody traded. Whoever computes on equal steps can have
one put there, at the last close and without volume. It is made up, so it is marked, and it is only
put where it is proven that nobody traded: never where something is merely not known.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from actors.candles import Candles, Missing
from actors.queries import CANDLES_MAX
from actors.timeframes import Timeframe


def fill_flat(
    candles: Candles,
    *,
    count: int | None = None,
    start_ms: int | None = None,
    end_ms: int | None = None,
    before: Candles | None = None,
) -> Candles:
    """Return `candles` with a flat one in every period of which it is known that nobody traded.

    Filling begins with the first candle, of `before` if that is given, and ends with the last
    period that had ended when the answer was made.

    Args:
      candles: An answer; what its `missing` names stays empty.
      count: Only the newest so many of the result.
      start_ms: First opening time wanted.
      end_ms: First opening time no longer wanted.
      before: The last candle before `start_ms`, whose close the first flat ones take.

    Returns:
      The same with `filled` set: True for what was put in.
    """
    source = candles if before is None else _joined(before, candles)
    if not len(source):
        return _marked(candles, np.zeros(len(candles), np.bool_))
    # A merged run does not know how far the answer reached; the answer does.
    opens = _periods(source, candles, count, start_ms, end_ms)
    held = source.open_time_ms
    places = np.searchsorted(held, opens, side="right") - 1
    is_real = held[places] == opens
    is_wanted = is_real | ~_among_missing(opens, candles)
    kept = np.flatnonzero(is_wanted)[-count if count else None :]
    opens, places, is_real = opens[kept], places[kept], is_real[kept]
    close = source.close[places]
    prices = [np.where(is_real, column[places], close) for column in source.floats[:4]]
    amounts = [np.where(is_real, column[places], 0.0) for column in source.floats[4:]]
    return Candles(
        candles.series,
        opens,
        [*prices, *amounts],
        np.where(is_real, source.closed[places], True),
        source=candles.source,
        as_of_ms=candles.as_of_ms,
        missing=candles.missing,
        reason=candles.reason,
        filled=~is_real,
    )


def _joined(before: Candles, candles: Candles) -> Candles:
    return before.merge(candles) if len(candles) else before


def _periods(
    source: Candles, answer: Candles, count: int | None, start_ms: int | None, end_ms: int | None
) -> NDArray[np.int64]:
    """Return the opening times of all periods that may be in the result."""
    timeframe, held = source.series.timeframe, source.open_time_ms
    stop_ms = max(timeframe.shift_ms(int(held[-1]), 1), timeframe.floor_ms(answer.as_of_ms))
    if end_ms is not None:
        stop_ms = min(stop_ms, end_ms)
    first_ms = max(int(held[0]), start_ms or 0)
    if count is not None:
        # What is not known takes no place, so as many more must be looked at; within reason.
        unknown = sum(_overlap(timeframe, gap, stop_ms) for gap in answer.missing)
        first_ms = max(first_ms, timeframe.shift_ms(stop_ms, -count - min(unknown, CANDLES_MAX)))
    if stop_ms <= first_ms:
        return np.zeros(0, np.int64)
    if timeframe is Timeframe.MN1:
        # Months have no fixed length; there are few.
        months = [first_ms]
        while (next_ms := timeframe.shift_ms(months[-1], 1)) < stop_ms:
            months.append(next_ms)
        return np.array(months, np.int64)
    return np.arange(first_ms, stop_ms, timeframe.span_ms, dtype=np.int64)


def _overlap(timeframe: Timeframe, gap: Missing, stop_ms: int) -> int:
    start_ms, end_ms = timeframe.floor_ms(gap.start_ms), min(gap.end_ms, stop_ms)
    return max(0, timeframe.periods_between(start_ms, timeframe.ceil_ms(end_ms)))


def _among_missing(opens: NDArray[np.int64], candles: Candles) -> NDArray[np.bool_]:
    among = np.zeros(len(opens), np.bool_)
    for gap in candles.missing:
        among |= (opens >= gap.start_ms) & (opens < gap.end_ms)
    return among


def _marked(candles: Candles, filled: NDArray[np.bool_]) -> Candles:
    return Candles(
        candles.series,
        candles.open_time_ms,
        candles.floats,
        candles.closed,
        source=candles.source,
        as_of_ms=candles.as_of_ms,
        missing=candles.missing,
        reason=candles.reason,
        filled=filled,
    )
