"""The runtime as an object: what opening it promises, and what closing it puts away."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from actors.errors import ExchangeUnavailable, InvalidRequest
from actors.messages import GetTicker
from actors.sandbox.faults import Fault
from actors.sandbox.market import SandboxMarket
from runtime.application import open_application, open_runtime
from runtime.config import (
    ControlSettings,
    ExchangesSettings,
    RuntimeSettings,
    Settings,
    SettingsError,
    StoreSettings,
    UpbitSettings,
)
from runtime.core.clock import TrioClock
from runtime.core.errors import ActorDown, ActorNotFound
from runtime.lock import AlreadyRunning
from runtime.messages import Stop
from runtime.origin import ORIGIN_FILE
from runtime.testing import NEW_YEAR_MS
from runtime.testing_rehearsal import generated, rehearse


@pytest.fixture(scope="module")
def markets() -> tuple[SandboxMarket, ...]:
    """Generated markets with two days of history."""
    return generated(history_days=2)


def settings(folder: Path, url: str = "https://api.upbit.com", kind: str = "memory") -> Settings:
    """Return settings for a runtime in `folder`."""
    return Settings(
        runtime=RuntimeSettings(state_dir=str(folder)),
        control=ControlSettings(socket=str(folder / "control.sock")),
        store=StoreSettings(kind="memory" if kind == "memory" else "sqlite"),
        exchanges=ExchangesSettings(upbit=UpbitSettings(rest_url=url)),
    )


async def test_status_says_what_runs_where(
    tmp_path: Path, markets: tuple[SandboxMarket, ...], clock: TrioClock
) -> None:
    """Enough to find the process, its data and the actor that is in trouble."""
    async with rehearse(tmp_path, markets, clock=clock) as stage:
        await trio.sleep(12)
        stage.kill("upbit.cache")
        await trio.sleep(3)
        status = await stage.market.status()

        assert status.pid == os.getpid()
        assert status.started_ms == NEW_YEAR_MS
        assert status.uptime_s == 15
        assert (status.socket, status.state_dir, status.store) == ("", str(tmp_path), "memory")
        assert [exchange.name for exchange in status.exchanges] == ["upbit"]
        cache = {actor.name: actor for actor in status.actors}["upbit.cache"]
        assert (cache.state, cache.incarnation, cache.restarts) == ("running", 2, 1)
        assert cache.uptime_s == pytest.approx(3)
        assert cache.last_crash == "killed"


async def test_status_answers_while_everything_else_is_in_trouble(
    tmp_path: Path, markets: tuple[SandboxMarket, ...], clock: TrioClock
) -> None:
    """That is when it is needed."""
    async with rehearse(tmp_path, markets, clock=clock) as stage, trio.open_nursery() as nursery:
        stage.exchange.faults.switch_on(Fault.HANG)
        nursery.start_soon(_ask_in_vain, stage.market.candles)
        await trio.sleep(2)
        with trio.fail_after(0.1):
            status = await stage.market.status()

        assert {actor.state for actor in status.actors} == {"running"}
        nursery.cancel_scope.cancel()


async def test_who_waits_at_the_socket_is_told_what_went_wrong_before_he_stops(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """His own time-out would tell him nothing."""
    async with rehearse(tmp_path, markets, clock=clock) as stage:
        stage.exchange.faults.switch_on(Fault.HANG)
        with (
            trio.fail_after(3.0),
            pytest.raises(
                ExchangeUnavailable, match=r"tickers KRW-BTC: no whole answer within [12]"
            ),
        ):
            await stage.application._answer_socket(GetTicker(market="KRW-BTC"))


async def _ask_in_vain(ask: object) -> None:
    assert callable(ask)
    await ask("KRW-BTC")


async def test_an_embedded_runtime_is_not_stopped_by_a_message(
    tmp_path: Path, markets: tuple[SandboxMarket, ...], clock: TrioClock
) -> None:
    """Its block is what ends it. Over the socket the same message asks for the end."""
    async with rehearse(tmp_path, markets, clock=clock) as stage:
        with pytest.raises(InvalidRequest, match="stops when its `async with` block ends"):
            await stage.market.stop()
        assert not stage.application.stop_requested.is_set()

        await stage.application.answer(Stop())
        assert stage.application.stop_requested.is_set()


async def test_after_the_block_there_is_nobody_to_ask(
    tmp_path: Path, markets: tuple[SandboxMarket, ...], clock: TrioClock
) -> None:
    """A typed error, at once; what memory has is still there to be read."""
    async with rehearse(tmp_path, markets, clock=clock) as stage:
        known = await stage.market.candles("KRW-BTC", "1m", 10, end=NEW_YEAR_MS - 60_000)
    with pytest.raises((ActorNotFound, ActorDown), match=r"upbit\.cache"):
        await stage.market.candles("KRW-ETH", "1m", 10)
    assert await stage.market.candles("KRW-BTC", "1m", 10, end=NEW_YEAR_MS - 60_000) == known


async def test_callers_under_way_are_told_when_the_runtime_ends(
    tmp_path: Path, markets: tuple[SandboxMarket, ...], clock: TrioClock
) -> None:
    """Nobody is left waiting, and the end does not wait for them."""
    told: list[str] = []

    async with trio.open_nursery() as nursery:
        async with rehearse(tmp_path, markets, clock=clock) as stage:
            stage.exchange.faults.switch_on(Fault.HANG)

            async def call() -> None:
                with pytest.raises(ActorDown, match=r"upbit\.cache"):
                    await stage.market.candles("KRW-BTC", "1m")
                told.append("down")

            for _ in range(20):
                nursery.start_soon(call)
            await trio.sleep(2)
            before_s = trio.current_time()
        assert trio.current_time() - before_s < 1
    assert told == ["down"] * 20


async def test_a_block_that_fails_still_puts_everything_away(
    tmp_path: Path, clock: TrioClock
) -> None:
    """The error comes through as it is, and the folder is free."""
    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match="the block's own"):
            async with open_application(settings(tmp_path), listen=False, clock=clock):
                raise ZeroDivisionError("the block's own")


async def test_one_folder_has_one_runtime(tmp_path: Path, clock: TrioClock) -> None:
    """The second is told to connect to the first."""
    async with open_application(settings(tmp_path), listen=False, clock=clock):
        with pytest.raises(AlreadyRunning, match=r"connect to it, stop it, or"):
            async with open_application(settings(tmp_path), listen=False, clock=clock):
                pytest.fail("it must not come up")


async def test_the_state_folder_is_made_for_its_owner_only(
    tmp_path: Path, clock: TrioClock
) -> None:
    """Keys will be kept there one day."""
    folder = tmp_path / "deep" / "inside"
    async with open_application(settings(folder), listen=False, clock=clock):
        assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.real_time
async def test_real_data_and_rehearsed_data_do_not_share_a_folder(tmp_path: Path) -> None:
    """Refused before the database is opened; a store in memory remembers nothing to mix."""
    real = settings(tmp_path, kind="sqlite")
    async with open_application(real, listen=False):
        assert (tmp_path / ORIGIN_FILE).exists()
    rehearsed = settings(tmp_path, "http://127.0.0.1:9", kind="sqlite")
    with pytest.raises(SettingsError, match="must not mix with real data"):
        async with open_application(rehearsed, listen=False):
            pytest.fail("it must not come up")
    async with open_application(settings(tmp_path, "http://127.0.0.1:9"), listen=False):
        pass
    async with open_application(real, listen=False):
        pass


@pytest.mark.real_time
async def test_a_sandbox_beside_it_has_a_folder_of_its_own(tmp_path: Path) -> None:
    """So the same settings serve rehearsal and real life, at the same time if need be."""
    real = settings(tmp_path, kind="sqlite")
    async with (
        open_application(real, listen=False),
        open_runtime(real, sandbox=True) as market,
    ):
        status = await market.status()
        assert status.state_dir == str(tmp_path / "sandbox")
        assert status.exchanges[0].rest_url.startswith("http://127.0.0.1:")
        assert (await market.markets("KRW"))[0].market == "KRW-BTC"


@pytest.mark.real_time
async def test_what_was_fetched_is_there_after_a_restart_without_the_exchange(
    tmp_path: Path,
) -> None:
    """From the database of the first run, at no call."""
    on_disk = settings(tmp_path, kind="sqlite")
    async with open_runtime(on_disk, sandbox=True) as market:
        end_ms = (await market.ticker("KRW-BTC")).time_ms // 60_000 * 60_000 - 600_000
        first = await market.candles("KRW-BTC", "1m", 150, end=end_ms)
    # The next sandbox has another port, and nobody has ever asked it anything.
    async with open_runtime(on_disk, sandbox=True) as market:
        again = await market.candles("KRW-BTC", "1m", 150, end=end_ms)
        assert (await market.cache()).pages == 0

    assert again == first
    assert (first.source, again.source) == ("exchange", "memory")
