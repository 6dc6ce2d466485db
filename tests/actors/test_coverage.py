"""`Coverage` against a model: a set of whole numbers."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.coverage import Coverage, Span

TOP = 40
SPANS = st.tuples(st.integers(0, TOP), st.integers(0, TOP)).map(lambda ends: Span(*sorted(ends)))
COVERAGES = st.lists(SPANS, max_size=8).map(Coverage.of)


def times(*spans: Span) -> set[int]:
    """Return the model: every time that is in one of `spans`."""
    return {each for span in spans for each in range(span.start_ms, span.end_ms)}


def assert_normal(coverage: Coverage) -> None:
    """Check that the spans hold something, rise, and do not touch."""
    assert all(coverage.spans)
    assert all(one.end_ms < two.start_ms for one, two in pairwise(coverage))


@given(spans=st.lists(SPANS, max_size=8))
def test_a_union_is_the_union_whatever_the_order(spans: list[Span]) -> None:
    """Overlapping, touching, empty and equal spans included."""
    coverage = Coverage.of(spans)

    assert_normal(coverage)
    assert times(*coverage) == times(*spans)
    assert Coverage.of(reversed(spans)) == coverage


@given(coverage=COVERAGES, span=SPANS)
def test_adding_and_removing_are_those_of_sets(coverage: Coverage, span: Span) -> None:
    """And what results is in normal form, so that equal sets are equal values."""
    added, removed = coverage.add(span), coverage.remove(span)

    assert_normal(added)
    assert_normal(removed)
    assert times(*added) == times(*coverage) | times(span)
    assert times(*removed) == times(*coverage) - times(span)


@given(coverage=COVERAGES, span=SPANS)
def test_inside_and_gaps_share_out_the_span(coverage: Coverage, span: Span) -> None:
    """Each time of the span is in exactly one of the two."""
    inside, gaps = coverage.clip(span), coverage.gaps(span)

    assert_normal(inside)
    assert_normal(Coverage(gaps))
    assert times(*inside) == times(*coverage) & times(span)
    assert times(*gaps) == times(span) - times(*coverage)


@given(coverage=COVERAGES, span=SPANS)
def test_a_span_is_covered_if_it_has_no_gaps(coverage: Coverage, span: Span) -> None:
    """Two ways to ask one question; nothing is missing of an empty span."""
    assert coverage.covers(span) == (times(span) <= times(*coverage))
    assert coverage.covers(span) == (not coverage.gaps(span))


@given(coverage=COVERAGES, end_ms=st.integers(0, TOP + 2))
def test_reaching_back_stops_at_the_first_hole(coverage: Coverage, end_ms: int) -> None:
    """As one would walk it, a step at a time."""
    known, reached_ms = times(*coverage), end_ms
    while reached_ms - 1 in known:
        reached_ms -= 1

    assert coverage.reach_back_ms(end_ms) == reached_ms


@given(coverage=COVERAGES, spans=st.lists(SPANS, max_size=5))
def test_the_same_set_is_the_same_value(coverage: Coverage, spans: list[Span]) -> None:
    """However it was put together."""
    one_by_one = coverage
    for span in spans:
        one_by_one = one_by_one.add(span)

    assert one_by_one == Coverage.of([*coverage, *spans])
    assert hash(one_by_one) == hash(Coverage.of([*coverage, *spans]))
    assert bool(one_by_one) == bool(times(*one_by_one))


def test_a_span_does_not_end_before_it_starts() -> None:
    """Such a span is a mistake somewhere else, and is found there."""
    with pytest.raises(ValueError, match=r"must not end before it starts: 2\.\.1"):
        Span(2, 1)


def test_nothing_is_nothing() -> None:
    """An empty span and an empty coverage are both false."""
    assert not Span(5, 5)
    assert not Coverage()
    assert Coverage.of([Span(5, 5)]) == Coverage()
