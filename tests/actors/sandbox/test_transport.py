"""`SandboxTransport`: httpx talks to the exchange in process, on fake time."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import httpx
import pytest
import trio

from actors.sandbox.exchange import SandboxExchange
from actors.sandbox.faults import Fault
from actors.sandbox.market import SandboxMarket
from actors.sandbox.simulated_time import SimulatedTime
from actors.sandbox.transport import SandboxTransport
from runtime.core.clock import TrioClock

MINUTES = "/v1/candles/minutes/1?market=KRW-BTC&count=200"


@pytest.fixture
def running(markets: tuple[SandboxMarket, ...], clock: TrioClock, now_ms: int) -> SandboxExchange:
    """An exchange on the test's fake time."""
    return SandboxExchange(markets, clock=clock, time=SimulatedTime(clock, start_ms=now_ms))


@pytest.fixture
async def client(running: SandboxExchange) -> AsyncIterator[httpx.AsyncClient]:
    """A client a tenth of a second away."""
    transport = SandboxTransport(running, latency_s=0.1)
    async with httpx.AsyncClient(transport=transport, base_url="http://sandbox") as opened:
        yield opened


async def test_httpx_reads_a_page(client: httpx.AsyncClient) -> None:
    """Compressed on the way, because httpx offers to read that."""
    response = await client.get(MINUTES)
    assert len(response.json()) == 200
    assert response.headers["Content-Encoding"] == "gzip"


async def test_an_answer_takes_its_latency(client: httpx.AsyncClient) -> None:
    """Half of it on the way there."""
    before_s = trio.current_time()
    await client.get(MINUTES)
    assert trio.current_time() - before_s == pytest.approx(0.1)


async def test_jitter_is_decided_by_the_given_rng(running: SandboxExchange) -> None:
    """The same seed gives the same run."""
    taken_s = []
    for _ in range(2):
        transport = SandboxTransport(running, jitter_s=0.5, rng=random.Random(3))
        async with httpx.AsyncClient(transport=transport) as client:
            before_s = trio.current_time()
            await client.get(f"http://sandbox{MINUTES}")
            taken_s.append(trio.current_time() - before_s)
    assert taken_s[0] == pytest.approx(taken_s[1])
    assert 0 < taken_s[0] < 1
    with pytest.raises(ValueError, match="jitter needs an rng"):
        SandboxTransport(running, jitter_s=0.5)


async def test_a_hanging_exchange_runs_into_the_read_timeout(
    client: httpx.AsyncClient, running: SandboxExchange
) -> None:
    """As it would over a socket; without a timeout it waits until cancelled."""
    running.faults.switch_on(Fault.HANG)
    with pytest.raises(httpx.ReadTimeout, match="no answer within 7"):
        await client.get(MINUTES, timeout=7)
    with trio.move_on_after(1_000) as scope:
        await client.get(MINUTES, timeout=None)
    assert scope.cancelled_caught


async def test_half_a_body_is_a_broken_connection(
    client: httpx.AsyncClient, running: SandboxExchange
) -> None:
    """What had arrived cannot be used."""
    running.faults.switch_on(Fault.HALF_BODY)
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
        await client.get(MINUTES)


async def test_an_exchange_that_is_away_cannot_be_connected_to(
    client: httpx.AsyncClient, running: SandboxExchange
) -> None:
    """And nothing is counted."""
    running.faults.switch_on(Fault.AWAY)
    with pytest.raises(httpx.ConnectError, match="All connection attempts failed"):
        await client.get(MINUTES)
    assert running.calls() == 0


async def test_a_steady_client_at_the_limit_is_never_refused(
    running: SandboxExchange,
) -> None:
    """A hair less than ten a second, for half a minute; a hair more, and it is refused."""
    for latency_s, refused in ((0.1001, 0), (0.0999, 1)):
        transport = SandboxTransport(running, latency_s=latency_s)
        async with httpx.AsyncClient(transport=transport) as client:
            for _ in range(300):
                await client.get("http://sandbox/v1/market/all")
        assert min(1, running.rules.refused()) == refused
