"""`RateLimiterActor` from one process to the next: windows and bans outlive both ways to end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from actors.errors import RateLimited
from actors.exchanges.base import GroupRules, RateLimit
from actors.limit_file import KeptGroup, KeptLimits, KeptSpend
from actors.limit_tables import LimitTables
from actors.messages import GetLimits
from runtime.testing_limits import MemoryLimitKeeper

if TYPE_CHECKING:
    # Kept by pytest, which brings it to the tests as fixtures; not importable when they run.
    from tests.actors.conftest import OpenLimiter

LIMITS = {
    "slow": GroupRules((RateLimit(3), RateLimit(5, 100.0))),
    "orders": GroupRules((RateLimit(2, 10.0),), scope="account"),
    "texts": GroupRules((RateLimit(2, 10.0),), scope="connection"),
}
HOLD_S = 1.005
LONG_HOLD_S = 100.104


async def spend(open_limiter: OpenLimiter, keeper: MemoryLimitKeeper) -> None:
    """Have a process spend three of five, end in order, and stay away for a minute."""
    async with open_limiter(limits=LIMITS, keeper=keeper, past_s=70.0) as limiter:
        for _ in range(3):
            limiter.answer(await limiter.acquire("slow"))
        limiter.answer(await limiter.acquire("orders", holder="main"))
        limiter.answer(await limiter.acquire("texts", holder="7"))
    assert keeper.saves[-1][0].clean
    await trio.sleep(60.0)


async def test_what_was_spent_before_an_orderly_end_is_known_exactly(
    open_limiter: OpenLimiter,
) -> None:
    """So the next process begins at once, with what is left."""
    keeper = MemoryLimitKeeper()
    await spend(open_limiter, keeper)

    async with open_limiter(limits=LIMITS, keeper=keeper, past_s=0.0) as limiter:
        assert [each.used for each in (await limiter.report("slow")).windows] == [0, 3]
        assert (await limiter.report("orders", "main")).windows[0].used == 0
        began_s = trio.current_time()
        for _ in range(2):
            limiter.answer(await limiter.acquire("slow"))
        assert trio.current_time() == began_s
        await limiter.acquire("slow", timeout_s=100.0)
        assert trio.current_time() == pytest.approx(70.0 + LONG_HOLD_S, abs=0.01)


async def test_an_account_comes_back_and_a_connection_does_not(open_limiter: OpenLimiter) -> None:
    """The one goes on, the other ended with its process."""
    keeper = MemoryLimitKeeper()
    async with open_limiter(limits=LIMITS, keeper=keeper, past_s=70.0) as limiter:
        limiter.answer(await limiter.acquire("orders", holder="main"))
        limiter.answer(await limiter.acquire("texts", holder="7"))

    async with open_limiter(limits=LIMITS, keeper=keeper, past_s=0.0) as limiter:
        assert (await limiter.report("orders", "main")).windows[0].used == 1
        with pytest.raises(KeyError, match="texts"):
            await limiter.report("texts", "7")


async def test_after_a_kill_what_may_not_have_been_written_down_counts_as_sent(
    open_limiter: OpenLimiter,
) -> None:
    """Nobody knows what it did in its last seconds; no more than its own limits allowed."""
    keeper = MemoryLimitKeeper()
    async with open_limiter(limits=LIMITS, keeper=keeper, past_s=70.0) as limiter:
        limiter.answer(await limiter.acquire("slow"))
        await trio.sleep(1.5)
        killed, _ = keeper.saves[-1]
    assert not killed.clean
    await keeper.save(killed, durable=True)

    async with open_limiter(limits=LIMITS, keeper=keeper, past_s=0.0) as limiter:
        assert [each.used for each in (await limiter.report("slow")).windows] == [3, 5]
        await limiter.acquire("slow", timeout_s=200.0)
        # It may have been on its way for two seconds when the process died.
        assert trio.current_time() == pytest.approx(71.5 + 2 + LONG_HOLD_S, abs=0.01)


async def test_it_is_said_that_more_may_follow_before_the_first_permit(
    open_limiter: OpenLimiter,
) -> None:
    """A kill right after the start must not leave what was true before it."""
    keeper = MemoryLimitKeeper()
    await spend(open_limiter, keeper)

    async with open_limiter(limits=LIMITS, keeper=keeper, past_s=0.0):
        assert not keeper.saves[-1][0].clean


async def test_a_ban_is_written_down_at_once_and_outlives_the_process(
    open_limiter: OpenLimiter,
) -> None:
    """Asking during a block lengthens it, whoever asks."""
    keeper = MemoryLimitKeeper()
    async with open_limiter(limits=LIMITS, keeper=keeper, past_s=70.0) as limiter:
        limiter.answer(await limiter.acquire("slow"), 418, asked_s=600.0)
        await trio.sleep(0.01)
        killed, durable = keeper.saves[-1]
    assert durable
    await keeper.save(killed, durable=True)
    await trio.sleep(100.0)

    async with open_limiter(limits=LIMITS, keeper=keeper, past_s=0.0) as limiter:
        with pytest.raises(RateLimited, match=r"all requests are paused for 50\d\.\d s more"):
            await limiter.acquire("orders", holder="main", timeout_s=400.0)
        await limiter.acquire("slow", timeout_s=600.0)
        assert trio.current_time() == pytest.approx(670.0, abs=0.02)


async def test_a_second_ban_after_a_restart_is_longer_than_the_first(
    open_limiter: OpenLimiter,
) -> None:
    """A new process is no new customer."""
    keeper = MemoryLimitKeeper()
    async with open_limiter(limits=LIMITS, keeper=keeper, past_s=70.0) as limiter:
        limiter.answer(await limiter.acquire("slow"), 418)
    async with open_limiter(limits=LIMITS, keeper=keeper, past_s=0.0) as limiter:
        permit = await limiter.acquire("slow", timeout_s=100.0)
        limiter.answer(permit, 418)
        assert (await limiter.report("slow")).paused_s == pytest.approx(120.0)


async def test_a_pause_of_one_group_outlives_the_process(open_limiter: OpenLimiter) -> None:
    """And it is forgiven in the next as it would have been in this."""
    keeper = MemoryLimitKeeper()
    async with open_limiter(limits=LIMITS, keeper=keeper, past_s=70.0) as limiter:
        limiter.answer(await limiter.acquire("slow"), 429, asked_s=50.0)
    async with open_limiter(limits=LIMITS, keeper=keeper, past_s=0.0) as limiter:
        assert (await limiter.report("slow")).paused_s == pytest.approx(50.0, abs=0.01)
        permit = await limiter.acquire("slow", timeout_s=100.0)
        limiter.answer(permit)
        limiter.answer(await limiter.acquire("slow"), 429)
        assert (await limiter.report("slow")).paused_s == pytest.approx(HOLD_S, abs=0.01)


async def test_what_no_longer_fits_the_limits_is_made_to_fit(open_limiter: OpenLimiter) -> None:
    """An update may bring new limits."""
    spends = (
        KeptSpend(weight=50, age_s=0.0),
        KeptSpend(weight=1, age_s=0.0, period_s=77.0),
        KeptSpend(weight=2, age_s=0.0, period_s=100.0),
        KeptSpend(weight=1, age_s=None),
    )
    groups = {
        "slow": KeptGroup(spends=spends),
        "gone": KeptGroup(spends=spends),
        "orders": KeptGroup(spends=spends),
        "slow/somebody": KeptGroup(spends=spends),
    }
    keeper = MemoryLimitKeeper()
    kept = KeptLimits(saved_ms=0, saved_s=0.0, clean=True, groups=groups)
    await keeper.save(kept, durable=True)

    async with open_limiter(limits=LIMITS, keeper=keeper, past_s=0.0) as limiter:
        assert {item.group for item in await limiter.ref.call(GetLimits())} == {"slow"}
        assert [each.used for each in (await limiter.report("slow")).windows] == [3, 5]
        await limiter.acquire("slow", timeout_s=300.0)
        assert trio.current_time() == pytest.approx(LONG_HOLD_S, abs=0.01)


async def test_a_crash_asks_the_keeper_for_nothing(open_limiter: OpenLimiter) -> None:
    """Within one process the tables know better."""
    keeper = MemoryLimitKeeper()
    tables = LimitTables("upbit")
    async with open_limiter(limits=LIMITS, keeper=keeper, tables=tables, past_s=70.0) as limiter:
        await limiter.acquire("slow")
        keeper.load()
        limiter.crash()
        await trio.sleep(0.2)
        assert (await limiter.report("slow")).in_flight == 1
