"""`RateLimiterActor` when it crashes: the exchange does not forget, so neither may we."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
import trio

from actors.errors import RateLimited
from actors.lane_book import ADDRESS
from actors.pauses import Pause
from actors.slots import Spend
from runtime.core.errors import ActorRestarted, CallTimeout

if TYPE_CHECKING:
    # Kept by pytest, which brings it to the tests as fixtures; not importable when they run.
    from tests.actors.conftest import OpenedLimiter, OpenLimiter

# A window and its margin: how long an answered request goes on holding its slot.
HOLD_S = 1.005


async def test_a_crash_forgets_no_permit_and_no_pause(limiter: OpenedLimiter) -> None:
    """The exchange does not forget either."""
    out = [await limiter.acquire() for _ in range(3)]
    limiter.answer(await limiter.acquire("ticker"), 418)
    limiter.crash()
    await trio.sleep(0.2)

    assert len(limiter.lives) == 2
    report = await limiter.report()
    assert (report.in_flight, report.windows[0].used) == (3, 3)
    assert report.paused_s == pytest.approx(59.8, abs=0.01)
    for permit in out:
        limiter.answer(permit)
    report = await limiter.report()
    assert (report.in_flight, report.windows[0].used) == (0, 3)


async def test_those_who_wait_in_a_crash_are_told_and_may_ask_again(
    limiter: OpenedLimiter, nursery: trio.Nursery
) -> None:
    """Nobody learns of a crash by timing out."""
    out = [await limiter.acquire() for _ in range(3)]
    told: list[float] = []

    async def wait() -> None:
        with pytest.raises(ActorRestarted, match="limiter"):
            await limiter.acquire()
        told.append(trio.current_time())

    nursery.start_soon(wait)
    await trio.sleep(0.5)
    limiter.crash()
    limiter.answer(out[0])
    await limiter.acquire()

    assert told == [2.5]
    assert trio.current_time() >= 2.5 + HOLD_S


async def test_a_crash_does_not_start_the_first_wait_again(open_limiter: OpenLimiter) -> None:
    """The wait is for what was before this process; a crash within it adds nothing to that."""
    async with open_limiter(past_s=0.5) as limiter:
        limiter.crash()
        await limiter.acquire("ticker")

    assert trio.current_time() == pytest.approx(HOLD_S)


async def test_a_corrupt_ledger_counts_as_a_budget_just_spent(limiter: OpenedLimiter) -> None:
    """Too careful for a moment, rather than refused by the exchange."""
    await limiter.acquire()
    limiter.tables.spends.claim("limiter").put((("candle", ""), 7), Spend(float("nan")))
    limiter.tables.pauses.claim("limiter").put(ADDRESS, Pause(until_s=1e12, strikes=1))
    limiter.crash()
    await trio.sleep(0.2)

    assert (await limiter.report()).windows[0].used == 3
    assert (await limiter.report()).paused_s == 0.0
    await limiter.acquire()
    # Permits of the past may still be on their way: their travel time and a window.
    assert trio.current_time() == pytest.approx(2 + 2 + HOLD_S, abs=0.2)


async def test_a_permit_of_a_forgotten_past_can_still_be_given_back(limiter: OpenedLimiter) -> None:
    """Its answer proves a request that the new ledger knows nothing of."""
    permit = await limiter.acquire()
    limiter.tables.spends.claim("limiter").delete((("candle", ""), permit.id))
    limiter.crash()
    await trio.sleep(1.5)
    limiter.answer(permit)

    report = await limiter.report()
    assert (report.in_flight, report.windows[0].used) == (0, 1)
    assert (await limiter.acquire()).id != permit.id


@pytest.mark.parametrize("seed", range(4))
async def test_slots_and_permits_balance_after_any_turmoil(
    seed: int, open_limiter: OpenLimiter
) -> None:
    """Cancelled callers, crashes and lost permits: in the end all slots are free again."""
    rng = random.Random(seed)
    async with open_limiter() as limiter, trio.open_nursery() as nursery:

        async def live() -> None:
            with trio.move_on_after(rng.uniform(0.0, 5.0)):
                try:
                    permit = await limiter.acquire(timeout_s=rng.uniform(0.0, 4.0))
                except (CallTimeout, ActorRestarted, RateLimited):
                    return
                try:
                    await trio.sleep(rng.uniform(0.0, 2.0))
                finally:
                    if rng.random() < 0.9:
                        limiter.answer(permit)

        for _ in range(60):
            nursery.start_soon(live)
            await trio.sleep(rng.uniform(0.0, 0.2))
            if rng.random() < 0.05:
                limiter.crash()
        await trio.sleep(40.0)
        report = await limiter.report()

    assert (report.in_flight, report.windows[0].used, report.queued) == (0, 0, 0)
    assert report.next_free_s == 0.0
