"""What tests of supervision need: children whose life a test steers, and a record of it.

    stage = Stage()
    a, b = stage.child("a"), stage.child("b", restart=Restart.TRANSIENT)
    async with stage.open(a, b) as root:
        a.do(raising(ValueError("boom")))
        await settle()
        assert len(a.lives) == 2

A child does what an `Act` says at three moments: instead of coming up (`begin_with`), when the test
tells it to (`do`), and when it is asked to stop (`on_stop`). After the last two it ends normally,
unless the act has ended it already.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

import trio
import trio.testing

from runtime.core.backoff import Backoff
from runtime.core.child import Child, ChildInfo, ChildSpec, Exit, Life
from runtime.core.clock import TrioClock
from runtime.core.errors import Shutdown
from runtime.core.registry import Registry
from runtime.core.steering import Steering
from runtime.core.supervisor import Supervisor
from runtime.core.tree import open_tree

Act: TypeAlias = Callable[[Life], Awaitable[None]]
SupervisorT = TypeVar("SupervisorT", bound=Steering)

AT_ONCE = Backoff(min_s=0, max_s=0)
"""Every restart is immediate, as OTP's are."""


async def nothing(life: Life) -> None:
    """Do nothing: come up, or end normally."""
    del life
    await trio.lowlevel.checkpoint()


async def hanging(life: Life) -> None:
    """Hear nothing more; cancellation still ends it."""
    del life
    await trio.sleep_forever()


async def killing(life: Life) -> None:
    """End the life as a brutal kill does."""
    life.kill()
    await trio.lowlevel.checkpoint()


def raising(error: Exception) -> Act:
    """Raise `error`: a crash, or what `Ignore` and `Shutdown` mean."""

    async def act(life: Life) -> None:
        del life
        await trio.lowlevel.checkpoint()
        raise error

    return act


def sleeping(seconds: float) -> Act:
    """Take `seconds` over it."""

    async def act(life: Life) -> None:
        del life
        await trio.sleep(seconds)

    return act


def deaf_until(release: trio.Event) -> Act:
    """Ignore even cancellation, until the test sets `release`."""

    async def act(life: Life) -> None:
        del life
        with trio.CancelScope(shield=True):
            await release.wait()

    return act


@dataclass(frozen=True, slots=True)
class Instead:
    """A beginning in which `ChildSpec.start` makes no child, but calls `make`.

    Attributes:
      make: Returns rubbish, or raises.
    """

    make: Callable[[], object]


class Moment(NamedTuple):
    """Something that happened to a child.

    Attributes:
      what: It came up, was asked to stop, or ended.
      name: Its path in the tree.
      at_s: When, in seconds of the run's clock.
    """

    what: Literal["up", "asked", "ended"]
    name: str
    at_s: float


class Script:
    """A child as the test sees it: one for all of its lives.

    Attributes:
      spec: What to give to a supervisor.
      on_stop: What it does when asked to stop.
      info: What it says of itself when it comes up.
      lives: All lives so far, those that did not come up included.
      exits: How those that came up ended, as the child itself saw it.
    """

    def __init__(self, child_id: str, journal: list[Moment], **spec: Any) -> None:
        self.spec = ChildSpec(child_id, self._make, **spec)
        self.on_stop: Act = nothing
        self.info: object = None
        self.lives: list[Life] = []
        self.exits: list[Exit] = []
        self._journal = journal
        self._beginnings: deque[Act | Instead] = deque()
        self._current: _Scripted | None = None

    def begin_with(self, *acts: Act | Instead) -> Script:
        """Have the next lives begin with `acts`, one each, and those after them just come up."""
        self._beginnings.extend(acts)
        return self

    def do(self, act: Act) -> None:
        """Have the present life do `act` and end.

        Raises:
          RuntimeError: It is not up.
        """
        if self._current is None or not self.is_alive:
            raise RuntimeError(f"{self.spec.id} is not up, so it cannot do anything")
        self._current.do(act)

    @property
    def life(self) -> Life:
        """Return the last life."""
        return self.lives[-1]

    @property
    def is_alive(self) -> bool:
        """Return whether the last life is up and has not ended."""
        return bool(self.lives) and self.life.is_up and not self.life.ended.is_set()

    def moments_s(self, what: str) -> list[float]:
        """Return when that happened to it, in seconds of the run's clock."""
        names = {life.name for life in self.lives}
        return [moment.at_s for moment in self._journal if moment[0] == what and moment[1] in names]

    def _make(self) -> Child:
        beginning = self._beginnings.popleft() if self._beginnings else nothing
        if isinstance(beginning, Instead):
            # Rubbish on purpose: whatever it is, the supervisor has to refuse it.
            return beginning.make()  # type: ignore[return-value]
        self._current = _Scripted(self, beginning, self._journal)
        return self._current


