"""Passphrases for the command line: from a prompt, a file descriptor or standard input."""

from __future__ import annotations

import argparse
import contextlib
import sys
from typing import NoReturn

from actors.errors import InvalidRequest
from actors.vault.values import UnlockKind


def present_passphrase(kind: UnlockKind, options: argparse.Namespace) -> str:
    """Return what unlocks the vault now; empty if its kind is no passphrase."""
    return _read("passphrase: ", options.passphrase_fd) if kind == "passphrase" else ""


def new_passphrase(fd: int | None) -> str:
    """Return what shall unlock the vault; at a terminal it is asked for twice."""
    first = _read("new passphrase: ", fd)
    if fd is None and sys.stdin.isatty() and _read("once more: ", None) != first:
        _differ()
    return first


def _differ() -> NoReturn:
    raise InvalidRequest("the two are not the same; nothing was done")


def _read(prompt: str, fd: int | None) -> str:
    from runtime.hygiene import harden_process  # noqa: PLC0415 - ctypes
    from runtime.secret_input import read_secret  # noqa: PLC0415 - terminals

    harden_process()
    return as_text(read_secret(prompt, fd=fd))


def as_text(secret: bytearray) -> str:
    """Return a secret as a message takes it, and wipe the buffer.

    Raises:
      InvalidRequest: It is no text; the reason does not quote it.
    """
    try:
        with contextlib.suppress(UnicodeDecodeError):
            return secret.decode()
    finally:
        secret[:] = bytes(len(secret))
    raise InvalidRequest("a secret must be text in UTF-8")
