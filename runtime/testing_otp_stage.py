"""A real tree that does as told, step by step, beside the model in `runtime.testing_otp_model`.

    stage = Stage(plan, seed=0)
    stage.do("call", "a", 1, Kind.BOOM)
    assert stage.do("shape") == model.shape()
    stage.close()

The tree lives in virtual time, in a thread of its own that stands still between two steps: so
whoever drives it needs no async function, as Hypothesis' machines have none.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from runtime.core.actor import Actor
from runtime.core.backoff import Backoff, RestartIntensity
from runtime.core.child import ChildSpec
from runtime.core.clock import TrioClock
from runtime.core.dynamic import DynamicSupervisor
from runtime.core.errors import ActorError, Shutdown
from runtime.core.info import ChildInfo
from runtime.core.mailbox import MailboxSpec, Overflow
from runtime.core.message import Request
from runtime.core.registry import Registry
from runtime.core.replay import run_replayable
from runtime.core.supervisor import Supervisor
from runtime.core.tree import open_tree
from runtime.testing_otp import STOP_S, Fate, Kind, Plan, SupervisorPlan, WorkerPlan

# Far beyond any run: no call ends by its deadline.
_NEVER_S = 1e9


class Do(Request[int], frozen=True):
    """Make the actor do something."""

    number: int
    kind: Kind


def _key(message: Do) -> int:
    return message.number % 2


class Player(Actor):
    """Does what it is told, and notes when it started and stopped."""

    def __init__(self, log: list[tuple[str, str]]) -> None:
        self._log = log

    async def on_start(self) -> None:
        """Note it."""
        self._log.append(("start", self.context.name))

    async def on_stop(self) -> None:
        """Note it."""
        self._log.append(("stop", self.context.name))

    async def handle_call(self, request: Request[Any]) -> object:
        """Do as told."""
        assert isinstance(request, Do)
        match request.kind:
            case Kind.BOOM:
                raise ValueError("boom")
            case Kind.BOW:
                raise Shutdown("enough")
            case Kind.LEAVE:
                self.context.stop()
            case Kind.HANG:
                await trio.sleep_forever()
            case Kind.WORK:
                pass
        return request.number


class Stage:
    """A real tree, and everything that was seen of it.

    Args:
      plan: Of the root.
      seed: Of the scheduler.

    Attributes:
      log: Who started and stopped, in order.
      answers: What came back of each call, in order; one each, or there is a defect.
      broken: Names of actors that will not start; of dynamic ones without their number.
      ended: The error with which the root ended by itself.
      tasks_left: Tasks that were still there when everything had been stopped.
    """

    def __init__(self, plan: SupervisorPlan, *, seed: int) -> None:
        self.log: list[tuple[str, str]] = []
        self.answers: dict[int, list[str]] = {}
        self.broken: set[str] = set()
        self.ended = ""
        self.tasks_left = 0
        self.registry = Registry()
        self._scopes: dict[int, trio.CancelScope] = {}
        self._root = self._supervisor(plan, "")
        self._steps: queue.Queue[tuple[str, tuple[Any, ...]] | None] = queue.Queue(1)
        self._results: queue.Queue[object] = queue.Queue(1)
        self._thread = threading.Thread(target=self._run, args=(seed,), daemon=True)
        self._thread.start()
        self._result()

    # -------------------------------------------------------------- for the driver

    def do(self, what: str, *args: Any) -> Any:
        """Do a step: call the method `step_<what>` in the tree's thread; return what it does.

        An error of the tree's, as a name, is a result like any other.
        """
        self._steps.put((what, args))
        return self._result()

    def close(self) -> None:
        """Stop the tree and wait for the end of the run."""
        if self._thread.is_alive():
            self._steps.put(None)
            self._result()
            self._thread.join()

    def fates(self) -> dict[int, str]:
        """Return what became of each call."""
        return {n: " ".join(told) or Fate.PENDING.value for n, told in self.answers.items()}

    def _result(self) -> Any:
        result = self._results.get(timeout=60)
        if isinstance(result, BaseException):
            raise result
        return result

    # -------------------------------------------------------------- the steps

    async def step_call(self, name: str, number: int, kind: Kind) -> None:
        """Send a message; its answer is noted when it comes."""
        self.answers[number] = []
        self._callers.start_soon(self._call, name, number, kind)
        await trio.lowlevel.checkpoint()

    async def step_cancel(self, number: int) -> None:
        """Cancel a caller."""
        self._scopes[number].cancel()
        await trio.lowlevel.checkpoint()

    async def step_sleep(self, for_s: float) -> None:
        """Let time pass."""
        await trio.sleep(for_s)

    async def step_shape(self) -> object:
        """Return the tree as `Model.shape` does."""
        return _shape(self._root.describe())

    async def step_kill(self, name: str) -> None:
        """End a child without asking."""
        self._root.kill(name)
        await trio.lowlevel.checkpoint()

    async def step_renew(self, name: str) -> None:
        """Stop and start a child."""
        await self._root.restart(name)

    async def step_start_child(self, prefix: str, plan: WorkerPlan) -> str:
        """Add a child; return its name."""
        supervisor = self._find(prefix)
        return (await supervisor.start_child(self._spec(plan, prefix))).name

    async def step_terminate(self, prefix: str, child_id: str) -> None:
        """Stop a child."""
        supervisor = self._find(prefix)
        if isinstance(supervisor, DynamicSupervisor):
            entries = await supervisor.which_children()
            handle = next(entry.handle for entry in entries if entry.id == child_id)
            assert handle is not None
            await supervisor.terminate_child(handle)
        else:
            await supervisor.terminate_child(child_id)

    async def step_restart_child(self, prefix: str, child_id: str) -> str:
        """Start a child that rests; return its name."""
        supervisor = self._find(prefix)
        assert isinstance(supervisor, Supervisor)
        return (await supervisor.restart_child(child_id)).name

    async def step_delete(self, prefix: str, child_id: str) -> None:
        """Forget a child that rests."""
        supervisor = self._find(prefix)
        assert isinstance(supervisor, Supervisor)
        await supervisor.delete_child(child_id)

    async def step_count(self, prefix: str) -> tuple[int, int, int, int]:
        """Return the counts of a supervisor: specs, active, supervisors, workers."""
        counts = await self._find(prefix).count_children()
        return (counts.specs, counts.active, counts.supervisors, counts.workers)

    # -------------------------------------------------------------- the tree's thread

    def _run(self, seed: int) -> None:
        try:
            run_replayable(self._main, seed=seed)
        except BaseException as error:  # noqa: BLE001 - raised again where somebody waits for it
            self._results.put(error)
        else:
            self._results.put(None)

    async def _main(self) -> None:
        at_first = trio.lowlevel.current_statistics().tasks_living
        started, over, stop = trio.Event(), trio.Event(), trio.Event()

        async def tree() -> None:
            try:
                async with open_tree(
                    self._root,
                    clock=TrioClock(start_utc_ms=0),
                    rng=random.Random(0),  # noqa: S311 - nothing is left to it
                    registry=self.registry,
                ):
                    started.set()
                    await stop.wait()
            except Exception as error:  # noqa: BLE001 - an end that the model has to foresee
                self.ended = type(error).__name__
            over.set()

        async with trio.open_nursery() as self._callers:
            self._callers.start_soon(tree)
            await started.wait()
            await self._play()
            stop.set()
            await over.wait()
            with trio.move_on_after(1):
                while len(self._callers.child_tasks):  # noqa: ASYNC110 - callers hear of the end
                    await trio.sleep(0.1)
            self._callers.cancel_scope.cancel()
        self.tasks_left = trio.lowlevel.current_statistics().tasks_living - at_first

    async def _play(self) -> None:
        result: object = None
        while True:
            self._results.put(result)
            # Blocks the whole loop on purpose: no time passes between two steps.
            step = self._steps.get()
            if step is None:
                return
            method: Callable[..., Awaitable[object]] = getattr(self, f"step_{step[0]}")
            try:
                result = await method(*step[1])
            except ActorError as error:
                result = type(error).__name__

    async def _call(self, name: str, number: int, kind: Kind) -> None:
        told = self.answers[number]
        with trio.CancelScope() as self._scopes[number]:
            try:
                ref = self.registry.ref(name)
                answer = await ref.call(Do(number=number, kind=kind), timeout_s=_NEVER_S)
                told.append(Fate.ANSWERED.value if answer == number else f"wrong: {answer}")
            except ActorError as error:
                told.append(type(error).__name__)
        if self._scopes[number].cancelled_caught:
            told.append(Fate.CANCELLED.value)

    # -------------------------------------------------------------- building

    def _find(self, prefix: str) -> Supervisor | DynamicSupervisor:
        found = self._root.place(prefix[:-1]).child if prefix else self._root
        assert isinstance(found, Supervisor | DynamicSupervisor)
        return found

    def _supervisor(self, plan: SupervisorPlan, prefix: str) -> Any:
        least_s, most_s = plan.backoff_s
        backoff = Backoff(
            min_s=least_s, factor=2, max_s=most_s, jitter=0, forgive_after_s=plan.forgive_s
        )
        intensity = plan.max_restarts
        policy: dict[str, Any] = {
            "backoff": backoff,
            "intensity": None if intensity is None else RestartIntensity(intensity, plan.within_s),
        }
        if plan.is_dynamic:
            return DynamicSupervisor(**policy)
        children = [self._spec(child, prefix) for child in plan.children]
        return Supervisor(
            children, strategy=plan.strategy, auto_shutdown=plan.auto_shutdown, **policy
        )

    def _spec(self, plan: Plan, prefix: str) -> ChildSpec:
        name = prefix + plan.id
        common: dict[str, Any] = {"restart": plan.restart, "significant": plan.significant}
        if isinstance(plan, SupervisorPlan):
            return ChildSpec(plan.id, lambda: self._supervisor(plan, name + "."), **common)
        mailbox = MailboxSpec(
            plan.capacity,
            plan.overflow,
            plan.on_crash,
            key=_key if plan.overflow is Overflow.LATEST else None,
        )
        return ChildSpec(
            plan.id,
            lambda: self._player(name),
            mailbox=mailbox,
            hang_s=plan.hang_s,
            shutdown_s=0 if plan.brutal else STOP_S,
            **common,
        )

    def _player(self, name: str) -> Player:
        if name in self.broken:
            raise OSError("broken")
        return Player(self.log)


def _shape(children: tuple[ChildInfo, ...]) -> object:
    return [
        (info.name, info.state, info.incarnation, info.queued, _shape(info.children))
        for info in children
    ]


def quiet() -> Callable[[], None]:
    """Keep the core's log still; return what turns it on again."""
    log = logging.getLogger("marketd")
    before = log.level
    log.setLevel(logging.CRITICAL + 1)
    return lambda: log.setLevel(before)
