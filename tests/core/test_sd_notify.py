"""`ServiceManager`: what systemd is told, and that telling it never harms or holds up anybody.

Sockets are real where sending is what a test is about; elsewhere `Sent` takes the datagrams, so
that time can be virtual.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st

from runtime.core.sd_notify import ServiceManager, send_datagram
from runtime.testing import wait_for

ADDRESS = "/run/systemd/notify"
WATCHED = {"NOTIFY_SOCKET": ADDRESS, "WATCHDOG_USEC": "30000000"}


class Sent:
    """Takes datagrams in place of a socket; refuses them while `broken`."""

    def __init__(self) -> None:
        self.datagrams: list[str] = []
        self.times_s: list[float] = []
        self.broken = False

    def __call__(self, address: str, datagram: bytes) -> None:
        """Take one datagram."""
        assert address == ADDRESS
        if self.broken:
            raise BlockingIOError("the queue is full")
        self.datagrams.append(datagram.decode())
        if trio.lowlevel.in_trio_run():
            self.times_s.append(trio.current_time())


@pytest.fixture
def sent() -> Sent:
    """Datagrams that were sent."""
    return Sent()


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[socket.socket]:
    """A socket as systemd has it, bound to a path."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.setblocking(False)
        yield receiver


def at(receiver: socket.socket) -> ServiceManager:
    """Return the way to `receiver`."""
    return ServiceManager({"NOTIFY_SOCKET": receiver.getsockname()})


@pytest.mark.real_time
def test_each_notification_is_one_datagram_in_systemds_words(receiver: socket.socket) -> None:
    """These bytes are the whole interface."""
    manager = at(receiver)

    assert manager.listens
    assert manager.ready()
    assert manager.ready("3 exchanges")
    assert manager.status("warming up")
    assert manager.status("")
    assert manager.feed()
    assert manager.stopping()
    assert manager.stopping("writing the last candles")

    assert [receiver.recv(4096) for _ in range(7)] == [
        b"READY=1",
        b"READY=1\nSTATUS=3 exchanges",
        b"STATUS=warming up",
        b"STATUS=",
        b"WATCHDOG=1",
        b"STOPPING=1",
        b"STOPPING=1\nSTATUS=writing the last candles",
    ]
    with pytest.raises(BlockingIOError, match="unavailable"):
        receiver.recv(4096)


@pytest.mark.real_time
@pytest.mark.skipif(sys.platform == "win32", reason="no CLOCK_MONOTONIC, and no systemd")
def test_reloading_carries_the_machines_own_monotonic_time(receiver: socket.socket) -> None:
    """The manager compares it with its own clock; an older one belongs to another reload."""
    before_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000

    assert at(receiver).reloading()

    kind, moment = receiver.recv(4096).decode().splitlines()
    name, _, moment_us = moment.partition("=")
    assert (kind, name) == ("RELOADING=1", "MONOTONIC_USEC")
    assert before_us <= int(moment_us) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


@pytest.mark.real_time
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has abstract names")
def test_an_abstract_name_is_reached_as_well(tmp_path: Path) -> None:
    """Containers are given one; it is written with @ for the NUL it begins with."""
    name = f"marketd-test-{os.getpid()}-{tmp_path.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0{name}")
        receiver.setblocking(False)

        assert ServiceManager({"NOTIFY_SOCKET": f"@{name}"}).ready()

        assert receiver.recv(4096) == b"READY=1"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"WATCHDOG_USEC": "1000000"}])
async def test_without_a_service_manager_nothing_is_sent(
    environ: dict[str, str], sent: Sent
) -> None:
    """Started by hand there is nobody to tell; callers need not know."""
    manager = ServiceManager(environ, send=sent)

    assert not manager.listens
    assert not any([manager.ready(), manager.stopping(), manager.reloading(), manager.status("x")])
    assert not manager.feed()
    await manager.feed_watchdog(lambda: True)
    assert manager.watchdog_s is None
    assert sent.datagrams == []


@given(st.text(max_size=500))
@example("x" * 301)
def test_a_status_is_one_line_whatever_is_in_it(text: str) -> None:
    """A line break in an error message must not become READY=1."""
    sent = Sent()

    assert ServiceManager({"NOTIFY_SOCKET": ADDRESS}, send=sent).status(text)

    (line,) = sent.datagrams
    assert line.startswith("STATUS=")
    assert line.isprintable()
    assert len(line) == len("STATUS=") + min(len(text), 300)


@pytest.mark.real_time
def test_a_full_queue_loses_notifications_and_holds_up_nobody(receiver: socket.socket) -> None:
    """The runtime must not stand still because the service manager does."""
    manager = at(receiver)

    taken = [manager.feed() for _ in range(5000)]

    assert taken[0]
    assert not taken[-1]
    receiver.recv(4096)
    assert manager.feed()


