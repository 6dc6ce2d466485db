"""What a command does with streams that are closed, or have no letters for its answer."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.key_messages import ListKeys
from actors.key_reports import KeyReport
from runtime.cli_streams import prepare_output
from runtime.core.message import Request
from runtime.testing_processes import clean_environ
from runtime.testing_socket import control_in_thread, sample_answer

ROOT = Path(__file__).resolve().parents[2]
OWNER = "김 é \U0001f600"
ASCII = {"PYTHONIOENCODING": "ascii"}

pytestmark = pytest.mark.real_time


async def answer(request: Request[Any]) -> object:
    """Answer from samples, with a key whose owner is not written in ASCII."""
    given = await sample_answer(request)
    if isinstance(request, ListKeys):
        assert isinstance(given, tuple)
        assert isinstance(given[0], KeyReport)
        return (msgspec.structs.replace(given[0], uid=OWNER),)
    return given


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """The socket of a runtime that answers so."""
    socket = tmp_path / "c.sock"
    with control_in_thread(socket, answer):
        yield socket


def marketd(
    words: str, path: Path, streams: str = "", **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in a shell, with its streams as the shell writes them."""
    line = f'exec "$0" -m runtime {words} --socket "$1" {streams}'
    return subprocess.run(
        ["/bin/sh", "-c", line, sys.executable, str(path)],
        capture_output=True,
        encoding="utf-8",
        check=False,
        cwd=ROOT,
        env={**clean_environ(), **environ},
        timeout=30,
    )


@pytest.mark.parametrize(
    "environ",
    [ASCII, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}],
    ids=["encoding", "locale"],
)
def test_answer_is_written_where_letters_are_missing(environ: dict[str, str], path: Path) -> None:
    """What was asked for is done; a traceback would say that it is not."""
    people = marketd("keys list", path, **environ)
    program = marketd("keys list --json", path, **environ)

    assert (people.returncode, people.stderr) == (0, "")
    assert "upbit:main" in people.stdout
    assert "\\uae40 " in people.stdout
    assert (program.returncode, program.stderr) == (0, "")
    assert program.stdout.isascii()
    assert json.loads(program.stdout)["keys"][0]["uid"] == OWNER


def test_letters_are_written_as_they_are_where_there_are_some(path: Path) -> None:
    """Escapes are for those who have nothing better."""
    assert OWNER in marketd("keys list --json", path, PYTHONIOENCODING="utf-8").stdout


@pytest.mark.parametrize("words", ["keys list --json", "keys list", "status"])
def test_closed_output_is_told_before_anything_is_asked(words: str, path: Path) -> None:
    """In one line, with what the shell should be told instead."""
    done = marketd(words, path, ">&-")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("marketd: standard output is closed, so the answer could not")
    assert done.stderr.count("\n") == 1


def test_errors_are_not_written_to_the_answer(tmp_path: Path) -> None:
    """A closed standard error takes them with it."""
    done = marketd("status", tmp_path / "absent", "2>&-")

    assert (done.returncode, done.stdout) == (3, "")


def test_closed_input_is_empty(path: Path) -> None:
    """Otherwise the connection to the runtime would have its number, and be read for secrets."""
    done = marketd("keys add upbit:main", path, "<&-")

    assert (done.returncode, done.stdout) == (2, "")
    assert "wanted 2 lines" in done.stderr
    assert "was empty" in done.stderr


def test_descriptor_that_cannot_be_is_named(path: Path) -> None:
    """In one line."""
    done = marketd("keys recover --yes --passphrase-fd 9999999999999999999999", path)

    assert done.returncode == 2
    expected = "marketd: file descriptor 9999999999999999999999: is no file descriptor\n"
    assert done.stderr == expected


def test_server_does_without_an_output_that_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it says there is for whoever looks, and nobody does."""
    monkeypatch.setattr("sys.stdout", None)
    prepare_output(for_answer=False)

    with sys.stdout as nowhere:
        assert nowhere.write("ready\n") == len("ready\n")
