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

from actors.errors import InvalidRequest, KeysError, KeysSealed, VaultDamaged
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
from actors.key_reports import VaultStatus
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
from runtime.cli_key_options import add_fd, add_name, add_rules
from runtime.cli_parts import add_part
from runtime.cli_secrets import as_text, new_passphrase, present_passphrase
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
        add_fd(part, "--passphrase-fd", "where the passphrase comes from")
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
    add_fd(passphrase, "--passphrase-fd", "where the present passphrase comes from")
    add_fd(passphrase, "--new-passphrase-fd", "where the new one comes from")
    recover = _part(
        parts, [common, losing], "recover", "put the last good copy of the vault back", _recover
    )
    add_fd(recover, "--passphrase-fd", "where the passphrase comes from")


def _add_key(parts: Any, common: Any, changing: Any, losing: Any) -> None:
    add = _part(
        parts,
        [common, losing],
        "add",
        "keep a key; asks for it, or reads it from standard input: a line each, or JSON",
        _add,
    )
    add_name(add)
    add_rules(
        add,
        allow="all but withdrawals if none, or what the key may do that it replaces",
        per_minute="no bound if not given, or that of the key it replaces",
    )
    add.add_argument("--replace", action="store_true", help="in place of a key of that name")
    add.add_argument("--test", action="store_true", help="keep it only if the exchange takes it")
    change = _part(parts, [common, changing], "change", "what a key may do, or its owner", _change)
    add_name(change)
    add_rules(
        change,
        allow="these instead of those it has; they stay if none is named",
        per_minute="0 for no bound",
        expires="; none if that is not known any more",
    )
    listing = _part(parts, [common], "list", "the keys there are, masked", _plain(_list))
    listing.add_argument("--exchange", metavar="NAME", default="", help="only of this one")
    listing.add_argument("--removed", action="store_true", help="removed ones, too")
    listing.add_argument("--owner", metavar="ID", default="", help="only with this uid or id")
    test = _part(parts, [common], "test", "try a key against its exchange", _test)
    add_name(test)
    remove = _part(parts, [common, losing], "remove", "take a key out of use", _remove)
    add_name(remove)
    remove.add_argument("--purge", action="store_true", help="forget it for good")
    restore = _part(
        parts, [common, changing], "restore", "take a removed key back", _plain(_restore)
    )
    add_name(restore)
    imported = _part(
        parts, [common, losing], "import", "keep the keys that are in files of others", _import
    )
    imported.add_argument("file", metavar="FILE", type=Path, help="where they are")
    imported.add_argument(
        "second", metavar="KEY_FILE", nargs="?", type=Path, help="with what opens them, if sealed"
    )
    imported.add_argument(
        "--exchange", metavar="NAME", default="", help="of which, where the file does not say it"
    )
    imported.add_argument("--label", metavar="NAME", default="", help="what to call the only key")
    imported.add_argument("--replace", action="store_true", help="in place of keys of that name")
    imported.add_argument("--test", action="store_true", help="keep only what the exchange takes")


def _add_audit(parts: Any, common: Any) -> None:
    audit = _part(parts, [common], "audit", "what was done with keys, the newest last", _audit)
    audit.add_argument("--count", metavar="N", type=int, default=50, help="the newest so many; 50")
    audit.add_argument("--key", metavar="NAME", default="", help="only of this key")
    audit.add_argument("--verify", action="store_true", help="whether the trail is whole")


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
    return _told(options, _asked(client, options, message))


def _asked(
    client: BlockingClient, options: argparse.Namespace, message: Request[Any]
) -> dict[str, Any] | None:
    """Make a change, after its owner has said yes to what it would be; None if he did not."""
    trial = msgspec.structs.replace(message, dry_run=True)
    result: dict[str, Any] = client.ask_raw(trial, options.timeout).result
    if not options.dry_run:
        if not confirm(options, result["what"]):
            return None
        result = client.ask_raw(message, options.timeout).result
    return result


def _told(options: argparse.Namespace, result: dict[str, Any] | None) -> int:
    return left() if result is None else show(options, "keys changed", result)


