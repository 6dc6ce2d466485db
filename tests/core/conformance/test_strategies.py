"""OTP's restart strategies, cases 30 to 34 and 41 to 43: who is started again with whom.

Held here: one_for_one, one_for_one_escalation, one_for_all, one_for_all_escalation,
one_for_all_other_child_fails_restart, rest_for_one, rest_for_one_escalation,
rest_for_one_other_child_fails_restart.

A supervisor that gives up ends with `RestartIntensityExceeded`, which says why; OTP's says
`shutdown`. Both are an end of the supervisor after an orderly stop of its children.
"""

from __future__ import annotations

from typing import Any

import pytest
import trio

from runtime.core.backoff import Backoff, RestartIntensity
from runtime.core.child import Exit
from runtime.core.errors import RestartIntensityExceeded
from runtime.core.supervisor import Strategy
from runtime.testing_core import Script, Stage, nothing, raising, settle

BOOM = raising(ValueError("boom"))
UNWILLING = raising(ValueError("will not start"))
ONCE = RestartIntensity(max_restarts=1, within_s=3600)
# As many as the suite of OTP allows in most of its cases.
SOME = RestartIntensity(max_restarts=3, within_s=3600)


@pytest.fixture
def stage() -> Stage:
    """An empty stage."""
    return Stage()


def lives(*children: Script) -> list[int]:
    """Return how many lives each has begun."""
    return [len(child.lives) for child in children]


def all_alive(*children: Script) -> bool:
    """Return whether each child has exactly one living process: its newest."""
    living = [[life for life in child.lives if not life.ended.is_set()] for child in children]
    return living == [[child.life] for child in children]


def record(stage: Stage) -> str:
    """Return what happened since the last look: `+a` is up, `-a` has ended."""
    signs = {"up": "+", "ended": "-"}
    text = [signs[moment.what] + moment.name for moment in stage.journal if moment.what in signs]
    stage.journal.clear()
    return " ".join(text)


async def crash_once_too_often(stage: Stage, strategy: Strategy) -> None:
    """Crash the first of two children twice where one crash is allowed; the second raises."""
    first, second = stage.child("first"), stage.child("second")
    async with stage.open(first, second, strategy=strategy, intensity=ONCE):
        first.do(BOOM)
        await settle()
        assert all_alive(first, second)
        stage.journal.clear()
        first.do(BOOM)
        await trio.sleep(60)


async def check_limit(stage: Stage, strategy: Strategy) -> None:
    """One crash more than allowed ends the supervisor, and the sibling by an orderly stop."""
    with pytest.raises(RestartIntensityExceeded, match="gave up after 2 crashes within 3600 s"):
        await crash_once_too_often(stage, strategy)

    assert record(stage) == "-first -second"
    assert stage.registry.names() == ()


async def refuse_to_come_back(stage: Stage, strategy: Strategy) -> None:
    """Crash a child that can never be started again."""
    before, broken, after = (stage.child(name) for name in ("before", "broken", "after"))
    broken.begin_with(nothing, *[UNWILLING] * 10)
    async with stage.open(before, broken, after, strategy=strategy, intensity=SOME):
        broken.do(BOOM)
        await trio.sleep(60)


async def check_escalation(stage: Stage, strategy: Strategy, match: str) -> None:
    """A child that cannot be restarted takes its supervisor down, and so its siblings."""
    tasks_before = trio.lowlevel.current_statistics().tasks_living

    with pytest.raises(RestartIntensityExceeded, match=match) as raised:
        await refuse_to_come_back(stage, strategy)

    assert isinstance(raised.value.__cause__, Exception)
    assert sorted(stage.names("up")) == sorted(stage.names("ended"))
    assert stage.registry.names() == ()
    assert trio.lowlevel.current_statistics().tasks_living == tasks_before


async def test_one_for_one(stage: Stage) -> None:
    """Only the dead child is replaced; one more crash than allowed ends the supervisor."""
    a, b, c = (stage.child(name) for name in "abc")
    async with stage.open(a, b, c, intensity=ONCE) as root:
        record(stage)
        b.do(BOOM)
        await settle()

        assert record(stage) == "-b +b"
        assert lives(a, b, c) == [1, 2, 1]
        assert all_alive(a, b, c)
        assert [entry.id for entry in await root.which_children()] == ["a", "b", "c"]
        assert b.life.incarnation == 2

    await check_limit(stage=Stage(), strategy=Strategy.ONE_FOR_ONE)


async def test_one_for_one_escalation(stage: Stage) -> None:
    """Every failed start counts as a crash, so a child that cannot come back ends them all."""
    await check_escalation(stage, Strategy.ONE_FOR_ONE, "4 crashes.*will not start")

    # The siblings were never touched before that, and were stopped last first.
    assert record(stage) == "+before +broken +after -broken -after -before"


