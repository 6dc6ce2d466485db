"""`ControlActor` on a real socket: it is there, it is gone, and nothing is left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.config import ControlSettings
from runtime.control import ControlActor
from runtime.testing import open_actor, wait_for
from runtime.testing_socket import (
    RawBot,
    open_control,
    sample_answer,
)
from runtime.transport_trio import LocalListener, connect_trio


def descriptors() -> int:
    """Return how many descriptors this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.real_time
async def test_socket_is_gone_after_the_end(tmp_path: Path) -> None:
    """The next runtime finds a clean place."""
    path = tmp_path / "c.sock"
    async with open_control(path=path):
        assert path.is_socket()
    assert not path.exists()


@pytest.mark.real_time
async def test_socket_is_back_after_a_crash(tmp_path: Path) -> None:
    """A restarted actor listens again, at the same place."""
    path = tmp_path / "c.sock"
    listeners: list[LocalListener] = []

    def open_listener() -> LocalListener:
        listeners.append(LocalListener(path))
        return listeners[-1]

    def make() -> ControlActor:
        return ControlActor(sample_answer, open_listener=open_listener, settings=ControlSettings())

    async with open_actor(make):
        # The descriptor goes away under the actor: its accept fails.
        listeners[0]._socket.close()
        await wait_for(lambda: len(listeners) > 1 and path.is_socket())
        bot = RawBot(await connect_trio(path))
        await bot.ask("status")
        assert "result" in await bot.hear()
        await bot.stream.aclose()


@pytest.mark.real_time
async def test_bots_that_vanish_leave_nothing_behind(tmp_path: Path) -> None:
    """Bots are killed in the middle of things; slots and descriptors must come back."""
    path = tmp_path / "c.sock"
    actors: list[ControlActor] = []

    def make() -> ControlActor:
        actors.append(
            ControlActor(
                sample_answer,
                open_listener=lambda: LocalListener(path),
                settings=ControlSettings(),
            )
        )
        return actors[-1]

    async with open_actor(make):
        before = descriptors()
        for number in range(30):
            bot = RawBot(await connect_trio(path))
            await bot.ask("ticker", market="KRW-HANG" if number % 2 else "KRW-BTC")
            await bot.stream.aclose()
        await wait_for(lambda: actors[0].statistics().accepted == 30)
        await wait_for(lambda: actors[0].statistics().connections == 0)
        assert descriptors() == before
    assert len(actors) == 1
