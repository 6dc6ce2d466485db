"""`PreloaderActor`: what is declared and learnt outlives it, and the process."""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.cache_tables import CacheTables
from actors.candles import Candles
from actors.errors import InvalidRequest, Overloaded, UnknownNeed
from actors.exchanges.clock import ExchangeClock
from actors.keeper import MemoryKeeper
from actors.messages import Priority
from actors.preload_messages import (
    DeclareNeed,
    ForecastSlots,
    GetNeeds,
    GetPreload,
    LoadCandles,
    ReleaseNeed,
    SizeSeries,
    SlotForecast,
)
from actors.preloader import PreloaderActor, PreloadWorld
from actors.preloading.needs import NEEDS_MAX, NeedBook
from actors.preloading.policy import PreloadPolicy
from actors.preloading.uses import Uses
from actors.series import Series
from runtime.core.actor import Actor
from runtime.core.child import ChildSpec
from runtime.core.clock import TrioClock
from runtime.core.message import Event, Request
from runtime.core.ref import ActorRef
from runtime.core.registry import Registry
from runtime.core.supervisor import Supervisor
from runtime.core.tree import open_tree
from runtime.testing import NEW_YEAR_MS

NEED = DeclareNeed(market="KRW-BTC", timeframe="1m", indicators=("SMA(20)",), strategy="mine")


@dataclass
class World:
    """Everything around the actor, and what it was told.

    Attributes:
      ref: The actor.
      loads: What the cache was asked for.
      sizes: What the cache was told of sizes.
      uses: Where bots' questions are noted.
    """

    ref: ActorRef
    loads: list[LoadCandles] = field(default_factory=list)
    sizes: list[SizeSeries] = field(default_factory=list)
    uses: Uses = field(default_factory=Uses)


class FakeCache(Actor):
    """A cache that has everything at once: a market nobody trades in."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def handle_call(self, request: Request[Any]) -> object:
        """Take note, and answer."""
        assert isinstance(request, LoadCandles)
        self._world.loads.append(request)
        asked = request.candles
        return Candles.empty(Series.parse(asked.market, asked.timeframe))

    async def handle_cast(self, event: Event) -> None:
        """Take note."""
        assert isinstance(event, SizeSeries)
        self._world.sizes.append(event)


class FakeLimiter(Actor):
    """A limiter with a schedule of its own."""

    async def handle_call(self, request: Request[Any]) -> object:
        """Answer with a tenth of a second for each request."""
        assert isinstance(request, ForecastSlots)
        answered_s = tuple(each / 10 for each in request.requests)
        return SlotForecast(answered_s=answered_s, journey_s=0.05)


@asynccontextmanager
async def opened(
    *,
    needs: MemoryKeeper | None = None,
    habits: MemoryKeeper | None = None,
    configured: Sequence[DeclareNeed] = (),
    policy: PreloadPolicy = PreloadPolicy(),  # noqa: B008 - frozen
    needs_max: int = NEEDS_MAX,
) -> AsyncIterator[World]:
    """Run the actor between a cache and a limiter of nothing, as a process of its own would."""
    clock, registry = TrioClock(start_utc_ms=NEW_YEAR_MS), Registry()
    world = World(registry.ref("preloader"))
    book = NeedBook(needs_max)
    around = PreloadWorld(
        exchange="upbit",
        cache=registry.ref("cache"),
        limiter=registry.ref("limiter"),
        tables=CacheTables("upbit"),
        exchange_clock=ExchangeClock(clock),
        uses=world.uses,
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
        ChildSpec("cache", lambda: FakeCache(world)),
        ChildSpec("limiter", FakeLimiter),
        ChildSpec("preloader", make),
    ]
    rng = random.Random(1)
    async with open_tree(Supervisor(children), clock=clock, rng=rng, registry=registry):
        yield world


async def names_of(world: World) -> list[str]:
    """Return whose needs there are."""
    return sorted(need.strategy for need in await world.ref.call(GetNeeds()))


async def test_what_is_declared_is_asked_of_the_cache_with_the_priority_of_needs() -> None:
    """It has no way to the exchange of its own."""
    async with opened() as world:
        report = await world.ref.call(NEED)
        await wait_all_tasks_blocked()

    (load,) = world.loads
    assert load.priority is Priority.DECLARED
    assert (load.candles.count, load.candles.closed) == (200, True)
    # A page of 200 has a candle in progress, so there are two.
    assert report.ready_in_s == pytest.approx(0.2)


async def test_the_cache_is_told_to_keep_what_is_needed() -> None:
    """Before anything of it is fetched: else memory would keep 200 of it."""
    async with opened() as world:
        await world.ref.call(DeclareNeed(market="KRW-BTC", timeframe="1m", history=3_000))
        await wait_all_tasks_blocked()

    assert world.sizes[-1].rows["KRW-BTC", "1m"] >= 3_000


async def test_the_cache_is_told_to_keep_what_is_asked_for() -> None:
    """Within a second of the first question that goes deeper than memory."""
    async with opened() as world:
        key = ("KRW-ETH", "5m")
        world.uses.note(key, 0.0, 1_500, closed=False, max_age_s=1.0, hit=False)
        await trio.sleep(1.5)

    assert world.sizes[-1].rows[key] >= 1_500


async def test_needs_outlive_the_process() -> None:
    """A bot that was started long ago does not declare them again."""
    keeper = MemoryKeeper()
    async with opened(needs=keeper) as world:
        await world.ref.call(NEED)
    async with opened(needs=keeper) as world:
        await wait_all_tasks_blocked()
        assert await names_of(world) == ["mine"]
        assert len(world.loads) == 1
        await world.ref.call(ReleaseNeed(strategy="mine"))
    async with opened(needs=keeper) as world:
        assert await names_of(world) == []


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
        async with opened(needs=keeper) as world:
            assert await names_of(world) == []
            await world.ref.call(NEED)

    assert "declared needs are lost" in caplog.text
    assert b"SMA(20)" in (keeper.data or b"")


async def test_a_kept_need_that_means_nothing_any_more_is_dropped_by_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The others are taken up."""
    keeper = MemoryKeeper()
    async with opened(needs=keeper) as world:
        await world.ref.call(NEED)
    assert keeper.data is not None
    both = keeper.data[:-1] + b"," + keeper.data[1:].replace(b"SMA(20)", b"GONE(20)")
    with caplog.at_level(logging.WARNING):
        async with opened(needs=MemoryKeeper(both)) as world:
            assert await names_of(world) == ["mine"]

    assert "a declared need is dropped" in caplog.text


