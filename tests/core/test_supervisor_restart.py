"""`Supervisor`: who is started again, when, with whom, and when it gives up."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, repeat
from typing import Any, Literal, TypeAlias

import pytest
import trio
import trio.testing

from runtime.core.backoff import Backoff, RestartIntensity
from runtime.core.child import ChildInfo, ChildSpec, Life, Restart
from runtime.core.clock import TrioClock
from runtime.core.errors import (
    ActorDown,
    ActorNotFound,
    ActorRestarted,
    RestartIntensityExceeded,
    Shutdown,
)
from runtime.core.mailbox import Envelope, MailboxSpec, OnCrash, Reply
from runtime.core.message import Request
from runtime.core.registry import Registry
from runtime.core.supervisor import RESTARTS, Exit, Strategy, Supervisor
from runtime.core.tree import open_tree

# How one life goes: it fails to start, crashes or ends after so many seconds, or lives on.
Fate: TypeAlias = tuple[Literal["unborn", "crash", "end", "shutdown", "killed"], float]
LIVES_ON: Fate = ("end", math.inf)
DIES_AT_ONCE: Fate = ("crash", 0)
DIES_AT_1: Fate = ("crash", 1)
UNBORN: Fate = ("unborn", 0)
AT_ONCE = Backoff(min_s=0, max_s=0)


class Question(Request[None], frozen=True):
    """Something that stays queued: nobody here reads a mailbox."""


class Mortal:
    """A child whose lives are written in advance.

    Args:
      fates: One for each life.
      log: Gets `+name` and `-name` with the moment, in seconds.
    """

    def __init__(self, fates: Iterator[Fate], log: list[tuple[str, float]]) -> None:
        self.fates, self.log = fates, log

    async def run(self, life: Life) -> None:
        """Live as it is written."""
        how, lives_s = next(self.fates)
        if how == "unborn":
            raise ValueError("unborn")
        self.log.append((f"+{life.name}", trio.current_time()))
        with trio.CancelScope() as stop:
            life.on_stop = stop.cancel
            life.up()
            await trio.sleep(lives_s)
            if how == "crash":
                raise ValueError("crash")
            if how == "shutdown":
                raise Shutdown("done")
            if how == "killed":
                life.kill()
                await trio.lowlevel.checkpoint()
        self.log.append((f"-{life.name}", trio.current_time()))

    def describe(self) -> tuple[ChildInfo, ...]:
        """Have no children."""
        return ()


@dataclass
class Stage:
    """Where a test's tree plays, and what was written down."""

    log: list[tuple[str, float]] = field(default_factory=list)
    registry: Registry = field(default_factory=Registry)

    def child(self, child_id: str, *fates: Fate, **spec: Any) -> ChildSpec:
        """Return a child with these fates; after the last of them it lives on."""
        lives = chain(fates, repeat(LIVES_ON))
        return ChildSpec(child_id, partial(Mortal, lives, self.log), **spec)

    def open(self, *children: ChildSpec, **policy: Any) -> AbstractAsyncContextManager[Supervisor]:
        """Run `children` under one supervisor."""
        root = Supervisor(children, **{"backoff": AT_ONCE, **policy})
        clock = TrioClock(start_utc_ms=0)
        return open_tree(root, clock=clock, rng=random.Random(0), registry=self.registry)

    def starts(self, name: str) -> list[float]:
        """Return when `name` was started, in seconds."""
        return [moment for what, moment in self.log if what == f"+{name}"]

    def names(self) -> str:
        """Return what happened, in order."""
        return " ".join(what for what, _ in self.log)


@pytest.fixture
def stage() -> Stage:
    """An empty stage."""
    return Stage()


FATES: dict[Exit, Fate] = {
    Exit.NORMAL: ("end", 1),
    Exit.SHUTDOWN: ("shutdown", 1),
    Exit.KILLED: ("killed", 1),
    Exit.CRASH: DIES_AT_1,
}
TOLD = {Exit.KILLED: "killed", Exit.CRASH: "ValueError: crash"}


