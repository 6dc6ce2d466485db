"""`KeptNeeds`: written before anybody is told, together where several come, and within bounds."""

from __future__ import annotations

import logging

import pytest
import trio

from actors.preloading.need_kept import KeptNeeds
from runtime.testing_preloader import SlowKeeper


async def test_many_who_wait_share_a_write(nursery: trio.Nursery) -> None:
    """One is under way, and the next is for all who came meanwhile."""
    keeper, told = SlowKeeper(1.0), list[tuple[float, bytes | None]]()
    state = [0]
    kept = KeptNeeds("upbit", keeper, lambda: b"%d" % state[0])
    nursery.start_soon(kept.run)

    async def change() -> None:
        state[0] += 1
        kept.change()
        await kept.wait_kept()
        told.append((trio.current_time(), keeper.data))

    async with trio.open_nursery() as changes:
        changes.start_soon(change)
        await trio.sleep(0.5)
        for _ in range(20):
            changes.start_soon(change)

    assert told == [(1.0, b"1"), *[(2.0, b"21")] * 20]
    assert keeper.saves == 2


async def test_a_disk_that_hangs_keeps_nobody_waiting_and_is_told_once(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    """Candles do not wait for a disk."""
    kept = KeptNeeds("upbit", SlowKeeper(1_000.0), lambda: b"")
    nursery.start_soon(kept.run)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            kept.change()
            await kept.wait_kept()

    assert trio.current_time() == 10.0
    assert caplog.text.count("upbit: declared needs are not written down after 5 s") == 1


async def test_where_nothing_is_kept_nobody_waits() -> None:
    """Without a keeper."""
    kept = KeptNeeds("upbit", None, lambda: b"")
    kept.change()

    await kept.wait_kept()

    assert trio.current_time() == 0.0
