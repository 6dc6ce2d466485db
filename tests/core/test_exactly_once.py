"""Whatever happens to actors and callers, each call ends once, and nothing is left.

The property that all of the core is there for. Hypothesis makes up the disasters: which messages
crash their handler, how long handlers take, when actors are killed, when callers are cancelled,
and what the mailboxes do. All of it runs in virtual time.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.core.actor import Actor
from runtime.core.backoff import Backoff
from runtime.core.child import ChildSpec
from runtime.core.clock import TrioClock
from runtime.core.errors import ActorError, ActorNotFound, DomainError
from runtime.core.mailbox import MailboxSpec, OnCrash, Overflow, Reply
from runtime.core.message import Request
from runtime.core.registry import Registry
from runtime.core.supervisor import Strategy, Supervisor
from runtime.core.tree import open_tree

NAMES = ("a", "b.x", "b.y")


class Task(Request[int], frozen=True):
    """Something to do, by number."""

    number: int
    takes_s: float
    how: Literal["answer", "refuse", "crash", "later", "later crash", "never"]


@dataclass(frozen=True)
class Call:
    """One call: to whom, what, when, and how long its caller waits or lives."""

    to: str
    at_s: float
    how: Literal["answer", "refuse", "crash", "later", "later crash", "never"]
    takes_s: float
    timeout_s: float
    cancelled_after_s: float


@dataclass
class Ledger:
    """What was sent, begun and heard."""

    begun: Counter[int] = field(default_factory=Counter)
    heard: dict[int, str] = field(default_factory=dict)


class Worker(Actor):
    """Does what a task says and enters each beginning in the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    async def on_stop(self) -> None:
        """Take a moment, so that things can happen meanwhile."""
        await trio.sleep(0.25)

    async def handle_call(self, request: Request[Any]) -> object:
        """Do it, in the way it says."""
        assert isinstance(request, Task)
        self.ledger.begun[request.number] += 1
        match request.how:
            case "later" | "later crash" | "never":
                self.context.nursery.start_soon(self.finish, request, self.context.take_reply())
                return None
            case "refuse":
                raise DomainError("no")
        await trio.sleep(request.takes_s)
        if request.how == "crash":
            raise ValueError("boom")
        return request.number

    async def finish(self, task: Task, reply: Reply) -> None:
        """Answer from a task of its own, or not at all."""
        await trio.sleep(task.takes_s)
        if task.how == "later crash":
            raise ValueError("boom")
        if task.how == "later":
            reply.send(task.number)


TIMES_S = st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0])
CALLS = st.lists(
    st.builds(
        Call,
        to=st.sampled_from(NAMES),
        at_s=TIMES_S,
        how=st.sampled_from(["answer", "refuse", "crash", "later", "later crash", "never"]),
        takes_s=TIMES_S,
        timeout_s=st.sampled_from([0.0, 0.5, 2.0, 9.0]),
        cancelled_after_s=st.sampled_from([0.25, 1.0, 99.0]),
    ),
    max_size=20,
)
KILLS = st.lists(st.tuples(st.sampled_from([*NAMES, "b"]), TIMES_S), max_size=4)


def mailbox(capacity: int, overflow: Overflow, on_crash: OnCrash) -> MailboxSpec:
    """Return a specification; where the latest of each key is kept, some numbers share one."""
    key = (lambda task: task.number % 5) if overflow is Overflow.LATEST else None
    return MailboxSpec(capacity, overflow, on_crash, key)


MAILBOXES = st.builds(
    mailbox,
    capacity=st.integers(1, 3),
    overflow=st.sampled_from(list(Overflow)),
    on_crash=st.sampled_from(list(OnCrash)),
)


async def send(ledger: Ledger, registry: Registry, number: int, call: Call) -> None:
    """Make one call and enter how it ended."""
    await trio.sleep(call.at_s)
    task = Task(number=number, takes_s=call.takes_s, how=call.how)
    ended = "cancelled"
    with trio.move_on_after(call.cancelled_after_s):
        try:
            answer = await registry.ref(call.to).call(task, timeout_s=call.timeout_s)
        except (ActorError, DomainError) as error:
            ended = type(error).__name__
        else:
            assert answer == number
            ended = "answer"
    assert number not in ledger.heard
    ledger.heard[number] = ended
    # Nobody may be left waiting beyond the deadline that was agreed.
    assert trio.current_time() <= call.at_s + min(call.timeout_s, call.cancelled_after_s) + 1e-9


async def kill(root: Supervisor, name: str, at_s: float) -> None:
    """End an actor without asking, if it is alive."""
    await trio.sleep(at_s)
    try:
        root.kill(name)
    except ActorNotFound:
        return


async def rehearse(
    ledger: Ledger, calls: list[Call], kills: list[tuple[str, float]], policy: dict[str, Any]
) -> None:
    """Let it all happen, for as long as the block below lasts."""
    registry = Registry()
    worker = partial(Worker, ledger)
    mailbox: MailboxSpec = policy["mailbox"]
    backoff = Backoff(min_s=0.5, max_s=2)
    rules = {"strategy": policy["strategy"], "intensity": None, "backoff": backoff}
    inner = [ChildSpec(name, worker, mailbox=mailbox) for name in "xy"]
    root = Supervisor(
        [
            ChildSpec("a", worker, mailbox=mailbox),
            ChildSpec("b", lambda: Supervisor(inner, **rules)),
        ],
        **rules,
    )
    clock, rng = TrioClock(start_utc_ms=0), random.Random(policy["seed"])
    before = trio.lowlevel.current_statistics().tasks_living
    async with (
        trio.open_nursery() as nursery,
        open_tree(root, clock=clock, rng=rng, registry=registry),
    ):
        for number, call in enumerate(calls):
            nursery.start_soon(send, ledger, registry, number, call)
        for name, at_s in kills:
            nursery.start_soon(kill, root, name, at_s)
        await trio.sleep(policy["stop_at_s"])
    assert trio.lowlevel.current_statistics().tasks_living == before
    assert registry.names() == ()


@given(
    calls=CALLS,
    kills=KILLS,
    policy=st.fixed_dictionaries(
        {
            "mailbox": MAILBOXES,
            "strategy": st.sampled_from(list(Strategy)),
            "stop_at_s": st.sampled_from([0.0, 0.5, 1.0, 20.0]),
            "seed": st.integers(0, 99),
        }
    ),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_each_call_ends_in_one_answer_or_one_typed_error(
    calls: list[Call], kills: list[tuple[str, float]], policy: dict[str, Any]
) -> None:
    """With crashes, kills, cancellations, timeouts, full mailboxes and a stop, all at once."""
    ledger = Ledger()
    logging.disable(logging.CRITICAL)
    try:
        trio.run(
            rehearse,
            ledger,
            calls,
            kills,
            policy,
            clock=trio.testing.MockClock(autojump_threshold=0),
        )
    finally:
        logging.disable(logging.NOTSET)

    assert set(ledger.heard) == set(range(len(calls)))
    # Never tried again by itself, and no answer without work.
    assert all(count == 1 for count in ledger.begun.values())
    assert {number for number, ended in ledger.heard.items() if ended == "answer"} <= set(
        ledger.begun
    )