@pytest.mark.parametrize("kind", list(Restart))
@pytest.mark.parametrize("how", list(Exit))
async def test_the_table_of_restarts_is_what_happens(
    stage: Stage, kind: Restart, how: Exit
) -> None:
    """Each restart kind with each way to end; and what is temporary leaves nothing behind."""
    async with stage.open(stage.child("a", FATES[how], restart=kind)) as root:
        await trio.sleep(2)
        infos = root.describe()

    again = RESTARTS[kind, how]
    assert stage.starts("a") == ([0, 1] if again else [0])
    kept = [] if kind is Restart.TEMPORARY else ["running" if again else "stopped"]
    assert [info.state for info in infos] == kept
    assert [info.last_crash for info in infos] == [TOLD.get(how, "")] * len(kept)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (Strategy.ONE_FOR_ONE, "+b"),
        (Strategy.REST_FOR_ONE, "-d -c +b +c +d"),
        (Strategy.ONE_FOR_ALL, "-d -c -a +a +b +c +d"),
    ],
)
async def test_the_strategy_says_who_is_restarted_together(
    stage: Stage, strategy: Strategy, expected: str
) -> None:
    """Stopped right to left, started left to right, and the others are not touched."""
    children = [stage.child("a"), stage.child("b", DIES_AT_1)]
    children += [stage.child("c"), stage.child("d")]
    async with stage.open(*children, strategy=strategy):
        stage.log.clear()
        await trio.sleep(2)

        assert stage.names() == expected


async def test_a_later_child_failing_in_a_restart_leaves_the_earlier_alone(stage: Stage) -> None:
    """Rest for one: only it and those after it are tried again."""
    later = stage.child("b", LIVES_ON, UNBORN)
    async with stage.open(
        stage.child("a", DIES_AT_1), later, stage.child("c"), strategy=Strategy.REST_FOR_ONE
    ):
        stage.log.clear()
        await trio.sleep(2)

        assert stage.names() == "-c -b +a +b +c"


async def test_a_sibling_failing_in_a_restart_of_all_restarts_all_again(stage: Stage) -> None:
    """One for all: those already restarted are ended, and the whole restart is tried again."""
    later = stage.child("b", LIVES_ON, UNBORN)
    async with stage.open(
        stage.child("a", DIES_AT_1), later, stage.child("c"), strategy=Strategy.ONE_FOR_ALL
    ):
        stage.log.clear()
        await trio.sleep(2)

        assert stage.names() == "-c -b +a -a +a +b +c"


@pytest.mark.parametrize(("within_s", "survives"), [(3.0, True), (3.5, False)])
async def test_a_restart_counts_for_exactly_the_window(
    stage: Stage, within_s: float, *, survives: bool
) -> None:
    """Crashes at 1, 2, 3 and 4 s with three allowed: the first has just left a window of 3 s."""
    child = stage.child("a", *[DIES_AT_1] * 4)
    intensity = RestartIntensity(3, within_s)
    if survives:
        async with stage.open(child, intensity=intensity):
            await trio.sleep(9)
        assert stage.starts("a") == [0, 1, 2, 3, 4]
        return
    with pytest.raises(RestartIntensityExceeded, match=r"gave up after 4 crashes within 3\.5 s"):
        async with stage.open(child, intensity=intensity):
            await trio.sleep(9)
    assert stage.starts("a") == [0, 1, 2, 3]


async def test_no_restarts_allowed_means_the_first_crash_ends_it(stage: Stage) -> None:
    """Zero is a limit like any other, and the last crash is named."""
    with pytest.raises(RestartIntensityExceeded, match=r"last was a: ValueError: crash") as caught:
        async with stage.open(
            stage.child("a", DIES_AT_1), stage.child("b"), intensity=RestartIntensity(0, 1)
        ):
            await trio.sleep_forever()

    assert isinstance(caught.value.__cause__, ValueError)
    assert stage.names() == "+a +b -b"


async def test_failing_to_start_again_counts_as_a_crash(stage: Stage) -> None:
    """Otherwise a child that cannot start would be tried for ever."""
    child = stage.child("a", DIES_AT_1, *[UNBORN] * 3)
    with pytest.raises(RestartIntensityExceeded, match=r"after 3 crashes .* ValueError: unborn"):
        async with stage.open(child, intensity=RestartIntensity(2, 60)):
            await trio.sleep_forever()


