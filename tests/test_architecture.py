"""The shape of the project: who may import whom, and that importing does nothing.

The contracts themselves stand in pyproject.toml, under `[tool.importlinter]`.
"""

from __future__ import annotations

import inspect
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest
from importlinter import api
from importlinter.application import use_cases

ROOT = Path(__file__).resolve().parent.parent
CONFIG = str(ROOT / "pyproject.toml")
CONTRACTS = {
    contract["id"]: contract for contract in api.read_configuration(CONFIG)["contracts_options"]
}
# A bot's command-line call pays for each of these, and needs none of them.
HEAVY = [
    *("trio", "numpy", "httpx", "trio_websocket", "wsproto", "aiosqlite", "sqlite3", "h11", "rich"),
    *("pandas", "polars"),
]
LIGHT_MODULES = ["runtime", "runtime.cli", "runtime.client.blocking", "actors.messages"]

# Runs in a fresh interpreter; prints what importing everything has done to it.
IMPORT_ALL = """
import importlib, json, logging, sys, threading

light, names, heavy = json.loads(sys.argv[1])
for name in light:
    importlib.import_module(name)
loaded_by_light = [name for name in heavy if name in sys.modules]

failed = {}
for name in names:
    # As if it were the first of ours to be imported: whatever is imported first must work.
    for ours in [each for each in sys.modules if each.split(".")[0] in {"runtime", "actors"}]:
        del sys.modules[ours]
    try:
        importlib.import_module(name)
    except Exception as error:
        failed[name] = repr(error)

loggers = [logging.root, *map(logging.getLogger, sorted(logging.root.manager.loggerDict))]
print(json.dumps({
    "failed": failed,
    "threads": threading.active_count(),
    "handlers": [log.name for log in loggers if log.handlers],
    "loaded_by_light": loaded_by_light,
    "unused": [name for name in ("pandas", "polars") if name in sys.modules],
}))
"""


def all_modules() -> list[str]:
    """Return every module of ours; importing a `__main__` is starting it."""
    found = pkgutil.walk_packages([str(ROOT / "runtime")], "runtime.")
    also = pkgutil.walk_packages([str(ROOT / "actors")], "actors.")
    return [each.name for each in (*found, *also) if not each.name.endswith("__main__")]


@pytest.mark.parametrize("contract", sorted(CONTRACTS))
def test_imports_keep_to_the_contracts(
    contract: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the architecture promises about who knows whom, told by name if it is broken."""
    monkeypatch.chdir(ROOT)

    kept = use_cases.lint_imports(
        config_filename=CONFIG, limit_to_contracts=(contract,), cache_dir=None, no_logo=True
    )

    assert kept, capsys.readouterr().out


def test_no_contract_has_gone_missing() -> None:
    """A contract that is deleted stops nobody."""
    assert set(CONTRACTS) >= {
        "actors",
        "core",
        "driver_h11",
        "driver_httpx",
        "driver_none",
        "driver_sqlite",
        "driver_websocket",
        "driver_wsproto",
        "exchanges",
        "independence",
        "layers",
        "sans_io",
        "wiring",
    }


def test_every_actor_is_in_the_contracts_that_keep_actors_apart() -> None:
    """A new actor must not slip past the rule because nobody added it."""
    actors = {
        f"actors.{path.stem}"
        for path in (ROOT / "actors").glob("*.py")
        if any(line.startswith("class ") and "Actor(Actor)" in line for line in lines(path))
    }

    assert actors
    assert actors == set(CONTRACTS["independence"]["modules"])
    assert actors == set(CONTRACTS["wiring"]["forbidden_modules"])


def lines(path: Path) -> list[str]:
    """Return the lines of a file."""
    return path.read_text(encoding="utf-8").splitlines()


@pytest.mark.real_time
@pytest.mark.slow
def test_importing_does_nothing_and_works_in_any_order() -> None:
    """No thread, no log handler, no driver that was not asked for, no circle, no warning.

    Slow because it is a process of its own that imports everything, each module first.
    """
    asked = json.dumps([LIGHT_MODULES, all_modules(), HEAVY])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", inspect.cleandoc(IMPORT_ALL), asked],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "failed": {},
        "threads": 1,
        "handlers": [],
        "loaded_by_light": [],
        "unused": [],
    }
