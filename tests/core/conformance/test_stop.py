"""OTP's `sup_stop`, cases 16 to 22: how children end when their supervisor does.

Held here: sup_stop_infinity, sup_stop_timeout, sup_stop_timeout_dynamic, sup_stop_brutal_kill,
sup_stop_brutal_kill_dynamic, sup_stop_race, sup_stop_non_shutdown_exit_dynamic.

A task cannot be killed. Where OTP kills, a child is cancelled here, and one that ignores even that
is left behind and named.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
import trio

from runtime.core.child import Exit, Life, Restart
from runtime.core.dynamic import DynamicSupervisor
from runtime.core.errors import Shutdown
from runtime.testing_core import (
    Act,
    Script,
    Stage,
    deaf_until,
    hanging,
    killing,
    nothing,
    raising,
    settle,
    sleeping,
)


@pytest.fixture
def stage() -> Stage:
    """An empty stage."""
    return Stage()


def stopping(stage: Stage, child_id: str, shutdown_s: float, on_stop: Act) -> Script:
    """Return a child that has `shutdown_s` seconds and does `on_stop` with them."""
    child = stage.child(child_id, shutdown_s=shutdown_s)
    child.on_stop = on_stop
    return child


@asynccontextmanager
async def dynamic(stage: Stage, *children: Script) -> AsyncIterator[DynamicSupervisor]:
    """Run a dynamic supervisor with these children."""
    async with stage.run(DynamicSupervisor()) as root:
        for child in children:
            await root.start_child(child.spec)
        yield root


@contextmanager
def released() -> Iterator[trio.Event]:
    """Give what a deaf child waits for; it is set at last, or the test would never end."""
    release = trio.Event()
    try:
        yield release
    finally:
        release.set()


async def test_sup_stop_infinity(stage: Stage) -> None:
    """A worker may take as long as it likes as well, if its specification says so."""
    day_s = 86_400.0
    children = [stopping(stage, name, math.inf, sleeping(day_s)) for name in ("a", "b")]

    async with stage.open(*children):
        pass

    assert [child.exits for child in children] == [[Exit.SHUTDOWN], [Exit.SHUTDOWN]]
    assert trio.current_time() == 2 * day_s  # static children stop one after the other


async def test_sup_stop_timeout(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """Who obeys ends with `shutdown`, who sleeps is cancelled at its time, who is deaf is left."""
    with released() as release:
        obedient = stopping(stage, "obedient", 1.0, nothing)
        sleepy = stopping(stage, "sleepy", 2.0, hanging)
        deaf = stopping(stage, "deaf", 4.0, deaf_until(release))

        async with stage.open(obedient, sleepy, deaf) as root:
            pass

        # 4 s of asking and 5 s of being cancelled, then 2 s for the sleepy one.
        assert trio.current_time() == 4 + 5 + 2
        assert obedient.exits == [Exit.SHUTDOWN]
        assert sleepy.exits == [Exit.KILLED]
        assert sleepy.moments_s("asked") == [9]
        assert sleepy.moments_s("ended") == [11]
        assert "sleepy did not stop within 2 s and is cancelled" in caplog.text
        assert "deaf ignored its cancellation for 5 s and is left behind" in caplog.text
        assert root.abandoned == ("deaf",)
        release.set()
        await settle()
        assert deaf.exits == [Exit.KILLED]
        assert list(root.abandoned) == []


async def test_sup_stop_timeout_dynamic(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """The same under a dynamic supervisor, where all of them are asked at the same moment."""
    with released() as release:
        obedient = stopping(stage, "obedient", 1.0, nothing)
        sleepy = stopping(stage, "sleepy", 2.0, hanging)
        deaf = stopping(stage, "deaf", 4.0, deaf_until(release))

        async with dynamic(stage, obedient, sleepy, deaf) as root:
            pass

        assert trio.current_time() == 4 + 5
        assert obedient.exits == [Exit.SHUTDOWN]
        assert sleepy.exits == [Exit.KILLED]
        assert (sleepy.moments_s("asked"), sleepy.moments_s("ended")) == ([0], [2])
        assert "sleepy-2 did not stop within 2 s and is cancelled" in caplog.text
        assert root.abandoned == ("deaf-3",)
        release.set()
        await settle()
        assert deaf.exits == [Exit.KILLED]


async def test_sup_stop_brutal_kill(stage: Stage) -> None:
    """A child that gets no grace is not even asked; its neighbour is."""
    gentle = stopping(stage, "gentle", 1.0, nothing)
    brutal = stopping(stage, "brutal", 0, nothing)

    async with stage.open(gentle, brutal):
        await trio.sleep(1)

    assert gentle.exits == [Exit.SHUTDOWN]
    assert brutal.exits == [Exit.KILLED]
    assert stage.names("asked") == ["gentle"]
    assert stage.names("ended") == ["brutal", "gentle"]
    assert trio.current_time() == 1


async def test_sup_stop_brutal_kill_dynamic(stage: Stage) -> None:
    """Ten of them, at once."""
    children = [stopping(stage, f"child-{n}", 0, sleeping(1)) for n in range(10)]

    async with dynamic(stage, *children):
        assert [child.is_alive for child in children] == [True] * 10

    assert [child.exits for child in children] == [[Exit.KILLED]] * 10
    assert stage.names("asked") == []
    assert trio.current_time() == 0


# How children end by themselves, and with which reason.
ENDS: dict[Exit, Act] = {
    Exit.NORMAL: nothing,
    Exit.SHUTDOWN: raising(Shutdown("done")),
    Exit.KILLED: killing,
    Exit.CRASH: raising(ValueError("boom")),
}
RACERS = list(itertools.product(Restart, ENDS))


async def test_sup_stop_race(stage: Stage) -> None:
    """Twelve children end by themselves while another one is being stopped: the stop goes on.

    Three restart types times four reasons: every reason is kept, nobody is started again, and
    those that still live are stopped in their order.
    """
    racers = [
        stage.child(f"{restart.value}-{how.value}", restart=restart) for restart, how in RACERS
    ]

    async def start_race(life: Life) -> None:
        for racer, (_, how) in zip(racers, RACERS, strict=True):
            racer.do(ENDS[how])
        await sleeping(1)(life)

    first, last = stage.child("first"), stage.child("last")
    last.on_stop = start_race

    async with stage.open(first, *racers, last) as root:
        pass

    assert [racer.exits for racer in racers] == [[how] for _, how in RACERS]
    assert stage.names("asked") == ["last", "first"]
    assert stage.names("ended")[-2:] == ["last", "first"]
    assert trio.current_time() == 1
    # The supervisor saw the same, and tells once of what is worth telling.
    told = [(report.child, report.exit) for report in root.crash_reports]
    assert sorted(told) == sorted(
        (racer.spec.id, how.value)
        for racer, (restart, how) in zip(racers, RACERS, strict=True)
        if restart is Restart.PERMANENT or how in {Exit.KILLED, Exit.CRASH}
    )


async def test_sup_stop_race_in_answer_to_being_asked(stage: Stage) -> None:
    """The same twelve, each ending in its own way at the very moment when it is asked to."""
    racers = [
        stage.child(f"{restart.value}-{how.value}", restart=restart) for restart, how in RACERS
    ]
    for racer, (_, how) in zip(racers, RACERS, strict=True):
        racer.on_stop = ENDS[how]

    async with stage.open(*racers):
        pass

    # To end normally when asked is what `shutdown` means.
    expected = [Exit.SHUTDOWN if how is Exit.NORMAL else how for _, how in RACERS]
    assert [racer.exits for racer in racers] == [[how] for how in expected]
    assert stage.names("asked") == [racer.spec.id for racer in reversed(racers)]
    assert stage.names("ended") == stage.names("asked")


async def test_sup_stop_non_shutdown_exit_dynamic(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """Dynamic children that end for other reasons while they are stopped break nothing."""
    children = [stage.child(how.value) for how in ENDS]
    for child, act in zip(children, ENDS.values(), strict=True):
        child.on_stop = act

    with caplog.at_level(logging.ERROR):
        async with dynamic(stage, *children) as root:
            pass

    expected = [Exit.SHUTDOWN, Exit.SHUTDOWN, Exit.KILLED, Exit.CRASH]
    assert [child.exits for child in children] == [[how] for how in expected]
    assert "crash-4 failed while stopping" in caplog.text
    assert stage.registry.names() == ()
    assert root.abandoned == ()
