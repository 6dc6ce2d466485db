"""What tests of kept vaults need: to open one as a new process would, and to let it "end"."""

from __future__ import annotations

import itertools
from pathlib import Path

from actors.stores.keys import KeptVault
from actors.stores.keys_files import open_key_files
from actors.stores.private_files import Step, no_step


class Crash(Exception):
    """The process "ended"."""


def crash_at(number: int | None) -> Step:
    """Return a step that raises `Crash` when it comes to that number; never if it is None."""
    steps = itertools.count()

    def step(_name: str) -> None:
        if next(steps) == number:
            raise Crash

    return step


async def load_kept(folder: Path) -> KeptVault | None:
    """Return what is there, as a new process finds it."""
    async with open_key_files(folder) as (store, _):
        return await store.load()


async def commit_kept(folder: Path, kept: KeptVault, step: Step = no_step) -> None:
    """Commit in a process of its own."""
    async with open_key_files(folder, step=step) as (store, _):
        await store.commit(kept)


async def recover_kept(folder: Path) -> tuple[str, ...]:
    """Put the good copy back."""
    async with open_key_files(folder) as (store, _):
        good = await store.good_copy()
        assert good is not None, "there is a good copy"
        return await store.recover(good)


def files_in(folder: Path, pattern: str = "*") -> dict[str, bytes]:
    """Return what stands in the files of a folder, by their names."""
    return {path.name: path.read_bytes() for path in folder.glob(pattern)}
