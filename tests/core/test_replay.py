"""Same seed, same run, bit for bit: over runs, over processes, whatever Python's hash seed.

Run as a program, with a seed, this file prints the trace of `busy_tree`; that is how its tests see
other processes.
"""

from __future__ import annotations

import random
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trio._core import _run as scheduler

from runtime.core import replay
from runtime.core.actor import Actor
from runtime.core.clock import TrioClock
from runtime.core.errors import ActorError
from runtime.core.message import Event, Request
from runtime.core.ref import ActorRef
from runtime.core.registry import Registry
from runtime.core.replay import NotReplayable, run_replayable
from runtime.core.trace import EventRing, Happening
from runtime.testing import open_actor

ROOT = Path(__file__).resolve().parent.parent.parent
SWITCHES = ("_ALLOW_DETERMINISTIC_SCHEDULING", "_r")


class Work(Request[int], frozen=True):
    """Be answered after a while, or never, because the actor crashes over it."""

    number: int


class Gossip(Event, frozen=True):
    """Be passed on `hops` times."""

    hops: int


class Worker(Actor):
    """Works, gossips and crashes, all by chance, and notes what it does."""

    def __init__(self, ring: EventRing, peers: tuple[str, ...]) -> None:
        self._ring = ring
        self._peers = peers

    async def on_start(self) -> None:
        """Gossip, so that many tasks wake at the same moment."""
        self._ring.note(self.context.name, Happening.STARTED, str(self.context.incarnation))
        self.context.nursery.start_soon(self._gossip)

    async def handle_call(self, request: Request[Any]) -> object:
        """Answer, or crash once in ten times."""
        assert isinstance(request, Work)
        self._ring.note(self.context.name, Happening.RECEIVED, str(request.number))
        await trio.sleep(self.context.rng.choice((0.0, 0.5, 1.0)))
        if self.context.rng.random() < 0.1:
            raise RuntimeError("bad luck")
        return request.number

    async def handle_cast(self, event: Event) -> None:
        """Pass gossip on."""
        assert isinstance(event, Gossip)
        self._ring.note(self.context.name, Happening.HANDLED, f"hops {event.hops}")
        if event.hops > 0:
            self._tell(event.hops - 1)

    async def _gossip(self) -> None:
        while True:
            await trio.sleep(5)
            self._tell(3)

    def _tell(self, hops: int) -> None:
        peer = self.context.rng.choice(self._peers)
        try:
            self.context.registry.ref(peer).cast(Gossip(hops=hops))
        except ActorError as error:
            self._ring.note(self.context.name, Happening.FAILED, error)


async def ask(ref: ActorRef, ring: EventRing, number: int, until_s: float) -> None:
    """Call and call again, and note what came back."""
    name = f"asker {number}"
    while trio.current_time() < until_s:
        try:
            answer = await ref.call(Work(number=number))
        except ActorError as error:
            ring.note(name, Happening.FAILED, error)
            await trio.sleep(0.5)
        else:
            ring.note(name, Happening.HANDLED, str(answer))
            await trio.sleep(1)


async def busy_tree(*, for_s: float = 60.0) -> str:
    """Return all that happens among three actors and nine callers, a line an event."""
    clock, registry = TrioClock(start_utc_ms=0), Registry()
    ring = EventRing(100_000, clock=clock)
    names = ("ann", "bob", "cem")
    make = partial(Worker, ring, names)
    one = partial(open_actor, make, clock=clock, registry=registry)
    async with one(name="ann"), one(name="bob"), one(name="cem"), trio.open_nursery() as nursery:
        for number in range(9):
            ref = registry.ref(names[number % 3])
            nursery.start_soon(ask, ref, ring, number, for_s)
    return "".join(f"{e.at_s!r} {e.name} {e.kind.value} {e.detail}\n" for e in ring.last())


def test_the_same_seed_gives_the_same_run_bit_for_bit() -> None:
    """A failure that was seen once can be had again, as often as it takes to understand it."""
    first, second, third = (run_replayable(busy_tree, seed=7) for _ in range(3))

    assert first == second == third
    # Else it would prove little.
    assert first.count("\n") > 500
    assert "failed ActorRestarted" in first


def test_different_seeds_give_different_runs() -> None:
    """All chance is seeded alike in these; only the order of tasks differs, as it should."""
    assert len({run_replayable(busy_tree, seed=seed) for seed in range(4)}) == 4


