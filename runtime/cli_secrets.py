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
    if kind != "passphrase":
        return ""
    return _read("passphrase: ", options.passphrase_fd, more=_new_one_follows(kind, options))


def _new_one_follows(kind: UnlockKind, options: argparse.Namespace) -> bool:
    """Return whether the new passphrase is the next line of where the present one comes from."""
    if not hasattr(options, "new_passphrase_fd"):
        return False
    # Descriptor 0 is standard input, which is read where none is given.
    same_place = (options.new_passphrase_fd or 0) == (options.passphrase_fd or 0)
    return same_place and (options.kind or kind) == "passphrase"


def new_passphrase(fd: int | None) -> str:
    """Return what shall unlock the vault; at a terminal it is asked for twice."""
    first = _read("new passphrase: ", fd)
    if fd is None and sys.stdin.isatty() and _read("once more: ", None) != first:
        _differ()
    return first


def _differ() -> NoReturn:
    raise InvalidRequest("the two are not the same; nothing was done")


def _read(prompt: str, fd: int | None, *, more: bool = False) -> str:
    from runtime.hygiene import harden_process  # noqa: PLC0415 - ctypes
    from runtime.secret_input import read_secret, refuse_more  # noqa: PLC0415 - terminals

    harden_process()
    text = as_text(read_secret(prompt, fd=fd))
    if not more:
        refuse_more(fd)
    return text


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
