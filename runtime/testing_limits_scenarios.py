"""Scenarios for `testing_limits_saturation`: what exchanges demand, and all at once by seed."""

from __future__ import annotations

import random
from collections.abc import Mapping

from actors.exchanges.base import GroupRules, RateLimit
from actors.messages import Priority
from runtime.testing_limits_journeys import (
    TROUBLE,
    Delay,
    Journey,
    anything,
    constant,
    heavy_tailed,
    steps,
)
from runtime.testing_limits_saturation import Asking, Scenario
from runtime.testing_limits_servers import MODELS, ServerClock

# How far a server's second is from ours at worst; the limiter allows for twice that.
_DRIFT_MAX = 500e-6

TEN_A_SECOND = {"candle": GroupRules((RateLimit(10),))}

_SEVERAL = {"order": GroupRules((RateLimit(10), RateLimit(600, 60.0), RateLimit(6000, 3600.0)))}

# Binance counts weight by the minute and requests by five; the latter are fewer here, so that now
# one limit holds a request back and now the other.
_WEIGHTED = {
    "rest": GroupRules((RateLimit(6000, 60.0), RateLimit(900, 300.0, weighted=False))),
}

_LINKED = {
    "spot": GroupRules((RateLimit(10),), pools=("all",)),
    "futures": GroupRules((RateLimit(6), RateLimit(100, 60.0)), pools=("all",)),
    "all": GroupRules((RateLimit(12),)),
}

_ACCOUNTS = {
    "order": GroupRules((RateLimit(12),), scope="account", pools=("address",)),
    "cancel": GroupRules((RateLimit(1, 2.0),), scope="account"),
    "message": GroupRules((RateLimit(5), RateLimit(100, 60.0)), scope="connection"),
    "address": GroupRules((RateLimit(20),)),
}

# Limits, and who asks for what. There are always more callers than may be under way at once.
DEMANDS: Mapping[str, tuple[Mapping[str, GroupRules], tuple[Asking, ...]]] = {
    "10/s": (TEN_A_SECOND, (Asking("candle"),)),
    "10/s, 600/min, 6000/h": (_SEVERAL, (Asking("order"),)),
    "weighted": (
        _WEIGHTED,
        (
            Asking("rest", weights=(1, 2, 4, 20, 80), callers=20),
            Asking("rest", weights=(1, 2, 80), priority=Priority.REPAIR, callers=20),
        ),
    ),
    "linked": (
        _LINKED,
        (
            Asking("spot", callers=20),
            Asking("futures", callers=10),
            Asking("futures", priority=Priority.DECLARED, callers=5),
        ),
    ),
    "accounts": (
        _ACCOUNTS,
        (
            *(Asking("order", holder=name, callers=20) for name in ("ann", "bob", "cy")),
            Asking("cancel", holder="ann", callers=2),
            Asking("message", holder="c1", callers=8),
        ),
    ),
}


def at_random(seed: int) -> tuple[str, Scenario]:
    """Return a scenario in which everything goes wrong that can, and its name."""
    rng = random.Random(seed)  # noqa: S311 - seeded on purpose
    demand, model = rng.choice(list(DEMANDS)), rng.choice(list(MODELS))
    limits, askings = DEMANDS[demand]
    delays: dict[str, Delay] = {
        "anything": anything,
        "steps": steps,
        "tail 20 ms": heavy_tailed(0.02),
        "tail 300 ms": heavy_tailed(0.3, 1.5),
        "50 ms": constant(0.05),
    }
    there, back = rng.choice(list(delays)), rng.choice(list(delays))
    drift = rng.choice([0.0, -_DRIFT_MAX, _DRIFT_MAX, rng.uniform(-_DRIFT_MAX, _DRIFT_MAX)])
    scenario = Scenario(
        limits=limits,
        make_counter=MODELS[model],
        askings=askings,
        journey=Journey(delays[there], delays[back], rng.choice([(), TROUBLE])),
        server_clock=ServerClock(
            # Where windows begin; an hour is a whole number of any of them.
            ahead_s=rng.uniform(0.0, 3600.0),
            drift=drift,
            tick_s=rng.choice([0.0, 0.001]),
        ),
        headers=rng.random() < 0.5,  # noqa: PLR2004 - a fair coin
        crash_every_s=rng.choice([0.0, 5.0, 60.0]),
        restart_every_s=rng.choice([0.0, 0.0, 20.0, 300.0]),
    )
    return f"{demand}; {model}; {there} there, {back} back", scenario
