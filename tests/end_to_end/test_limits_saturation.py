"""The claim of the limiter: no request is ever rejected, and no budget is left.

All in virtual time, against servers of every kind, with everything going wrong that can.
`python tests/end_to_end/test_limits_saturation.py FIRST LAST HOURS` runs many seeds by hand, some
hours of each.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

import pytest

from actors.exchanges.base import GroupRules, RateLimit
from actors.limit_file import LimitKeeper
from actors.limit_tables import LimitTables
from actors.rate_limiter import RateLimiterActor
from runtime.testing_limits import MemoryLimitKeeper
from runtime.testing_limits_journeys import Fate, steady
from runtime.testing_limits_saturation import Asking, Outcome, Scenario, saturate
from runtime.testing_limits_scenarios import TEN_A_SECOND, at_random
from runtime.testing_limits_servers import MODELS, ServerClock

ROUND_TRIPS_S = (0.001, 0.01, 0.05, 0.2, 1.0)


def make_limiter(
    limits: Mapping[str, GroupRules], tables: LimitTables, keeper: LimitKeeper | None
) -> RateLimiterActor:
    """Make one incarnation of the limiter under test."""
    return RateLimiterActor("simulated", limits, tables=tables, keeper=keeper)


def run_seed(seed: int, seconds: float) -> tuple[str, Outcome]:
    """Run the scenario of a seed; return its name and what came of it."""
    name, scenario = at_random(seed)
    keeper = MemoryLimitKeeper()
    return name, saturate(scenario, make_limiter, seconds=seconds, seed=seed, keeper=keeper)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("round_trip_s", ROUND_TRIPS_S)
def test_nothing_is_rejected_and_99_percent_are_used(model: str, round_trip_s: float) -> None:
    """Of limit / (window + round trip), which is the most that can be had with any safety."""
    scenario = Scenario(
        TEN_A_SECOND, MODELS[model], (Asking("candle", callers=22),), steady(round_trip_s)
    )
    outcome = saturate(scenario, make_limiter, seconds=30.0)

    assert outcome.server.rejected == {}
    assert outcome.server.rate_per_s >= 0.99 * 10 / (1 + round_trip_s)


@pytest.mark.parametrize("phase", range(10))
def test_no_phase_of_a_fixed_window_is_a_bad_one(phase: int) -> None:
    """Bursts at the very border of a window included, on a server whose seconds are too long."""
    clock = ServerClock(ahead_s=phase / 10, drift=-500e-6, tick_s=0.001)
    scenario = Scenario(
        TEN_A_SECOND, MODELS["fixed"], (Asking("candle", callers=22),), server_clock=clock
    )
    outcome = saturate(scenario, make_limiter, seconds=30.0)

    assert outcome.server.rejected == {}
    assert outcome.server.passed > 250


@pytest.mark.parametrize("model", MODELS)
def test_a_server_whose_minute_is_too_long_rejects_nothing(model: str) -> None:
    """Its windows end 30 ms after ours, and no round trip hides that."""
    limits = {"candle": GroupRules((RateLimit(20, 59.0),))}
    clock = ServerClock(drift=-500e-6, tick_s=0.001)
    scenario = Scenario(
        limits, MODELS[model], (Asking("candle", callers=22),), steady(0.001), server_clock=clock
    )
    outcome = saturate(scenario, make_limiter, seconds=240.0)

    assert outcome.server.rejected == {}
    assert outcome.server.passed >= 60


@pytest.mark.parametrize("seed", range(1, 9))
def test_whatever_goes_wrong_nothing_is_rejected(seed: int) -> None:
    """Latencies up to 2 s each way, losses, cancellation, crashes, restarts; more run by hand."""
    # Windows of a minute count as spent at first, so it takes a little longer than one.
    name, outcome = run_seed(seed, 75.0)

    assert outcome.server.rejected == {}, name
    assert outcome.server.passed, name


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(101, 105))
def test_nothing_is_rejected_for_a_long_time(seed: int) -> None:
    """Ten minutes of each, so that windows of a minute are used up and come again."""
    name, outcome = run_seed(seed, 600.0)

    assert outcome.server.rejected == {}, name


@pytest.mark.slow
def test_the_simulation_does_what_it_says() -> None:
    """A proof by simulation is worth what the simulation does: every fate, crash and restart."""
    _, outcomes = zip(*(run_seed(seed, 75.0) for seed in range(1, 9)), strict=True)

    assert all(any(each.fates[fate] for each in outcomes) for fate in Fate)
    assert any(each.crashes for each in outcomes)
    assert any(each.restarts for each in outcomes)


def test_the_same_seed_gives_the_same_run() -> None:
    """Whatever goes wrong can be had again."""
    (_, first), (_, again) = run_seed(3, 30.0), run_seed(3, 30.0)

    assert (first.sent, first.fates, first.server.last_s) == (
        again.sent,
        again.fates,
        again.server.last_s,
    )


if __name__ == "__main__":
    for chosen in range(int(sys.argv[1]), int(sys.argv[2]) + 1):
        started_s = time.perf_counter()
        title, found = run_seed(chosen, float(sys.argv[3]) * 3600)
        took_s = time.perf_counter() - started_s
        sys.stdout.write(
            f"seed {chosen}: {found.sent} sent, {found.server.passed} passed, {found.rejected} "
            f"rejected, {found.crashes} crashes, {found.restarts} restarts, {took_s:.0f} s: "
            f"{title}\n"
        )
        sys.stdout.flush()
