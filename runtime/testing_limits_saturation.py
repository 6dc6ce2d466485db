"""Saturate a limiter for hours of virtual time, and see what its server thinks of that.

The limiter is a real actor that is asked by real messages; the caller says which, because concrete
actors are the wiring's business. It may crash, and its whole process may end and begin anew.
"""

from __future__ import annotations

import math
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import trio

from actors.exchanges.base import GroupRules
from actors.limit_file import KeptLimits, LimitKeeper
from actors.limit_tables import LimitTables
from actors.messages import AcquirePermit, Permit, Priority, ReleasePermit
from runtime.core.actor import Actor
from runtime.core.clock import TrioClock
from runtime.core.errors import ActorRestarted
from runtime.core.mailbox import MailboxSpec
from runtime.core.ref import ActorRef
from runtime.core.replay import run_replayable
from runtime.testing import NEW_YEAR_MS, open_actor
from runtime.testing_limits_journeys import Fate, Journey, Trip, steady
from runtime.testing_limits_servers import Answer, CounterMaker, LimitServer, ServerClock

MakeLimiter = Callable[[Mapping[str, GroupRules], LimitTables, LimitKeeper | None], Actor]
"""Makes one incarnation of the limiter: from its limits, tables and keeper."""

# How long callers wait for an answer, as real ones do.
TIMEOUT_S = 10.0

_MAILBOX = MailboxSpec(capacity=4096)


@dataclass(frozen=True, slots=True)
class Asking:
    """One kind of request, asked for again and again.

    Attributes:
      group: What it counts in.
      holder: Whom it counts for, where that matters.
      weights: What it may weigh.
      priority: How urgent it is.
      callers: How many ask at once.
    """

    group: str
    holder: str = ""
    weights: tuple[int, ...] = (1,)
    priority: Priority = Priority.ASKED
    callers: int = 30


@dataclass(frozen=True, slots=True)
class Scenario:
    """Everything about one run.

    Attributes:
      limits: What is allowed.
      make_counter: How the server counts.
      askings: Who asks for what.
      journey: What befalls requests.
      server_clock: What the server's clock shows.
      headers: Whether answers say what is left.
      crash_every_s: How often the limiter crashes, on average; 0 for never.
      restart_every_s: How often its process ends, on average; half of the times it is killed.
    """

    limits: Mapping[str, GroupRules]
    make_counter: CounterMaker
    askings: tuple[Asking, ...]
    journey: Journey = field(default_factory=lambda: steady(0.05))
    server_clock: ServerClock = ServerClock()  # noqa: RUF009 - frozen
    headers: bool = False
    crash_every_s: float = 0.0
    restart_every_s: float = 0.0


@dataclass(slots=True)
class Outcome:
    """What came of a run.

    Attributes:
      server: The server, with its counts.
      sent: Requests that were sent, whether or not they arrived.
      fates: How many had each fate, permits never had included.
      crashes: How often the limiter crashed.
      restarts: How often its process began anew.
    """

    server: LimitServer
    sent: int = 0
    fates: dict[Fate, int] = field(default_factory=lambda: dict.fromkeys(Fate, 0))
    crashes: int = 0
    restarts: int = 0

    @property
    def rejected(self) -> int:
        """Return how many requests the server refused."""
        return sum(self.server.rejected.values())


class _MortalKeeper:
    """Keeps limits for a process; once that has been killed, nothing it does is kept."""

    def __init__(self, keeper: LimitKeeper) -> None:
        self._keeper = keeper
        self.killed = False

    def load(self) -> KeptLimits | None:
        return self._keeper.load()

    async def save(self, kept: KeptLimits, *, durable: bool) -> None:
        if not self.killed:
            await self._keeper.save(kept, durable=durable)


def saturate(
    scenario: Scenario,
    make_limiter: MakeLimiter,
    *,
    seconds: float,
    seed: int = 0,
    keeper: LimitKeeper | None = None,
) -> Outcome:
    """Run a scenario in virtual time.

    Args:
      scenario: What happens.
      make_limiter: Makes the limiter.
      seconds: For how long, in virtual seconds.
      seed: Of everything that is left to chance.
      keeper: What the limiter keeps from process to process.
    """
    run = _Run(scenario, make_limiter, keeper, seed)
    run_replayable(run.main, seconds, seed=seed)
    return run.outcome


