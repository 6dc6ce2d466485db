"""`PreloaderActor`: what is declared and learnt outlives it, and the process."""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext

import msgspec
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.cache_tables import CacheTables
from actors.errors import InvalidRequest, Overloaded, UnknownNeed
from actors.exchanges.clock import ExchangeClock
from actors.keeper import MemoryKeeper
from actors.messages import Priority
from actors.preload_messages import (
    AwaitNeed,
    DeclareNeed,
    ExplainPreload,
    GetNeeds,
    GetPreload,
    ReleaseNeed,
)
from actors.preloader import PreloaderActor, PreloadWorld
from actors.preloading.need_desk import WAITING_MAX
from actors.preloading.needs import NEEDS_MAX, NeedBook
from actors.preloading.policy import PreloadPolicy
from runtime.core.child import ChildSpec
from runtime.core.errors import CallTimeout
from runtime.core.registry import Registry
from runtime.core.supervisor import Supervisor
from runtime.core.tree import open_tree
from runtime.testing import NEW_YEAR_MS
from runtime.testing_preloader import (
    FakeCache,
    FakeLimiter,
    JumpingClock,
    PreloaderStage,
    SlowKeeper,
)

NEED = DeclareNeed(market="KRW-BTC", timeframe="1m", indicators=("SMA(20)",), strategy="mine")


@asynccontextmanager
async def opened(
    *,
    needs: MemoryKeeper | None = None,
    habits: MemoryKeeper | None = None,
    configured: Sequence[DeclareNeed] = (),
    policy: PreloadPolicy = PreloadPolicy(),  # noqa: B008 - frozen
    needs_max: int = NEEDS_MAX,
    start_ms: int = NEW_YEAR_MS,
) -> AsyncIterator[PreloaderStage]:
    """Run the actor between a cache and a limiter of nothing, as a process of its own would."""
    clock, registry = JumpingClock(start_utc_ms=start_ms), Registry()
    stage = PreloaderStage(registry.ref("preloader"), clock)
    book = NeedBook(needs_max)
    around = PreloadWorld(
        exchange="upbit",
        cache=registry.ref("cache"),
        limiter=registry.ref("limiter"),
        tables=CacheTables("upbit"),
        exchange_clock=ExchangeClock(clock),
        uses=stage.uses,
        hold=lambda _: nullcontext(),
        heard_s=lambda _: None,
        spare=lambda: 1.0,
    )

    def make() -> PreloaderActor:
        return PreloaderActor(
            around,
            policy,
            book=book,
            configured=configured,
            need_keeper=needs,
            habit_keeper=habits,
        )

    children = [
        ChildSpec("cache", lambda: FakeCache(stage)),
        ChildSpec("limiter", lambda: FakeLimiter(stage)),
        ChildSpec("preloader", make),
    ]
    rng = random.Random(1)
    async with open_tree(Supervisor(children), clock=clock, rng=rng, registry=registry):
        yield stage


async def names_of(stage: PreloaderStage) -> list[str]:
    """Return whose needs there are."""
    return sorted(need.strategy for need in await stage.ref.call(GetNeeds()))


async def test_what_is_declared_is_asked_of_the_cache_with_the_priority_of_needs() -> None:
    """It has no way to the exchange of its own."""
    async with opened() as stage:
        stage.cache_answers = False
        report = await stage.ref.call(NEED)
        await wait_all_tasks_blocked()

    (load,) = stage.loads
    assert load.priority is Priority.DECLARED
    assert (load.candles.count, load.candles.closed) == (200, True)
    # A page of 200 has a candle in progress, so there are two.
    assert report.ready_in_s == pytest.approx(0.2)


async def test_the_cache_is_told_to_keep_what_is_needed() -> None:
    """Before anything of it is fetched: else memory would keep 200 of it."""
    async with opened() as stage:
        await stage.ref.call(DeclareNeed(market="KRW-BTC", timeframe="1m", history=3_000))
        await wait_all_tasks_blocked()

    assert stage.sizes[-1].rows["KRW-BTC", "1m"] >= 3_000


async def test_the_cache_is_told_to_keep_what_is_asked_for() -> None:
    """Within a second of the first question that goes deeper than memory."""
    async with opened() as stage:
        key = ("KRW-ETH", "5m")
        stage.uses.note(key, 0.0, 1_500, closed=False, max_age_s=1.0, hit=False)
        await trio.sleep(1.5)

    assert stage.sizes[-1].rows[key] >= 1_500


async def test_needs_outlive_the_process() -> None:
    """A bot that was started long ago does not declare them again."""
    keeper = MemoryKeeper()
    async with opened(needs=keeper) as stage:
        await stage.ref.call(NEED)
    async with opened(needs=keeper) as stage:
        await wait_all_tasks_blocked()
        assert await names_of(stage) == ["mine"]
        assert len(stage.loads) == 1
        await stage.ref.call(ReleaseNeed(strategy="mine"))
    async with opened(needs=keeper) as stage:
        assert await names_of(stage) == []


