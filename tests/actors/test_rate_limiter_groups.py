"""`RateLimiterActor`: several windows, weights, pools, accounts, connections, shares, deadlines."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from actors.errors import InvalidRequest, Overloaded, RateLimited
from actors.exchanges.base import GroupRules, RateLimit
from actors.lane_book import HOLDERS_MAX, check_limits
from actors.messages import Permit, Priority

if TYPE_CHECKING:
    # Kept by pytest, which brings it to the tests as fixtures; not importable when they run.
    from tests.actors.conftest import OpenedLimiter, OpenLimiter

TEN = RateLimit(10)
HOLD_S = 1.005

LIMITS = {
    "slow": GroupRules((RateLimit(2), RateLimit(3, 10.0), RateLimit(5, 3600.0))),
    "weight": GroupRules((RateLimit(100), RateLimit(5, 1.0, weighted=False))),
    "orders": GroupRules((RateLimit(3),), scope="account", pools=("weight",)),
    "texts": GroupRules((RateLimit(2),), scope="connection"),
    "reads": GroupRules((TEN,), pools=("all",)),
    "writes": GroupRules((TEN,), pools=("all",)),
    "all": GroupRules((RateLimit(6),)),
    "ten": GroupRules((TEN,)),
}


async def take(limiter: OpenedLimiter, group: str, **options: object) -> float:
    """Take a permit whose answer comes at once; return when it was granted."""
    limiter.answer(await limiter.acquire(group, timeout_s=10_000, **options))  # type: ignore[arg-type]
    return round(trio.current_time(), 3)


async def test_all_windows_of_a_group_are_kept(open_limiter: OpenLimiter) -> None:
    """Two a second, three in ten seconds, five an hour."""
    async with open_limiter(limits=LIMITS, past_s=100.0) as limiter:
        moments_s = [await take(limiter, "slow") - 100 for _ in range(7)]
        report = await limiter.report("slow")

    assert moments_s == pytest.approx([0, 0, HOLD_S, 10.014, 10.014, 3603.604, 3603.604], abs=0.005)
    assert [(each.requests, each.used) for each in report.windows] == [(2, 2), (3, 2), (5, 5)]


async def test_a_window_of_an_hour_is_not_waited_for_at_the_first_start(
    open_limiter: OpenLimiter,
) -> None:
    """What was before the first start is not known; a minute of caution must do."""
    async with open_limiter(limits=LIMITS, past_s=0.0) as limiter:
        assert await take(limiter, "slow") == pytest.approx(61.0, abs=0.01)


# ------------------------------------------------------------------ weights and pools


async def test_weights_fill_a_window_and_requests_another(open_limiter: OpenLimiter) -> None:
    """Binance counts both."""
    async with open_limiter(limits=LIMITS) as limiter:
        assert await take(limiter, "weight", weight=60) == 2.0
        assert await take(limiter, "weight", weight=40) == 2.0
        assert await take(limiter, "weight") == pytest.approx(2 + HOLD_S, abs=0.002)
        for _ in range(4):
            await take(limiter, "weight")
        assert await take(limiter, "weight") == pytest.approx(2 + 2 * HOLD_S, abs=0.004)


async def test_a_heavy_request_is_not_overtaken_by_light_ones_for_ever(
    open_limiter: OpenLimiter,
) -> None:
    """Each of them fits before it; all of them together would starve it."""
    async with open_limiter(limits=LIMITS) as limiter, trio.open_nursery() as nursery:
        permits: list[Permit] = []

        async def wait(weight: int) -> None:
            permits.append(await limiter.acquire("weight", weight=weight))
            limiter.answer(permits[-1])

        await take(limiter, "weight", weight=50)
        for weight in (80, 5, 5):
            nursery.start_soon(wait, weight)
            await trio.sleep(0.01)

    permits.sort(key=lambda permit: permit.id)
    assert [permit.weight for permit in permits] == [80, 5, 5]


@pytest.mark.parametrize("weight", [0, -1, 101])
async def test_a_weight_that_can_never_be_sent_is_refused(
    weight: int, open_limiter: OpenLimiter
) -> None:
    """Otherwise it would wait for ever, and all others behind it."""
    async with open_limiter(limits=LIMITS) as limiter:
        with pytest.raises(InvalidRequest, match=rf"group weight weighs 1 to 100, was {weight}"):
            await limiter.acquire("weight", weight=weight)


async def test_groups_with_a_pool_share_it_in_the_order_in_which_they_asked(
    open_limiter: OpenLimiter,
) -> None:
    """Each may have ten, together six."""
    async with open_limiter(limits=LIMITS) as limiter, trio.open_nursery() as nursery:
        granted: list[tuple[str, float]] = []

        async def wait(group: str) -> None:
            at_s = await take(limiter, group)
            granted.append((group, at_s))

        for group in ("reads", "reads", "reads", "writes", "writes", "reads", "writes", "reads"):
            nursery.start_soon(wait, group)
            await trio.sleep(0.001)

    assert [group for group, _ in granted[-2:]] == ["writes", "reads"]
    assert [at_s < 2.1 for _, at_s in granted] == [True] * 6 + [False] * 2


async def test_a_429_pauses_the_pools_as_well(open_limiter: OpenLimiter) -> None:
    """The server does not say which of the limits it was."""
    async with open_limiter(limits=LIMITS) as limiter:
        limiter.answer(await limiter.acquire("reads"), 429, asked_s=30.0)

        assert await take(limiter, "writes") == pytest.approx(32.0, abs=0.01)


# ------------------------------------------------------------------ accounts and connections


async def test_accounts_are_counted_apart_and_weigh_on_the_same_pool(
    open_limiter: OpenLimiter,
) -> None:
    """Three orders each, but all of them five requests."""
    async with open_limiter(limits=LIMITS) as limiter:
        for _ in range(3):
            assert await take(limiter, "orders", holder="main") == 2.0
        for _ in range(2):
            assert await take(limiter, "orders", holder="second") == 2.0
        assert await take(limiter, "orders", holder="second") == pytest.approx(3.0, abs=0.01)
        assert (await limiter.report("orders", "main")).granted == 3


async def test_a_connection_begins_with_nothing_spent_and_is_forgotten_when_it_is_idle(
    open_limiter: OpenLimiter,
) -> None:
    """It has no past, and no future."""
    async with open_limiter(limits=LIMITS, past_s=0.0) as limiter:
        assert await take(limiter, "texts", holder="7") == 0.0
        assert (await limiter.report("texts", "7")).granted == 1
        await trio.sleep(2)
        with pytest.raises(KeyError, match="texts"):
            await limiter.report("texts", "7")
        assert await take(limiter, "texts", holder="7") == 2.0


@pytest.mark.parametrize(
    ("group", "holder", "message"),
    [
        ("orders", "", "counted by account, so it wants the name of the account, was ''"),
        ("ten", "main", "counted by address, so it wants no holder, was 'main'"),
    ],
)
async def test_a_holder_is_named_where_one_is_counted_and_nowhere_else(
    group: str, holder: str, message: str, open_limiter: OpenLimiter
) -> None:
    """A typing error must not open a budget of its own."""
    async with open_limiter(limits=LIMITS) as limiter:
        with pytest.raises(InvalidRequest, match=message):
            await limiter.acquire(group, holder=holder)


async def test_holders_are_bounded_and_idle_ones_make_room(open_limiter: OpenLimiter) -> None:
    """A bot with a new account name each time must not fill the memory."""
    async with open_limiter(limits=LIMITS) as limiter:
        for number in range(HOLDERS_MAX):
            await limiter.acquire("texts", holder=str(number))
        with pytest.raises(Overloaded, match=f"{HOLDERS_MAX} accounts and connections already"):
            await limiter.acquire("texts", holder="one more")
        await trio.sleep(40)

        await limiter.acquire("texts", holder="one more")


# ------------------------------------------------------------------ shares


async def test_each_priority_gets_its_share_at_saturation(open_limiter: OpenLimiter) -> None:
    """Seven in ten are for those who wait now, two for repairs, one for what is declared."""
    async with open_limiter(limits=LIMITS) as limiter, trio.open_nursery() as nursery:

        async def ask_on(priority: Priority) -> None:
            while True:
                permit = await limiter.acquire("ten", timeout_s=1_000, priority=priority)
                await trio.sleep(0.01)
                limiter.answer(permit)

        for priority in Priority:
            for _ in range(20):
                nursery.start_soon(ask_on, priority)
        await trio.sleep(100)
        classes = (await limiter.report("ten")).classes
        nursery.cancel_scope.cancel()

    granted = {each.priority: each.granted for each in classes}
    total = sum(granted.values())
    assert total > 970
    assert granted["asked"] == pytest.approx(0.7 * total, abs=5)
    assert granted["repair"] == pytest.approx(0.2 * total, abs=5)
    assert granted["declared"] == pytest.approx(0.1 * total, abs=5)
    assert granted["predicted"] <= 10, "those of the first moment, when nobody else had come yet"


# ------------------------------------------------------------------ deadlines


async def test_who_cannot_be_served_in_time_is_told_at_once_and_when_he_could_be(
    limiter: OpenedLimiter, nursery: trio.Nursery
) -> None:
    """Waiting for what cannot come is the worst answer."""
    for _ in range(3):
        limiter.answer(await limiter.acquire())
    for _ in range(6):
        nursery.start_soon(limiter.acquire)
    await trio.sleep(0.1)

    with pytest.raises(
        RateLimited, match=r"group candle is free for 2\.9 s at least, behind 6 others, and only 2"
    ) as caught:
        await limiter.acquire(timeout_s=2.0)
    assert trio.current_time() == pytest.approx(2.1)
    assert caught.value.retry_after_s == pytest.approx(3 * HOLD_S - 0.1, abs=0.01)
    assert (await limiter.report()).refused == 1


async def test_a_more_urgent_caller_need_not_wait_for_those_who_are_not(
    limiter: OpenedLimiter, nursery: trio.Nursery
) -> None:
    """So neither is he told that there is no time."""
    for _ in range(3):
        limiter.answer(await limiter.acquire())
    for _ in range(30):
        nursery.start_soon(lambda: limiter.acquire(priority=Priority.PREDICTED))
    await trio.sleep(0.1)

    await limiter.acquire(timeout_s=1.5)

    assert trio.current_time() == pytest.approx(2 + HOLD_S, abs=0.002)
    nursery.cancel_scope.cancel()


async def test_who_loses_his_hope_while_he_waits_is_told_then(
    limiter: OpenedLimiter, nursery: trio.Nursery
) -> None:
    """Slow answers cost others their turn; they need not wait for the deadline to know."""
    held = [await limiter.acquire() for _ in range(3)]
    told: list[float] = []

    async def wait() -> None:
        with pytest.raises(RateLimited, match="no slot of group candle"):
            await limiter.acquire(timeout_s=5.0)
        told.append(trio.current_time())

    nursery.start_soon(wait)
    await trio.sleep(20)

    assert told == [pytest.approx(2 + 5 - HOLD_S, abs=0.6)]
    for permit in held:
        limiter.answer(permit)


async def test_those_who_leave_make_room_in_the_forecast_at_once(
    limiter: OpenedLimiter, nursery: trio.Nursery
) -> None:
    """Nobody is sent away because of others who are no longer there."""
    for _ in range(3):
        limiter.answer(await limiter.acquire())
    scope = trio.CancelScope()
    nursery.start_soon(_wait_within, limiter, scope)
    await trio.sleep(0.1)
    scope.cancel()
    await trio.sleep(0.1)

    await limiter.acquire(timeout_s=1.0)


async def _wait_within(limiter: OpenedLimiter, scope: trio.CancelScope) -> None:
    """Have thirty callers wait until `scope` is cancelled."""
    with scope:
        async with trio.open_nursery() as waiting:
            for _ in range(30):
                waiting.start_soon(limiter.acquire)


# ------------------------------------------------------------------ what the server says


async def test_the_servers_figure_counts_in_the_window_it_is_about(
    open_limiter: OpenLimiter,
) -> None:
    """Binance names the interval in the header."""
    async with open_limiter(limits=LIMITS, past_s=100.0) as limiter:
        limiter.answer(await limiter.acquire("slow"), remaining=1, period_s=10.0)
        report = await limiter.report("slow")

        assert [each.used for each in report.windows] == [1, 2, 1]
        assert (report.server_remaining, report.server_heard_s) == (1, 0.0)
        limiter.answer(await limiter.acquire("slow"), remaining=0, period_s=77.0)
        assert [each.used for each in (await limiter.report("slow")).windows] == [2, 3, 2]


async def test_a_figure_about_a_pool_counts_in_the_pool(open_limiter: OpenLimiter) -> None:
    """The response to an order says how much weight of the address is left."""
    limits = {
        "order": GroupRules((RateLimit(10, 5.0),), pools=("weight",)),
        "weight": GroupRules((RateLimit(100, 60.0),)),
    }
    async with open_limiter(limits=limits, past_s=100.0) as limiter:
        limiter.answer(await limiter.acquire("order"), remaining=40, period_s=60.0)

        assert (await limiter.report("weight")).windows[0].used == 60
        assert (await limiter.report("order")).windows[0].used == 1


# ------------------------------------------------------------------ construction


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"a": GroupRules((TEN,), pools=("b",))}, "group a wants a pool 'b', there is none"),
        (
            {
                "a": GroupRules((TEN,), pools=("b",)),
                "b": GroupRules((TEN,), pools=("c",)),
                "c": GroupRules((TEN,)),
            },
            "the pool b, which has pools itself",
        ),
        (
            {
                "a": GroupRules((TEN,), pools=("b",)),
                "b": GroupRules((TEN,), scope="account"),
            },
            "group a is counted by address and its pool b by account",
        ),
        ({"*": GroupRules((TEN,))}, "called '\\*'"),
    ],
)
def test_limits_that_cannot_be_kept_are_refused(
    limits: dict[str, GroupRules], message: str
) -> None:
    """Before the tree is built, not when the first request comes."""
    with pytest.raises(ValueError, match=message):
        check_limits(limits)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GroupRules(()), "at least one window"),
        (lambda: RateLimit(0), "requests must be at least 1, was 0"),
        (lambda: RateLimit(1, 0.0), "period_s must be positive, was 0"),
    ],
)
def test_a_limit_that_lets_nothing_through_is_refused(
    make: Callable[[], object], message: str
) -> None:
    """It would be waited for, for ever."""
    with pytest.raises(ValueError, match=message):
        make()


# ------------------------------------------------------------------ many


@pytest.mark.slow
async def test_ten_thousand_waiters_are_served_in_order(open_limiter: OpenLimiter) -> None:
    """About a second of work: each of them is a task."""
    limits = {"many": GroupRules((RateLimit(1_000),))}
    async with open_limiter(limits=limits, waiting_max=10_000) as limiter:
        waves: list[tuple[int, int]] = []

        async def wait(wave: int) -> None:
            permit = await limiter.acquire("many", timeout_s=1_000)
            waves.append((permit.id, wave))
            limiter.answer(permit)

        async with trio.open_nursery() as nursery:
            for wave in range(10):
                for _ in range(1_000):
                    nursery.start_soon(wait, wave)
                # The mailbox takes some thousands at once.
                await trio.testing.wait_all_tasks_blocked()

    assert [wave for _, wave in sorted(waves)] == sorted(list(range(10)) * 1_000)
    assert trio.current_time() < 2 + 10 * HOLD_S
