"""The real server on loopback: HTTP/1.1 as clients speak it, and as attackers do."""

from __future__ import annotations

import httpx
import pytest
import trio

from actors.sandbox.exchange import SandboxExchange
from actors.sandbox.faults import Fault
from actors.sandbox.rules import RateRules
from actors.sandbox.server import SandboxServer, open_sandbox_server

pytestmark = pytest.mark.real_time

MINUTES = "/v1/candles/minutes/1?market=KRW-BTC"
REQUEST = f"GET {MINUTES} HTTP/1.1\r\nHost: sandbox\r\n\r\n".encode()


async def talk(server: SandboxServer, sent: bytes) -> bytes:
    """Return all that comes back until the server closes the connection."""
    received = b""
    with trio.fail_after(5):
        async with await trio.open_tcp_stream(server.host, server.port) as stream:
            await stream.send_all(sent)
            try:
                async for part in stream:
                    received += part
            except trio.BrokenResourceError:
                pass
    return received


async def test_httpx_reads_pages_over_one_connection(exchange: SandboxExchange) -> None:
    """Keep-alive, compression, and Upbit's headers."""
    async with open_sandbox_server(exchange) as server, httpx.AsyncClient() as client:
        for count in (1, 200):
            response = await client.get(f"{server.url}{MINUTES}&count={count}")
            assert len(response.json()) == count
        assert response.headers["Remaining-Req"] == "group=candle; min=600; sec=8"
        assert response.headers["Date"] == "Thu, 01 Jan 2026 03:25:45 GMT"
        assert response.headers["Content-Encoding"] == "gzip"
        response = await client.get(f"{server.url}/v1/none")
        assert (response.status_code, response.reason_phrase) == (404, "Not Found")


async def test_requests_may_be_sent_ahead(exchange: SandboxExchange) -> None:
    """Pipelined requests are answered one after the other."""
    last = REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    async with open_sandbox_server(exchange) as server:
        assert (await talk(server, REQUEST * 3 + last)).count(b"HTTP/1.1 200 OK") == 4


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00garbage\r\n\r\n", b"400"),
        (b"GET /v1/market/all to=a b HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /" + b"a" * 40_000, b"431"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n\r\n" + b"x" * 99_999, b"413"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", b"400"),
    ],
)
async def test_what_is_not_http_is_answered_and_closed(
    exchange: SandboxExchange, sent: bytes, status: bytes
) -> None:
    """And the server goes on."""
    async with open_sandbox_server(exchange) as server:
        answer = await talk(server, sent)
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert answer.count(b"Connection: close") == 1
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{server.url}/v1/market/all")).status_code == 200


async def test_bodies_and_other_methods_do_no_harm(exchange: SandboxExchange) -> None:
    """A client may post, ask for the head alone, or wait for permission to go on."""
    async with open_sandbox_server(exchange) as server, httpx.AsyncClient() as client:
        response = await client.post(f"{server.url}{MINUTES}", content=b"x" * 1000)
        assert response.status_code == 405
        response = await client.head(f"{server.url}{MINUTES}")
        assert (response.status_code, response.content) == (405, b"")
        response = await client.get(f"{server.url}{MINUTES}")
        assert response.status_code == 200
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        async with await trio.open_tcp_stream(server.host, server.port) as stream:
            await stream.send_all(head)
            assert (await stream.receive_some(100)).startswith(b"HTTP/1.1 100")
            await stream.send_all(b"{}")
            assert (await stream.receive_some(1000)).startswith(b"HTTP/1.1 404")


async def test_a_client_that_goes_away_is_no_matter(exchange: SandboxExchange) -> None:
    """In the middle of a request, or of an answer."""
    async with open_sandbox_server(exchange) as server:
        for sent in (b"", REQUEST[:20], REQUEST * 50):
            stream = await trio.open_tcp_stream(server.host, server.port)
            await stream.send_all(sent)
            await trio.aclose_forcefully(stream)
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{server.url}/v1/market/all")).status_code == 200


async def test_silent_connections_are_closed(exchange: SandboxExchange) -> None:
    """Also one that sends a request byte by byte without end."""
    async with open_sandbox_server(exchange, idle_s=0.02) as server:
        assert await talk(server, b"") == b""
        assert await talk(server, REQUEST[:20]) == b""


