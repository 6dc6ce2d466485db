"""What operators ask, through each of the three doors: the same names and the same answers."""

from __future__ import annotations

import inspect
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from actors.sandbox.market import SandboxMarket
from runtime.client.base import AsyncClient
from runtime.client.blocking import connect
from runtime.client.trio_client import open_client
from runtime.core.clock import TrioClock
from runtime.messages import OPERATIONS
from runtime.testing_operations import sample_operation
from runtime.testing_rehearsal import generated, rehearse
from runtime.testing_socket import MemoryListener, control_in_thread, open_control
from runtime.transport import RuntimeUnreachable

ARGUMENTS: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(OPERATIONS, ("upbit.cache",)),
    "tree": (),
    "events": ("upbit.cache", 2),
    "trace": ("upbit.cache", 5),
}


def expected(name: str) -> object:
    """Return what the sample runtime answers to a method."""
    names = ("name", "count")
    return sample_operation(OPERATIONS[name](**dict(zip(names, ARGUMENTS[name], strict=False))))


def test_blocking_client_has_them_all(tmp_path: Path) -> None:
    """Through a real socket."""
    with control_in_thread(tmp_path / "c.sock"), connect(tmp_path / "c.sock") as client:
        for name, arguments in ARGUMENTS.items():
            assert getattr(client, name)(*arguments) == expected(name), name


async def test_trio_client_has_them_all() -> None:
    """Through the whole protocol, over a connection in memory."""
    listener = MemoryListener()
    async with (
        open_control(listener=listener),
        open_client("unused", dial=listener.connect) as client,
    ):
        for name, arguments in ARGUMENTS.items():
            assert await getattr(client, name)(*arguments) == expected(name), name


@pytest.fixture(scope="module")
def markets() -> tuple[SandboxMarket, ...]:
    """Generated markets with a day of history."""
    return generated(history_days=1)


async def test_embedded_client_has_them_all(
    tmp_path: Path, markets: tuple[SandboxMarket, ...], clock: TrioClock
) -> None:
    """Of the real actors: each tells figures, can be traced, suspended and restarted."""
    async with rehearse(tmp_path, markets, clock=clock) as stage:
        market = stage.market
        await market.candles("KRW-BTC", "1m", 10)
        for actor in ("store", "upbit.limiter", "upbit.cache"):
            report = await market.actor(actor)
            assert report.state.handled > 0
            assert report.statistics is not None
            assert report.statistics.statistics
            assert report.statistics == await market.statistics(actor)
            assert (await market.trace(actor, for_s=1)).ended == "after 1 s"
            assert (await market.suspend(actor)).suspended
            assert not (await market.resume(actor)).suspended
            assert (await market.restart(actor)).incarnation == 2
        lives = {each.name: each.incarnation for each in (await market.tree()).actors}
        again = {"store", "upbit.limiter", "upbit.cache"}
        assert lives == {name: 2 if name in again else 1 for name in lives}
        assert len(await market.candles("KRW-BTC", "1m", 10)) == 10


def test_every_operation_is_a_method_with_the_message_s_parameters() -> None:
    """Nothing exists on one side only, and nothing has two names."""
    for name, kind in OPERATIONS.items():
        parameters = list(inspect.signature(getattr(AsyncClient, name)).parameters)
        assert parameters == ["self", *kind.__struct_fields__, "timeout_s"], name


@pytest.mark.real_time
@pytest.mark.parametrize("name", ["suspend", "resume", "restart"])
def test_what_changes_something_is_never_sent_a_second_time(name: str, tmp_path: Path) -> None:
    """The runtime may have done it before it went away; only the operator can decide."""
    lines: list[bytes] = []
    path = tmp_path / "c.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(0.3)

        def hang_up() -> None:
            for _ in range(2):
                try:
                    accepted, _ = listener.accept()
                except TimeoutError:
                    return
                with accepted:
                    lines.append(accepted.recv(1_000))

        thread = threading.Thread(target=hang_up)
        thread.start()
        with connect(path) as client, pytest.raises(RuntimeUnreachable, match="no marketd runtime"):
            getattr(client, name)("store")
        thread.join()

    assert len(lines) == 1
