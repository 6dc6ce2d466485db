"""A subscriber that stops reading for a minute, among twenty that read, over real sockets.

The latency of an update is the time from publishing it to having its line read, decoded as a bot's
client decodes it. Printed before, while and after one subscriber of each policy does not read;
memory must not grow by what they leave unread, and each is told what it missed.
"""

from __future__ import annotations

import resource
import statistics
import time
from array import array
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trio

from actors.updates import MarketUpdate, Missed, TickerUpdate
from runtime.client.trio_client import open_client
from runtime.core.pubsub import PubSub, latest_of_topic
from runtime.testing_socket import open_control
from runtime.testing_updates import UpdateFeed, ticker_update

pytestmark = [pytest.mark.benchmark, pytest.mark.real_time]

READERS = 20
MARKETS = tuple(f"KRW-{number}" for number in range(50))
# Every market ten times a second.
TICK_S = 0.1
QUIET_S = 15.0
STOPPED_S = 60.0


class Bench:
    """Readers, what publishes to them, and what they have measured.

    Attributes:
      latencies: Seconds from publishing to having read, since the last `phase`.
      read: Updates read.
      memory_kb: The most memory there had been at the end of the last `phase`.
    """

    def __init__(self) -> None:
        self.feed = UpdateFeed()
        # Packed, because what is measured here is memory as well.
        self.latencies = array("d")
        self.read = 0
        self.memory_kb = 0

    async def publish(self) -> None:
        """Publish until cancelled; the price is the time of publishing."""
        while True:
            for market in MARKETS:
                update = ticker_update(time.perf_counter(), market)
                self.feed.publish(update, market=market)
                # Spread out, as markets are: a burst would measure how long the burst takes.
                await trio.sleep(TICK_S / len(MARKETS))

    async def reader(self, updates: Any) -> None:
        """Read until cancelled."""
        async for update in updates:
            if isinstance(update, TickerUpdate):
                self.latencies.append(time.perf_counter() - update.ticker.price)
                self.read += 1

    async def phase(self, name: str, seconds: float) -> float:
        """Measure for some seconds, print, and return the 99th percentile."""
        del self.latencies[:]
        await trio.sleep(seconds)
        # Before the sorting below, which takes more than anything measured here.
        self.memory_kb = memory_kb()
        cuts = statistics.quantiles(self.latencies, n=100)
        print(
            f"{name:34} {len(self.latencies):8} updates  p50 {cuts[49] * 1e3:7.2f} ms"
            f"  p99 {cuts[98] * 1e3:7.2f} ms  most {max(self.latencies) * 1e3:7.2f} ms"
        )
        return cuts[98]


def memory_kb() -> int:
    """Return the most memory this process has had resident."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


async def missed(updates: Any, *, until: Callable[[MarketUpdate], bool]) -> int:
    """Read on until something; return how many updates were left out."""
    count = 0
    async for update in updates:
        if isinstance(update, Missed):
            count += update.count or 0
        if until(update):
            break
    return count


async def test_a_subscriber_that_stops_reading_delays_nobody(tmp_path: Path) -> None:
    """The others' p99 is to stay within twice of before; memory is bounded, and it is told."""
    bench, path = Bench(), tmp_path / "c.sock"
    async with (
        open_control(path=path, subscribe=bench.feed.subscribe),
        open_client(path) as market,
        AsyncExitStack() as stack,
        trio.open_nursery() as nursery,
    ):
        # Blocks without tasks of their own, so they may end after the nursery.
        enter: Callable[[Any], Awaitable[Any]] = stack.enter_async_context
        for _ in range(READERS):
            subscription = market.subscribe("ticker", *MARKETS, keep="every", capacity=10_000)
            nursery.start_soon(bench.reader, await enter(subscription))
        nursery.start_soon(bench.publish)
        print()
        before_s = await bench.phase("before", QUIET_S)
        stopped = [
            await enter(market.subscribe("ticker", *MARKETS, keep="latest")),
            await enter(market.subscribe("ticker", *MARKETS, keep="every", capacity=1_000)),
        ]
        memory = memory_kb()
        bench.read = 0
        during_s = await bench.phase("while two do not read", STOPPED_S)
        grown = bench.memory_kb - memory
        resumed_s, told_at_resume = time.perf_counter(), bench.read

        def is_new(update: MarketUpdate) -> bool:
            return isinstance(update, TickerUpdate) and update.ticker.price > resumed_s

        left_out = [await missed(each, until=is_new) for each in stopped]
        after_s = await bench.phase("after they read again", QUIET_S)
        nursery.cancel_scope.cancel()

    published = told_at_resume // READERS
    print(
        f"p99 while / before: {during_s / before_s:.2f}   after / before {after_s / before_s:.2f}"
    )
    print(f"memory grew by {grown} kB while some {published} updates were not read")
    print(f"told as missed: latest {left_out[0]}, every {left_out[1]}")
    assert grown < 20_000
    assert min(left_out) > published / 2


def test_publishing_costs_little() -> None:
    """Per event: without subscribers, and for each of them."""
    rounds = 200_000
    topic, event = ("ticker", "KRW-BTC", ""), ticker_update(1.0)

    def measure(pubsub: PubSub) -> float:
        begun_s = time.perf_counter()
        for _ in range(rounds):
            pubsub.publish(topic, event)
        return (time.perf_counter() - begun_s) / rounds * 1e6

    pubsub = PubSub()
    print(f"\npublish without subscribers   {measure(pubsub):6.3f} µs")
    with pubsub.subscribe(topic, key=latest_of_topic):
        print(f"to one that keeps the latest  {measure(pubsub):6.3f} µs")
    with pubsub.subscribe(topic, capacity=1_000):
        print(f"to one that keeps every       {measure(pubsub):6.3f} µs")
