"""The lane beside the mailbox: it is answered whatever the actor is doing."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from runtime.core.actor import Actor
from runtime.core.backoff import Backoff
from runtime.core.child import ChildSpec, Restart
from runtime.core.clock import TrioClock
from runtime.core.control import ActorControl
from runtime.core.dynamic import DynamicSupervisor
from runtime.core.errors import (
    ActorDown,
    ActorNotFound,
    BadSpec,
    CallTimeout,
    StartFailed,
    SupervisorDown,
)
from runtime.core.mailbox import MailboxSpec
from runtime.core.message import Event, Request
from runtime.core.registry import Registry
from runtime.core.supervisor import Supervisor
from runtime.core.trace import Noted
from runtime.core.tree import open_tree


class Ping(Request[int], frozen=True):
    """Be answered with the incarnation, after `takes_s`."""

    takes_s: float = 0


class Later(Request[int], frozen=True):
    """Be answered from another task, too late."""


class Note(Event, frozen=True):
    """Something to take note of."""


class Secret:
    """Something that must not be shown."""

    def __repr__(self) -> str:
        """Give it away."""
        return "hunter2"


class Figures(msgspec.Struct, frozen=True):
    """What an actor says of itself."""

    pings: int
    key: Secret


class Worker(Actor):
    """Answers pings and counts them.

    Args:
      can_start: Whether `on_start` succeeds.
    """

    def __init__(self, can_start: Callable[[], bool] = lambda: True) -> None:
        self.pings = 0
        self.can_start = can_start

    async def on_start(self) -> None:
        """Fail if that is what the test wants."""
        if not self.can_start():
            raise OSError("no disk")

    async def handle_call(self, request: Request[Any]) -> object:
        """Count and answer."""
        if isinstance(request, Later):
            reply = self.context.take_reply()
            await trio.sleep(2)
            reply.send(1)
            return None
        assert isinstance(request, Ping)
        self.pings += 1
        await trio.sleep(request.takes_s)
        return self.context.incarnation

    async def handle_cast(self, event: Event) -> None:
        """Take note."""

    def statistics(self) -> Figures:
        """Return them."""
        return Figures(self.pings, Secret())


@pytest.fixture
def registry() -> Registry:
    """The names of the tree."""
    return Registry()


@pytest.fixture
async def tree(registry: Registry) -> AsyncIterator[Supervisor]:
    """A branch with an actor whose mailbox holds two messages, and a pool."""
    inner = [ChildSpec("x", Worker, mailbox=MailboxSpec(capacity=2)), ChildSpec("y", Worker)]
    children = [ChildSpec("b", lambda: Supervisor(inner)), ChildSpec("pool", DynamicSupervisor)]
    clock = TrioClock(start_utc_ms=0)
    root = Supervisor(children, backoff=Backoff(min_s=0, max_s=0))
    async with open_tree(root, clock=clock, rng=random.Random(0), registry=registry) as tree:
        yield tree


@pytest.fixture
def lane(tree: Supervisor) -> ActorControl:
    """The lane of the actor `b.x`."""
    return tree.actor("b.x")


async def test_it_answers_with_a_full_mailbox_and_a_hanging_handler(
    registry: Registry, lane: ActorControl, nursery: trio.Nursery
) -> None:
    """Exactly then an operator needs it."""
    for _ in range(3):
        nursery.start_soon(partial(registry.ref("b.x").call, Ping(takes_s=9), timeout_s=99))
        await trio.testing.wait_all_tasks_blocked()
    await trio.sleep(4)
    state, view = lane.state(), lane.get_state()

    assert (state.queued, state.in_hand, state.in_hand_s) == (2, "Ping", 4)
    assert (view.type, view.incarnation, view.unanswered) == ("Worker", 1, 0)
    assert view.statistics == {"pings": 1, "key": "Secret"}
    assert "hunter2" not in str(view)
    figures = lane.statistics()
    assert isinstance(figures, Figures)
    assert figures.pings == 1
    lane.kill()


async def test_a_suspended_actor_finishes_what_it_has_in_hand_and_takes_nothing_more(
    registry: Registry, lane: ActorControl, nursery: trio.Nursery
) -> None:
    """Its queue stays, bounded as ever, and is dealt with once it is resumed."""
    got: list[int] = []

    async def ask() -> None:
        got.append(await registry.ref("b.x").call(Ping(takes_s=1), timeout_s=99))

    nursery.start_soon(ask)
    await trio.testing.wait_all_tasks_blocked()
    lane.suspend()
    lane.suspend()
    nursery.start_soon(ask)
    nursery.start_soon(ask)
    await trio.sleep(5)
    assert (got, lane.state().suspended, lane.state().queued) == ([1], True, 2)

    lane.resume()
    lane.resume()
    await trio.sleep(5)
    assert (got, lane.state().suspended, lane.state().queued) == ([1, 1, 1], False, 0)


async def test_an_idle_actor_is_suspended_at_once_and_can_still_be_stopped(
    registry: Registry, lane: ActorControl
) -> None:
    """A message that finds it waiting must not slip through."""
    await trio.testing.wait_all_tasks_blocked()
    lane.suspend()
    with pytest.raises(CallTimeout, match=r"within 1 s"):
        await registry.ref("b.x").call(Ping(), timeout_s=1)

    await lane.stop()
    assert lane.state().state == "stopped"
    with pytest.raises(ActorNotFound, match=r"no actor called 'b.x' is running"):
        lane.resume()


async def test_a_new_incarnation_is_not_suspended(registry: Registry, lane: ActorControl) -> None:
    """Whoever suspended the old one looked at that one."""
    lane.suspend()
    lane.kill()

    assert await registry.ref("b.x").call(Ping()) == 2


async def test_a_restart_that_was_asked_for_is_no_crash(
    registry: Registry, tree: Supervisor, lane: ActorControl, nursery: trio.Nursery
) -> None:
    """The message in hand is finished, the queue is kept, nothing is counted, nobody else stops."""
    got: list[int] = []

    async def ask() -> None:
        got.append(await registry.ref("b.x").call(Ping(takes_s=1), timeout_s=99))

    for _ in range(2):
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
    await lane.restart()
    await trio.sleep(5)

    assert got == [1, 2]
    assert tree.all_crash_reports() == ()
    assert tree.info("b.y").incarnation == 1
    await tree.restart("b")
    assert (tree.info("b").incarnation, tree.info("b.x").incarnation) == (2, 1)


async def test_a_restart_that_fails_says_so_and_is_tried_again(tree: Supervisor) -> None:
    """The operator hears of it, and the supervisor does what it does about any crash."""
    can_start = iter([True, False, False, True])
    start = partial(Worker, lambda: next(can_start))
    await tree.start_child(ChildSpec("c", start))
    with pytest.raises(StartFailed, match=r"c did not start: OSError: no disk"):
        await tree.restart("c")
    await trio.sleep(1)

    assert (tree.info("c").state, tree.info("c").incarnation) == ("running", 4)
    assert [report.child for report in tree.all_crash_reports()] == ["c", "c"]


async def test_a_temporary_child_cannot_be_restarted_and_is_left_alone(tree: Supervisor) -> None:
    """How it was started is not known any more."""
    pool = tree.supervisor("pool", DynamicSupervisor)
    handle = await pool.start_child(ChildSpec("w", Worker, Restart.TEMPORARY))
    with pytest.raises(BadSpec, match=r"pool.w-1 is temporary"):
        await tree.restart(handle.name)

    assert await handle.ref.call(Ping()) == 1
    await tree.terminate(handle.name)
    with pytest.raises(ActorNotFound, match=r"no actor is registered as 'pool.w-1'"):
        await handle.ref.call(Ping())
    with pytest.raises(ActorNotFound, match=r"no child called 'pool.w-1'"):
        await tree.terminate(handle.name)


@pytest.mark.parametrize("name", ["", "b.z", "z", "b.x.y", "b", "pool"])
async def test_a_lane_to_nobody_says_so(tree: Supervisor, name: str) -> None:
    """Also where it is a supervisor, which has no state of this kind."""
    lane = tree.actor(name)
    with pytest.raises(ActorNotFound, match=f"'{name}'"):
        lane.statistics()
    with pytest.raises(ActorNotFound, match=r"no Supervisor called 'pool'|no child called"):
        tree.supervisor("pool" if name == "pool" else "nobody", Supervisor)


async def test_a_trace_tells_types_and_ends_by_itself(
    registry: Registry, lane: ActorControl
) -> None:
    """What comes in, what is done and what is refused; and nothing after its limit."""
    events: list[Noted] = []
    tracer = lane.trace(events.append, events_max=5)
    ref = registry.ref("b.x")
    ref.cast(Note())
    await ref.call(Ping())
    lane.suspend()
    for _ in range(2):
        ref.cast(Note())

    assert not tracer.on
    assert [(event.kind.value, event.detail) for event in events] == [
        ("received", "Note"),
        ("received", "Ping"),
        ("handled", "Note"),
        ("handled", "Ping"),
        ("received", "Note"),
        ("trace_ended", "after 5 events"),
    ]


async def test_an_answer_that_nobody_waits_for_is_counted(
    registry: Registry, lane: ActorControl
) -> None:
    """Whether it comes from the handler or from another task."""
    for request in (Ping(takes_s=2), Later()):
        with pytest.raises(CallTimeout, match=r"within 1 s"):
            await registry.ref("b.x").call(request, timeout_s=1)
        await trio.sleep(3)

    assert (lane.state().late, lane.state().handled) == (2, 2)


async def test_before_and_after_its_life_a_tree_answers_nothing_and_breaks_nothing(
    registry: Registry,
) -> None:
    """Somebody may hold it for longer than it lives."""
    root = Supervisor([ChildSpec("a", Worker)])
    for _ in range(2):
        assert (root.abandoned, root.crash_reports, root.is_ready) == ((), (), False)
        for operation in (root.wait_ready, root.count_children, root.which_children):
            with pytest.raises(SupervisorDown, match=r"the supervisor is not running"):
                await operation()
        with pytest.raises(ActorNotFound, match=r"no child called 'a'"):
            root.kill("a")
        clock = TrioClock(start_utc_ms=0)
        async with open_tree(root, clock=clock, rng=random.Random(0), registry=registry):
            assert root.is_ready
            happened = [(event.name, event.kind.value) for event in root.last_events()]
            assert happened == [("a", "started"), ("a", "ready"), ("", "started"), ("", "ready")]
    with pytest.raises((ActorDown, ActorNotFound), match=r"'a'"):
        await registry.ref("a").call(Ping())
