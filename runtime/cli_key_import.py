"""`marketd keys import`: keeps what is found in a file of another program, key after key."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from actors.errors import InvalidRequest, KeyRefused, RequestRejected
from actors.key_messages import AddKey
from runtime.cli_keys import ANSWERED, REFUSED, keep_key, show
from runtime.client.blocking import BlockingClient
from runtime.hygiene import harden_process
from runtime.key_import import FoundKey, read_layout
from runtime.names import printable


def import_keys(client: BlockingClient, options: argparse.Namespace) -> int:
    """Keep the keys in a file, those that are not refused; return the exit code.

    For people each is told as it comes; as JSON it is one object, with `keys`, what became of each
    that was kept, and `refused`, of each other its name and the reason.
    """
    harden_process()
    kept: list[dict[str, Any]] = []
    refused: list[dict[str, str]] = []
    found = _found(options, refused)
    count = len(found) + len(refused)
    try:
        for key in found:
            message = _message(options, key)
            name = f"{message.exchange}:{message.label}"
            _say(f"{name}, from {key.where}")
            try:
                result = keep_key(client, options, message)
            except (InvalidRequest, KeyRefused, RequestRejected) as error:
                # It is about this key; the others may be kept.
                _say(f"marketd: {error}")
                refused.append({"key": name, "error": str(error)})
                continue
            if result is None:
                _say("nothing was done")
                refused.append({"key": name, "error": "nothing was done"})
                continue
            kept.append(result)
            if not options.json:
                show(options, "keys changed", result)
    finally:
        # What was kept before all ended is told as well.
        if options.json and (kept or refused):
            show(options, "keys changed", {"keys": kept, "refused": refused})
    if refused and count > 1:
        _say(f"{len(refused)} of {count} keys were not kept")
    return REFUSED if refused else ANSWERED


def _found(options: argparse.Namespace, refused: list[dict[str, str]]) -> tuple[FoundKey, ...]:
    """Return the keys in the file that are whole; add the others to `refused`."""
    file: Path = options.file

    def refuse(name: str, why: str) -> None:
        _say(f"marketd: {why}")
        refused.append({"key": name, "error": why})

    found = read_layout(
        file,
        second=options.second,
        exchange=options.exchange,
        pass_over=lambda what: _say(f"passed over: {what}"),
        refuse=refuse,
    )
    if options.label and (count := len(found) + len(refused)) > 1:
        raise InvalidRequest(f"--label goes with one key, and {file} has {count}")
    return found


def _message(options: argparse.Namespace, key: FoundKey) -> AddKey:
    return AddKey(
        exchange=key.exchange,
        label=options.label or key.label,
        access_key=key.access_key.buffer.decode(),
        secret_key=key.secret_key.buffer.decode(),
        passphrase="" if key.passphrase is None else key.passphrase.buffer.decode(),
        uid=key.uid or None,
        telegram_id=key.telegram_id or None,
        replace=options.replace,
        test=options.test,
    )


def _say(line: str) -> None:
    sys.stderr.write(f"{printable(line)}\n")
