"""`RateLimiterActor`: who gets a permit, when, and what happens when he cannot have one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import trio

from actors.errors import Overloaded, RateLimited, UnknownGroup
from actors.exchanges.base import GroupRules, RateLimit
from actors.limit_tables import LimitTables
from actors.messages import GetTicker, Priority
from actors.rate_limiter import RateLimiterActor
from actors.reports import ClassUse, GroupLimits, WindowUse
from runtime.core.errors import UnhandledRequest

if TYPE_CHECKING:
    # Kept by pytest, which brings it to the tests as fixtures; not importable when they run.
    from tests.actors.conftest import OpenedLimiter, OpenLimiter

LIMITS = {"candle": GroupRules((RateLimit(requests=3, period_s=1.0),))}
# A window and its margin: how long an answered request goes on holding its slot.
HOLD_S = 1.005


async def moments(limiter: OpenedLimiter, count: int) -> list[float]:
    """Return when each of `count` requests was let go; each is answered at once."""
    found = []
    for _ in range(count):
        limiter.answer(await limiter.acquire())
        found.append(round(trio.current_time(), 3))
    return found


# ------------------------------------------------------------------ slots


async def test_the_first_request_after_a_start_waits_one_window(open_limiter: OpenLimiter) -> None:
    """A predecessor may have spent the budget just before it died."""
    async with open_limiter(past_s=0.0) as limiter:
        assert await moments(limiter, 1) == pytest.approx([HOLD_S], abs=0.002)


async def test_a_burst_goes_at_once_and_the_rest_a_window_after_the_answers(
    limiter: OpenedLimiter,
) -> None:
    """The budget may be spent in one moment, but only once in any window."""
    assert await moments(limiter, 7) == pytest.approx(
        [2, 2, 2, 2 + HOLD_S, 2 + HOLD_S, 2 + HOLD_S, 2 + 2 * HOLD_S], abs=0.004
    )


async def test_groups_do_not_share_a_budget(limiter: OpenedLimiter) -> None:
    """Upbit counts each group by itself."""
    await moments(limiter, 3)

    with trio.fail_after(0.1):
        await limiter.acquire("ticker")


async def test_an_unknown_group_is_refused_by_name(limiter: OpenedLimiter) -> None:
    """The message names the group asked for and the groups there are."""
    with pytest.raises(UnknownGroup, match=r"upbit: no limit .* 'orders', there are candle, tick"):
        await limiter.acquire("orders")


async def test_a_request_it_does_not_know_is_refused(limiter: OpenedLimiter) -> None:
    """A message sent to the wrong actor is a mistake, not a crash."""
    with pytest.raises(UnhandledRequest, match="GetTicker"):
        await limiter.ref.call(GetTicker(market="KRW-BTC"))

    assert len(limiter.lives) == 1


async def test_a_permit_never_given_back_costs_its_slot_for_a_while_only(
    limiter: OpenedLimiter,
) -> None:
    """Holders can vanish; the budget must not vanish with them."""
    for _ in range(3):
        await limiter.acquire()

    await limiter.acquire()

    assert trio.current_time() == pytest.approx(2 + 30 + HOLD_S, abs=0.002)


# ------------------------------------------------------------------ order and leaving


async def test_the_more_urgent_goes_first(limiter: OpenedLimiter, nursery: trio.Nursery) -> None:
    """What somebody waits for now comes before what might be wanted later."""
    held = [await limiter.acquire() for _ in range(3)]
    order: list[Priority] = []

    async def wait(priority: Priority) -> None:
        permit = await limiter.acquire(priority=priority)
        order.append(priority)
        limiter.answer(permit)

    for priority in (Priority.PREDICTED, Priority.ASKED, Priority.REPAIR, Priority.DECLARED):
        nursery.start_soon(wait, priority)
        await trio.sleep(0.01)
    limiter.answer(held[0])
    await trio.sleep(10)

    assert order == sorted(order)


async def test_a_caller_who_has_gone_leaves_his_place_to_the_next(limiter: OpenedLimiter) -> None:
    """A permit given to nobody would cost a slot until it heals."""
    held = [await limiter.acquire() for _ in range(3)]
    with trio.move_on_after(0.1):
        await limiter.acquire()
    with pytest.raises(RateLimited, match=r"no slot of group candle is free for 1\.0 s at least"):
        await limiter.acquire(timeout_s=HOLD_S + 0.1)
    assert (await limiter.report()).queued == 0

    limiter.answer(held[0])
    answered_s = trio.current_time()
    await limiter.acquire()

    assert trio.current_time() == pytest.approx(answered_s + HOLD_S, abs=0.002)
    assert (await limiter.report()).in_flight == 3


async def test_callers_who_have_gone_are_not_remembered(limiter: OpenedLimiter) -> None:
    """A runtime is up for months; every reply that is kept would be kept for ever."""
    held = [await limiter.acquire() for _ in range(3)]
    for _ in range(20):
        with trio.move_on_after(0.01):
            await limiter.acquire()
    for permit in held:
        limiter.answer(permit)
    await limiter.acquire()

    assert limiter.lives[-1].context.unanswered == 0


async def test_waiting_is_bounded(open_limiter: OpenLimiter) -> None:
    """A queue without a bound only hides that nobody will be served."""
    async with open_limiter(waiting_max=2) as limiter:
        for _ in range(3):
            await limiter.acquire()
        async with trio.open_nursery() as waiting:
            for _ in range(2):
                waiting.start_soon(limiter.acquire)
            await trio.sleep(0.1)

            with pytest.raises(Overloaded, match=r"upbit: 2 requests already wait .* group candle"):
                await limiter.acquire()
            assert limiter.statistics.refused == 1
            waiting.cancel_scope.cancel()


# ------------------------------------------------------------------ refusals of the server


async def test_after_a_429_the_group_pauses_longer_each_time(limiter: OpenedLimiter) -> None:
    """Going on after a 429 is what earns a block."""
    pauses = []
    for _ in range(4):
        permit = await limiter.acquire()
        limiter.answer(permit, 429)
        await trio.lowlevel.checkpoint()
        pauses.append((await limiter.report()).paused_s)

    assert pauses == pytest.approx([HOLD_S, 2 * HOLD_S, 4 * HOLD_S, 8 * HOLD_S], abs=0.002)
    assert (await limiter.report("ticker")).paused_s == 0
    limiter.answer(await limiter.acquire())
    limiter.answer(await limiter.acquire(), 429)
    assert (await limiter.report()).paused_s == pytest.approx(HOLD_S, abs=0.002)


async def test_a_418_pauses_every_group_and_says_why(limiter: OpenedLimiter) -> None:
    """The block is on the address; another group's request would lengthen it."""
    limiter.answer(await limiter.acquire(), 418)

    with pytest.raises(
        RateLimited, match=r"all requests are paused for 60.0 s more.*blocked .*\(418, once\)"
    ) as caught:
        await limiter.acquire("ticker", timeout_s=59.0)
    assert caught.value.retry_after_s == pytest.approx(60.0)
    assert trio.current_time() == 2.0, "known at once, so told at once"

    await limiter.acquire("ticker", timeout_s=61.0)
    assert trio.current_time() == pytest.approx(62.0, abs=0.002)


