"""Run a supervision tree for as long as a block runs."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from runtime.core.child import Life, Surroundings
from runtime.core.clock import Clock
from runtime.core.mailbox import Mailbox
from runtime.core.registry import Registry
from runtime.core.supervisor import Supervisor


@asynccontextmanager
async def open_tree(
    root: Supervisor, *, clock: Clock, rng: random.Random, registry: Registry
) -> AsyncIterator[Supervisor]:
    """Start everything below `root`, run the block, stop everything in reverse order.

    Args:
      root: The top of the tree; its own name is empty, so its children's names are their ids.
      clock: Where the tree reads time.
      rng: Where the tree takes chance from.
      registry: Where its actors are found.

    Raises:
      StartFailed: A child did not start; what had started was stopped. The block did not run.
      RestartIntensityExceeded: The root gave up; the block was cancelled.
    """
    life = Life(
        name="",
        incarnation=1,
        around=Surroundings(clock=clock, rng=rng, registry=registry),
        mailbox=Mailbox("root"),
        will_return=False,
        started_s=clock.now_s(),
    )
    ended = trio.Event()

    async def run() -> None:
        try:
            await root.run(life)
        except ExceptionGroup as group:
            # The supervisor's own nursery wraps what ends it; alone it says more.
            error = _alone(group)
            raise error from error.__cause__
        finally:
            ended.set()

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await life.settled.wait()
            try:
                yield root
            finally:
                # Every child has its own time limit, so this ends.
                life.request_stop()
                with trio.CancelScope(shield=True):
                    await ended.wait()
    except ExceptionGroup as group:
        # Only the wrapping of the nursery above: a group that the block raised stays a group.
        error = _alone(group)
        raise error from error.__cause__


def _alone(group: ExceptionGroup[Exception]) -> Exception:
    return group.exceptions[0] if len(group.exceptions) == 1 else group
