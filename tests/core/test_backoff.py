"""`Backoff` and `RestartIntensity`: one policy, checked before anything runs."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.core.backoff import Backoff, RestartIntensity, check_can_give_up
from runtime.core.errors import BadSpec

SECONDS = st.floats(0, 1000)
BACKOFFS = st.builds(
    lambda low, more, factor, jitter: Backoff(
        min_s=low, factor=factor, max_s=low + more, jitter=jitter
    ),
    SECONDS,
    SECONDS,
    st.floats(1, 1e9),
    st.floats(0, 1),
)


def test_the_row_of_waits_starts_at_nothing_and_doubles_to_the_ceiling() -> None:
    """The row as documented, with the figures it has by default."""
    backoff = Backoff(jitter=0)

    waits_s = [backoff.wait_s(nth, random.Random(0)) for nth in range(1, 9)]

    assert waits_s == [0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0]


@given(backoff=BACKOFFS, nth=st.integers(1, 10_000))
def test_the_wait_never_shrinks_and_never_passes_the_ceiling(backoff: Backoff, nth: int) -> None:
    """Also after thousands of restarts, where the power no longer fits a float."""
    wait_s, next_s = backoff.nominal_s(nth), backoff.nominal_s(nth + 1)

    assert 0 <= wait_s <= next_s <= backoff.max_s


@given(backoff=BACKOFFS, nth=st.integers(1, 100), seed=st.integers(0, 9))
def test_chance_moves_the_wait_by_no_more_than_the_jitter(
    backoff: Backoff, nth: int, seed: int
) -> None:
    """Spread in both directions, never below nothing."""
    nominal_s = backoff.nominal_s(nth)
    wait_s = backoff.wait_s(nth, random.Random(seed))

    assert wait_s >= 0
    # Not exactly: a sum of floats is rounded.
    assert abs(wait_s - nominal_s) <= nominal_s * (backoff.jitter + 1e-9) + 1e-12


def test_a_slow_growth_reaches_its_ceiling_in_the_end() -> None:
    """A factor near 1 needs hundreds of steps, and must get them."""
    assert Backoff(min_s=0.1, factor=1.01, max_s=5).nominal_s(1000) == 5


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_s": -1},
        {"min_s": 2, "max_s": 1},
        {"factor": 0.5},
        {"jitter": 1.5},
        {"jitter": -0.1},
        {"min_s": math.nan},
        {"max_s": math.inf},
        {"factor": math.inf},
        {"forgive_after_s": -1},
        {"forgive_after_s": math.nan},
    ],
)
def test_figures_that_make_no_row_are_refused(wrong: dict[str, Any]) -> None:
    """Before anything starts, not at the first crash."""
    with pytest.raises(BadSpec, match=r"backoff needs 0 <= min_s <= max_s"):
        Backoff(**wrong)


@pytest.mark.parametrize(
    "wrong", [{"max_restarts": -1}, {"within_s": 0}, {"within_s": -1}, {"within_s": math.nan}]
)
def test_a_limit_that_means_nothing_is_refused(wrong: dict[str, Any]) -> None:
    """A window of no length would never hold a crash."""
    with pytest.raises(BadSpec, match=r"restart intensity needs"):
        RestartIntensity(**wrong)


def test_never_giving_up_must_be_said_and_is_then_fine() -> None:
    """None is a decision; a combination that amounts to it is a mistake."""
    check_can_give_up(None, Backoff(min_s=100, max_s=100))


def gives_up(intensity: RestartIntensity, backoff: Backoff) -> bool:
    """Play a child that crashes at once each time, at the shortest waits."""
    now_s = 0.0
    crashes_s: list[float] = []
    for nth in range(1, intensity.max_restarts + 2):
        crashes_s = [moment for moment in crashes_s if moment + intensity.within_s > now_s]
        crashes_s.append(now_s)
        if len(crashes_s) > intensity.max_restarts:
            return True
        now_s += backoff.nominal_s(nth) * (1 - backoff.jitter)
    return False


@given(
    max_restarts=st.integers(0, 8),
    within_s=st.integers(1, 64),
    min_s=st.sampled_from([0.0, 0.25, 0.5, 1.0, 4.0]),
    jitter=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_a_policy_is_refused_exactly_if_the_fastest_crasher_could_not_exceed_it(
    max_restarts: int, within_s: int, min_s: float, jitter: float
) -> None:
    """Neither may a policy that never gives up pass, nor one that does be refused.

    All figures are powers of two, so that no rounding blurs the border.
    """
    intensity = RestartIntensity(max_restarts, within_s)
    backoff = Backoff(min_s=min_s, max_s=16, jitter=jitter)
    if gives_up(intensity, backoff):
        check_can_give_up(intensity, backoff)
        return
    with pytest.raises(BadSpec, match=r"this supervisor could never give up: \d+ crashes take"):
        check_can_give_up(intensity, backoff)