class _Scripted:
    """One life of a scripted child."""

    def __init__(self, script: Script, beginning: Act, journal: list[Moment]) -> None:
        self._script, self._beginning, self._journal = script, beginning, journal
        self._act: Act = nothing
        self._called = trio.Event()

    def do(self, act: Act) -> None:
        """Do `act` as soon as this task runs; only the first counts, as ends do."""
        if not self._called.is_set():
            self._act = act
            self._called.set()

    async def run(self, life: Life) -> None:
        """Live as the test says."""
        self._script.lives.append(life)
        await self._beginning(life)

        def asked() -> None:
            self._note("asked", life)
            self.do(self._script.on_stop)

        life.on_stop = asked
        life.up(self._script.info)
        self._note("up", life)
        ended_with: BaseException | None = None
        try:
            await self._called.wait()
            await self._act(life)
        except BaseException as error:
            ended_with = error
            raise
        finally:
            self._note("ended", life)
            self._script.exits.append(_exit(ended_with, life))
            # A frame that holds its own error is a cycle, and tests look for what is left over.
            del ended_with

    def describe(self) -> tuple[ChildInfo, ...]:
        """Have no children."""
        return ()

    def _note(self, what: Literal["up", "asked", "ended"], life: Life) -> None:
        self._journal.append(Moment(what, life.name, trio.current_time()))


def _exit(error: BaseException | None, life: Life) -> Exit:
    """Return how a life that ended with `error` has ended, in OTP's words."""
    if isinstance(error, Shutdown):
        return Exit.SHUTDOWN
    if isinstance(error, Exception):
        return Exit.CRASH
    if life.killed:
        return Exit.KILLED
    return Exit.SHUTDOWN if life.stopping else Exit.NORMAL


@dataclass
class Stage:
    """Where a test's trees play, and what was written down.

    Attributes:
      journal: What happened to its children, in order; tests empty it as they like.
      registry: The names of its trees.
    """

    journal: list[Moment] = field(default_factory=list)
    registry: Registry = field(default_factory=Registry)

    def child(self, child_id: str, **spec: Any) -> Script:
        """Return a child that comes up and lives until it is told otherwise."""
        return Script(child_id, self.journal, **spec)

    def supervisor(self, *children: Script, **policy: Any) -> Supervisor:
        """Return a supervisor of `children` that restarts at once, if `policy` does not differ."""
        return Supervisor([child.spec for child in children], **{"backoff": AT_ONCE, **policy})

    def open(self, *children: Script, **policy: Any) -> AbstractAsyncContextManager[Supervisor]:
        """Run `children` under one supervisor."""
        return self.run(self.supervisor(*children, **policy))

    def run(self, root: SupervisorT) -> AbstractAsyncContextManager[SupervisorT]:
        """Run a tree."""
        rng = random.Random(0)  # noqa: S311 - seeded on purpose
        clock = TrioClock(start_utc_ms=0)
        return open_tree(root, clock=clock, rng=rng, registry=self.registry)

    def names(self, what: str) -> list[str]:
        """Return to whom that happened, in order."""
        return [moment.name for moment in self.journal if moment.what == what]


async def settle() -> None:
    """Return when everything has happened that happens at this moment of the run's clock."""
    await trio.testing.wait_all_tasks_blocked()