async def test_when_a_need_was_used_outlives_the_process() -> None:
    """Else what a bot uses all the time would end soon after a restart."""
    keeper, policy = MemoryKeeper(), PreloadPolicy(keep_need_s=600)
    async with opened(needs=keeper, policy=policy) as world:
        await world.ref.call(NEED)
        await trio.sleep(500)
        used_s = trio.current_time()
        world.uses.note(("KRW-BTC", "1m"), used_s, 60, closed=False, max_age_s=1.0, hit=True)
        await trio.sleep(1)
        (before,) = await world.ref.call(GetNeeds())
    async with opened(needs=keeper, policy=policy) as world:
        (after,) = await world.ref.call(GetNeeds())

    assert before.used_ms == after.used_ms == before.declared_ms + 500_000
    assert after.ends_ms == before.ends_ms == before.declared_ms + 1_100_000


async def test_needs_beyond_the_bound_are_dropped_at_the_start_and_those_of_settings_are_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A runtime that does not start helps nobody."""
    keeper = MemoryKeeper()
    async with opened(needs=keeper) as world:
        await world.ref.call(NEED)
        await world.ref.call(msgspec.structs.replace(NEED, strategy="other"))
    configured = [msgspec.structs.replace(NEED, strategy="configured")]
    with caplog.at_level(logging.WARNING):
        async with opened(needs=keeper, configured=configured, needs_max=2) as world:
            assert await names_of(world) == ["configured", "mine"]

    assert "a declared need is dropped: 2 needs are declared already" in caplog.text


async def test_a_need_of_the_configuration_is_there_from_the_start_and_does_not_end() -> None:
    """Though nobody uses it, and not even if a bot declares the same."""
    async with opened(configured=[NEED], policy=PreloadPolicy(keep_need_s=60)) as world:
        await world.ref.call(NEED)
        await trio.sleep(3_600)
        (need,) = await world.ref.call(GetNeeds())

        with pytest.raises(InvalidRequest, match="declared in the settings"):
            await world.ref.call(ReleaseNeed(strategy="mine"))

    assert (need.strategy, need.ends_ms) == ("mine", None)


async def test_what_nobody_declared_cannot_be_released() -> None:
    """The error names the strategies there are."""
    async with opened() as world:
        await world.ref.call(NEED)
        with pytest.raises(UnknownNeed, match=r"'mien' has declared no need; .*: mine"):
            await world.ref.call(ReleaseNeed(strategy="mien"))


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
    async with opened(habits=keeper) as world:
        for number in range(20):
            now_s = trio.current_time()
            world.uses.note(
                ("KRW-BTC", "1m"), now_s, 60, closed=False, max_age_s=1.0, hit=bool(number)
            )
            await trio.sleep(60.3)
        (before,) = await world.ref.call(GetPreload())
    async with opened(habits=keeper) as world:
        (after,) = await world.ref.call(GetPreload())

    assert before.acted >= 1
    assert after.series == before.series == 1
    assert keeper.saves >= 4
