"""Coverage: of which times we know everything there is to know.

A row's absence means nothing by itself: Upbit sends no candle for a minute without a trade, and a
page not fetched looks just the same. So each series keeps, beside its rows, the set of spans in
which the exchange has been heard out. Inside a proven span a candle is there and final, or it is
proven that nobody traded; outside, nothing is known.

Spans are half-open, [start_ms, end_ms), in opening times.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# Where "as far back as time goes" begins: a proof that nothing was listed before a moment is a
# span from here.
BEGINNING_MS = 0


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A half-open stretch of opening times, [start_ms, end_ms)."""

    start_ms: int
    end_ms: int

    def __post_init__(self) -> None:
        """Refuse a span that ends before it starts."""
        if self.end_ms < self.start_ms:
            raise ValueError(f"span must not end before it starts: {self.start_ms}..{self.end_ms}")

    def __bool__(self) -> bool:
        """Return whether the span holds any time at all."""
        return self.end_ms > self.start_ms


@dataclass(frozen=True, slots=True)
class Coverage:
    """A set of times, as disjoint spans in rising order that do not touch each other."""

    spans: tuple[Span, ...] = ()

    @classmethod
    def of(cls, spans: Iterable[Span]) -> Coverage:
        """Return the union of `spans`, which may overlap and come in any order."""
        merged: list[Span] = []
        for span in sorted(span for span in spans if span):
            if merged and span.start_ms <= merged[-1].end_ms:
                merged[-1] = Span(merged[-1].start_ms, max(merged[-1].end_ms, span.end_ms))
            else:
                merged.append(span)
        return cls(tuple(merged))

    def __iter__(self) -> Iterator[Span]:
        """Return the spans, oldest first."""
        return iter(self.spans)

    def __bool__(self) -> bool:
        """Return whether anything is covered."""
        return bool(self.spans)

    def add(self, span: Span) -> Coverage:
        """Return this set and the times of `span`."""
        return Coverage.of((*self.spans, span)) if span else self

    def remove(self, span: Span) -> Coverage:
        """Return this set without the times of `span`."""
        kept = [Span(s.start_ms, min(s.end_ms, max(s.start_ms, span.start_ms))) for s in self]
        kept += [Span(max(s.start_ms, min(s.end_ms, span.end_ms)), s.end_ms) for s in self]
        return Coverage.of(kept) if span else self

    def clip(self, span: Span) -> Coverage:
        """Return the part of this set that lies inside `span`."""
        inside = (
            Span(max(s.start_ms, span.start_ms), max(s.start_ms, min(s.end_ms, span.end_ms)))
            for s in self
            if s.start_ms < span.end_ms and s.end_ms > span.start_ms
        )
        return Coverage(tuple(s for s in inside if s))

    def gaps(self, span: Span) -> tuple[Span, ...]:
        """Return the parts of `span` that are not covered, oldest first."""
        gaps = []
        reached_ms = span.start_ms
        for covered in self.clip(span):
            if covered.start_ms > reached_ms:
                gaps.append(Span(reached_ms, covered.start_ms))
            reached_ms = covered.end_ms
        if reached_ms < span.end_ms:
            gaps.append(Span(reached_ms, span.end_ms))
        return tuple(gaps)

    def covers(self, span: Span) -> bool:
        """Return whether every time of `span` is covered; an empty span always is."""
        return not span or self.reach_back_ms(span.end_ms) <= span.start_ms

    def reach_back_ms(self, end_ms: int) -> int:
        """Return how far coverage goes back from `end_ms` without a hole; itself if not at all."""
        index = bisect_right(self.spans, end_ms - 1, key=lambda span: span.start_ms) - 1
        if index < 0 or self.spans[index].end_ms < end_ms:
            return end_ms
        return self.spans[index].start_ms
