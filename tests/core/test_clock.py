"""Clocks: two of them, which move together where time is virtual."""

from __future__ import annotations

import time

import pytest
import trio

from runtime.core.clock import SystemClock, TrioClock


async def test_virtual_time_moves_both_clocks_together() -> None:
    """A test that sleeps an hour sees an hour pass on the wall as well."""
    clock = TrioClock(start_utc_ms=1_000)
    before_s = clock.now_s()
    await trio.sleep(3600.5)

    assert clock.now_s() - before_s == 3600.5
    assert clock.utc_ms() == 3_601_500


async def test_a_clock_starts_when_it_is_made() -> None:
    """Not when the run began."""
    await trio.sleep(7)

    assert TrioClock(start_utc_ms=5).utc_ms() == 5


@pytest.mark.real_time
async def test_the_machines_clock_is_the_machines() -> None:
    """The one place that reads the operating system's time reads it in the right unit."""
    clock = SystemClock()
    before_ms = time.time_ns() // 1_000_000  # noqa: TID251 - what it is compared with

    assert 0 <= clock.utc_ms() - before_ms < 60_000
    assert 0 <= trio.current_time() - clock.now_s() + 1 <= 1
