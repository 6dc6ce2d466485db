"""What is typed at the prompts of `marketd keys` is seen nowhere but in the vault.

Somebody at a real pseudo-terminal types in an interactive shell, with a real daemon beside it. One
test for it all, because the daemon and every Argon2id cost what they are meant to cost.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime.testing_processes import Process, clean_environ

ROOT = Path(__file__).resolve().parents[2]
ACCESS = "sandbox-access-key-0000000000000000000000"
SECRET = "sandbox-secret-key-0000000000000000000000"  # noqa: S105 - of a made-up exchange
PHRASE, WRONG, HALF = "cAnArY-horse battery", "cAnArY-wrong horse", "cAnArY-half"
TYPED = [text.encode() for text in (ACCESS, SECRET, PHRASE, WRONG, HALF)]

READY = b"ready> "
_SHELL = """
PS1='ready> '
set -o history
marketd() { "$PYTHON" -m runtime "$@"; echo "code $?"; }
"""


class Shell:
    """An interactive bash in a terminal of its own, and somebody who types.

    Attributes:
      seen: Everything the terminal has shown.
      programs: Command lines of the programs that were running when something was typed.
    """

    def __init__(self, folder: Path, also: int) -> None:
        rc = folder / "rc"
        rc.write_text(_SHELL)
        self.history = folder / "history"
        self._also = also
        self._fd, terminal = pty.openpty()
        termios.tcsetwinsize(self._fd, (50, 200))
        settings = {"PYTHON": sys.executable, "PYTHONPATH": str(ROOT), "TERM": "dumb"}
        # A dumb terminal does not say how wide it is.
        settings |= {"COLUMNS": "200", "LINES": "50"}
        self._process = subprocess.Popen(
            ["/usr/bin/env", "bash", "--noprofile", "--rcfile", str(rc), "-i"],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            cwd=folder,
            env={**clean_environ(), **settings, "HISTFILE": str(self.history)},
            start_new_session=True,
            # Its own terminal, as a login gives it: Ctrl-C and /dev/tty are of this one.
            preexec_fn=_take_terminal,  # noqa: PLW1509 - no threads here
        )
        os.close(terminal)
        self.seen = b""
        self._read = 0
        self.programs: set[bytes] = set()
        self.wait_for(READY)

    def wait_for(self, text: bytes) -> bytes:
        """Read until the terminal shows `text`; return what it showed since the last wait."""
        while text not in self.seen[self._read :]:
            assert select.select([self._fd], [], [], 15)[0], f"nothing after {self.seen[-500:]!r}"
            self.seen += os.read(self._fd, 4_096)
        end = self.seen.index(text, self._read) + len(text)
        shown, self._read = self.seen[self._read : end], end
        return shown

    def do(self, command: str, *answers: tuple[str, str]) -> str:
        """Type a command and, after each prompt, an answer; return what was shown."""
        self._type(command + "\n")
        for prompt, answer in answers:
            self.wait_for(prompt.encode())
            self._look_around()
            self._type(answer)
            self._look_around()
        return self.wait_for(READY).decode()

    def end(self) -> None:
        """Leave, so that the shell writes its history."""
        self._type("exit\n")
        self._process.wait(15)

    def close(self) -> None:
        """End it, whatever it is doing."""
        self._process.kill()
        self._process.wait(15)
        os.close(self._fd)

    def _type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def _look_around(self) -> None:
        """See what everybody may see of the session's programs and of the daemon."""
        for each in Path("/proc").glob("[0-9]*"):
            try:
                if self._process.pid != os.getsid(int(each.name)) and each.name != str(self._also):
                    continue
                arguments = (each / "cmdline").read_bytes()
                environment = (each / "environ").read_bytes()
            except PermissionError:
                # Closed to this user, too, which is as good as it gets.
                environment = b""
            except OSError:
                # It has ended in the meantime.
                continue
            assert not any(text in arguments + environment for text in TYPED), each
            self.programs.add(arguments)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@contextmanager
def shell_beside(folder: Path, daemon: Process) -> Iterator[Shell]:
    """Give somebody at a terminal, while a daemon runs."""
    shell = Shell(folder, daemon.pid)
    try:
        yield shell
    finally:
        shell.close()


@pytest.fixture
def daemon(own_folders: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Process]:
    """A daemon on the sandbox exchange; all its folders are in `own_folders`."""
    for name in ("DATA", "CONFIG", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(own_folders / name.lower()))
    monkeypatch.chdir(ROOT)
    process = Process(["--sandbox"], environ=clean_environ(), log=own_folders / "log")
    try:
        yield process
    finally:
        process.stop()


@pytest.mark.slow(reason="a daemon, six commands and four Argon2id at their real cost")
@pytest.mark.real_time
def test_what_is_typed_at_prompts_is_seen_nowhere(
    daemon: Process, own_folders: Path, tmp_path: Path
) -> None:
    """Not on the terminal, in the history, the process list, an environment or a file."""
    with shell_beside(tmp_path, daemon) as shell:
        differ = shell.do(
            "marketd keys create",
            ("new passphrase: ", f"{PHRASE}\n"),
            ("once more: ", f"{WRONG}\n"),
        )
        assert "the two are not the same; nothing was done" in differ
        assert "code 2" in differ
        made = shell.do(
            "marketd keys create",
            ("new passphrase: ", f"{PHRASE}\n"),
            ("once more: ", f"{PHRASE}\n"),
        )
        assert re.search(r"keys +open: unlocked by passphrase", made)
        added = shell.do(
            "marketd keys add upbit:main --test",
            ("access_key: ", f"{ACCESS}\n"),
            ("secret_key: ", f"{SECRET}\n"),
        )
        assert "done: add upbit:main (sand…)" in added
        assert re.search(r"keys +sealed: ", shell.do("marketd keys lock"))
        given_up = shell.do("marketd keys unlock", ("passphrase: ", f"{HALF}\x03"))
        assert "code 130" in given_up
        # Not of the shell's own line, for which it has a mode of its own.
        assert re.search(r"(?<!-)\becho\b", shell.do("stty -a"))
        refused = shell.do("marketd keys unlock", ("passphrase: ", f"{WRONG}\n"))
        assert "that passphrase does not open the vault" in refused
        assert "code 1" in refused
        opened = _unlock_when_allowed(shell)
        assert re.search(r"keys +open: unlocked by passphrase", opened)
        assert re.search(r"upbit:main +active +sand…", shell.do("marketd keys list"))
        shell.end()

        assert b"marketd keys add upbit:main --test" in shell.history.read_bytes()
        assert any(b"runtime\0keys\0add\0" in program for program in shell.programs)
        assert not [text for text in TYPED if text in shell.seen + shell.history.read_bytes()]
    assert daemon.stop() == 0
    assert not [path for path in files_below(own_folders, tmp_path) if holds_typed(path)]


def _unlock_when_allowed(shell: Shell) -> str:
    """Unlock; a wrong try a moment ago makes the right one wait."""
    while True:
        shown = shell.do("marketd keys unlock", ("passphrase: ", f"{PHRASE}\n"))
        if "code 0" in shown:
            return shown
        assert "the next in" in shown, shown


def files_below(*folders: Path) -> list[Path]:
    """Return every file below folders; there are at least those of a vault."""
    found = [path for each in folders for path in each.rglob("*") if path.is_file()]
    assert {"keys.db", "keys.sealed", "audit.jsonl", "log"} <= {path.name for path in found}
    return found


def holds_typed(path: Path) -> bool:
    """Return whether anything that was typed is in a file."""
    content = path.read_bytes()
    return any(text in content for text in TYPED)
