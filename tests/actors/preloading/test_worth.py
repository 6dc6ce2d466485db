"""What is worth a slot: what is likely enough, by what pages came to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.preloading.worth import (
    BAR_MAX,
    BAR_MIN,
    DEAREST,
    PAGE_S,
    WASTED_GOAL,
    Price,
    worth,
)


def test_with_all_slots_spare_the_bar_is_the_probability_from_which_it_pays() -> None:
    """For a page that takes as long as they usually do."""
    price = Price()

    assert worth(price.bar + 0.01, saved_s=PAGE_S, spare=1.0, price=price)
    assert not worth(price.bar - 0.01, saved_s=PAGE_S, spare=1.0, price=price)


def test_slots_are_dearer_the_fewer_are_left_and_not_to_be_had_when_none_is() -> None:
    """Whoever waits for an answer comes first."""
    price = Price()

    assert worth(0.7, saved_s=PAGE_S, spare=1.0, price=price)
    assert not worth(0.7, saved_s=PAGE_S, spare=0.3, price=price)
    assert worth(0.7, saved_s=DEAREST * PAGE_S, spare=0.01, price=price)
    assert not worth(1.0, saved_s=100.0, spare=0.0, price=price)


def test_a_page_that_is_as_good_as_asked_for_is_worth_any_slot() -> None:
    """Whoever asks for it would take the same slot a moment later."""
    assert worth(0.99, saved_s=PAGE_S, spare=0.05, price=Price())


def test_the_bar_stands_still_where_as_many_are_wasted_as_may_be() -> None:
    """There what raises it and what lowers it are in balance."""
    price = Price()
    first = price.bar
    for _ in range(3):
        price.wasted()
        for _ in range(round(1 / WASTED_GOAL)):
            price.used()

    assert price.bar == pytest.approx(first, abs=0.01)


@given(st.lists(st.booleans(), max_size=500))
def test_whatever_pages_come_to_the_bar_stays_within_bounds(used: list[bool]) -> None:
    """Neither is everything fetched, nor is nothing ever tried again."""
    price = Price()
    for each in used:
        bar = price.bar
        if each:
            price.used()
            assert price.bar <= bar
        else:
            price.wasted()
            assert price.bar >= bar
    assert BAR_MIN <= price.bar <= BAR_MAX
    assert worth(1.0, saved_s=PAGE_S, spare=1.0, price=price)
