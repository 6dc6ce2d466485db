"""What a permit costs: against bare messages, and with thousands in line.

Run by name: `pytest tests/benchmarks/test_limiter_cost_benchmark.py -m benchmark -s`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from actors.exchanges.base import GroupRules, RateLimit
from actors.limit_tables import LimitTables
from actors.messages import AcquirePermit, GetLimits, ReleasePermit
from actors.rate_limiter import RateLimiterActor
from runtime.core.actor import Actor
from runtime.core.mailbox import MailboxSpec
from runtime.core.message import Request
from runtime.core.ref import ActorRef
from runtime.testing import open_actor

pytestmark = pytest.mark.benchmark

# Enough that nobody ever waits where nobody should.
PLENTY = {"many": GroupRules((RateLimit(1_000_000, 60.0),))}
A_THOUSAND = {"many": GroupRules((RateLimit(1_000),))}
MAILBOX = MailboxSpec(capacity=20_000)


class Echo(Actor):
    """Answers at once: the floor of what a message costs."""

    async def handle_call(self, request: Request[Any]) -> object:
        """Answer."""
        return request


async def use_permit(limiter: ActorRef) -> None:
    """Take a permit and give it back after an answer."""
    permit = await limiter.call(AcquirePermit(group="many"), timeout_s=1_000)
    limiter.cast(ReleasePermit(permit=permit, sent=True, answered=True, status=200))


async def time_us(once: Callable[[], Awaitable[object]], count: int) -> float:
    """Return the time of one of many, in microseconds."""
    began_s = time.perf_counter()
    for _ in range(count):
        await once()
    return (time.perf_counter() - began_s) / count * 1e6


def make_limiter(limits: dict[str, GroupRules]) -> Callable[[], RateLimiterActor]:
    """Return what makes a limiter."""
    tables = LimitTables("upbit")
    return lambda: RateLimiterActor("upbit", limits, tables=tables, waiting_max=20_000)


async def test_a_permit_of_an_idle_limiter_costs_three_round_trips_at_most() -> None:
    """A round trip is a call to an actor that does nothing, and its answer."""
    async with (
        open_actor(Echo, name="echo", mailbox=MAILBOX) as echo,
        open_actor(make_limiter(PLENTY), name="limiter", mailbox=MAILBOX) as limiter,
    ):
        ratios = []
        # Many short rounds: whatever else the machine does falls upon both sides of most of them.
        for _ in range(31):
            # What was before its start, and in the last round, counts as spent.
            await trio.sleep(120)
            bare_us = await time_us(lambda: echo.call(GetLimits(), timeout_s=10), 500)
            permit_us = await time_us(lambda: use_permit(limiter), 500)
            ratios.append(permit_us / bare_us)
    ratio = statistics.median(ratios)
    print(f"\na permit, taken and given back: {ratio:.2f} x a bare round trip ({permit_us:.0f} us)")
    assert ratio <= 3.0


async def test_a_long_line_costs_each_who_stands_in_it_no_more() -> None:
    """Ten thousand in line against a hundred: the time for each to come, wait and go."""
    async with open_actor(make_limiter(A_THOUSAND), name="limiter", mailbox=MAILBOX) as limiter:
        await trio.sleep(5)

        async def queue(count: int) -> float:
            began_s = time.perf_counter()
            async with trio.open_nursery() as nursery:
                for _ in range(count):
                    nursery.start_soon(use_permit, limiter)
            each_us = (time.perf_counter() - began_s) / count * 1e6
            await trio.sleep(5)
            return each_us

        async def fill() -> None:
            async with trio.open_nursery() as nursery:
                for _ in range(1_000):
                    nursery.start_soon(use_permit, limiter)

        ratios = []
        for _ in range(3):
            await fill()
            short_us = await queue(100)
            await fill()
            long_us = await queue(10_000)
            ratios.append(long_us / short_us)
    ratio = sorted(ratios)[1]
    print(f"\n10,000 in line cost {ratio:.2f} x each of what 100 do ({long_us:.0f} us)")
    # A hundred times as many: linear would be 100, the logarithm alone 2.
    assert ratio <= 4.0
