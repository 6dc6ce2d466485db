"""A hardened process gives its memory to nobody: shown with real processes, real crashes."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import runtime
from runtime.hygiene import harden_process
from runtime.testing_processes import clean_environ

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.real_time,
    pytest.mark.skipif(sys.platform != "linux", reason="what is looked at is Linux's"),
]

# Becomes nobody, hardens itself if told to, and tells how it is; then dies if told to.
PROGRAM = """
import ctypes, json, os, resource, signal, sys
os.chdir(sys.argv[1])
sys.path.insert(0, sys.argv[2])
from runtime.hygiene import harden_process

# Cores are allowed, as by a careless service.
hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
most = resource.RLIM_INFINITY if os.getuid() == 0 else hard
resource.setrlimit(resource.RLIMIT_CORE, (most, most))
if os.getuid() == 0:
    os.setgid(65534); os.setuid(65534)
    # A change of user alone makes it not dumpable; a daemon is started as its user.
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
problems = harden_process() if "harden" in sys.argv else None
print(json.dumps({
    "problems": problems,
    "dumpable": ctypes.CDLL(None).prctl(3, 0, 0, 0, 0),
    "limit": resource.getrlimit(resource.RLIMIT_CORE),
}), flush=True)
sys.stdin.readline()
if "crash" in sys.argv:
    os.kill(os.getpid(), signal.SIGSEGV)
"""

# A daemon that logs a secret in each way there is, tells how it is, and fails.
DAEMON = """
import ctypes, logging, sys, threading
from contextlib import asynccontextmanager

from runtime.config import load_settings
from runtime.daemon import run_daemon

canary = "secret_key='cAnArY0123456789'"

def fail():
    raise ValueError(canary)

@asynccontextmanager
async def open_store():
    logging.getLogger("marketd").warning("ours %s", canary)
    logging.getLogger("library").error("theirs %s", canary)
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), flush=True)
    fail()
    yield

sys.exit(run_daemon(load_settings(), open_store=open_store))
"""

# Tries to read the memory of a process as another one of the same user would.
READER = """
import os, sys
if os.getuid() == 0:
    os.setgid(65534); os.setuid(65534)
for name in ("mem", "environ", "maps"):
    try:
        with open(f"/proc/{sys.argv[1]}/{name}", "rb") as file:
            file.read(0 if name == "mem" else 10)
        print("read", name)
    except OSError as error:
        print("refused", name)
"""


class Child:
    """A process that runs `PROGRAM`.

    Attributes:
      told: What it told of itself.
    """

    def __init__(self, folder: Path, *what: str) -> None:
        # Loose, because pytest's folders are root's, who the child is no more.
        folder.chmod(0o777)
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder), str(ROOT), *what],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=clean_environ(),
            text=True,
        )
        assert self._process.stdout is not None
        self.told: dict[str, Any] = json.loads(self._process.stdout.readline())

    def read_by_another(self) -> list[str]:
        """Return what another process of the same user could read of it."""
        program = [sys.executable, "-c", READER, str(self._process.pid)]
        return subprocess.run(program, capture_output=True, text=True, check=True).stdout.split()

    def end(self) -> int:
        """Let it go on to its end; return the exit code."""
        self._process.communicate("\n", timeout=20)
        return self._process.returncode


def test_hardened_process_leaves_no_core_and_shows_no_memory(tmp_path: Path) -> None:
    """A core has every key in it; so has the memory, for a debugger of the same user."""
    child = Child(tmp_path, "harden", "crash")

    assert child.told == {"problems": [], "dumpable": 0, "limit": [0, 0]}
    assert child.read_by_another() == ["refused", "mem", "refused", "environ", "refused", "maps"]
    assert child.end() < 0
    assert list(tmp_path.iterdir()) == []


def test_ordinary_process_does_both(tmp_path: Path) -> None:
    """Otherwise the test above would show nothing."""
    child = Child(tmp_path, "crash")
    pattern = Path("/proc/sys/kernel/core_pattern").read_text()

    assert child.told["dumpable"] == 1
    assert child.read_by_another() == ["read", "mem", "read", "environ", "read", "maps"]
    assert child.end() < 0
    if pattern.startswith("core"):
        assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.slow
def test_daemon_is_hardened_and_masks_what_it_writes(tmp_path: Path) -> None:
    """The lines of other libraries and the interpreter's own as well as ours. A whole process."""
    run = subprocess.run(
        [sys.executable, "-c", DAEMON],
        env=clean_environ(
            RUNTIME__STATE_DIR=str(tmp_path),
            CONTROL__SOCKET=str(tmp_path / "control.sock"),
            EXCHANGES__UPBIT__REST_URL="http://127.0.0.1:9",
        ),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert run.returncode == 1
    assert run.stdout.split()[0] == "0"
    for line in (
        "ours secret_key='***'",
        "theirs secret_key='***'",
        "ValueError: secret_key='***'",
    ):
        assert line in run.stderr
    assert "cAnArY" not in run.stderr


def test_what_cannot_be_done_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator on another system must know what he has not got."""
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(resource, "setrlimit", lambda *_: refuse())
    problems = harden_process()

    assert problems == (
        "core dumps could not be forbidden: not allowed",
        "other processes of this user may read the memory: darwin has no prctl",
    )
    monkeypatch.setattr(sys, "platform", "win32")
    assert len(harden_process()) == 2


def refuse() -> None:
    """Refuse as a container does."""
    raise OSError("not allowed")


def test_embedding_bots_find_it_at_the_front_door() -> None:
    """Whoever opens a runtime inside a process of his own hardens that himself."""
    assert runtime.harden_process is harden_process
