"""marketd's limiter beside well-known ones: same servers, same journeys, same seeds.

    pytest tests/benchmarks/test_limits_benchmark.py -m benchmark -s

"rejected" is the share of requests that the server refused, "passed" what it let through as a share
of its limit, 10 a second. Nobody who is never to be rejected gets more than 1 / (1 + round trip) of
that, because a request that is under way must be counted as arriving at any time. The peers'
callers take a refusal as an answer and go on; a real server would shut them out for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

from actors.exchanges.base import GroupRules
from actors.limit_file import LimitKeeper
from actors.limit_tables import LimitTables
from actors.rate_limiter import RateLimiterActor
from runtime.testing_limits_journeys import Journey, anything, heavy_tailed, steady
from runtime.testing_limits_saturation import Asking, Scenario, saturate
from runtime.testing_limits_scenarios import TEN_A_SECOND
from runtime.testing_limits_servers import MODELS, LimitServer, ServerClock
from tests.benchmarks.peer_limiters import PEERS, MakePeer, saturate_peer

pytestmark = pytest.mark.benchmark

SECONDS = 120.0
# Each has another phase of the server's windows.
SEEDS = range(5)

JOURNEYS: Mapping[str, Journey] = {
    "always 50 ms": steady(0.05),
    "tail, median 50 ms": Journey(heavy_tailed(0.025), heavy_tailed(0.025)),
    "1 ms to 2 s each way": Journey(anything, anything),
}


@dataclass(slots=True)
class Figures:
    """What several runs came to."""

    sent: int = 0
    rejected: int = 0
    rate_per_s: float = 0.0

    def add(self, sent: int, server: LimitServer) -> None:
        """Add a run; the rate becomes the mean."""
        self.sent += sent
        self.rejected += sum(server.rejected.values())
        self.rate_per_s += server.rate_per_s / len(SEEDS)

    def __str__(self) -> str:
        """Return them as columns of a table."""
        rejected = f"{self.rejected / self.sent:.2%}" if self.rejected else "none"
        return f"{self.sent:8,} {rejected:>9} {self.rate_per_s / 10:8.1%}"


def clock_of(seed: int) -> ServerClock:
    """Return the server's clock of a run: tenths of a window apart."""
    return ServerClock(ahead_s=seed / len(SEEDS))


def make_limiter(
    limits: Mapping[str, GroupRules], tables: LimitTables, keeper: LimitKeeper | None
) -> RateLimiterActor:
    """Make ours."""
    return RateLimiterActor("simulated", limits, tables=tables, keeper=keeper)


def ours(model: str, journey: Journey) -> Figures:
    """Run marketd's limiter: a real actor, real messages."""
    figures = Figures()
    for seed in SEEDS:
        scenario = Scenario(
            TEN_A_SECOND,
            MODELS[model],
            (Asking("candle", callers=60),),
            journey,
            server_clock=clock_of(seed),
        )
        outcome = saturate(scenario, make_limiter, seconds=SECONDS, seed=seed)
        figures.add(outcome.sent, outcome.server)
    return figures


def theirs(make: MakePeer) -> Callable[[str, Journey], Figures]:
    """Return what runs one of the peers."""

    def run(model: str, journey: Journey) -> Figures:
        figures = Figures()
        for seed in SEEDS:
            server = LimitServer(TEN_A_SECOND, MODELS[model], clock=clock_of(seed), began_s=0.0)
            sent = saturate_peer(make, server, journey, seconds=SECONDS, seed=seed)
            figures.add(sent, server)
        return figures

    return run


@pytest.mark.parametrize("journey", JOURNEYS)
def test_only_ours_is_never_rejected(journey: str) -> None:
    """The bench of the project's claim."""
    print(f"\n{journey}: requests sent, rejected, passed as a share of the limit")
    print(f"{'':24}" + "".join(f"{model:>27}" for model in MODELS))
    runners = {"marketd": ours, **{name: theirs(make) for name, make in PEERS.items()}}
    for name, run in runners.items():
        figures = [run(model, JOURNEYS[journey]) for model in MODELS]
        print(f"{name:24}" + "".join(f"{each!s:>27}" for each in figures))
        if name == "marketd":
            assert not any(each.rejected for each in figures)
