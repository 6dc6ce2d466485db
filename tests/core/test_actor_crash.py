"""What a crash of an actor means for those who wait, and what is no crash."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NoReturn

import pytest
import trio
import trio.testing

from runtime.core.actor import Actor
from runtime.core.child import ChildSpec, Restart
from runtime.core.clock import TrioClock
from runtime.core.errors import ActorDown, ActorRestarted, StartFailed
from runtime.core.mailbox import MailboxSpec, OnCrash
from runtime.core.message import Event, Request
from runtime.core.ref import ActorRef
from runtime.core.registry import Registry
from runtime.core.supervisor import Strategy, Supervisor
from runtime.core.tree import open_tree
from runtime.testing import open_actor


class Ping(Request[int], frozen=True):
    """Be answered with the incarnation."""


class Do(Request[None], frozen=True):
    """Run `work` in the handler; with `taken`, after the reply was taken."""

    work: Callable[[Actor], Awaitable[None]]
    taken: bool = False


class DoSilently(Event, frozen=True):
    """Run `work` with nobody waiting."""

    work: Callable[[Actor], Awaitable[None]]


class Fragile(Actor):
    """Does anything it is asked to, its own end included.

    Args:
      lives: Gets one entry for each incarnation.
      put_away: What `on_stop` does.
    """

    def __init__(
        self, lives: list[int], put_away: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
    ) -> None:
        self.lives = lives
        self.put_away = put_away

    async def on_start(self) -> None:
        """Count lives."""
        self.lives.append(self.context.incarnation)

    async def on_stop(self) -> None:
        """Do what the test wants done."""
        await self.put_away()

    async def handle_call(self, request: Request[Any]) -> object:
        """Answer a ping, or run the work."""
        if isinstance(request, Do):
            if request.taken:
                self.context.take_reply()
            await request.work(self)
        return self.context.incarnation

    async def handle_cast(self, event: Event) -> None:
        """Run the work."""
        assert isinstance(event, DoSilently)
        await event.work(self)


async def boom(_actor: Actor) -> NoReturn:
    """Crash."""
    raise ValueError("boom")


async def boom_after_a_second(_actor: Actor) -> NoReturn:
    """Crash while others have had time to queue."""
    await trio.sleep(1)
    raise ValueError("boom")


async def wait_for_ever(_actor: Actor) -> None:
    """Hang."""
    await trio.sleep_forever()


async def boom_in_a_task(actor: Actor) -> None:
    """Hang, while a task of the same incarnation crashes."""
    actor.context.nursery.start_soon(boom_after_a_second, actor)
    await trio.sleep_forever()


async def boom_beside_a_cancellation(_actor: Actor) -> None:
    """Crash in one task of an inner nursery while another is cancelled."""

    async def turn_cancellation_into_a_crash() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("boom")

    with trio.move_on_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(turn_cancellation_into_a_crash)


async def raise_a_mixed_group(_actor: Actor) -> None:
    """Raise a group that holds a crash and a cancellation which was kept from somewhere."""
    raise BaseExceptionGroup("kept", [await a_cancellation(), ValueError("boom")])


async def raise_a_kept_cancellation(_actor: Actor) -> None:
    """Raise a cancellation that was never meant for this task."""
    raise await a_cancellation()


async def a_cancellation() -> BaseException:
    """Return a cancellation as it is caught and kept by mistake."""
    kept: list[BaseException] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as error:
            kept.append(error)
            raise
    return kept[0]


async def expect_restarted(ref: ActorRef, request: Request[Any]) -> None:
    """Call, and check that the crash is told at once."""
    with pytest.raises(ActorRestarted, match=r"actor ended before it answered"):
        await ref.call(request, timeout_s=600)


CRASHES = [
    boom,
    boom_after_a_second,
    boom_in_a_task,
    boom_beside_a_cancellation,
    raise_a_mixed_group,
    raise_a_kept_cancellation,
]


@pytest.mark.parametrize("taken", [False, True])
@pytest.mark.parametrize("crash", CRASHES)
async def test_the_caller_in_hand_is_told_and_the_next_incarnation_serves(
    crash: Callable[[Actor], Awaitable[None]], *, taken: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """However the crash is wrapped, and whether or not the reply was taken."""
    lives: list[int] = []
    async with open_actor(partial(Fragile, lives)) as ref:
        await expect_restarted(ref, Do(work=crash, taken=taken))

        assert trio.current_time() <= 1
        assert await ref.call(Ping()) == 2
    assert lives == [1, 2]
    # Ended, but not in peace: a transient actor must come back from this as well.
    assert "actor crashed in incarnation 1: " in caplog.text


async def test_the_caller_is_told_before_on_stop_has_run() -> None:
    """Putting away may take seconds, and the caller is not to wait for it."""
    put_away = partial(trio.sleep, 4)
    async with open_actor(lambda: Fragile([], put_away)) as ref:
        await expect_restarted(ref, Do(work=boom))
        assert trio.current_time() == 0

        assert await ref.call(Ping()) == 2
        assert trio.current_time() == 4


async def test_an_on_stop_that_hangs_after_a_crash_is_bounded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A dead actor's last wish does not keep its successor away for ever."""
    async with open_actor(partial(hang_once, [])) as ref:
        await expect_restarted(ref, Do(work=boom))

        assert await ref.call(Ping(), timeout_s=60) == 2
        assert trio.current_time() == 5
    assert "actor: on_stop did not end within 5 s" in caplog.messages


def hang_once(lives: list[int]) -> Fragile:
    """Return an actor whose first incarnation hangs in `on_stop`."""
    return Fragile(lives, trio.lowlevel.checkpoint if lives else trio.sleep_forever)


