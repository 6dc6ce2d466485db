"""Keys come to their end a year after they were made, and their owner must hear of it in time."""

from __future__ import annotations

import logging

import pytest
import trio

from actors.key_messages import ChangeKey, RemoveKey
from actors.key_watch import WARN_DAYS
from actors.messages import GetHealth
from actors.vault_messages import LockVault
from runtime.testing_keys import KeyRoom, open_keys

DAY_S = 86_400
DAY_MS = 86_400_000


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was warned of."""
    return [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]


async def health(room: KeyRoom) -> tuple[str, str]:
    """Return how the keys are, and why."""
    found = await room.ask(GetHealth())
    return found.state, found.reason


async def test_each_step_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """30, 14, 7, 3 and 1 days before, and at the end: six lines in forty days, not six thousand."""
    async with open_keys() as room:
        await room.create()
        await room.add(expires=room.clock.utc_ms() + 40 * DAY_MS)
        told = []
        for day in range(1, 45):
            await trio.sleep(DAY_S)
            lines = warnings_of(caplog)
            told += [40 - day] * len(lines)
            assert all("key upbit:main" in line for line in lines)
            caplog.clear()
    # The look comes at most ten minutes after the moment, so on that day or within the next.
    assert len(told) == len(WARN_DAYS)
    assert all(abs(days - step) <= 1 for days, step in zip(told, WARN_DAYS, strict=True))


async def test_late_learner_is_told_the_nearest_step_only(caplog: pytest.LogCaptureFixture) -> None:
    """A key added two days before its end needs one line, and not those for 30, 14, 7 and 3."""
    async with open_keys() as room:
        await room.create()
        await room.add(expires=room.clock.utc_ms() + 2 * DAY_MS + 3_600_000)
        await trio.sleep(601)
        [line] = warnings_of(caplog)
    assert "key upbit:main expires in 2 days and 0 hours; make a new one" in line


@pytest.mark.parametrize(
    ("left_s", "wanted"),
    [
        (1, "expires in 1 minute; make"),
        (61, "expires in 2 minutes; make"),
        (3_599, "expires in 60 minutes; make"),
        (3_600, "expires in 0 days and 1 hours; make"),
    ],
)
async def test_last_hour_is_told_in_minutes(left_s: int, wanted: str) -> None:
    """`0 days and 0 hours` reads as if it were over."""
    async with open_keys() as room:
        await room.create()
        await room.add(expires=room.clock.utc_ms() + left_s * 1_000)
        assert wanted in (await health(room))[1]


async def test_new_end_is_announced_anew(caplog: pytest.LogCaptureFixture) -> None:
    """The key was replaced by one that ends later: that end is another matter."""
    async with open_keys() as room:
        await room.create()
        await room.add(expires=room.clock.utc_ms() + 2 * DAY_MS)
        await trio.sleep(601)
        later = ChangeKey(key="upbit:main", expires=room.clock.utc_ms() + 20 * DAY_MS)
        await room.ask(later)
        await trio.sleep(601)
        assert len(warnings_of(caplog)) == 2


async def test_health_is_degraded_in_the_last_week() -> None:
    """By then somebody must have been asked to act; before, it is no matter of health."""
    async with open_keys() as room:
        assert await health(room) == ("ok", "")
        await room.create()
        await room.add(expires=room.clock.utc_ms() + 8 * DAY_MS)
        assert await health(room) == ("ok", "")
        await trio.sleep(DAY_S + 1)
        state, reason = await health(room)
        assert state == "degraded"
        assert reason.startswith("key upbit:main expires in 6 days and 23 hours")
        await trio.sleep(7 * DAY_S)
        assert "has expired; make a new one" in (await health(room))[1]
        await room.ask(RemoveKey(key="upbit:main"))
        assert await health(room) == ("ok", "")


async def test_sealed_keys_are_degraded_and_damaged_ones_away() -> None:
    """Both mean that nobody trades; only one can be mended with a passphrase."""
    async with open_keys() as room:
        await room.create()
        await room.ask(LockVault())
        assert await health(room) == (
            "degraded",
            "the keys are sealed; `marketd keys unlock` opens them",
        )
        await room.crash()
        assert (await health(room))[0] == "degraded"
