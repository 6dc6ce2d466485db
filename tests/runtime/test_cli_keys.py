"""`marketd keys …`: what is sent, what is shown, and that no argument ever takes a secret.

Commands that read secrets run as processes of their own: they close themselves to debuggers for
good, which is not for the process that runs the tests.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.errors import InvalidRequest
from actors.key_messages import (
    KEY_METHODS,
    AddKey,
    ChangeKey,
    GetAudit,
    ListKeys,
    RemoveKey,
    RestoreKey,
    TryKey,
    VerifyAudit,
)
from actors.key_reports import AuditVerdict
from actors.vault_messages import (
    ChangeUnlock,
    CreateVault,
    GetVault,
    LockVault,
    RecoverVault,
    RotateVault,
    UnlockVault,
)
from runtime.cli import _parser, run
from runtime.core.message import Request
from runtime.testing_socket import control_in_thread, sample_answer

ROOT = Path(__file__).resolve().parents[2]
ACCESS, SECRET, PHRASE, NEW = "cAnArY-access", "cAnArY-secret", "cAnArY-phrase", "cAnArY-new"
KEY: dict[str, Any] = {
    "exchange": "upbit",
    "label": "main",
    "access_key": ACCESS,
    "secret_key": SECRET,
}
RULES = "--allow|GET /v1/*|--allow|POST /v1/orders|--per-minute|9|--uid|u|--telegram-id|t"
RULED: dict[str, Any] = {
    "allow": ("GET /v1/*", "POST /v1/orders"),
    "requests_per_minute": 9,
    "uid": "u",
    "telegram_id": "t",
}

# Words apart by |, and the last message that is sent.
COMMANDS: list[tuple[str, Request[Any]]] = [
    ("status", GetVault()),
    ("lock", LockVault()),
    ("rotate", RotateVault()),
    ("rotate|--dry-run", RotateVault(dry_run=True)),
    ("list", ListKeys()),
    (
        "list|--exchange|upbit|--removed|--owner|u",
        ListKeys(exchange="upbit", removed=True, owner="u"),
    ),
    (f"change|upbit:main|{RULES}|--dry-run", ChangeKey(key="upbit:main", **RULED, dry_run=True)),
    ("test|upbit:main", TryKey(key="upbit:main")),
    ("remove|upbit:main|--purge|--yes", RemoveKey(key="upbit:main", purge=True)),
    ("remove|upbit:main|--dry-run", RemoveKey(key="upbit:main", dry_run=True)),
    ("restore|upbit:main", RestoreKey(key="upbit:main")),
    ("audit|--count|7|--key|upbit:main", GetAudit(count=7, key="upbit:main")),
    ("audit|--verify", VerifyAudit()),
    ("passphrase|--dry-run", ChangeUnlock(kind="passphrase", dry_run=True)),
]
WITH_SECRETS: list[tuple[str, list[str], Request[Any]]] = [
    ("create", [PHRASE], CreateVault(passphrase=PHRASE)),
    ("unlock", [PHRASE], UnlockVault(passphrase=PHRASE)),
    (
        "passphrase",
        [PHRASE, NEW],
        ChangeUnlock(kind="passphrase", passphrase=PHRASE, new_passphrase=NEW),
    ),
    ("recover|--yes", [PHRASE], RecoverVault(passphrase=PHRASE)),
    (f"add|upbit:main|{RULES}|--test", [ACCESS, SECRET], AddKey(**KEY, **RULED, test=True)),
    ("add|upbit:main|--dry-run", [ACCESS, SECRET], AddKey(**KEY, dry_run=True)),
    ("add|upbit:main|--replace|--yes", [ACCESS, SECRET], AddKey(**KEY, replace=True)),
]


@dataclass
class Runtime:
    """One that answers from samples and remembers what it was asked.

    It takes no key of an exchange in `refused`.
    """

    path: Path
    whole: bool = True
    refused: set[str] = field(default_factory=set)
    asked: list[Request[Any]] = field(default_factory=list)

    async def answer(self, request: Request[Any]) -> object:
        """Answer from samples."""
        self.asked.append(request)
        if isinstance(request, VerifyAudit) and not self.whole:
            return AuditVerdict(whole=False, lines=5, first=1, problem="line 3 was changed")
        if isinstance(request, AddKey) and request.exchange in self.refused:
            raise InvalidRequest(f"there is a key {request.exchange}:{request.label} already")
        return await sample_answer(request)

    def keys(self, words: str, *options: str) -> int:
        """Run `marketd keys …` here and return its exit code."""
        return run(["keys", *words.split("|"), *options, "--socket", str(self.path)])

    def process(self, words: str, lines: list[str]) -> subprocess.CompletedProcess[bytes]:
        """Run it as a process of its own, with lines on standard input."""
        program = [sys.executable, "-m", "runtime", "keys", *words.split("|")]
        return subprocess.run(
            [*program, "--json", "--socket", str(self.path)],
            input="".join(f"{line}\n" for line in lines).encode(errors="surrogateescape"),
            capture_output=True,
            check=False,
            cwd=ROOT,
            timeout=30,
        )


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    """A runtime that notes what it was asked."""
    runtime = Runtime(tmp_path / "c.sock")
    with control_in_thread(runtime.path, runtime.answer):
        yield runtime


@pytest.mark.parametrize(("words", "message"), COMMANDS, ids=[words for words, _ in COMMANDS])
def test_each_command_sends_its_message(
    words: str, message: Request[Any], runtime: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    """As JSON the answer is one object on one line."""
    assert runtime.keys(words, "--json") == 0

    out, err = capsys.readouterr()
    assert runtime.asked[-1] == message
    assert (out.count("\n"), err) == (1, "")
    assert isinstance(json.loads(out), dict)


@pytest.mark.real_time
@pytest.mark.parametrize(
    ("words", "lines", "message"), WITH_SECRETS, ids=[words for words, *_ in WITH_SECRETS]
)
def test_secrets_are_read_from_standard_input(
    words: str, lines: list[str], message: Request[Any], runtime: Runtime
) -> None:
    """They arrive, and nothing that is written repeats them."""
    done = runtime.process(words, lines)

    assert (done.returncode, done.stderr) == (0, b"")
    assert runtime.asked[-1] == message
    assert b"cAnArY" not in done.stdout
    assert isinstance(json.loads(done.stdout), dict)


def test_every_request_about_keys_has_a_command() -> None:
    """A new one cannot be forgotten."""
    kinds = {kind for name, kind in KEY_METHODS.items() if name.startswith("keys.")}
    sent = {type(message) for _, message in COMMANDS} | {type(each[2]) for each in WITH_SECRETS}
    assert kinds == sent


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("status", ["open: unlocked by passphrase", "keys.sealed", "3 given, 1 refused"]),
        ("list", ["upbit:main", "active", "abcd…", "api.upbit.com", "2026-01-01 00:00"]),
        ("rotate", ["done: add upbit:main"]),
        ("test|upbit:main", ["upbit:main works", "view_account", "has KRW"]),
        ("audit", ["sign", "GET /v1/accounts"]),
        ("audit|--verify", ["the audit trail is whole: 1 lines"]),
    ],
)
def test_people_see_what_matters(
    words: str, shown: list[str], runtime: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    """In plain text, when it goes into a pipe."""
    assert runtime.keys(words) == 0

    out = capsys.readouterr().out
    assert not [each for each in shown if each not in out]
    assert "\x1b" not in out


def test_broken_trail_has_code_1(runtime: Runtime, capsys: pytest.CaptureFixture[str]) -> None:
    """So that a script notices."""
    runtime.whole = False

    assert runtime.keys("audit|--verify") == 1
    assert "NOT whole: line 3 was changed" in capsys.readouterr().out


@pytest.mark.parametrize("words", ["remove|upbit:main", "remove|upbit:main|--purge"])
def test_removing_is_refused_without_yes(
    words: str, runtime: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it would do was asked for, and nothing done."""
    assert runtime.keys(words) == 2

    assert "say --yes if you mean it" in capsys.readouterr().err
    assert [getattr(each, "dry_run", None) for each in runtime.asked] == [True]


