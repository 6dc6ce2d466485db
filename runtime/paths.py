"""Where files are: one answer for the daemon, the clients and the command line."""

from __future__ import annotations

import errno
import os
import stat
import sys
import warnings
from pathlib import Path

from runtime.config import Settings, SettingsError

APP = "marketd"
SOCKET_FILE = "control.sock"

# sockaddr_un.sun_path holds 108 bytes on Linux and 104 on the BSDs and macOS, one of them for the
# end of the text. Source: unix(7); sys/un.h of FreeBSD and macOS.
SOCKET_PATH_BYTES_MAX = 107 if sys.platform == "linux" else 103

_PRIVATE = 0o700


def state_dir(settings: Settings) -> Path:
    """Return the folder of the database and the lock, absolute; it need not exist yet."""
    chosen = settings.runtime.state_dir
    if chosen:
        return _absolute(chosen)
    import platformdirs  # noqa: PLC0415 - a command with a socket of its own must not wait for it

    return platformdirs.user_data_path(APP, appauthor=False)


def socket_path(settings: Settings, chosen: str | os.PathLike[str] | None = None) -> Path:
    """Return the path of the local socket, absolute; it need not exist yet.

    Args:
      settings: Names it, or leaves it to the default in the user's own runtime folder.
      chosen: Overrules the settings.

    Raises:
      SettingsError: The path is longer than the address of a Unix socket may be.
    """
    named = os.fspath(chosen) if chosen is not None else settings.control.socket
    path = _absolute(named) if named else _runtime_dir() / SOCKET_FILE
    size = len(os.fsencode(path))
    if size > SOCKET_PATH_BYTES_MAX:
        raise SettingsError(
            f"control.socket must be at most {SOCKET_PATH_BYTES_MAX} bytes long, which is all that "
            f"the address of a Unix socket holds; was {size}: {path}"
        )
    return path


def key_file_path(settings: Settings) -> Path:
    """Return the path of the key file that unlocks the keys; it need not exist yet.

    By default it is not where the sealed keys are, so that a copy of one folder opens nothing.
    """
    if settings.keys.key_file:
        return _absolute(settings.keys.key_file)
    import platformdirs  # noqa: PLC0415 - as above

    return platformdirs.user_config_path(APP, appauthor=False) / "unlock.key"


def ensure_private_dir(folder: Path) -> None:
    """Make `folder` if it is not there, open to its owner only.

    A folder that is there stays as it is, unless strangers could replace the files in it.

    Raises:
      SettingsError: It cannot be made, is not a folder, or everybody may write to it.
    """
    try:
        # `parents=True` would make the folders above with whatever rights the umask leaves.
        for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
            missing.mkdir(mode=_PRIVATE, exist_ok=True)
        mode = folder.stat().st_mode
        if not stat.S_ISDIR(mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    except OSError as error:
        raise SettingsError(f"folder {folder} cannot be made: {error.strerror}") from error
    # With the sticky bit, as on /tmp, everybody may write but nobody may replace another's file.
    if os.name == "posix" and mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise SettingsError(
            f"everybody may write to the folder {folder}, so anybody could put another file in "
            "place of ours; choose another folder, or take that right away"
        )


def _runtime_dir() -> Path:
    import platformdirs  # noqa: PLC0415 - as above

    # Without a login session there is no /run/user/UID, as in containers and cron jobs; the library
    # then warns and takes a folder in /tmp that must belong to the user. That is ours to live with.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return platformdirs.user_runtime_path(APP, appauthor=False)
        except OSError as error:
            raise SettingsError(f"no folder for the socket: {error}; set control.socket") from error


def _absolute(text: str) -> Path:
    return Path(os.path.abspath(Path(text).expanduser()))  # noqa: PTH100 - without following links