def left() -> int:
    """Say that nothing was done; return the exit code."""
    sys.stderr.write("nothing was done\n")
    return REFUSED


def _create(client: BlockingClient, options: argparse.Namespace) -> int:
    status = client.ask(GetVault(), options.timeout)
    if status.state in ("sealed", "open"):
        # What a person would type in vain is found out first.
        raise KeysError(f"there is a vault already: {status.reason}")
    passphrase = new_passphrase(options.passphrase_fd) if status.unlock == "passphrase" else ""
    result = client.ask_raw(CreateVault(passphrase=passphrase), options.timeout).result
    show(options, "keys status", result)
    return _advise(status)


def _advise(status: VaultStatus) -> int:
    """Say what a vault just made hangs on, if that is a file; return the exit code."""
    if status.unlock == "key_file" and status.places:
        # It stands last, behind what it opens.
        sys.stderr.write(
            f"only {printable(status.places[-1])} opens the vault: keep a copy of that file, apart "
            "from those of the vault\n"
        )
    return ANSWERED


def _unlock(client: BlockingClient, options: argparse.Namespace) -> int:
    result = client.ask_raw(GetVault(), options.timeout).result
    if result["state"] == "open":
        # A wrong passphrase must never look as if it had been right.
        sys.stderr.write("the vault was open already; no passphrase was looked at\n")
    else:
        message = UnlockVault(passphrase=present_passphrase(result["unlock"], options))
        result = client.ask_raw(message, options.timeout).result
    return show(options, "keys status", result)


def _recover(client: BlockingClient, options: argparse.Namespace) -> int:
    kind = client.ask(GetVault(), options.timeout).unlock
    passphrase = present_passphrase(kind, options)
    message = RecoverVault(passphrase=passphrase, dry_run=options.dry_run)
    return _changed(client, options, message)


def _change_unlock(client: BlockingClient, options: argparse.Namespace) -> int:
    status = client.ask(GetVault(), options.timeout)
    kind: UnlockKind = options.kind or status.unlock
    old = new = ""
    if not options.dry_run:
        old = present_passphrase(status.unlock, options)
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
        raise (VaultDamaged if status.state == "damaged" else KeysSealed)(status.reason)
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
    result = keep_key(client, options, message)
    code = _told(options, result)
    return _advise(status) if result and result["done"] and status.state == "none" else code


def keep_key(
    client: BlockingClient, options: argparse.Namespace, message: AddKey
) -> dict[str, Any] | None:
    """Keep a key; ask before one is lost by it. Return what was done, None if not agreed to."""
    name = f"{message.exchange}:{message.label}"
    # Without `replace` nothing is lost, should there be one the next moment.
    message = msgspec.structs.replace(
        message, replace=options.replace and _is_there(client, options, name)
    )
    if message.replace:
        return _asked(client, options, message)
    message = msgspec.structs.replace(message, dry_run=options.dry_run)
    result: dict[str, Any] = client.ask_raw(message, options.timeout).result
    return result


def _is_there(client: BlockingClient, options: argparse.Namespace, name: str) -> bool:
    if client.ask(GetVault(), options.timeout).state == "none":
        return False
    keys = client.ask(ListKeys(removed=True), options.timeout)
    return any(each.name == name for each in keys)


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


def _test(client: BlockingClient, options: argparse.Namespace) -> int:
    result = client.ask_raw(TryKey(key=options.name), options.timeout).result
    show(options, "keys test", result)
    return ANSWERED if result["works"] else REFUSED


def _import(client: BlockingClient, options: argparse.Namespace) -> int:
    from runtime.cli_key_import import import_keys  # noqa: PLC0415 - readers of older layouts

    return import_keys(client, options)


def _audit(client: BlockingClient, options: argparse.Namespace) -> int:
    if options.verify:
        result = client.ask_raw(VerifyAudit(), options.timeout).result
        show(options, "keys verify", result)
        return ANSWERED if result["whole"] else REFUSED
    message = GetAudit(count=options.count, key=options.key)
    return show(options, "keys audit", client.ask_raw(message, options.timeout).result)
