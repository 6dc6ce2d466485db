"""What tests of jobs need: a scheduler in fake time, and a cache that keeps to a script."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio

from actors.candles import Candles
from actors.job_messages import GetJobRuns, ListJobs, RunJob
from actors.job_reports import JobReport, JobRun, JobSpec, JobStarted
from actors.keeper import BlobKeeper, MemoryKeeper
from actors.messages import GetMarkets
from actors.preload_messages import LoadCandles
from actors.quotes import MarketInfo
from actors.series import Series
from runtime.core.actor import Actor
from runtime.core.child import ChildSpec
from runtime.core.clock import Clock
from runtime.core.mailbox import Reply
from runtime.core.message import Request
from runtime.core.ref import ActorRef
from runtime.core.registry import Registry
from runtime.core.supervisor import Supervisor
from runtime.core.tree import open_tree
from runtime.testing import wait_for

MINUTE_MS = 60_000
# Longer than any wait of a test, on fake time.
_TIMEOUT_S = 1_000_000.0


@dataclass(slots=True)
class CacheScript:
    """What a `ScriptedCache` does, and what it was asked.

    Attributes:
      takes_s: How long it takes over each series, in seconds.
      rows: How many candles it has of each.
      markets: What the exchange lists.
      errors: What it answers to the next questions about a series, such as `KRW-BTC 1m`, or about
        `markets`; None for an answer. After the last it answers.
      asked: Each question about candles, with when it came, on `Clock.now_s`.
      at_once_max: The most series it ever worked on at a time.
    """

    takes_s: float = 0.0
    rows: int = 3
    markets: tuple[str, ...] = ("KRW-BTC", "KRW-ETH", "BTC-ETH")
    errors: dict[str, list[Exception | None]] = field(default_factory=dict)
    asked: list[tuple[float, LoadCandles]] = field(default_factory=list)
    at_once_max: int = 0

    def error_for(self, what: str) -> Exception | None:
        """Return, once, the error that is up next."""
        left = self.errors.get(what)
        return left.pop(0) if left else None

    def moments_s(self) -> list[float]:
        """Return when it was asked for candles."""
        return [now_s for now_s, _ in self.asked]


class ScriptedCache(Actor):
    """In place of a CacheActor.

    Args:
      script: What it does.
    """

    def __init__(self, script: CacheScript) -> None:
        self._script = script
        self._at_once = 0

    async def handle_call(self, request: Request[Any]) -> object:
        """Answer as the script says."""
        match request:
            case GetMarkets():
                error = self._script.error_for("markets")
                if error is not None:
                    raise error
                return tuple(MarketInfo(market=market) for market in self._script.markets)
            case LoadCandles():
                self._script.asked.append((self.context.clock.now_s(), request))
                self.context.nursery.start_soon(self._load, request, self.context.take_reply())
                return None
            case _:
                return await super().handle_call(request)

    async def _load(self, request: LoadCandles, reply: Reply) -> None:
        script, asked = self._script, request.candles
        self._at_once += 1
        script.at_once_max = max(script.at_once_max, self._at_once)
        series = Series.parse(asked.market, asked.timeframe)
        error = script.error_for(str(series))
        await trio.sleep(script.takes_s)
        self._at_once -= 1
        if error is not None:
            reply.fail(error)
            return
        rows = [
            (place * MINUTE_MS, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, True) for place in range(script.rows)
        ]
        reply.send(Candles.from_rows(series, rows))


@dataclass(frozen=True, slots=True)
class JobStage:
    """A scheduler that runs.

    Attributes:
      scheduler: The SchedulerActor.
      cache: The only exchange's cache.
      root: The top of the tree.
      lives: The scheduler's incarnations, the present one last.
    """

    scheduler: ActorRef
    cache: CacheScript
    root: Supervisor
    lives: list[Actor]

    async def ask(self, request: Request[Any]) -> Any:
        """Return the scheduler's answer."""
        return await self.scheduler.call(request, timeout_s=_TIMEOUT_S)

    async def job(self, name: str) -> JobReport:
        """Return what is told of one job."""
        jobs: tuple[JobReport, ...] = await self.ask(ListJobs())
        return next(job for job in jobs if job.name == name)

    async def runs(self, name: str = "", count: int = 10_000) -> tuple[JobRun, ...]:
        """Return records."""
        found: tuple[JobRun, ...] = await self.ask(GetJobRuns(name=name, count=count))
        return found

    async def run(self, name: str, *, wait: bool = True) -> JobStarted:
        """Run a job by hand."""
        started: JobStarted = await self.ask(RunJob(name=name, wait=wait))
        return started

    async def has_asked(self, times: int) -> None:
        """Return when the cache was asked so often."""
        await wait_for(lambda: len(self.cache.asked) >= times, within_s=_TIMEOUT_S)


@asynccontextmanager
async def open_scheduler(
    make: Callable[..., Actor],
    jobs: Mapping[str, JobSpec],
    *,
    clock: Clock,
    cache: CacheScript | None = None,
    keeper: BlobKeeper | None = None,
    settle_s: float = 0.0,
    seed: int = 0,
) -> AsyncIterator[JobStage]:
    """Run a scheduler, and a cache for it, for as long as the block runs.

    Args:
      make: Makes a SchedulerActor of its arguments.
      jobs: Those of the settings file.
      clock: Where time is read.
      cache: What the cache does.
      keeper: What keeps the rest; nothing does if None.
      settle_s: How long after its end a candle may still change, in seconds.
      seed: Of the source of chance.
    """
    script = CacheScript() if cache is None else cache
    kept = MemoryKeeper() if keeper is None else keeper
    registry = Registry()
    caches = {"upbit": registry.ref("cache")}
    lives: list[Actor] = []

    def born() -> Actor:
        lives.append(make(jobs, caches=caches, keeper=kept, settle_s=settle_s))
        return lives[-1]

    root = Supervisor(
        [ChildSpec("cache", lambda: ScriptedCache(script)), ChildSpec("scheduler", born)],
        intensity=None,
    )
    rng = random.Random(seed)  # noqa: S311 - seeded on purpose
    async with open_tree(root, clock=clock, rng=rng, registry=registry):
        yield JobStage(registry.ref("scheduler"), script, root, lives)