async def test_waits_between_restarts_follow_the_row(stage: Stage) -> None:
    """The first restart is at once, the next ones wait longer, up to the ceiling."""
    child = stage.child("a", *[DIES_AT_ONCE] * 6)
    backoff = Backoff(min_s=1, factor=2, max_s=5, jitter=0)
    async with stage.open(child, intensity=None, backoff=backoff):
        await trio.sleep(60)

    assert stage.starts("a") == [0, 0, 1, 3, 7, 12, 17]


async def test_a_child_that_lived_long_enough_starts_the_row_anew(stage: Stage) -> None:
    """Trouble once a day is not a row of troubles."""
    row: list[Fate] = [DIES_AT_ONCE, DIES_AT_ONCE, ("crash", 10), ("crash", 9)]
    backoff = Backoff(min_s=1, max_s=8, jitter=0, forgive_after_s=10)
    async with stage.open(stage.child("a", *row), intensity=None, backoff=backoff):
        await trio.sleep(60)

    # 0: at once. 1 s. Lived 10 s: at once again. Lived 9 s only: second in the row, 1 s.
    assert stage.starts("a") == [0, 0, 1, 11, 21]


async def test_two_children_keep_rows_of_their_own(stage: Stage) -> None:
    """One in trouble does not slow the restart of another."""
    backoff = Backoff(min_s=4, max_s=4, jitter=0)
    unlucky = stage.child("a", *[DIES_AT_ONCE] * 3)
    async with stage.open(unlucky, stage.child("b", ("crash", 5)), intensity=None, backoff=backoff):
        await trio.sleep(60)

    assert stage.starts("a") == [0, 0, 4, 8]
    assert stage.starts("b") == [0, 5]


async def test_a_tree_stops_at_once_while_a_child_waits_for_its_restart(stage: Stage) -> None:
    """A back-off must not hold up the end, nor start anything after it."""
    backoff = Backoff(min_s=50, max_s=50, jitter=0)
    child = stage.child("a", *[DIES_AT_ONCE] * 2)
    async with stage.open(child, stage.child("b"), intensity=None, backoff=backoff) as root:
        await trio.sleep(1)
        states = [info.state for info in root.describe()]

    assert states == ["restarting", "running"]
    assert trio.current_time() == 1
    assert stage.names() == "+a +b +a -b"


async def test_a_sibling_in_back_off_is_started_with_its_group_and_not_again(stage: Stage) -> None:
    """It depends on the earlier one, so it must not come back before it either."""
    backoff = Backoff(min_s=50, max_s=50, jitter=0)
    children = [
        stage.child("a", DIES_AT_ONCE, DIES_AT_1),
        stage.child("b", LIVES_ON, DIES_AT_ONCE, DIES_AT_ONCE),
    ]
    policy = {"strategy": Strategy.REST_FOR_ONE, "intensity": None, "backoff": backoff}
    async with stage.open(*children, **policy):
        await trio.sleep(99)

    # Alone it would have come back at 50 s; the earlier one, which crashed at 1 s, comes at 51 s.
    assert stage.starts("a") == [0, 0, 51]
    assert stage.starts("b") == [0, 0, 0, 51]


async def test_a_nested_supervisor_that_gives_up_is_restarted_by_its_parent(stage: Stage) -> None:
    """Escalation: what restarting the child does not cure, restarting the branch may."""
    inner = [stage.child("x", DIES_AT_1, DIES_AT_1), stage.child("y")]
    branch = partial(Supervisor, inner, intensity=RestartIntensity(1, 60), backoff=AT_ONCE)
    async with stage.open(ChildSpec("b", branch), stage.child("c")) as root:
        await trio.sleep(9)
        b, c = root.describe()

    assert (b.incarnation, c.incarnation) == (2, 1)
    assert b.last_crash.startswith("RestartIntensityExceeded: gave up after 2 crashes")
    assert stage.names() == "+b.x +b.y +c +b.x -b.y +b.x +b.y -c -b.y -b.x"


async def test_giving_up_goes_up_to_the_root_and_names_the_last_crash(stage: Stage) -> None:
    """The block is cancelled, everything is stopped, and the error says what it was."""
    inner = [stage.child("x", *[DIES_AT_1] * 9)]
    branch = partial(Supervisor, inner, intensity=RestartIntensity(1, 60), backoff=AT_ONCE)
    with pytest.raises(RestartIntensityExceeded, match=r"gave up after 2 .* last was b: .* b\.x:"):
        async with stage.open(ChildSpec("b", branch), intensity=RestartIntensity(1, 60)):
            await trio.sleep_forever()

    assert len(stage.starts("b.x")) == 4
    assert stage.registry.names() == ()


