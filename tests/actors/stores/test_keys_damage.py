"""Flipped bytes, half a file, an old copy, another vault's half: named, and nothing is opened."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from actors.errors import StoreError, UnlockFailed, VaultDamaged
from actors.stores.key_testing import (
    commit_kept,
    files_in,
    load_kept,
    recover_kept,
)
from actors.stores.keys import KeptVault
from actors.stores.keys_files import open_key_files
from actors.vault.testing import MARK, made_info, made_kek
from actors.vault.vault import Kek, Vault

# Files are written in a thread.
pytestmark = pytest.mark.real_time

HALVES = ("keys.db", "keys.sealed")


def spoil(path: Path, place: int) -> None:
    """Flip one bit of a file."""
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << (place % 8)
    path.write_bytes(data)


async def outcome_of(folder: Path) -> KeptVault | str | None:
    """Return what a new process finds, or what it says is wrong."""
    try:
        return await load_kept(folder)
    except VaultDamaged as error:
        return str(error)


async def test_every_flipped_byte_of_the_sealed_file_is_named(
    folder: Path, filled: KeptVault
) -> None:
    """Not one is opened, and not one is repaired behind the owner's back."""
    path = folder / "keys.sealed"
    whole = path.read_bytes()
    async with open_key_files(folder) as (store, _):
        for place in range(len(whole)):
            spoil(path, place)
            with pytest.raises(VaultDamaged, match=r"keys\.sealed: .*a good copy of change 2"):
                await store.load()
            path.write_bytes(whole)
        assert await store.load() == filled


# Each takes a new look at the whole database, and there are twelve thousand.
@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))
async def test_no_flipped_byte_of_the_database_opens_to_something_else(
    folder: Path, filled: KeptVault, part: int
) -> None:
    """Some bytes of a database mean nothing; all others are found out."""
    path = folder / "keys.db"
    whole = path.read_bytes()
    named = 0
    for place in range(part, len(whole), 8):
        spoil(path, place)
        with suppress(StoreError):
            found = await outcome_of(folder)
            assert found == filled or isinstance(found, str), place
            named += isinstance(found, str)
        path.write_bytes(whole)
    assert named > len(filled.header) // 8


@pytest.mark.parametrize("name", HALVES)
@pytest.mark.parametrize("size", [0, 1, 100, 1_000])
async def test_a_half_written_file_is_named(
    folder: Path, filled: KeptVault, name: str, size: int
) -> None:
    """A copy program that ran out of room."""
    path = folder / name
    path.write_bytes(path.read_bytes()[: min(size, path.stat().st_size - 1)])

    with pytest.raises(VaultDamaged, match=name):
        await load_kept(folder)
    assert await recover_kept(folder)
    assert await load_kept(folder) == filled


@pytest.mark.parametrize("name", HALVES)
async def test_a_missing_half_is_named_and_comes_back_from_the_copy(
    folder: Path, filled: KeptVault, name: str
) -> None:
    """Deleting one file must not look as if there had never been a vault."""
    (folder / name).unlink()

    with pytest.raises(VaultDamaged, match=rf"{name}: is missing.*marketd keys recover"):
        await load_kept(folder)
    await recover_kept(folder)
    assert await load_kept(folder) == filled


async def test_two_missing_halves_are_no_fresh_start(folder: Path, filled: KeptVault) -> None:
    """A new vault in their place would let the copy of the old one go."""
    for name in HALVES:
        (folder / name).unlink()

    with pytest.raises(VaultDamaged, match="a good copy of change 2 is kept"):
        await load_kept(folder)
    with pytest.raises(VaultDamaged, match="is missing"):
        await commit_kept(folder, KeptVault(1, b"header", b"sealed"))
    assert await recover_kept(folder) == ()
    assert await load_kept(folder) == filled


