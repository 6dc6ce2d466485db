"""`SandboxStreams`: streams inside the process, on virtual time."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import trio

from actors.exchanges.streams import OpenStream, StreamLost, StreamSocket
from actors.sandbox.exchange import SandboxExchange
from actors.sandbox.faults import Fault
from actors.sandbox.market import SandboxMarket
from actors.sandbox.simulated_time import SimulatedTime
from actors.sandbox.stream_faults import StreamFault
from actors.sandbox.stream_transport import SandboxStreams, open_stream
from actors.sandbox.testing import wish
from runtime.core.clock import TrioClock


@pytest.fixture
async def exchange(
    markets: tuple[SandboxMarket, ...], clock: TrioClock, now_ms: int
) -> SandboxExchange:
    """An exchange on the test's own virtual time."""
    return SandboxExchange(markets, clock=clock, time=SimulatedTime(clock, start_ms=now_ms))


def read(frames: list[bytes | str]) -> list[Any]:
    """Return frames decoded; all must be binary."""
    assert all(isinstance(frame, bytes) for frame in frames)
    return [json.loads(frame) for frame in frames]


async def read_on(socket: StreamSocket) -> None:
    """Receive without end."""
    while True:
        await socket.receive()


async def test_frames_arrive_at_their_moment(exchange: SandboxExchange) -> None:
    """A trade is told when it happens, by the market's time."""
    opener: OpenStream = SandboxStreams(exchange).open
    async with opener() as socket:
        await socket.send(wish("trade"))
        [snapshot] = read(await socket.receive())
        assert snapshot["stream_type"] == "SNAPSHOT"
        for _ in range(20):
            [trade] = read(await socket.receive())
            assert trade["trade_timestamp"] == exchange.time.now_ms()
    assert exchange.streams.open == 0


async def test_travelling_takes_time_and_keeps_the_order(exchange: SandboxExchange) -> None:
    """With jitter, too."""
    rng = random.Random(1)
    streams = SandboxStreams(exchange, latency_s=0.2, jitter_s=5.0, rng=rng)
    async with streams.open() as socket:
        await socket.send(wish("trade", is_only_realtime=True))
        began_ms = exchange.time.now_ms()
        lags: list[int] = []
        times: list[int] = []
        while len(lags) < 60:
            for trade in read(await socket.receive()):
                lags.append(exchange.time.now_ms() - trade["trade_timestamp"])
                times.append(trade["trade_timestamp"])
        assert times == sorted(times)
        assert min(times) > began_ms + 100
        assert 100 <= min(lags) < max(lags) <= 5_100


async def test_what_was_sent_first_arrives_first(exchange: SandboxExchange) -> None:
    """So the last request is the one that holds."""
    streams = SandboxStreams(exchange, jitter_s=1.0, rng=random.Random(5))
    async with streams.open() as socket:
        began_ms = exchange.time.now_ms()
        found: list[Any] = []
        for code in ("KRW-ETH", "KRW-XRP", "KRW-BTC"):
            await socket.send(wish("orderbook", codes=(code,)))
        await trio.sleep(5)
        while exchange.time.now_ms() < began_ms + 6_000:
            found += read(await socket.receive())
        assert [frame["code"] for frame in found[-3:]] == ["KRW-BTC"] * 3


async def test_a_cut_is_told_once_all_that_came_before_is_read(exchange: SandboxExchange) -> None:
    """And whoever waits is woken."""
    async with open_stream(exchange) as socket, trio.open_nursery() as nursery:
        await socket.send(wish("orderbook"))
        await socket.receive()

        async def cut() -> None:
            await trio.sleep(0.1)
            exchange.streams.cut()

        nursery.start_soon(cut)
        with pytest.raises(StreamLost, match="the connection was cut"):
            await socket.receive()
        with pytest.raises(StreamLost, match="the connection was cut"):
            await socket.send("PING")
        with pytest.raises(StreamLost, match="the connection was cut"):
            await socket.ping()


