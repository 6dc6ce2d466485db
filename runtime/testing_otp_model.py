"""A small model of OTP's supervisors, in plain Python: what a tree should look like, and when.

No trio, no tasks, nothing of `runtime.core` but its enumerations: time is a number, a wait is an
entry in a list of what is due, and a death is an item in a queue. A real tree and this one are
driven with the same steps, and compared after each.

What it leaves out, and the driver therefore avoids: two things that would race in a real tree,
such as a message being handled while its reader is being stopped.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterator

from runtime.core.child import Restart
from runtime.testing_otp import Box, Call, Fate, How, Kind, Place, Plan, SupervisorPlan, WorkerPlan
from runtime.testing_otp_supervisor import CannotStart, Supervisor


class Model:
    """A whole tree.

    Attributes:
      now_s: The time.
      boxes: All mailboxes that can be found, by name.
      broken: Names of actors that will not start; of dynamic ones without their number.
      log: Who started and stopped, in order; those in one entry at once.
      raced: Whether something of the last step has no order among supervisors.
      ended: How the root ended by itself.
    """

    def __init__(self, plan: SupervisorPlan) -> None:
        self.now_s = 0.0
        self.boxes: dict[str, Box] = {}
        self.broken: set[str] = set()
        self.log: list[tuple[str, tuple[str, ...]]] = []
        self.raced = False
        self.ended: How | None = None
        self.exits: deque[tuple[Supervisor, Place, int, How]] = deque()
        self._starting = 0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = itertools.count()
        self.root = Supervisor(self, plan, None, "")
        self.root.start_all()
        self._settle()

    # -------------------------------------------------------------- time

    def at(self, due_s: float, do: Callable[[], None]) -> None:
        """Have something done at a time."""
        heapq.heappush(self._due, (due_s, next(self._serial), do))

    def advance(self, for_s: float) -> None:
        """Let time pass, and whatever is due happen."""
        until_s = self.now_s + for_s
        self._settle()
        while self._due and self._due[0][0] <= until_s:
            self.now_s, _, do = heapq.heappop(self._due)
            do()
            self._settle()
        self.now_s = until_s

    def _settle(self) -> None:
        while self.exits:
            supervisor, place, incarnation, how = self.exits.popleft()
            if place.state == "ending" and place.incarnation == incarnation:
                supervisor.guarded(lambda s=supervisor, p=place, h=how: s.on_exit(p, h))  # type: ignore[misc]

    def started(self, name: str) -> None:
        """Note a start."""
        self.log.append(("start", (name,)))

    def stopped(self, *names: str) -> None:
        """Note a stop, or several at once."""
        if names:
            self.log.append(("stop", names))

    def exit(self, supervisor: Supervisor, place: Place, how: How) -> None:
        """Note that a child has ended by itself."""
        place.state = "ending"
        self.raced |= self._starting > 0
        self.exits.append((supervisor, place, place.incarnation, how))

    # -------------------------------------------------------------- mailboxes

    def open_box(self, name: str, plan: Plan) -> Box:
        """Return the mailbox that waits under `name` for its owner, or a new one."""
        box = self.boxes.get(name)
        if box is None or not box.is_orphan:
            box = self.boxes[name] = Box(plan)
        box.is_orphan, box.plan = False, plan
        return box

    def orphan(self, place: Place) -> None:
        """Keep a name while its branch is started again."""
        place.box.fail(Fate.RESTARTED)
        place.box.is_orphan = True

    def bury(self, name: str, *, orphans_only: bool = False) -> None:
        """End the mailbox of that name, and those below it."""
        below = name + "."
        for each in [each for each in self.boxes if each == name or each.startswith(below)]:
            box = self.boxes[each]
            if orphans_only and not box.is_orphan:
                continue
            del self.boxes[each]
            box.fail(Fate.DOWN)
            box.is_closed = True

    # -------------------------------------------------------------- starting

    def start(self, supervisor: Supervisor, place: Place) -> None:
        """Start a child.

        Raises:
          CannotStart: It does not come up.
        """
        if place.box.is_closed:
            place.box = self.open_box(place.name, place.plan)
        place.incarnation += 1
        place.started_s = self.now_s
        place.ticket += 1
        self._starting += 1
        try:
            if isinstance(place.plan, SupervisorPlan):
                place.was_supervisor = True
                below = Supervisor(self, place.plan, (supervisor, place), place.name + ".")
                below.start_all()
                place.supervisor = below
            elif supervisor.prefix + place.plan.id in self.broken:
                raise CannotStart  # noqa: TRY301 - one of two ways in which a start fails
            else:
                self.started(place.name)
            place.state = "running"
            if place.incarnation > 1:
                # What waited for it, and is no child of the new life.
                self.bury(place.name, orphans_only=True)
            self.pump(supervisor, place)
        except CannotStart:
            place.state = "stopped"
            raise
        finally:
            self._starting -= 1

    # -------------------------------------------------------------- messages

    def pump(self, supervisor: Supervisor, place: Place) -> None:
        """Handle what is queued, until there is nothing more or somebody hangs or ends."""
        while place.state == "running" and place.in_hand is None and place.box.queue:
            call = place.box.take()
            if call.fate is Fate.PENDING:
                self._handle(supervisor, place, call)

    def _handle(self, supervisor: Supervisor, place: Place, call: Call) -> None:
        restart = place.plan.restart
        match call.kind:
            case Kind.WORK:
                call.end(Fate.ANSWERED)
                return
            case Kind.HANG:
                self._hang(supervisor, place, call)
                return
            case Kind.BOOM:
                call.end(supervisor.fate_of_crash(place))
                how = How.CRASH
            case Kind.LEAVE:
                call.end(Fate.ANSWERED)
                how = How.NORMAL
            case Kind.BOW:
                call.end(Fate.RESTARTED if restart is Restart.PERMANENT else Fate.DOWN)
                how = How.SHUTDOWN
        self.stopped(place.name)
        self.exit(supervisor, place, how)

    def _hang(self, supervisor: Supervisor, place: Place, call: Call) -> None:
        place.in_hand = call
        assert isinstance(place.plan, WorkerPlan)
        incarnation = place.incarnation
        if place.plan.hang_s is not None:

            def found() -> None:
                if place.state == "running" and place.incarnation == incarnation:
                    supervisor.kill(place, How.CRASH)

            self.at(self.now_s + place.plan.hang_s, found)

    # -------------------------------------------------------------- looking

    def everyone(self) -> Iterator[tuple[Supervisor, Place]]:
        """Yield every place of the tree with its supervisor, top down."""
        open_ones = deque([self.root])
        while open_ones:
            supervisor = open_ones.popleft()
            for place in supervisor.places.values():
                yield supervisor, place
                if place.supervisor is not None:
                    open_ones.append(place.supervisor)

    def supervisors(self) -> list[Supervisor]:
        """Return all that are running."""
        if self.ended is not None:
            return []
        below = [place.supervisor for _, place in self.everyone() if place.supervisor is not None]
        return [self.root, *below]

    def queued(self) -> Iterator[tuple[str, Call]]:
        """Yield every call that is queued or waits for room, with its actor's name."""
        for name, box in self.boxes.items():
            for call in (*box.queue, *box.waiting):
                yield name, call

    def send(self, name: str, call: Call) -> None:
        """Send a message."""
        box = self.boxes.get(name)
        if box is None:
            call.end(Fate.NOT_FOUND)
            return
        for supervisor, place in list(self.everyone()):
            if place.name == name and place.state == "running" and place.in_hand is None:
                self._handle(supervisor, place, call)
                return
        box.put(call)

    def shape(self, supervisor: Supervisor | None = None) -> object:
        """Return the tree: of each child its name, state, lives, queue, and what is below."""
        return [
            (
                place.name,
                place.state,
                place.incarnation,
                len(place.box.queue) + len(place.box.waiting),
                self.shape(place.supervisor) if place.supervisor is not None else [],
            )
            for place in (supervisor or self.root).places.values()
        ]
