"""A process that is killed between any two writes: what is on disk is the old vault or the new."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import trio

from actors.stores.keys import KeptVault
from actors.stores.keys_files import open_key_files

ROOT = Path(__file__).resolve().parents[3]

# Runs in a fresh interpreter, which has no threads when it forks.
KILLED = """
import itertools, os, pathlib, sys
import trio
from actors.stores.keys import KeptVault
from actors.stores.keys_files import open_key_files

def step_to(number):
    steps = itertools.count()
    return lambda _name: os._exit(9) if next(steps) == number else None

async def main(folder, number):
    async with open_key_files(folder, step=step_to(number)) as (store, _):
        await store.commit(KeptVault(1, b"header 1", b"sealed 1" * 9_000))
        await store.commit(KeptVault(2, b"header 2", b"sealed 2" * 9_000))

for number in range(100):
    child = os.fork()
    if not child:
        trio.run(main, pathlib.Path(sys.argv[1]) / str(number), number)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code != 9:
        sys.exit(code)
"""


async def change_found(folder: Path) -> int:
    """Return which change is there; it is whole, and the next one can be made."""
    async with open_key_files(folder) as (store, _):
        kept = await store.load()
        number = 0 if kept is None else kept.generation
        assert kept is None or kept.sealed == b"sealed %d" % number * 9_000
        await store.commit(KeptVault(number + 1, b"header", b"sealed"))
    return number


@pytest.mark.real_time
@pytest.mark.slow
def test_a_process_killed_at_any_step_leaves_the_old_or_the_new_vault(
    tmp_path: Path,
) -> None:
    """Nothing is tidied up by whoever is killed. Slow because it kills forty processes."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr

    folders = sorted(tmp_path.iterdir(), key=lambda path: int(path.name))
    found = [trio.run(change_found, folder) for folder in folders]
    assert found == sorted(found)
    assert set(found) == {0, 1, 2}
    assert len(found) > 30
