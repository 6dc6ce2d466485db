"""The daemon as a process: what a service manager hears, and that its stop always ends."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime.client.blocking import connect
from runtime.daemon import status_line
from runtime.testing_operations import sample_state, sample_tree
from runtime.testing_processes import clean_environ
from runtime.tree_reports import Tree

ROOT = Path(__file__).resolve().parents[2]
# Nobody listens there, and nobody is asked.
NO_EXCHANGE = "http://127.0.0.1:9"

pytestmark = [pytest.mark.real_time, pytest.mark.slow]

# A daemon with one thing planted in it, which the name in the first argument chooses.
PROGRAM = """
import signal, sys, threading, time
from contextlib import asynccontextmanager

import trio

from actors.stores.memory import MemoryStore
from runtime.config import load_settings
from runtime.core.clock import SystemClock
from runtime.daemon import run_daemon

what = sys.argv[1]
if what == "outlives its terminal":
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

@asynccontextmanager
async def open_store():
    if what == "hangs in its start":
        print("starting", flush=True)
        await trio.sleep_forever()
    yield MemoryStore(clock=SystemClock())
    while what == "ignores being cancelled":
        try:
            with trio.CancelScope(shield=True):
                await trio.sleep_forever()
        except trio.Cancelled:
            pass

async def culprit():
    if what == "blocks for a while":
        threading.Event().wait(0.6)
        print("unblocked", flush=True)
    elif what == "blocks for ever":
        threading.Event().wait()

def say(line):
    if what == "leaves a thread":
        threading.Thread(target=threading.Event().wait, name="left over").start()
    trio.lowlevel.spawn_system_task(culprit)
    print(line, flush=True)

sys.exit(run_daemon(load_settings(), say=say, open_store=open_store))
"""


class Daemon:
    """A running daemon.

    Attributes:
      socket: Path of its socket.
      process: Its process.
    """

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process = process
        self.socket = folder / "control.sock"
        self._log = folder / "log"

    def line(self) -> str:
        """Return the next line of its standard output."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal; return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(20)

    @property
    def log(self) -> str:
        """Return what it has logged."""
        return self._log.read_text()


@contextmanager
def daemon(
    folder: Path, what: str = "", notify: Path | None = None, **more: str
) -> Iterator[Daemon]:
    """Run a daemon in `folder`, in which `what` is the case."""
    environ = clean_environ(
        RUNTIME__STATE_DIR=str(folder),
        CONTROL__SOCKET=str(folder / "control.sock"),
        EXCHANGES__UPBIT__REST_URL=NO_EXCHANGE,
        **more,
    )
    if notify is not None:
        environ |= {"NOTIFY_SOCKET": str(notify), "WATCHDOG_USEC": "400000"}
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, what],
            stdout=subprocess.PIPE,
            stderr=log,
            env=environ,
            cwd=ROOT,
            text=True,
        )
    try:
        yield Daemon(process, folder)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def notified(tmp_path: Path) -> Iterator[socket.socket]:
    """A socket as systemd has it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(15)
        yield receiver


def hear_for_ever(notified: socket.socket) -> None:
    """Return when nothing comes any more: by the socket's `TimeoutError`."""
    while True:
        notified.recv(1_000)


def test_service_manager_hears_ready_alive_and_stopping(
    tmp_path: Path, notified: socket.socket
) -> None:
    """In this order: a unit of `Type=notify` depends on it."""
    with daemon(tmp_path, notify=tmp_path / "notify") as running:
        assert notified.recv(1_000) == b"READY=1\nSTATUS=ready on the exchange"
        heard = {notified.recv(1_000) for _ in range(5)}
        assert heard == {b"WATCHDOG=1", b"STATUS=ready, 9 actors"}
        assert running.end() == 0
        while (last := notified.recv(1_000)) == b"WATCHDOG=1":
            pass

    assert last == b"STOPPING=1\nSTATUS=stopping: SIGTERM"


def test_watchdog_is_not_fed_while_the_loop_is_blocked(
    tmp_path: Path, notified: socket.socket
) -> None:
    """Then systemd ends the process; ours keeps its own limits."""
    with daemon(tmp_path, "blocks for ever", tmp_path / "notify", RUNTIME__STOP_S="1") as running:
        running.line()
        notified.settimeout(0.8)
        with pytest.raises(TimeoutError, match="timed out"):
            hear_for_ever(notified)
        assert running.end() == 1


