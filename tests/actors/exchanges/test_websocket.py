"""An open stream over real sockets on loopback: what comes through, and how much waits."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
import trio
import trio_websocket
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.extensions import PerMessageDeflate

from actors.errors import MalformedPayload
from actors.exchanges.streams import StreamLost
from actors.exchanges.testing import (
    StreamPeer,
    open_stream_pair,
    open_stream_peer,
    receive_all,
)
from actors.exchanges.websocket import WAITING_BYTES_MAX, open_websocket
from runtime.testing import wait_for

pytestmark = pytest.mark.real_time


# ------------------------------------------------------------------ what comes through


async def test_texts_go_out_and_frames_of_both_kinds_come_in_as_they_are() -> None:
    """Upbit sends binary frames, others text; the decoder has to see which."""
    heard = []

    async def play(peer: StreamPeer) -> None:
        heard.append(await peer.hear())
        await peer.send(b'{"a":1}', "두", b"", "")
        heard.append(await peer.hear())

    async with open_stream_pair(play) as websocket:
        await websocket.send("하나")
        frames: list[bytes | str] = []
        while len(frames) < 4:
            frames += await websocket.receive()
        await websocket.send("2" * 70_000)
        with pytest.raises(StreamLost, match="broke"):
            await websocket.receive()

    assert frames == [b'{"a":1}', "두", b"", ""]
    assert [type(frame) for frame in frames] == [bytes, str, bytes, str]
    assert heard == ["하나", "2" * 70_000]


async def test_all_that_has_arrived_is_received_at_once_and_in_order() -> None:
    """A turn of the scheduler for each frame would cost more than the frame."""
    sent = [str(number).encode() for number in range(20_000)]

    async def play(peer: StreamPeer) -> None:
        await peer.hear()
        await peer.send(*sent)

    async with open_stream_pair(play) as websocket:
        await websocket.send("go")
        batches: list[list[bytes | str]] = []
        while sum(map(len, batches)) < len(sent):
            batches.append(await websocket.receive())

    assert [frame for batch in batches for frame in batch] == sent
    assert len(batches) < len(sent) / 50
    assert all(batches)


async def test_frames_that_come_with_the_handshake_are_not_lost() -> None:
    """A snapshot may be in the same packet as the answer that opens the connection."""

    async def play(peer: StreamPeer) -> None:
        # An unmasked text frame by hand: the peer cannot encode before it has accepted.
        await peer.accept(also=b"\x81\x02hi")
        await peer.hear_out()

    async with (
        open_stream_peer(play) as address,
        open_websocket(f"ws://{address}", timeout_s=5) as websocket,
    ):
        assert await websocket.receive() == ["hi"]


async def test_a_message_in_parts_is_one_frame_whatever_stands_between() -> None:
    """Parts are the transport's affair, and a ping may come between two."""

    async def play(peer: StreamPeer) -> None:
        for number in range(3_000):
            await peer.send(BytesMessage(data=b"%d," % number, message_finished=False))
        await peer.send(Ping(payload=b"?"), b"end", "ha", "text")
        await peer.hear_out()
        assert any(isinstance(event, Pong) and event.payload == b"?" for event in peer.heard)

    async with open_stream_pair(play) as websocket:
        frames: list[bytes | str] = []
        while len(frames) < 3:
            frames += await websocket.receive()

    assert frames == [b"".join(b"%d," % number for number in range(3_000)) + b"end", "ha", "text"]


@pytest.mark.parametrize("server", [True, False])
async def test_compression_is_offered_and_used_if_the_peer_wants_it(server: bool) -> None:  # noqa: FBT001
    """It saves four fifths of the traffic; and a peer may not want it."""
    texts = [f'{{"code":"KRW-BTC","price":{number}}}' for number in range(100)]
    heard = []

    async def play(peer: StreamPeer) -> None:
        await peer.accept(extensions=[PerMessageDeflate()] if server else [])
        heard.append(await peer.hear())
        data = b"".join(peer.encode(text.encode()) for text in texts)
        assert (len(data) < sum(map(len, texts)) / 2) is server
        await peer.raw.send_all(data + peer.encode(CloseConnection(code=1000)))

    async with (
        open_stream_peer(play) as address,
        open_websocket(f"ws://{address}/", timeout_s=5) as websocket,
    ):
        assert websocket.compressed is server
        await websocket.send("go")
        frames, _ = await receive_all(websocket)

    assert frames == [text.encode() for text in texts]
    assert heard == ["go"]


