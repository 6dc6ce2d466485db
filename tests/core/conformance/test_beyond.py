"""What nobody tests of supervision: answers, callers, mailboxes and errors at bad moments.

Here: crash with callers queued and one in hand; caller cancelled between reply and wake-up; reply
after the caller's deadline is dropped and counted; mailbox full while the actor is in back-off;
conflating mailbox keeps the last per key across a restart; control lane answers with a full
mailbox; exception group of {Cancelled, ValueError}; `KeyboardInterrupt` inside a child; heir
refused as corrupt.

Elsewhere: children that will not end and a loop that is blocked, `test_beyond_ends`; many seeds of
random schedules against a model of OTP, `test_model`; a whole tree twice, `test_same_trace`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest
import trio

from runtime.core.actor import Actor
from runtime.core.backoff import Backoff
from runtime.core.child import ChildSpec, Restart
from runtime.core.errors import (
    ActorDown,
    ActorError,
    ActorRestarted,
    CallTimeout,
    MailboxFull,
    MessageDropped,
)
from runtime.core.mailbox import MailboxSpec, OnCrash, Overflow
from runtime.core.message import Request
from runtime.core.reply import Reply
from runtime.core.supervisor import Supervisor
from runtime.core.table import Table
from runtime.testing_core import Stage, settle


class Ask(Request[int], frozen=True):
    """Be answered with `number`, or do what its name says."""

    number: int
    then: str = ""


class Answerer(Actor):
    """Answers, crashes, waits, or keeps a reply for later."""

    def __init__(self, kept: list[Reply] | None = None) -> None:
        self._kept = [] if kept is None else kept

    async def handle_call(self, request: Request[Any]) -> object:
        """Do as asked."""
        assert isinstance(request, Ask)
        match request.then:
            case "crash":
                raise ValueError("boom")
            case "wait and crash":
                await trio.sleep(1)
                raise ValueError("boom")
            case "wait":
                await trio.sleep(1)
            case "keep":
                self._kept.append(self.context.take_reply())
            case "raise both":
                await self._raise_both()
        return request.number

    async def _raise_both(self) -> None:
        """Raise a group of a cancellation and a crash, as a nursery does that is cancelled."""

        async def fail() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("while being cancelled")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            nursery.start_soon(trio.sleep_forever)
            await trio.sleep(1)
            nursery.cancel_scope.cancel()


def one(make: Callable[[], Actor] = Answerer, *, backoff_s: float = 0, **spec: Any) -> Supervisor:
    """Return a supervisor of one actor, that never gives up."""
    backoff = Backoff(min_s=backoff_s, max_s=backoff_s, jitter=0)
    return Supervisor([ChildSpec("a", make, **spec)], backoff=backoff, intensity=None)


class Callers:
    """Any number of callers, and what each of them was told, in order."""

    def __init__(self, stage: Stage, nursery: trio.Nursery) -> None:
        self._ref, self._nursery = stage.registry.ref("a"), nursery
        self.told: dict[int, list[object]] = {}

    async def ask(self, number: int, then: str = "", *, timeout_s: float = 100) -> None:
        """Ask, and return when the question has arrived."""
        self._nursery.start_soon(self._ask, number, then, timeout_s)
        await settle()

    async def _ask(self, number: int, then: str, timeout_s: float) -> None:
        told = self.told.setdefault(number, [])
        try:
            answer: int = await self._ref.call(Ask(number=number, then=then), timeout_s=timeout_s)
            told.append(answer)
        except ActorError as error:
            told.append(type(error))


@pytest.mark.parametrize(
    ("restart", "on_crash", "in_hand", "queued"),
    [
        (Restart.PERMANENT, OnCrash.KEEP, ActorRestarted, None),
        (Restart.PERMANENT, OnCrash.FAIL, ActorRestarted, ActorRestarted),
        (Restart.TRANSIENT, OnCrash.KEEP, ActorRestarted, None),
        (Restart.TEMPORARY, OnCrash.KEEP, ActorDown, ActorDown),
        (Restart.TEMPORARY, OnCrash.FAIL, ActorDown, ActorDown),
    ],
)
async def test_crash_with_callers_queued_and_one_in_hand(
    restart: Restart,
    on_crash: OnCrash,
    in_hand: type[ActorError],
    queued: type[ActorError] | None,
) -> None:
    """Each gets exactly one answer, of the type that says whether to try again."""
    stage = Stage()
    root = one(restart=restart, mailbox=MailboxSpec(2, on_crash=on_crash))
    async with stage.run(root), trio.open_nursery() as nursery:
        callers = Callers(stage, nursery)
        await callers.ask(0, "wait and crash")
        # Two are queued, and two wait for room.
        for number in (1, 2, 3, 4):
            await callers.ask(number)
        assert callers.told == {number: [] for number in range(5)}
        await trio.sleep(1.5)

        rest = {number: [number if queued is None else queued] for number in (1, 2, 3, 4)}
        assert callers.told == {0: [in_hand], **rest}


async def test_caller_cancelled_between_reply_and_wake_up() -> None:
    """The answer is there, so it counts: a wake-up that is under way cannot be taken back."""
    stage, kept = Stage(), list[Reply]()
    answers: list[object] = []
    async with stage.run(one(lambda: Answerer(kept))) as root, trio.open_nursery() as nursery:
        ref = stage.registry.ref("a")

        async def ask() -> None:
            answer: int = await ref.call(Ask(number=1, then="keep"))
            answers.append(answer)

        nursery.start_soon(ask)
        await settle()
        # Both in one step of this task: the caller runs after both.
        kept[0].send(7)
        nursery.cancel_scope.cancel()
        await trio.lowlevel.cancel_shielded_checkpoint()
        with trio.CancelScope(shield=True):
            await settle()

        assert answers == [7]
        assert root.info("a").late == 0


async def test_reply_after_the_callers_deadline_is_dropped_and_counted() -> None:
    """Nobody reads it; how often that happens tells that the deadlines are too short."""
    stage, kept = Stage(), list[Reply]()
    async with stage.run(one(lambda: Answerer(kept))) as root, trio.open_nursery() as nursery:
        callers = Callers(stage, nursery)
        await callers.ask(1, "keep", timeout_s=1)
        await trio.sleep(2)
        assert callers.told == {1: [CallTimeout]}

        kept[0].send(1)
        kept[0].send(2)
        await settle()

        assert callers.told == {1: [CallTimeout]}
        assert root.info("a").late == 1
        await callers.ask(2)
        assert callers.told[2] == [2]


@pytest.mark.parametrize(
    ("overflow", "told"),
    [
        (Overflow.WAIT, {1: [1], 2: [2], 3: [3]}),
        (Overflow.REFUSE, {1: [1], 2: [2], 3: [MailboxFull]}),
        (Overflow.DROP_OLDEST, {1: [MessageDropped], 2: [2], 3: [3]}),
    ],
)
async def test_mailbox_full_while_the_actor_is_in_backoff(
    overflow: Overflow, told: dict[int, list[object]]
) -> None:
    """The bound and its policy hold while nobody reads, and whoever got in is served after."""
    stage = Stage()
    root = one(backoff_s=5, mailbox=MailboxSpec(2, overflow))
    async with stage.run(root), trio.open_nursery() as nursery:
        callers = Callers(stage, nursery)
        await callers.ask(-1, "crash")
        await callers.ask(-2, "crash")
        for number in (1, 2, 3):
            await callers.ask(number)
        assert root.info("a").state == "restarting"
        await trio.sleep(6)

        assert {number: callers.told[number] for number in told} == told


async def test_conflating_mailbox_keeps_the_last_per_key_across_a_restart() -> None:
    """The next life hears of the present, in the order in which the keys came up first."""
    stage = Stage()
    mailbox = MailboxSpec(2, Overflow.LATEST, key=lambda ask: ask.number % 10)
    async with stage.run(one(mailbox=mailbox)) as root, trio.open_nursery() as nursery:
        callers = Callers(stage, nursery)
        await callers.ask(0, "wait and crash")
        for number in (11, 12, 21):
            await callers.ask(number)
        await trio.sleep(0.5)
        await callers.ask(31)
        await callers.ask(13)
        await trio.sleep(1)

        assert callers.told == {
            0: [ActorRestarted],
            11: [MessageDropped],
            21: [MessageDropped],
            31: [31],
            12: [12],
            # A third key found no room.
            13: [MailboxFull],
        }
        assert (root.info("a").incarnation, root.info("a").dropped, root.info("a").refused) == (
            2,
            2,
            1,
        )


async def test_control_lane_answers_with_a_full_mailbox() -> None:
    """The one moment in which an operator needs it; none of it waits for the handler."""
    stage = Stage()
    mailbox = MailboxSpec(1, Overflow.REFUSE)
    async with stage.run(one(mailbox=mailbox)) as root, trio.open_nursery() as nursery:
        callers, control = Callers(stage, nursery), root.actor("a")
        for number in (1, 2, 3):
            await callers.ask(number, "wait")
        assert callers.told[3] == [MailboxFull]

        now_s = trio.current_time()
        assert (control.state().queued, control.state().in_hand) == (1, "Ask")
        assert control.get_state().name == "a"
        control.suspend()
        assert control.state().suspended
        control.resume()
        assert not control.state().suspended
        assert trio.current_time() == now_s

        control.kill()
        await trio.sleep(2)
        assert callers.told == {1: [ActorRestarted], 2: [2], 3: [MailboxFull]}


async def test_exception_group_of_cancelled_and_value_error() -> None:
    """The cancellation has found its scope; what is left is a crash like any other."""
    stage = Stage()
    async with stage.run(one()) as root, trio.open_nursery() as nursery:
        callers = Callers(stage, nursery)
        await callers.ask(1, "raise both")
        await trio.sleep(2)

        assert callers.told == {1: [ActorRestarted]}
        assert root.info("a").last_crash == "ValueError: while being cancelled"
        assert root.info("a").incarnation == 2


@pytest.mark.parametrize("in_a_group", [False, True])
async def test_exception_group_with_a_foreign_cancellation(*, in_a_group: bool) -> None:
    """A `Cancelled` kept from elsewhere ends nobody but the child that raises it."""
    stage = Stage()
    kept: list[trio.Cancelled] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.sleep_forever()
        except trio.Cancelled as error:
            kept.append(error)
            raise

    class Stale(Answerer):
        async def handle_call(self, request: Request[Any]) -> object:
            if request.then != "crash":  # type: ignore[attr-defined]
                return await super().handle_call(request)
            if in_a_group:
                raise BaseExceptionGroup("both", [kept[0], ValueError("boom")])
            raise kept[0]

    async with stage.run(one(Stale)) as root, trio.open_nursery() as nursery:
        callers = Callers(stage, nursery)
        await callers.ask(1, "crash")
        await callers.ask(2)

        assert callers.told == {1: [ActorRestarted], 2: [2]}
        assert root.info("a").incarnation == 2


async def test_keyboard_interrupt_inside_a_child() -> None:
    """Ctrl-C is for the process, wherever it lands: siblings stop in order, and it comes out."""
    stage = Stage()
    a, b, c = (stage.child(name) for name in "abc")

    async def interrupt(life: object) -> None:
        del life
        await trio.lowlevel.checkpoint()
        raise KeyboardInterrupt

    async def run() -> None:
        async with stage.open(a, b, c):
            stage.journal.clear()
            b.do(interrupt)
            await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup, match="Exceptions from") as caught:
        await run()

    assert caught.value.subgroup(KeyboardInterrupt) is not None
    assert stage.names("asked") == ["c", "a"]
    assert stage.registry.names() == ()


class Heir(Answerer):
    """Keeps a balance in a table, and wrote nonsense before it died."""

    def __init__(self, table: Table[str, int], refused: list[bool]) -> None:
        super().__init__()
        self._table, self._refused = table, refused

    async def on_start(self) -> None:
        """Take over what is there, if it makes sense."""
        writer = self._table.claim("a", accept=_makes_sense)
        self._refused.append(writer.refused)
        writer.put("balance", -5 if self.context.incarnation == 1 else 5)


def _makes_sense(values: Mapping[str, int]) -> bool:
    return all(value >= 0 for value in values.values())


async def test_heir_refused_as_corrupt(caplog: pytest.LogCaptureFixture) -> None:
    """What killed one life must not be handed to the next; what is good is."""
    stage, table, refused = Stage(), Table[str, int]("balances"), list[bool]()
    async with stage.run(one(partial(Heir, table, refused))), trio.open_nursery() as nursery:
        callers = Callers(stage, nursery)
        for number in (1, 2):
            await callers.ask(number, "crash")

        assert refused == [False, True, False]
        assert dict(table.items()) == {"balance": 5}
        assert "a found table 'balances' corrupt, and starts it anew" in caplog.text
