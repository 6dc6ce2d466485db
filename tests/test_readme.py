"""The README tells the truth: its code runs, its commands exist, its table is complete."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.preloading.indicators import indicator, need_of
from runtime.cli import _parser
from runtime.testing_processes import clean_environ, start_daemon, start_sandbox

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a running daemon's socket in it."""
    path = tmp_path_factory.mktemp("readme")
    with start_sandbox(folder=path) as (_, url), start_daemon(path, rest_url=url):
        yield path


@pytest.mark.real_time
@pytest.mark.slow
@pytest.mark.parametrize(
    "code", BLOCKS, ids=["blocking", "trio", "embedded", "subscribed", "needs", "account"]
)
def test_every_example_runs(code: str, folder: Path, tmp_path: Path) -> None:
    """As somebody would paste it, with the runtime of line one running."""
    environ = clean_environ(
        CONTROL__SOCKET=str(folder / "control.sock"), RUNTIME__STATE_DIR=str(tmp_path)
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environ,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("name", ["run command", "test command"])
def test_the_two_set_up_commands_are_one_line_each(name: str) -> None:
    """`.ci/run` takes the second from here, so there is no other way of testing."""
    found = re.findall(rf"<!-- {name} -->\n```sh\n(.*?)```", README, re.DOTALL)
    assert len(found) == 1
    assert found[0].count("\n") == 1
    assert found[0].startswith("python3 -m venv .venv && .venv/bin/pip install")


def test_the_table_of_commands_is_the_command_line_s() -> None:
    """Neither has one that the other lacks."""
    told = set(re.findall(r"^\| `marketd (\w+)", README, re.MULTILINE))
    choices: set[str] = set()
    for action in _parser([])._actions:
        if isinstance(action, argparse._SubParsersAction):
            choices |= set(action.choices)
    assert told == choices


def test_figures_of_needs_are_those_that_are_fetched() -> None:
    """Whoever plans with them gets them."""
    found = re.search(r"`(ATR\(20\))` takes (\d+) candles .* here to (\d+)\.", README, re.DOTALL)
    assert found is not None
    widest = indicator(found[1])
    assert (widest.candles, need_of([widest]).candles) == (int(found[2]), int(found[3]))