async def test_cuts_come_at_random_to_whoever_waits(exchange: SandboxExchange) -> None:
    """Switched on while the connection is open."""
    async with open_stream(exchange) as socket:
        await socket.send("PING")
        exchange.stream_faults.switch_on(StreamFault.CUT, 100)
        with pytest.raises(StreamLost, match="cut"):
            await read_on(socket)
        assert trio.current_time() < 1_000


async def test_of_a_half_open_connection_nothing_is_heard(exchange: SandboxExchange) -> None:
    """Not even its end; what is sent vanishes."""
    async with open_stream(exchange) as socket:
        await socket.send(wish("orderbook"))
        await socket.receive()
        exchange.streams.half_open()
        await socket.send("PING")
        await socket.ping()
        with trio.move_on_after(100_000) as patience:
            await socket.receive()
        assert patience.cancelled_caught


async def test_refused_connections_say_why(
    exchange: SandboxExchange, markets: tuple[SandboxMarket, ...], clock: TrioClock, now_ms: int
) -> None:
    """By their status; where nobody is there, the exchange has counted nothing."""
    lost: list[StreamLost] = []
    for _ in range(30):
        try:
            async with open_stream(exchange):
                pass
        except StreamLost as error:
            lost.append(error)
    assert [error.status for error in lost[:20]] == [429] * 20
    assert lost[-1].status == 418
    assert lost[-1].retry_after_s == pytest.approx(10, abs=0.1)
    assert lost[-1].sent
    exchange.faults.switch_on(Fault.AWAY)
    with pytest.raises(StreamLost, match="nobody") as away:
        async with open_stream(exchange):
            pass
    assert not away.value.sent
    time = SimulatedTime(clock, start_ms=now_ms)
    closed = SandboxExchange(
        markets, clock=clock, time=time, maintenance=[(now_ms - 1, now_ms + 60_000)]
    )
    with pytest.raises(StreamLost, match="503") as refused:
        async with open_stream(closed):
            pass
    assert refused.value.status == 503


async def test_a_client_that_does_not_receive_is_cut_off(exchange: SandboxExchange) -> None:
    """And nothing is kept for it in the meantime."""
    async with open_stream(exchange) as socket:
        await socket.send(wish("orderbook"))
        await socket.receive()
        await trio.sleep(3_600)
        with pytest.raises(StreamLost, match="does not read"):
            await read_on(socket)


async def test_frames_can_be_gathered(
    markets: tuple[SandboxMarket, ...], clock: TrioClock, now_ms: int
) -> None:
    """A month at a thousandfold speed then wakes its reader seldom, and tells all the same."""
    time = SimulatedTime(clock, start_ms=now_ms, speed=1_000)
    exchange = SandboxExchange(markets, clock=clock, time=time)
    async with SandboxStreams(exchange, gather_s=0.5).open() as socket:
        await socket.send(wish("trade", is_only_realtime=True))
        batches = [read(await socket.receive()) for _ in range(8)]
    found = [trade["trade_timestamp"] for batch in batches for trade in batch]
    expected = markets[0].trades(now_ms + 1, found[-1] + 1)
    assert found == [trade.time_ms for trade in expected]
    assert min(map(len, batches)) > 30


async def test_receiving_can_be_given_up(exchange: SandboxExchange) -> None:
    """Nothing is lost by it."""
    async with open_stream(exchange) as socket:
        await socket.send(wish("trade", is_only_realtime=True))
        began_ms = exchange.time.now_ms()
        found: list[Any] = []
        while len(found) < 5:
            with trio.move_on_after(0.37):
                found += read(await socket.receive())
    expected = exchange.markets["KRW-BTC"].trades(began_ms + 1, exchange.time.now_ms() + 1)
    assert [f["trade_timestamp"] for f in found] == [t.time_ms for t in expected]


async def test_jitter_needs_chance(exchange: SandboxExchange) -> None:
    """Which is injected, never taken from nowhere."""
    with pytest.raises(ValueError, match="rng"):
        SandboxStreams(exchange, jitter_s=1.0)
