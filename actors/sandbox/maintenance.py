"""Spans of market time in which the exchange is away and nobody trades."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from actors.sandbox.bars import Bars
from actors.sandbox.market import BarSource, SandboxMarket


class Span(NamedTuple):
    """A stretch of the market's time, [start, end), UTC milliseconds since the epoch.

    Attributes:
      start_ms: Its first moment.
      end_ms: The first moment after it.
    """

    start_ms: int
    end_ms: int


class ClosedSource:
    """The base candles of another source, without those that touch a span.

    So everything that is made of them, coarse candles, trades, tickers, knows of no trade there.

    Args:
      source: Where the candles come from.
      spans: When nobody trades.
    """

    def __init__(self, source: BarSource, spans: tuple[Span, ...]) -> None:
        self._source = source
        self._spans = spans
        self.code = source.code
        self.base = source.base
        self.scale = source.scale
        self.key = source.key
        self.first_ms = source.first_ms
        self.typical_volume = source.typical_volume

    def bars(self, start_ms: int, end_ms: int) -> Bars:
        """Return the base candles that open in [start_ms, end_ms) and touch no span."""
        found = self._source.bars(start_ms, end_ms)
        span_ms = self.base.span_ms
        is_open = np.ones(len(found), np.bool_)
        for span in self._spans:
            is_open &= (found.open_ms + span_ms <= span.start_ms) | (found.open_ms >= span.end_ms)
        if is_open.all():
            return found
        return Bars(*(column[is_open] for column in found.columns()))


class Maintenance:
    """When the exchange is away.

    Args:
      spans: When; in any order, they may overlap.

    Raises:
      ValueError: A span ends before it begins.
    """

    def __init__(self, spans: Iterable[tuple[int, int]] = ()) -> None:
        self.spans = tuple(sorted(Span(*span) for span in spans))
        for span in self.spans:
            if span.end_ms <= span.start_ms:
                raise ValueError(
                    f"maintenance must end after it begins; was {span.start_ms} to {span.end_ms}"
                )

    def close(self, market: SandboxMarket) -> SandboxMarket:
        """Return `market` as it is if nobody trades in the spans."""
        return SandboxMarket(ClosedSource(market.source, self.spans)) if self.spans else market

    def goes_on(self, now_ms: int) -> bool:
        """Return whether the exchange is away now."""
        return any(span.start_ms <= now_ms < span.end_ms for span in self.spans)

    def next_ms(self, now_ms: int) -> int | None:
        """Return when it goes away next, or None if it does not; now, if it is away."""
        starts = (max(span.start_ms, now_ms) for span in self.spans if span.end_ms > now_ms)
        return min(starts, default=None)
