"""Secrets come in unseen: by a real pseudo-terminal, pipes and file descriptors."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import InvalidRequest
from runtime.secret_input import SECRET_BYTES_MAX, read_fields, read_secret, refuse_more
from runtime.testing_processes import clean_environ

ROOT = Path(__file__).resolve().parents[2]
CANARY = b"cAnArY0123456789"

PROGRAM = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # its own terminal, as a shell has it
from runtime.secret_input import read_secret
try:
    secret = read_secret("Passphrase: ")
except KeyboardInterrupt:
    print("interrupted", flush=True)
else:
    print("read", len(secret), sum(secret), flush=True)
sys.stdin.readline()
"""


@contextmanager
def pipe_with(data: bytes) -> Iterator[int]:
    """Give the reading end of a pipe with `data` in it and nothing after."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    os.write(writer, data)
    os.close(writer)
    try:
        yield reader
    finally:
        os.close(reader)


class Typist:
    """Somebody at a terminal of his own, in which a program runs."""

    def __init__(self, folder: Path) -> None:
        self._fd, self._terminal = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdin=self._terminal,
            stdout=self._terminal,
            stderr=self._terminal,
            cwd=ROOT,
            env=clean_environ(HISTFILE=str(folder / "history"), HOME=str(folder)),
            start_new_session=True,
        )
        self.pid = self._process.pid
        self.seen = b""

    def wait_for(self, text: bytes) -> None:
        """Read what the terminal shows until `text` is there."""
        while text not in self.seen:
            assert select.select([self._fd], [], [], 15)[0], f"nothing comes after {self.seen!r}"
            self.seen += os.read(self._fd, 1_000)

    def type(self, text: bytes) -> None:
        """Press keys."""
        os.write(self._fd, text)

    def echoes(self) -> bool:
        """Return whether the terminal shows what is typed."""
        return bool(termios.tcgetattr(self._fd)[3] & termios.ECHO)

    def end(self) -> int:
        """Let the program end and return its exit code."""
        os.write(self._fd, b"\n")
        return self._process.wait(15)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(15)
        os.close(self._terminal)
        os.close(self._fd)


@pytest.fixture
def typist(tmp_path: Path) -> Iterator[Typist]:
    """Somebody who was asked for a passphrase."""
    with Typist(tmp_path) as typist:
        typist.wait_for(b"Passphrase: ")
        yield typist


@pytest.mark.real_time
def test_what_is_typed_is_seen_nowhere(typist: Typist, tmp_path: Path) -> None:
    """Not on the terminal, in the process list, in the environment, or in a history."""
    assert not typist.echoes()
    typist.type(CANARY + b"\n")
    typist.wait_for(f"read {len(CANARY)} {sum(CANARY)}".encode())

    shown = [Path(f"/proc/{typist.pid}/{name}") for name in ("cmdline", "environ")]
    assert all(CANARY not in path.read_bytes() for path in shown if path.exists())
    assert typist.echoes()
    assert CANARY not in typist.seen
    assert typist.end() == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.real_time
def test_interrupt_gives_the_terminal_back(typist: Typist) -> None:
    """A shell that does not show what is typed is a riddle."""
    typist.type(CANARY[:5] + b"\x03")
    typist.wait_for(b"interrupted")

    assert typist.echoes()
    assert CANARY[:5] not in typist.seen
    assert typist.end() == 0


@pytest.mark.real_time
def test_termination_gives_the_terminal_back(typist: Typist) -> None:
    """Ended from outside in the middle of the question."""
    assert not typist.echoes()
    os.kill(typist.pid, signal.SIGTERM)

    assert typist.end() == 128 + signal.SIGTERM
    assert typist.echoes()


@pytest.mark.real_time
def test_terminal_asks_for_each_field() -> None:
    """As `keys add` does; what is optional may be left out."""
    master, terminal = pty.openpty()
    try:
        # Whoever types ahead is not heard, so each answer waits for its question.
        with pytest.raises(InvalidRequest, match="was empty"), answering(master, [b"\n"]):
            read_fields(["access_key"], stdin=terminal, tty=None)
        with answering(master, [b"abc\n", b"def\n", b"\n"]):
            fields = read_fields(
                ["access_key", "secret_key"], optional=["passphrase"], stdin=terminal, tty=None
            )
    finally:
        os.close(terminal)
        os.close(master)

    assert fields == {"access_key": b"abc", "secret_key": b"def"}


@contextmanager
def answering(master: int, answers: list[bytes]) -> Iterator[None]:
    """Type an answer after each question, in a thread."""

    def answer() -> None:
        for each in answers:
            while b": " not in os.read(master, 1_000):
                pass
            os.write(master, each)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield
    finally:
        thread.join(15)


@pytest.mark.parametrize(
    ("data", "secret"),
    [(b"a b\n", b"a b"), (b"a\r\n", b"a"), (b"a", b"a"), (b" \xff \n", b" \xff ")],
)
def test_line_is_read_without_its_end(data: bytes, secret: bytes) -> None:
    """Spaces belong to a passphrase; the end of the line does not, nor what stands after it."""
    with pipe_with(data + b"next\n" * data.endswith(b"\n")) as reader:
        assert read_secret("?", fd=reader) == secret
        if data.endswith(b"\n"):
            assert read_secret("?", stdin=reader) == b"next"


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
@pytest.mark.parametrize("is_fd", [True, False])
def test_mark_before_a_secret_is_no_part_of_it(is_fd: bool, end: bytes) -> None:  # noqa: FBT001
    """PowerShell writes one into a pipe, and nobody would ever type it at a prompt."""
    with pipe_with(b"\xef\xbb\xbf" + CANARY + end) as reader:
        secret = read_secret("?", fd=reader) if is_fd else read_secret("?", stdin=reader)

    assert secret == CANARY


def test_more_lines_behind_a_secret_are_refused() -> None:
    """Whoever wrote them means something else by the first; empty ones mean nothing."""
    with pipe_with(b"abc\n\n" + CANARY) as reader:
        assert read_secret("?", fd=reader) == b"abc"
        with pytest.raises(InvalidRequest, match="wanted a secret in one line, were") as raised:
            refuse_more(reader)
    with pipe_with(b"abc\n \r\n\n") as reader:
        assert read_secret("?", stdin=reader) == b"abc"
        refuse_more(stdin=reader)

    assert CANARY.decode() not in str(raised.value)


PASSPHRASES = """
import argparse, sys
from actors.errors import InvalidRequest
from runtime.cli_secrets import new_passphrase, present_passphrase
options = argparse.Namespace(**eval(sys.argv[1]))
try:
    read = [present_passphrase("passphrase", options)]
    if getattr(options, "new_passphrase_fd", 1) is None and options.kind != "key_file":
        read.append(new_passphrase(options.new_passphrase_fd))
    print(read)