async def test_a_block_grows_and_obeys_the_longer_time_the_server_says(
    limiter: OpenedLimiter,
) -> None:
    """The exchange lengthens it on repetition, and so do we."""
    lengths = []
    for asked_s in (0, 0, 600, 0):
        limiter.answer(await limiter.acquire(timeout_s=9999), 418, asked_s=asked_s)
        lengths.append((await limiter.report("ticker")).paused_s)

    assert lengths == pytest.approx([60, 120, 600, 480])


async def test_those_already_waiting_are_told_when_a_pause_outlasts_them(
    limiter: OpenedLimiter, nursery: trio.Nursery
) -> None:
    """Waiting for what cannot come is the worst answer."""
    held = [await limiter.acquire() for _ in range(3)]
    told: list[float] = []

    async def wait() -> None:
        with pytest.raises(RateLimited, match=r"group candle are paused for 10\.0 s more"):
            await limiter.acquire(timeout_s=5.0)
        told.append(trio.current_time())

    nursery.start_soon(wait)
    await trio.sleep(0.5)
    limiter.answer(held[0], 429, asked_s=10.0)
    await trio.sleep(0.1)

    assert told == [2.5]


async def test_a_server_that_has_less_left_is_believed(limiter: OpenedLimiter) -> None:
    """Another program at this address spends from the same budget."""
    limiter.answer(await limiter.acquire(), remaining=0)
    report = await limiter.report()

    assert (report.server_remaining, report.windows[0].used) == (0, 3)
    assert report.next_free_s == pytest.approx(HOLD_S)
    await limiter.acquire()
    assert trio.current_time() == pytest.approx(2 + HOLD_S, abs=0.002)


# ------------------------------------------------------------------ reports


async def test_the_report_says_when_the_next_request_could_go(limiter: OpenedLimiter) -> None:
    """`ready in 2 s` is a number people and programs plan by."""
    permits = [await limiter.acquire() for _ in range(3)]
    for permit in permits[:2]:
        limiter.answer(permit)
    async with trio.open_nursery() as waiting:
        for _ in range(3):
            waiting.start_soon(limiter.acquire)
        await trio.sleep(0.1)
        report = await limiter.report()
        waiting.cancel_scope.cancel()

    asked = report.classes[0]
    assert asked == ClassUse(
        priority="asked", share=0.7, queued=3, next_free_s=asked.next_free_s, granted=3
    )
    assert report == GroupLimits(
        exchange="upbit",
        group="candle",
        windows=(WindowUse(requests=3, period_s=1.0, used=3),),
        classes=(asked, *report.classes[1:]),
        in_flight=1,
        queued=3,
        next_free_s=min(each.next_free_s for each in report.classes),
        paused_s=0.0,
        server_remaining=None,
        server_heard_s=None,
        granted=3,
        rejected=0,
        refused=0,
        explanation=report.explanation,
    )
    assert report.explanation
    # Three go at about 3 s; one more after an answer and another window.
    assert asked.next_free_s == pytest.approx(2 * HOLD_S - 0.1, abs=0.01)


async def test_statistics_count_what_was_done(limiter: OpenedLimiter) -> None:
    """Whoever holds state can be asked about it."""
    await moments(limiter, 4)
    limiter.answer(await limiter.acquire(), 429)
    await trio.sleep(0.1)
    statistics = limiter.statistics

    assert (statistics.granted, statistics.rejected, statistics.queued) == (5, 1, 0)
    assert statistics.wait_s_max == pytest.approx(HOLD_S, abs=0.002)


# ------------------------------------------------------------------ construction


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RateLimiterActor("u", LIMITS, tables=LimitTables("t"), waiting_max=0), "was 0"),
        (
            lambda: RateLimiterActor(
                "u", {"*": GroupRules((RateLimit(1),))}, tables=LimitTables("t")
            ),
            "called '\\*'",
        ),
    ],
)
def test_what_cannot_work_is_refused_at_once(
    make: Callable[[], RateLimiterActor], message: str
) -> None:
    """Before the tree is built, not when the first request comes."""
    with pytest.raises(ValueError, match=message):
        make()