@pytest.mark.real_time
@pytest.mark.slow
def test_other_processes_with_other_hash_seeds_run_the_same() -> None:
    """What failed on one machine is looked into on another. Slow because it starts two programs."""
    environments = [{"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed} for seed in ("1", "31337")]
    programs = [
        subprocess.Popen(
            [sys.executable, __file__, "7"], stdout=subprocess.PIPE, env=environ, text=True
        )
        for environ in environments
    ]

    traces = {program.communicate(timeout=60)[0] for program in programs}

    assert traces == {run_replayable(busy_tree, seed=7)}


def test_an_hour_of_virtual_time_takes_seconds() -> None:
    """A whole session of trading fits into a test."""

    async def hour() -> tuple[float, int]:
        ticks = 0
        with trio.move_on_after(3600):
            while True:
                await trio.sleep(1)
                ticks += 1
        return trio.current_time(), ticks

    time_s, ticks = run_replayable(hour, seed=1)

    # Whether the tick and the end of the same moment both come is the seed's business.
    assert time_s == 3600
    assert ticks in {3599, 3600}


def test_arguments_and_result_are_those_of_the_function() -> None:
    """It stands where `trio.run` would."""

    async def add(one: int, two: int) -> int:
        await trio.sleep(1)
        return one + two

    assert run_replayable(add, 1, 2, seed=0) == 3


def switches() -> dict[str, object]:
    """Return trio's switches as they are."""
    return {name: getattr(scheduler, name) for name in SWITCHES}


def test_trios_switches_are_put_back_even_after_an_error() -> None:
    """A run that fails is the usual case, and other tests follow in the same process."""
    before = switches()
    state = scheduler._r.getstate()
    during: list[dict[str, object]] = []

    async def fail() -> None:
        await trio.sleep(1)
        during.append(switches())
        raise LookupError("as it happens")

    with pytest.raises(LookupError, match="as it happens"):
        run_replayable(fail, seed=1)

    assert during[0]["_ALLOW_DETERMINISTIC_SCHEDULING"] is True
    assert during[0]["_r"] is not before["_r"]
    assert switches() == before
    assert scheduler._r.getstate() == state


def test_a_run_inside_of_a_run_is_refused_and_changes_nothing() -> None:
    """Runs do not nest; the outer one must stay the one its seed gives."""

    async def outer() -> dict[str, object]:
        before = switches()
        with pytest.raises(RuntimeError, match="from inside"):
            run_replayable(trio.sleep, 1, seed=2)
        assert switches() == before
        return before

    assert run_replayable(outer, seed=1)["_r"] is not scheduler._r


def test_trio_schedules_as_this_module_believes_it_does() -> None:
    """The contract with trio's inside: it fails, loudly, with the release that moves it.

    Tasks ready at once run in the order that shuffling them by age with the seed gives, last first.
    """
    assert isinstance(getattr(scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING", None), bool)
    assert isinstance(getattr(scheduler, "_r", None), random.Random)

    async def order_of_ten() -> tuple[list[int], list[int]]:
        order: list[int] = []

        async def wake(number: int) -> None:
            await woken.wait()
            order.append(number)

        woken = trio.Event()
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(wake, number)
            await trio.testing.wait_all_tasks_blocked()
            # The main task is not among them: it goes on to wait for the nursery.
            woken.set()
            chance = random.Random()
            chance.setstate(scheduler._r.getstate())
            # A new batch begins after this task has come to wait; nobody else draws before it.
            expected = list(range(10))
            chance.shuffle(expected)
        return order, expected[::-1]

    order, expected = run_replayable(order_of_ten, seed=5)

    assert order == expected
    assert order != sorted(order)


@pytest.mark.parametrize(
    ("name", "value"),
    [("_ALLOW_DETERMINISTIC_SCHEDULING", None), ("_r", None), ("_r", random)],
)
def test_a_trio_that_keeps_its_chance_elsewhere_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    """A run that only seems to be replayable is worse than none."""
    monkeypatch.setattr(scheduler, name, value)

    with pytest.raises(NotReplayable, match=rf"trio {trio.__version__} has no scheduler"):
        run_replayable(trio.sleep, 1, seed=1)

    assert getattr(scheduler, name) is value


def test_only_this_module_knows_trios_switches() -> None:
    """One place to mend when they move."""
    knowing = [
        path.relative_to(ROOT).as_posix()
        for top in ("runtime", "actors")
        for path in (ROOT / top).rglob("*.py")
        if "_ALLOW_DETERMINISTIC_SCHEDULING" in path.read_text(encoding="utf-8")
    ]

    assert knowing == [Path(replay.__file__).relative_to(ROOT).as_posix()]


if __name__ == "__main__":
    sys.stdout.write(run_replayable(busy_tree, seed=int(sys.argv[1])))
