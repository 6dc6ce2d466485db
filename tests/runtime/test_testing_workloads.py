"""Generated workloads are what they say, and the memory they are replayed against as well."""

from __future__ import annotations

from collections import Counter

import pytest

from runtime.testing_workload_replay import (
    PAGE_S,
    replay_habits,
    replay_oracle,
    replay_reactive,
)
from runtime.testing_workloads import DAY_S, KINDS, Ask, workload

MARKETS = [f"upbit:KRW-{number}" for number in range(12)]


def asks(*times_s: float, closed: bool = False) -> list[Ask]:
    """Return requests of one bot for minutes."""
    return [
        Ask(at_s, "bot", "timers", MARKETS[0], "1m", 20, closed, 1.0)  # one series
        for at_s in times_s
    ]


def test_equal_seeds_make_equal_days_and_others_do_not() -> None:
    """A figure that cannot be had again proves nothing."""
    assert workload(1, days=1, markets=MARKETS) == workload(1, days=1, markets=MARKETS)
    assert workload(1, days=1, markets=MARKETS) != workload(2, days=1, markets=MARKETS)


def test_a_day_has_some_thousand_requests_of_every_kind_in_order() -> None:
    """Shares are as the module says, give or take what one seed differs."""
    made = workload(3, days=1, markets=MARKETS)
    kinds = Counter(ask.kind for ask in made)

    assert 6_000 < len(made) < 16_000
    assert made == sorted(made)
    assert all(0 <= ask.at_s < DAY_S and ask.market in MARKETS for ask in made)
    assert set(kinds) == set(KINDS)
    assert 0.35 < kinds["timers"] / len(made) < 0.65
    assert 0.02 < kinds["people"] / len(made) < 0.08


def test_who_works_in_an_office_is_not_there_at_weekends() -> None:
    """Nor before nine, which is midnight in UTC, nor after six."""
    office = [ask for ask in workload(1, days=7, markets=MARKETS) if ask.kind == "office"]

    assert {int(ask.at_s // DAY_S) for ask in office} == set(range(5))
    assert max(ask.at_s % DAY_S for ask in office) < 9.1 * 3600


def test_memory_answers_from_what_is_young_enough() -> None:
    """And who comes while a page is under way waits for the rest of it."""
    result = replay_reactive(asks(10.0, 10.04, 10.9, 11.1))

    assert result.waits_s == pytest.approx([PAGE_S, 0.02, 0.0, PAGE_S])
    assert result.paged_s == [10.0, 11.1]


def test_closed_candles_are_answered_from_a_page_that_proves_them() -> None:
    """One made five seconds after the end; one made before that is only as good as it is young."""
    result = replay_reactive(asks(62.0, 64.0, 66.0, 100.0, 119.0, 121.0, closed=True))

    assert result.paged_s == [62.0, 64.0, 66.0, 121.0]


def test_who_knows_the_future_never_waits_and_spares_no_page() -> None:
    """Each page comes just in time for the first who lacks one."""
    result = replay_oracle(asks(10.0, 10.9, 12.0))

    assert result.waits_s == [0.0, 0.0, 0.0]
    assert result.paged_s == pytest.approx([10.0 - PAGE_S, 12.0 - PAGE_S])


def test_habits_save_a_steady_bot_its_waits_at_no_more_pages() -> None:
    """Three looks to be found, one to be believed; from then on nobody waits."""
    beats = asks(*(17.0 + 60.35 * beat for beat in range(50)))
    result = replay_habits(beats)

    assert result.waits_s[5:] == [0.0] * 45
    assert (len(result.paged_s), result.wasted) == (50, 0)
