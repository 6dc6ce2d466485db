"""Run a supervision tree for as long as a block runs."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

import trio

from runtime.core.child import Life, Surroundings
from runtime.core.clock import Clock
from runtime.core.mailbox import Mailbox
from runtime.core.nest import open_nest
from runtime.core.registry import Registry
from runtime.core.steering import Steering
from runtime.core.trace import EventRing

SupervisorT = TypeVar("SupervisorT", bound=Steering)


@asynccontextmanager
async def open_tree(
    root: SupervisorT,
    *,
    clock: Clock,
    rng: random.Random,
    registry: Registry,
    ring_capacity: int = 1000,
) -> AsyncIterator[SupervisorT]:
    """Start everything below `root`, run the block, stop everything in reverse order.

    Stopping ends even if a child does not: one that ignores its cancellation is left behind and
    named in the log; see `runtime.core.nest`.

    Args:
      root: The top of the tree; its own name is empty, so its children's names are their ids.
      clock: Where the tree reads time.
      rng: Where the tree takes chance from.
      registry: Where its actors are found.
      ring_capacity: How many of the tree's last events are kept.

    Raises:
      StartFailed: A child did not start; what had started was stopped. The block did not run.
      RestartIntensityExceeded: The root gave up; the block was cancelled.
      Escalated: A crash was declared to be the root's own; the block was cancelled.
      Shutdown: Significant children of the root have ended; the block was cancelled.
    """
    async with open_nest() as nest:
        ring = EventRing(ring_capacity, clock=clock)
        around = Surroundings(clock=clock, rng=rng, registry=registry, nest=nest, ring=ring)
        life = Life(
            name="",
            incarnation=1,
            around=around,
            mailbox=Mailbox("root"),
            will_return=False,
            started_s=clock.now_s(),
        )
        async with _running(root, life):
            yield root


@asynccontextmanager
async def _running(root: Steering, life: Life) -> AsyncIterator[None]:
    ended = trio.Event()

    async def run() -> None:
        try:
            await root.run(life)
        finally:
            ended.set()

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await life.settled.wait()
            try:
                yield
            finally:
                # Every child has its own time limit, so this ends.
                life.request_stop()
                with trio.CancelScope(shield=True):
                    await ended.wait()
    except ExceptionGroup as group:
        # Only the wrapping of the nursery above: a group that the block raised stays a group.
        error = group.exceptions[0] if len(group.exceptions) == 1 else group
        raise error from error.__cause__
