"""250 markets at once: that nothing is lost, and what it costs.

A sandbox exchange of 250 markets, a daemon and a bot, each a process of its own. The bot subscribes
to every ticker, every trade and every order book, and afterwards asks the exchange itself, page by
page, which trades there were.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

import httpx
import msgspec
import pytest
import trio

from actors.updates import Missed, OrderBookUpdate, TickerUpdate, TradeUpdate
from runtime import open_client
from runtime.testing_processes import Process, start_daemon, start_sandbox

pytestmark = [pytest.mark.benchmark, pytest.mark.real_time]

MARKETS = 250
WATCHED_S = 20.0
KINDS = ("ticker", "trades", "orderbook")


class _Tick(msgspec.Struct):
    sequential_id: int


def cpu_s(process: Process) -> float:
    """Return how much processor time a process has used, in seconds (Linux)."""
    fields = (
        Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    )
    ticks = int(fields[11]) + int(fields[12])
    return ticks / 100


def resident_mb(process: Process) -> float:
    """Return how much memory a process has, in MB (Linux)."""
    pages = int(Path(f"/proc/{process.pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def watch(
    socket: Path, kind: str, codes: list[str], told: dict[str, list[int]]
) -> Counter[str]:
    """Collect what is told for a while; return how much of each kind."""
    counts: Counter[str] = Counter()
    async with (
        open_client(socket) as market,
        market.subscribe(kind, *codes, keep="every", capacity=100_000) as updates,  # type: ignore[arg-type]
    ):
        with trio.move_on_after(WATCHED_S):
            async for update in updates:
                counts[type(update).__name__] += 1
                if isinstance(update, TradeUpdate):
                    told.setdefault(update.trade.market, []).append(update.trade.trade_id)
                elif isinstance(update, Missed):
                    counts["missed"] += update.count or 0
    return counts


async def lost_trades(url: str, told: dict[str, list[int]]) -> tuple[int, int]:
    """Return how many trades the exchange knows in the time told of, and how many were not told."""
    there = lost = 0
    decoder = msgspec.json.Decoder(list[_Tick])
    async with httpx.AsyncClient(base_url=url) as client:
        for code, ids in told.items():
            # Ten a second are allowed.
            await trio.sleep(0.12)
            response = await client.get("/v1/trades/ticks", params={"market": code, "count": "500"})
            found = {tick.sequential_id for tick in decoder.decode(response.content)}
            wanted = {each for each in found if min(ids) <= each <= max(ids)}
            there += len(wanted)
            lost += len(wanted - set(ids))
    return there, lost


def test_nothing_of_250_markets_is_lost(tmp_path: Path) -> None:
    """Tickers, trades and order books of all of them, over the socket, as a bot gets them."""
    told: dict[str, list[int]] = {}
    counts: Counter[str] = Counter()
    with (
        start_sandbox("--markets", str(MARKETS), folder=tmp_path) as (_, url),
        start_daemon(tmp_path, rest_url=url) as (daemon, socket),
    ):
        listed = httpx.get(f"{url}/v1/market/all").json()
        codes = [market["market"] for market in listed]
        assert len(codes) == MARKETS

        async def main() -> None:
            async with trio.open_nursery() as nursery:

                async def one(kind: str) -> None:
                    counts.update(await watch(socket, kind, codes, told))

                for kind in KINDS:
                    nursery.start_soon(one, kind)

        before_s, began_s = cpu_s(daemon), time.perf_counter()
        trio.run(main)
        used_s, took_s = cpu_s(daemon) - before_s, time.perf_counter() - began_s
        memory_mb = resident_mb(daemon)
        there, lost = trio.run(lost_trades, url, told)
    updates = counts[TickerUpdate.__name__] + counts[TradeUpdate.__name__]
    updates += counts[OrderBookUpdate.__name__]
    print(
        f"\n{MARKETS} markets x (ticker, trades, order book) for {took_s:.0f} s: {updates} "
        f"updates, {updates / took_s:.0f}/s, {counts['missed']} missed; {lost} of {there} trades "
        f"lost; daemon {used_s / took_s:.0%} of a core, {1e6 * used_s / max(1, updates):.0f} us "
        f"an update, {memory_mb:.0f} MB"
    )
    assert lost == 0
    assert counts["missed"] == 0
    assert len(told) > MARKETS / 2
