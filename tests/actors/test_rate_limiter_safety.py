"""`RateLimiterActor`: the claim. Whatever happens, no server that keeps these limits refuses."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.exchanges.base import GroupRules, RateLimit
from actors.limit_file import LimitKeeper
from actors.limit_tables import LimitTables
from actors.messages import Priority
from actors.rate_limiter import RateLimiterActor
from runtime.testing_limits import MemoryLimitKeeper
from runtime.testing_limits_journeys import (
    TROUBLE,
    Delay,
    Journey,
    anything,
    constant,
    heavy_tailed,
    steps,
)
from runtime.testing_limits_saturation import Asking, Scenario, saturate
from runtime.testing_limits_servers import MODELS, ServerClock

WINDOWS = st.lists(
    st.builds(RateLimit, st.integers(3, 9), st.sampled_from([0.5, 1.0, 2.0, 7.0]), st.booleans()),
    min_size=1,
    max_size=3,
).map(tuple)
DELAYS: st.SearchStrategy[Delay] = st.sampled_from(
    [anything, steps, heavy_tailed(0.02), heavy_tailed(0.3, 1.5), constant(0.0), constant(0.05)]
)


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """Draw limits with a pool, who asks, what befalls requests, and what befalls the limiter."""
    limits = {
        "one": GroupRules(draw(WINDOWS)),
        "two": GroupRules(draw(WINDOWS), scope="account", pools=("pool",)),
        "pool": GroupRules(draw(WINDOWS)),
    }
    askings = (
        Asking("one", weights=(1, 2, 3), callers=6),
        Asking("two", holder="ann", weights=(1, 3), callers=4, priority=Priority.REPAIR),
        Asking("two", holder="bob", callers=4, priority=draw(st.sampled_from(Priority))),
    )
    return Scenario(
        limits,
        MODELS[draw(st.sampled_from(sorted(MODELS)))],
        askings,
        Journey(draw(DELAYS), draw(DELAYS), draw(st.sampled_from([(), TROUBLE]))),
        server_clock=ServerClock(
            ahead_s=draw(st.floats(0, 14)),
            drift=draw(st.sampled_from([0.0, -500e-6, 500e-6])),
            tick_s=draw(st.sampled_from([0.0, 0.001])),
        ),
        headers=draw(st.booleans()),
        crash_every_s=draw(st.sampled_from([0.0, 0.0, 3.0])),
        restart_every_s=draw(st.sampled_from([0.0, 0.0, 7.0])),
    )


def make_limiter(
    limits: Mapping[str, GroupRules], tables: LimitTables, keeper: LimitKeeper | None
) -> RateLimiterActor:
    """Make one incarnation of the limiter."""
    return RateLimiterActor("simulated", limits, tables=tables, keeper=keeper)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Keep hundreds of reports on crashes that were asked for out of the output."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.slow
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(scenarios(), st.integers(0, 2**32))
def test_no_server_that_keeps_these_limits_ever_refuses(scenario: Scenario, seed: int) -> None:
    """Of any kind, at any latency, with losses, cancellation, crashes, restarts and kills."""
    outcome = saturate(scenario, make_limiter, seconds=20.0, seed=seed, keeper=MemoryLimitKeeper())

    assert outcome.server.rejected == {}
