"""The measured behaviour of Upbit's real server, and marketd against it.

The intervals in the recordings are what was aimed at; what counts is duration / requests.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from actors.exchanges.breaker import Breaker
from actors.exchanges.clock import ExchangeClock
from actors.exchanges.http import open_http_sender
from actors.exchanges.retries import RetryRules
from actors.exchanges.throttled import ThrottledExchange
from actors.exchanges.upbit.adapter import UpbitAdapter
from actors.limit_tables import LimitTables
from actors.rate_limiter import RateLimiterActor
from actors.sandbox.main import add_arguments, build_exchange
from actors.sandbox.measured_window import AdmittedWindow
from actors.sandbox.rules import FixedWindow, RateRules, SlidingWindow, Window
from actors.sandbox.transport import SandboxTransport
from runtime.core.clock import TrioClock
from runtime.testing import open_actor

# Timers of the measuring client shook by some milliseconds, which we do not know.
TOLERANCE = 0.01


def recorded_rows(recorded: Path, kind: str, key: str) -> list[dict[str, Any]]:
    """Return the rows of the one recording whose name begins with `kind`."""
    (path,) = (recorded / "ratelimit").glob(f"{kind}*.json")
    rows: list[dict[str, Any]] = json.loads(path.read_text())[key]
    return rows


def refused_share(make: Callable[[int, float], Window], row: dict[str, Any]) -> float:
    """Return the share refused when the requests of a recording are sent evenly."""
    window, count = make(10, 1.0), int(row["total_requests"])
    step_s = float(row["test_duration_seconds"]) / count
    return sum(window.arrive(number * step_s) < 0 for number in range(count)) / count


@pytest.mark.recorded
def test_the_measured_share_of_refusals_is_reproduced(recorded: Path) -> None:
    """9.5 % at 90 ms, none at 95, 100 and 105: each within one point of a hundred."""
    for row in recorded_rows(recorded, "boundary", "results"):
        measured = row["rate_limit_count"] / row["total_requests"]
        share = refused_share(AdmittedWindow, row)
        assert share == pytest.approx(measured, abs=TOLERANCE if measured else 0)


@pytest.mark.recorded
def test_the_other_models_do_not_fit(recorded: Path) -> None:
    """So the choice is the data's: clock-aligned windows refuse less, the strictest far more."""
    row = recorded_rows(recorded, "boundary", "results")[-1]
    measured = row["rate_limit_count"] / row["total_requests"]
    phases = [refused_share(partial(FixedWindow, phase_s=n / 10), row) for n in range(10)]
    assert max(phases) < measured - 2 * TOLERANCE
    assert refused_share(SlidingWindow, row) > 0.9


@pytest.mark.recorded
def test_the_measured_burst_is_reproduced(recorded: Path) -> None:
    """Ten pass, the others do not."""
    row = recorded_rows(recorded, "empirical", "phases")[0]
    rules, step_s = RateRules(window=AdmittedWindow), row["actual_interval_ms"] / 1000
    statuses = [rules.admit("candle", "a", n * step_s).status for n in range(row["total_requests"])]
    assert statuses == [200] * row["success_count"] + [429] * row["rate_limit_count"]


@pytest.mark.parametrize("window", ["measured", "strict", "fixed"])
async def test_marketd_is_never_refused_whatever_the_window(clock: TrioClock, window: str) -> None:
    """A hundred callers at once, answers late by up to half a second, the whole real way."""
    parser, adapter = argparse.ArgumentParser(), UpbitAdapter()
    add_arguments(parser)
    exchange = build_exchange(parser.parse_args(["--window", window]), clock=clock)
    transport = SandboxTransport(exchange, latency_s=0.002, jitter_s=0.25, rng=random.Random(7))
    tables = LimitTables("upbit")
    factory = partial(RateLimiterActor, "upbit", adapter.rules.limits, tables=tables)
    async with (
        open_actor(factory) as limiter,
        open_http_sender(
            "http://sandbox.invalid", timeout_s=10, connections_max=64, transport=transport
        ) as sender,
    ):
        gate = ThrottledExchange(
            adapter,
            sender,
            limiter,
            clock,
            ExchangeClock(clock),
            breaker=Breaker(),
            rng=random.Random(1),
            rules=RetryRules(tries=1),
        )
        fetch = partial(gate.fetch, adapter.markets(), timeout_s=600)
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(fetch)

    assert [record.status for record in exchange.log] == [200] * 100
    assert trio.current_time() < 16


async def test_the_window_is_chosen_on_the_command_line(clock: TrioClock) -> None:
    """At the pace that was measured each model refuses another share."""
    refused: dict[str, int] = {}
    for window in ("fixed", "measured", "strict"):
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        rules = build_exchange(parser.parse_args(["--window", window]), clock=clock).rules
        for number in range(100):
            rules.admit("candle", "a", number * 0.0934)
        refused[window] = rules.refused()

    assert 0 < refused["fixed"] < refused["measured"] == 9 < refused["strict"]
