"""`Actor`: one message at a time, answers that are answers, stops that finish what they began."""

from __future__ import annotations

import logging
import random
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from runtime.core.actor import Actor
from runtime.core.child import ChildSpec
from runtime.core.clock import TrioClock
from runtime.core.errors import (
    ActorDown,
    ActorNotFound,
    CallTimeout,
    DomainError,
    UnhandledRequest,
)
from runtime.core.mailbox import MailboxSpec, Reply
from runtime.core.message import Event, Request
from runtime.core.registry import Registry
from runtime.core.supervisor import Supervisor
from runtime.core.tree import open_tree
from runtime.testing import open_actor


class Work(Request[str], frozen=True):
    """Take `takes_s` seconds over something, then answer its name."""

    name: str
    takes_s: float = 0


class Refuse(Request[None], frozen=True):
    """Be answered with a domain error."""


class Later(Request[str], frozen=True):
    """Be answered from another task, after `takes_s`; None for never."""

    takes_s: float | None


class Twice(Request[None], frozen=True):
    """Take the same reply twice."""


class Unknown(Request[None], frozen=True):
    """Something no actor here handles."""


class Note(Event, frozen=True):
    """Write `text` down; refuse where it is empty."""

    text: str


class Stray(Event, frozen=True):
    """An event no actor here handles."""


class Worker(Actor):
    """Does what it is told and writes down when.

    Args:
      log: Where it writes, in order.
      put_away_s: How long `on_stop` takes.
    """

    def __init__(self, log: list[str] | None = None, *, put_away_s: float = 0) -> None:
        self.log = log if log is not None else []
        self.put_away_s = put_away_s
        self.taken: list[Reply] = []

    async def on_start(self) -> None:
        """Write down who starts."""
        self.log.append(f"start {self.context.incarnation}")

    async def on_stop(self) -> None:
        """Write down that all was put away, if there was time for it."""
        await trio.sleep(self.put_away_s)
        self.log.append("stop")

    async def handle_call(self, request: Request[Any]) -> object:
        """Do what the request says."""
        match request:
            case Work(name=name, takes_s=takes_s):
                self.log.append(f"begin {name}")
                await trio.sleep(takes_s)
                self.log.append(f"end {name}")
                return name
            case Refuse():
                raise DomainError("no such market")
            case Later(takes_s=takes_s):
                self.taken.append(self.context.take_reply())
                if takes_s is not None:
                    self.context.nursery.start_soon(self.answer, self.taken[-1], takes_s)
                return "ignored"
            case Twice():
                self.context.take_reply()
                self.context.take_reply()
                return None
            case _:
                return await super().handle_call(request)

    async def handle_cast(self, event: Event) -> None:
        """Write it down."""
        match event:
            case Note(text=""):
                raise DomainError("nothing to note")
            case Note(text=text):
                self.log.append(text)
            case _:
                await super().handle_cast(event)

    async def answer(self, reply: Reply, takes_s: float) -> None:
        """Answer some time later."""
        await trio.sleep(takes_s)
        reply.send("later")


async def test_a_call_is_answered_with_what_the_handler_returns() -> None:
    """The shortest way through everything."""
    async with open_actor(Worker) as ref:
        assert await ref.call(Work(name="a")) == "a"


async def test_messages_are_handled_one_at_a_time_in_their_order() -> None:
    """An actor's state needs no lock because nobody else runs in it."""
    log: list[str] = []
    async with open_actor(partial(Worker, log)) as ref, trio.open_nursery() as nursery:
        for name in "ab":
            nursery.start_soon(ref.call, Work(name=name, takes_s=1))
            await trio.testing.wait_all_tasks_blocked()

    assert log == ["start 1", "begin a", "end a", "begin b", "end b", "stop"]