except InvalidRequest as error:
    print(error)
"""
CHANGE = {"passphrase_fd": None, "new_passphrase_fd": None, "kind": None}
MORE = "standard input: wanted a secret in one line, were more lines"


@pytest.mark.real_time
@pytest.mark.parametrize(
    ("options", "lines", "said"),
    [
        ({"passphrase_fd": None}, "\ufeffone\n\n", "['one']"),
        ({"passphrase_fd": None}, "one\ntwo\n", MORE),
        (CHANGE, "\ufeffone\ntwo\n", "['one', 'two']"),
        ({**CHANGE, "passphrase_fd": 0}, "one\ntwo\n", "['one', 'two']"),
        (CHANGE, "one\ntwo\nthree\n", MORE),
        ({**CHANGE, "kind": "key_file"}, "one\ntwo\n", MORE),
        ({**CHANGE, "new_passphrase_fd": 9}, "one\ntwo\n", MORE),
    ],
)
def test_passphrases_are_as_many_lines_as_are_wanted(
    options: dict[str, object], lines: str, said: str
) -> None:
    """One, or two where a new one stands behind the present one."""
    done = subprocess.run(
        [sys.executable, "-c", PASSPHRASES, repr(options)],
        input=lines.encode(),
        capture_output=True,
        check=True,
        cwd=ROOT,
        timeout=30,
    )

    assert done.stdout.decode().strip().replace("file descriptor 0", "standard input") == said


@pytest.mark.parametrize("data", [b"", b"\n", b"\r\n"])
def test_empty_secret_is_refused(data: bytes) -> None:
    """A passphrase that is nothing is a mistake in a script."""
    with pipe_with(data) as reader, pytest.raises(InvalidRequest, match="was empty"):
        read_secret("?", stdin=reader)


@given(size=st.integers(SECRET_BYTES_MAX - 2, SECRET_BYTES_MAX + 3), end=st.binary(max_size=0))
def test_secret_has_at_most_its_bound(size: int, end: bytes) -> None:
    """Whole, or refused; never cut."""
    with pipe_with(b"x" * size + b"\n" + end) as reader:
        if size <= SECRET_BYTES_MAX:
            assert len(read_secret("?", fd=reader)) == size
        else:
            with pytest.raises(InvalidRequest, match="at most 4096 bytes, were more"):
                read_secret("?", fd=reader)


@pytest.mark.parametrize("fd", [-1, 10_000, 10**22])
def test_file_descriptor_that_is_none_is_named(fd: int) -> None:
    """A shell that did not open it is the usual reason."""
    with pytest.raises(InvalidRequest, match=f"file descriptor {fd}"):
        read_secret("?", fd=fd)


def test_fields_come_in_lines_or_json() -> None:
    """By hand and by script."""
    wanted = {"access_key": b"abc", "secret_key": b"d e"}
    as_json = json.dumps({name: value.decode() for name, value in wanted.items()}).encode()
    with pipe_with(b"abc\nd e\n") as reader:
        assert read_fields(["access_key", "secret_key"], stdin=reader) == wanted
    with pipe_with(as_json) as reader:
        assert read_fields(["access_key", "secret_key"], stdin=reader) == wanted
    with pipe_with(b"abc\nd e\npass\n") as reader:
        found = read_fields(["access_key", "secret_key"], optional=["passphrase"], stdin=reader)
        assert found == wanted | {"passphrase": b"pass"}


@pytest.mark.parametrize("rest", [b"\n", b"\r\n \n\n", b""])
@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b""])
def test_fields_may_have_a_mark_before_and_empty_lines_after_them(mark: bytes, rest: bytes) -> None:
    """As editors and PowerShell write them; a key with the mark in it never works."""
    wanted = {"access_key": b"abc", "secret_key": b"def"}
    for data in (b"abc\ndef", b'{"access_key": "abc", "secret_key": "def"}'):
        with pipe_with(mark + data + rest) as reader:
            assert read_fields(["access_key", "secret_key"], stdin=reader) == wanted


def test_pipe_that_stays_open_is_not_waited_for() -> None:
    """Whoever has said both may have something else to do before he closes it."""
    reader, writer = os.pipe()
    try:
        os.write(writer, b"abc\ndef\n")
        assert len(read_fields(["access_key", "secret_key"], stdin=reader)) == 2
    finally:
        os.close(writer)
        os.close(reader)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"label\nabc\n" + CANARY,
        b"abc\ndef\n\n" + CANARY,
        b"\xef\xbb" + CANARY,
        CANARY,
        CANARY + b"\n\n",
        b'{"access_key": "' + CANARY + b'"}',
        b'{"access_key": "' + CANARY + b'", "secret_key": 5}',
        b'{"access_key": "a", "secret_key": "b", "' + CANARY + b'": "c"}',
        b"{" + CANARY,
        b'{"access_key": "\xff' + CANARY,
    ],
)
def test_fields_that_are_wrong_are_not_repeated(data: bytes) -> None:
    """The message says what was wanted; what was there may be half a secret."""
    with (
        pipe_with(data) as reader,
        pytest.raises(InvalidRequest, match="wanted 2 lines") as raised,
    ):
        read_fields(["access_key", "secret_key"], stdin=reader)

    assert CANARY.decode() not in str(raised.value)
    assert raised.value.__cause__ is None