async def test_it_understands_the_server_of_the_library_it_is_built_on() -> None:
    """Two sides written by one hand could agree on a mistake."""

    async def serve(request: trio_websocket.WebSocketRequest) -> None:
        server = await request.accept()
        text = await server.get_message()
        assert isinstance(text, str)
        await server.send_message(f"{request.path} {text}")
        await server.aclose(code=4001, reason="enough")

    async with trio.open_nursery() as nursery:
        listening = await nursery.start(trio_websocket.serve_websocket, serve, "127.0.0.1", 0, None)
        async with open_websocket(f"ws://127.0.0.1:{listening.port}/a?b=c", timeout_s=5) as ours:
            await ours.send("hello")
            assert await ours.receive() == ["/a?b=c hello"]
            with pytest.raises(StreamLost, match=r"closed the connection: 4001 enough"):
                await ours.receive()
        nursery.cancel_scope.cancel()


async def test_pings_go_both_ways() -> None:
    """Ours keep the connection open, theirs must be answered, and nobody waits for either."""
    heard = []

    async def play(peer: StreamPeer) -> None:
        await peer.send(Ping(payload=b"1"))
        await peer.hear()
        heard.extend(peer.heard)
        await peer.send(Pong(payload=b""), "last")
        await peer.hear_out()

    async with open_stream_pair(play) as websocket:
        for _ in range(3):
            await websocket.ping()
        await websocket.send("text")
        assert await websocket.receive() == ["last"]

    assert [type(event) for event in heard].count(Ping) == 3


async def test_who_does_not_receive_makes_the_peer_wait_and_loses_nothing() -> None:
    """Memory is bounded by what is read, and TCP tells the peer."""
    chunk = os.urandom(100_000)
    sent = 0

    async def play(peer: StreamPeer) -> None:
        nonlocal sent
        for number in range(400):
            await peer.send(number.to_bytes(4, "big") + chunk)
            sent += 1
        await peer.send(CloseConnection(code=1000))

    async with open_stream_pair(play) as websocket:
        await stands_still(lambda: sent)
        # What the system buffers for both sides comes on top.
        assert WAITING_BYTES_MAX / 100_000 <= sent < 390
        frames, _ = await receive_all(websocket)

    assert [frame[:4] for frame in frames] == [n.to_bytes(4, "big") for n in range(400)]


async def stands_still(count: Callable[[], int]) -> None:
    """Return when `count` has not changed for a while."""
    seen, times = -1, 0
    while times < 20:
        times, seen = (times + 1, seen) if count() == seen else (0, count())
        before_s = trio.current_time()
        await wait_for(lambda: trio.current_time() > before_s + 0.005)  # noqa: B023 - at once


async def test_a_cancelled_receive_loses_no_frame() -> None:
    """Whoever waits with a deadline asks again."""
    sent = [b"%d" % number for number in range(2_000)]

    async def play(peer: StreamPeer) -> None:
        for each in sent:
            await peer.send(each)
        await peer.hear_out()

    found: list[bytes | str] = []
    async with open_stream_pair(play) as websocket:
        while len(found) < len(sent):
            with trio.move_on_after(0.0001):
                found += await websocket.receive()
            with trio.CancelScope() as scope:
                scope.cancel()
                found += await websocket.receive()

    assert found == sent


async def test_text_messages_of_the_peer_are_checked_by_the_bounds_too() -> None:
    """A text is counted by its characters."""

    async def play(peer: StreamPeer) -> None:
        await peer.send(TextMessage(data="한" * 1_000), TextMessage(data="한" * 1_001))
        await peer.hear_out()

    async with open_stream_pair(play, message_bytes_max=1_000) as websocket:
        assert await websocket.receive() == ["한" * 1_000]
        with pytest.raises(MalformedPayload, match="larger"):
            await websocket.receive()
