"""A stage for children that live until the test says how they end, as OTP's own suite has it.

`runtime.testing_core` scripts each child beforehand; here a test goes by their names in the tree,
as it must where a supervisor makes the name or where there are thousands.
"""

from __future__ import annotations

import random
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from runtime.core.backoff import Backoff
from runtime.core.child import ChildInfo, ChildSpec, Exit, Life, Restart
from runtime.core.clock import TrioClock
from runtime.core.dynamic import DynamicSupervisor
from runtime.core.errors import Ignore, Shutdown
from runtime.core.registry import Registry
from runtime.core.supervisor import Supervisor
from runtime.core.tree import open_tree

AT_ONCE = Backoff(min_s=0, max_s=0)


class Obedient:
    """One life of a child; its identity is what a pid is to OTP's suite.

    Args:
      stage: Where it plays, and where it finds out how it starts.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.told = trio.Event()
        self.end = Exit.NORMAL
        self.words = "x"

    async def run(self, life: Life) -> None:
        """Live until told or asked to end."""
        name, stage = life.name, self.stage
        if name in stage.ignoring:
            raise Ignore(name)
        if name in stage.unborn:
            stage.attempts.append(name)
            raise LookupError(f"{name} cannot start")
        stage.log.append(f"+{name}")
        stage.alive[name] = self
        try:
            with trio.CancelScope() as asked:
                life.on_stop = asked.cancel
                life.up()
                await self.told.wait()
                await self._end(life)
        finally:
            del stage.alive[name]
            stage.log.append(f"-{name}")

    async def _end(self, life: Life) -> None:
        if self.end is Exit.CRASH:
            raise ValueError(self.words)
        if self.end is Exit.SHUTDOWN:
            raise Shutdown(self.words)
        if self.end is Exit.KILLED:
            life.kill()
            await trio.lowlevel.checkpoint()

    def describe(self) -> tuple[ChildInfo, ...]:
        """Have no children."""
        return ()


@dataclass
class Stage:
    """Where a test's trees play.

    Attributes:
      registry: The names of its trees.
      alive: The living children, by name.
      log: `+name` and `-name`, in order.
      unborn: Names of children that fail to start for as long as they are in here.
      ignoring: Names of children that do not want to start, likewise.
      attempts: Names of the unborn, each time they were started.
      supervisors: The last supervisor each branch has made, by its id.
    """

    registry: Registry = field(default_factory=Registry)
    alive: dict[str, Obedient] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    unborn: set[str] = field(default_factory=set)
    ignoring: set[str] = field(default_factory=set)
    attempts: list[str] = field(default_factory=list)
    supervisors: dict[str, Supervisor] = field(default_factory=dict)

    def child(self, child_id: str, restart: Restart = Restart.PERMANENT, **spec: Any) -> ChildSpec:
        """Return the specification of an obedient child."""
        return ChildSpec(child_id, partial(Obedient, self), restart=restart, **spec)

    def branch(
        self,
        child_id: str,
        *children: ChildSpec,
        restart: Restart = Restart.PERMANENT,
        significant: bool = False,
        **policy: Any,
    ) -> ChildSpec:
        """Return the specification of a supervisor of `children`."""

        def make() -> Supervisor:
            made = Supervisor(children, **{"backoff": AT_ONCE, **policy})
            self.supervisors[child_id] = made
            return made

        return ChildSpec(child_id, make, restart=restart, significant=significant)

    def open(self, *children: ChildSpec, **policy: Any) -> AbstractAsyncContextManager[Supervisor]:
        """Run `children` under one supervisor, which restarts them at once unless told else."""
        return self._open(Supervisor(children, **{"backoff": AT_ONCE, **policy}))

    def open_dynamic(self, **policy: Any) -> AbstractAsyncContextManager[DynamicSupervisor]:
        """Run a dynamic supervisor, likewise."""
        return self._open(DynamicSupervisor(**{"backoff": AT_ONCE, **policy}))

    def _open(self, root: Any) -> AbstractAsyncContextManager[Any]:
        clock = TrioClock(start_utc_ms=0)
        return open_tree(root, clock=clock, rng=random.Random(0), registry=self.registry)

    async def end(self, name: str, how: Exit = Exit.CRASH, words: str = "x") -> Obedient:
        """Have a child end by itself, and return it when everybody has dealt with that."""
        child = self.alive[name]
        child.end, child.words = how, words
        child.told.set()
        await trio.testing.wait_all_tasks_blocked()
        return child

    def names(self) -> str:
        """Return who is alive, sorted."""
        return " ".join(sorted(self.alive))


@pytest.fixture
def stage() -> Stage:
    """An empty stage."""
    return Stage()
