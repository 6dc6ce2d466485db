"""One runtime a state folder, whatever becomes of the process that has it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime.config import SettingsError
from runtime.lock import LOCK_FILE, AlreadyRunning, hold_lock

HOLDER = """
import sys
from pathlib import Path
from runtime.lock import hold_lock
with hold_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a process that holds the lock until its standard input ends."""
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.real_time
def test_two_processes_exclude_each_other(tmp_path: Path) -> None:
    """The error names the process, the folder and the ways out."""
    with another_process(tmp_path) as process:
        match = rf"another runtime \(process {process.pid}\) uses .*connect to it, stop it, or"
        with pytest.raises(AlreadyRunning, match=match), hold_lock(tmp_path):
            pass


@pytest.mark.real_time
def test_the_lock_is_free_after_a_clean_end(tmp_path: Path) -> None:
    """Nothing has to be tidied up by hand."""
    with another_process(tmp_path) as process:
        process.communicate()
        with hold_lock(tmp_path):
            assert (tmp_path / LOCK_FILE).read_text() == str(os.getpid())


@pytest.mark.real_time
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
def test_the_lock_is_free_after_kill_9(tmp_path: Path) -> None:
    """The operating system drops it; the file that stays behind means nothing."""
    with another_process(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (tmp_path / LOCK_FILE).exists()
        with hold_lock(tmp_path):
            pass


def test_one_process_cannot_take_it_twice(tmp_path: Path) -> None:
    """Two runtimes in one bot would write one database."""
    with (
        hold_lock(tmp_path),
        pytest.raises(AlreadyRunning, match=str(os.getpid())),
        hold_lock(tmp_path),
    ):
        pass
    with hold_lock(tmp_path):
        pass


def test_two_folders_have_two_locks(tmp_path: Path) -> None:
    """Runtimes that keep their data apart may run side by side."""
    (tmp_path / "sandbox").mkdir()
    with hold_lock(tmp_path), hold_lock(tmp_path / "sandbox"):
        pass


def test_a_block_that_fails_frees_the_lock(tmp_path: Path) -> None:
    """Whatever ends it."""
    with pytest.raises(ZeroDivisionError, match="the block's own"), hold_lock(tmp_path):
        raise ZeroDivisionError("the block's own")
    with hold_lock(tmp_path):
        pass


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The operating system's own words, and which file."""
    with (
        pytest.raises(SettingsError, match=r"nowhere.marketd\.lock cannot be opened: No such"),
        hold_lock(tmp_path / "nowhere"),
    ):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    """Like everything else in the state folder."""
    with hold_lock(tmp_path):
        assert (tmp_path / LOCK_FILE).stat().st_mode & 0o777 == 0o600


def test_garbage_in_the_file_does_no_harm(tmp_path: Path) -> None:
    """Only the lock counts."""
    (tmp_path / LOCK_FILE).write_bytes(b"\xff\x00" * 10_000)
    with hold_lock(tmp_path):
        assert (tmp_path / LOCK_FILE).read_text() == str(os.getpid())
