"""What a supervisor knows about a child: its specification, and one life of it after another."""

from __future__ import annotations

import copy
import enum
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

import trio

from runtime.core.checks import is_number
from runtime.core.clock import Clock
from runtime.core.errors import ActorDown, ActorRestarted, BadSpec, Hung, Shutdown
from runtime.core.info import ChildInfo
from runtime.core.mailbox import Mailbox, MailboxSpec
from runtime.core.nest import Nest
from runtime.core.reader import Reader
from runtime.core.registry import Registry
from runtime.core.trace import EventRing, Happening, Tracer
from runtime.core.work import Owed, Work

__all__ = [
    "Child",
    "ChildInfo",
    "ChildSpec",
    "ChildState",
    "Directive",
    "Exit",
    "Life",
    "Restart",
    "Surroundings",
]

_ALSO_IN_IDS = str.maketrans("", "", "-_")
WORKER_SHUTDOWN_S = 5.0
# How long `on_stop` may take after a crash, when nobody has asked for it.
PUT_AWAY_S = 5.0


class Restart(enum.Enum):
    """When a child that has ended is started again; OTP's words with OTP's meanings."""

    PERMANENT = "permanent"
    """Always."""
    TRANSIENT = "transient"
    """Only after a crash."""
    TEMPORARY = "temporary"
    """Never."""


class Exit(enum.Enum):
    """How a child ended."""

    NORMAL = "normal"
    """It had nothing more to do."""
    SHUTDOWN = "shutdown"
    """It raised `Shutdown`, or was asked to stop and did."""
    KILLED = "killed"
    """Its life was ended without asking."""
    CRASH = "crash"
    """It raised anything else."""


class Directive(enum.Enum):
    """What an error of a handler means; see `ChildSpec.on_crash`."""

    RESTART = "restart"
    """A crash: the restart kind decides."""
    RESUME = "resume"
    """No crash: its sender gets `HandlerFailed`, the actor keeps its state and goes on."""
    STOP = "stop"
    """A crash after which the child is not started again, whatever its restart kind."""
    ESCALATE = "escalate"
    """A crash of the supervisor as well."""