@pytest.mark.parametrize(
    "data",
    [b"", b"nonsense", b"[1]", b'[{"asked": 3}]', b"\xff" * 100],
    ids=["empty", "nonsense", "numbers", "wrong types", "bytes"],
)
async def test_needs_that_cannot_be_read_are_told_and_begun_anew(
    data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing of it is guessed."""
    keeper = MemoryKeeper(data)
    with caplog.at_level(logging.WARNING):
        async with opened(needs=keeper) as stage:
            assert await names_of(stage) == []
            await stage.ref.call(NEED)

    assert "declared needs are lost" in caplog.text
    assert b"SMA(20)" in (keeper.data or b"")


async def test_a_kept_need_that_means_nothing_any_more_is_dropped_by_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The others are taken up."""
    keeper = MemoryKeeper()
    async with opened(needs=keeper) as stage:
        await stage.ref.call(NEED)
    assert keeper.data is not None
    both = keeper.data[:-1] + b"," + keeper.data[1:].replace(b"SMA(20)", b"GONE(20)")
    with caplog.at_level(logging.WARNING):
        async with opened(needs=MemoryKeeper(both)) as stage:
            assert await names_of(stage) == ["mine"]

    assert "a declared need is dropped" in caplog.text


async def test_when_a_need_was_used_outlives_the_process() -> None:
    """Else what a bot uses all the time would end soon after a restart."""
    keeper, policy = MemoryKeeper(), PreloadPolicy(keep_need_s=600)
    async with opened(needs=keeper, policy=policy) as stage:
        await stage.ref.call(NEED)
        await trio.sleep(500)
        used_s = trio.current_time()
        stage.uses.note(("KRW-BTC", "1m"), used_s, 60, closed=False, max_age_s=1.0, hit=True)
        await trio.sleep(1)
        (before,) = await stage.ref.call(GetNeeds())
        stopped_ms = stage.clock.utc_ms()
    async with opened(needs=keeper, policy=policy, start_ms=stopped_ms) as stage:
        (after,) = await stage.ref.call(GetNeeds())

    assert before.used_ms == after.used_ms == before.declared_ms + 500_000
    assert after.ends_ms == before.ends_ms == before.declared_ms + 1_100_000


async def test_a_wall_clock_that_is_set_forward_ends_no_need() -> None:
    """How long a need was not used is what has passed, in one process."""
    async with opened(policy=PreloadPolicy(keep_need_s=600)) as stage:
        await stage.ref.call(NEED)
        stage.clock.ahead_ms = 30 * 86_400_000
        await trio.sleep(300)
        (need,) = await stage.ref.call(GetNeeds())
        left_ms = (need.ends_ms or 0) - stage.clock.utc_ms()
        await trio.sleep(400)
        ended = await stage.ref.call(GetNeeds())

    assert left_ms == 300_000
    assert ended == ()


async def test_a_need_that_was_not_used_while_the_runtime_was_off_ends() -> None:
    """From one process to the next there is only wall time."""
    keeper, policy = MemoryKeeper(), PreloadPolicy(keep_need_s=600)
    async with opened(needs=keeper, policy=policy) as stage:
        await stage.ref.call(NEED)
    later_ms = NEW_YEAR_MS + 590_000
    async with opened(needs=keeper, policy=policy, start_ms=later_ms) as stage:
        assert await names_of(stage) == ["mine"]
        await trio.sleep(120)
        assert await names_of(stage) == []


async def test_a_need_is_written_down_before_anybody_is_told_so() -> None:
    """Whoever was told does not declare it again if the process is killed in the next moment."""
    keeper = SlowKeeper(1.0)
    async with opened(needs=keeper) as stage:
        await stage.ref.call(NEED)
        declared = keeper.data
        await stage.ref.call(ReleaseNeed(strategy="mine"))
        released = keeper.data

    assert b"SMA(20)" in (declared or b"")
    assert released == b"[]"


async def test_needs_of_the_settings_go_before_what_was_declared_earlier(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whoever changes the file finds what he wrote, and in the log what gave way."""
    keeper = MemoryKeeper()
    async with opened(needs=keeper) as stage:
        await stage.ref.call(NEED)
    written = msgspec.structs.replace(NEED, indicators=("HIGH(300)",))
    with caplog.at_level(logging.WARNING):
        async with opened(needs=keeper, configured=[written]) as stage:
            (need,) = await stage.ref.call(GetNeeds())

    assert (need.indicators, need.ends_ms) == (("HIGH(300)",), None)
    assert "strategy 'mine' is declared in the settings to need KRW-BTC 1m" in caplog.text


async def test_needs_beyond_the_bound_are_dropped_at_the_start_and_those_of_settings_are_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A runtime that does not start helps nobody."""
    keeper = MemoryKeeper()
    async with opened(needs=keeper) as stage:
        await stage.ref.call(NEED)
        await stage.ref.call(msgspec.structs.replace(NEED, strategy="other"))
    configured = [msgspec.structs.replace(NEED, strategy="configured")]
    with caplog.at_level(logging.WARNING):
        async with opened(needs=keeper, configured=configured, needs_max=2) as stage:
            assert await names_of(stage) == ["configured", "mine"]

    assert "a declared need is dropped: 2 needs are declared already" in caplog.text


async def test_a_need_of_the_configuration_is_there_from_the_start_and_does_not_end() -> None:
    """Though nobody uses it, and not even if a bot declares the same."""
    async with opened(configured=[NEED], policy=PreloadPolicy(keep_need_s=60)) as stage:
        await stage.ref.call(NEED)
        await trio.sleep(3_600)
        (need,) = await stage.ref.call(GetNeeds())

        with pytest.raises(InvalidRequest, match="declared in the settings"):
            await stage.ref.call(ReleaseNeed(strategy="mine"))

    assert (need.strategy, need.ends_ms) == ("mine", None)


async def test_who_declares_what_is_released_meanwhile_is_told_and_nothing_crashes() -> None:
    """The need may end while the limiter is asked when it will be ready."""
    async with opened() as stage:
        stage.cache_answers, stage.forecast = False, trio.Event()
        told: list[str] = []

        async def declare() -> None:
            with pytest.raises(UnknownNeed, match="'mine' has declared no need of KRW-BTC 1m"):
                await stage.ref.call(NEED)
            told.append("declared")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(declare)
            await stage.asked.wait()
            await stage.ref.call(ReleaseNeed(strategy="mine"))
            stage.forecast.set()

        assert told == ["declared"]
        assert await names_of(stage) == []
        assert (await stage.ref.call(NEED)).strategy == "mine"


async def test_who_has_gone_waits_no_longer() -> None:
    """Bots that give up and ask again must not fill the place for all others."""
    async with opened() as stage:
        stage.cache_answers = False
        await stage.ref.call(NEED)
        ask = AwaitNeed(market="KRW-BTC", timeframe="1m", strategy="mine")

        async def give_up() -> None:
            with trio.move_on_after(1):
                await stage.ref.call(ask, timeout_s=60)

        for _ in range(2):
            async with trio.open_nursery() as nursery:
                for _ in range(WAITING_MAX // 2 + 1):
                    nursery.start_soon(give_up)
        with pytest.raises(CallTimeout, match="AwaitNeed"):
            await stage.ref.call(ask, timeout_s=1)
        async with trio.open_nursery() as nursery:
            for _ in range(WAITING_MAX):
                nursery.start_soon(give_up)
            await wait_all_tasks_blocked()
            with pytest.raises(Overloaded, match="1000 requests wait for needs already"):
                await stage.ref.call(ask, timeout_s=1)


async def test_a_limiter_that_does_not_answer_keeps_nobody_from_declaring() -> None:
    """What is not known is not told."""
    async with opened() as stage:
        stage.cache_answers, stage.forecast = False, trio.Event()
        assert (await stage.ref.call(NEED)).ready_in_s is None


async def test_where_habits_are_not_learnt_that_is_said_with_the_setting() -> None:
    """Else it looks as if nothing could be learnt."""
    async with opened(policy=PreloadPolicy(learn=False)) as stage:
        (report,) = await stage.ref.call(GetPreload())
        told = await stage.ref.call(ExplainPreload())

    assert not report.learning
    assert told.sentences[-1].endswith("preload.learn is false.")
    assert not [text for text in told.sentences if "put to the test" in text]


async def test_what_nobody_declared_cannot_be_released() -> None:
    """The error names the strategies there are."""
    async with opened() as stage:
        await stage.ref.call(NEED)
        with pytest.raises(UnknownNeed, match=r"'mien' has declared no need; .*: mine"):
            await stage.ref.call(ReleaseNeed(strategy="mien"))


def test_there_may_be_so_many_needs_and_one_more_is_refused() -> None:
    """Declaring one of them anew is no more."""
    from actors.preloading.needs import declared  # noqa: PLC0415 - only here

    book = NeedBook()
    needs = [
        declared(DeclareNeed(market=f"KRW-{number}", timeframe="1m", strategy="mine"), now_ms=0)
        for number in range(NEEDS_MAX + 1)
    ]
    for need in needs[:-1]:
        book.put(need)
    book.put(needs[0])
    with pytest.raises(Overloaded, match=f"{NEEDS_MAX} needs are declared already"):
        book.put(needs[-1])


async def test_habits_outlive_the_process() -> None:
    """What was learnt in one is expected in the next."""
    keeper = MemoryKeeper()
    async with opened(habits=keeper) as stage:
        for number in range(20):
            now_s = trio.current_time()
            stage.uses.note(
                ("KRW-BTC", "1m"), now_s, 60, closed=False, max_age_s=1.0, hit=bool(number)
            )
            await trio.sleep(60.3)
        (before,) = await stage.ref.call(GetPreload())
    async with opened(habits=keeper) as stage:
        (after,) = await stage.ref.call(GetPreload())

    assert before.acted >= 1
    assert after.series == before.series == 1
    assert keeper.saves >= 4
