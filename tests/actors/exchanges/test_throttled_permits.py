"""`ThrottledExchange`: what it tells the limiter of each question and each answer."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import trio
import trio.testing

from actors.errors import ExchangeUnavailable
from actors.exchanges.base import ExchangeCall, Feedback, Response
from actors.exchanges.breaker import Breaker
from actors.exchanges.clock import ExchangeClock
from actors.exchanges.sender import RawResponse
from actors.exchanges.throttled import ThrottledExchange
from actors.exchanges.upbit.adapter import UpbitAdapter
from actors.messages import AcquirePermit, Permit, ReleasePermit
from runtime.core.actor import Actor
from runtime.core.clock import TrioClock
from runtime.core.message import Event, Request
from runtime.testing import open_actor


class Weighing(UpbitAdapter):
    """Says of which window it tells what is left."""

    def feedback(self, _response: Response) -> Feedback:
        """Return what a weighing exchange says."""
        return Feedback(remaining=17, period_s=60.0, retry_after_s=None)


@dataclass
class Ledger:
    """What a limiter was told, and a sender sent."""

    asked: list[AcquirePermit] = field(default_factory=list)
    released: list[ReleasePermit] = field(default_factory=list)
    status: int = 200

    async def send(self, _call: ExchangeCall[Any]) -> RawResponse:
        """Answer anything."""
        await trio.sleep(0.05)
        return RawResponse(self.status, {}, b"[]")


class Notary(Actor):
    """Lets everything pass, and notes it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def handle_call(self, request: Request[Any]) -> object:
        """Grant a permit."""
        assert isinstance(request, AcquirePermit)
        self._ledger.asked.append(request)
        return Permit(
            id=len(self._ledger.asked),
            group=request.group,
            holder=request.holder,
            weight=request.weight,
        )

    async def handle_cast(self, event: Event) -> None:
        """Take one back."""
        assert isinstance(event, ReleasePermit)
        self._ledger.released.append(event)


@pytest.fixture
async def noted(clock: TrioClock) -> AsyncIterator[tuple[ThrottledExchange, Ledger]]:
    """A gate before a limiter that notes what it is told."""
    ledger, rng = Ledger(), random.Random(1)
    async with open_actor(lambda: Notary(ledger), name="limiter") as limiter:
        exchange_clock = ExchangeClock(clock)
        yield (
            ThrottledExchange(
                Weighing(), ledger, limiter, clock, exchange_clock, breaker=Breaker(), rng=rng
            ),
            ledger,
        )


TRADES = UpbitAdapter().trades("KRW-BTC", count=1)


async def test_weight_and_account_of_a_question_reach_the_limiter(
    noted: tuple[ThrottledExchange, Ledger],
) -> None:
    """They count in what the exchange counts."""
    gate, ledger = noted
    await gate.fetch(replace(TRADES, weight=20, account="alice"), timeout_s=5)

    assert [(each.weight, each.holder) for each in ledger.asked] == [(20, "alice")]


async def test_the_window_of_which_an_answer_tells_reaches_the_limiter(
    noted: tuple[ThrottledExchange, Ledger],
) -> None:
    """What is left of a minute is not what is left of a second."""
    gate, ledger = noted
    await gate.fetch(TRADES, timeout_s=5)
    await trio.testing.wait_all_tasks_blocked()

    (told,) = ledger.released
    assert (told.status, told.remaining, told.period_s) == (200, 17, 60.0)


async def test_each_try_has_a_permit_of_its_own_and_gives_it_back(
    noted: tuple[ThrottledExchange, Ledger],
) -> None:
    """Three tries are three requests for whoever counts."""
    gate, ledger = noted
    ledger.status = 502
    with pytest.raises(ExchangeUnavailable, match="the last of 3 tries"):
        await gate.fetch(TRADES, timeout_s=30)
    await trio.testing.wait_all_tasks_blocked()

    assert [each.permit.id for each in ledger.released] == [1, 2, 3]
