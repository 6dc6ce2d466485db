"""`Supervisor`: starts in order, stops in reverse, whatever stands in the way."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from runtime.core.actor import Actor
from runtime.core.backoff import Backoff, RestartIntensity
from runtime.core.child import ChildInfo, ChildSpec, Life, Restart
from runtime.core.clock import TrioClock
from runtime.core.errors import ActorNotFound, BadSpec, StartFailed
from runtime.core.message import Request
from runtime.core.registry import Registry
from runtime.core.supervisor import Supervisor
from runtime.core.tree import open_tree


class Ping(Request[int], frozen=True):
    """Be answered with the incarnation."""


async def nothing() -> None:
    """Take no time over starting or stopping."""


class Scribe(Actor):
    """Writes its starts and stops into a log that all share."""

    def __init__(
        self,
        log: list[str],
        start: Callable[[], Awaitable[None]] = nothing,
        stop: Callable[[], Awaitable[None]] = nothing,
    ) -> None:
        self.log, self.start, self.stop = log, start, stop

    async def on_start(self) -> None:
        """Write `+name`."""
        await self.start()
        self.log.append(f"+{self.context.name}")

    async def on_stop(self) -> None:
        """Write `-name`."""
        await self.stop()
        self.log.append(f"-{self.context.name}")

    async def handle_call(self, request: Request[Any]) -> object:
        """Answer with the incarnation."""
        assert isinstance(request, Ping)
        return self.context.incarnation


@dataclass
class Stage:
    """Where a test's tree plays, and what was written down."""

    log: list[str] = field(default_factory=list)
    registry: Registry = field(default_factory=Registry)

    def child(self, child_id: str, shutdown_s: float = 5, **does: Any) -> ChildSpec:
        """Return the specification of a scribe."""
        return ChildSpec(child_id, partial(Scribe, self.log, **does), shutdown_s=shutdown_s)

    def open(self, *children: ChildSpec) -> AbstractAsyncContextManager[Supervisor]:
        """Run `children` under one supervisor."""
        clock = TrioClock(start_utc_ms=0)
        rng = random.Random(0)
        return open_tree(Supervisor(children), clock=clock, rng=rng, registry=self.registry)


@pytest.fixture
def stage() -> Stage:
    """An empty stage."""
    return Stage()


async def test_no_children_at_all_is_fine(stage: Stage) -> None:
    """A runtime with everything switched off starts and stops."""
    async with stage.open() as root:
        assert root.describe() == ()


async def test_children_start_left_to_right_and_stop_right_to_left(stage: Stage) -> None:
    """The later may need the earlier, from its first moment to its last."""
    async with stage.open(*map(stage.child, "zaxb")):
        assert stage.log == ["+z", "+a", "+x", "+b"]
        stage.log.clear()

    assert stage.log == ["-b", "-x", "-a", "-z"]


async def test_a_child_starts_only_when_the_one_before_has_started(stage: Stage) -> None:
    """Slow starts are waited for, one after the other."""
    slow = partial(trio.sleep, 2)
    async with stage.open(stage.child("a", start=slow), stage.child("b", start=slow)):
        assert trio.current_time() == 4


async def test_a_cancellation_from_outside_is_an_orderly_stop(stage: Stage) -> None:
    """Ctrl-C, a deadline or a crash of the bot must not tear the tree down in random order."""
    with trio.move_on_after(1) as scope:
        async with stage.open(*map(stage.child, "abc")):
            await trio.sleep_forever()

    assert scope.cancelled_caught
    assert stage.log[3:] == ["-c", "-b", "-a"]


async def test_a_cancellation_lets_each_child_take_its_time_to_stop(stage: Stage) -> None:
    """What must be written away is written away."""
    slow = partial(trio.sleep, 2)
    with trio.move_on_after(1):
        async with stage.open(stage.child("a", stop=slow), stage.child("b", stop=slow)):
            await trio.sleep_forever()

    assert stage.log[2:] == ["-b", "-a"]
    assert trio.current_time() == 5


async def test_nested_trees_start_and_stop_depth_first(stage: Stage) -> None:
    """A supervisor is a child like any other."""
    inner = [stage.child("x"), stage.child("y")]
    branch = ChildSpec("b", partial(Supervisor, inner))
    async with stage.open(stage.child("a"), branch, stage.child("c")):
        pass

    assert stage.log == ["+a", "+b.x", "+b.y", "+c", "-c", "-b.y", "-b.x", "-a"]


