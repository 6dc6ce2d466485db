"""Opening a stream over real sockets on loopback: what is asked, and every way it can be refused.

The last tests hold the few internals of trio-websocket and wsproto that the driver builds upon.
"""

from __future__ import annotations

import inspect
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
import trio_websocket
from wsproto import WSConnection
from wsproto.extensions import PerMessageDeflate

from actors.exchanges.dial import check_url, dial
from actors.exchanges.streams import StreamLost
from actors.exchanges.testing import StreamPeer, open_stream_peer
from actors.exchanges.upbit.refusals import named_wait_s
from actors.exchanges.websocket import open_websocket

pytestmark = pytest.mark.real_time

Play = Callable[[StreamPeer], Awaitable[object]]

# Of `localhost`, signed by itself, valid from 2000 to 2099; made with openssl, used nowhere else.
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBIDCB06ADAgECAgEBMAUGAytlcDAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwIBcN
MDAwMTAxMDAwMDAwWhgPMjA5OTEyMzEyMzU5NTlaMBQxEjAQBgNVBAMMCWxvY2Fs
aG9zdDAqMAUGAytlcAMhAD2MAnbvp1fuLMYvdMPavoIPDruZAyTyY6uM5IVNJpvG
o0gwRjAUBgNVHREEDTALgglsb2NhbGhvc3QwDwYDVR0TAQH/BAUwAwEB/zAdBgNV
HQ4EFgQUo0ZZn1iU+4fEGQKh8E/0uUHqsQcwBQYDK2VwA0EAh+WscHBzRByCO+PW
X0U6KBby11JtR/xYZftmBDj1hmUHFijGTrPEsr6Fv9sAPzpjL2nshnOUY3yYka6i
Y/m3Cw==
-----END CERTIFICATE-----
"""
KEY = "MC4CAQAwBQYDK2VwBCIEIH4h3282lNJlYVOZ8PT3IptoltyFsvwz/5Ye7L2g3Ovj"


def by_hand(response: str, *, hang_up: bool = True) -> Play:
    """Answer the handshake with this text."""

    async def play(peer: StreamPeer) -> None:
        await peer.read_head()
        await peer.raw.send_all(response.encode())
        if not hang_up:
            await trio.sleep_forever()

    return play


async def refusal(play: Play, *, timeout_s: float = 5.0) -> StreamLost:
    """Return the error of a connection that cannot be had."""
    async with open_stream_peer(play) as address:
        with pytest.raises(StreamLost, match=f"^{address}: ") as caught:
            await open_and_leave(f"ws://{address}/", timeout_s=timeout_s)
    return caught.value


async def open_and_leave(
    url: str, *, timeout_s: float = 5.0, tls: ssl.SSLContext | None = None
) -> None:
    """Open a connection and leave it at once."""
    async with open_websocket(url, timeout_s=timeout_s, tls=tls, read_wait_s=named_wait_s):
        pass


# ------------------------------------------------------------------ what is asked


async def test_the_request_is_plain_and_offers_to_compress() -> None:
    """An `Origin` header would leave us one connection in ten seconds."""
    heads: list[str] = []

    async def play(peer: StreamPeer) -> None:
        heads.append((await peer.read_head()).decode())

    async with open_stream_peer(play) as address:
        with pytest.raises(StreamLost, match="no handshake: the connection broke: it hung up"):
            await open_and_leave(f"ws://{address}/websocket/v1?a=b%20c")

    first, *lines = heads[0].split("\r\n")
    named = dict(line.lower().split(": ", 1) for line in lines if line)
    assert first == "GET /websocket/v1?a=b%20c HTTP/1.1"
    assert named["host"] == address
    assert named["user-agent"].startswith("marketd/")
    assert "permessage-deflate" in named["sec-websocket-extensions"]
    assert not {"origin", "cookie", "referer", "sec-websocket-protocol"} & set(named)


async def test_ipv6_works() -> None:
    """Brackets in a URL are easily lost on the way."""

    async def play(peer: StreamPeer) -> None:
        await peer.accept()
        assert peer.request is not None
        await peer.send(peer.request.host)
        await peer.hear_out()

    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    async with (
        open_stream_peer(play, host="::1") as address,
        open_websocket(f"ws://{address}", timeout_s=5) as websocket,
    ):
        assert await websocket.receive() == [address]


async def test_tls_is_verified(tmp_path: Path) -> None:
    """Prices of somebody who only says that he is the exchange are worse than none."""
    names: list[str | None] = []
    (tmp_path / "certificate").write_text(CERTIFICATE)
    (tmp_path / "key").write_text(f"-----BEGIN PRIVATE KEY-----\n{KEY}\n-----END PRIVATE KEY-----")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    server.sni_callback = lambda _socket, name, _context: names.append(name)
    trusting = ssl.create_default_context(cadata=CERTIFICATE)

    async def play(peer: StreamPeer) -> None:
        await peer.accept()
        await peer.send(await peer.hear())
        await peer.hear_out()

    def secure(stream: trio.SocketStream) -> trio.abc.Stream:
        return trio.SSLStream(stream, server, server_side=True, https_compatible=True)

    async with open_stream_peer(play, secure=secure) as address:
        port = address.rpartition(":")[2]
        async with open_websocket(
            f"wss://localhost:{port}/", timeout_s=5, tls=trusting
        ) as websocket:
            await websocket.send("hello")
            assert await websocket.receive() == ["hello"]
        for url, tls, words in [
            (f"wss://localhost:{port}", None, "certificate is not trusted: self-signed"),
            (f"wss://{address}", trusting, "certificate is not trusted: IP address mismatch"),
        ]:
            with pytest.raises(StreamLost, match=words) as caught:
                await open_and_leave(url, tls=tls)
            assert caught.value.sent is False

    assert names[:2] == ["localhost", "localhost"]


@pytest.mark.parametrize(
    "url",
    ["", "http://x/", "ws://", "ws://x:0", "ws://x:99999", "ws://[::1", "ws://a:b@x/", "ws://x/\n"],
)
async def test_a_url_that_cannot_work_is_said_at_once(url: str) -> None:
    """It is a setting, and no reason to try again for ever."""
    with pytest.raises(ValueError, match="url must begin with ws:// or wss:// and a host, was"):
        await open_and_leave(url)


async def test_other_settings_that_cannot_work_are_said_too() -> None:
    """Before anything is sent."""
    with pytest.raises(ValueError, match="timeout_s must be above zero and finite, was 0"):
        await open_and_leave("ws://x/", timeout_s=0)
    with pytest.raises(ValueError, match="message_bytes_max must be at least 1, was 0"):
        async with open_websocket("ws://x/", timeout_s=1, message_bytes_max=0):
            pass


# ------------------------------------------------------------------ how it is refused


A_MINUTE = "Date: Sat, 21 Nov 2026 05:00:00 GMT\r\nRetry-After: Sat, 21 Nov 2026 05:01:00 GMT\r\n"


@pytest.mark.parametrize("hang_up", [True, False])
@pytest.mark.parametrize(
    ("response", "status", "retry_after_s", "words"),
    [
        (
            "429 Too Many\r\nContent-Length: 23\r\n\r\nToo many\nrequests, pals",
            429,
            None,
            "429 Too many requests, pals",
        ),
        ("418 Tea\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n", 418, 30.0, "418"),
        (
            "418 Tea\r\nContent-Length: 22\r\n\r\nblocked for 90 seconds",
            418,
            90.0,
            "418 blocked for 90 seconds",
        ),
        (
            f"503 No\r\n{A_MINUTE}Content-Length: 0\r\n\r\n",
            503,
            60.0,
            "503",
        ),
        ("502 Bad\r\nRetry-After: soon\r\nContent-Length: 3\r\n\r\n<b>", 502, None, "502 <b>"),
        ("200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, None, "200 hi"),
        ("301 Moved\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", 301, None, "301"),
        # No length: its end is the end of the connection, or nothing at all.
        ("429 Too Many\r\nRetry-After: 7\r\n\r\nwords", 429, 7.0, "429 words"),
        ("500 Oh\r\nContent-Length: 99\r\n\r\nhalf", 500, None, "500 half"),
        # No end at all.
        ("403 No\r\n\r\n" + "x" * 10_000, 403, None, "403 xxx"),
    ],
)
async def test_a_refusal_is_told_with_status_words_and_wait(
    response: str, status: int, retry_after_s: float | None, words: str, *, hang_up: bool
) -> None:
    """The limiter needs all of it; and who refuses often does so carelessly."""
    error = await refusal(by_hand(f"HTTP/1.1 {response}", hang_up=hang_up), timeout_s=0.3)

    assert (error.status, error.retry_after_s, error.sent) == (status, retry_after_s, True)
    assert f": it refused the connection: {words}" in str(error)
    assert len(str(error)) < 400
    assert str(error).isprintable()


ACCEPT = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: {}\r\n\r\n"
)


@pytest.mark.parametrize(
    ("response", "words"),
    [
        ("SSH-2.0-OpenSSH_9.6\r\n\r\n", "no handshake: it breaks the protocol: Bad HTTP message"),
        (ACCEPT.format("wrong"), "no handshake: it breaks the protocol: Bad accept token"),
        ("HTTP/1.1 101 Yes\r\n\r\n", "no handshake: it breaks the protocol: Missing header"),
        ("\x00" * 70_000, "no handshake: "),
        ("HTTP/1.1 200", "no handshake: the connection broke: it hung up"),
        ("", "no handshake: the connection broke: it hung up"),
    ],
)
async def test_what_is_no_handshake_is_told_in_words(response: str, words: str) -> None:
    """Something else may listen there, and whoever set it up has to find out what."""
    error = await refusal(by_hand(response))

    assert words in str(error)
    assert (error.status, error.retry_after_s, error.sent) == (0, None, True)


async def test_an_extension_nobody_offered_is_no_handshake() -> None:
    """Its frames could not be understood."""

    async def play(peer: StreamPeer) -> None:
        class Odd(PerMessageDeflate):
            def accept(self, _offer: str) -> str:
                return "server_max_window_bits=banana"

        await peer.accept(extensions=[Odd()])
        await peer.hear_out()

    error = await refusal(play)
    assert "no handshake: what it sends cannot be read: ValueError" in str(error)


async def test_nobody_there_costs_nothing() -> None:
    """What was not sent is not counted."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    await listeners[0].aclose()
    for host, words in [
        (f"127.0.0.1:{port}", "refused|connect"),
        ("no-such-host.invalid", "gaierror"),
    ]:
        with pytest.raises(StreamLost, match=f"^{host}: .*{words}") as caught:
            await open_and_leave(f"ws://{host}/")
        assert caught.value.sent is False
    with pytest.raises(StreamLost, match=r"a\.\.b: ") as caught:
        await open_and_leave("ws://a..b/")
    assert caught.value.sent is False


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_who_never_answers_is_given_up_in_time(scheme: str) -> None:
    """A connection may have been counted once a word of ours is there; in TLS none is."""

    async def play(_peer: StreamPeer) -> None:
        await trio.sleep_forever()

    async with open_stream_peer(play) as address:
        with pytest.raises(StreamLost, match=r"no connection within 0\.05 s") as caught:
            await open_and_leave(f"{scheme}://{address}/", timeout_s=0.05)
    assert caught.value.sent is (scheme == "ws")


