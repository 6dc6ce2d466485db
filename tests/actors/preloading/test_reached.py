"""When so many candles were at hand for the first time."""

from __future__ import annotations

from actors.preloading.reached import ALL, Reached


def test_the_first_moment_of_each_number_counts() -> None:
    """Fewer than there were already are no news, and more than there ever were are unknown."""
    reached = Reached()
    for candles, now_s in ((200, 1.0), (600, 2.0), (400, 3.0), (600, 4.0)):
        reached.note(candles, now_s)

    assert [reached.first_s(candles) for candles in (100, 200, 201, 600)] == [1.0, 1.0, 2.0, 2.0]
    assert reached.first_s(601) is None


def test_where_all_that_exist_are_there_nobody_waits_for_more() -> None:
    """A young listing has fewer than anybody wants."""
    reached = Reached()
    reached.note(ALL, 5.0)
    reached.keep(200)

    assert reached.first_s(100_000) == 5.0


def test_what_may_be_let_go_counts_from_when_it_is_there_again() -> None:
    """Less is wanted for a while; what is wanted all the time keeps its moment."""
    reached = Reached()
    reached.note(200, 1.0)
    reached.note(600, 2.0)
    reached.keep(300)
    assert (reached.first_s(300), reached.first_s(301)) == (2.0, None)
    reached.note(600, 9.0)

    assert [reached.first_s(candles) for candles in (200, 300, 600)] == [1.0, 2.0, 9.0]


def test_a_bot_that_wants_more_now_and_then_leaves_nothing_behind() -> None:
    """For months, each morning and evening."""
    reached = Reached()
    reached.note(200, 0.0)
    for day in range(1_000):
        reached.note(600, float(day))
        reached.keep(200)

    assert len(reached) == 1
    assert reached.first_s(200) == 0.0