async def test_a_child_that_does_not_start_stops_those_before_it(stage: Stage) -> None:
    """Nothing is left behind half started, and the reason is named."""

    async def fail() -> None:
        raise OSError("no disk")

    with pytest.raises(StartFailed, match=r"b did not start: OSError: no disk"):
        async with stage.open(stage.child("a"), stage.child("b", start=fail), stage.child("c")):
            pytest.fail("must not run")

    assert stage.log == ["+a", "-a"]
    assert stage.registry.names() == ()


async def test_a_factory_that_fails_is_a_child_that_does_not_start(stage: Stage) -> None:
    """A mistake in the wiring is named like any other."""

    def fail() -> Actor:
        raise TypeError("no such argument")

    with pytest.raises(StartFailed, match=r"b did not start: TypeError: no such argument"):
        async with stage.open(stage.child("a"), ChildSpec("b", fail)):
            pytest.fail("must not run")


async def test_a_child_that_ends_before_it_was_up_did_not_start(stage: Stage) -> None:
    """Otherwise its supervisor would wait for ever."""

    class Absent:
        async def run(self, life: Life) -> None:
            """End at once."""

        def describe(self) -> tuple[ChildInfo, ...]:
            """Have no children."""
            return ()

    with pytest.raises(StartFailed, match=r"a did not start: it ended before it was up"):
        async with stage.open(ChildSpec("a", Absent)):
            pytest.fail("must not run")


async def test_a_cancellation_that_was_kept_and_raised_again_is_a_crash(stage: Stage) -> None:
    """Nobody cancelled this child, so it must not take its supervisor with it."""

    class Keeper:
        async def run(self, life: Life) -> None:
            """Keep a cancellation, and raise it where it means nothing."""
            kept: list[BaseException] = []
            with trio.CancelScope() as scope:
                scope.cancel()
                try:
                    await trio.lowlevel.checkpoint()
                except trio.Cancelled as error:
                    kept.append(error)
                    raise
            life.up()
            if life.incarnation == 1:
                raise kept[0]
            if life.incarnation == 2:
                raise BaseExceptionGroup("kept", [kept[0], ValueError("boom")])
            await trio.sleep_forever()

        def describe(self) -> tuple[ChildInfo, ...]:
            """Have no children."""
            return ()

    async with stage.open(ChildSpec("a", Keeper), stage.child("b")) as root:
        await trio.sleep(9)
        a, b = root.describe()

    assert (a.incarnation, a.last_crash, b.incarnation) == (3, "ValueError: boom", 1)


async def test_a_nested_child_that_does_not_start_is_named_at_the_top(stage: Stage) -> None:
    """The operator reads one line, and it says what to repair."""

    async def fail() -> None:
        raise OSError("no disk")

    branch = ChildSpec("b", partial(Supervisor, [stage.child("x", start=fail)]))
    with pytest.raises(StartFailed, match=r"b did not start: .* b\.x did not start: OSError"):
        async with stage.open(branch):
            pytest.fail("must not run")


async def test_a_stop_while_a_child_hangs_in_on_start_ends(stage: Stage) -> None:
    """It has nothing in hand, so it is cancelled at once, and those before it stop in order."""
    hanging = stage.child("b", start=trio.sleep_forever)
    with trio.move_on_after(1):
        async with stage.open(stage.child("a"), hanging):
            pytest.fail("must not run")

    assert stage.log == ["+a", "-a"]
    assert trio.current_time() == 1


