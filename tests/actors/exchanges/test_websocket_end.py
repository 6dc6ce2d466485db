"""An open stream over real sockets on loopback: every way it can end, and leaving it."""

from __future__ import annotations

import re
import socket
import struct
import zlib

import pytest
import trio
from wsproto.events import BytesMessage, CloseConnection
from wsproto.extensions import PerMessageDeflate

from actors.errors import MalformedPayload
from actors.exchanges.streams import StreamLost
from actors.exchanges.testing import (
    StreamPeer,
    open_stream_pair,
    open_stream_peer,
    receive_all,
)
from actors.exchanges.websocket import open_websocket

pytestmark = pytest.mark.real_time


async def answer(peer: StreamPeer) -> None:
    """Open the connection and wait for its end."""
    await peer.accept()
    await peer.hear_out()


# ------------------------------------------------------------------ how it ends


@pytest.mark.parametrize(
    ("code", "reason", "words"),
    [
        (1000, "bye", "closed the connection: 1000 bye"),
        (1001, "", "closed the connection: 1001 GOING_AWAY"),
        (4008, "slow\nreader", "closed the connection: 4008 slow reader"),
        (4009, "", "closed the connection: 4009 without a word"),
    ],
)
async def test_a_goodbye_is_told_with_its_code_and_reason(
    code: int, reason: str, words: str
) -> None:
    """It comes after the last frame, at once, and every time; even if the peer keeps the line."""

    async def play(peer: StreamPeer) -> None:
        await peer.send("last", CloseConnection(code=code, reason=reason))
        await peer.hear_out()

    async with open_stream_pair(play) as websocket:
        assert await websocket.receive() == ["last"]
        for _ in range(2):
            with pytest.raises(StreamLost, match=words):
                await websocket.receive()
        with pytest.raises(StreamLost, match=words):
            await websocket.send("too late")
        with pytest.raises(StreamLost, match=words):
            await websocket.ping()


@pytest.mark.parametrize("reset", [False, True])
async def test_a_line_that_is_cut_is_told_after_the_last_frame(reset: bool) -> None:  # noqa: FBT001
    """With the words of the system where it has some."""

    async def play(peer: StreamPeer) -> None:
        await peer.send("last")
        await peer.hear()
        assert isinstance(peer.raw, trio.SocketStream)
        if reset:
            peer.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async with open_stream_pair(play) as websocket:
        assert await websocket.receive() == ["last"]
        await websocket.send("cut it")
        with pytest.raises(StreamLost, match="reset by peer" if reset else "broke: it hung up"):
            await websocket.receive()
        with pytest.raises(StreamLost, match="the connection broke"):
            await websocket.send("x")


@pytest.mark.parametrize(
    ("garbage", "words"),
    [
        (b"HTTP/1.1 500 Internal Server Error\r\n\r\n", "breaks the protocol"),
        (b"\xff" * 20, "breaks the protocol"),
        (b"\x81\x82mask12", "breaks the protocol: .*masked"),
        (b"\x81\x02\xff\xfe", "breaks the protocol: .*utf-8"),
        (b"\x80\x01x", "breaks the protocol: .*CONTINUATION"),
        (b"\x88\x02\x03\xee", "breaks the protocol"),
        (b"\x89\xfe\x00\x00" * 10, "breaks the protocol"),
        (b"\xc1\x02hi", "breaks the protocol: Reserved bit"),
    ],
)
async def test_garbage_ends_the_connection_after_the_good_frames(
    garbage: bytes, words: str
) -> None:
    """What cannot be understood is not skipped; and the peer is told whose fault it was."""
    ended = trio.Event()

    async def play(peer: StreamPeer) -> None:
        await peer.send("good")
        await peer.raw.send_all(garbage)
        [goodbye] = await peer.hear_out()
        assert isinstance(goodbye, CloseConnection)
        assert goodbye.code == 1002
        ended.set()

    async with open_stream_pair(play) as websocket:
        frames, how = await receive_all(websocket)
        assert frames == ["good"]
        assert re.search(words, how)
        with pytest.raises(StreamLost, match=words):
            await websocket.send("x")
        with trio.fail_after(2):
            await ended.wait()


