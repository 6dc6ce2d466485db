"""What Pekko tests of restarts with back-off and OTP does not: waits, stashes, children.

Here: backoff grows, is capped, resets after quiet time; two nested backoffs keep separate counters;
stash during backoff keeps order; stash overflow is published, not silent; failure while replaying
the stash keeps the rest; children stopped on restart and on backoff, also the second time; watched
children re-created after restart.

Without sense here: "default reset = mean of min and max", for the time after which a child is
forgiven is a figure of its own, with a default of its own (`Backoff.forgive_after_s`). Children
kept by option on restart: what is to outlive an actor is its sibling here, never below it.

The stash is the mailbox: it belongs to the specification and is there in every back-off, without
being asked for.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio

from runtime.core.actor import Actor
from runtime.core.backoff import Backoff, RestartIntensity
from runtime.core.child import ChildSpec
from runtime.core.errors import ActorError, MailboxFull, MessageDropped
from runtime.core.mailbox import MailboxSpec, Overflow
from runtime.core.message import Request
from runtime.core.ref import ActorRef
from runtime.core.registry import Registry
from runtime.core.supervisor import Strategy, Supervisor
from runtime.testing_core import Stage, raising, settle

WAITS = Backoff(min_s=1, factor=2, max_s=5, jitter=0, forgive_after_s=100)


class Say(Request[int], frozen=True):
    """Be noted, and crash the actor if it is 0."""

    word: int


class Listener(Actor):
    """Notes what it hears."""

    def __init__(self, heard: list[int]) -> None:
        self._heard = heard

    async def handle_call(self, request: Request[Any]) -> object:
        """Note it."""
        assert isinstance(request, Say)
        self._heard.append(request.word)
        if request.word == 0:
            raise ValueError("boom")
        return request.word


async def say(ref: ActorRef, word: int, fates: dict[int, int | type[ActorError]]) -> None:
    """Say something, and note what comes of it."""
    try:
        answer: int = await ref.call(Say(word=word), timeout_s=1000)
        fates[word] = answer
    except ActorError as error:
        fates[word] = type(error)


async def crash(ref: ActorRef) -> None:
    """Crash the listener and wait until that is known."""
    fates: dict[int, int | type[ActorError]] = {}
    await say(ref, 0, fates)
    await settle()


def listening(heard: list[int], **mailbox: Any) -> Supervisor:
    """Return a supervisor of one listener that is not given up."""
    spec = ChildSpec("a", partial(Listener, heard), mailbox=MailboxSpec(**mailbox))
    return Supervisor([spec], backoff=WAITS, intensity=None)


async def test_backoff_grows_is_capped_and_resets_after_quiet_time() -> None:
    """0, 1, 2, 4, 5, 5 s; and after 100 s of peace it begins anew."""
    stage = Stage()
    a = stage.child("a")
    async with stage.open(a, backoff=WAITS, intensity=None):
        for _ in range(6):
            a.do(raising(ValueError("boom")))
            await trio.sleep(6)
        begun = [life.started_s for life in a.lives]
        assert [at_s % 6 for at_s in begun[1:]] == [0, 1, 2, 4, 5, 5]

        await trio.sleep(100)
        a.do(raising(ValueError("boom")))
        await settle()
        assert a.life.started_s == trio.current_time()


async def test_two_nested_backoffs_keep_separate_counters() -> None:
    """The branch that was restarted once is not made to wait for what its child did before."""
    stage = Stage()
    a = stage.child("a")
    once = RestartIntensity(1, 50)
    branch = ChildSpec("branch", lambda: stage.supervisor(a, backoff=WAITS, intensity=once))
    root = Supervisor([branch], backoff=WAITS, intensity=None)
    async with stage.run(root):
        begun: list[float] = []
        for _ in range(4):
            # A crash, restarted at once by the branch; another, and the branch gives up.
            for _ in range(2):
                a.do(raising(ValueError("boom")))
                await settle()
            crashed_s = trio.current_time()
            await trio.sleep(4.5)
            begun.append(a.life.started_s - crashed_s)

        assert begun == [0, 1, 2, 4]
        # The child's own row began anew with each branch.
        assert root.info("branch.a").incarnation == 1


async def test_stash_during_backoff_keeps_order() -> None:
    """Who asked first is answered first, before and after the restart."""
    stage, heard = Stage(), list[int]()
    fates: dict[int, int | type[ActorError]] = {}
    async with stage.run(listening(heard)), trio.open_nursery() as nursery:
        ref = stage.registry.ref("a")
        await crash(ref)
        await crash(ref)
        for word in (3, 1, 2):
            nursery.start_soon(say, ref, word, fates)
            await settle()
        assert fates == {}
        await trio.sleep(1.5)

        assert heard == [0, 0, 3, 1, 2]
        assert fates == {3: 3, 1: 1, 2: 2}


@pytest.mark.parametrize(
    ("overflow", "loser", "error", "counted"),
    [
        (Overflow.REFUSE, 3, MailboxFull, "refused"),
        (Overflow.DROP_OLDEST, 1, MessageDropped, "dropped"),
    ],
)
async def test_stash_overflow_is_published_not_silent(
    overflow: Overflow, loser: int, error: type[ActorError], counted: str
) -> None:
    """Whose message it was is told, and a figure says so to whoever looks."""
    stage, heard = Stage(), list[int]()
    fates: dict[int, int | type[ActorError]] = {}
    root = listening(heard, capacity=2, overflow=overflow)
    async with stage.run(root), trio.open_nursery() as nursery:
        ref = stage.registry.ref("a")
        await crash(ref)
        await crash(ref)
        for word in (1, 2, 3):
            nursery.start_soon(say, ref, word, fates)
            await settle()

        assert fates == {loser: error}
        assert getattr(root.info("a"), counted) == 1
        await trio.sleep(1.5)
        assert set(fates) == {1, 2, 3}


async def test_failure_while_replaying_the_stash_keeps_the_rest() -> None:
    """The message that kills is gone with its caller told; those behind it lose nothing."""
    stage, heard = Stage(), list[int]()
    fates: dict[int, int | type[ActorError]] = {}
    async with stage.run(listening(heard)), trio.open_nursery() as nursery:
        ref = stage.registry.ref("a")
        await crash(ref)
        await crash(ref)
        for word in (1, 0, 2):
            nursery.start_soon(say, ref, word, fates)
            await settle()
        await trio.sleep(1.5)
        assert heard == [0, 0, 1, 0]
        await trio.sleep(2.5)

        assert heard == [0, 0, 1, 0, 2]
        assert (fates[1], fates[2]) == (1, 2)


class Parent(Actor):
    """Has something running below it, and crashes when told so."""

    def __init__(self, alive: list[str], registry: Registry) -> None:
        self._alive, self._registry = alive, registry

    async def on_start(self) -> None:
        """Start what is below."""
        self.context.nursery.start_soon(self._below)

    async def handle_call(self, request: Request[Any]) -> object:
        """Crash."""
        del request
        raise ValueError("boom")

    async def _below(self) -> None:
        name = f"below {self.context.incarnation}"
        self._alive.append(name)
        try:
            await trio.sleep_forever()
        finally:
            self._alive.remove(name)


async def test_children_are_stopped_on_restart_and_on_backoff_also_the_second_time() -> None:
    """Nothing of a life outlives it, so that no two of them ever do the same work at once."""
    stage, alive = Stage(), list[str]()
    spec = ChildSpec("a", partial(Parent, alive, stage.registry))
    async with stage.run(Supervisor([spec], backoff=WAITS, intensity=None)):
        ref = stage.registry.ref("a")
        assert alive == ["below 1"]
        await crash(ref)
        assert alive == ["below 2"]
        for wait_s, incarnation in ((1, 3), (2, 4)):
            await crash(ref)
            assert alive == []
            await trio.sleep(wait_s + 0.5)
            assert alive == [f"below {incarnation}"]


async def test_watched_children_are_created_again_after_restart() -> None:
    """A branch that comes back has all of its children, whatever had become of them."""
    stage = Stage()
    a, b = stage.child("a"), stage.child("b")
    none = RestartIntensity(0, 10)
    branch = ChildSpec("branch", lambda: stage.supervisor(a, b, intensity=none))
    other = stage.child("other")
    root = Supervisor([branch, other.spec], strategy=Strategy.ONE_FOR_ONE, backoff=WAITS)
    async with stage.run(root):
        a.do(raising(ValueError("boom")))
        await settle()

        assert (len(a.lives), len(b.lives), len(other.lives)) == (2, 2, 1)
        assert a.is_alive
        assert b.is_alive