async def test_a_child_that_does_not_stop_in_time_is_cancelled_and_named(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """The others get their turn, and the operator learns who it was."""
    stuck = stage.child("b", shutdown_s=3, stop=trio.sleep_forever)
    async with stage.open(stage.child("a"), stuck, stage.child("c")):
        pass

    assert stage.log[3:] == ["-c", "-a"]
    assert trio.current_time() == 3
    assert caplog.messages == ["b did not stop within 3 s and is cancelled"]


async def test_a_shutdown_time_of_nothing_cancels_at_once(stage: Stage) -> None:
    """OTP's brutal kill: no warning and no waiting, though on_stop runs."""
    async with stage.open(stage.child("a", shutdown_s=0)):
        pass

    assert stage.log == ["+a", "-a"]


async def test_a_failure_while_stopping_is_logged_and_stops_nobody_else(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """All the others must still be put away."""

    async def fail() -> None:
        raise OSError("no disk")

    async with stage.open(stage.child("a"), stage.child("b", stop=fail)):
        pass

    assert stage.log[2:] == ["-a"]
    assert caplog.record_tuples == [
        ("marketd.supervisor", logging.ERROR, "b failed while stopping")
    ]


async def test_the_tree_describes_itself(stage: Stage) -> None:
    """State, age, restarts, last crash and mailbox of each, down to the leaves."""
    branch = ChildSpec("b", partial(Supervisor, [stage.child("x")]))
    async with stage.open(stage.child("a"), branch) as root:
        await stage.registry.ref("b.x").call(Ping())
        await trio.sleep(7)
        root.kill("b.x")
        await trio.sleep(1)
        a, b = root.describe()

    (x,) = b.children
    assert (a.name, a.state, a.incarnation, a.uptime_s, a.last_crash) == ("a", "running", 1, 8, "")
    assert (b.name, b.restarts, b.children) == ("b", 0, (x,))
    assert (x.name, x.state, x.incarnation, x.restarts, x.last_crash) == (
        "b.x",
        "running",
        2,
        1,
        "killed",
    )
    assert (x.uptime_s, x.received, x.queued, x.queued_max) == (1, 1, 0, 1)


async def test_killing_restarts_a_child_as_if_it_had_crashed(stage: Stage) -> None:
    """The operator's last resort for an actor that hangs."""
    async with stage.open(stage.child("a"), stage.child("b")) as root:
        root.kill("a")

        assert await stage.registry.ref("a").call(Ping()) == 2
        assert await stage.registry.ref("b").call(Ping()) == 1


@pytest.mark.parametrize("name", ["nobody", "a.nobody", "b.nobody", ""])
async def test_killing_nobody_says_so(stage: Stage, name: str) -> None:
    """A typing error must not look like success."""
    branch = ChildSpec("b", partial(Supervisor, [stage.child("x")]))
    async with stage.open(stage.child("a"), branch) as root:
        with pytest.raises(ActorNotFound, match=f"no child called '{name}' is running"):
            root.kill(name)


async def test_two_trees_cannot_share_a_name(stage: Stage) -> None:
    """The second is refused, and the first is left alone."""
    async with stage.open(stage.child("a")):
        with pytest.raises(BadSpec, match=r"two actors want the name 'a'"):
            async with stage.open(stage.child("fresh"), stage.child("a")):
                pytest.fail("must not run")

        assert await stage.registry.ref("a").call(Ping()) == 1
        assert stage.registry.names() == ("a",)


async def test_a_supervisor_can_run_again_with_nothing_remembered(stage: Stage) -> None:
    """Its crashes of an earlier life must not count in this one."""
    root = Supervisor([stage.child("a")], intensity=RestartIntensity(1, 100))
    for _ in range(3):
        around = {"clock": TrioClock(start_utc_ms=0), "rng": random.Random(0)}
        async with open_tree(root, registry=stage.registry, **around):  # type: ignore[arg-type]
            root.kill("a")

            assert await stage.registry.ref("a").call(Ping()) == 2


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"id": ""}, r"child id must be letters, digits, - and _, was ''"),
        ({"id": "a.b"}, r"child id must be letters, digits, - and _, was 'a\.b'"),
        ({"start": None}, r"child a: start must be callable, was None"),
        ({"shutdown_s": -1}, r"child a: shutdown_s must be >= 0, was -1"),
        ({"shutdown_s": float("nan")}, r"child a: shutdown_s must be >= 0, was nan"),
    ],
)
def test_a_specification_that_cannot_work_is_refused_by_name(
    wrong: dict[str, Any], message: str
) -> None:
    """When the tree is built, not when it runs."""
    with pytest.raises(BadSpec, match=message):
        ChildSpec(**{"id": "a", "start": Actor, **wrong})


def test_two_children_of_one_name_are_refused() -> None:
    """Their mailboxes would be one."""
    with pytest.raises(BadSpec, match=r"need different ids, were \['a', 'a'\]"):
        Supervisor([ChildSpec("a", Actor), ChildSpec("a", Actor, Restart.TEMPORARY)])


def test_a_policy_that_can_never_give_up_is_refused() -> None:
    """It says that it gives up, and it would not."""
    with pytest.raises(BadSpec, match=r"this supervisor could never give up: 4 crashes take"):
        Supervisor([], intensity=RestartIntensity(3, 1), backoff=Backoff(min_s=2))