class ChildState(enum.Enum):
    """What a child is doing."""

    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every child of one tree shares.

    Attributes:
      clock: Where time is read.
      rng: Where chance comes from.
      registry: The names of the tree.
      nest: Where the tasks of all children live.
      ring: The last events of the tree.
    """

    clock: Clock
    rng: random.Random
    registry: Registry
    nest: Nest
    ring: EventRing


_NOTHING: Mapping[type[Exception], Directive] = MappingProxyType({})


def _nothing() -> Mapping[type[Exception], Directive]:
    return _NOTHING


@dataclass(slots=True, eq=False)
class Life:
    """One incarnation of a child, seen from both sides.

    The child says `up()` when the next sibling may start, and `ready()` when its answers are good.
    The rest is the supervisor's: it sets `stopping` through `request_stop` and ends the life.

    Attributes:
      name: The child's name in the registry: its path in the tree, joined by dots.
      incarnation: 1 for the first.
      around: What all children of the tree share.
      mailbox: The child's mailbox, which outlives this life.
      restart: The child's restart kind; None for the root of a tree.
      on_crash: What errors of handlers mean.
      work: Figures about messages, shared by all incarnations.
      tracer: Traces the child's messages while somebody looks.
      scope: Cancelled by the supervisor to end this life without asking.
      stopping: Whether the child was asked to end.
      will_return: Whether a new life is to follow this one, so that callers may try again.
      put_away_s: How long `on_stop` may take where nobody counts the time, in seconds.
      killed: Whether it was ended without asking.
      expected: Whether the supervisor itself is ending it, and needs no word of its end.
      abandoned: Whether it outlived even that, and is waited for no longer.
      error: What it crashed with.
      shutdown: What it ended itself with.
      ignored: Whether it did not want to start.
      fatal: What ended it and is meant for the process: Ctrl-C, SystemExit.
      hung: Why the supervisor killed it, if it took too long over a message.
      directive: What the specification says about the error its handler raised.
      info: What it said of itself when it came up.
      orphans: Mailboxes of children that come back with it, if it was a supervisor.
      task: The task it runs in.
      reader: What the child reads its mailbox through.
      owed: The replies it owes.
      on_stop: Set by the child: called to ask it to end; without it, asking is cancelling.
      on_kill: Set by a child that has others to end with it: called when it is killed.
      on_ready: Set by the supervisor: told when readiness changes.
      on_dying: Set by the supervisor: told when the child serves nobody any more, though
        it has not ended yet.
    """

    name: str
    incarnation: int
    around: Surroundings
    mailbox: Mailbox
    restart: Restart | None = None
    on_crash: Mapping[type[Exception], Directive] = field(default_factory=_nothing)
    work: Work = field(default_factory=Work)
    tracer: Tracer | None = None
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    stopping: bool = False
    will_return: bool = True
    started_s: float = 0.0
    put_away_s: float = PUT_AWAY_S
    killed: bool = False
    expected: bool = False
    abandoned: bool = False
    error: Exception | None = None
    shutdown: Shutdown | None = None
    ignored: bool = False
    fatal: BaseException | None = None
    hung: Hung | None = None
    directive: Directive = Directive.RESTART
    info: object = None
    is_up: bool = False
    is_ready: bool = False
    orphans: list[Mailbox] = field(default_factory=list)
    task: trio.lowlevel.Task | None = None
    reader: Reader | None = None
    owed: Owed = field(init=False)
    on_stop: Callable[[], None] | None = None
    on_kill: Callable[[], None] | None = None
    on_ready: Callable[[], None] | None = None
    on_dying: Callable[[], None] | None = None
    settled: trio.Event = field(default_factory=trio.Event)
    ended: trio.Event = field(default_factory=trio.Event)

    def __post_init__(self) -> None:
        """Begin with a clean desk."""
        self.owed = Owed(self.work)

    @property
    def suspended(self) -> bool:
        """Return whether it was told to leave its mailbox alone."""
        return self.reader is not None and self.reader.held

    def up(self, info: object = None, *, ready: bool = True) -> None:
        """Say that the child has started.

        Args:
          info: What whoever started it may want to know, such as the port it listens on.
          ready: Whether it is ready at the same time; if not, it says `ready()` later.
        """
        self.info = info
        self.is_up = True
        self.around.ring.note(self.name, Happening.STARTED)
        self.settled.set()
        if ready:
            self.ready()

    def ready(self, *, is_ready: bool = True) -> None:
        """Say that answers are good from now on; or that they no longer are."""
        if self.is_ready is not is_ready:
            self.is_ready = is_ready
            if is_ready:
                self.around.ring.note(self.name, Happening.READY)
            if self.on_ready is not None:
                self.on_ready()

    def request_stop(self) -> None:
        """Ask the child to finish what it has in hand and end."""
        self.stopping = True
        if self.on_stop is None:
            # Not far enough to have anything in hand.
            self.scope.cancel()
        else:
            self.on_stop()

    def kill(self) -> None:
        """End the child without asking."""
        self.killed = True
        self.scope.cancel()
        if self.on_kill is not None:
            self.on_kill()

    def dying(self) -> None:
        """Say that it serves nobody any more, and ends as soon as its tasks do."""
        if self.on_dying is not None:
            self.on_dying()

    def lose(self) -> None:
        """Tell whoever waits for an answer of this life that there will be none."""
        kind = ActorRestarted if self.will_return else ActorDown
        self.owed.fail(lambda: kind(f"{self.name} ended before it answered"))

    def exit(self) -> Exit:
        """Return how it ended."""
        if self.error is not None or self.fatal is not None:
            return Exit.CRASH
        if self.killed:
            return Exit.KILLED
        if self.shutdown is not None or self.expected:
            return Exit.SHUTDOWN
        return Exit.NORMAL


class Child(Protocol):
    """Anything a supervisor can run: an actor, or another supervisor."""

    async def run(self, life: Life) -> None:
        """Live until asked to stop; call `life.up()` once started. Any error raised is a crash."""

    def describe(self) -> tuple[ChildInfo, ...]:
        """Return what is below this child in the tree; empty for an actor."""


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """The whole truth about a child's life.

    Attributes:
      id: Names the child among its siblings; letters, digits, `-` and `_`.
      start: Makes a fresh actor or supervisor; called anew for each incarnation. May raise
        `Ignore`.
      restart: When it is started again after it ended.
      shutdown_s: How long it may take to end when asked, in seconds; then it is cancelled.
        0 cancels at once, `math.inf` waits. None is 5 s for an actor and no limit for a
        supervisor, whose children have limits of their own.
      mailbox: How its mailbox behaves.
      significant: Whether its end may end the supervisor; see `AutoShutdown`.
      hang_s: The longest a message may be in hand, in seconds; then the incarnation is killed, as
        a crash. None for no limit.
      start_s: The longest it may take to start, in seconds; None for no limit.
      abandon_s: How long it may take to end once cancelled, in seconds; then it is left behind,
        and named in the log.
      on_crash: What errors of `handle_call` and `handle_cast` mean, by class; the most specific
        class counts. What is not named is a crash.
    """

    id: str
    start: Callable[[], Child]
    restart: Restart = Restart.PERMANENT
    shutdown_s: float | None = None
    mailbox: MailboxSpec = field(default_factory=MailboxSpec)
    significant: bool = False
    hang_s: float | None = None
    start_s: float | None = None
    abandon_s: float = 5.0
    on_crash: Mapping[type[Exception], Directive] = field(default_factory=_nothing)

    def __post_init__(self) -> None:
        """Refuse a specification that cannot work, by name."""
        # Whatever the annotations say: a specification may come from somebody's configuration.
        child_id: object = self.id
        if not (isinstance(child_id, str) and child_id.translate(_ALSO_IN_IDS).isalnum()):
            raise BadSpec(f"child id must be letters, digits, - and _, was {self.id!r}")
        if not callable(self.start):
            raise BadSpec(f"child {self.id}: start must be callable, was {self.start!r}")
        self._check_kind("restart", self.restart, Restart)
        self._check_kind("mailbox", self.mailbox, MailboxSpec)
        self._check_kind("significant", self.significant, bool)
        self._check_seconds("shutdown_s", self.shutdown_s, least=">= 0")
        self._check_seconds("abandon_s", self.abandon_s, least=">= 0")
        for name in ("hang_s", "start_s"):
            self._check_seconds(name, getattr(self, name), least="more than 0 and finite, or None")
        abandon_s: object = self.abandon_s
        if abandon_s in {None, math.inf}:
            raise BadSpec(f"child {self.id}: abandon_s must be finite, was {self.abandon_s}")
        if self.significant and self.restart is Restart.PERMANENT:
            raise BadSpec(
                f"child {self.id}: a permanent child cannot be significant, for it never ends"
            )
        self._check_directives()

    def _check_kind(self, name: str, value: object, kind: type) -> None:
        if not isinstance(value, kind):
            raise BadSpec(f"child {self.id}: {name} must be a {kind.__name__}, was {value!r}")

    def _check_seconds(self, name: str, value: object, *, least: str) -> None:
        if value is None:
            return
        good = is_number(value, 0) and (least == ">= 0" or value not in {0, math.inf})
        if not good:
            raise BadSpec(f"child {self.id}: {name} must be {least}, was {value}")

    def _check_directives(self) -> None:
        on_crash: object = self.on_crash
        if not isinstance(on_crash, Mapping):
            raise BadSpec(f"child {self.id}: on_crash must be a mapping, was {on_crash!r}")
        for kind, directive in on_crash.items():
            if not (isinstance(kind, type) and issubclass(kind, Exception)):
                raise BadSpec(f"child {self.id}: on_crash needs classes of Exception, was {kind!r}")
            self._check_kind("on_crash", directive, Directive)

    def without_start(self) -> ChildSpec:
        """Return a copy that has forgotten how the child is started, and with what."""
        forgotten = copy.copy(self)
        object.__setattr__(forgotten, "start", _forgotten)
        return forgotten


def _forgotten() -> Any:
    raise BadSpec("how a temporary child was started is not kept")


def directive_for(error: Exception, on_crash: Mapping[type[Exception], Directive]) -> Directive:
    """Return what `on_crash` says about `error`: the most specific class counts."""
    for kind in type(error).__mro__:
        if kind in on_crash:
            return on_crash[kind]
    return Directive.RESTART