@pytest.mark.parametrize("parts", [1, 7])
async def test_a_message_that_is_too_large_ends_the_connection(parts: int) -> None:
    """It is not kept until it is whole, and its rest is not taken for a message."""
    ended = trio.Event()

    async def play(peer: StreamPeer) -> None:
        await peer.send(b"x" * 1_000)
        for part in range(parts):
            await peer.send(
                BytesMessage(data=b"x" * (1_001 // parts + 1), message_finished=part == parts - 1)
            )
        codes = [each.code for each in await peer.hear_out() if isinstance(each, CloseConnection)]
        assert codes == [1009]
        ended.set()

    async with open_stream_pair(play, message_bytes_max=1_000) as websocket:
        assert await websocket.receive() == [b"x" * 1_000]
        for _ in range(2):
            with pytest.raises(MalformedPayload, match=r"larger than 1000 bytes"):
                await websocket.receive()
        with trio.fail_after(2):
            await ended.wait()
        with pytest.raises(StreamLost, match="larger than 1000 bytes"):
            await websocket.send("x")


async def test_a_packed_message_is_unpacked_no_further_than_wanted() -> None:
    """A few kilobytes can hold gigabytes."""
    pack = zlib.compressobj(wbits=-15)
    bomb = pack.compress(bytes(50_000_000)) + pack.flush(zlib.Z_SYNC_FLUSH)

    async def play(peer: StreamPeer) -> None:
        await peer.accept(extensions=[PerMessageDeflate()])
        await peer.raw.send_all(struct.pack("!BBH", 0xC2, 126, len(bomb)) + bomb)
        await peer.hear_out()

    async with (
        open_stream_peer(play) as address,
        open_websocket(f"ws://{address}/", timeout_s=5, message_bytes_max=10_000) as websocket,
    ):
        with pytest.raises(MalformedPayload, match="larger than"):
            await websocket.receive()


# ------------------------------------------------------------------ leaving


@pytest.mark.slow
@pytest.mark.parametrize("talks", [False, True])
async def test_leaving_is_quick_though_the_peer_does_not_answer(talks: bool) -> None:  # noqa: FBT001
    """A rotation must not wait for a peer that is not there, nor for one that will not stop.

    Slow because it takes the second that the peer is given.
    """

    async def play(peer: StreamPeer) -> None:
        while talks:
            await peer.send(b"x" * 10_000)
        await trio.sleep_forever()

    async with open_stream_pair(play) as websocket:
        if talks:
            await websocket.receive()
        began_s = trio.current_time()

    assert trio.current_time() - began_s < 1.5


async def test_leaving_says_goodbye_and_is_immediate_if_it_is_answered() -> None:
    """So that the peer frees what it holds for us."""
    heard: list[object] = []

    async def play(peer: StreamPeer) -> None:
        heard.extend(await peer.hear_out())
        await peer.send(CloseConnection(code=1000))
        # Not before the client has hung up: the answer alone has to do.
        await peer.raw.receive_some()

    async with open_stream_pair(play):
        began_s = trio.current_time()

    assert trio.current_time() - began_s < 0.5
    assert heard == [CloseConnection(code=1000, reason="")]


async def test_who_still_receives_when_it_is_left_is_told_so() -> None:
    """A task of somebody else must not wait for ever."""
    async with trio.open_nursery() as nursery:

        async def receive() -> None:
            with pytest.raises(StreamLost, match="the connection was left"):
                await websocket.receive()

        async with open_stream_pair(StreamPeer.hear_out) as websocket:
            nursery.start_soon(receive)
            await trio.lowlevel.checkpoint()
        with pytest.raises(StreamLost, match="the connection was left"):
            await websocket.send("text")


async def test_leaving_raises_nothing_of_its_own_when_the_peer_has_gone() -> None:
    """Whoever leaves because the connection broke has an error already, or wants none."""

    async def play(_peer: StreamPeer) -> None:
        """Hang up."""

    async with open_stream_pair(play) as websocket:
        with pytest.raises(StreamLost, match="hung up"):
            await websocket.receive()


async def test_the_error_of_the_block_leaves_as_it_was_raised() -> None:
    """Not in a group, not with another cause; also when a cancellation comes at the same time."""
    error = ZeroDivisionError("mine")

    async def fail(address: str, scope: trio.CancelScope | None = None) -> None:
        async with open_websocket(f"ws://{address}", timeout_s=5):
            if scope is not None:
                scope.cancel()
            raise error

    async with open_stream_peer(answer) as address:
        with pytest.raises(ZeroDivisionError, match="mine") as caught:
            await fail(address)
        assert caught.value is error
        assert (error.__cause__, error.__context__) == (None, None)
        with trio.CancelScope() as scope:
            with pytest.raises(ZeroDivisionError, match="mine") as caught:
                await fail(address, scope)
            assert caught.value is error


@pytest.mark.parametrize("where", ["receive", "send", "leave"])
async def test_a_cancellation_passes_and_closes_the_connection(where: str) -> None:
    """A feed that is stopped stops now, whatever it was doing."""

    async def play(peer: StreamPeer) -> None:
        if where != "send":
            await peer.hear_out()
            return
        await trio.sleep_forever()

    with trio.move_on_after(5) as scope:
        async with open_stream_pair(play) as websocket:
            scope.deadline = trio.current_time() + 0.02
            if where == "receive":
                await websocket.receive()
            while where == "send":
                await websocket.send("x" * 1_000_000)
            scope.cancel()
    assert scope.cancelled_caught or where == "leave"
    assert trio.current_time() - scope.deadline < 2.5


async def test_after_a_text_given_up_in_the_middle_nothing_more_is_sent() -> None:
    """The peer would read the next text as the rest of it."""

    async def play(_peer: StreamPeer) -> None:
        await trio.sleep_forever()

    async with open_stream_pair(play) as websocket:
        with trio.move_on_after(0.02) as scope:
            while True:
                await websocket.send("x" * 1_000_000)
        assert scope.cancelled_caught
        with pytest.raises(StreamLost, match="given up in the middle"):
            await websocket.send("y")
