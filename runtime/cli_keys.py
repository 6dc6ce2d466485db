"""The commands `marketd keys …`: what operators do with keys.

Secrets come from a prompt, a file descriptor or standard input; there is no option that takes one,
because arguments are in the process list and in the shell's history.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from actors.errors import InvalidRequest, KeyRefused, RequestRejected
from actors.key_messages import (
    AddKey,
    ChangeKey,
    GetAudit,
    ListKeys,
    RemoveKey,
    RestoreKey,
    TryKey,
    VerifyAudit,
)
from actors.key_rules import split_name
from actors.vault.values import UnlockKind
from actors.vault_messages import (
    ChangeUnlock,
    CreateVault,
    GetVault,
    LockVault,
    RecoverVault,
    RotateVault,
    UnlockVault,
)
from runtime.cli_parts import add_part
from runtime.cli_secrets import as_text, new_passphrase, present_passphrase
from runtime.cli_times import time
from runtime.client.blocking import BlockingClient
from runtime.core.message import Request
from runtime.names import printable

ANSWERED, REFUSED = 0, 1


def add_keys(keys: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """Add what stands below the command `keys`."""
    parts = keys.add_subparsers(dest="what", metavar="WHAT", title="WHAT", required=True)
    changing = argparse.ArgumentParser(add_help=False)
    changing.add_argument("--dry-run", action="store_true", help="only say what would be done")
    losing = argparse.ArgumentParser(add_help=False, parents=[changing])
    losing.add_argument("--yes", action="store_true", help="do not ask")
    _add_vault(parts, common, changing, losing)
    _add_key(parts, common, changing, losing)
    _add_audit(parts, common)


def _part(
    parts: Any,
    parents: list[argparse.ArgumentParser],
    name: str,
    help_text: str,
    run: Callable[[BlockingClient, argparse.Namespace], int],
) -> argparse.ArgumentParser:
    return add_part(parts, parents, name, help_text, run=run)


def _add_vault(parts: Any, common: Any, changing: Any, losing: Any) -> None:
    _part(parts, [common], "status", "how the vault is", _plain(lambda _: GetVault()))
    for name, help_text, run in (
        ("create", "make a vault for keys", _create),
        ("unlock", "open the vault", _unlock),
    ):
        part = _part(parts, [common], name, help_text, run)
        _add_fd(part, "--passphrase-fd", "where the passphrase comes from")
    _part(parts, [common], "lock", "seal the vault", _plain(lambda _: LockVault()))
    rotate = "seal everything anew under a new data key"
    _part(
        parts,
        [common, changing],
        "rotate",
        rotate,
        _plain(lambda options: RotateVault(dry_run=options.dry_run)),
    )
    passphrase = _part(
        parts, [common, changing], "passphrase", "change what unlocks the vault", _change_unlock
    )
    passphrase.add_argument(
        "--kind", choices=("passphrase", "key_file", "credential"), help="another kind from now on"
    )
    _add_fd(passphrase, "--passphrase-fd", "where the present passphrase comes from")
    _add_fd(passphrase, "--new-passphrase-fd", "where the new one comes from")
    recover = _part(
        parts, [common, losing], "recover", "put the last good copy of the vault back", _recover
    )
    _add_fd(recover, "--passphrase-fd", "where the passphrase comes from")


def _add_key(parts: Any, common: Any, changing: Any, losing: Any) -> None:
    add = _part(
        parts,
        [common, losing],
        "add",
        "keep a key; asks for it, or reads it from standard input: a line each, or JSON",
        _add,
    )
    _add_name(add)
    _add_rules(add)
    add.add_argument("--replace", action="store_true", help="in place of a key of that name")
    add.add_argument("--test", action="store_true", help="keep it only if the exchange takes it")
    change = _part(parts, [common, changing], "change", "what a key may do, or its owner", _change)
    _add_name(change)
    _add_rules(change)
    listing = _part(parts, [common], "list", "the keys there are, masked", _plain(_list))
    listing.add_argument("--exchange", metavar="NAME", default="", help="only of this one")
    listing.add_argument("--removed", action="store_true", help="removed ones, too")
    listing.add_argument("--owner", metavar="ID", default="", help="only with this uid or id")
    test = _part(
        parts,
        [common],
        "test",
        "try a key against its exchange",
        _plain(lambda options: TryKey(key=options.name)),
    )
    _add_name(test)
    remove = _part(parts, [common, losing], "remove", "take a key out of use", _remove)
    _add_name(remove)
    remove.add_argument("--purge", action="store_true", help="forget it for good")
    restore = _part(
        parts, [common, changing], "restore", "take a removed key back", _plain(_restore)
    )
    _add_name(restore)
    imported = _part(
        parts, [common, losing], "import", "keep the keys that are in files of others", _import
    )
    imported.add_argument("file", metavar="FILE", type=Path, help="where they are")
    imported.add_argument(
        "second", metavar="KEY_FILE", nargs="?", type=Path, help="with what opens them, if sealed"
    )
    imported.add_argument("--exchange", metavar="NAME", default="upbit", help="upbit if not said")
    imported.add_argument("--label", metavar="NAME", default="", help="what to call the only key")
    imported.add_argument("--replace", action="store_true", help="in place of keys of that name")
    imported.add_argument("--test", action="store_true", help="keep only what the exchange takes")


def _add_audit(parts: Any, common: Any) -> None:
    audit = _part(parts, [common], "audit", "what was done with keys, the newest last", _audit)
    audit.add_argument("--count", metavar="N", type=int, default=50, help="the newest so many; 50")
    audit.add_argument("--key", metavar="NAME", default="", help="only of this key")
    audit.add_argument("--verify", action="store_true", help="whether the trail is whole")


def _add_name(part: argparse.ArgumentParser) -> None:
    part.add_argument("name", metavar="NAME", help="exchange:label, such as upbit:main")


def _add_fd(part: argparse.ArgumentParser, option: str, help_text: str) -> None:
    part.add_argument(option, metavar="N", type=int, help=f"{help_text}: file descriptor N")


def _add_rules(part: argparse.ArgumentParser) -> None:
    part.add_argument(
        "--allow",
        metavar="RULE",
        action="append",
        help="what it may sign, such as 'GET /v1/*'; again for more; all but withdrawals if none",
    )
    part.add_argument("--per-minute", metavar="N", type=int, help="most signatures in a minute")
    part.add_argument("--expires", metavar="TIME", type=time, help="when the exchange ends it")
    part.add_argument(
        "--uid", metavar="ID", help="who the owner is at the exchange; shares limits with that uid"
    )
    part.add_argument("--telegram-id", metavar="ID", help="who the owner is on Telegram")


# ------------------------------------------------------------------ doing it


def show(options: argparse.Namespace, name: str, result: Any) -> int:
    """Write a result, for people or as JSON; return the exit code."""
    if options.json:
        sys.stdout.write(msgspec.json.encode(result).decode() + "\n")
    else:
        from runtime.render_results import render  # noqa: PLC0415 - rich, for people only

        render(name, result, sys.stdout)
    return ANSWERED


def confirm(options: argparse.Namespace, what: str) -> bool:
    """Return whether the person at the terminal wants it; True with `--yes`.

    Raises:
      InvalidRequest: There is no terminal to ask at.
    """
    if options.yes:
        return True
    # Closed by `<&-`, it is None.
    if sys.stdin is None or not sys.stdin.isatty():
        raise InvalidRequest(f"this would {printable(what)}: say --yes if you mean it")
    sys.stderr.write(f"This will {printable(what)}. Go on? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _plain(
    message: Callable[[argparse.Namespace], Request[Any]],
) -> Callable[[BlockingClient, argparse.Namespace], int]:
    def run(client: BlockingClient, options: argparse.Namespace) -> int:
        result = client.ask_raw(message(options), options.timeout).result
        return show(options, f"keys {options.what}", result)

    return run


def _changed(client: BlockingClient, options: argparse.Namespace, message: Request[Any]) -> int:
    """Make a change, after its owner has said yes to what it would be."""
    trial = msgspec.structs.replace(message, dry_run=True)
    result = client.ask_raw(trial, options.timeout).result
    if not options.dry_run:
        if not confirm(options, result["what"]):
            return left()
        result = client.ask_raw(message, options.timeout).result
    return show(options, "keys changed", result)


def left() -> int:
    """Say that nothing was done; return the exit code."""
    sys.stderr.write("nothing was done\n")
    return REFUSED


def _create(client: BlockingClient, options: argparse.Namespace) -> int:
    passphrase = ""
    if client.ask(GetVault(), options.timeout).unlock == "passphrase":
        passphrase = new_passphrase(options.passphrase_fd)
    result = client.ask_raw(CreateVault(passphrase=passphrase), options.timeout).result
    return show(options, "keys status", result)


def _unlock(client: BlockingClient, options: argparse.Namespace) -> int:
    passphrase = present_passphrase(client, options)
    result = client.ask_raw(UnlockVault(passphrase=passphrase), options.timeout).result
    return show(options, "keys status", result)


def _recover(client: BlockingClient, options: argparse.Namespace) -> int:
    passphrase = present_passphrase(client, options)
    message = RecoverVault(passphrase=passphrase, dry_run=options.dry_run)
    return _changed(client, options, message)


def _change_unlock(client: BlockingClient, options: argparse.Namespace) -> int:
    status = client.ask(GetVault(), options.timeout)
    kind: UnlockKind = options.kind or status.unlock
    old = new = ""
    if not options.dry_run:
        old = present_passphrase(client, options)
        if kind == "passphrase":
            new = new_passphrase(options.new_passphrase_fd)
    message = ChangeUnlock(
        kind=kind,
        passphrase=old,
        new_passphrase=new,
        dry_run=options.dry_run,
    )
    result = client.ask_raw(message, options.timeout).result
    return show(options, "keys changed", result)


def _add(client: BlockingClient, options: argparse.Namespace) -> int:
    from runtime.hygiene import harden_process  # noqa: PLC0415 - ctypes
    from runtime.secret_input import read_fields  # noqa: PLC0415 - terminals

    harden_process()
    # What a person would type in vain is found out first.
    exchange, label = split_name(options.name)
    status = client.ask(GetVault(), options.timeout)
    if status.state != "open" and (status.state != "none" or status.unlock == "passphrase"):
        raise InvalidRequest(status.reason)
    # OKX's keys have a third secret, chosen when the key was made.
    names = ("access_key", "secret_key", *(("passphrase",) if exchange == "okx" else ()))
    fields: dict[str, Any] = {name: as_text(value) for name, value in read_fields(names).items()}
    message = AddKey(
        exchange=exchange,
        label=label,
        **fields,
        **_rules(options),
        replace=options.replace,
        test=options.test,
    )
    return _kept(client, options, message)


def _kept(client: BlockingClient, options: argparse.Namespace, message: AddKey) -> int:
    """Keep a key; ask before one is lost by it."""
    if options.replace:
        return _changed(client, options, message)
    message = msgspec.structs.replace(message, dry_run=options.dry_run)
    result = client.ask_raw(message, options.timeout).result
    return show(options, "keys changed", result)


def _rules(options: argparse.Namespace) -> dict[str, Any]:
    found = {
        "allow": None if options.allow is None else tuple(options.allow),
        "requests_per_minute": options.per_minute,
        "expires": options.expires,
        "uid": options.uid,
        "telegram_id": options.telegram_id,
    }
    return {name: value for name, value in found.items() if value is not None}


def _change(client: BlockingClient, options: argparse.Namespace) -> int:
    message = ChangeKey(key=options.name, **_rules(options), dry_run=options.dry_run)
    result = client.ask_raw(message, options.timeout).result
    return show(options, "keys changed", result)


def _list(options: argparse.Namespace) -> ListKeys:
    return ListKeys(exchange=options.exchange, removed=options.removed, owner=options.owner)


def _remove(client: BlockingClient, options: argparse.Namespace) -> int:
    return _changed(client, options, RemoveKey(key=options.name, purge=options.purge))


def _restore(options: argparse.Namespace) -> RestoreKey:
    return RestoreKey(key=options.name, dry_run=options.dry_run)


def _import(client: BlockingClient, options: argparse.Namespace) -> int:
    from runtime.hygiene import harden_process  # noqa: PLC0415 - ctypes
    from runtime.key_import import read_layout  # noqa: PLC0415 - readers of older layouts

    harden_process()
    found = read_layout(options.file, second=options.second, exchange=options.exchange)
    if options.label and len(found) > 1:
        raise InvalidRequest(f"--label goes with one key, and {options.file} has {len(found)}")
    refused = 0
    for key in found:
        name = f"{key.exchange}:{options.label or key.label}"
        sys.stderr.write(f"{printable(f'{name}, from {key.where}')}\n")
        passphrase = "" if key.passphrase is None else key.passphrase.buffer.decode()
        message = AddKey(
            exchange=key.exchange,
            label=options.label or key.label,
            access_key=key.access_key.buffer.decode(),
            secret_key=key.secret_key.buffer.decode(),
            passphrase=passphrase,
            uid=key.uid or None,
            replace=options.replace,
            test=options.test,
        )
        try:
            refused += _kept(client, options, message) != ANSWERED
        except (InvalidRequest, KeyRefused, RequestRejected) as error:
            # It is about this key; the others may be kept.
            sys.stderr.write(f"marketd: {printable(str(error))}\n")
            refused += 1
    if refused and len(found) > 1:
        sys.stderr.write(f"{refused} of {len(found)} keys were not kept\n")
    return REFUSED if refused else ANSWERED


def _audit(client: BlockingClient, options: argparse.Namespace) -> int:
    if options.verify:
        result = client.ask_raw(VerifyAudit(), options.timeout).result
        show(options, "keys verify", result)
        return ANSWERED if result["whole"] else REFUSED
    message = GetAudit(count=options.count, key=options.key)
    return show(options, "keys audit", client.ask_raw(message, options.timeout).result)