def test_blocked_loop_is_named_with_its_stack(tmp_path: Path) -> None:
    """While it blocks, so that the log has it even if it never ends."""
    with daemon(tmp_path, "blocks for a while", RUNTIME__BLOCKED_S="0.2") as running:
        running.line()
        assert running.line() == "unblocked"
        assert running.end() == 0
        log = running.log

    assert "the loop has been blocked for" in log
    assert "in culprit" in log
    assert "the loop runs again" in log


def test_watchdog_thread_may_be_switched_off(tmp_path: Path) -> None:
    """`runtime.blocked_s = 0`."""
    with daemon(tmp_path, "blocks for a while", RUNTIME__BLOCKED_S="0") as running:
        running.line()
        running.line()
        assert running.end() == 0
        assert "blocked" not in running.log


@pytest.mark.parametrize("what", ["blocks for ever", "leaves a thread"])
def test_stop_that_cannot_end_is_ended(what: str, tmp_path: Path) -> None:
    """A blocked loop never hears the signal, and Python waits for threads: neither may matter."""
    with daemon(tmp_path, what, RUNTIME__STOP_S="1") as running:
        running.line()
        assert running.end() == 1
        log = running.log

    assert "the process is ended now, because it has not stopped within 1 s" in log
    assert ("in culprit" if what == "blocks for ever" else "thread left over") in log


def test_actor_that_ignores_being_cancelled_is_left_behind_by_name(tmp_path: Path) -> None:
    """Everything else is put away first, and then there is nothing to wait for.

    Takes the 5 s that an actor has to stop, and the 5 s that it then has to be cancelled.
    """
    with daemon(tmp_path, "ignores being cancelled") as running:
        running.line()
        assert running.end() == 1
        assert not running.socket.exists()
        log = running.log

    assert "store ignored its cancellation for 5 s and is left behind" in log
    assert "the process is ended now, because store ignored being cancelled" in log
    assert "in open_store" in log


def test_signal_ends_a_start_that_hangs(tmp_path: Path) -> None:
    """Whoever presses Ctrl-C does not know that it is still starting."""
    with daemon(tmp_path, "hangs in its start") as running:
        assert running.line() == "starting"
        assert running.end(signal.SIGINT) == 0
        assert "stopping: SIGINT" in running.log


def test_a_closed_terminal_ends_it_well(tmp_path: Path) -> None:
    """Everything is put away, as after Ctrl-C."""
    with daemon(tmp_path) as running:
        running.line()
        assert running.end(signal.SIGHUP) == 0
        assert not running.socket.exists()
        assert "stopping: SIGHUP" in running.log


def test_who_ignores_a_closed_terminal_goes_on(tmp_path: Path) -> None:
    """`nohup` says so before the process begins."""
    with daemon(tmp_path, "outlives its terminal") as running:
        running.line()
        running.process.send_signal(signal.SIGHUP)
        with connect(running.socket) as client:
            assert client.status().pid == running.process.pid
        assert running.end() == 0
        assert "SIGHUP" not in running.log


def test_stop_over_the_socket_ends_it_well(tmp_path: Path) -> None:
    """As the signal does."""
    with daemon(tmp_path) as running:
        running.line()
        with connect(running.socket) as client:
            assert client.stop().pid == running.process.pid
        assert running.process.wait(20) == 0


def test_control_does_not_stop_itself_over_the_socket(tmp_path: Path) -> None:
    """The answer could not be delivered; everything else may be restarted this way."""
    with daemon(tmp_path) as running:
        running.line()
        with connect(running.socket) as client:
            for tell in (client.suspend, client.restart):
                with pytest.raises(Exception, match="control carries this very request"):
                    tell("control")
            assert client.restart("upbit").incarnation == 2
            assert client.restart("store").incarnation == 2
            assert client.trace("store", for_s=0.05).ended == "after 0.05 s"
        assert running.end() == 0


def test_status_line_names_who_is_in_trouble() -> None:
    """One line is all that `systemctl status` shows."""
    well = Tree(time_ms=0, actors=(sample_state("a"), sample_state("b")))

    assert status_line(well) == "ready, 2 actors"
    assert status_line(sample_tree()) == (
        "upbit.limiter is restarting: ValueError: [bold]boom[/bold]; "
        "upbit.cache is suspended; store was left behind"
    )
