"""What a supervisor knows about a child: its specification, and one life of it after another."""

from __future__ import annotations

import enum
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import msgspec
import trio

from runtime.core.clock import Clock
from runtime.core.errors import BadSpec
from runtime.core.mailbox import Mailbox, MailboxSpec
from runtime.core.registry import Registry


class Restart(enum.Enum):
    """When a child that has ended is started again; OTP's words with OTP's meanings."""

    PERMANENT = "permanent"
    """Always."""
    TRANSIENT = "transient"
    """Only after a crash."""
    TEMPORARY = "temporary"
    """Never."""


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
    """

    clock: Clock
    rng: random.Random
    registry: Registry


@dataclass(slots=True)
class Life:
    """One incarnation of a child, seen from both sides.

    The supervisor sets `stopping` through `request_stop`; the child says `up()` when the next
    sibling may start.

    Attributes:
      name: The child's name in the registry: its path in the tree, joined by dots.
      incarnation: 1 for the first.
      around: What all children of the tree share.
      mailbox: The child's mailbox, which outlives this life.
      scope: Cancelled by the supervisor to end this life without asking.
      stopping: Whether the child was asked to end.
      will_return: Whether a new life is to follow this one, so that callers may try again.
    """

    name: str
    incarnation: int
    around: Surroundings
    mailbox: Mailbox
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    stopping: bool = False
    will_return: bool = True
    started_s: float = 0.0
    killed: bool = False
    error: Exception | None = None
    on_stop: Callable[[], None] | None = None
    is_up: bool = False
    settled: trio.Event = field(default_factory=trio.Event)
    ended: trio.Event = field(default_factory=trio.Event)

    def up(self) -> None:
        """Say that the child has started."""
        self.is_up = True
        self.settled.set()

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
      start: Makes a fresh actor or supervisor; called anew for each incarnation.
      restart: When it is started again after it ended.
      shutdown_s: How long it may take to end when asked, in seconds; then it is cancelled.
        0 cancels at once.
      mailbox: How its mailbox behaves.
    """

    id: str
    start: Callable[[], Child]
    restart: Restart = Restart.PERMANENT
    shutdown_s: float = 5.0
    mailbox: MailboxSpec = field(default_factory=MailboxSpec)

    def __post_init__(self) -> None:
        """Refuse a specification that cannot work, by name."""
        if not self.id.replace("-", "").replace("_", "").isalnum():
            raise BadSpec(f"child id must be letters, digits, - and _, was {self.id!r}")
        if not callable(self.start):
            raise BadSpec(f"child {self.id}: start must be callable, was {self.start!r}")
        if not self.shutdown_s >= 0:
            raise BadSpec(f"child {self.id}: shutdown_s must be >= 0, was {self.shutdown_s}")


class ChildInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A child as an operator sees it.

    Attributes:
      name: Its path in the tree.
      state: starting, running, restarting or stopped.
      incarnation: How many lives it has had, this one included.
      uptime_s: Age of this life, in seconds; 0 if it is not running.
      restarts: How often it was started again.
      last_crash: The last crash in one line; empty if there was none.
      queued: Messages in its mailbox.
      queued_max: The most there ever were.
      received: Messages taken in.
      refused: Messages refused at the mailbox's bound.
      children: What is below it.
    """

    name: str
    state: str
    incarnation: int
    uptime_s: float
    restarts: int
    last_crash: str
    queued: int
    queued_max: int
    received: int
    refused: int
    children: tuple[ChildInfo, ...]