async def test_one_connection_too_many_is_closed(exchange: SandboxExchange) -> None:
    """The ones that are open go on."""
    async with (
        open_sandbox_server(exchange, connections_max=1) as server,
        await trio.open_tcp_stream(server.host, server.port) as stream,
    ):
        await stream.send_all(REQUEST)
        assert (await stream.receive_some(10_000)).startswith(b"HTTP/1.1 200")
        assert await talk(server, b"") == b""
        await stream.send_all(REQUEST)
        assert (await stream.receive_some(10_000)).startswith(b"HTTP/1.1 200")


async def test_a_client_that_does_not_read_is_let_go(exchange: SandboxExchange) -> None:
    """It asks for more and more and never takes it."""
    request = REQUEST.replace(b"KRW-BTC", b"KRW-BTC&count=200") * 100

    async def flood() -> None:
        async with await trio.open_tcp_stream(server.host, server.port) as stream:
            for _ in range(1_000):
                exchange.rules = RateRules()
                await stream.send_all(request)

    async with open_sandbox_server(exchange, idle_s=0.05) as server:
        with trio.fail_after(5), pytest.raises(trio.BrokenResourceError, match="broken"):
            await flood()
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{server.url}/v1/market/all")).status_code == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /v1/nothing HTTP/1.0\r\n\r\n",
        b"GET /websocket HTTP/1.1\r\nHost: x\r\nUpgrade: x\r\nConnection: upgrade,close\r\n\r\n",
    ],
)
async def test_old_and_odd_requests_are_answered(exchange: SandboxExchange, sent: bytes) -> None:
    """Tunnels, HTTP/1.0, and the stream that is not there yet."""
    async with open_sandbox_server(exchange) as server:
        assert (await talk(server, sent)).startswith(b"HTTP/1.1 404 Not Found")


async def test_leaving_closes_everything_at_once(exchange: SandboxExchange) -> None:
    """Also while a request hangs; the port can be had again."""
    exchange.faults.switch_on(Fault.HANG)
    with trio.fail_after(5):
        async with open_sandbox_server(exchange) as server:
            stream = await trio.open_tcp_stream(server.host, server.port)
            await stream.send_all(REQUEST)
            with trio.move_on_after(0.02) as waited:
                await stream.receive_some(1)
            assert waited.cancelled_caught
        with pytest.raises(OSError, match="connect"):
            await trio.open_tcp_stream(server.host, server.port)
        await trio.aclose_forcefully(stream)
        async with open_sandbox_server(exchange, port=server.port) as again:
            assert again.url == server.url


async def test_faults_reach_the_wire(exchange: SandboxExchange) -> None:
    """Half a body, nobody there, no answer."""
    async with open_sandbox_server(exchange) as server, httpx.AsyncClient() as client:
        url = f"{server.url}{MINUTES}"
        exchange.faults.switch_on(Fault.HALF_BODY, times=1)
        with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
            await client.get(url)
        exchange.faults.switch_on(Fault.HANG, times=1)
        with pytest.raises(httpx.ReadTimeout, match=r"^$"):
            await client.get(url, timeout=0.05)
        exchange.faults.switch_on(Fault.AWAY)
        with pytest.raises(httpx.TransportError, match=r"disconnected|closed|reset|^$"):
            await client.get(url)
        exchange.faults.switch_off()
        assert (await client.get(url)).status_code == 200


async def test_a_port_in_use_is_an_error(exchange: SandboxExchange) -> None:
    """Not a second server beside the first."""
    async with open_sandbox_server(exchange) as server:
        with pytest.raises(OSError, match="in use"):
            async with open_sandbox_server(exchange, port=server.port):
                raise AssertionError("it must not start")


async def test_the_block_s_own_error_leaves_it_as_it_was_raised(exchange: SandboxExchange) -> None:
    """A rehearsal must fail the way the real thing does."""
    with pytest.raises(ZeroDivisionError, match="the block's own"):
        async with open_sandbox_server(exchange):
            raise ZeroDivisionError("the block's own")
