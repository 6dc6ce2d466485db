"""The settings of preloading: their bounds, and that each of them does what it says."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from actors.keeper import MemoryKeeper
from actors.sandbox.market import SandboxMarket
from runtime.blob_store import FileBlobKeeper
from runtime.config import Settings, SettingsError, StoreSettings, load_settings
from runtime.core.clock import TrioClock
from runtime.preload_settings import PreloadSettings
from runtime.preload_wiring import preload_parts
from runtime.testing_rehearsal import generated, rehearse

OFF = PreloadSettings(enabled=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("enabled = 1", r"preload\.enabled must be true or false, was 1"),
        ("learn = 'no'", r"preload\.learn must be true or false, was 'no'"),
        ("margin = -1", r"preload\.margin must be at least 0, was -1"),
        ("margin = 10001", r"preload\.margin must be at most 10000, was 10001"),
        ("keep_need_s = 59", r"preload\.keep_need_s must be at least 60, was 59"),
        ("keep_needs_s = 60", r"'preload\.keep_needs_s'.*did you mean 'preload\.keep_need_s'"),
    ],
)
def test_wrong_value_is_refused_with_what_was_wanted(
    tmp_path: Path, text: str, message: str
) -> None:
    """A wrong setting stops the start; it never becomes a default."""
    (tmp_path / "config.toml").write_text(f"[preload]\n{text}\n")
    with pytest.raises(SettingsError, match=message):
        load_settings(environ={}, cwd=tmp_path)


def test_environment_sets_them_as_well(tmp_path: Path) -> None:
    """As all others."""
    environ = {"MARKETD_PRELOAD__ENABLED": "no", "MARKETD_PRELOAD__MARGIN": "0"}
    settings = load_settings(environ=environ, cwd=tmp_path)
    assert settings.preload == PreloadSettings(enabled=False, margin=0)


def test_nothing_is_kept_if_it_is_switched_off(tmp_path: Path) -> None:
    """A feature that is off starts nothing, and touches no file."""
    assert preload_parts(Settings(preload=OFF), tmp_path, "upbit") is None
    assert list(tmp_path.iterdir()) == []


def test_needs_and_habits_are_kept_where_candles_are(tmp_path: Path) -> None:
    """In files of the state folder; a store in memory keeps nothing, so neither do they."""
    kept = preload_parts(Settings(), tmp_path, "upbit")
    forgotten = preload_parts(Settings(store=StoreSettings(kind="memory")), tmp_path, "upbit")

    assert kept is not None
    assert forgotten is not None
    assert isinstance(kept.needs, FileBlobKeeper)
    assert isinstance(kept.habits, FileBlobKeeper)
    assert isinstance(forgotten.needs, MemoryKeeper)
    assert isinstance(forgotten.habits, MemoryKeeper)


# ------------------------------------------------------------------ in a runtime


@pytest.fixture(scope="module")
def markets() -> tuple[SandboxMarket, ...]:
    """Generated markets with a day of history."""
    return generated(history_days=1)


@pytest.mark.parametrize(("margin", "needed"), [(0, 200), (140, 200), (141, 400)])
async def test_margin_is_fetched_beyond_what_indicators_need(
    margin: int, needed: int, tmp_path: Path, markets: tuple[SandboxMarket, ...], clock: TrioClock
) -> None:
    """HIGH(60) takes sixty candles; pages are full in any case."""
    preload = PreloadSettings(margin=margin)
    async with rehearse(tmp_path, markets, clock=clock, preload=preload) as stage:
        need = await stage.market.need(["HIGH(60)"], market="KRW-BTC", timeframe="1m")
        assert need.report.needed == needed


async def test_need_ends_when_its_candles_were_not_asked_for_so_long(
    tmp_path: Path, markets: tuple[SandboxMarket, ...], clock: TrioClock
) -> None:
    """Counted from the last use; a minute may pass until it is noticed."""
    preload = PreloadSettings(keep_need_s=600.0)
    async with rehearse(tmp_path, markets, clock=clock, preload=preload) as stage:
        await stage.market.need(["HIGH(60)"], market="KRW-BTC", timeframe="1m")
        await trio.sleep(500)
        await stage.market.candles("KRW-BTC", "1m", 60)
        await trio.sleep(590)
        (need,) = await stage.market.needs()
        assert need.used_ms is not None
        assert need.ends_ms == need.used_ms + 600_000
        await trio.sleep(75)
        assert await stage.market.needs() == ()


async def test_need_of_long_candles_outlives_three_of_them(
    tmp_path: Path, markets: tuple[SandboxMarket, ...], clock: TrioClock
) -> None:
    """Who computes once an hour does not ask within ten minutes."""
    preload = PreloadSettings(keep_need_s=600.0)
    async with rehearse(tmp_path, markets, clock=clock, preload=preload) as stage:
        need = await stage.market.need(["HIGH(5)"], market="KRW-BTC", timeframe="1h")
        assert need.report.ends_ms == need.report.declared_ms + 3 * 3_600_000


@pytest.mark.parametrize("learn", [True, False])
async def test_habits_are_learnt_only_if_that_is_wanted(
    *, learn: bool, tmp_path: Path, markets: tuple[SandboxMarket, ...], clock: TrioClock
) -> None:
    """Needs are kept either way."""
    preload = PreloadSettings(learn=learn)
    async with rehearse(tmp_path, markets, clock=clock, preload=preload) as stage:
        need = await stage.market.need(["HIGH(5)"], market="KRW-BTC", timeframe="1m")
        assert (await need.wait_ready(timeout_s=30)).state == "ready"
        for _ in range(10):
            await stage.market.candles("KRW-BTC", "1m", 60)
            await trio.sleep(61)
        (report,) = await stage.market.preload()
        assert (report.series > 0) == (report.predictions > 0) == learn
