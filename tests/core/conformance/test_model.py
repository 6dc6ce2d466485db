"""A tree of any shape against the model of OTP: the last case that nobody has.

A Hypothesis machine sends messages, crashes, kills, hangs, stops, adds, deletes and restarts in a
real tree and in the model (`runtime.testing_otp_model`), and after each step both have the same
children, in the same order and state, with the same number of lives and the same mailboxes; the
same starts and stops have happened in the same order; and every call has met the same fate, once.
At the end no task and no name is left.

Many more examples, at other places each time:

    python tests/core/conformance/test_model.py 5000

Never made to happen here, because a real tree may do either: a message that is handled while its
reader is being stopped. So messages are queued only while nothing else of consequence is.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from runtime.core.child import Restart
from runtime.core.mailbox import OnCrash, Overflow
from runtime.core.policy import AutoShutdown, Strategy
from runtime.testing_otp import Call, Fate, How, Kind, Place, Plan, SupervisorPlan, WorkerPlan
from runtime.testing_otp_model import Model
from runtime.testing_otp_stage import Stage, quiet
from runtime.testing_otp_supervisor import Supervisor

# After each step: long enough for every stop, and no due time of anything falls on it.
PAUSE_S = 1 / 64
ENDS = {How.CRASH: "RestartIntensityExceeded", How.SHUTDOWN: "Shutdown", None: ""}
POISON = {Kind.BOOM, Kind.LEAVE, Kind.BOW}
PICK = st.integers(0, 1000)
KINDS = st.lists(st.sampled_from(Kind), min_size=1, max_size=3)
RESTARTS = st.sampled_from(Restart)

WORKERS = st.builds(
    WorkerPlan,
    id=st.just("w"),
    restart=RESTARTS,
    significant=st.booleans(),
    brutal=st.booleans(),
    hang_s=st.sampled_from([None, 3.0071]),
    capacity=st.integers(1, 2),
    overflow=st.sampled_from(Overflow),
    on_crash=st.sampled_from(OnCrash),
)
DYNAMICS = st.builds(
    SupervisorPlan,
    id=st.just("d"),
    restart=RESTARTS,
    significant=st.booleans(),
    max_restarts=st.sampled_from([0, 1, 3, None]),
    is_dynamic=st.just(True),
)


def supervisors(child: st.SearchStrategy[Plan]) -> st.SearchStrategy[Plan]:
    """Return supervisors of up to three of `child`."""
    return st.builds(
        SupervisorPlan,
        id=st.just("s"),
        restart=RESTARTS,
        significant=st.booleans(),
        strategy=st.sampled_from(Strategy),
        auto_shutdown=st.sampled_from(AutoShutdown),
        max_restarts=st.sampled_from([0, 1, 2, 3, None]),
        backoff_s=st.sampled_from([(0.3137, 1.3), (0.0, 0.0), (0.7019, 0.7019)]),
        children=st.lists(child, min_size=1, max_size=3).map(tuple),
    )


TREES = supervisors(st.recursive(st.one_of(WORKERS, WORKERS, DYNAMICS), supervisors, max_leaves=6))


def named(plan: Plan, number: int = 0, *, may_be_significant: bool = False) -> Plan:
    """Return `plan` with ids that differ among siblings, and significance only where it may be."""
    significant = plan.significant and may_be_significant and plan.restart is not Restart.PERMANENT
    plan = replace(plan, id=f"{plan.id}{number}", significant=significant)
    if isinstance(plan, WorkerPlan):
        return plan
    if plan.max_restarts is None and plan.backoff_s == (0.0, 0.0):
        # One that cannot start would be tried again for ever, in no time.
        plan = replace(plan, max_restarts=3)
    may = plan.auto_shutdown is not AutoShutdown.NEVER
    children = [named(c, n, may_be_significant=may) for n, c in enumerate(plan.children)]
    return replace(plan, children=tuple(children))


class Tree(RuleBasedStateMachine):
    """The machine: every step is done to both trees, and compared."""

    @initialize(plan=TREES, seed=st.integers(0, 3))
    def grow(self, plan: Plan, seed: int) -> None:
        """Start both trees."""
        root = named(plan)
        assert isinstance(root, SupervisorPlan)
        self.loud = quiet()
        self.model, self.stage = Model(root), Stage(root, seed=seed)
        self.calls: dict[int, Call] = {}
        self.logged = 0
        self.after("")

    # -------------------------------------------------------------- messages

    @rule(pick=PICK, kind=st.sampled_from(Kind))
    def call(self, pick: int, kind: Kind) -> None:
        """Send a message."""
        names = [place.name for _, place in self.places(workers=True)] or ["nobody"]
        self.send(names[pick % len(names)], kind)

    @rule(
        pick=PICK, kinds=st.lists(st.sampled_from(Kind), min_size=1, max_size=3), kill=st.booleans()
    )
    def pester(self, pick: int, kinds: list[Kind], *, kill: bool) -> None:
        """Send several messages to one actor, behind one over which it hangs; and kill it."""
        running = [(s, p) for s, p in self.places(workers=True) if p.state == "running"]
        if not running:
            return
        supervisor, place = running[pick % len(running)]
        for kind in (Kind.HANG, *kinds):
            self.send(place.name, kind)
        if kill and place.state == "running":
            supervisor.kill(place)
            self.after(None, self.stage.do("kill", place.name))

    def send(self, name: str, kind: Kind) -> None:
        """Send one message, if nothing can race of it."""
        if self.may_send(name, kind):
            number = len(self.calls)
            call = self.calls[number] = Call(number, kind)
            self.model.send(name, call)
            self.after(None, self.stage.do("call", name, number, kind))

    @rule(pick=PICK)
    def cancel(self, pick: int) -> None:
        """Cancel a caller; what is in hand stays in hand, what is queued is for nobody."""
        waiting = [call for call in self.calls.values() if call.fate is Fate.PENDING]
        if waiting:
            call = waiting[pick % len(waiting)]
            call.end(Fate.CANCELLED)
            for box in self.model.boxes.values():
                box.leave(call)
            self.after(None, self.stage.do("cancel", call.number))

    # -------------------------------------------------------------- ends and time

    @rule(for_s=st.sampled_from([0.25, 0.5, 1.5, 3.5, 5.0, 10.5]))
    def sleep(self, for_s: float) -> None:
        """Let time pass."""
        self.model.advance(for_s)
        self.after(None, self.stage.do("sleep", for_s))

    @rule(pick=PICK)
    def kill(self, pick: int) -> None:
        """End a child without asking, a whole branch too."""
        running = [(s, p) for s, p in self.places() if p.state == "running"]
        if running:
            supervisor, place = running[pick % len(running)]
            supervisor.kill(place)
            self.after(None, self.stage.do("kill", place.name))

    @rule(pick=PICK)
    def break_or_mend(self, pick: int) -> None:
        """Have an actor fail to start from now on, or no longer."""
        alive = {s.prefix + place.plan.id for s, place in self.places(workers=True)}
        names = sorted(alive | self.model.broken)
        if names and not any(self.model.queued()):
            name = names[pick % len(names)]
            self.model.broken ^= {name}
            self.stage.broken ^= {name}

    # -------------------------------------------------------------- operations

    @rule(pick=PICK, plan=WORKERS, number=st.integers(0, 4))
    def start_child(self, pick: int, plan: WorkerPlan, number: int) -> None:
        """Add a child."""
        if self.model.ended is not None:
            return
        choices = self.model.supervisors()
        supervisor = choices[pick % len(choices)]
        if plan.restart is Restart.PERMANENT:
            plan = replace(plan, significant=False)
        plan = replace(plan, id=f"w{number}")
        expected = supervisor.start_child(plan)
        self.after(expected, self.stage.do("start_child", supervisor.prefix, plan))

    @rule(pick=PICK)
    def terminate(self, pick: int) -> None:
        """Stop a child."""
        if (found := self.pick(pick)) is not None:
            supervisor, place, child_id = found
            supervisor.terminate(place)
            self.after(None, self.stage.do("terminate", supervisor.prefix, child_id))

    @rule(pick=PICK, what=st.sampled_from(["restart_child", "delete"]))
    def administer(self, pick: int, what: str) -> None:
        """Start or forget a child that rests; or be refused."""
        resting = [(s, p) for s, p in self.places() if p.state == "stopped"]
        found = self.pick(pick, resting or None)
        if found is not None and not found[0].plan.is_dynamic:
            supervisor, place, child_id = found
            expected = getattr(supervisor, what)(place) or None
            self.after(expected, self.stage.do(what, supervisor.prefix, child_id))

    @rule(pick=PICK)
    def renew(self, pick: int) -> None:
        """Stop and start a child, in order."""
        if (found := self.pick(pick)) is not None:
            supervisor, place, _ = found
            expected = supervisor.renew(place) or None
            self.after(expected, self.stage.do("renew", place.name))

    @rule(pick=PICK)
    def count(self, pick: int) -> None:
        """Count the children of a supervisor."""
        if self.model.ended is None:
            choices = self.model.supervisors()
            supervisor = choices[pick % len(choices)]
            places = supervisor.places.values()
            below = sum(place.was_supervisor for place in places)
            active = sum(place.state == "running" for place in places)
            expected = (len(places), active, below, len(places) - below)
            same("counts", self.stage.do("count", supervisor.prefix), expected)

    # -------------------------------------------------------------- choosing

    def places(self, *, workers: bool = False) -> list[tuple[Supervisor, Place]]:
        """Return all places there are."""
        if self.model.ended is not None:
            return []
        return [
            (supervisor, place)
            for supervisor, place in self.model.everyone()
            if not workers or isinstance(place.plan, WorkerPlan)
        ]

    def pick(
        self, pick: int, choices: list[tuple[Supervisor, Place]] | None = None
    ) -> tuple[Supervisor, Place, str] | None:
        """Return a place, with its supervisor and its id there."""
        choices = choices or self.places()
        if not choices:
            return None
        supervisor, place = choices[pick % len(choices)]
        return supervisor, place, place.name.removeprefix(supervisor.prefix)

    def may_send(self, name: str, kind: Kind) -> bool:
        """Return whether what comes of the message does not depend on who is faster."""
        idle = any(
            place.name == name and place.state == "running" and place.in_hand is None
            for _, place in self.places()
        )
        if idle or name not in self.model.boxes:
            return True
        elsewhere = [call for box, call in self.model.queued() if box != name]
        poison = kind in POISON or any(call.kind in POISON for _, call in self.model.queued())
        return not self.model.broken and not (elsewhere and poison)

    # -------------------------------------------------------------- comparing

    def after(self, expected: Any = None, result: Any = None) -> None:
        """Let both come to rest, and compare them."""
        if expected != "":
            same("result", result, expected)
        self.model.advance(PAUSE_S)
        self.stage.do("sleep", PAUSE_S)
        same("end", self.stage.ended, ENDS[self.model.ended])
        if self.model.ended is None:
            same("children", self.stage.do("shape"), self.model.shape())
        same("fates", self.stage.fates(), self.fates())
        same("names", list(self.stage.registry.names()), sorted(self.model.boxes))
        self.compare_logs()

    def fates(self) -> dict[int, str]:
        """Return what should have become of each call."""
        return {number: call.fate.value for number, call in self.calls.items()}

    def compare_logs(self) -> None:
        """Compare who started and stopped, and in which order."""
        real, self.stage.log[:] = list(self.stage.log), []
        told, self.model.log = self.model.log, []
        raced, self.model.raced = self.model.raced, False
        if raced:
            flat = [(what, name) for what, names in told for name in names]
            for prefix in {name.rpartition(".")[0] for _, name in flat + real}:
                same("who started and stopped", _of(prefix, real), _of(prefix, flat))
            return
        for what, names in told:
            now, real = real[: len(names)], real[len(names) :]
            same("order", sorted(now), sorted((what, name) for name in names))
        same("order", real, [])

    def teardown(self) -> None:
        """Stop the tree: everybody is answered, in order, and nothing is left."""
        if not hasattr(self, "stage"):
            return
        try:
            if self.model.ended is None:
                self.model.root.stop_all(returns=False)
            self.stage.close()
            same("fates", self.stage.fates(), self.fates())
            same("what is left", (self.stage.registry.names(), self.stage.tasks_left), ((), 0))
            self.compare_logs()
        finally:
            self.stage.close()
            self.loud()


def same(what: str, real: object, model: object) -> None:
    """Fail, in one line, unless both are the same."""
    assert real == model, f"{what}: the tree {real}, the model {model}"


def _of(prefix: str, log: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return sorted(entry for entry in log if entry[1].rpartition(".")[0] == prefix)


def examples(count: int) -> settings:
    """Return settings for so many examples."""
    return settings(
        max_examples=count,
        stateful_step_count=25,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )


# Slow because it is many trees; more than a second finds more.
TestTree = pytest.mark.slow(Tree.TestCase)
TestTree.settings = examples(150)

if __name__ == "__main__":
    run_state_machine_as_test(Tree, settings=examples(int(sys.argv[1])))