async def test_a_domain_error_is_an_answer_and_nobody_crashes() -> None:
    """An unknown market must not cost anybody a restart."""
    log: list[str] = []
    async with open_actor(partial(Worker, log)) as ref:
        with pytest.raises(DomainError, match=r"no such market"):
            await ref.call(Refuse())
        await ref.call(Work(name="a"))

    assert log == ["start 1", "begin a", "end a", "stop"]


async def test_an_unknown_request_is_answered_by_name_and_nobody_crashes() -> None:
    """A stranger's mistake is the stranger's problem."""
    async with open_actor(Worker) as ref:
        with pytest.raises(UnhandledRequest, match=r"actor has no handler for Unknown"):
            await ref.call(Unknown())

        assert await ref.call(Work(name="a")) == "a"


async def test_an_event_without_effect_is_logged_without_its_content(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody waits for it; and what it carries may be a secret."""
    log: list[str] = []
    caplog.set_level(logging.WARNING, "marketd")
    async with open_actor(partial(Worker, log)) as ref:
        ref.cast(Note(text=""))
        ref.cast(Stray())
        ref.cast(Note(text="after"))
        await trio.testing.wait_all_tasks_blocked()

    assert log == ["start 1", "after", "stop"]
    assert caplog.messages == [
        "actor: Note had no effect: nothing to note",
        "actor: Stray had no effect: actor has no handler for Stray",
    ]


async def test_a_taken_reply_is_answered_later_and_holds_nobody_up() -> None:
    """The actor serves others while a task of it works for the first."""
    got: list[str] = []
    async with open_actor(Worker) as ref, trio.open_nursery() as nursery:

        async def ask(request: Request[str]) -> None:
            got.append(await ref.call(request))

        nursery.start_soon(ask, Later(takes_s=2))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ask, Work(name="other"))

    assert got == ["other", "later"]


async def test_a_taken_reply_knows_that_its_caller_has_left() -> None:
    """Work that nobody waits for can be given up."""
    workers: list[Worker] = []

    def factory() -> Worker:
        workers.append(Worker())
        return workers[-1]

    async with open_actor(factory) as ref:
        with pytest.raises(CallTimeout, match=r"actor did not answer Later within 3 s"):
            await ref.call(Later(takes_s=None), timeout_s=3)
        reply = workers[0].taken[0]

        assert reply.abandoned
        assert reply.deadline_s == trio.current_time()
        reply.send("nobody reads this")


async def test_a_taken_reply_that_never_came_fails_when_the_actor_stops() -> None:
    """Its caller must not wait for its whole timeout."""
    async with trio.open_nursery() as nursery, open_actor(Worker) as ref:
        nursery.start_soon(expect_down, ref.call, Later(takes_s=None))
        await trio.testing.wait_all_tasks_blocked()

    assert trio.current_time() == 0


async def expect_down(call: Any, request: Request[Any]) -> None:
    """Call, and check that the actor is said to have ended."""
    with pytest.raises(ActorDown, match=r"actor ended before it answered"):
        await call(request, timeout_s=60)


async def test_work_whose_deadline_has_passed_is_not_begun() -> None:
    """It would be for nothing, and holds up those who still wait."""
    log: list[str] = []
    async with open_actor(partial(Worker, log)) as ref, trio.open_nursery() as nursery:
        nursery.start_soon(ref.call, Work(name="slow", takes_s=3))
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(CallTimeout, match=r"did not answer Work within 1 s"):
            await ref.call(Work(name="late"), timeout_s=1)
        assert await ref.call(Work(name="next"), timeout_s=9) == "next"

    assert "begin late" not in log


async def test_a_cancelled_callers_request_is_not_begun() -> None:
    """Likewise where the caller was cancelled long before its deadline."""
    log: list[str] = []
    async with open_actor(partial(Worker, log)) as ref, trio.open_nursery() as nursery:
        nursery.start_soon(ref.call, Work(name="slow", takes_s=3))
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(1):
            await ref.call(Work(name="left"), timeout_s=60)
        await ref.call(Work(name="next"))

    assert "begin left" not in log


async def test_a_stop_finishes_the_message_in_hand() -> None:
    """A caller whose request is being worked on gets its answer."""
    log: list[str] = []
    got: list[str] = []
    async with trio.open_nursery() as nursery, open_actor(partial(Worker, log)) as ref:

        async def ask() -> None:
            got.append(await ref.call(Work(name="a", takes_s=2)))

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()

    assert got == ["a"]
    assert log[-2:] == ["end a", "stop"]


async def test_a_message_handed_over_in_the_moment_of_the_stop_is_finished() -> None:
    """Between the hand-over and the reader's wake-up the stop arrives: nothing is lost."""
    # trio wakes tasks in random order, so that one try would often take the easy way.
    for _ in range(20):
        log: list[str] = []
        async with open_actor(partial(Worker, log)) as ref:
            await trio.testing.wait_all_tasks_blocked()
            ref.cast(Note(text="last"))

        assert log == ["start 1", "last", "stop"]


async def test_a_stop_fails_those_who_are_queued() -> None:
    """They are told at once that nobody will answer them."""
    async with trio.open_nursery() as nursery, open_actor(Worker) as ref:
        nursery.start_soon(ref.call, Work(name="in hand", takes_s=2))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(expect_gone, ref.call)
        await trio.testing.wait_all_tasks_blocked()

    assert trio.current_time() == 2


async def expect_gone(call: Any) -> None:
    """Call, and check that the mailbox is said to have been closed."""
    with pytest.raises(ActorDown, match=r"actor has ended and takes no more messages"):
        await call(Work(name="queued"), timeout_s=60)


async def test_a_call_after_the_end_finds_nobody() -> None:
    """The name is free again."""
    async with open_actor(Worker) as ref:
        pass

    with pytest.raises(ActorNotFound, match=r"no actor is registered as 'actor'"):
        await ref.call(Work(name="a"))


async def test_a_stop_waits_for_on_stop_as_long_as_the_spec_allows(clock: TrioClock) -> None:
    """Writing away takes its time, and the specification says how much there is."""
    log: list[str] = []
    worker = partial(Worker, log, put_away_s=20)
    async with open_with(clock, ChildSpec("a", worker, shutdown_s=30)):
        pass

    assert log == ["start 1", "stop"]
    assert trio.current_time() == 20


async def test_an_on_stop_that_hangs_is_bounded(clock: TrioClock) -> None:
    """Stopping the runtime always ends."""
    log: list[str] = []
    worker = partial(Worker, log, put_away_s=1000)
    async with open_with(clock, ChildSpec("a", worker, shutdown_s=3)):
        pass

    assert log == ["start 1"]
    assert trio.current_time() == 3


async def test_a_full_mailbox_makes_callers_wait_no_longer_than_their_deadline() -> None:
    """Waiting for room is part of the call, and its time is bounded by the call's."""
    async with (
        open_actor(Worker, mailbox=MailboxSpec(capacity=1)) as ref,
        trio.open_nursery() as nursery,
    ):
        for name in ("in hand", "queued"):
            nursery.start_soon(partial(ref.call, Work(name=name, takes_s=9), timeout_s=60))
            await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(CallTimeout, match=r"within 2 s"):
            await ref.call(Work(name="no room"), timeout_s=2)

        assert trio.current_time() == 2


async def test_a_timeout_of_nothing_is_a_timeout() -> None:
    """It neither hangs nor succeeds by luck."""
    async with open_actor(Worker) as ref:
        with pytest.raises(CallTimeout, match=r"within 0 s"):
            await ref.call(Work(name="a"), timeout_s=0)
        with pytest.raises(CallTimeout, match=r"within -1 s"):
            await ref.call(Work(name="a"), timeout_s=-1)


def open_with(clock: TrioClock, child: ChildSpec) -> AbstractAsyncContextManager[Supervisor]:
    """Run `child` under a supervisor that never gives up."""
    root = Supervisor([child], intensity=None)
    return open_tree(root, clock=clock, rng=random.Random(0), registry=Registry())
