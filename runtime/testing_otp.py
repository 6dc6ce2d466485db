"""The words of the model of OTP in `runtime.testing_otp_model`: plans, calls, mailboxes, places."""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from runtime.core.child import Restart
from runtime.core.mailbox import OnCrash, Overflow
from runtime.core.policy import AutoShutdown, Strategy

if TYPE_CHECKING:
    from runtime.testing_otp_supervisor import Supervisor

# How long an actor that hangs may take to stop: so short that nothing else falls in between.
STOP_S = 2.0**-20


class Kind(enum.Enum):
    """What a message makes its actor do."""

    WORK = "answer"
    BOOM = "crash"
    LEAVE = "end because there is nothing more to do"
    BOW = "end for good"
    HANG = "never come back"


class Fate(enum.Enum):
    """What became of a call; the values are the names of the errors."""

    PENDING = "pending"
    ANSWERED = "answered"
    CANCELLED = "cancelled"
    RESTARTED = "ActorRestarted"
    DOWN = "ActorDown"
    NOT_FOUND = "ActorNotFound"
    FULL = "MailboxFull"
    DROPPED = "MessageDropped"


class How(enum.Enum):
    """How a child ended."""

    NORMAL = "normal"
    SHUTDOWN = "shutdown"
    KILLED = "killed"
    CRASH = "crash"


@dataclass(frozen=True)
class WorkerPlan:
    """An actor, as both the real tree and the model are told."""

    id: str
    restart: Restart = Restart.PERMANENT
    significant: bool = False
    brutal: bool = False
    hang_s: float | None = None
    capacity: int = 2
    overflow: Overflow = Overflow.WAIT
    on_crash: OnCrash = OnCrash.KEEP


@dataclass(frozen=True)
class SupervisorPlan:
    """A supervisor, as both are told; `backoff_s` is the second wait in a row and the ceiling."""

    id: str
    restart: Restart = Restart.PERMANENT
    significant: bool = False
    strategy: Strategy = Strategy.ONE_FOR_ONE
    auto_shutdown: AutoShutdown = AutoShutdown.NEVER
    max_restarts: int | None = 3
    within_s: float = 10.03
    backoff_s: tuple[float, float] = (0.3137, 1.3)
    forgive_s: float = 4.07
    is_dynamic: bool = False
    children: tuple[Plan, ...] = ()


Plan: TypeAlias = WorkerPlan | SupervisorPlan


@dataclass
class Call:
    """A message with somebody who waits for its answer."""

    number: int
    kind: Kind
    fate: Fate = Fate.PENDING

    def end(self, fate: Fate) -> None:
        """Take the first fate; whoever has left does not see another."""
        if self.fate is Fate.PENDING:
            self.fate = fate


@dataclass
class Box:
    """A mailbox: the first `capacity` calls are queued, the others wait for room."""

    plan: Plan
    queue: deque[Call] = field(default_factory=deque)
    waiting: deque[Call] = field(default_factory=deque)
    is_orphan: bool = False
    is_closed: bool = False

    def take(self) -> Call:
        """Return the oldest; whoever waited longest comes in."""
        call = self.queue.popleft()
        if self.waiting:
            self.queue.append(self.waiting.popleft())
        return call

    def put(self, call: Call) -> None:
        """Queue a call as the plan's overflow policy says."""
        assert isinstance(self.plan, WorkerPlan), "supervisors have no messages"
        policy = self.plan.overflow
        if policy is Overflow.LATEST:
            for place, queued in enumerate(self.queue):
                if queued.number % 2 == call.number % 2:
                    queued.end(Fate.DROPPED)
                    self.queue[place] = call
                    return
        if len(self.queue) < self.plan.capacity:
            self.queue.append(call)
        elif policy is Overflow.WAIT:
            self.waiting.append(call)
        elif policy is Overflow.DROP_OLDEST:
            self.queue.popleft().end(Fate.DROPPED)
            self.queue.append(call)
        else:
            call.end(Fate.FULL)

    def fail(self, fate: Fate) -> None:
        """Empty it."""
        for call in (*self.queue, *self.waiting):
            call.end(fate)
        self.queue.clear()
        self.waiting.clear()

    def leave(self, call: Call) -> None:
        """Note that a caller was cancelled: who waits for room never came in."""
        if call in self.waiting:
            self.waiting.remove(call)


@dataclass(eq=False)
class Place:
    """A child's place: its state, and how it came to it."""

    plan: Plan
    name: str
    box: Box
    state: str = "stopped"
    incarnation: int = 0
    in_a_row: int = 0
    started_s: float = 0.0
    in_hand: Call | None = None
    supervisor: Supervisor | None = None
    # Changed whenever a wait for this place is over or void.
    ticket: int = 0
    was_supervisor: bool = False
