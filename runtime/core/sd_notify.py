"""Tell the service manager how we are: ready, stopping, reloading, alive.

systemd names a datagram socket in the environment of a service that it wants to hear from; each
notification is one datagram of `NAME=value` lines. Where it names none, nothing is sent.

Error handling: no method raises or waits. What cannot be sent is lost, and logged once until
sending works again. Every method returns whether its datagram was handed over.

Source: sd_notify(3) and sd_watchdog_enabled(3) of systemd 258,
https://www.freedesktop.org/software/systemd/man/258/sd_notify.html.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping

import trio

_log = logging.getLogger("marketd.service_manager")

# systemd takes longer ones, but shows one line.
_STATUS_MAX = 300
# What is not alive at one look may be so a moment later; waiting half an interval for the next
# look would let the whole interval pass.
_LOOKS_PER_INTERVAL = 10
# An interval of microseconds, by a slip of the unit, must not keep the loop busy.
_PAUSE_S_MIN = 0.01


class ServiceManager:
    """The way to whoever started this process, if it listens.

    Args:
      environ: The environment of the process; only NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID
        are looked at.
      send: Hands one datagram to an address, without waiting; raises `OSError` where it cannot.
      monotonic_us: The machine's CLOCK_MONOTONIC in microseconds, the clock systemd compares with.
        No other will do, trio's least of all: it starts anywhere.

    Attributes:
      listens: Whether anybody does.
      watchdog_s: How long the service may go without a sign of life before it is killed, in
        seconds; None where nobody watches, or where another process is watched.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        send: Callable[[str, bytes], None] | None = None,
        monotonic_us: Callable[[], int] | None = None,
    ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._send = send or send_datagram
        self._monotonic_us = monotonic_us or _monotonic_us
        self._in_trouble = False
        self._alive: bool | None = None
        self.listens = bool(self._address)
        self.watchdog_s = _watchdog_s(environ) if self.listens else None

    def ready(self, status: str = "") -> bool:
        """Say that starting, or reloading, is done; `status` as for `status`."""
        return self._notify("READY=1", *_status_line(status))

    def stopping(self, status: str = "") -> bool:
        """Say that the stop has begun, so that it is not taken for a crash."""
        return self._notify("STOPPING=1", *_status_line(status))

    def reloading(self) -> bool:
        """Say that settings are being read again; `ready` must follow, also after a failure."""
        # Not every system has that clock; where nobody listens it need not.
        moment = f"MONOTONIC_USEC={self._monotonic_us()}" if self.listens else ""
        return self._notify("RELOADING=1", moment)

    def status(self, text: str) -> bool:
        """Show `text` in `systemctl status`: one line, cut at 300 characters."""
        return self._notify(*(_status_line(text) or ("STATUS=",)))

    def feed(self) -> bool:
        """Give one sign of life."""
        return self._notify("WATCHDOG=1")

    async def feed_watchdog(self, alive: Callable[[], bool]) -> None:
        """Give a sign of life each half interval, for as long as there is life; run it as a task.

        Returns at once where nobody watches. Runs until cancelled otherwise.

        Args:
          alive: Whether all that matters has proved work lately. While it has not, nothing is
            sent, and the service manager ends the process after its interval. An `alive` that
            raises has proved nothing.
        """
        await trio.lowlevel.checkpoint()
        if self.watchdog_s is None:
            return
        while True:
            fed = self._has_proved(alive) and self.feed()
            pause_s = self.watchdog_s / (2 if fed else _LOOKS_PER_INTERVAL)
            await trio.sleep(max(pause_s, _PAUSE_S_MIN))

    def _has_proved(self, alive: Callable[[], bool]) -> bool:
        before = self._alive
        try:
            self._alive = alive()
        except Exception:  # noqa: BLE001 - not to know it is to be not alive, not to crash
            self._alive = False
            if before is not False:
                _log.exception("whether the service is alive cannot be told")
        if before is not False and not self._alive:
            _log.error(
                "the watchdog is not fed, because not everything critical proves work; "
                "without a change the service manager ends this process within %g s",
                self.watchdog_s,
            )
        if before is False and self._alive:
            _log.warning("the watchdog is fed again")
        return self._alive

    def _notify(self, *lines: str) -> bool:
        if not self.listens:
            return False
        try:
            self._send(self._address, "\n".join(lines).encode(errors="replace"))
        except (OSError, ValueError) as error:
            # ValueError: a path that is none, such as one with a NUL in it.
            if not self._in_trouble:
                _log.warning("%s did not reach %s: %s", lines[0], self._address, error)
            self._in_trouble = True
            return False
        if self._in_trouble:
            _log.info("%s is reached again", self._address)
            self._in_trouble = False
        return True


def send_datagram(address: str, datagram: bytes) -> None:
    """Hand one datagram to a Unix socket, without waiting.

    Args:
      address: An absolute path, or a name that begins with @ in Linux's abstract namespace.
      datagram: At most what the socket's buffer takes.

    Raises:
      OSError: It was not taken: nobody is there, the queue is full, no right to, no such address.
    """
    family = getattr(socket, "AF_UNIX", None)
    if family is None or not address.startswith(("/", "@")):
        # systemd also knows vsock:CID:PORT, for whole virtual machines.
        raise OSError(f"wanted an absolute path or an @name on a Unix socket, was {address!r}")
    name = os.fsencode(address)
    if address.startswith("@"):
        name = b"\0" + name[1:]
    # A socket each time: datagrams are rare, and so there is nothing to close or to leak, and
    # nothing stale when the service manager itself was started anew.
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.sendto(datagram, name)


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    text = environ.get("WATCHDOG_USEC", "")
    if not text or environ.get("WATCHDOG_PID", "") not in {"", str(os.getpid())}:
        # Without a process id everybody who inherits the variable is meant.
        return None
    # More digits than int() takes are nonsense too.
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) > 0):  # noqa: PLR2004
        _log.warning("WATCHDOG_USEC must be a positive number, was %.40r; nothing is fed", text)
        return None
    return int(text) / 1_000_000


def _status_line(text: str) -> tuple[str, ...]:
    # A line break would begin another assignment.
    line = "".join(c if c.isprintable() else " " for c in text[:_STATUS_MAX])
    return (f"STATUS={line}",) if line else ()


def _monotonic_us() -> int:
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
