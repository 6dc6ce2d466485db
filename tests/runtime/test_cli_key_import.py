"""`marketd keys import`: which keys of a file are sent, and what is told of each.

It runs as a process of its own: it closes itself to debuggers for good, which is not for the
process that runs the tests.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.errors import InvalidRequest, KeysSealed
from actors.key_messages import AddKey
from runtime.core.message import Request
from runtime.testing_socket import control_in_thread, sample_answer

ROOT = Path(__file__).resolve().parents[2]
ACCESS, SECRET, PHRASE = "cAnArY-access", "cAnArY-secret", "cAnArY-phrase"
ENTRY = {"apiKey": ACCESS, "secret": SECRET}
KEY: dict[str, Any] = {
    "exchange": "upbit",
    "label": "main",
    "access_key": ACCESS,
    "secret_key": SECRET,
}
REFUSED = "there is a key upbit:main already"

pytestmark = pytest.mark.real_time


@dataclass
class Runtime:
    """One that answers from samples and remembers what it was asked to keep.

    It takes no key whose label is in `refused`, and after the one in `last` none at all.
    """

    folder: Path
    refused: set[str] = field(default_factory=set)
    last: str = ""
    asked: list[AddKey] = field(default_factory=list)

    async def answer(self, request: Request[Any]) -> object:
        """Answer from samples."""
        if isinstance(request, AddKey):
            if self.last in [each.label for each in self.asked]:
                raise KeysSealed("somebody locked the keys")
            self.asked.append(request)
            if request.label in self.refused:
                raise InvalidRequest(f"there is a key {request.exchange}:{request.label} already")
        return await sample_answer(request)

    def imports(self, content: Any, *options: str) -> subprocess.CompletedProcess[str]:
        """Import a file: text, or JSON of anything else."""
        file = self.folder / "keys"
        file.write_text(content if isinstance(content, str) else json.dumps(content))
        program = [sys.executable, "-m", "runtime", "keys", "import", str(file), *options]
        done = subprocess.run(
            [*program, "--socket", str(self.folder / "c.sock")],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            timeout=30,
        )
        assert "cAnArY" not in done.stdout + done.stderr
        return done


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    """A runtime that notes what it was asked."""
    runtime = Runtime(tmp_path)
    with control_in_thread(tmp_path / "c.sock", runtime.answer):
        yield runtime


def test_import_says_what_it_would_keep(runtime: Runtime) -> None:
    """By name and place; with `--dry-run` no real change is sent."""
    env = f"UPBIT_ACCESS_KEY={ACCESS}\nUPBIT_SECRET_KEY={SECRET}\n"
    trial = runtime.imports(env, "--dry-run")
    assert (trial.returncode, runtime.asked) == (0, [AddKey(**KEY, dry_run=True)])
    assert runtime.imports(env).returncode == 0

    assert runtime.asked[-1] == msgspec.structs.replace(runtime.asked[0], dry_run=False)
    assert trial.stderr.startswith("upbit:main, from ")


@pytest.mark.parametrize("options", [[], ["--dry-run"], ["--replace", "--yes"]], ids=" ".join)
def test_import_keeps_the_other_keys_where_one_is_refused(
    options: list[str], runtime: Runtime
) -> None:
    """Which one and why is told at once, and at the end how many; a dry run shows the same."""
    runtime.refused.add("main")
    done = runtime.imports({"upbit": {"main": ENTRY, "sub": ENTRY}}, *options)

    assert list(dict.fromkeys(each.label for each in runtime.asked)) == ["main", "sub"]
    assert done.returncode == 1
    first, error, second, end = done.stderr.splitlines()
    assert (first[:10], second[:9]) == ("upbit:main", "upbit:sub")
    assert error == f"marketd: {REFUSED}"
    assert end == "1 of 2 keys were not kept"
    assert done.stdout.count("done: add upbit:main") == 1


@pytest.mark.parametrize("options", [[], ["--dry-run"], ["--replace", "--yes"]], ids=" ".join)
def test_import_as_json_is_one_object(options: list[str], runtime: Runtime) -> None:
    """However many keys there are, and whatever became of each."""
    runtime.refused.add("main")
    done = runtime.imports({"upbit": {"main": ENTRY, "a": ENTRY, "b": ENTRY}}, "--json", *options)
    alone = runtime.imports({"upbit": {"c": ENTRY}}, "--json", *options)

    result = json.loads(done.stdout)
    assert result["refused"] == [{"key": "upbit:main", "error": REFUSED}]
    assert [each["what"] for each in result["keys"]] == ["add upbit:main"] * 2
    assert json.loads(alone.stdout) == {"keys": result["keys"][:1], "refused": []}


def test_import_refuses_a_key_that_is_not_whole_and_keeps_the_others(runtime: Runtime) -> None:
    """As any other that is not kept; one file is often edited by many hands."""
    content = {"okx": {"apiKey": ACCESS, "secret": ""}, "upbit": ENTRY}
    done = runtime.imports(content)
    as_json = runtime.imports(content, "--json")
    label = runtime.imports(content, "--label", "bot")

    assert (done.returncode, as_json.returncode, label.returncode) == (1, 1, 2)
    error, _, end = done.stderr.splitlines()
    assert error.endswith("(okx:main): wanted both keys, but the secret key is missing or empty")
    assert end == "1 of 2 keys were not kept"
    result = json.loads(as_json.stdout)
    assert result["refused"] == [{"key": "okx:main", "error": error.removeprefix("marketd: ")}]
    assert [each["what"] for each in result["keys"]] == ["add upbit:main"]
    assert "--label goes with one key, and " in label.stderr
    assert runtime.asked == [AddKey(**KEY)] * 2


def test_import_of_only_keys_that_are_not_whole_is_an_error(runtime: Runtime) -> None:
    """There is nothing in such a file."""
    done = runtime.imports({"upbit": {"apiKey": ACCESS}}, "--json")

    assert (done.returncode, done.stdout, runtime.asked) == (2, "", [])
    assert "the secret key is missing" in done.stderr


def test_import_that_ends_early_tells_what_was_kept(runtime: Runtime) -> None:
    """Those keys are there, whatever came afterwards."""
    runtime.last = "a"
    done = runtime.imports({"upbit": {"a": ENTRY, "b": ENTRY}}, "--json")
    nothing = runtime.imports({"upbit": {"a": ENTRY}}, "--json")

    assert (done.returncode, nothing.returncode, nothing.stdout) == (1, 1, "")
    assert done.stderr.endswith("marketd: somebody locked the keys\n")
    assert len(json.loads(done.stdout)["keys"]) == 1


def test_import_tells_what_it_passes_over(runtime: Runtime) -> None:
    """A key that was left behind should not be missed only when it is needed."""
    okx = {**ENTRY, "password": PHRASE, "uid": 7, "telegramId": 8}
    done = runtime.imports({"okx_main": okx, "bitstamp": ENTRY})

    assert done.returncode == 0
    passed, kept = done.stderr.splitlines()
    assert passed == "passed over: bitstamp: is of an exchange that has no keys here"
    assert kept.startswith("okx:main, from ")
    whose = {"exchange": "okx", "passphrase": PHRASE, "uid": "7", "telegram_id": "8"}
    assert runtime.asked == [AddKey(**{**KEY, **whose})]


def test_label_goes_with_one_key(runtime: Runtime) -> None:
    """Two cannot have the same."""
    assert runtime.imports(ENTRY, "--label", "bot").returncode == 0
    assert [each.label for each in runtime.asked] == ["bot"]

    done = runtime.imports({"upbit": ENTRY, "okx": ENTRY}, "--label", "bot")
    assert done.returncode == 2
    assert "--label goes with one key, and " in done.stderr
