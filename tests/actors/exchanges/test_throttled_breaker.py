"""`ThrottledExchange` and its breaker: who is told what, and when, while an exchange is away."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

import httpx
import pytest
import trio

from actors.errors import ExchangeUnavailable, MarketDataError
from actors.exchanges.breaker import Breaker
from actors.exchanges.throttled import FAIR_S
from actors.exchanges.upbit.adapter import UpbitAdapter

if TYPE_CHECKING:
    # Kept by pytest, which brings it to the tests as fixtures; not importable when they run.
    from tests.actors.exchanges.conftest import Opened, OpenGate, Server

TRADES = UpbitAdapter().trades("KRW-BTC", count=1)
NOT_ASKED = r"^upbit: trades KRW-BTC: not asked, it has been away for .* is tried again"


async def fail_until_open(opened: Opened) -> None:
    """Ask in vain until the breaker opens, at five failures in a row."""
    for _ in range(5):
        with pytest.raises(ExchangeUnavailable, match="upbit"):
            await opened.gate.fetch(TRADES, timeout_s=20)


class Crowd:
    """Callers, and when and how each of them was told."""

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        self.told_s: list[float] = []
        self.answers = 0

    async def ask(self, timeout_s: float = 30.0) -> None:
        """Ask once."""
        try:
            await self.opened.gate.fetch(TRADES, timeout_s=timeout_s)
            self.answers += 1
        except ExchangeUnavailable:
            self.told_s.append(trio.current_time())


async def test_all_but_one_are_told_at_once_while_it_is_open(
    make_server: type[Server], open_gate: OpenGate, nursery: trio.Nursery
) -> None:
    """The one is the probe; its answer is for everybody who comes after."""
    server = make_server(status=503)
    async with open_gate(server) as opened:
        await fail_until_open(opened)
        crowd, before = Crowd(opened), server.arrivals
        for _ in range(100):
            await crowd.ask()
        assert (len(crowd.told_s), server.arrivals) == (100, before)
        await trio.sleep(1)
        server.status, began_s = 200, trio.current_time()
        for _ in range(100):
            nursery.start_soon(crowd.ask)
        await trio.sleep(0.01)
        assert crowd.told_s[100:] == [began_s] * 99
        await trio.sleep(1)
        assert (crowd.answers, server.arrivals) == (1, before + 1)
        await opened.gate.fetch(TRADES, timeout_s=5)


async def test_those_in_line_are_told_when_it_opens_and_not_when_their_turn_comes(
    make_server: type[Server], open_gate: OpenGate
) -> None:
    """Two hundred in a line of ten a second; none waits for an exchange that is away."""
    server = make_server(status=503)
    async with open_gate(server) as opened, trio.open_nursery() as nursery:
        crowd = Crowd(opened)
        for _ in range(200):
            nursery.start_soon(crowd.ask)
        await trio.sleep(0.5)
        report = await opened.report()

    assert max(crowd.told_s) < 2.1
    assert (len(crowd.told_s), server.arrivals) == (200, 10)
    assert (report.in_flight, report.windows[0].used) == (0, 10)


class SlyBreaker(Breaker):
    """Opens in the moment in which somebody gets his permit."""

    def unwatch(self, tell: Callable[[], None]) -> None:
        """Open just before the watch ends."""
        for _ in range(5):
            self.failed(trio.current_time(), "status 503", random.Random(1), probe=False)
        super().unwatch(tell)


async def test_a_permit_that_comes_in_the_moment_it_opens_goes_back_unused(
    make_server: type[Server], open_gate: OpenGate
) -> None:
    """Too late to be cancelled, and not too late to be told."""
    server = make_server()
    async with open_gate(server, breaker=SlyBreaker()) as opened:
        with pytest.raises(ExchangeUnavailable, match=NOT_ASKED):
            await opened.gate.fetch(TRADES, timeout_s=20)
        report = await opened.report()

    assert (server.arrivals, report.in_flight, report.windows[0].used) == (0, 0, 0)


async def test_who_rests_before_his_next_try_is_told_when_it_opens(
    make_server: type[Server], open_gate: OpenGate
) -> None:
    """His next try would be refused, so there is nothing to wait for."""
    server = make_server(status=503)
    async with open_gate(server, tries=3) as opened, trio.open_nursery() as nursery:
        crowd = Crowd(opened)
        for _ in range(5):
            nursery.start_soon(crowd.ask)

    # Two ways of 25 ms; the first rest would take half a second.
    assert max(crowd.told_s) == pytest.approx(2.05, abs=0.01)
    assert server.arrivals == 5


async def test_a_probe_that_is_cancelled_leaves_its_place(
    make_server: type[Server], open_gate: OpenGate
) -> None:
    """A bot that goes away must not keep the exchange away with it."""
    server = make_server(status=503)
    async with open_gate(server) as opened:
        await fail_until_open(opened)
        await trio.sleep(1)
        server.status, server.hangs = 200, True
        with trio.move_on_after(0.2):
            await opened.gate.fetch(TRADES, timeout_s=20)
        with pytest.raises(ExchangeUnavailable, match=NOT_ASKED):
            await opened.gate.fetch(TRADES, timeout_s=20)
        server.hangs = False
        await trio.sleep(1)
        assert (await opened.gate.fetch(TRADES, timeout_s=20)).value == ()
        assert (await opened.report()).in_flight == 0


@pytest.mark.parametrize("status", [400, 404, 418, 429])
async def test_a_refusal_does_not_open_it(
    status: int, make_server: type[Server], open_gate: OpenGate
) -> None:
    """Somebody is there; how often to ask him is the limiter's affair."""
    server = make_server(status=503)
    async with open_gate(server) as opened:
        for number in range(8):
            server.status = status if number == 4 else 503
            with pytest.raises(MarketDataError, match="upbit: trades KRW-BTC"):
                await opened.gate.fetch(TRADES, timeout_s=200)
        assert "not asked" not in opened.gate.state.last_error


