"""Where files are, and that strangers cannot put theirs in place of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.config import ControlSettings, RuntimeSettings, Settings, SettingsError
from runtime.paths import (
    SOCKET_PATH_BYTES_MAX,
    ensure_private_dir,
    socket_path,
    state_dir,
)


def test_defaults_are_absolute_and_the_user_s_own() -> None:
    """Daemon and clients find each other whatever folder they are started in."""
    assert state_dir(Settings()).is_absolute()
    assert socket_path(Settings()).name == "control.sock"
    assert "marketd" in str(socket_path(Settings()))


def test_settings_choose_and_an_option_overrules(tmp_path: Path) -> None:
    """The order a user expects: command line before settings."""
    settings = Settings(
        runtime=RuntimeSettings(state_dir=str(tmp_path / "state")),
        control=ControlSettings(socket=str(tmp_path / "a.sock")),
    )

    assert state_dir(settings) == tmp_path / "state"
    assert socket_path(settings) == tmp_path / "a.sock"
    assert socket_path(settings, tmp_path / "b.sock") == tmp_path / "b.sock"


def test_home_and_relative_paths_are_resolved() -> None:
    """`~` in a settings file is the home folder and not a folder of that name."""
    assert state_dir(Settings(runtime=RuntimeSettings(state_dir="~/x"))) == Path.home() / "x"
    assert socket_path(Settings(), "here.sock") == Path.cwd() / "here.sock"


def test_path_too_long_for_a_unix_socket_is_refused_with_the_numbers() -> None:
    """The system's own message, "AF_UNIX path too long", names neither limit nor path."""
    fits = "/" + "x" * (SOCKET_PATH_BYTES_MAX - 1)

    assert socket_path(Settings(), fits) == Path(fits)
    with pytest.raises(SettingsError, match=f"at most {SOCKET_PATH_BYTES_MAX} bytes.*was 1"):
        socket_path(Settings(), fits + "x")


def test_folders_are_made_for_the_owner_only(tmp_path: Path) -> None:
    """Also those above the last, whatever the umask."""
    ensure_private_dir(tmp_path / "a" / "b")

    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_folder_that_everybody_may_write_to_is_refused(tmp_path: Path) -> None:
    """Anybody could put a socket of their own in our place; not so under the sticky bit."""
    tmp_path.chmod(0o777)
    with pytest.raises(SettingsError, match="everybody may write to the folder"):
        ensure_private_dir(tmp_path)

    tmp_path.chmod(0o1777)
    ensure_private_dir(tmp_path)


def test_file_in_place_of_the_folder_is_said_so(tmp_path: Path) -> None:
    """A mistake in a setting, not a traceback."""
    (tmp_path / "file").write_text("")

    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(SettingsError, match="cannot be made: Not a directory"):
            ensure_private_dir(path)
