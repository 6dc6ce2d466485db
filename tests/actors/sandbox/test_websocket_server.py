"""The streams of the real server, as a WebSocket client meets them, and as an attacker does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import trio
from trio_websocket import WebSocketConnection, open_websocket_url
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, Request
from wsproto.extensions import PerMessageDeflate

from actors.sandbox.exchange import SandboxExchange
from actors.sandbox.market import SandboxMarket
from actors.sandbox.server import SandboxServer, open_sandbox_server
from actors.sandbox.simulated_time import SimulatedTime
from actors.sandbox.testing import wish
from runtime.core.clock import SystemClock

pytestmark = pytest.mark.real_time

UPGRADE = (
    b"GET /websocket/v1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.fixture
def live(markets: tuple[SandboxMarket, ...], now_ms: int) -> SandboxExchange:
    """An exchange whose time runs sixty times as fast as the machine's."""
    clock = SystemClock()
    return SandboxExchange(markets, clock=clock, time=Late(clock, start_ms=now_ms, speed=60))


class Late(SimulatedTime):
    """Time that begins with the first look at it, for fixtures are made outside of trio."""

    def __init__(self, clock: SystemClock, *, start_ms: int, speed: float) -> None:
        self._begin = (clock, start_ms, speed)
        self.speed = speed

    def _start(self) -> None:
        clock, start_ms, speed = self._begin
        if not hasattr(self, "_clock"):
            SimulatedTime.__init__(self, clock, start_ms=start_ms, speed=speed)

    def now_ms(self) -> int:
        """Return the market's time."""
        self._start()
        return super().now_ms()

    def at_ms(self, now_s: float) -> int:
        """Return the market's time at a moment."""
        self._start()
        return super().at_ms(now_s)


@asynccontextmanager
async def connected(live: SandboxExchange) -> AsyncIterator[WebSocketConnection]:
    """Serve, and give a client that is connected."""
    with trio.fail_after(10):
        async with (
            open_sandbox_server(live) as server,
            open_websocket_url(server.stream_url) as client,
        ):
            yield client


@asynccontextmanager
async def dialled(live: SandboxExchange, sent: bytes) -> AsyncIterator[trio.SocketStream]:
    """Serve, and give a bare connection on which something was sent."""
    async with open_sandbox_server(live) as server:
        stream = await trio.open_tcp_stream(server.host, server.port)
        async with stream:
            await stream.send_all(sent)
            yield stream


async def test_a_client_is_told_what_it_wants(live: SandboxExchange) -> None:
    """Snapshots, then news, in binary frames; texts, pings and the ends of both sides."""
    async with connected(live) as client:
        await client.send_message(wish("ticker", "trade", "orderbook", "candle.1m"))
        first = [await client.get_message() for _ in range(4)]
        assert all(isinstance(message, bytes) for message in first)
        assert [json.loads(message)["stream_type"] for message in first] == ["SNAPSHOT"] * 4
        assert json.loads(await client.get_message())["stream_type"] == "REALTIME"
        await client.ping()
        await client.send_message(b"PING")
        while await client.get_message() != b'{"status":"UP"}':
            pass
        await client.send_message('[{"ticket":"x"}]')
        while b"NO_TYPE" not in await client.get_message():
            pass
        assert live.streams.open == 1
    assert live.streams.open == 0


async def test_frames_may_be_compressed(live: SandboxExchange) -> None:
    """As Upbit's are for a client that offers it."""
    websocket = WSConnection(ConnectionType.CLIENT)
    offer = Request(host="x", target="/websocket/v1", extensions=[PerMessageDeflate()])
    events: list[Any] = []
    async with dialled(live, websocket.send(offer)) as stream:
        with trio.fail_after(5):
            while not events:
                websocket.receive_data(await stream.receive_some(65_536))
                events += websocket.events()
            await stream.send_all(websocket.send(BytesMessage(wish("ticker").encode())))
            while not any(isinstance(event, BytesMessage) for event in events):
                websocket.receive_data(await stream.receive_some(65_536))
                events += websocket.events()
    accepted = events[0]
    assert isinstance(accepted, AcceptConnection)
    assert [extension.name for extension in accepted.extensions] == ["permessage-deflate"]
    assert bytes(events[1].data).startswith(b'{"type":"ticker"')


async def test_a_cut_connection_ends_without_a_word(live: SandboxExchange) -> None:
    """The client sees the socket close, and no close frame."""
    async with dialled(live, UPGRADE) as stream:
        assert (await stream.receive_some(1_000)).startswith(b"HTTP/1.1 101")
        live.streams.cut()
        with trio.fail_after(5):
            assert await stream.receive_some(1_000) == b""