async def test_a_crash_in_on_stop_leaves_the_first_crash_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The second error came of the first; an operator needs both."""

    async def fail() -> None:
        raise OSError("cannot put away")

    async with open_actor(lambda: Fragile([], fail)) as ref:
        await expect_restarted(ref, Do(work=boom))
        await ref.call(Ping())

    assert "OSError: cannot put away" in caplog.text
    assert "ValueError: boom" in caplog.text


async def test_a_crash_that_nobody_asked_for_is_a_crash_too() -> None:
    """An event has no caller to tell, but the actor is restarted all the same."""
    async with open_actor(lambda: Fragile([])) as ref:
        ref.cast(DoSilently(work=boom))

        assert await ref.call(Ping()) == 2


async def test_a_task_of_the_actor_crashes_the_actor_while_it_is_idle() -> None:
    """What runs in the actor's nursery is the actor."""

    async def start_a_bomb(actor: Actor) -> None:
        actor.context.nursery.start_soon(boom_after_a_second, actor)

    async with open_actor(lambda: Fragile([])) as ref:
        await ref.call(Do(work=start_a_bomb))
        await trio.sleep(2)

        assert await ref.call(Ping()) == 2


@pytest.mark.parametrize("on_crash", list(OnCrash))
async def test_queued_callers_meet_the_fate_their_mailbox_declares(on_crash: OnCrash) -> None:
    """Kept for the next incarnation, or failed; never lost, never both."""
    fates: list[object] = []

    async def queued() -> None:
        try:
            incarnation = await ref.call(Ping())
            fates.append(incarnation)
        except ActorRestarted as error:
            fates.append(type(error))

    spec = MailboxSpec(on_crash=on_crash)
    async with (
        open_actor(lambda: Fragile([]), mailbox=spec) as ref,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(expect_restarted, ref, Do(work=boom_after_a_second))
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(3):
            nursery.start_soon(queued)

    assert fates == [2 if on_crash is OnCrash.KEEP else ActorRestarted] * 3


async def test_all_taken_replies_of_a_crashed_actor_fail() -> None:
    """One crash ends all the work it had taken on, and each caller hears of it."""
    async with open_actor(lambda: Fragile([])) as ref, trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(expect_restarted, ref, Do(work=take_on, taken=True))
            await trio.testing.wait_all_tasks_blocked()
        ref.cast(DoSilently(work=boom))

    assert trio.current_time() == 0


async def take_on(actor: Actor) -> None:
    """Begin something that does not end."""
    actor.context.nursery.start_soon(trio.sleep_forever)


async def test_an_actor_that_does_not_start_is_named_with_the_reason() -> None:
    """The block does not run, and the operator knows what to repair."""
    with pytest.raises(StartFailed, match=r"actor did not start: ValueError: boom") as caught:
        async with open_actor(Unwilling):
            pytest.fail("must not run")

    assert isinstance(caught.value.__cause__, ValueError)


class Unwilling(Actor):
    """Crashes in `on_start`; must not be asked to put anything away."""

    async def on_start(self) -> None:
        """Crash."""
        raise ValueError("boom")

    async def on_stop(self) -> None:
        """Prove that this is not called: there is nothing to put away."""
        raise AssertionError("on_stop without on_start")


async def test_a_caller_of_an_actor_that_stops_hangs_no_longer_than_the_stop() -> None:
    """A handler that hangs is cancelled at `shutdown_s`, and its caller is told."""
    async with trio.open_nursery() as nursery, open_actor(lambda: Fragile([])) as ref:
        nursery.start_soon(expect_down, ref)
        await trio.testing.wait_all_tasks_blocked()

    assert trio.current_time() == 5


async def expect_down(ref: ActorRef) -> None:
    """Ask for something that never ends."""
    with pytest.raises(ActorDown, match=r"actor ended before it answered"):
        await ref.call(Do(work=wait_for_ever), timeout_s=600)


@pytest.mark.parametrize(
    ("kind", "told"), [(Restart.PERMANENT, ActorRestarted), (Restart.TEMPORARY, ActorDown)]
)
async def test_a_bystanders_caller_learns_whether_to_try_again(
    kind: Restart, told: type[Exception]
) -> None:
    """Stopped because of a sibling's crash, an actor comes back or not, as its spec says."""
    registry = Registry()
    children = [
        ChildSpec("first", lambda: Fragile([])),
        ChildSpec("bystander", lambda: Fragile([]), kind, shutdown_s=1),
    ]
    root = Supervisor(children, strategy=Strategy.REST_FOR_ONE)
    clock, rng = TrioClock(start_utc_ms=0), random.Random(0)
    async with open_tree(root, clock=clock, rng=rng, registry=registry):
        registry.ref("first").cast(DoSilently(work=boom))
        with pytest.raises(told, match=r"bystander ended before it answered"):
            await registry.ref("bystander").call(Do(work=wait_for_ever), timeout_s=60)

        assert trio.current_time() == 1


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
async def test_ctrl_c_in_an_actor_is_no_crash(stop: type[BaseException]) -> None:
    """It is meant for the process, so it ends the tree in order and goes on up."""

    async def interrupt(_actor: Actor) -> None:
        raise stop

    lives: list[int] = []
    with pytest.raises(BaseExceptionGroup, match=r".+") as caught:
        async with open_actor(partial(Fragile, lives)) as ref:
            await ref.call(Do(work=interrupt))

    assert caught.value.subgroup(stop) is not None
    assert lives == [1]
