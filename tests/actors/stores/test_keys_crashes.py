"""A crash between any two writes: afterwards there is the old vault or the new, never neither."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from actors.errors import VaultDamaged
from actors.stores.key_testing import (
    Crash,
    commit_kept,
    crash_at,
    load_kept,
    recover_kept,
)
from actors.stores.keys import KeptVault
from actors.stores.keys_files import open_key_files
from actors.vault.testing import MARK, NOW_MS, made_credential, made_info, made_kek
from actors.vault.vault import Draft, Kek, Vault

# Files are written in a thread.
pytestmark = pytest.mark.real_time

Change = Callable[[Vault], Draft]

CHANGES: dict[str, Change] = {
    "add": lambda vault: vault.put(
        made_info("second"), made_credential("two"), now_ms=NOW_MS, audit=MARK
    ),
    "remove": lambda vault: vault.purge(made_info().id, audit=MARK),
    "rotate": lambda vault: vault.rotate(audit=MARK),
    "rewrap": lambda vault: vault.rewrap(made_kek("new one"), audit=MARK),
}


def spoil(path: Path, place: int) -> None:
    """Flip one bit of a file."""
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << (place % 8)
    path.write_bytes(data)


async def test_a_crash_at_any_step_of_making_a_vault_leaves_one_or_none(
    folder: Path, kek: Kek
) -> None:
    """Whoever makes his first vault at the wrong moment can make it again."""
    _, first = Vault.create(kek)
    for number in range(100):
        shutil.rmtree(folder, ignore_errors=True)
        try:
            await commit_kept(folder, first, crash_at(number))
        except Crash:
            assert await load_kept(folder) in {None, first}
            continue
        break
    assert 15 < number < 50


@pytest.mark.parametrize("name", CHANGES)
async def test_a_crash_at_any_step_of_a_change_leaves_the_old_or_the_new_vault(
    folder: Path, filled: KeptVault, kek: Kek, tmp_path: Path, name: str
) -> None:
    """Never neither; what is found goes on to be changed; and what is found once stays."""
    vault = Vault.open(filled, kek)
    draft = CHANGES[name](vault)
    found = set()
    for number in range(100):
        work = tmp_path / f"{number}"
        shutil.copytree(folder, work)
        try:
            await commit_kept(work, draft.kept, crash_at(number))
        except Crash:
            there = await load_kept(work)
            assert there in {filled, draft.kept}
            assert await load_kept(work) == there
            found.add(there.generation)
            if there == filled:
                await commit_kept(work, draft.kept)
                assert await load_kept(work) == draft.kept
            continue
        break

    assert found == {2, 3}
    assert 15 < number < 50


async def test_a_crash_while_a_crash_is_made_good_loses_nothing(
    folder: Path, filled: KeptVault, kek: Kek, tmp_path: Path
) -> None:
    """The power may go twice."""
    draft = CHANGES["add"](Vault.open(filled, kek))
    for first, second in itertools.product(range(0, 20, 2), range(6)):
        work = tmp_path / f"{first}-{second}"
        shutil.copytree(folder, work)
        with suppress(Crash):
            await commit_kept(work, draft.kept, crash_at(first))
        with suppress(Crash):
            async with open_key_files(work, step=crash_at(second)) as (store, _):
                await store.load()
        assert await load_kept(work) in {filled, draft.kept}


async def test_a_crash_at_any_step_of_recovering_leaves_something_to_recover(
    folder: Path, filled: KeptVault, tmp_path: Path
) -> None:
    """The good copy is the last there is."""
    spoil(folder / "keys.sealed", 200)
    for number in range(100):
        work = tmp_path / f"{number}"
        shutil.copytree(folder, work)
        async with open_key_files(work, step=crash_at(number)) as (store, _):
            try:
                await store.recover(filled)
            except Crash:
                pass
            else:
                break
        try:
            assert await load_kept(work) == filled
        except VaultDamaged:
            await recover_kept(work)
            assert await load_kept(work) == filled
    assert 10 < number < 50


async def test_a_cancelled_commit_is_done_all_the_same(
    folder: Path, filled: KeptVault, kek: Kek
) -> None:
    """Who asked goes away; the halves must not be left apart."""
    draft = CHANGES["add"](Vault.open(filled, kek))
    with trio.CancelScope() as scope:
        scope.cancel()
        await commit_kept(folder, draft.kept)

    assert await load_kept(folder) == draft.kept


async def test_who_looks_at_the_worst_moment_takes_nothing_away(
    folder: Path, filled: KeptVault, kek: Kek
) -> None:
    """Another process that reads finishes what it finds; the one that writes must bear that."""
    draft = CHANGES["add"](Vault.open(filled, kek))
    found: list[KeptVault | None] = []

    def step(name: str) -> None:
        if name == "database: current" and not found:
            # In the database's thread, where nothing else of trio runs.
            found.append(trio.run(load_kept, folder))

    await commit_kept(folder, draft.kept, step)
    assert found == [draft.kept]
    assert await load_kept(folder) == draft.kept
