"""Spent limits and bans in a file: whole or not at all, and never taken for more than they say."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from actors.limit_file import (
    WEIGHT_MAX,
    KeptGroup,
    KeptLimits,
    KeptSpend,
    LimitKeeper,
    age,
    decode,
)
from runtime.application import open_runtime
from runtime.config import (
    ExchangesSettings,
    RuntimeSettings,
    Settings,
    StoreSettings,
    UpbitSettings,
)
from runtime.core.clock import SystemClock
from runtime.limit_store import FileLimitKeeper, limit_file_path, machine_s
from runtime.shared_limits import LimitsTaken, limits_dir
from runtime.testing_limits import MemoryLimitKeeper

NOW_MS = 1_767_225_600_000
SPENT = KeptGroup(spends=(KeptSpend(weight=2, age_s=0.25), KeptSpend(weight=1, age_s=None)))
BANNED = KeptGroup(paused_left_s=60.0, strikes=1)
ALL = (KeptSpend(weight=WEIGHT_MAX, age_s=0.0),)

# Threads take part, which fake time knows nothing of.
pytestmark = pytest.mark.real_time


class StillClock:
    """A clock that stands where it is put."""

    def __init__(self, now_s: float) -> None:
        self.s = now_s

    def now_s(self) -> float:
        """Return what was set."""
        return self.s

    def utc_ms(self) -> int:
        """Return a moment."""
        return NOW_MS


def limits(**changes: Any) -> KeptLimits:
    """Return some limits as a process would save them."""
    kept = KeptLimits(
        saved_ms=NOW_MS, saved_s=500.0, clean=True, groups={"candle": SPENT, "*": BANNED}
    )
    return msgspec.structs.replace(kept, **changes)


def keeper(folder: Path, now_s: float = 500.0, boot_s: float = 70.0) -> FileLimitKeeper:
    """Return the keeper of a process that has just begun, on clocks of its own."""
    path = folder / "exchange.json"
    return FileLimitKeeper(path, clock=StillClock(now_s), boot_s=lambda: boot_s)


async def test_the_next_process_finds_what_was_saved(tmp_path: Path) -> None:
    """On its own clock: 10 s later of one boot, whatever the process's clock begins with."""
    await keeper(tmp_path).save(limits(), durable=True)
    found = keeper(tmp_path, now_s=99_000.0, boot_s=80.0).load()
    assert found == limits(saved_s=98_990.0)
    aged = age(found, now_s=99_000.0, utc_ms=NOW_MS + 3_600_000)
    assert aged.groups["*"].paused_left_s == pytest.approx(50.0)


async def test_after_the_machine_was_started_anew_only_the_wall_clock_counts(
    tmp_path: Path,
) -> None:
    """The moment of saving then lies in the future."""
    await keeper(tmp_path, boot_s=7_000.0).save(limits(), durable=True)
    found = keeper(tmp_path, now_s=10.0, boot_s=30.0).load()
    assert found is not None
    assert found.saved_s > 10.0
    assert age(found, now_s=10.0, utc_ms=NOW_MS + 20_001).groups["*"].paused_left_s == 40.0


async def test_a_newer_value_takes_the_place_of_an_older(tmp_path: Path) -> None:
    """Nothing lies about beside it."""
    first = keeper(tmp_path)
    await first.save(limits(), durable=False)
    await first.save(limits(groups={}), durable=False)
    assert os.listdir(tmp_path) == ["exchange.json"]  # noqa: PTH208 - the other one blocks, too
    found = keeper(tmp_path).load()
    assert found is not None
    assert found.groups == {}


def both(folder: Path) -> list[Any]:
    """Return what makes a process's keeper, for a file and for memory."""
    memory = MemoryLimitKeeper()
    return [lambda: keeper(folder), lambda: memory]


async def test_what_was_loaded_does_not_pass_for_what_happened_since(tmp_path: Path) -> None:
    """A process that never managed to save leaves word of bans, and all windows spent."""
    for make in both(tmp_path):
        first: LimitKeeper = make()
        assert first.load() is None
        await first.save(limits(), durable=False)
        assert make().load() == limits()
        for _ in range(2):
            found = make().load()
            assert found is not None
            assert not found.clean
            assert found.groups == {"candle": KeptGroup(spends=ALL), "*": BANNED}
        await make().save(limits(), durable=False)
        assert make().load() == limits()


async def test_a_memory_keeper_can_break_and_refuses_nonsense() -> None:
    """What it is for."""
    memory = MemoryLimitKeeper()
    memory.broken = True
    await memory.save(limits(), durable=True)
    assert (memory.load(), memory.saves) == (None, [])
    memory.broken = False
    await memory.save(limits(), durable=True)
    assert memory.saves == [(limits(), True)]
    with pytest.raises(ValueError, match="wanted limits that can be kept"):
        await memory.save(limits(saved_ms=-1), durable=True)


