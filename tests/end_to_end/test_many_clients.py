"""Many bots over the real socket: they share pages, survive crashes, and cannot break the door."""

from __future__ import annotations

import json
import socket as sockets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from actors.candles import Candles
from actors.errors import MarketDataError
from actors.sandbox.exchange import SandboxExchange
from actors.sandbox.generated import generated_markets
from actors.sandbox.server import open_sandbox_server
from actors.sandbox.simulated_time import SimulatedTime
from actors.timeframes import Timeframe
from runtime import open_client
from runtime.application import Application, open_application
from runtime.client.trio_client import TrioClient
from runtime.config import (
    ControlSettings,
    ExchangesSettings,
    RuntimeSettings,
    Settings,
    UpbitSettings,
)
from runtime.core.clock import SystemClock
from runtime.core.errors import ActorError
from runtime.transport import RuntimeUnreachable

pytestmark = [pytest.mark.real_time, pytest.mark.slow]

# Noon of a day in the sandbox's past; everything before it is final.
NOON_MS = 1_767_268_800_000
MINUTE_MS = 60_000
ACTORS = ("store", "upbit", "upbit.limiter", "upbit.cache", "control")


@asynccontextmanager
async def open_stage(folder: Path) -> AsyncIterator[tuple[Application, SandboxExchange, Path]]:
    """Run a sandbox exchange and a runtime with a socket, both on the real clock."""
    clock = SystemClock()
    start_ms = NOON_MS + 60 * MINUTE_MS
    exchange = SandboxExchange(
        generated_markets(seed=3, now_ms=start_ms),
        clock=clock,
        time=SimulatedTime(clock, start_ms=start_ms),
    )
    socket = folder / "control.sock"
    async with open_sandbox_server(exchange) as server:
        settings = Settings(
            runtime=RuntimeSettings(state_dir=str(folder)),
            control=ControlSettings(socket=str(socket)),
            exchanges=ExchangesSettings(upbit=UpbitSettings(rest_url=server.url)),
        )
        async with open_application(settings, listen=True) as application:
            yield application, exchange, socket


async def test_fifty_bots_with_overlapping_windows_share_the_fewest_pages(tmp_path: Path) -> None:
    """A bot a connection, all at once; the pages are those that cover the union, none twice."""
    spans = [
        (NOON_MS - (60 + 37 * bot) * MINUTE_MS, NOON_MS - 17 * bot * MINUTE_MS) for bot in range(50)
    ]
    answers: dict[int, Candles] = {}
    async with open_stage(tmp_path) as (_, exchange, socket):
        market = exchange.markets["KRW-BTC"]
        first_ms = min(start_ms for start_ms, _ in spans)
        rows = market.candles(
            Timeframe.M1, to_ms=NOON_MS, count=10_000, now_ms=NOON_MS, oldest_ms=first_ms
        )
        all_there = trio.Event()
        async with trio.open_nursery() as nursery:
            connected: list[int] = []

            async def ask(bot: int) -> None:
                async with open_client(socket) as mine:
                    await mine.limits()
                    connected.append(bot)
                    if len(connected) == 50:
                        all_there.set()
                    await all_there.wait()
                    start_ms, end_ms = spans[bot]
                    answers[bot] = await mine.candles("KRW-BTC", "1m", start=start_ms, end=end_ms)

            for bot in range(50):
                nursery.start_soon(ask, bot)
        assert exchange.calls("/v1/candles") == -(-len(rows) // 200)
        assert exchange.rules.refused() == 0
        times = sorted(bar.open_ms for bar in rows)
        for bot, (start_ms, end_ms) in enumerate(spans):
            wanted = [time_ms for time_ms in times if start_ms <= time_ms < end_ms]
            assert answers[bot].open_time_ms.tolist() == wanted
            assert answers[bot].complete


async def until_served(client: TrioClient) -> None:
    """Ask until the store and the exchange have both answered."""
    while True:
        try:
            await client.candles("KRW-BTC", "1m", 50, end=NOON_MS - MINUTE_MS)
            await client.ticker("KRW-XRP", max_age_s=0)
        except (ActorError, MarketDataError, RuntimeUnreachable):
            await trio.lowlevel.checkpoint()
        else:
            return


@pytest.mark.parametrize("victim", ACTORS)
async def test_a_crash_costs_nobody_more_than_one_typed_error(tmp_path: Path, victim: str) -> None:
    """Twenty bots ask on while an actor dies; within a second all of them are served again."""
    outcomes: list[str] = []
    async with open_stage(tmp_path) as (application, exchange, socket):

        async def bot(client: TrioClient, number: int) -> None:
            for turn in range(6):
                end_ms = NOON_MS - (number * 40 + turn * 900) * MINUTE_MS
                try:
                    with trio.fail_after(10):
                        candles = await client.candles("KRW-ETH", "1m", 50, end=end_ms)
                except (ActorError, MarketDataError, RuntimeUnreachable) as error:
                    outcomes.append(type(error).__name__)
                else:
                    assert len(candles) == 50
                    outcomes.append("answer")

        async with open_client(socket) as client:
            await client.candles("KRW-BTC", "1m", 50, end=NOON_MS)
            async with trio.open_nursery() as nursery:
                for number in range(20):
                    nursery.start_soon(bot, client, number)
                while exchange.calls("/v1/candles") < 4:
                    await trio.lowlevel.checkpoint()
                application.wired.root.kill(victim)
                with trio.fail_after(1):
                    await until_served(client)
            status = await client.status()
        assert len(outcomes) == 20 * 6
        assert {actor.name: actor.restarts for actor in status.actors}[victim] == 1
        assert exchange.rules.refused() == 0


async def test_what_is_no_request_hurts_nobody(tmp_path: Path) -> None:
    """Not JSON, wrong types, a 100 MB line: an error each, and the connection lives on."""

    def talk(path: Path) -> list[dict[str, object]]:
        asks = [
            b"GET / HTTP/1.1",
            b'{"jsonrpc":"2.0","id":1,"method":"candles","params":{"market":5,"timeframe":"1m"}}',
            b'{"jsonrpc":"2.0","id":2,"method":"candles","params":{"market":"X","timeframe":"7m"}}',
            b'{"jsonrpc":"2.0","id":3,"method":"nonsense"}',
            b'{"x":"' + b"y" * 100_000_000 + b'"}',
            b'{"jsonrpc":"2.0","id":4,"method":"ticker","params":{"market":"KRW-BTC"}}',
        ]
        replies = []
        with sockets.socket(sockets.AF_UNIX) as connection, connection.makefile("rb") as lines:
            connection.settimeout(20)
            connection.connect(str(path))
            for ask in asks:
                connection.sendall(ask + b"\n")
                replies.append(json.loads(lines.readline()))
        return replies

    async with open_stage(tmp_path) as (_, _, socket):
        replies = await trio.to_thread.run_sync(talk, socket)  # noqa: TID251 - a blocking bot
    codes = [reply.get("error", {}).get("code") for reply in replies]  # type: ignore[attr-defined]
    assert codes == [-32700, -32602, -32602, -32601, -32600, None]
    assert replies[-1]["id"] == 4
