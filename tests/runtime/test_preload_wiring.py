"""How preloading is wired: needs of the settings, and files beside the database."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import trio

from actors.keeper import MemoryKeeper
from actors.sandbox.exchange import SandboxExchange
from actors.sandbox.simulated_time import SimulatedTime
from runtime.config import Settings, SettingsError, StoreSettings
from runtime.core.clock import TrioClock
from runtime.need_settings import StrategyNeed
from runtime.preload_settings import PreloadSettings
from runtime.preload_wiring import preload_parts
from runtime.testing import NEW_YEAR_MS, open_rehearsal
from runtime.testing_rehearsal import generated


def names_in(folder: Path) -> list[str]:
    """Return the names of the files in a folder."""
    return sorted(path.name for path in folder.iterdir())


async def test_what_the_settings_declare_is_fetched_at_the_start(
    tmp_path: Path, clock: TrioClock
) -> None:
    """Before any bot has asked for anything."""
    time = SimulatedTime(clock, start_ms=NEW_YEAR_MS)
    exchange = SandboxExchange(generated(history_days=3), clock=clock, time=time)
    needs = (
        StrategyNeed(market="KRW-BTC", timeframe="1m", indicators=("ATR(20)",)),
        StrategyNeed(market="KRW-ETH", timeframe="5m", history="1d"),
    )
    async with open_rehearsal(
        tmp_path,
        exchange,
        clock=clock,
        preload=PreloadSettings(),
        strategies={"trend": needs},
    ) as application:
        await trio.sleep(5)
        reports = await application.market.needs("trend")
        pages = exchange.calls()
        candles = await application.market.candles("KRW-BTC", "1m", 350, closed=True, max_age_s=60)

    assert [(each.market, each.state, each.covered) for each in reports] == [
        ("KRW-BTC", "ready", 400),
        ("KRW-ETH", "ready", 400),
    ]
    assert len(candles) == 350
    assert exchange.calls() == pages


def test_needs_and_habits_are_kept_beside_the_database(tmp_path: Path) -> None:
    """In a file each; with a store in memory nothing is kept at all."""
    kept = preload_parts(Settings(), tmp_path, "upbit")
    fleeting = preload_parts(Settings(store=StoreSettings(kind="memory")), tmp_path, "upbit")
    off = msgspec.structs.replace(Settings(), preload=PreloadSettings(enabled=False))

    assert kept is not None
    assert not isinstance(kept.needs, MemoryKeeper)
    assert fleeting is not None
    assert isinstance(fleeting.habits, MemoryKeeper)
    assert preload_parts(off, tmp_path, "upbit") is None


def test_a_need_of_an_exchange_that_is_not_served_stops_the_start(tmp_path: Path) -> None:
    """As a bot's would be refused; dropped, nobody would hear of it."""
    need = StrategyNeed(market="okx:BTC-USDT", timeframe="1m")
    settings = msgspec.structs.replace(Settings(), strategies={"t": (need,)})

    with pytest.raises(SettingsError, match=r"strategies\.t: market .*\(upbit\), was okx:BTC-USDT"):
        preload_parts(settings, tmp_path, "upbit")


async def test_kept_files_are_named_after_the_exchange(tmp_path: Path) -> None:
    """Two exchanges of one runtime do not meet."""
    for exchange in ("upbit", "okx"):
        parts = preload_parts(Settings(), tmp_path, exchange)
        assert parts is not None
        await parts.needs.save(exchange.encode())
        await parts.habits.save(b"habits")

    assert names_in(tmp_path) == [
        "okx-habits.blob",
        "okx-needs.blob",
        "upbit-habits.blob",
        "upbit-needs.blob",
    ]