def test_trouble_is_logged_once_until_it_is_over(
    sent: Sent, caplog: pytest.LogCaptureFixture
) -> None:
    """A watchdog fed for days would fill the log with one and the same line."""
    manager = ServiceManager(WATCHED, send=sent)
    sent.broken = True

    with caplog.at_level(logging.INFO, "marketd.service_manager"):
        assert not any(manager.feed() for _ in range(3))
        sent.broken = False
        assert manager.feed()
        assert manager.feed()
        sent.broken = True
        assert not manager.ready()

    assert [record.getMessage() for record in caplog.records] == [
        f"WATCHDOG=1 did not reach {ADDRESS}: the queue is full",
        f"{ADDRESS} is reached again",
        f"READY=1 did not reach {ADDRESS}: the queue is full",
    ]


@pytest.mark.parametrize(
    "address", ["relative/notify", "vsock:2:1234", "/" + "x" * 200, "/a\0b", "/nobody/there", "@"]
)
def test_an_address_that_leads_nowhere_is_an_answer_not_an_error(address: str) -> None:
    """It comes from outside; a wrong one must not stop what works without it."""
    manager = ServiceManager({"NOTIFY_SOCKET": address})

    assert manager.listens
    assert not manager.ready()


def test_only_unix_sockets_are_written_to() -> None:
    """The error says what was wanted and what was there."""
    with pytest.raises(OSError, match=r"wanted an absolute path or an @name .*, was 'vsock:2:1'"):
        send_datagram("vsock:2:1", b"READY=1")


@pytest.mark.parametrize(
    ("usec", "pid", "expected_s"),
    [
        ("30000000", None, 30.0),
        ("30000000", "", 30.0),
        ("30000000", "own", 30.0),
        ("30000000", "1", None),
        ("30000000", "x", None),
        ("1", None, 0.000001),
        ("", None, None),
        ("0", None, None),
        ("-1", None, None),
        ("1.5", None, None),
        ("30s", None, None),
        ("٣", None, None),
        ("9" * 5000, None, None),
    ],
)
def test_the_watchdogs_interval_is_read_if_it_means_this_process(
    usec: str, pid: str | None, expected_s: float | None
) -> None:
    """A child that inherits the variables must not feed its parent's watchdog."""
    environ = {"NOTIFY_SOCKET": ADDRESS, "WATCHDOG_USEC": usec}
    if pid is not None:
        environ["WATCHDOG_PID"] = str(os.getpid()) if pid == "own" else pid

    assert ServiceManager(environ).watchdog_s == expected_s


async def test_the_watchdog_is_fed_at_half_its_interval(sent: Sent) -> None:
    """Half, so that one feed that comes late is not a kill."""
    manager = ServiceManager(WATCHED, send=sent)

    with trio.move_on_after(50):
        await manager.feed_watchdog(lambda: True)

    assert set(sent.datagrams) == {"WATCHDOG=1"}
    assert sent.times_s == [0, 15, 30, 45]


async def test_the_watchdog_goes_hungry_while_something_critical_proves_no_work(
    sent: Sent, caplog: pytest.LogCaptureFixture
) -> None:
    """Feeding it from a task that merely runs would hide the very hang it is there for."""
    manager = ServiceManager(WATCHED, send=sent)

    with trio.move_on_after(100):
        await manager.feed_watchdog(lambda: not 20 <= trio.current_time() < 40)

    # Looked at again every tenth of the interval, so that it is fed as soon as it recovers.
    assert sent.times_s == [0, 15, 42, 57, 72, 87]
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert "not everything critical proves work" in caplog.text


async def test_an_alive_that_raises_has_proved_nothing(
    sent: Sent, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither a crash of the feeding nor a sign of life: the service manager shall decide."""
    manager = ServiceManager(WATCHED, send=sent)

    def broken() -> bool:
        raise LookupError("who is critical?")

    with trio.move_on_after(60):
        await manager.feed_watchdog(broken)

    assert sent.datagrams == []
    assert caplog.text.count("LookupError: who is critical?") == 1


async def test_a_feed_that_was_lost_is_tried_again_soon(sent: Sent) -> None:
    """Waiting half an interval for the next would use up the whole of it."""
    manager = ServiceManager(WATCHED, send=sent)
    sent.broken = True

    with trio.move_on_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(manager.feed_watchdog, lambda: True)
            await trio.sleep(4)
            sent.broken = False

    assert sent.times_s == [6]


async def test_an_interval_of_microseconds_does_not_keep_the_loop_busy(sent: Sent) -> None:
    """It is somebody's slip of the unit."""
    manager = ServiceManager({**WATCHED, "WATCHDOG_USEC": "30"}, send=sent)

    with trio.move_on_after(1.005):
        await manager.feed_watchdog(lambda: True)

    assert len(sent.times_s) == 101


@pytest.mark.real_time
async def test_the_watchdog_is_fed_over_a_real_socket(receiver: socket.socket) -> None:
    """All of it together, in real time."""
    environ = {"NOTIFY_SOCKET": receiver.getsockname(), "WATCHDOG_USEC": "40000"}
    fed = 0

    def fed_thrice() -> bool:
        nonlocal fed
        try:
            fed += receiver.recv(4096) == b"WATCHDOG=1"
        except BlockingIOError:
            return False
        return fed == 3

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ServiceManager(environ).feed_watchdog, lambda: True)
        await wait_for(fed_thrice)
        nursery.cancel_scope.cancel()
