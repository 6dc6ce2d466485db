"""What tests of actors need: one actor under a real supervisor."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from runtime.core.actor import Actor
from runtime.core.child import ChildSpec
from runtime.core.clock import Clock, TrioClock
from runtime.core.mailbox import MailboxSpec
from runtime.core.ref import ActorRef
from runtime.core.registry import Registry
from runtime.core.supervisor import Supervisor
from runtime.core.tree import open_tree

# 2026-01-01T00:00:00Z, a Thursday.
NEW_YEAR_MS = 1_767_225_600_000


@asynccontextmanager
async def open_actor(
    factory: Callable[[], Actor],
    *,
    name: str = "actor",
    clock: Clock | None = None,
    registry: Registry | None = None,
    seed: int = 0,
    mailbox: MailboxSpec = MailboxSpec(),  # noqa: B008 - frozen
) -> AsyncIterator[ActorRef]:
    """Run one actor under a supervisor that never gives up, for as long as the block runs.

    Args:
      factory: Makes the actor, anew for each incarnation.
      name: Its name in the registry.
      clock: Where it reads time; one that follows trio's from New Year 2026 if not given.
      registry: Where it is found; a new one if not given.
      seed: Of its source of chance.
      mailbox: How its mailbox behaves.
    """
    registry = registry or Registry()
    root = Supervisor([ChildSpec(name, factory, mailbox=mailbox)], intensity=None)
    async with open_tree(
        root,
        clock=clock or TrioClock(start_utc_ms=NEW_YEAR_MS),
        rng=random.Random(seed),  # noqa: S311 - seeded on purpose
        registry=registry,
    ):
        yield registry.ref(name)


async def wait_for(condition: Callable[[], bool], *, within_s: float = 5.0) -> None:
    """Return as soon as `condition` holds, looking again whenever other tasks have run.

    Raises:
      TooSlowError: It did not hold within `within_s` seconds of the run's clock.
    """
    with trio.fail_after(within_s):
        while not condition():  # noqa: ASYNC110 - any condition, not one that sets an event
            await trio.sleep(0.001)
