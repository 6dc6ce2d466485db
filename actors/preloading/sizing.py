"""How many candles of each series are worth their memory. Values only; times come in.

A bot that asks for the newest 14 candles needs 14 in memory, one that asks for 3,000 needs 3,000;
without knowing, either memory is wasted or the second is sent to the database each time. So of each
series it is counted how deep it is asked, the latest counting most. While there is room for all of
it, everything that is asked for is kept. Where there is not, those rows are kept that answer most
questions a byte, over all series: when more series are in use, each keeps less.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left
from collections.abc import Mapping

from actors.candles import ROW_BYTES
from actors.preloading.habit_values import SeriesKey
from actors.preloading.uses import SERIES_MAX

# Depths are told apart by these steps.
EDGES = (25, 50, 100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200, 100_000)
# What was asked so long ago counts half, in seconds.
HALF_S = 3_600.0
# What counts less than this is forgotten: one question seven half-lives ago.
_LEAST = 2.0**-7
# A candle or two more than were asked for: one ends while somebody asks.
_MORE = 2


class _Depths:
    """How often one series was asked for, by depth."""

    __slots__ = ("at_s", "counts")

    def __init__(self, at_s: float) -> None:
        self.at_s = at_s
        self.counts = [0.0] * len(EDGES)

    def fade(self, now_s: float) -> None:
        factor = 0.5 ** (max(0.0, now_s - self.at_s) / HALF_S)
        self.counts = [count * factor for count in self.counts]
        self.at_s = now_s


class Sizing:
    """Counts how deep each series is asked, and says what to keep of it.

    Bound: `SERIES_MAX` series; the one asked for longest ago is forgotten.
    """

    def __init__(self) -> None:
        self._series: dict[SeriesKey, _Depths] = {}

    def note(self, key: SeriesKey, depth: int, now_s: float) -> None:
        """Count a question for the newest `depth` candles."""
        depths = self._series.pop(key, None) or _Depths(now_s)
        depths.fade(now_s)
        depths.counts[min(bisect_left(EDGES, depth), len(EDGES) - 1)] += 1.0
        self._series[key] = depths
        if len(self._series) > SERIES_MAX:
            del self._series[next(iter(self._series))]

    def rows(
        self,
        now_s: float,
        *,
        usual: int,
        bytes_max: int,
        series_bytes: int,
        needed: Mapping[SeriesKey, int],
    ) -> dict[SeriesKey, int]:
        """Return how many closed candles to keep of each series that is asked for, or needed.

        Args:
          now_s: The time.
          usual: How many are kept of a series of which nothing is known.
          bytes_max: Memory for all.
          series_bytes: What a series takes beside its rows.
          needed: How many are needed in any case, as far as there is room.
        """
        wanted: dict[SeriesKey, list[float]] = {}
        for key, depths in list(self._series.items()):
            depths.fade(now_s)
            if sum(depths.counts) < _LEAST:
                del self._series[key]
            else:
                wanted[key] = depths.counts
        full = {key: max(usual, _deepest(counts)) for key, counts in wanted.items()}
        for key, rows in needed.items():
            full[key] = max(rows, full.get(key, usual))
        room = bytes_max - len(full) * series_bytes
        if sum(full.values()) * ROW_BYTES <= room:
            return {key: rows + _MORE for key, rows in full.items()}
        return _fitted(wanted, needed, room // ROW_BYTES)


def _deepest(counts: list[float]) -> int:
    """Return the depth that is asked for at least now and then."""
    edges = (edge for edge, count in zip(EDGES, counts, strict=True) if count >= _LEAST)
    return max(edges, default=0)


def _fitted(
    wanted: Mapping[SeriesKey, list[float]], needed: Mapping[SeriesKey, int], room: int
) -> dict[SeriesKey, int]:
    """Return the rows that answer most, `room` in all, beginning with what is needed."""
    kept: dict[SeriesKey, int] = {}
    for key, rows in sorted(needed.items(), key=lambda item: item[1]):
        kept[key] = max(1, min(rows + _MORE, room))
        room -= kept[key]
    # The best next piece of each series; it is replaced by the one after it once it is taken.
    pieces = [
        (-gain, key, to)
        for key, counts in wanted.items()
        for gain, to in [_best_piece(counts, kept.get(key, 0))]
        if to
    ]
    heapq.heapify(pieces)
    while pieces and room > 0:
        _, key, to = heapq.heappop(pieces)
        more = to + _MORE - kept.get(key, 0)
        if more > room:
            continue
        kept[key] = to + _MORE
        room -= more
        gain, further = _best_piece(wanted[key], to + _MORE)
        if further:
            heapq.heappush(pieces, (-gain, key, further))
    # What answers nothing as it is keeps the least there is: a page brings more by itself.
    return {key: kept.get(key, EDGES[0]) for key in {**wanted, **needed}}


def _best_piece(counts: list[float], held: int) -> tuple[float, int]:
    """Return how many rows to have next, for the most questions a row; 0 if there is nothing."""
    best, best_to, answers = 0.0, 0, 0.0
    for edge, count in zip(EDGES, counts, strict=True):
        if edge + _MORE <= held:
            continue
        answers += count
        gain = answers / (edge + _MORE - held)
        # A later piece with the same gain answers more.
        if answers >= _LEAST and gain >= best and not math.isclose(gain, 0.0):
            best, best_to = gain, edge
    return best, best_to