async def test_crashes_in_the_same_moment_are_each_dealt_with(stage: Stage) -> None:
    """The second crash is waiting to be seen while the first is being repaired."""
    children = [stage.child(name, DIES_AT_1) for name in "abc"]
    async with stage.open(*children) as root:
        await trio.sleep(2)

        assert [info.restarts for info in root.describe()] == [1, 1, 1]


async def test_crashes_in_the_same_moment_are_one_where_all_are_restarted_anyway(
    stage: Stage,
) -> None:
    """As in OTP: a crash that the restart finds already done does not burn the limit."""
    children = [stage.child(name, DIES_AT_1) for name in "abc"]
    once = RestartIntensity(1, 60)
    async with stage.open(*children, strategy=Strategy.ONE_FOR_ALL, intensity=once) as root:
        await trio.sleep(2)

        assert [info.incarnation for info in root.describe()] == [2, 2, 2]
        assert {info.last_crash for info in root.describe()} == {"ValueError: crash"}


async def test_a_temporary_child_that_crashed_beside_a_sibling_stays_away(stage: Stage) -> None:
    """It ended by itself before the restart of all could take it along."""
    temporary = stage.child("b", DIES_AT_1, restart=Restart.TEMPORARY)
    async with stage.open(
        stage.child("a", DIES_AT_1), temporary, strategy=Strategy.ONE_FOR_ALL
    ) as root:
        await trio.sleep(2)
        (a,) = root.describe()

    assert a.incarnation == 2
    assert stage.starts("b") == [0]
    assert {report.child for report in root.crash_reports} == {"a", "b"}


async def test_a_temporary_child_taken_along_by_a_restart_is_gone(stage: Stage) -> None:
    """OTP's temporary bystander: not restarted; and its callers are told, not left waiting."""
    temporary = stage.child("b", restart=Restart.TEMPORARY)
    async with stage.open(stage.child("a", DIES_AT_1), temporary, strategy=Strategy.REST_FOR_ONE):
        with pytest.raises(ActorDown, match=r"b has ended"):
            await stage.registry.ref("b").call(Question(), timeout_s=60)
        assert trio.current_time() == 1
        with pytest.raises(ActorNotFound, match=r"no actor is registered as 'b'"):
            await stage.registry.ref("b").call(Question())

        await trio.sleep(1)
        assert stage.names() == "+a +b -b +a"


@pytest.mark.parametrize("on_crash", list(OnCrash))
async def test_a_queue_outlives_a_crash_and_a_failed_restart_as_its_spec_says(
    stage: Stage, on_crash: OnCrash
) -> None:
    """Failing to start is one more crash to those who wait."""
    backoff = Backoff(min_s=5, max_s=5, jitter=0)
    spec = MailboxSpec(on_crash=on_crash)
    child = stage.child("a", DIES_AT_1, UNBORN, UNBORN, mailbox=spec)
    async with stage.open(child, intensity=None, backoff=backoff):
        first = await queue(stage, "a")
        await trio.sleep(2)
        second = await queue(stage, "a")
        await trio.sleep(5)
        third = await queue(stage, "a")
        await trio.sleep(60)

        failed = on_crash is OnCrash.FAIL
        assert [reply.answered for reply in (first, second, third)] == [failed, failed, False]
    assert third.answered


async def test_callers_of_a_branch_that_is_restarted_may_try_again(stage: Stage) -> None:
    """Their actors come back with it, so the error must not say that they are gone for good."""
    inner = [stage.child("x", DIES_AT_1), stage.child("y")]
    branch = partial(Supervisor, inner, intensity=RestartIntensity(0, 60))
    async with stage.open(ChildSpec("b", branch)):
        reply = await queue(stage, "b.y")
        await trio.sleep(2)

        with pytest.raises(ActorRestarted, match=r"started again with its supervisor") as caught:
            await reply.wait()
        assert caught.value.retryable
        assert not (await queue(stage, "b.y")).answered


async def queue(stage: Stage, name: str) -> Reply:
    """Leave a question in the mailbox of `name`."""
    reply = Reply(math.inf)
    await stage.registry.mailbox(name).put(Envelope(Question(), reply))
    return reply
