"""The tree of a runtime: who is in it, in which order, and that it leaves nothing behind."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from actors.errors import InvalidRequest, StoreUnavailable
from actors.exchanges.base import ExchangeCall
from actors.exchanges.sender import RawResponse, Sender
from actors.sandbox.market import SandboxMarket
from actors.stores.base import CandleStore
from actors.stores.memory import MemoryStore
from actors.stores.testing import Disk
from runtime.application import Application, open_application
from runtime.config import (
    CacheSettings,
    ExchangesSettings,
    RuntimeSettings,
    Settings,
    StoreSettings,
    UpbitSettings,
)
from runtime.core.clock import TrioClock
from runtime.core.errors import StartFailed
from runtime.proofs import Proofs
from runtime.testing_rehearsal import generated, rehearse
from runtime.wiring import wire


@pytest.fixture(scope="module")
def markets() -> tuple[SandboxMarket, ...]:
    """Generated markets with two days of history."""
    return generated(history_days=2)


def settings(folder: Path, *, enabled: bool = True) -> Settings:
    """Return settings for a runtime that keeps everything in memory."""
    return Settings(
        runtime=RuntimeSettings(state_dir=str(folder)),
        store=StoreSettings(kind="memory"),
        exchanges=ExchangesSettings(upbit=UpbitSettings(enabled=enabled)),
    )


@asynccontextmanager
async def opened(folder: Path, clock: TrioClock, **options: bool) -> AsyncIterator[Application]:
    """Run a runtime that nobody asks anything."""
    async with open_application(settings(folder, **options), listen=False, clock=clock) as it:
        yield it


async def names(application: Application) -> list[str]:
    """Return the names of the tree, in start order."""
    return [actor.name for actor in (await application.status()).actors]


async def test_the_tree_has_these_names_in_this_order(tmp_path: Path, clock: TrioClock) -> None:
    """They are in logs and in `marketd status`; what is later rests on what is earlier."""
    async with opened(tmp_path, clock) as application:
        assert await names(application) == [
            "keys",
            "store",
            "upbit",
            "upbit.limiter",
            "upbit.cache",
            "upbit.feed",
            "upbit.preloader",
            "upbit.account",
            "scheduler",
        ]
        registry = application.wired.registry
        for name in ("store", "upbit.limiter", "upbit.cache"):
            assert registry.mailbox(name).name == name


async def test_every_critical_actor_is_there_and_answers(
    tmp_path: Path, markets: tuple[SandboxMarket, ...], clock: TrioClock
) -> None:
    """A name that nobody has would never prove work, and systemd would end a healthy process."""
    async with rehearse(tmp_path, markets, clock=clock) as stage, trio.open_nursery() as nursery:
        wired = stage.application.wired
        assert wired.critical == ("store", "upbit.limiter", "upbit.cache")
        proofs = Proofs(
            wired.critical, root=wired.root, registry=wired.registry, clock=clock, within_s=15
        )
        nursery.start_soon(proofs.collect)
        await trio.sleep(100)
        assert proofs.missing() == ()
        nursery.cancel_scope.cancel()


async def test_an_exchange_that_is_switched_off_starts_no_child(
    tmp_path: Path, clock: TrioClock
) -> None:
    """Rather than one full of conditions; and who asks for it is told so."""
    async with opened(tmp_path, clock, enabled=False) as application:
        assert await names(application) == ["keys", "store", "scheduler"]
        assert (await application.status()).exchanges == ()
        with pytest.raises(InvalidRequest, match="no exchange called 'upbit' is configured"):
            await application.market.candles("KRW-BTC", "1m")
        assert await application.market.limits() == ()
        assert (await application.market.cache()).bytes_max == 0


async def test_wiring_starts_nothing(tmp_path: Path, clock: TrioClock) -> None:
    """A tree is a value until somebody runs it."""
    before = trio.lowlevel.current_statistics().tasks_living
    wired = wire(settings(tmp_path), state_dir=tmp_path, clock=clock, rng=random.Random(0))

    assert trio.lowlevel.current_statistics().tasks_living == before
    assert wired.root.describe() == ()
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - one look


async def test_the_way_to_the_exchange_is_closed_before_the_store(
    tmp_path: Path, clock: TrioClock
) -> None:
    """The caches write to the store while they stop, so it is the last to go."""
    order: list[str] = []
    # The cache has a way of its own, and so have accounts.
    opened_all = ["store open", "exchange open", "exchange open"]

    class Noted(MemoryStore):
        async def aclose(self) -> None:
            order.append("store closed")
            await super().aclose()

    @asynccontextmanager
    async def open_store() -> AsyncIterator[CandleStore]:
        order.append("store open")
        store = Noted(clock=clock)
        try:
            yield store
        finally:
            await store.aclose()

    @asynccontextmanager
    async def open_sender() -> AsyncIterator[Sender]:
        order.append("exchange open")
        yield NobodySends()
        order.append("exchange closed")

    async with open_application(
        settings(tmp_path),
        listen=False,
        clock=clock,
        senders={"upbit": open_sender},
        open_store=open_store,
    ):
        assert order == opened_all
    assert order == [*opened_all, "exchange closed", "exchange closed", "store closed"]


class NobodySends(Sender):
    """A sender that is never used."""

    async def send(self, call: ExchangeCall[Any]) -> RawResponse:
        """Fail the test."""
        pytest.fail(f"nobody asked for {call.what}")


async def test_a_store_that_is_away_does_not_keep_the_rest_from_starting(
    tmp_path: Path, markets: tuple[SandboxMarket, ...], clock: TrioClock
) -> None:
    """It is a state, not a crash."""
    disk = Disk()
    disk.cannot_open = StoreUnavailable("not mounted")
    async with rehearse(tmp_path, markets, clock=clock, open_store=disk.open) as stage:
        assert len(await stage.market.candles("KRW-BTC", "1m", 10)) == 10
        actors = (await stage.application.status()).actors
        assert {actor.state for actor in actors} == {"running"}
        assert {actor.restarts for actor in actors} == {0}


async def test_an_exchange_that_cannot_be_opened_stops_the_start(
    tmp_path: Path, clock: TrioClock
) -> None:
    """What had started is stopped again, and the folder is free."""

    @asynccontextmanager
    async def open_sender() -> AsyncIterator[Sender]:
        _explode()
        yield NobodySends()

    disk = Disk()
    for _ in range(2):
        with pytest.raises(StartFailed, match=r"upbit.*no TLS here"):
            async with open_application(
                settings(tmp_path),
                listen=False,
                clock=clock,
                senders={"upbit": open_sender},
                open_store=disk.open,
            ):
                pytest.fail("it must not come up")
    assert disk.opened == disk.closed == 2


async def test_settings_reach_the_cache(
    tmp_path: Path, markets: tuple[SandboxMarket, ...], clock: TrioClock
) -> None:
    """Each of them does what `config.toml` says."""
    async with rehearse(
        tmp_path,
        markets,
        clock=clock,
        candles_per_series=7,
        memory_mb=3,
        max_age_s=60,
        quote_max_age_s=60,
        gather_s=0.25,
    ) as stage:
        await trio.sleep(5)
        before_s = trio.current_time()
        first = await stage.market.candles("KRW-BTC", "1m", 5)
        assert trio.current_time() == pytest.approx(before_s + 0.3)
        ticker = await stage.market.ticker("KRW-BTC")
        await trio.sleep(50)
        report = await stage.market.cache()

        assert await stage.market.candles("KRW-BTC", "1m", 5) == first
        again = await stage.market.ticker("KRW-BTC")
        assert (again.time_ms, again.source) == (ticker.time_ms, "memory")
        assert stage.exchange.calls() == 2
        assert report.bytes_max == 3_000_000
        assert report.series[0].candles <= 7 + 2


def _explode() -> None:
    raise ZeroDivisionError("no TLS here")


@pytest.mark.real_time
async def test_a_runtime_opened_and_closed_fifty_times_leaves_nothing_behind(
    tmp_path: Path,
) -> None:
    """No task, no thread and no open file, with a database on disk."""
    plain = Settings(runtime=RuntimeSettings(state_dir=str(tmp_path)), cache=CacheSettings())
    sizes = []
    for _ in range(50):
        async with open_application(plain, listen=False) as application:
            assert (await application.market.cache()).store_candles == 0
        sizes.append(_left_behind())
    assert sizes[-1] == sizes[1]


def _left_behind() -> tuple[int, int, int]:
    files = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0  # noqa: PTH208 - counted, not walked
    return trio.lowlevel.current_statistics().tasks_living, threading.active_count(), files