async def test_what_was_never_sent_counts_as_well(
    make_server: type[Server], open_gate: OpenGate
) -> None:
    """A host that refuses connections is away, and costs nothing."""
    server = make_server(error=httpx.ConnectError("refused"))
    async with open_gate(server) as opened:
        await fail_until_open(opened)
        with pytest.raises(ExchangeUnavailable, match=NOT_ASKED + ".*refused"):
            await opened.gate.fetch(TRADES, timeout_s=20)
        assert (await opened.report()).windows[0].used == 0


async def test_a_long_silence_counts_whoever_gave_up_waiting(
    make_server: type[Server], open_gate: OpenGate, nursery: trio.Nursery
) -> None:
    """If all bots are a little impatient, an exchange that hangs is away all the same."""
    async with open_gate(make_server(hangs=True)) as opened:
        crowd = Crowd(opened)
        for _ in range(5):
            nursery.start_soon(crowd.ask, FAIR_S + 0.1)
        await trio.sleep(FAIR_S + 0.2)
        assert len(crowd.told_s) == 5
        with pytest.raises(ExchangeUnavailable, match=NOT_ASKED):
            await opened.gate.fetch(TRADES, timeout_s=20)


async def test_the_state_says_since_when_why_and_when_next(
    make_server: type[Server], open_gate: OpenGate
) -> None:
    """Health shows it without asking anybody."""
    server = make_server(status=503)
    async with open_gate(server) as opened:
        await fail_until_open(opened)
        await trio.sleep(0.25)
        state = opened.gate.state
        assert state.state == "away"
        assert "upbit: it has been away for 0." in state.last_error
        assert "is tried again in 0." in state.last_error
        assert "status 503" in state.last_error
        server.status = 200
        await trio.sleep(1)
        await opened.gate.fetch(TRADES, timeout_s=20)
        assert opened.gate.state.state == "ok"
