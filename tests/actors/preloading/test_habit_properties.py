"""`Habits`, whatever is asked: bounds hold, nothing depends on chance, and figures are honest."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.preloading.habit_chains import FOLLOWERS_MAX, SECOND_MAX
from actors.preloading.habit_own import RULES_MAX
from actors.preloading.habit_search import TIMES_MAX
from actors.preloading.habit_values import DAY_MS, HOUR_MS, LAGS_MAX, Prediction, SeriesKey
from actors.preloading.habits import STEP_MAX, Habits
from runtime.testing_workload_replay import START_MS, replay_habits
from runtime.testing_workloads import workload

MARKETS = [f"upbit:KRW-{code}" for code in ("BTC", "ETH", "XRP", "SOL")]


def wake(habits: Habits, until_ms: int) -> list[Prediction]:
    """Let time pass as whoever acts on predictions does; return what was told meanwhile."""
    told: list[Prediction] = []
    while (wake_ms := habits.wake_ms) is not None and wake_ms <= until_ms:
        step = habits.expire(wake_ms)
        assert len(step) <= STEP_MAX
        told += step
    return told


def telling(told: Sequence[Prediction]) -> list[tuple[object, ...]]:
    """Return all that predictions say."""
    return [
        (p.key, p.due_ms, p.until_ms, p.from_ms, p.probability, p.depth, p.closed, p.why)
        for p in told
    ]


@pytest.mark.slow
def test_probabilities_are_what_comes_true() -> None:
    """Of those around 0.8, 70 to 90 in 100 do. Slow because that takes thousands of requests."""
    told = [
        each
        for seed in (1, 2)
        for each in replay_habits(workload(seed, days=1, markets=MARKETS * 3)).told
    ]

    for low, high, least, most in (
        (0.75, 0.85, 0.7, 0.9),
        (0.85, 0.95, 0.85, 1),
        (0.95, 1, 0.95, 1),
    ):
        came = [used for prediction, used in told if low <= prediction.probability < high]
        assert len(came) > 100
        assert least <= sum(came) / len(came) <= most


def ask(
    habits: Habits, at_ms: int, key: SeriesKey, *, closed: bool, max_age_s: float
) -> tuple[Prediction, ...]:
    """Let time pass, and ask once."""
    wake(habits, at_ms)
    return habits.note(key, at_ms, depth=20, closed=closed, max_age_s=max_age_s)


SERIES = st.tuples(st.sampled_from(MARKETS), st.sampled_from(["1s", "1m", "1h", "1w", "1M", "no"]))
ASKS = st.lists(
    st.tuples(
        SERIES,
        st.one_of(
            st.integers(0, 3_000),
            st.sampled_from([60_000, 60_350, 300_000, HOUR_MS, DAY_MS]),
            st.integers(-2 * DAY_MS, 2 * DAY_MS),
        ),
        st.booleans(),
        st.sampled_from([0.0, 0.1, 1.0, 30.0]),
    ),
    max_size=60,
)


@given(ASKS, ASKS)
def test_whatever_is_asked_bounds_hold_and_what_was_written_down_expects_the_same(
    before: list[tuple[SeriesKey, int, bool, float]],
    after: list[tuple[SeriesKey, int, bool, float]],
) -> None:
    """Two of them, one of which went through bytes, cannot be told apart afterwards."""
    habits, now_ms = Habits(), START_MS
    for key, gap_ms, closed, max_age_s in before:
        now_ms += gap_ms
        ask(habits, now_ms, key, closed=closed, max_age_s=max_age_s)
    other = Habits.decode(habits.encode())
    assert telling(list(other.standing())) == telling(list(habits.standing()))

    for key, gap_ms, closed, max_age_s in after:
        now_ms += gap_ms
        assert telling(wake(habits, now_ms)) == telling(wake(other, now_ms))
        told = ask(habits, now_ms, key, closed=closed, max_age_s=max_age_s)
        again = ask(other, now_ms, key, closed=closed, max_age_s=max_age_s)
        assert telling(told) == telling(again)
        assert len(told) <= STEP_MAX
        for each in told:
            assert 0.0 <= each.probability <= 1.0
            assert each.due_ms < each.until_ms
            assert each.until_ms > now_ms
    assert habits.encode() == other.encode()
    for series in habits._series.values():
        assert len(series.rules) <= RULES_MAX
        assert len(series.times) <= TIMES_MAX
        followers = [rule for rules in series.followers.values() for rule in rules]
        assert len(followers) <= FOLLOWERS_MAX + SECOND_MAX
        assert all(len(rule.lags) <= LAGS_MAX for rule in series.all_rules())
