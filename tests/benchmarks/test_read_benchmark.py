"""What a read costs: inside the process against a dictionary, over the socket against Redis.

Every figure is printed beside its floor or peer, measured in the same run and in turn; timing is
not asserted, because machines are shared.
"""

from __future__ import annotations

import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from actors.candles import Candles
from actors.messages import GetCandles
from actors.series import Series
from actors.stores.testing import made_candles
from runtime import open_runtime
from runtime.client.blocking import BlockingClient
from runtime.config import (
    CacheSettings,
    ControlSettings,
    RuntimeSettings,
    Settings,
    StoreSettings,
)
from runtime.core.actor import Actor
from runtime.core.clock import SystemClock
from runtime.core.message import Request
from runtime.core.table import Table
from runtime.testing import open_actor

pytestmark = [pytest.mark.benchmark, pytest.mark.real_time]

ROUNDS = 5_000


class Ping(Request[int], frozen=True):
    """A request with nothing to do."""


class Echo(Actor):
    """Answers at once."""

    async def handle_call(self, request: Request[Any]) -> int:
        """Return a constant."""
        assert isinstance(request, Ping)
        return 1


def median_us(action: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Return the median time of `action`, in microseconds."""
    times = []
    for _ in range(rounds):
        started = time.perf_counter_ns()
        action()
        times.append(time.perf_counter_ns() - started)
    return statistics.median(times) / 1000


def settings_in(folder: Path) -> Settings:
    """Return settings under which everything stays in `folder` and stays fresh."""
    return Settings(
        runtime=RuntimeSettings(state_dir=str(folder)),
        control=ControlSettings(socket=str(folder / "control.sock")),
        store=StoreSettings(kind="memory"),
        cache=CacheSettings(max_age_s=600.0),
    )


def say(what: str, ours_us: float, floor_us: float, floor: str) -> None:
    """Print a figure and its ratio to what it is compared with."""
    print(
        f"\n{what}: {ours_us:7.2f} us; {floor}: {floor_us:7.2f} us; ratio {ours_us / floor_us:.2f}",
        end="",
    )


async def test_embedded_read_against_a_dictionary_and_one_async_call(tmp_path: Path) -> None:
    """Wanted: at most 3 us, and at most a fifth of a message there and back."""
    async with open_runtime(settings_in(tmp_path), sandbox=True) as market:
        await market.candles("KRW-BTC", "1m", 200)
        shelf = {("KRW-BTC", "1m"): 1}

        async def from_dictionary() -> int:
            return shelf["KRW-BTC", "1m"]

        ours, floor = [], []
        for _ in range(ROUNDS):
            started = time.perf_counter_ns()
            candles = await market.candles("KRW-BTC", "1m", 200)
            between = time.perf_counter_ns()
            await from_dictionary()
            floor.append(time.perf_counter_ns() - between)
            ours.append(between - started)
            assert candles.source == "memory"
    ours_us, floor_us = statistics.median(ours) / 1000, statistics.median(floor) / 1000
    say("embedded read of 200 candles", ours_us, floor_us, "dictionary and async call")
    call_us, _ = await call_and_channel()
    say("embedded read of 200 candles", ours_us, call_us, "actor call and reply")


async def call_and_channel() -> tuple[float, float]:
    """Return the medians of an actor call and of a bare channel there and back."""
    send, receive = trio.open_memory_channel[int](1)
    send_back, receive_back = trio.open_memory_channel[int](1)

    async def echo() -> None:
        async for value in receive:
            await send_back.send(value)

    calls, bare = [], []
    async with open_actor(Echo, clock=SystemClock()) as ref, trio.open_nursery() as nursery:
        nursery.start_soon(echo)
        for _ in range(ROUNDS):
            started = time.perf_counter_ns()
            await ref.call(Ping())
            between = time.perf_counter_ns()
            await send.send(1)
            await receive_back.receive()
            bare.append(time.perf_counter_ns() - between)
            calls.append(between - started)
        send.close()
    return statistics.median(calls) / 1000, statistics.median(bare) / 1000


async def test_actor_call_against_a_bare_channel_there_and_back() -> None:
    """Wanted: at most twice."""
    call_us, channel_us = await call_and_channel()
    say("actor call and reply", call_us, channel_us, "bare channel there and back")


def test_table_read_against_a_dictionary_read() -> None:
    """Wanted: within three times; both include the cost of the measuring loop."""
    table: Table[str, int] = Table("figures")
    table.claim("benchmark").put("key", 1)
    shelf = {"key": 1}

    def loop(read: Callable[[str], object]) -> float:
        started = time.perf_counter_ns()
        for _ in range(1_000):
            read("key")
        return (time.perf_counter_ns() - started) / 1e6

    ours = statistics.median(loop(table.get) for _ in range(500))
    floor = statistics.median(loop(shelf.get) for _ in range(500))
    say("table read", ours, floor, "dictionary read")


@contextmanager
def open_redis(folder: Path) -> Iterator[Path]:
    """Run a Redis server of our own on a socket in `folder`."""
    program = shutil.which("redis-server")
    assert program is not None, "the benchmark needs redis-server (Debian package redis-server)"
    path = folder / "redis.sock"
    options = ["--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(folder)]
    with subprocess.Popen([program, *options], stdout=subprocess.DEVNULL) as process:
        try:
            while True:
                try:
                    with socket.socket(socket.AF_UNIX) as probe:
                        probe.connect(str(path))
                    break
                except OSError:
                    assert process.poll() is None, "redis-server did not start"
            yield path
        finally:
            process.terminate()


class Row(msgspec.Struct):
    """A candle as somebody would keep it in Redis."""

    open_time_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    value: float
    closed: bool


def test_socket_read_into_numpy_against_redis_and_json(tmp_path: Path) -> None:
    """Wanted: faster than Redis GET and typed JSON decoding of the same candles, same language."""
    import redis  # noqa: PLC0415 - only this benchmark needs it

    decode = msgspec.json.Decoder(list[Row]).decode
    daemon = [sys.executable, "-c", DAEMON, str(tmp_path)]
    with open_redis(tmp_path) as path, subprocess.Popen(daemon, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            with BlockingClient(tmp_path / "control.sock") as market:
                candles = market.candles("KRW-BTC", "1m", 200)
                assert len(candles) == 200
                client: Any = redis.Redis(unix_socket_path=str(path))
                client.set("candles", msgspec.json.encode([row._asdict() for row in candles]))
                ours, theirs = [], []
                for _ in range(ROUNDS):
                    started = time.perf_counter_ns()
                    market.candles("KRW-BTC", "1m", 200)
                    between = time.perf_counter_ns()
                    decode(client.get("candles"))
                    theirs.append(time.perf_counter_ns() - between)
                    ours.append(between - started)
                client.close()
        finally:
            process.terminate()
    ours_us, theirs_us = statistics.median(ours) / 1000, statistics.median(theirs) / 1000
    say("200 candles over the socket into numpy", ours_us, theirs_us, "Redis GET + typed JSON")


DAEMON = """
import sys
from pathlib import Path
import trio
from runtime import open_runtime
from runtime.config import *

async def main(folder):
    settings = Settings(
        runtime=RuntimeSettings(state_dir=str(folder)),
        control=ControlSettings(socket=str(folder / "control.sock")),
        store=StoreSettings(kind="memory"),
        cache=CacheSettings(max_age_s=600.0),
    )
    async with open_runtime(settings, sandbox=True, listen=True):
        print("ready", flush=True)
        await trio.sleep_forever()

trio.run(main, Path(sys.argv[1]))
"""


def test_memory_of_a_cached_candle() -> None:
    """Wanted: at most 80 bytes; the floor is seven columns of eight."""
    series = Series.parse("KRW-BTC", "1m")
    candles: Candles = made_candles(series, 1_735_689_600_000, 200)
    say("bytes of a cached candle", candles.nbytes / len(candles), 56.0, "seven columns of eight")


def test_making_the_question_costs_little() -> None:
    """What a client pays before anything is sent."""
    ours = median_us(lambda: GetCandles(market="KRW-BTC", timeframe="1m", count=200))
    floor = median_us(lambda: {"market": "KRW-BTC", "timeframe": "1m", "count": 200})
    say("making a request", ours, floor, "making a dict")
