"""Who may use the files of a vault, and when they are made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from actors.errors import AuditFailed, VaultDamaged
from actors.key_trail import AuditTrail
from actors.stores.key_testing import (
    files_in,
    load_kept,
)
from actors.stores.keys import KeptVault
from actors.stores.keys_files import open_key_files
from actors.vault.testing import told
from actors.vault.vault import Kek, Vault

# Files are written in a thread.
pytestmark = pytest.mark.real_time

HALVES = ("keys.db", "keys.sealed")


def give(path: Path, mode: int) -> None:
    """Let others have a part in it."""
    path.chmod(mode)


def rights(path: Path) -> int:
    """Return who may do what with a file."""
    return path.stat().st_mode & 0o777


async def test_every_file_is_its_owners_only(folder: Path, filled: KeptVault) -> None:
    """Whatever the umask was."""
    async with open_key_files(folder) as (_, log):
        await log.append([b"line"], durable=True)

    assert set(files_in(folder)) == {
        *HALVES,
        *(f"{name}.good" for name in HALVES),
        "audit.jsonl",
    }
    assert {rights(folder / name) for name in files_in(folder)} == {0o600}
    assert rights(folder) == 0o700
    assert await load_kept(folder) == filled


@pytest.mark.parametrize("name", HALVES)
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
async def test_a_file_that_others_may_use_is_refused(
    folder: Path, filled: KeptVault, name: str, mode: int
) -> None:
    """It was open to others for as long as it was; only its owner can say what that means."""
    (folder / name).chmod(mode)
    with pytest.raises(VaultDamaged, match=rf"mode was {mode:o}; `chmod 600 .*{name}`"):
        await load_kept(folder)
    (folder / name).chmod(0o600)
    assert await load_kept(folder) == filled


@pytest.mark.parametrize("name", HALVES)
async def test_a_link_a_pipe_or_a_folder_in_a_files_place_is_refused(
    folder: Path, filled: KeptVault, name: str
) -> None:
    """A link leads to a file that others may change; a pipe would be waited for."""
    assert await load_kept(folder) == filled
    path = folder / name
    path.rename(folder / "elsewhere")
    path.symlink_to(folder / "elsewhere")
    with pytest.raises(VaultDamaged, match="symbolic link"):
        await load_kept(folder)
    path.unlink()
    os.mkfifo(path, 0o600)
    with pytest.raises(VaultDamaged, match="pipe"):
        await load_kept(folder)
    path.unlink()
    path.mkdir()
    with pytest.raises(VaultDamaged, match="folder"):
        await load_kept(folder)


async def test_a_folder_that_anybody_may_write_to_is_refused(
    folder: Path, filled: KeptVault
) -> None:
    """There, anybody can put other files in the place of ours."""
    assert await load_kept(folder) == filled
    give(folder, 0o777)
    with pytest.raises(VaultDamaged, match="anybody may write there; `chmod o-w"):
        await load_kept(folder)


async def test_looking_makes_nothing(folder: Path) -> None:
    """Whoever has no keys finds no files for them."""
    async with open_key_files(folder) as (store, log):
        assert await store.load() is None
        assert await log.tail(3) == ()
    assert files_in(folder.parent) == {}


async def test_the_sealed_file_may_be_elsewhere(tmp_path: Path, kek: Kek) -> None:
    """On another disk than the database, for whoever wants two places for it."""
    _, first = Vault.create(kek)
    sealed = tmp_path / "stick" / "sealed"
    async with open_key_files(tmp_path / "a", sealed_path=sealed) as (store, _):
        await store.commit(first)
    async with open_key_files(tmp_path / "a", sealed_path=sealed) as (store, _):
        assert await store.load() == first
    assert set(files_in(sealed.parent)) == {"sealed", "sealed.good"}


async def test_what_is_found_opens(folder: Path, filled: KeptVault, kek: Kek) -> None:
    """All the way from the disk to the secret."""
    assert await load_kept(folder) == filled
    assert told(Vault.open(filled, kek)) == {"upbit:main": "secret one"}


async def test_a_trail_deleted_under_way_is_found_and_begun_anew(folder: Path) -> None:
    """A look is enough to find it; what is left of it is put aside, and lines are taken again."""
    async with open_key_files(folder) as (_, log):
        trail = AuditTrail(log, lambda: 0)
        await trail.write("create")
        (folder / "audit.jsonl").unlink()
        with pytest.raises(AuditFailed, match="was moved or deleted; put it back"):
            await trail.look()
        assert "was moved or deleted" in trail.trouble
        assert await trail.begin() == ()
        assert (await trail.write("recover")).number == 1
        assert trail.trouble == ""
        await trail.look()