async def test_who_does_not_speak_tls_is_told_so() -> None:
    """A wrong port is a usual mistake."""

    async def play(peer: StreamPeer) -> None:
        await peer.raw.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with open_stream_peer(play) as address:
        with pytest.raises(StreamLost, match="SSL") as caught:
            await open_and_leave(f"wss://{address}/", timeout_s=0.5)
    assert caught.value.sent is False


async def test_a_cancellation_in_the_handshake_passes_and_hangs_up() -> None:
    """A feed that is stopped while it connects leaves nothing behind."""
    gone = trio.Event()

    async def play(peer: StreamPeer) -> None:
        await peer.read_head()
        scope.cancel()
        assert await peer.raw.receive_some() == b""
        gone.set()

    async with open_stream_peer(play) as address:
        with trio.CancelScope() as scope:
            await open_and_leave(f"ws://{address}/")
        assert scope.cancelled_caught
        with trio.fail_after(2):
            await gone.wait()


async def test_the_system_asks_after_a_peer_that_says_nothing() -> None:
    """A peer that vanished leaves a connection that looks alive, for hours if nobody asks."""
    async with open_stream_peer(StreamPeer.read_head) as address:
        stream = await dial(check_url(f"ws://{address}"), None)
        assert isinstance(stream, trio.SocketStream)
        assert stream.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0
        if hasattr(socket, "TCP_KEEPIDLE"):
            assert stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
        await stream.aclose()


# ------------------------------------------------------------------ what we build upon


def test_the_internals_we_use_are_still_there() -> None:
    """Two methods of trio-websocket's connection, one field, and three of wsproto's compression.

    If this fails, read `_Connection` in websocket.py and `Deflate` in websocket_protocol.py.
    """
    connection = trio_websocket.WebSocketConnection
    assert list(inspect.signature(connection._reader_task).parameters) == ["self"]
    assert list(inspect.signature(connection._send).parameters) == ["self", "event"]
    reader = inspect.getsource(connection._reader_task)
    for part in ("self._wsproto.events()", "self._wsproto.receive_data(data)", "_initial_request"):
        assert part in reader
    assert "self._stream.receive_some" in reader
    assert "self._close_reason" in inspect.getsource(connection.send_message)
    unpack = inspect.getsource(PerMessageDeflate.frame_inbound_payload_data)
    for field in ("_decompressor", "_inbound_compressed", "_inbound_is_compressible"):
        assert f"self.{field}" in unpack
    assert {"send", "receive_data", "events", "state"} <= set(dir(WSConnection))
