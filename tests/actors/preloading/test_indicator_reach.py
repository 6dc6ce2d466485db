"""The arithmetic of smoothings: how much of the past is left after so many candles."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from talib import abstract

from actors.preloading.indicator_reach import (
    STEPS_MAX,
    TOLERANCE,
    Stage,
    beside,
    exponential,
    steps,
    then,
    wilder,
    window,
)
from actors.preloading.indicators import indicator

ALPHAS = st.floats(0.01, 0.99)


def left_after(stages: tuple[Stage, ...], count: int) -> float:
    """Return what is left, by taking every step."""
    past: list[float] = []
    for stage in stages:
        for _ in range(stage.wait):
            past = stepped(stages, past)
        past.append(1.0)
    for _ in range(count):
        past = stepped(stages, past)
    return past[-1]


def stepped(stages: tuple[Stage, ...], past: list[float]) -> list[float]:
    """Return what is left in each after one step more."""
    later: list[float] = []
    for at, each in enumerate(past):
        fed = later[-1] if at else 0.0
        later.append(each + stages[at].alpha * (fed - each))
    return later


@given(st.lists(st.builds(Stage, ALPHAS, st.integers(0, 40)), min_size=1, max_size=6).map(tuple))
def test_as_many_steps_are_enough_and_one_less_is_not(stages: tuple[Stage, ...]) -> None:
    """Whatever smooths, and in whatever order."""
    count = steps(stages, TOLERANCE)

    assert left_after(stages, count) <= TOLERANCE * (1 + 1e-9)
    assert left_after(stages, count - 1) > TOLERANCE * (1 - 1e-9)


@given(ALPHAS, st.integers(1, 6))
def test_equal_smoothings_that_begin_at_once_leave_what_the_binomial_says(
    alpha: float, m: int
) -> None:
    """The chance of fewer than m successes, where each step may lead through several rooms."""
    stages = (Stage(alpha, 0),) * m
    tries = steps(stages, TOLERANCE) + m - 1

    chance = math.fsum(
        math.comb(tries, k) * alpha**k * (1 - alpha) ** (tries - k) for k in range(m)
    )
    assert chance <= TOLERANCE * (1 + 1e-6)


def test_one_smoothing_is_a_power() -> None:
    """The logarithm of a millionth, by that of what each candle leaves."""
    assert steps((Stage(1 / 20, 0),), TOLERANCE) == math.ceil(math.log(1e-6) / math.log(0.95))
    assert steps((), TOLERANCE) == 0
    assert steps((Stage(0.5, 0),), 1.0) == 0


def test_what_takes_for_ever_is_counted_to_its_bound() -> None:
    """No number of parameters makes the counting long."""
    assert steps((Stage(1e-9, 0),), TOLERANCE) == STEPS_MAX


def test_one_after_another_reaches_further_than_side_by_side() -> None:
    """Windows add up in a row; beside each other the slowest decides."""
    fast, slow = exponential(12), exponential(26)

    assert then(fast, slow).lookback == 36
    assert then(fast, slow).candles > beside(fast, slow).candles > slow.candles
    assert beside(fast, window(50)).lookback == 49
    assert wilder(14).candles > exponential(14).candles
    assert wilder(1).candles == exponential(1).candles == window(1).candles == 1


def weights(text: str, count: int) -> npt.NDArray[np.float64]:
    """Return what each of `count` candles counts for in the newest values, oldest first."""
    wanted = indicator(text)
    closes = np.eye(count)
    rows = []
    for close in closes:
        answer: Any = abstract.Function(wanted.name)({"close": close}, **dict(wanted.params))
        rows.append([each[-1] for each in (answer if isinstance(answer, list) else [answer])])
    return np.array(rows)


@pytest.mark.parametrize(
    "text", ["EMA(9)", "DEMA(9)", "TEMA(9)", "T3(5)", "T3(9,1)", "ZLEMA(9)", "MACD(5,9,4)"]
)
def test_of_the_worst_past_there_is_a_millionth_is_left(text: str) -> None:
    """These add and multiply only, so the past that shows most can be computed: nothing is guessed.

    With two thirds as many candles it would show more.
    """
    count = indicator(text).candles
    true = weights(text, 3 * count)

    def shown(few: int) -> float:
        rest = true.copy()
        rest[-few:] -= weights(text, few)
        return float(max(rest.clip(0).sum(axis=0).max(), (-rest).clip(0).sum(axis=0).max()))

    assert shown(count) <= TOLERANCE
    assert shown(int(count / 1.5)) > TOLERANCE


@settings(max_examples=50)
@given(st.integers(1, 5_000))
def test_a_longer_period_never_needs_fewer_candles(n: int) -> None:
    """Of any smoothing, so the widest is found by its number."""
    for make in (exponential, wilder, window):
        assert make(n).candles <= make(n + 1).candles