@pytest.mark.parametrize("names", [HALVES[:1], HALVES[1:], HALVES])
async def test_an_old_copy_put_back_is_told_from_damage(
    folder: Path, filled: KeptVault, kek: Kek, tmp_path: Path, names: tuple[str, ...]
) -> None:
    """A backup of one file, or of both, would bring a removed key back."""
    old = shutil.copytree(folder, tmp_path / "old")
    newer = Vault.open(filled, kek).purge(made_info().id, audit=MARK).kept
    await commit_kept(folder, newer)
    for name in names:
        shutil.copy(old / name, folder / name)

    with pytest.raises(
        VaultDamaged, match=r"old cop.* put back.*change 2.*a good copy of change 3"
    ):
        await load_kept(folder)
    with pytest.raises(VaultDamaged, match="put back"):
        await commit_kept(folder, filled)
    await recover_kept(folder)
    assert await load_kept(folder) == newer


@pytest.mark.parametrize("name", HALVES)
async def test_a_half_of_another_vault_is_named(
    folder: Path, filled: KeptVault, tmp_path: Path, name: str
) -> None:
    """Two machines, one backup folder."""
    other = tmp_path / "other"
    vault, first = Vault.create(made_kek())
    await commit_kept(other, first)
    await commit_kept(other, vault.rotate(audit=MARK).kept)
    shutil.copy(other / name, folder / name)

    with pytest.raises(VaultDamaged, match="another vault"):
        await load_kept(folder)
    await recover_kept(folder)
    assert await load_kept(folder) == filled


async def test_a_damaged_copy_is_made_anew_and_told(
    folder: Path, filled: KeptVault, caplog: pytest.LogCaptureFixture
) -> None:
    """A copy that nobody looks at is damaged when it is wanted."""
    for name in HALVES:
        spoil(folder / f"{name}.good", 150)

    assert await load_kept(folder) == filled
    assert caplog.text.count("good copy of the vault is made anew") == 2
    assert await recover_kept(folder)


async def test_what_was_damaged_is_put_aside_and_the_notes_stay(
    folder: Path, filled: KeptVault
) -> None:
    """The owner may want to look at it; and wrong tries are not forgotten by it."""
    async with open_key_files(folder) as (store, _):
        await store.note({"tries": "3"})
    spoil(folder / "keys.sealed", 200)

    aside = await recover_kept(folder)
    assert {Path(path).name for path in aside} == {"keys.db.damaged-1", "keys.sealed.damaged-1"}
    spoil(folder / "keys.sealed", 200)
    assert (folder / "keys.sealed.damaged-2") in map(Path, await recover_kept(folder))
    async with open_key_files(folder) as (store, _):
        assert await store.notes() == {"tries": "3"}
        assert await store.load() == filled


async def test_either_side_alone_opens_nothing(folder: Path, filled: KeptVault, kek: Kek) -> None:
    """What is stolen from one place is of no use, even to who knows the passphrase (A1)."""
    for data in files_in(folder, "keys.db*").values():
        assert filled.sealed[-200:] not in data
    for data in files_in(folder, "keys.sealed*").values():
        assert filled.header[-200:] not in data
    with pytest.raises((VaultDamaged, UnlockFailed), match="half of one"):
        Vault.open(KeptVault(2, filled.header, b""), kek)


async def test_the_old_passphrase_opens_nothing_that_is_left_on_disk(
    folder: Path, filled: KeptVault, kek: Kek
) -> None:
    """Somebody changes a passphrase because the old one is known."""
    wrapped = filled.header[filled.header.index(b'"wrapped":') :][:80]
    assert any(wrapped in data for data in files_in(folder).values())
    await commit_kept(folder, Vault.open(filled, kek).rewrap(made_kek("new one"), audit=MARK).kept)

    assert [name for name, data in files_in(folder).items() if wrapped in data] == []


@pytest.mark.parametrize("name", HALVES)
async def test_a_folder_in_a_files_place_is_put_aside_like_anything_else(
    folder: Path, filled: KeptVault, name: str
) -> None:
    """Somebody unpacked a backup the wrong way; the notes cannot be read, and need not be."""
    (folder / name).unlink()
    (folder / name).mkdir(mode=0o700)

    async with open_key_files(folder) as (store, _):
        if name == "keys.db":
            with pytest.raises(VaultDamaged, match="must be a plain file, was a folder"):
                await store.notes()
        with pytest.raises(VaultDamaged, match="must be a plain file, was a folder"):
            await store.load()
        good = await store.good_copy()
        assert good is not None
        assert str(folder / f"{name}.damaged-1") in await store.recover(good)
        assert await store.load() == filled