@pytest.mark.parametrize("garbage", [b"", b"{", b"\xff", b'{"saved_ms": -1}', b"[" * 100_000])
async def test_a_file_that_makes_no_sense_is_put_aside_and_counts_as_spent(
    tmp_path: Path, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """It can be looked at, and is not met again."""
    (tmp_path / "exchange.json").write_bytes(garbage)
    assert keeper(tmp_path).load() is None
    assert "makes no sense, so every limit counts as spent; it is now exchange.bad" in caplog.text
    assert (tmp_path / "exchange.bad").read_bytes() == garbage
    caplog.clear()
    assert keeper(tmp_path).load() is None
    assert not caplog.text


async def test_behind_a_file_that_makes_no_sense_the_older_bans_are_found(tmp_path: Path) -> None:
    """A power cut can leave an empty file."""
    await keeper(tmp_path).save(limits(), durable=False)
    keeper(tmp_path).load()
    (tmp_path / "exchange.json").write_bytes(b"")
    found = keeper(tmp_path).load()
    assert found is not None
    assert found.groups["*"] == BANNED
    assert found.groups["candle"].spends == ALL


async def test_a_file_that_cannot_be_read_counts_as_spent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder has its name."""
    (tmp_path / "exchange.json").mkdir()
    assert keeper(tmp_path).load() is None
    assert "cannot be read, so every limit counts as spent" in caplog.text


async def test_what_cannot_be_written_is_logged_once_and_said_when_it_can_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Once a second would fill the disk that is full."""
    caplog.set_level(logging.INFO)
    folder = tmp_path / "later"
    ours = keeper(folder)
    for _ in range(3):
        await ours.save(limits(), durable=True)
    assert caplog.text.count("cannot be written") == 1
    folder.mkdir()
    await ours.save(limits(), durable=True)
    await ours.save(limits(), durable=True)
    assert caplog.text.count("can be written again") == 1


async def test_what_could_not_be_written_makes_the_older_file_stale(tmp_path: Path) -> None:
    """It says less than was spent since; its bans are still worth knowing."""
    ours = keeper(tmp_path)
    await ours.save(limits(), durable=False)
    await ours.save(limits(saved_ms=-1), durable=False)
    found = keeper(tmp_path).load()
    assert found is not None
    assert (found.clean, found.groups["candle"].spends) == (False, ALL)
    assert found.groups["*"] == BANNED


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
async def test_a_full_disk_stops_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The reason is in the log, and no half file is left in place."""
    import resource  # noqa: PLC0415 - Unix only
    import signal  # noqa: PLC0415 - with it

    ours = keeper(tmp_path)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, old[1]))
    try:
        await ours.save(limits(), durable=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert "exchange.json cannot be written" in caplog.text
    assert keeper(tmp_path).load() is None
    await ours.save(limits(), durable=True)
    assert keeper(tmp_path).load() == limits()


@pytest.mark.skipif(os.name != "posix", reason="there are no such rights on Windows")
async def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    """Whatever lay there, and wherever it pointed."""
    victim = tmp_path / "victim"
    victim.write_text("dear")
    (tmp_path / "exchange.new").symlink_to(victim)
    before = os.umask(0)
    try:
        await keeper(tmp_path).save(limits(), durable=False)
    finally:
        os.umask(before)
    assert (tmp_path / "exchange.json").stat().st_mode & 0o777 == 0o600
    assert victim.read_text() == "dear"


@pytest.mark.parametrize("pause_s", [0.0, 1.0])
async def test_a_pause_that_is_not_over_is_always_kept_durably(
    tmp_path: Path, pause_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next, careless write must not lose the ban that the first took such care of."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    group = KeptGroup(paused_left_s=pause_s, strikes=1)
    await keeper(tmp_path).save(limits(groups={"*": group}), durable=False)
    # The file, and the folder where there is such a thing.
    wanted = 2 if os.name == "posix" else 1
    assert len(synced) == (wanted if pause_s else 0)


async def test_a_save_that_is_cancelled_is_done_all_the_same(tmp_path: Path) -> None:
    """The last one of a process is, more often than not."""
    with trio.CancelScope() as scope:
        scope.cancel()
        await keeper(tmp_path).save(limits(), durable=False)
    assert keeper(tmp_path).load() == limits()


async def test_saves_at_once_happen_one_after_the_other(tmp_path: Path) -> None:
    """The last one asked for is the one that stays."""
    ours = keeper(tmp_path)
    async with trio.open_nursery() as nursery:
        for number in range(20):
            group = KeptGroup(strikes=number)
            nursery.start_soon(_save, ours, limits(groups={"a": group}))
            await trio.lowlevel.checkpoint()
    found = keeper(tmp_path).load()
    assert found is not None
    assert found.groups["a"].strikes == 19


async def _save(ours: FileLimitKeeper, kept: KeptLimits) -> None:
    await ours.save(kept, durable=False)


WRITER = """
import sys, trio
from pathlib import Path
from actors.limit_file import KeptGroup, KeptLimits, KeptSpend
from runtime.core.clock import SystemClock
from runtime.limit_store import FileLimitKeeper

async def main():
    clock = SystemClock()
    keeper = FileLimitKeeper(Path(sys.argv[1]), clock=clock)
    spends = tuple(KeptSpend(weight=1, age_s=1.0) for _ in range(3000))
    groups = {"candle": KeptGroup(spends=spends), "*": KeptGroup(paused_left_s=60.0, strikes=1)}
    count = 0
    while True:
        now_s, utc_ms = clock.now_s(), clock.utc_ms()
        # A wall clock that was set back by an hour after that.
        kept = KeptLimits(saved_ms=utc_ms + 3600_000, saved_s=now_s, clean=False, groups=groups)
        await keeper.save(kept, durable=False)
        count += 1
        if count == 3:
            print("saving", flush=True)

trio.run(main)
"""


async def test_a_process_killed_while_it_saves_leaves_a_whole_file(tmp_path: Path) -> None:
    """And the next one knows how long ago that was, though its own clock began elsewhere."""
    path = tmp_path / "exchange.json"
    for _ in range(3):
        before_s = machine_s()
        with subprocess.Popen(  # noqa: ASYNC220 - nothing else happens meanwhile
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            await trio.to_thread.run_sync(process.stdout.readline)  # noqa: TID251 - a real pipe
            process.kill()
        clock = SystemClock()
        found = FileLimitKeeper(path, clock=clock).load()
        assert found is not None
        assert len(found.groups["candle"].spends) == 3000
        saved_ago_s = clock.now_s() - found.saved_s
        assert 0 <= saved_ago_s <= machine_s() - before_s
        # By the wall clock it was saved in an hour; so nothing is over before its time.
        aged = age(found, now_s=clock.now_s(), utc_ms=clock.utc_ms())
        assert aged.groups["*"].paused_left_s == 60.0


async def test_the_text_in_the_file_is_on_the_clock_of_the_machine(tmp_path: Path) -> None:
    """A process's own clock begins anywhere, and means nothing to the next."""
    await keeper(tmp_path, now_s=123_456.0, boot_s=80.0).save(
        limits(saved_s=123_455.0), durable=False
    )
    found, _ = decode((tmp_path / "exchange.json").read_bytes())
    assert found is not None
    assert found.saved_s == pytest.approx(79.0)


def test_the_file_is_beside_the_lock() -> None:
    """Who holds the lock is alone with it; other exchanges have others."""
    for url in ("https://api.upbit.com", "http://127.0.0.1:8765"):
        assert limit_file_path(url).parent == limits_dir(url)
    assert limit_file_path("https://api.upbit.com/v1").name == "api.upbit.com.json"
    assert limit_file_path("http://127.0.0.1:1") != limit_file_path("http://127.0.0.1:2")


def test_the_machines_clock_goes_on() -> None:
    """And is the same in every process."""
    before_s = machine_s()
    code = "from runtime.limit_store import machine_s; print(machine_s())"
    other_s = float(subprocess.check_output([sys.executable, "-c", code], text=True))
    assert before_s < other_s < machine_s()


def runtime_settings(folder: Path, url: str = "http://127.0.0.1:9") -> Settings:
    """Return settings of a runtime whose exchange nobody asks anything."""
    upbit = UpbitSettings(rest_url=url, streams=False)
    return Settings(
        runtime=RuntimeSettings(state_dir=str(folder)),
        store=StoreSettings(kind="memory"),
        exchanges=ExchangesSettings(upbit=upbit),
    )


async def test_a_ban_outlives_the_runtime(tmp_path: Path) -> None:
    """From the file to the words of a report, and back again at the end."""
    path = limit_file_path("http://127.0.0.1:9")
    path.parent.mkdir(parents=True, exist_ok=True)
    clock = SystemClock()
    ban = KeptGroup(paused_left_s=600.0, strikes=3)
    kept = KeptLimits(saved_ms=clock.utc_ms(), saved_s=clock.now_s(), clean=True, groups={"*": ban})
    await FileLimitKeeper(path, clock=clock).save(kept, durable=True)
    left_s = 600.0
    for _ in range(2):
        async with open_runtime(runtime_settings(tmp_path)) as market:
            reports = await market.limits()
            assert left_s - 20 < min(report.paused_s for report in reports) <= left_s
            assert all("418" in report.paused_because for report in reports)
            left_s = reports[0].paused_s
        found, _ = decode(path.read_bytes())
        assert found is not None
        assert found.clean
        assert found.groups["*"].strikes == 3


async def test_a_second_runtime_is_refused_with_a_state_folder_of_its_own_too(
    tmp_path: Path,
) -> None:
    """A bot that brings a runtime along counts like a daemon; after the first ends, it may."""
    first, second = runtime_settings(tmp_path / "a"), runtime_settings(tmp_path / "b")
    async with open_runtime(first):
        with pytest.raises(LimitsTaken, match=r"127.0.0.1:9, .* listens on no socket"):
            async with open_runtime(second):
                pass
        async with open_runtime(runtime_settings(tmp_path / "c", "http://127.0.0.1:10")):
            pass
    async with open_runtime(second):
        pass
