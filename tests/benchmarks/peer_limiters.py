"""Well-known limiters, set up as their documentation says, on one virtual asyncio loop.

All of them reason in the times of sending. Each is asked for "10 a second", and once more with the
usual remedy of going ten percent slower. aiolimiter's documentation has a third way, against
bursts: one at a time.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping

from aiolimiter import AsyncLimiter
from pyrate_limiter import (
    AbstractClock,
    Duration,
    InMemoryBucket,
    Limiter,
    Rate,
    SingleBucketFactory,
    StateBucket,
    TokenBucket,
)

from runtime.testing_limits_journeys import Journey
from runtime.testing_limits_servers import LimitServer
from tests.benchmarks.virtual_asyncio import run_in_virtual_time

Acquire = Callable[[], Awaitable[object]]
MakePeer = Callable[[], Acquire]


class PlainTokenBucket:
    """The bucket that everybody writes: full at first, filled evenly, first come, first served."""

    def __init__(self, rate_per_s: float, burst: int) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._tokens = float(burst)
        self._filled_s = 0.0
        self._turn = asyncio.Lock()

    async def acquire(self) -> None:
        """Wait for a token, and take it."""
        loop = asyncio.get_running_loop()
        async with self._turn:
            while True:
                flown_in = (loop.time() - self._filled_s) * self._rate_per_s
                self._tokens = min(self._burst, self._tokens + flown_in)
                self._filled_s = loop.time()
                if self._tokens >= 1 - 1e-9:
                    self._tokens -= 1
                    return
                await asyncio.sleep((1 - self._tokens) / self._rate_per_s)


class _LoopClock(AbstractClock):
    """The running loop's time, in the milliseconds that pyrate-limiter counts in."""

    def now(self) -> int:
        return int(asyncio.get_running_loop().time() * 1000)


class _VirtualLog(InMemoryBucket):
    """pyrate-limiter's default bucket, on the loop's time."""

    def now(self) -> int:
        return _LoopClock().now()


def pyrate(rate: int) -> Acquire:
    """Return pyrate-limiter's default: a log of the times of sending."""
    bucket = _VirtualLog([Rate(rate, Duration.SECOND)])
    # Its own leaking runs in a thread, in real time; a log that is never cleared is as right.
    limiter = Limiter(SingleBucketFactory(bucket, schedule_leak=False))
    return lambda: limiter.try_acquire_async("server")


def pyrate_bucket(rate: int) -> Acquire:
    """Return pyrate-limiter's token bucket."""
    bucket = StateBucket([Rate(rate, Duration.SECOND)], algorithm=TokenBucket(), clock=_LoopClock())
    limiter = Limiter(SingleBucketFactory(bucket, schedule_leak=False))
    return lambda: limiter.try_acquire_async("server")


PEERS: Mapping[str, MakePeer] = {
    "aiolimiter (10, 1 s)": lambda: AsyncLimiter(10, 1).acquire,
    "aiolimiter (9, 1 s)": lambda: AsyncLimiter(9, 1).acquire,
    "aiolimiter (1, 0.1 s)": lambda: AsyncLimiter(1, 1 / 10).acquire,
    "aiolimiter (1, 1/9 s)": lambda: AsyncLimiter(1, 1 / 9).acquire,
    "pyrate log 10/s": lambda: pyrate(10),
    "pyrate log 9/s": lambda: pyrate(9),
    "pyrate bucket 10/s": lambda: pyrate_bucket(10),
    "pyrate bucket 9/s": lambda: pyrate_bucket(9),
    "plain bucket 10/s": lambda: PlainTokenBucket(10, 10).acquire,
    "plain bucket 9/s": lambda: PlainTokenBucket(9, 10).acquire,
}


def saturate_peer(
    make: MakePeer, server: LimitServer, journey: Journey, *, seconds: float, seed: int
) -> int:
    """Let callers ask a peer and then the server, without end; return how many requests went.

    Args:
      make: Makes the peer.
      server: What counts the requests.
      journey: What befalls them; only how long they take matters.
      seconds: For how long, in virtual seconds.
      seed: Of the journeys.
    """
    rng = random.Random(seed)
    sent = 0

    async def ask(acquire: Acquire) -> None:
        nonlocal sent
        loop = asyncio.get_running_loop()
        while True:
            await acquire()
            trip = journey.trip(rng)
            sent += 1
            await asyncio.sleep(trip.there_s)
            server.arrive("candle", loop.time())
            await asyncio.sleep(trip.back_s)

    async def main() -> None:
        # A window passes first, as for ours: what was spent before is forgotten.
        await asyncio.sleep(2.0)
        acquire = make()
        # Enough that the peer, and not the callers, is what holds requests back.
        callers = [asyncio.create_task(ask(acquire)) for _ in range(60)]
        await asyncio.sleep(seconds)
        for each in callers:
            each.cancel()
        await asyncio.gather(*callers, return_exceptions=True)

    run_in_virtual_time(main())
    return sent
