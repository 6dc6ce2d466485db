"""The local socket: private, never stolen from the living, never blocked by the dead."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from runtime.bound_socket import BoundSocket, SocketTaken
from runtime.config import SettingsError
from runtime.transport import (
    PeerRefused,
    RuntimeUnreachable,
    check_peer,
    connect_blocking,
    find_target,
)
from runtime.transport_trio import LocalListener, connect_trio

KINDS = pytest.mark.parametrize("unix", [True, False], ids=["unix", "tcp"])


@KINDS
def test_file_of_the_socket_is_for_its_owner_only(tmp_path: Path, unix: bool) -> None:  # noqa: FBT001
    """Whoever can connect can ask for everything."""
    bound = BoundSocket(tmp_path / "folder" / "c.sock", unix=unix)

    assert bound.path.lstat().st_mode & 0o777 == 0o600
    assert bound.path.parent.stat().st_mode & 0o777 == 0o700
    bound.close()


@KINDS
def test_closing_removes_the_file_and_lets_the_next_one_listen(
    tmp_path: Path,
    unix: bool,  # noqa: FBT001
) -> None:
    """An actor that was restarted listens again at once."""
    for _ in range(3):
        bound = BoundSocket(tmp_path / "c.sock", unix=unix)
        bound.close()
        assert not bound.path.exists()


@KINDS
def test_living_socket_is_never_stolen(tmp_path: Path, unix: bool) -> None:  # noqa: FBT001
    """Two runtimes at one path: the second must not take the bots of the first."""
    first = BoundSocket(tmp_path / "c.sock", unix=unix)

    with pytest.raises(SocketTaken, match=r"another runtime has the socket .*c\.sock; stop it"):
        BoundSocket(tmp_path / "c.sock", unix=unix)

    connect_blocking(tmp_path / "c.sock", timeout_s=1).close()
    first.close()


def test_socket_of_another_program_is_never_stolen(tmp_path: Path) -> None:
    """It has no lock of ours, but somebody answers."""
    path = tmp_path / "c.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen(0)
        # A full queue must not pass for death either.
        with socket.socket(socket.AF_UNIX) as waiting:
            waiting.connect(str(path))
            with pytest.raises(SocketTaken, match="another program listens"):
                BoundSocket(path)
    assert path.exists()


@KINDS
def test_file_of_a_dead_runtime_is_replaced(tmp_path: Path, unix: bool) -> None:  # noqa: FBT001
    """After `kill -9` the next start must not need a person."""
    path = tmp_path / "c.sock"
    program = (
        "import os, sys, pathlib; from runtime.bound_socket import BoundSocket\n"
        f"BoundSocket(pathlib.Path(sys.argv[1]), unix={unix}); os._exit(0)"
    )
    root = str(Path(__file__).resolve().parents[2])
    subprocess.run([sys.executable, "-c", program, str(path)], check=True, cwd=root, timeout=30)
    assert path.exists()

    BoundSocket(path, unix=unix).close()


def test_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    """A wrong path in the settings must not delete somebody's work."""
    path = tmp_path / "thesis.txt"
    path.write_text("years of work")

    with pytest.raises(SocketTaken, match="something that is no socket is in the way"):
        BoundSocket(path)

    assert path.read_text() == "years of work"


def test_file_put_in_place_of_ours_survives_our_end(tmp_path: Path) -> None:
    """Somebody removed our file and made another: that one is not ours to remove."""
    bound = BoundSocket(tmp_path / "c.sock")
    bound.path.unlink()
    bound.path.write_text("mine")

    bound.close()

    assert bound.path.read_text() == "mine"


def test_lock_is_given_back_when_listening_fails(tmp_path: Path) -> None:
    """Else the next attempt would find the socket taken by nobody."""
    path = tmp_path / "c.sock"
    path.mkdir()

    for _ in range(2):
        with pytest.raises(SocketTaken, match="in the way"):
            BoundSocket(path)
    path.rmdir()
    BoundSocket(path).close()


def test_folder_that_cannot_be_made_is_said_so(tmp_path: Path) -> None:
    """A setting is wrong; a traceback would not say which."""
    (tmp_path / "file").write_text("")

    with pytest.raises(SettingsError, match="cannot be made"):
        BoundSocket(tmp_path / "file" / "c.sock")


@pytest.mark.parametrize("kind", ["nothing", "file", "folder", "pipe", "dead"])
def test_no_runtime_is_said_with_the_path_and_the_way_out(tmp_path: Path, kind: str) -> None:
    """The most common error of all: nobody has started it yet."""
    path = tmp_path / "c.sock"
    if kind == "file":
        path.write_text("12 abc")
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "dead":
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))

    with pytest.raises(RuntimeUnreachable, match=r"c\.sock.*(start one with|is not the socket)"):
        connect_blocking(path, timeout_s=1)


def test_process_of_another_user_is_refused() -> None:
    """On a shared machine a socket at the right path may still be a stranger's."""

    class Stranger:
        family = socket.AF_UNIX

        def getsockopt(self, *_: Any) -> bytes:
            return b"".join(number.to_bytes(4, sys.byteorder) for number in (1, 4_711, 4_711))

    with pytest.raises(PeerRefused, match="belongs to user 4711"):
        check_peer(Stranger())


@pytest.mark.real_time
@KINDS
async def test_listener_and_clients_find_each_other(tmp_path: Path, unix: bool) -> None:  # noqa: FBT001
    """Both ways of connecting, both kinds of socket."""
    path = tmp_path / "c.sock"
    listener = LocalListener(path, unix=unix)
    with trio.fail_after(5):
        for blocking in (True, False):
            near: Any
            near = connect_blocking(path, timeout_s=1) if blocking else await connect_trio(path)
            far = await listener.accept()
            await listener.admit(far)
            await far.send_all(b"hello")
            if blocking:
                assert near.recv(5) == b"hello"
                near.close()
            else:
                assert await near.receive_some() == b"hello"
                await near.aclose()
            await far.aclose()
    listener.close()


@pytest.mark.real_time
@pytest.mark.parametrize("said", [b"", b"\n", b"0" * 64 + b"\n", b"0" * 70])
async def test_client_on_tcp_without_the_token_is_refused(tmp_path: Path, said: bytes) -> None:
    """Anybody on the machine can reach a port; the token is in a file of the owner's."""
    path = tmp_path / "c.sock"
    listener = LocalListener(path, unix=False)
    port = find_target(path).address[1]
    with trio.fail_after(5):
        near = await trio.open_tcp_stream("127.0.0.1", int(port))
        far = await listener.accept()
        await near.send_all(said)
        await near.send_eof()
        with pytest.raises(PeerRefused, match="did not send the token"):
            await listener.admit(far)
        await near.aclose()
        await far.aclose()
    listener.close()


@pytest.mark.real_time
async def test_greeting_does_not_swallow_the_first_request(tmp_path: Path) -> None:
    """A quick client sends both in one packet."""
    path = tmp_path / "c.sock"
    listener = LocalListener(path, unix=False)
    with trio.fail_after(5):
        near = connect_blocking(path, timeout_s=1)
        near.sendall(b"request\n")
        far = await listener.accept()
        await listener.admit(far)
        assert await far.receive_some() == b"request\n"
        near.close()
        await far.aclose()
    listener.close()


@pytest.mark.real_time
async def test_connecting_on_trio_to_nobody_says_what_to_do(tmp_path: Path) -> None:
    """The same words as from the blocking client."""
    with pytest.raises(RuntimeUnreachable, match="start one with `marketd`"):
        await connect_trio(tmp_path / "c.sock")
