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
from actors.key_reports import AuditVerdict, KeyReport, KeyTest, VaultStatus
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
    """One that answers from samples, changed by `vault`, `key` and `test`, and remembers what for.

    It takes no key of an exchange in `refused`.
    """

    path: Path
    whole: bool = True
    vault: dict[str, Any] = field(default_factory=dict)
    key: dict[str, Any] = field(default_factory=dict)
    test: dict[str, Any] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    asked: list[Request[Any]] = field(default_factory=list)

    async def answer(self, request: Request[Any]) -> object:
        """Answer from samples."""
        self.asked.append(request)
        if isinstance(request, VerifyAudit) and not self.whole:
            return AuditVerdict(whole=False, lines=5, first=1, problem="line 3 was changed")
        if isinstance(request, AddKey) and request.exchange in self.refused:
            raise InvalidRequest(f"there is a key {request.exchange}:{request.label} already")
        given = await sample_answer(request)
        match given:
            case VaultStatus():
                return msgspec.structs.replace(given, **self.vault)
            case KeyTest():
                return msgspec.structs.replace(given, **self.test)
            case (KeyReport() as key,):
                return (msgspec.structs.replace(key, **self.key),)
        return given

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
    runtime.vault = {"state": {"create": "none", "unlock": "sealed"}.get(words, "open")}
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
@pytest.mark.parametrize("words", ["add|upbit:main", "unlock"])
def test_secret_that_is_no_text_is_refused_unquoted(words: str, runtime: Runtime) -> None:
    """In one line, without what was read."""
    runtime.vault = {"state": "sealed" if words == "unlock" else "open"}
    done = runtime.process(words, ["cAnArY\udcff", SECRET])

    assert done.returncode == 2
    assert done.stderr == b"marketd: a secret must be text in UTF-8\n"


@pytest.mark.parametrize("option", [[], ["--json"]])
def test_key_that_does_not_work_has_code_1(
    option: list[str], runtime: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script tests a key before it starts a bot."""
    runtime.test = {"works": False, "problems": ("no such key",)}

    assert runtime.keys("test|upbit:main", *option) == 1
    assert "no such key" in capsys.readouterr().out


def test_owner_and_bound_of_keys_are_shown_where_there_are_some(
    runtime: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    """Columns that are empty for everybody would only make the table wide."""
    bare_key: dict[str, Any] = {"uid": "", "telegram_id": "", "requests_per_minute": None}
    runtime.key = {**bare_key, "allow": ("GET /v1/*", "POST /v1/orders")}
    runtime.keys("list")
    bare = capsys.readouterr().out
    runtime.key = {"uid": "u-77", "telegram_id": "t-88", "requests_per_minute": 9}
    runtime.keys("list")
    shown = capsys.readouterr().out

    assert not [word for word in ("uid", "telegram", "per minute", "withdraw") if word in bare]
    # The sample's rule is for everything, which is less than it seems to be.
    assert "may sign * /*; withdrawals only by their whole path" in shown
    assert all(word in shown for word in ("uid", "telegram", "per minute", "u-77", "t-88", " 9 "))


@pytest.mark.real_time
def test_open_vault_asks_for_no_passphrase(runtime: Runtime) -> None:
    """A wrong one would look as if it were right."""
    done = runtime.process("unlock", ["cAnArY-wrong"])

    assert (done.returncode, runtime.asked) == (0, [GetVault()])
    assert done.stderr == b"the vault was open already; no passphrase was looked at\n"
    assert json.loads(done.stdout)["state"] == "open"


@pytest.mark.parametrize("state", ["sealed", "open"])
def test_vault_that_is_there_is_said_before_a_passphrase_is_asked_for(
    state: str, runtime: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody should think of a passphrase, and type it twice, for nothing."""
    runtime.vault = {"state": state, "reason": "that is how it is"}

    assert runtime.keys("create") == 1
    assert runtime.asked == [GetVault()]
    assert capsys.readouterr().err == "marketd: there is a vault already: that is how it is\n"


@pytest.mark.real_time
@pytest.mark.parametrize("state", ["none", "sealed", "damaged"])
def test_key_for_a_closed_vault_is_refused_with_code_1(state: str, runtime: Runtime) -> None:
    """The command is right; it is the runtime that cannot."""
    runtime.vault = {"state": state, "reason": "that is how it is"}
    done = runtime.process("add|upbit:main", [])

    assert (done.returncode, done.stderr) == (1, b"marketd: that is how it is\n")


@pytest.mark.real_time
@pytest.mark.parametrize(("words", "lines"), [("create", []), ("add|upbit:new", [ACCESS, SECRET])])
def test_key_file_of_a_new_vault_is_named(words: str, lines: list[str], runtime: Runtime) -> None:
    """It was made beside the vault, and nothing else opens that."""
    places = ("keys.db", "keys.sealed", "audit.jsonl", "/etc/vault.key")
    runtime.vault = {"state": "none", "unlock": "key_file", "places": places}
    done = runtime.process(words, lines)

    assert done.returncode == 0
    assert done.stderr.startswith(b"only /etc/vault.key opens the vault: keep a copy of that file")


@pytest.mark.real_time
@pytest.mark.parametrize(("name", "state"), [("upbit:new", "open"), ("upbit:main", "none")])
def test_replacing_nothing_needs_no_yes(name: str, state: str, runtime: Runtime) -> None:
    """Nothing is lost; and should there be such a key the next moment, it is not lost either."""
    runtime.vault = {"state": state, "unlock": "key_file"}
    assert runtime.process(f"add|{name}|--replace", [ACCESS, SECRET]).returncode == 0

    assert runtime.asked[-1] == AddKey(**{**KEY, "label": name.partition(":")[2]})


@pytest.mark.real_time
def test_replacing_a_key_needs_a_yes(runtime: Runtime) -> None:
    """Its secrets are lost."""
    done = runtime.process("add|upbit:main|--replace", [ACCESS, SECRET])

    assert done.returncode == 2
    assert b"say --yes if you mean it" in done.stderr
    assert runtime.asked[-1] == AddKey(**KEY, replace=True, dry_run=True)


def test_help_says_what_holds_without_a_rule(capsys: pytest.CaptureFixture[str]) -> None:
    """A change leaves what it does not name; a new key may do all but withdrawals."""
    for words, said, unsaid in (
        ("add", "all but withdrawals if none", "they stay"),
        ("change", "they stay if none is named", "but withdrawals"),
    ):
        with pytest.raises(SystemExit, match="0"):
            run(["keys", words, "--help"])
        shown = " ".join(capsys.readouterr().out.split())
        assert said in shown
        assert unsaid not in shown


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
