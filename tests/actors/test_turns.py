"""`Turns`: the most urgent first, and nobody starves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.messages import Priority
from actors.turns import SHARES, Turns, check_shares

PRIORITIES = list(Priority)
SHARE_LISTS = st.lists(st.sampled_from([0.0, 0.05, 0.1, 0.2, 0.25]), min_size=4, max_size=4)


def test_the_most_urgent_goes_first_where_nobody_is_owed_a_turn() -> None:
    """What somebody waits for now comes before what might be wanted later."""
    turns = Turns(dict.fromkeys(Priority, 0.0))

    assert turns.order(reversed(PRIORITIES)) == PRIORITIES


@given(SHARE_LISTS, st.lists(st.tuples(st.sets(st.sampled_from(PRIORITIES)), st.integers(1, 4))))
def test_no_priority_that_waits_gets_less_than_its_share(
    parts: list[float], steps: list[tuple[set[Priority], int]]
) -> None:
    """In any stretch in which it always has somebody waiting, but for a few turns of others."""
    shares = dict(zip(PRIORITIES, parts, strict=True))
    turns = Turns(shares)
    waited: dict[Priority, tuple[int, int]] = {}
    for waiting, weight in steps:
        for priority in PRIORITIES:
            if priority not in waiting:
                waited.pop(priority, None)
            elif priority not in waited:
                turns.begin(priority)
                waited[priority] = (0, 0)
        if not waiting:
            continue
        served = turns.order(waiting)[0]
        turns.serve(served, weight, ())
        for priority, (total, own) in waited.items():
            waited[priority] = (total + weight, own + weight * (priority is served))
        for priority, (total, own) in waited.items():
            # One turn of each other one may come between, each of the heaviest.
            assert own >= shares[priority] * total - 4 * (1 + len(PRIORITIES))


def test_over_a_long_time_each_gets_exactly_what_it_was_promised() -> None:
    """When all ask without end, the shares are what each gets."""
    turns = Turns(SHARES)
    got = dict.fromkeys(Priority, 0)
    for priority in PRIORITIES:
        turns.begin(priority)
    for _ in range(1_000):
        served = turns.order(PRIORITIES)[0]
        turns.serve(served, 1, ())
        got[served] += 1

    assert got[Priority.ASKED] == pytest.approx(700, abs=3)
    assert got[Priority.REPAIR] == pytest.approx(200, abs=3)
    assert got[Priority.DECLARED] == pytest.approx(100, abs=3)
    assert got[Priority.PREDICTED] == 0


def test_who_was_served_beyond_his_share_is_not_made_to_pay_for_it_later() -> None:
    """What nobody else wanted was no debt."""
    turns = Turns(SHARES)
    turns.begin(Priority.REPAIR)
    for _ in range(500):
        turns.serve(Priority.REPAIR, 1, ())
    turns.begin(Priority.ASKED)
    served = []
    for _ in range(20):
        served.append(turns.order([Priority.ASKED, Priority.REPAIR])[0])
        turns.serve(served[-1], 1, ())

    assert served.count(Priority.REPAIR) >= 3


def test_who_was_away_is_owed_nothing_for_that_time() -> None:
    """Otherwise whoever comes back would keep all others waiting."""
    turns = Turns(SHARES)
    turns.begin(Priority.ASKED)
    for _ in range(500):
        turns.serve(Priority.ASKED, 1, ())
    turns.begin(Priority.REPAIR)
    served = []
    for _ in range(20):
        served.append(turns.order([Priority.ASKED, Priority.REPAIR])[0])
        turns.serve(served[-1], 1, ())

    assert served.count(Priority.REPAIR) <= 5


def test_who_was_passed_over_for_his_own_limits_is_owed_nothing_for_it() -> None:
    """An account that is at its limit must not pile up claims on what all share."""
    turns = Turns(SHARES)
    for priority in (Priority.REPAIR, Priority.ASKED):
        turns.begin(priority)
    for _ in range(500):
        turns.serve(Priority.ASKED, 1, [Priority.REPAIR])
    served = []
    for _ in range(20):
        served.append(turns.order([Priority.ASKED, Priority.REPAIR])[0])
        turns.serve(served[-1], 1, ())

    assert served.count(Priority.REPAIR) <= 5


@pytest.mark.parametrize(
    ("ahead", "above", "before"), [(0, 0, 0), (0, 50, 0), (4, 50, 20), (4, 3, 7)]
)
def test_a_share_bounds_how_many_more_urgent_ones_go_before(
    ahead: int, above: int, before: int
) -> None:
    """Repairs get one in five, so four of them are through after twenty."""
    assert Turns(SHARES).before(Priority.REPAIR, ahead, above) == before


def test_without_a_share_all_more_urgent_ones_go_before() -> None:
    """Predictions get what is left."""
    assert Turns(SHARES).before(Priority.PREDICTED, 2, 50) == 52


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({**SHARES, Priority.ASKED: 0.8}, r"at most 1 in all, were .*0\.8"),
        ({**SHARES, Priority.REPAIR: -0.1}, "at least 0"),
        ({**SHARES, Priority.REPAIR: float("nan")}, "at least 0"),
        ({Priority.ASKED: 0.5}, "repair, declared, predicted had none"),
    ],
)
def test_shares_that_cannot_be_given_are_refused(
    shares: dict[Priority, float], message: str
) -> None:
    """Before anybody relies on them."""
    with pytest.raises(ValueError, match=message):
        check_shares(shares)
