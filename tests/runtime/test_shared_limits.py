"""One runtime of a user an exchange."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from runtime.config import SettingsError
from runtime.lock import AlreadyRunning
from runtime.shared_limits import LimitsTaken, exchange_key, hold_limits, limits_dir

posix_only = pytest.mark.skipif(os.name != "posix", reason="there are no such rights on Windows")

UPBIT = "https://api.upbit.com"
LOCK = "api.upbit.com.lock"
HOLDER = """
import sys
from pathlib import Path
from runtime.shared_limits import hold_limits
socket = Path(sys.argv[2]) if sys.argv[2] else None
with hold_limits(Path(sys.argv[1]), "https://API.upbit.com:443/v1", socket):
    print("held", flush=True)
    sys.stdin.read()
"""


def start_holder(folder: Path, socket: str) -> subprocess.Popen[str]:
    """Return a process that holds the limits until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), socket],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.real_time
@pytest.mark.parametrize(
    ("socket", "way"),
    [
        ("/run/x.sock", r'connect\("/run/x.sock"\) .* marketd stop --socket /run/x.sock$'),
        ("", r"listens on no socket, .* open_runtime\(listen=True\)"),
    ],
)
def test_a_second_process_is_refused_until_the_first_is_killed(
    tmp_path: Path, socket: str, way: str
) -> None:
    """The error says who, and what to do; a killed process leaves nothing stale."""
    with start_holder(tmp_path, socket) as process:
        match = rf"process {process.pid}\) already talks to api.upbit.com, .*{way}"
        with pytest.raises(LimitsTaken, match=match), hold_limits(tmp_path, UPBIT, None):
            pass
        with hold_limits(tmp_path, "http://127.0.0.1:8080", None):
            pass
        process.kill()
    with hold_limits(tmp_path, UPBIT, None):
        assert str(os.getpid()) in (tmp_path / LOCK).read_text()


@pytest.mark.real_time
def test_of_many_processes_at_once_one_has_the_limits(tmp_path: Path) -> None:
    """However often they come and go: the file is removed and made anew all the time."""
    inside: list[int] = []
    most: list[int] = []

    def come_and_go(number: int) -> None:
        done = 0
        while done < 50:
            try:
                with hold_limits(tmp_path, UPBIT, None):
                    inside.append(number)
                    most.append(len(inside))
                    inside.remove(number)
                    done += 1
            except (LimitsTaken, SettingsError):
                continue

    threads = [threading.Thread(target=come_and_go, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert len(most) == 200
    assert set(most) == {1}


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    """Each sandbox has a port of its own, so what they left would pile up."""
    with hold_limits(tmp_path, UPBIT, None):
        assert (tmp_path / LOCK).exists()
    assert os.name != "posix" or not list(tmp_path.iterdir())


def test_two_sandboxes_do_not_meet(tmp_path: Path) -> None:
    """Tests run in parallel."""
    with (
        hold_limits(tmp_path, "http://127.0.0.1:50001", None),
        hold_limits(tmp_path, "http://127.0.0.1:50002", None),
    ):
        assert len(list(tmp_path.iterdir())) == 2


def test_an_owner_that_cannot_be_read_is_unknown(tmp_path: Path) -> None:
    """Only the lock counts."""
    with hold_limits(tmp_path, UPBIT, None):
        for garbage in (b"garbage", b"\xff\xfe", b'{"pid": "\xff"}', b""):
            (tmp_path / LOCK).write_bytes(garbage)
            with (
                pytest.raises(AlreadyRunning, match="process unknown"),
                hold_limits(tmp_path, UPBIT, None),
            ):
                pass


def test_an_error_of_the_block_passes_and_the_lock_is_free(tmp_path: Path) -> None:
    """The lock ends however the block does."""
    with (
        pytest.raises(ZeroDivisionError, match="its own"),
        hold_limits(tmp_path, UPBIT, None),
    ):
        raise ZeroDivisionError("its own")
    with hold_limits(tmp_path, UPBIT, None):
        pass


@posix_only
def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    """Whoever laid it would have us empty a file of his choice."""
    victim, folder = tmp_path / "victim", tmp_path / "limits"
    victim.write_text("dear")
    folder.mkdir()
    (folder / LOCK).symlink_to(victim)
    with (
        pytest.raises(SettingsError, match=r"api.upbit.com.lock cannot be opened: .*; remove it"),
        hold_limits(folder, UPBIT, None),
    ):
        pass
    assert victim.read_text() == "dear"


@posix_only
def test_a_link_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    """For the same reason."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "limits").symlink_to(tmp_path / "elsewhere")
    with (
        pytest.raises(SettingsError, match="is a link"),
        hold_limits(tmp_path / "limits", UPBIT, None),
    ):
        pass


@posix_only
@pytest.mark.skipif(os.name == "posix" and os.geteuid() != 0, reason="only root gives files away")
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """He could put another file in place of ours."""
    folder = tmp_path / "limits"
    folder.mkdir()
    os.chown(folder, 12345, -1)
    match = rf"belongs to user 12345, and this runtime runs as user {os.geteuid()}; run it as"
    with pytest.raises(SettingsError, match=match), hold_limits(folder, UPBIT, None):
        pass


@posix_only
@pytest.mark.parametrize("mode", [0o755, 0o770])
def test_a_folder_of_ours_is_closed_to_others(tmp_path: Path, mode: int) -> None:
    """A generous umask, or a careless hand."""
    folder = tmp_path / "limits"
    folder.mkdir()
    folder.chmod(mode)
    with hold_limits(folder, UPBIT, None):
        assert folder.stat().st_mode & 0o777 == 0o700
        assert (folder / LOCK).stat().st_mode & 0o777 == 0o600


def test_names_of_one_exchange_are_one_key() -> None:
    """Scheme, path and case do not matter; another port is another exchange."""
    same = {exchange_key(url) for url in (UPBIT, "HTTPS://Api.Upbit.com.:443/v1")}
    assert same == {"api.upbit.com"}
    assert exchange_key("http://127.0.0.1:1") != exchange_key("http://127.0.0.1:2")
    assert exchange_key("http://[::1]:1") != exchange_key("http://[::11]")
    assert exchange_key("https://a_b") != exchange_key("https://a:")
    assert len(exchange_key(f"https://{'a' * 1000}")) < 200


def test_what_is_on_this_machine_has_a_folder_that_ends_with_the_session() -> None:
    """A real exchange's is the user's own, whoever starts the process."""
    here = {limits_dir(url) for url in ("http://127.0.0.1:1", "http://[::1]:2", "http://127.1.1.1")}
    assert len(here) == 1
    assert limits_dir(UPBIT) not in here


def test_without_a_session_sandboxes_have_the_users_own_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Who names a socket of his own needs no runtime folder that could hold one."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / ("long" * 30)))
    assert limits_dir("http://127.0.0.1:1") == limits_dir(UPBIT)
