"""Real processes for end-to-end tests: a sandbox exchange and a daemon in a private folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

_STOP_S = 20.0


class ProcessFailed(Exception):
    """A process did not come up; the message holds what it wrote."""


class Process:
    """One running `python -m runtime …`.

    Attributes:
      first_line: The first line it wrote to standard output, which says that it is ready.
      log: The file with what it wrote to standard error.
    """

    def __init__(self, arguments: Sequence[str], *, environ: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-m", "runtime", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=dict(environ),
                text=True,
            )
        assert self._process.stdout is not None, "asked for above"
        self.first_line = self._process.stdout.readline().strip()
        if not self.first_line:
            code = self._process.wait(_STOP_S)
            raise ProcessFailed(f"exit code {code}: {log.read_text()[-2000:]}")

    @property
    def pid(self) -> int:
        """Return its process number."""
        return self._process.pid

    def stop(self) -> int:
        """Ask it to end and return its exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """End it as a power cut would, and return its exit code."""
        return self._end(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)

    def wait(self) -> int:
        """Wait until it has ended by itself and return its exit code."""
        code = self._process.wait(_STOP_S)
        if self._process.stdout is not None:
            self._process.stdout.close()
        return code

    def _end(self, number: signal.Signals) -> int:
        if self._process.poll() is None:
            self._process.send_signal(number)
        return self.wait()


@contextmanager
def start_sandbox(*options: str, folder: Path) -> Iterator[tuple[Process, str]]:
    """Run a sandbox exchange on a free port; give the process and its URL."""
    process = Process(
        ["sandbox", "--port", "0", *options], environ=clean_environ(), log=folder / "sandbox.log"
    )
    try:
        yield process, process.first_line.rpartition(" ")[2]
    finally:
        process.stop()


@contextmanager
def start_daemon(folder: Path, *, rest_url: str, **settings: str) -> Iterator[tuple[Process, Path]]:
    """Run a daemon whose state is in `folder`; give the process and the path of its socket.

    Args:
      folder: Its state folder; the socket is in it, too.
      rest_url: The exchange it is connected to.
      settings: More of its settings, each by the rest of its environment name, `CACHE__MEMORY_MB`.
    """
    socket = folder / "control.sock"
    environ = clean_environ(
        RUNTIME__STATE_DIR=str(folder),
        CONTROL__SOCKET=str(socket),
        EXCHANGES__UPBIT__REST_URL=rest_url,
        **settings,
    )
    process = Process([], environ=environ, log=folder / "daemon.log")
    try:
        yield process, socket
    finally:
        process.stop()


def clean_environ(**settings: str) -> dict[str, str]:
    """Return this process's environment without any setting of marketd but those given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MARKETD_")}  # noqa: TID251 - for another process
    return {**kept, **{f"MARKETD_{name}": value for name, value in settings.items()}}
