"""What a live frame costs until bots can read it, against receiving and decoding it alone.

A process of its own (`frame_server.py`) sends the frames as fast as they are taken: tickers, trades
and order books of 250 markets in equal parts, in the exchange's short format. The floor receives
and decodes them with the runtime's own driver and decoder and does nothing else; the peer is what
bots usually run: `websockets` on asyncio, `json`, and a dictionary for each message.

Every figure is printed beside the others, measured in turn in the same run; timing is not asserted,
because machines are shared. That nothing is lost is.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from actors.exchanges.streams import StreamKey
from actors.exchanges.upbit.stream import UpbitStream
from actors.exchanges.websocket import open_websocket
from actors.feed import FeedActor
from actors.feed_tables import FeedPolicy, FeedTables
from actors.wants import Wants
from runtime.core.clock import SystemClock
from runtime.core.registry import Registry
from runtime.testing import open_actor, wait_for

pytestmark = [pytest.mark.benchmark, pytest.mark.real_time]

MARKETS = 250
ROUNDS = 40
REPEATS = 3
FRAMES = MARKETS * ROUNDS * 3

SERVER = Path(__file__).with_name("frame_server.py")


@contextmanager
def frame_server() -> Iterator[str]:
    """Run the server and give its URL."""
    with subprocess.Popen(
        [sys.executable, str(SERVER), str(MARKETS), str(ROUNDS)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield f"ws://127.0.0.1:{process.stdout.readline().strip()}/websocket/v1"
        finally:
            process.kill()


def all_streams() -> dict[StreamKey, int]:
    """Return the three streams of every market."""
    codes = [f"KRW-M{number:03d}" for number in range(MARKETS)]
    return {
        key: 30 if key.kind == "orderbook" else 0
        for code in codes
        for key in (
            StreamKey("ticker", code),
            StreamKey("trade", code),
            StreamKey("orderbook", code),
        )
    }


async def floor(url: str) -> float:
    """Return how many frames a second are received and decoded when nothing else is done."""
    adapter, left = UpbitStream(), FRAMES
    async with open_websocket(url, timeout_s=10) as socket:
        await socket.send(adapter.subscribe({StreamKey("ticker", "KRW-BTC"): 0}, ticket="floor"))
        began_s = time.perf_counter()
        while left:
            for frame in await socket.receive():
                left -= len(adapter.read(frame))
        return FRAMES / (time.perf_counter() - began_s)


class Gate:
    """Opens the one connection of a run without asking anybody."""

    def __init__(self, url: str) -> None:
        self._url = url

    @asynccontextmanager
    async def open(self) -> Any:
        """Open it."""
        async with open_websocket(self._url, timeout_s=10) as socket:
            yield socket


async def ours(url: str) -> float:
    """Return how many frames a second go from the wire into the tables that bots read."""
    tables, wants, registry = FeedTables("upbit"), Wants(), Registry()

    @asynccontextmanager
    async def open_gate() -> Any:
        yield Gate(url)

    def factory() -> FeedActor:
        return FeedActor(
            open_gate,
            stream=UpbitStream(),
            exchange="upbit",
            cache=registry.ref("cache"),
            tables=tables,
            wants=wants,
            policy=FeedPolicy(),
        )

    last = StreamKey("trade", f"KRW-M{MARKETS - 1:03d}")
    with wants.hold(all_streams()):
        async with open_actor(factory, registry=registry, clock=SystemClock()):
            await wait_for(lambda: len(tables.quotes) > 0, within_s=30)
            began_s = time.perf_counter()
            with trio.fail_after(60):
                while len(getattr(tables.quotes.get(last), "value", ())) < ROUNDS:  # noqa: ASYNC110
                    await trio.sleep(0.001)
            rate = FRAMES / (time.perf_counter() - began_s)
    trades = [tables.quotes.get(key) for key in all_streams() if key.kind == "trade"]
    assert all(tape is not None and len(tape.value) == ROUNDS for tape in trades)  # type: ignore[arg-type]
    return rate


async def peer(url: str) -> float:
    """Return the rate of a bot on `websockets` and `json` that keeps a dictionary a message."""
    from websockets.asyncio.client import connect  # noqa: PLC0415 - the peer's own driver

    tickers: dict[str, dict[str, Any]] = {}
    books: dict[str, dict[str, Any]] = {}
    trades: dict[str, list[dict[str, Any]]] = {}
    async with connect(url, compression=None, max_queue=1024) as socket:
        await socket.send("[]")
        began_s = time.perf_counter()
        for _ in range(FRAMES):
            message = json.loads(await socket.recv())
            code = message["cd"]
            if message["ty"] == "ticker":
                tickers[code] = _peer_ticker(message)
            elif message["ty"] == "trade":
                trades.setdefault(code, []).append(_peer_trade(message))
            else:
                books[code] = _peer_book(message)
        return FRAMES / (time.perf_counter() - began_s)


def _peer_ticker(message: dict[str, Any]) -> dict[str, Any]:
    return {
        "symbol": message["cd"],
        "timestamp": message["tms"],
        "high": float(message["hp"]),
        "low": float(message["lp"]),
        "open": float(message["op"]),
        "close": float(message["tp"]),
        "last": float(message["tp"]),
        "previousClose": float(message["pcp"]),
        "change": float(message["scp"]),
        "percentage": float(message["scr"]) * 100,
        "baseVolume": float(message["atv24h"]),
        "quoteVolume": float(message["atp24h"]),
        "info": message,
    }


def _peer_trade(message: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": str(message["sid"]),
        "symbol": message["cd"],
        "timestamp": message["ttms"],
        "side": "buy" if message["ab"] == "BID" else "sell",
        "price": float(message["tp"]),
        "amount": float(message["tv"]),
        "cost": float(message["tp"]) * float(message["tv"]),
        "info": message,
    }


def _peer_book(message: dict[str, Any]) -> dict[str, Any]:
    units = message["obu"]
    return {
        "symbol": message["cd"],
        "timestamp": message["tms"],
        "asks": sorted([float(unit["ap"]), float(unit["as"])] for unit in units),
        "bids": sorted(([float(unit["bp"]), float(unit["bs"])] for unit in units), reverse=True),
    }


def test_a_live_frame_is_published_at_most_of_the_rate_of_decoding_it() -> None:
    """The architecture wants 60 % of the floor; the peer shows what bots are used to."""
    ways: dict[str, Callable[[str], float]] = {
        "floor": lambda url: trio.run(partial(floor, url)),
        "ours": lambda url: trio.run(partial(ours, url)),
        "peer": lambda url: asyncio.run(peer(url)),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    with frame_server() as url:
        for _ in range(REPEATS):
            for name, run in ways.items():
                rates[name].append(run(url))
    middle = {name: statistics.median(found) for name, found in rates.items()}
    print(
        f"\nlive frames, {MARKETS} markets x (ticker, trade, 30-level book), {FRAMES} a run, "
        f"frames/s: floor {middle['floor']:,.0f}, published {middle['ours']:,.0f}, websockets and "
        f"json {middle['peer']:,.0f}\n"
        f"  published / floor {middle['ours'] / middle['floor']:.2f} (wanted 0.60), "
        f"published / websockets and json {middle['ours'] / middle['peer']:.2f}"
    )
