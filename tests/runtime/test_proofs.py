"""`Proofs`: an actor is alive if it answers; who is meant not to answer is excused."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from actors.errors import StoreUnavailable
from actors.messages import GetHealth
from runtime.core.actor import Actor
from runtime.core.child import ChildSpec
from runtime.core.clock import TrioClock
from runtime.core.message import Request
from runtime.core.registry import Registry
from runtime.core.sd_notify import ServiceManager
from runtime.core.supervisor import Supervisor
from runtime.core.tree import open_tree
from runtime.proofs import Proofs

WITHIN_S = 8.0


class Answering(Actor):
    """Answers as it is told to; never, once `stuck` is set."""

    stuck = False
    error: type[Exception] | None = None

    async def handle_call(self, request: Request[Any]) -> object:
        """Answer, or not."""
        assert isinstance(request, GetHealth)
        if self.error is not None:
            raise self.error("as it was told")
        if Answering.stuck:
            await trio.sleep_forever()
        return "well"


class Away(Answering):
    """Answers with a domain error."""

    error = StoreUnavailable


class Crashing(Answering):
    """Crashes of each request."""

    error = ValueError


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Lets the actors of one test hang, or not."""
    return lambda value: monkeypatch.setattr(Answering, "stuck", value)


@asynccontextmanager
async def collected(
    clock: TrioClock, start: Callable[[], Actor] = Answering, name: str = "branch.actor"
) -> AsyncIterator[tuple[Proofs, Supervisor]]:
    """Collect proofs of one actor in a branch of its own."""
    registry = Registry()

    def branch() -> Supervisor:
        return Supervisor([ChildSpec("actor", start)], intensity=None)

    root = Supervisor([ChildSpec("branch", branch)])
    async with open_tree(root, clock=clock, rng=random.Random(0), registry=registry):
        proofs = Proofs([name], root=root, registry=registry, clock=clock, within_s=WITHIN_S)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(proofs.collect)
            yield proofs, root
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("start", [Answering, Away, Actor])
async def test_any_answer_is_a_proof(start: Callable[[], Actor], clock: TrioClock) -> None:
    """A store that says it is away is at work; so is an actor that does not know the question."""
    async with collected(clock, start) as (proofs, _):
        for _ in range(50):
            await trio.sleep(1)
            assert proofs.alive()


async def test_actor_that_hangs_is_missed_once_its_last_proof_is_old(
    clock: TrioClock, stuck: Callable[[bool], None]
) -> None:
    """Not at once, because it may only be busy; and not for ever, once it answers again."""
    async with collected(clock) as (proofs, root):
        await trio.sleep(20)
        stuck(True)
        await trio.sleep(WITHIN_S / 2)
        assert proofs.alive()
        await trio.sleep(WITHIN_S)
        assert proofs.missing() == ("branch.actor",)
        stuck(False)
        root.kill("branch.actor")
        await trio.sleep(WITHIN_S / 2)
        assert proofs.alive()


async def test_actor_that_is_suspended_is_excused_and_not_even_asked(clock: TrioClock) -> None:
    """An operator wanted it; and its mailbox does not fill with questions."""
    async with collected(clock) as (proofs, root):
        root.actor("branch.actor").suspend()
        for _ in range(100):
            await trio.sleep(1)
            assert proofs.alive()
        assert root.info("branch.actor").queued <= 1
        root.actor("branch.actor").resume()
        for _ in range(100):
            await trio.sleep(0.1)
            assert proofs.alive()


async def test_actor_that_waits_for_its_next_start_is_excused(clock: TrioClock) -> None:
    """Its supervisor is at work on it, and has limits of its own; so is one above it."""
    async with collected(clock, Crashing) as (proofs, root):
        await trio.sleep(100)
        assert root.info("branch.actor").restarts > 10
        assert proofs.alive()


async def test_actor_that_is_not_there_is_missed(clock: TrioClock) -> None:
    """Nobody starts it again."""
    async with collected(clock, name="branch.other") as (proofs, _):
        await trio.sleep(WITHIN_S + 1)
        assert proofs.missing() == ("branch.other",)


async def test_service_manager_is_fed_only_while_there_are_proofs(
    clock: TrioClock, stuck: Callable[[bool], None]
) -> None:
    """What systemd ends the process for."""
    fed_s: list[float] = []
    environ = {"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": f"{2 * WITHIN_S * 1e6:.0f}"}
    service = ServiceManager(environ, send=lambda _, __: fed_s.append(trio.current_time()))
    async with collected(clock) as (proofs, _), trio.open_nursery() as nursery:
        nursery.start_soon(service.feed_watchdog, proofs.alive)
        await trio.sleep(100)
        regular = len(fed_s)
        stuck(True)
        await trio.sleep(100)
        nursery.cancel_scope.cancel()

    assert regular >= 100 / WITHIN_S
    assert fed_s[-1] <= 100 + 2 * WITHIN_S