async def test_one_for_all(stage: Stage) -> None:
    """All are replaced, with no old process left alive; the limit holds here too."""
    a, b, c = (stage.child(name) for name in "abc")
    async with stage.open(a, b, c, strategy=Strategy.ONE_FOR_ALL, intensity=SOME) as root:
        for nth, crashing in enumerate((a, b, c), start=2):
            record(stage)
            crashing.do(BOOM)
            await settle()

            rest = [child.spec.id for child in (c, b, a) if child is not crashing]
            stopped = " ".join(f"-{name}" for name in (crashing.spec.id, *rest))
            assert record(stage) == f"{stopped} +a +b +c"
            assert lives(a, b, c) == [nth, nth, nth]
            assert all_alive(a, b, c)
        assert [entry.id for entry in await root.which_children()] == ["a", "b", "c"]
    assert a.exits == [Exit.CRASH, *[Exit.SHUTDOWN] * 3]

    await check_limit(stage=Stage(), strategy=Strategy.ONE_FOR_ALL)


async def test_one_for_all_escalation(stage: Stage) -> None:
    """A child that cannot come back lets the group come up to it, again and again, then ends it."""
    await check_escalation(stage, Strategy.ONE_FOR_ALL, "4 crashes.*will not start")

    again = "+before -before"
    assert record(stage) == f"+before +broken +after -broken -after -before {again} {again} {again}"


async def test_one_for_all_other_child_fails_restart(stage: Stage) -> None:
    """A sibling fails while the group comes back: who was back is ended, and all is tried again.

    The first crash must not leave a second process of the first child behind.
    """
    a, b, c = stage.child("a"), stage.child("b"), stage.child("c")
    b.begin_with(nothing, UNWILLING)
    async with stage.open(a, b, c, strategy=Strategy.ONE_FOR_ALL, intensity=SOME) as root:
        record(stage)
        a.do(BOOM)
        await settle()

        assert record(stage) == "-a -c -b +a -a +a +b +c"
        assert lives(a, b, c) == [3, 3, 2]
        assert all_alive(a, b, c)
        assert [entry.state for entry in await root.which_children()] == ["running"] * 3
        # Two of the three that are allowed are spent: the crash and the failed start.
        assert root.crash_reports[-1].restarts_in_window == 2


async def test_one_for_all_sibling_started_meanwhile(stage: Stage) -> None:
    """Who is started by hand during the back-off is replaced with the group, not doubled."""
    a, b = stage.child("a"), stage.child("b")
    backoff = Backoff(min_s=1.0, max_s=1.0, jitter=0)
    policy: dict[str, Any] = {
        "strategy": Strategy.ONE_FOR_ALL,
        "backoff": backoff,
        "intensity": SOME,
    }
    async with stage.open(a, b, **policy) as root:
        for _ in range(2):
            a.do(BOOM)
            await settle()
        record(stage)
        await root.restart_child("b")
        await trio.sleep(2)

        assert record(stage) == "+b -b +a +b"
        assert all_alive(a, b)


async def test_rest_for_one(stage: Stage) -> None:
    """The dead one and those started after it are replaced, those before it are left alone."""
    a, b, c, d = (stage.child(name) for name in "abcd")
    async with stage.open(a, b, c, d, strategy=Strategy.REST_FOR_ONE, intensity=SOME) as root:
        record(stage)
        b.do(BOOM)
        await settle()
        assert record(stage) == "-b -d -c +b +c +d"
        assert lives(a, b, c, d) == [1, 2, 2, 2]

        d.do(BOOM)
        await settle()
        assert record(stage) == "-d +d"
        assert lives(a, b, c, d) == [1, 2, 2, 3]

        assert all_alive(a, b, c, d)
        assert [entry.id for entry in await root.which_children()] == ["a", "b", "c", "d"]

    await check_limit(stage=Stage(), strategy=Strategy.REST_FOR_ONE)


async def test_rest_for_one_escalation(stage: Stage) -> None:
    """A child that cannot come back keeps the later ones away, then takes the earlier one down."""
    await check_escalation(stage, Strategy.REST_FOR_ONE, "4 crashes.*will not start")

    assert record(stage) == "+before +broken +after -broken -after -before"


async def test_rest_for_one_other_child_fails_restart(stage: Stage) -> None:
    """A later child fails while the rest comes back: who is back is not started twice."""
    a, b, c, d = (stage.child(name) for name in "abcd")
    c.begin_with(nothing, UNWILLING)
    async with stage.open(a, b, c, d, strategy=Strategy.REST_FOR_ONE, intensity=SOME) as root:
        record(stage)
        b.do(BOOM)
        await settle()

        assert record(stage) == "-b -d -c +b +c +d"
        assert lives(a, b, c, d) == [1, 2, 3, 2]
        assert all_alive(a, b, c, d)
        assert root.crash_reports[-1].restarts_in_window == 2