async def test_maintenance_closes_with_a_word(
    markets: tuple[SandboxMarket, ...], now_ms: int
) -> None:
    """And refuses whoever comes back."""
    clock = SystemClock()
    time = SimulatedTime(clock, start_ms=now_ms, speed=1_000)
    span = (now_ms + 100_000, now_ms + 10_000_000)
    live = SandboxExchange(markets, clock=clock, time=time, maintenance=[span])
    async with open_sandbox_server(live) as server:
        received = b""
        async with await trio.open_tcp_stream(server.host, server.port) as stream:
            await stream.send_all(UPGRADE)
            with trio.fail_after(5):
                while part := await stream.receive_some(1_000):
                    received += part
        # A close frame with its code, going away.
        assert received.partition(b"\r\n\r\n")[2][:4][2:] == (1001).to_bytes(2, "big")
        assert await status(server, UPGRADE) == 503


async def test_a_half_open_connection_stays_and_is_silent(live: SandboxExchange) -> None:
    """Not even a ping is answered."""
    async with dialled(live, UPGRADE) as stream:
        assert (await stream.receive_some(1_000)).startswith(b"HTTP/1.1 101")
        live.streams.half_open()
        # A ping, masked as a client's frames are.
        await stream.send_all(b"\x89\x80\x00\x00\x00\x00")
        with trio.move_on_after(0.1) as patience:
            await stream.receive_some(1)
        assert patience.cancelled_caught


async def test_too_many_connections_are_refused(live: SandboxExchange) -> None:
    """Five a second, and with an `Origin` header one in ten."""
    async with open_sandbox_server(live) as server:
        found = [await status(server, UPGRADE) for _ in range(6)]
        assert found == [101] * 5 + [429]
        live.rules._addresses.clear()
        browser = UPGRADE.replace(b"Host: x", b"Host: x\r\nOrigin: http://x")
        assert [await status(server, browser) for _ in range(2)] == [101, 429]


async def status(server: SandboxServer, sent: bytes) -> int:
    """Return the status that a request is answered with."""
    async with await trio.open_tcp_stream(server.host, server.port) as stream:
        await stream.send_all(sent)
        with trio.fail_after(5):
            return int((await stream.receive_some(1_000)).split()[1])


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"GET /websocket/v1 HTTP/1.1\r\nHost: x\r\n\r\n", 426),
        (UPGRADE.replace(b"Upgrade: websocket", b"Upgrade: h2c"), 400),
        (UPGRADE.replace(b"Version: 13", b"Version: 7"), 400),
        (UPGRADE.replace(b"GET", b"POST"), 426),
        (UPGRADE.replace(b"/v1 ", b"/v1/private "), 404),
        (UPGRADE.replace(b"/v1 ", b"/v1?x=1 "), 101),
    ],
)
async def test_only_a_good_upgrade_becomes_a_stream(
    live: SandboxExchange, sent: bytes, expected: int
) -> None:
    """Everything else is answered as HTTP."""
    async with open_sandbox_server(live) as server:
        assert await status(server, sent) == expected
        assert live.streams.open <= 1


@pytest.mark.parametrize(
    "sent",
    [
        b"\xff" * 200,
        b"\x81\x05hello",
        b"\x82\x82\x00\x00\x00\x00\xff\xfe",
        b"\x81\xff\x00\x00\x00\x00\x7f\xff\xff\xff\x00\x00\x00\x00" + b"a" * 400_000,
        b"",
    ],
)
async def test_garbage_ends_the_connection_alone(live: SandboxExchange, sent: bytes) -> None:
    """Unmasked, not UTF-8, without end: the next client is served all the same."""
    async with open_sandbox_server(live) as server:
        stream = await trio.open_tcp_stream(server.host, server.port)
        with trio.fail_after(5):
            try:
                await stream.send_all(UPGRADE + sent)
                if not sent:
                    await stream.send_eof()
                while await stream.receive_some(65_536):
                    pass
            except trio.BrokenResourceError:
                pass
        await trio.aclose_forcefully(stream)
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{server.url}/v1/market/all")).status_code == 200
        assert await status(server, UPGRADE) == 101


async def test_a_client_that_does_not_read_is_let_go(live: SandboxExchange) -> None:
    """Its connection is closed; another one notices nothing."""
    async with (
        open_sandbox_server(live, write_s=0.05) as server,
        open_websocket_url(server.stream_url) as eager,
    ):
        lazy = await trio.open_tcp_stream(server.host, server.port)
        text = wish("orderbook", "ticker", "trade").encode()
        head = b"\x81\xfe" + len(text).to_bytes(2, "big") + b"\x00" * 4
        await lazy.send_all(UPGRADE + head + text)
        await eager.send_message(wish("orderbook"))
        with trio.fail_after(10):
            while live.streams.open < 2:
                await eager.get_message()
            while live.streams.open > 1:
                await eager.get_message()
        assert json.loads(await eager.get_message())["type"] == "orderbook"
        await trio.aclose_forcefully(lazy)
