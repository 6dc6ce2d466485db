"""The model's supervisors: OTP's rules about who is started, stopped and restarted when."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from runtime.core.child import Restart
from runtime.core.mailbox import OnCrash
from runtime.core.policy import AutoShutdown, Strategy
from runtime.testing_otp import STOP_S, Fate, How, Place, Plan, SupervisorPlan, WorkerPlan

if TYPE_CHECKING:
    from runtime.testing_otp_model import Model


class Ends(Exception):
    """The supervisor ends of this."""

    def __init__(self, how: How) -> None:
        super().__init__(how.value)
        self.how = how


class CannotStart(Exception):
    """A child did not come up."""


class Supervisor:
    """One supervisor's life.

    Args:
      model: The tree it is part of.
      plan: What it goes by.
      above: Its own supervisor and place; None for the root.
      prefix: What the names of its children begin with.
    """

    def __init__(
        self,
        model: Model,
        plan: SupervisorPlan,
        above: tuple[Supervisor, Place] | None,
        prefix: str,
    ) -> None:
        self.model, self.plan, self.above, self.prefix = model, plan, above, prefix
        self.places: dict[str, Place] = {}
        self.window_s: list[float] = []
        self.serial = 0
        self.is_open = True

    # -------------------------------------------------------------- starting and stopping

    def start_all(self) -> None:
        """Start the children of the plan, or none of them."""
        for plan in self.plan.children:
            self.place(plan, plan.id)
        try:
            for place in list(self.places.values()):
                self.model.start(self, place)
        except CannotStart:
            returns = self.above is not None and self.above[1].plan.restart is not Restart.TEMPORARY
            self.stop_all(returns=returns)
            raise

    def place(self, plan: Plan, child_id: str) -> Place:
        """Add a place at the end."""
        name = self.prefix + child_id
        made = self.places[child_id] = Place(plan, name, self.model.open_box(name, plan))
        return made

    def stop_all(self, *, returns: bool) -> None:
        """Stop every child, the last first; a dynamic supervisor's at once."""
        self.is_open = False
        if self.plan.is_dynamic:
            self._all_at_once()
        for place in reversed(self.places.values()):
            self.stop(place, returns=returns and not self.plan.is_dynamic)
            self._close(place, returns=returns and not self.plan.is_dynamic)
        self.places.clear()

    def _all_at_once(self) -> None:
        """End what can be ended side by side."""
        running = [place for place in self.places.values() if place.state == "running"]
        self.model.stopped(*(place.name for place in running))
        slow = [p for p in running if p.in_hand is not None and not is_brutal(p.plan)]
        self.model.now_s += STOP_S if slow else 0.0
        for place in running:
            self._let_go(place, Fate.DOWN)

    def kill_all(self, *, returns: bool) -> list[str]:
        """End every child without asking; return who that was."""
        self.is_open = False
        returns = returns and not self.plan.is_dynamic
        names: list[str] = []
        for place in reversed(self.places.values()):
            if place.state == "running" and place.supervisor is not None:
                names += place.supervisor.kill_all(returns=returns)
            elif place.state == "running":
                names.append(place.name)
            self._let_go(place, Fate.RESTARTED if returns else Fate.DOWN)
            self._close(place, returns=returns)
        self.places.clear()
        return names

    def stop(self, place: Place, *, returns: bool) -> None:
        """Stop one child, or its wait for its next life."""
        if place.state == "running" and place.supervisor is not None:
            place.supervisor.stop_all(returns=returns)
        elif place.state == "running":
            if place.in_hand is not None and not is_brutal(place.plan):
                self.model.now_s += STOP_S
            self.model.stopped(place.name)
        self._let_go(place, Fate.RESTARTED if returns else Fate.DOWN)

    def _let_go(self, place: Place, fate: Fate) -> None:
        if place.in_hand is not None:
            place.in_hand.end(fate)
        place.in_hand = place.supervisor = None
        place.state = "stopped"
        place.ticket += 1

    def _close(self, place: Place, *, returns: bool) -> None:
        if returns and not place.box.is_closed:
            self.model.orphan(place)
        else:
            self.model.bury(place.name)

    def lay_down(self, place: Place) -> None:
        """Let a child rest: in its place, or without one."""
        self.model.bury(place.name)
        if self.plan.is_dynamic or place.plan.restart is Restart.TEMPORARY:
            del self.places[place.name.removeprefix(self.prefix)]

    # -------------------------------------------------------------- ends

    def fate_of_crash(self, place: Place) -> Fate:
        """Return what a caller hears whose message was in hand."""
        return Fate.RESTARTED if comes_back_with(place.plan) else Fate.DOWN

    def kill(self, place: Place, how: How = How.KILLED) -> None:
        """End a child from outside."""
        if place.supervisor is not None:
            self.model.stopped(*place.supervisor.kill_all(returns=comes_back_with(place.plan)))
        else:
            self.model.stopped(place.name)
        self._let_go(place, self.fate_of_crash(place))
        self.model.exit(self, place, how)

    def on_exit(self, place: Place, how: How) -> None:
        """Decide about a child that has ended by itself."""
        place.state = "stopped"
        place.supervisor = None
        restart = place.plan.restart
        if restart is Restart.PERMANENT or (
            restart is Restart.TRANSIENT and how in {How.KILLED, How.CRASH}
        ):
            self.failed(place, lived_s=self.model.now_s - place.started_s)
            return
        self.lay_down(place)
        if not place.plan.significant:
            return
        mode = self.plan.auto_shutdown
        others = any(
            other.plan.significant and other.state != "stopped" for other in self.places.values()
        )
        if mode is AutoShutdown.ANY_SIGNIFICANT or not others:
            raise Ends(How.SHUTDOWN)

    def failed(self, place: Place, *, lived_s: float = 0.0) -> None:
        """Count a crash and see to the next life, unless it was one too many."""
        plan, now_s = self.plan, self.model.now_s
        if lived_s >= plan.forgive_s:
            place.in_a_row = 0
        place.in_a_row += 1
        if getattr(place.plan, "on_crash", None) is OnCrash.FAIL:
            place.box.fail(Fate.RESTARTED)
        self.window_s = [s for s in self.window_s if s + plan.within_s > now_s] + [now_s]
        if plan.max_restarts is not None and len(self.window_s) > plan.max_restarts:
            raise Ends(How.CRASH)
        least_s, most_s = plan.backoff_s
        wait_s = min(most_s, least_s * 2 ** (place.in_a_row - 2)) if place.in_a_row > 1 else 0.0
        self.stop_group(place)
        place.state = "restarting"
        place.ticket += 1
        ticket = place.ticket

        def due() -> None:
            if place.ticket == ticket and self.is_open:
                self.guarded(lambda: self.start_group(place))

        self.model.at(self.model.now_s + wait_s, due)

    def guarded(self, do: Callable[[], None]) -> None:
        """Do something of which this supervisor may end."""
        if not self.is_open:
            return
        try:
            do()
        except Ends as end:
            self._end(end.how)

    def _end(self, how: How) -> None:
        if self.above is None:
            self.stop_all(returns=False)
            self.model.ended = how
            return
        supervisor, place = self.above
        self.stop_all(returns=comes_back_with(place.plan))
        self.model.exit(supervisor, place, how)

    # -------------------------------------------------------------- groups

    def _after(self, place: Place) -> list[Place]:
        everyone = list(self.places.values())
        match self.plan.strategy:
            case Strategy.ONE_FOR_ONE:
                return []
            case Strategy.ONE_FOR_ALL:
                return [each for each in everyone if each is not place]
            case Strategy.REST_FOR_ONE:
                return everyone[everyone.index(place) + 1 :]

    def stop_group(self, place: Place) -> None:
        """Stop whoever is restarted along, the last first; temporary ones are gone with that."""
        for other in reversed(self._after(place)):
            temporary = other.plan.restart is Restart.TEMPORARY
            self.stop(other, returns=not temporary)
            if temporary:
                self.lay_down(other)

    def start_group(self, place: Place) -> None:
        """Start it and whoever was stopped with it, in order."""
        self.stop_group(place)
        group = {place, *self._after(place)}
        for other in [each for each in self.places.values() if each in group]:
            try:
                self.model.start(self, other)
            except CannotStart:
                self.failed(other)
                return

    # -------------------------------------------------------------- operations

    def start_child(self, plan: WorkerPlan) -> str:
        """Add a child; return the name of the error, or of the child."""
        if plan.significant and (
            self.plan.is_dynamic or self.plan.auto_shutdown is AutoShutdown.NEVER
        ):
            return "BadSpec"
        child_id = plan.id
        if self.plan.is_dynamic:
            self.serial += 1
            child_id = f"{plan.id}-{self.serial}"
        elif plan.id in self.places:
            states = {"running": "AlreadyStarted", "stopped": "AlreadyPresent"}
            return states.get(self.places[plan.id].state, "Restarting")
        place = self.place(plan, child_id)
        try:
            self.model.start(self, place)
        except CannotStart:
            self.model.bury(place.name)
            del self.places[child_id]
            return "StartFailed"
        return place.name

    def terminate(self, place: Place) -> None:
        """Stop a child because somebody wants that."""
        self.stop(place, returns=False)
        place.in_a_row = 0
        self.lay_down(place)

    def restart_child(self, place: Place) -> str:
        """Start a child that rests."""
        if place.state != "stopped":
            return "Restarting" if place.state == "restarting" else "StillRunning"
        try:
            self.model.start(self, place)
        except CannotStart:
            self.model.bury(place.name)
            return "StartFailed"
        return place.name

    def delete(self, place: Place) -> str:
        """Forget a child that rests."""
        if place.state != "stopped":
            return "Restarting" if place.state == "restarting" else "StillRunning"
        self.model.bury(place.name)
        del self.places[place.name.removeprefix(self.prefix)]
        return ""

    def renew(self, place: Place) -> str:
        """Stop and start a child, in order."""
        if place.plan.restart is Restart.TEMPORARY:
            return "BadSpec"
        self.stop(place, returns=True)
        try:
            self.model.start(self, place)
        except CannotStart:
            self.guarded(lambda: self.failed(place))
            return "StartFailed"
        return ""


def is_brutal(plan: Plan) -> bool:
    """Return whether a child is given no time to stop."""
    return isinstance(plan, WorkerPlan) and plan.brutal


def comes_back_with(plan: Plan) -> bool:
    """Return whether a child is started again after a crash."""
    return plan.restart is not Restart.TEMPORARY