@pytest.mark.parametrize("answer", ["y", "n"])
def test_removing_asks_at_a_terminal(
    answer: str, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a yes is one; a dry run never asks."""
    master, slave = os.openpty()
    with os.fdopen(slave, "r") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert runtime.keys("remove|upbit:main|--dry-run") == 0
        os.write(master, f"{answer}\n".encode())
        assert runtime.keys("remove|upbit:main") == (answer == "n")
    os.close(master)

    assert (runtime.asked[-1] == RemoveKey(key="upbit:main")) == (answer == "y")


@pytest.mark.real_time
def test_import_says_what_it_would_keep(runtime: Runtime, tmp_path: Path) -> None:
    """By name and place; with `--dry-run` no real change is sent."""
    file = tmp_path / ".env"
    file.write_text(f"UPBIT_ACCESS_KEY={ACCESS}\nUPBIT_SECRET_KEY={SECRET}\n")
    trial = runtime.process(f"import|{file}|--dry-run", [])
    assert (trial.returncode, runtime.asked) == (0, [AddKey(**KEY, dry_run=True)])
    assert runtime.process(f"import|{file}", []).returncode == 0

    assert runtime.asked[-1] == msgspec.structs.replace(runtime.asked[0], dry_run=False)
    assert trial.stderr.startswith(b"upbit:main, from ")
    assert b"cAnArY" not in trial.stdout + trial.stderr


@pytest.mark.real_time
def test_import_keeps_the_other_keys_where_one_is_refused(runtime: Runtime, tmp_path: Path) -> None:
    """Which one and why is told at once, and at the end how many."""
    file = tmp_path / "keys.json"
    entry = {"apiKey": ACCESS, "secret": SECRET}
    file.write_text(json.dumps({"upbit": entry, "okx": {**entry, "password": PHRASE}}))
    runtime.refused.add("upbit")
    done = runtime.process(f"import|{file}", [])

    assert [each.exchange for each in runtime.asked if isinstance(each, AddKey)] == ["upbit", "okx"]
    assert done.returncode == 1
    first, error, second, end = done.stderr.decode().splitlines()
    assert (first[:10], second[:8]) == ("upbit:main", "okx:main")
    assert error == "marketd: there is a key upbit:main already"
    assert end == "1 of 2 keys were not kept"
    assert b"cAnArY" not in done.stdout + done.stderr


@pytest.mark.real_time
@pytest.mark.parametrize("words", ["add|upbit:main", "unlock"])
def test_secret_that_is_no_text_is_refused_unquoted(words: str, runtime: Runtime) -> None:
    """In one line, without what was read."""
    done = runtime.process(words, ["cAnArY\udcff", SECRET])

    assert done.returncode == 2
    assert done.stderr == b"marketd: a secret must be text in UTF-8\n"


def test_no_argument_takes_a_secret() -> None:
    """Arguments are in the process list: only numbers of file descriptors may be named so."""
    parser = _parser(["keys", "account"])
    named = [
        action
        for each in below(parser)
        # argparse lists them nowhere else.
        for action in each._actions
        if any(word in action.dest for word in ("secret", "passphrase", "access", "password"))
    ]

    assert {action.dest for action in named} == {"passphrase_fd", "new_passphrase_fd"}
    assert {action.type for action in named} == {int}


def below(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Give a parser and all below it."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from below(each)
