"""`Slot`: a child's place in its supervisor, from one life to the next."""

from __future__ import annotations

import math

from runtime.core.child import (
    WORKER_SHUTDOWN_S,
    Child,
    ChildInfo,
    ChildSpec,
    ChildState,
    Life,
)
from runtime.core.clock import Clock
from runtime.core.handle import ChildHandle
from runtime.core.info import Ending
from runtime.core.mailbox import Mailbox
from runtime.core.trace import Tracer
from runtime.core.work import Work

# So many endings of a child are kept; older ones say little about today.
_ENDINGS_MAX = 8


class Slot:
    """A child's place in its supervisor.

    Attributes:
      spec: What its next life follows.
      name: Its path in the tree.
      mailbox: Shared by its lives; closed while the child is not to come back by itself.
      state: What the child is doing.
      child: The actor or supervisor of the present or last life.
      life: The present life.
      incarnation: Number of lives so far.
      in_a_row: Crashes since it last lived long enough to be forgiven.
      last_crash: In one line.
      endings: Of its last lives.
      work: Figures about its messages.
      tracer: Traces its messages, if anybody ever wanted that.
      orphans: Mailboxes of its children that wait for its next life.
      is_supervisor: Whether its child is one, as far as is known.
      handle: What whoever started it at run time was given.
    """

    __slots__ = (
        "child",
        "endings",
        "handle",
        "in_a_row",
        "incarnation",
        "is_supervisor",
        "last_crash",
        "life",
        "mailbox",
        "name",
        "orphans",
        "spec",
        "state",
        "tracer",
        "work",
    )

    def __init__(self, spec: ChildSpec, mailbox: Mailbox) -> None:
        self.spec = spec
        self.name = mailbox.name
        self.mailbox = mailbox
        self.state = ChildState.STOPPED
        self.child: Child | None = None
        self.life: Life | None = None
        self.incarnation = 0
        self.in_a_row = 0
        self.last_crash = ""
        self.endings: tuple[Ending, ...] = ()
        self.work = Work()
        self.tracer: Tracer | None = None
        # A dictionary for its order: a life that did not come up leaves the same ones again.
        self.orphans: dict[Mailbox, None] = {}
        self.is_supervisor = False
        self.handle: ChildHandle | None = None

    def shutdown_s(self) -> float:
        """Return how long the child may take to end when asked, in seconds."""
        if self.spec.shutdown_s is not None:
            return self.spec.shutdown_s
        return math.inf if self.is_supervisor else WORKER_SHUTDOWN_S

    def remember(self, ending: Ending) -> None:
        """Keep how a life ended, and forget the oldest."""
        self.endings = (*self.endings, ending)[-_ENDINGS_MAX:]

    def describe(self, clock: Clock) -> ChildInfo:
        """Return what an operator sees of it, down to the leaves."""
        counts, work, life = self.mailbox.counts, self.work, self.life
        running = life is not None and self.state is ChildState.RUNNING
        # A tree that is down can be looked at where no clock runs any more.
        now_s = clock.now_s() if running else 0.0
        busy = running and work.in_hand is not None
        return ChildInfo(
            name=self.name,
            state=self.state.value,
            incarnation=self.incarnation,
            uptime_s=now_s - life.started_s if running and life else 0.0,
            restarts=max(0, self.incarnation - 1),
            last_crash=self.last_crash,
            queued=counts.depth,
            queued_max=counts.depth_max,
            received=counts.received,
            refused=counts.refused,
            children=self.child.describe() if running and self.child else (),
            dropped=counts.dropped,
            ready=life is not None and life.is_ready,
            suspended=life is not None and life.suspended,
            is_supervisor=self.is_supervisor,
            restart=self.spec.restart.value,
            significant=self.spec.significant,
            handled=work.handled,
            failed=work.failed,
            late=work.late,
            busy_s=work.busy_s,
            longest_s=work.longest_s,
            in_hand=type(work.in_hand).__name__ if busy else "",
            in_hand_s=now_s - work.since_s if busy else 0.0,
            endings=self.endings,
        )
