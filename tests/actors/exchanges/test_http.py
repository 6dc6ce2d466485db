"""`HttpSender` against real sockets on loopback: what it sends, and what can go wrong.

Each test plays the server's side byte by byte, so that every kind of breakage is the real one.
"""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import pytest
import trio

from actors.errors import ExchangeUnavailable, MalformedPayload
from actors.exchanges.base import ExchangeCall
from actors.exchanges.http import BODY_BYTES_MAX, HttpSender, open_http_sender
from actors.exchanges.sender import SendFailed

pytestmark = pytest.mark.real_time

Play = Callable[[trio.SocketStream, bytes], Awaitable[None]]

CALL = ExchangeCall(
    group="candle",
    path="/v1/candles/minutes/1",
    params=(("market", "KRW-BTC"), ("to", "2025-06-24T04:56:53Z")),
    read=lambda response: response,
    what="candles",
)


@asynccontextmanager
async def open_server(play: Play) -> AsyncIterator[str]:
    """Serve each request of each connection with `play`; give the base URL."""

    async def serve(stream: trio.SocketStream) -> None:
        data = b""
        try:
            while chunk := await stream.receive_some():
                data += chunk
                while b"\r\n\r\n" in data:
                    head, data = data.split(b"\r\n\r\n", 1)
                    await play(stream, head)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, serve, 0)
        host, port = listeners[0].socket.getsockname()[:2]
        host = f"[{host}]" if ":" in host else host.replace("0.0.0.0", "127.0.0.1")  # noqa: S104
        yield f"http://{host}:{port}"
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_pair(
    play: Play, *, timeout_s: float = 5.0, connections: int = 4
) -> AsyncIterator[HttpSender]:
    """Open a sender and the server that it talks to."""
    async with (
        open_server(play) as url,
        open_http_sender(url, timeout_s=timeout_s, connections_max=connections) as sender,
    ):
        yield sender