class _Run:
    """One run of a scenario."""

    def __init__(
        self, scenario: Scenario, make_limiter: MakeLimiter, keeper: LimitKeeper | None, seed: int
    ) -> None:
        self._scenario = scenario
        self._make_limiter = make_limiter
        self._keeper = keeper
        self._rng = random.Random(seed)  # noqa: S311 - seeded on purpose
        self._trouble = random.Random(seed + 1)  # noqa: S311 - seeded on purpose
        self._lives: list[Actor] = []
        self._server = LimitServer(
            scenario.limits, scenario.make_counter, clock=scenario.server_clock, began_s=0.0
        )
        self.outcome = Outcome(self._server)

    async def main(self, seconds: float) -> None:
        """Live through one process after the other."""
        clock = TrioClock(start_utc_ms=NEW_YEAR_MS)
        end_s = trio.current_time() + seconds
        async with trio.open_nursery() as wire:
            self._wire = wire
            while trio.current_time() < end_s:
                dies_s = trio.current_time() + self._interval_s(self._scenario.restart_every_s)
                await self._live(clock, min(dies_s, end_s))
                self.outcome.restarts += 1
                await trio.sleep(self._trouble.uniform(0.0, 1.0))
            self.outcome.restarts -= 1
            wire.cancel_scope.cancel()

    async def _live(self, clock: TrioClock, until_s: float) -> None:
        """Let a process live for a while, and then end or be killed."""
        kept = None if self._keeper is None else _MortalKeeper(self._keeper)
        async with self._open(clock, kept) as limiter, trio.open_nursery() as callers:
            for asking in self._scenario.askings:
                for _ in range(asking.callers):
                    callers.start_soon(self._ask, limiter, asking)
            if self._scenario.crash_every_s:
                callers.start_soon(self._crash_now_and_then)
            await trio.sleep_until(until_s)
            if kept is not None:
                kept.killed = self._trouble.random() < 0.5  # noqa: PLR2004 - a fair coin
            callers.cancel_scope.cancel()

    @asynccontextmanager
    async def _open(self, clock: TrioClock, keeper: LimitKeeper | None) -> AsyncIterator[ActorRef]:
        tables = LimitTables("simulated")

        def make() -> Actor:
            self._lives.append(self._make_limiter(self._scenario.limits, tables, keeper))
            return self._lives[-1]

        async with open_actor(make, name="limiter", clock=clock, mailbox=_MAILBOX) as limiter:
            yield limiter

    def _interval_s(self, mean_s: float) -> float:
        return self._trouble.expovariate(1 / mean_s) if mean_s else math.inf

    async def _crash_now_and_then(self) -> None:
        while True:
            await trio.sleep(self._interval_s(self._scenario.crash_every_s))
            # It may be dead from the last time, and not yet there again.
            with suppress(RuntimeError):
                self._lives[-1].context.nursery.start_soon(_explode)
                self.outcome.crashes += 1

    # -------------------------------------------------------------- callers

    async def _ask(self, limiter: ActorRef, asking: Asking) -> None:
        """Ask for ever."""
        while True:
            trip = self._scenario.journey.trip(self._rng)
            weight = asking.weights[0]
            if len(asking.weights) > 1:
                weight = self._rng.choice(asking.weights)
            self.outcome.fates[trip.fate] += 1
            permit = await self._permit(limiter, asking, weight, trip)
            if permit is not None:
                await self._use(limiter, permit, trip)

    async def _permit(
        self, limiter: ActorRef, asking: Asking, weight: int, trip: Trip
    ) -> Permit | None:
        holder = asking.holder
        if self._scenario.limits[asking.group].scope == "connection":
            # No connection outlives its process.
            holder += f"#{self.outcome.restarts}"
        request = AcquirePermit(
            group=asking.group, priority=asking.priority, holder=holder, weight=weight
        )
        if trip.fate is not Fate.IMPATIENT:
            return await _insist(limiter, request)
        with trio.move_on_after(trip.patience_s):
            return await _insist(limiter, request)
        return None

    async def _use(self, limiter: ActorRef, permit: Permit, trip: Trip) -> None:
        """Send a request, and give its permit back."""
        release = ReleasePermit(permit=permit, sent=True, answered=False)
        if trip.fate is Fate.NEVER_SENT:
            release = ReleasePermit(permit=permit, sent=False, answered=False)
        else:
            self.outcome.sent += 1
            try:
                release = await self._send(permit, trip)
            except trio.Cancelled:
                # The process ends gracefully, and its limiter is still there.
                limiter.cast(release)
                raise
        if trip.fate is not Fate.FORGOTTEN:
            limiter.cast(release)

    async def _send(self, permit: Permit, trip: Trip) -> ReleasePermit:
        """Live through one trip; return what there is to tell about it."""
        sent_s = trio.current_time()
        gone = ReleasePermit(permit=permit, sent=True, answered=False)
        if trip.fate is Fate.LOST_THERE:
            await trio.sleep(TIMEOUT_S)
            return gone
        if trip.stays_s < trip.there_s:
            self._wire.start_soon(self._arrive_later, permit, sent_s + trip.there_s)
            await trio.sleep(trip.stays_s)
            return gone
        try:
            await trio.sleep(trip.there_s)
        except trio.Cancelled:
            # What has been sent arrives, whatever becomes of its sender.
            self._wire.start_soon(self._arrive_later, permit, sent_s + trip.there_s)
            raise
        answer = self._arrive(permit)
        if trip.fate is Fate.LOST_BACK or trip.stays_s < trip.there_s + trip.back_s:
            await trio.sleep(min(trip.stays_s, TIMEOUT_S) - trip.there_s)
            return gone
        await trio.sleep(trip.back_s)
        return ReleasePermit(
            permit=permit,
            sent=True,
            answered=True,
            status=answer.status,
            remaining=answer.remaining if self._scenario.headers else None,
        )

    async def _arrive_later(self, permit: Permit, when_s: float) -> None:
        await trio.sleep_until(when_s)
        self._arrive(permit)

    def _arrive(self, permit: Permit) -> Answer:
        return self._server.arrive(
            permit.group, trio.current_time(), weight=permit.weight, holder=permit.holder
        )


async def _insist(limiter: ActorRef, request: AcquirePermit) -> Permit:
    """Ask until the limiter lives long enough to answer."""
    while True:
        try:
            return await limiter.call(request, timeout_s=math.inf)
        except ActorRestarted:
            # Told by a crash; the supervisor's back-off lies between the tries.
            await trio.lowlevel.checkpoint()


async def _explode() -> None:
    raise ZeroDivisionError("asked to")