def reply(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Return a whole HTTP response."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def send(data: bytes, *, close: bool = False) -> Play:
    """Answer every request with `data`, and hang up if asked to."""

    async def play(stream: trio.SocketStream, _head: bytes) -> None:
        await stream.send_all(data)
        if close:
            await stream.aclose()

    return play


# ------------------------------------------------------------------ what is sent


async def test_a_request_is_plain_and_encoded() -> None:
    """An `Origin` header would cost nine tenths of Upbit's limit; cookies are hidden state."""
    heads: list[str] = []

    async def play(stream: trio.SocketStream, head: bytes) -> None:
        heads.append(head.decode())
        await stream.send_all(reply(b"[]", "Set-Cookie: a=b", "X-Two: 1", "X-Two: 2"))

    async with open_pair(play) as sender:
        await sender.send(CALL)
        response = await sender.send(CALL)

    first, *fields = heads[1].lower().splitlines()
    assert first == (
        "get /v1/candles/minutes/1?market=krw-btc&to=2025-06-24t04%3a56%3a53z http/1.1"
    )
    named = dict(field.split(": ", 1) for field in fields)
    assert named["user-agent"].startswith("marketd/")
    assert named["accept-encoding"] == "gzip"
    assert not {"origin", "cookie", "referer"} & set(named)
    assert (response.status, response.body) == (200, b"[]")
    assert response.headers["x-two"] == "1, 2"


async def test_a_base_path_stays_before_every_path() -> None:
    """A gateway may serve the exchange below a path of its own."""
    heads: list[bytes] = []

    async def play(stream: trio.SocketStream, head: bytes) -> None:
        heads.append(head)
        await stream.send_all(reply(b""))

    async with (
        open_server(play) as url,
        open_http_sender(f"{url}/gate", timeout_s=5, connections_max=1) as sender,
    ):
        await sender.send(CALL)

    assert heads[0].startswith(b"GET /gate/v1/candles/minutes/1?")


async def test_connections_are_kept_and_never_too_many() -> None:
    """Each new one costs a TLS handshake; and a pool with a queue costs CPU."""
    peers: set[object] = set()
    inside, most = 0, 0

    async def play(stream: trio.SocketStream, _head: bytes) -> None:
        nonlocal inside, most
        peers.add(stream.socket.getpeername())
        inside += 1
        most = max(most, inside)
        await trio.sleep(0.005)
        inside -= 1
        await stream.send_all(reply(b"[]"))

    async with open_pair(play, connections=3) as sender, trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(sender.send, CALL)

    assert (len(peers), most) == (3, 3)


async def test_compressed_bodies_are_unpacked() -> None:
    """Upbit supports gzip for market data."""
    packed = gzip.compress(b'[{"market":"KRW-BTC"}]')
    async with open_pair(send(reply(packed, "Content-Encoding: gzip"))) as sender:
        response = await sender.send(CALL)

    assert response.body == b'[{"market":"KRW-BTC"}]'


async def test_a_redirect_is_an_answer_and_not_followed() -> None:
    """A request that goes somewhere else is not the one a permit was given for."""
    data = reply(b"", "Location: http://elsewhere.invalid/", status="302 Found")
    async with open_pair(send(data)) as sender:
        assert (await sender.send(CALL)).status == 302


@pytest.mark.parametrize("status", ["429 Too Many Requests", "500 Internal Server Error"])
async def test_every_status_is_an_answer(status: str) -> None:
    """What it means is the adapter's business."""
    async with open_pair(send(reply(b"no", status=status))) as sender:
        assert (await sender.send(CALL)).status == int(status[:3])


# ------------------------------------------------------------------ what goes wrong

HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[1,2"
HALF_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n[1,2\r\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "disconnected without sending a response"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "RemoteProtocolError"),
        (b"\x00\xff" * 4096, "RemoteProtocolError"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000, "RemoteProtocolError"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", "RemoteProtocolError"),
        (HALF, "without sending complete message body"),
        (HALF_CHUNKED, "incomplete chunked read|without sending complete message body"),
    ],
)
async def test_a_broken_answer_is_an_exchange_that_is_not_there(data: bytes, message: str) -> None:
    """No error of httpx or h11 escapes; the host and the cause are named."""
    async with open_pair(send(data, close=True)) as sender:
        with pytest.raises(
            SendFailed, match=rf"^(127\.0\.0\.1|\[::\]|\[::1\]):\d+: .*({message})"
        ) as caught:
            await sender.send(CALL)

    assert caught.value.sent
    assert isinstance(caught.value.__cause__, httpx.HTTPError)
    assert isinstance(caught.value, ExchangeUnavailable)


async def test_nobody_listening_means_that_nothing_was_sent() -> None:
    """Then the request costs nothing, however often it is tried."""
    async with open_server(send(b"")) as url:
        pass
    async with open_http_sender(url, timeout_s=5, connections_max=1) as sender:
        with pytest.raises(SendFailed, match="ConnectError") as caught:
            await sender.send(CALL)

    assert not caught.value.sent


async def test_a_name_that_does_not_exist_is_told_as_such() -> None:
    """`.invalid` is promised never to exist."""
    async with open_http_sender("https://x.invalid", timeout_s=5, connections_max=1) as sender:
        with pytest.raises(SendFailed, match=r"^x\.invalid: ") as caught:
            await sender.send(CALL)

    assert not caught.value.sent


async def test_speaking_tls_to_a_server_that_does_not_sends_nothing() -> None:
    """A wrong port or a captive portal; the handshake comes before the request."""
    async with (
        open_server(send(b"")) as url,
        open_http_sender(
            url.replace("http:", "https:"), timeout_s=0.5, connections_max=1
        ) as sender,
    ):
        with pytest.raises(SendFailed, match=r"ConnectTimeout|ConnectError") as caught:
            await sender.send(CALL)

    assert not caught.value.sent


async def test_a_server_that_hangs_is_given_up_on() -> None:
    """The time is for the whole: a byte now and then does not prolong it."""

    async def drip(stream: trio.SocketStream, _head: bytes) -> None:
        for byte in HALF:
            await stream.send_all(bytes([byte]))
            await trio.sleep(0.01)
        await trio.sleep_forever()

    async with open_pair(drip, timeout_s=0.2) as sender:
        with pytest.raises(SendFailed, match=r"no whole answer within 0\.2 s") as caught:
            await sender.send(CALL)

    assert caught.value.sent


async def test_waiting_for_a_turn_is_not_sending() -> None:
    """Who never got a connection has sent nothing."""

    async def hang(_stream: trio.SocketStream, _head: bytes) -> None:
        await trio.sleep_forever()

    failures: list[SendFailed] = []

    async with open_pair(hang, timeout_s=0.1, connections=1) as sender:

        async def try_it() -> None:
            with pytest.raises(SendFailed, match="no whole answer") as caught:
                await sender.send(CALL)
            failures.append(caught.value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(try_it)
            nursery.start_soon(try_it)

    assert sorted(failure.sent for failure in failures) == [False, True]


async def test_a_cancelled_request_leaves_the_sender_usable() -> None:
    """Cancellation passes through, and the connection is not taken for a good one."""
    first = True

    async def play(stream: trio.SocketStream, _head: bytes) -> None:
        nonlocal first
        if first:
            first = False
            await stream.send_all(HALF)
            return
        await stream.send_all(reply(b"[]"))

    async with open_pair(play, connections=1) as sender:
        with trio.move_on_after(0.05) as scope:
            await sender.send(CALL)
        assert scope.cancelled_caught
        assert (await sender.send(CALL)).body == b"[]"


async def test_a_body_without_end_is_cut_off() -> None:
    """Memory is ours; the bound is far above any real answer."""
    block = b"x" * 65536

    async def play(stream: trio.SocketStream, _head: bytes) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while True:
            await stream.send_all(block)

    async with open_pair(play) as sender:
        with pytest.raises(MalformedPayload, match=f"at most {BODY_BYTES_MAX} bytes, was more"):
            await sender.send(CALL)


async def test_a_small_body_that_unpacks_to_a_huge_one_is_cut_off() -> None:
    """A thousandfold, if it is all the same letter."""
    packed = gzip.compress(b" " * (BODY_BYTES_MAX + 1))
    async with open_pair(send(reply(packed, "Content-Encoding: gzip"))) as sender:
        with pytest.raises(MalformedPayload, match="was more"):
            await sender.send(CALL)


@pytest.mark.parametrize(
    ("body", "encoding", "message"),
    [
        (b"not gzip", "gzip", "wanted a body as gzip: "),
        (
            gzip.compress(b"[]" * 1000, mtime=0)[:-9],
            "gzip",
            "wanted a whole gzip body, was the beginning",
        ),
        (b"", "gzip", "was the beginning"),
        (b"[]", "br", "wanted a body as gzip, was 'br'"),
    ],
)
async def test_a_body_that_cannot_be_unpacked_is_malformed(
    body: bytes, encoding: str, message: str
) -> None:
    """It came whole, and is wrong."""
    async with open_pair(send(reply(body, f"Content-Encoding: {encoding}"))) as sender:
        with pytest.raises(MalformedPayload, match=message):
            await sender.send(CALL)
        with pytest.raises(MalformedPayload, match=message):
            await sender.send(CALL)


async def test_a_transport_in_this_process_may_take_the_networks_place() -> None:
    """So does the embedded sandbox; its bodies come whole."""

    async def answer(request: httpx.Request) -> httpx.Response:
        big = request.url.params["market"] == "KRW-BIG"
        return httpx.Response(200, content=b" " * (BODY_BYTES_MAX + 1) if big else b"[]")

    transport = httpx.MockTransport(answer)
    async with open_http_sender(
        "http://sandbox", timeout_s=5, connections_max=1, transport=transport
    ) as sender:
        assert (await sender.send(CALL)).body == b"[]"
        with pytest.raises(MalformedPayload, match="was more"):
            await sender.send(replace(CALL, params=(("market", "KRW-BIG"),)))


# ------------------------------------------------------------------ settings


@pytest.mark.parametrize(
    ("url", "timeout_s", "connections", "message"),
    [
        ("api.upbit.com", 1.0, 1, "must begin with http:// or https://"),
        ("ftp://api.upbit.com", 1.0, 1, "must begin with http:// or https://"),
        ("https://", 1.0, 1, "and a host"),
        ("http://[::1", 1.0, 1, "base_url must be a URL"),
        ("https://x", 0.0, 1, "timeout_s must be above zero and finite, was 0"),
        ("https://x", float("inf"), 1, "finite, was inf"),
        ("https://x", float("nan"), 1, "finite, was nan"),
        ("https://x", 1.0, 0, "connections_max must be at least 1, was 0"),
    ],
)
async def test_settings_that_cannot_work_are_refused(
    url: str, timeout_s: float, connections: int, message: str
) -> None:
    """At the start, by name, instead of with each request."""
    with pytest.raises(ValueError, match=message):
        async with open_http_sender(url, timeout_s=timeout_s, connections_max=connections):
            pass


async def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The sandbox on loopback must work on machines behind a proxy, too."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    async with open_pair(send(reply(b"[]"))) as sender:
        assert (await sender.send(CALL)).status == 200
    async with open_http_sender("https://x.invalid", timeout_s=5, connections_max=1) as sender:
        with pytest.raises(SendFailed, match=r"x\.invalid: .*refused|failed") as caught:
            await sender.send(CALL)
    assert not caught.value.sent
