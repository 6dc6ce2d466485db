"""Keys that unlock without anybody typing: made once, refused if others could have read them."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from actors.errors import UnlockFailed, VaultDamaged
from actors.stores.key_source import CredentialSource, KeyFileSource, derive_in_thread
from actors.vault.secret import Secret
from actors.vault.testing import CHEAP
from actors.vault.vault import derive, fresh_params

# Files are read in a thread.
pytestmark = pytest.mark.real_time


def write(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Make a file as somebody else would."""
    path.write_bytes(data)
    path.chmod(mode)


async def test_a_key_file_is_made_once_and_read_ever_after(tmp_path: Path) -> None:
    """A second one would lock out whoever was let in by the first."""
    path = tmp_path / "folder" / "unlock.key"
    source = KeyFileSource(path)
    with pytest.raises(UnlockFailed, match=r"the key file .* is not there"):
        await source.read(create=False)
    first = await source.read(create=True)

    assert len(first) == 32
    assert await source.read(create=True) == first
    assert await KeyFileSource(path).read(create=False) == first
    status = await trio.Path(path).stat()
    assert status.st_mode & 0o777 == 0o600
    assert [each.name for each in await trio.Path(path.parent).iterdir()] == ["unlock.key"]


async def test_two_that_make_it_at_once_get_the_same(tmp_path: Path) -> None:
    """Two processes may start together; the later must not take the place of the earlier."""
    source, found = KeyFileSource(tmp_path / "unlock.key"), list[Secret]()

    async def read() -> None:
        found.append(await source.read(create=True))

    write(tmp_path / "unlock.key", b"k" * 32)
    source._create()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        nursery.start_soon(read)
    assert found == [Secret(b"k" * 32)] * 2


async def test_a_key_file_that_others_could_read_is_refused(tmp_path: Path) -> None:
    """Then it opens the vault for others, too."""
    path = tmp_path / "unlock.key"
    write(path, b"k" * 32, 0o640)
    with pytest.raises(VaultDamaged, match="mode was 640; `chmod 600"):
        await KeyFileSource(path).read(create=True)
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(VaultDamaged, match="symbolic link"):
        await KeyFileSource(path).read(create=True)


@pytest.mark.parametrize("size", [0, 31, 65_537])
async def test_a_key_file_of_the_wrong_size_is_refused(tmp_path: Path, size: int) -> None:
    """Half a key can be guessed; and no key is a film."""
    write(tmp_path / "unlock.key", b"k" * size)
    with pytest.raises(VaultDamaged, match="bytes"):
        await KeyFileSource(tmp_path / "unlock.key").read(create=True)


async def test_a_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    """The operator has to see what to change."""
    write(tmp_path / "file", b"")
    with pytest.raises(UnlockFailed, match=r"the key file .* cannot be made.*must be a folder"):
        await KeyFileSource(tmp_path / "file" / "unlock.key").read(create=True)


@pytest.mark.parametrize("mode", [0o400, 0o440, 0o600])
async def test_a_credential_is_read_as_the_service_manager_gives_it(
    tmp_path: Path, mode: int
) -> None:
    """An access list for one user shows as a right of the group."""
    write(tmp_path / "keys", b"c" * 40, mode)
    source = CredentialSource(tmp_path, "keys")
    assert await source.read(create=False) == Secret(b"c" * 40)


async def test_a_credential_that_is_not_there_is_told(tmp_path: Path) -> None:
    """With what to write in the unit's file; it is never made here."""
    with pytest.raises(UnlockFailed, match=r"CREDENTIALS_DIRECTORY is not set.*called keys"):
        await CredentialSource(None, "keys").read(create=True)
    with pytest.raises(UnlockFailed, match="keys is not there"):
        await CredentialSource(tmp_path, "keys").read(create=True)
    with pytest.raises(UnlockFailed, match="must be a file's name"):
        await CredentialSource(tmp_path, "../keys").read(create=True)


async def test_a_credential_that_anybody_may_read_is_refused(tmp_path: Path) -> None:
    """The service manager never makes such a one."""
    write(tmp_path / "keys", b"c" * 40, 0o644)
    with pytest.raises(VaultDamaged, match="others may use it"):
        await CredentialSource(tmp_path, "keys").read(create=False)


async def test_deriving_in_a_thread_is_deriving() -> None:
    """The slow step has one result, wherever it is made."""
    params = fresh_params("passphrase", CHEAP)
    kek = await derive_in_thread("passphrase", Secret(b"words"), params)
    assert kek == derive(Secret(b"words"), params)
    with pytest.raises(UnlockFailed, match="is unlocked by a passphrase, not by a key file"):
        await derive_in_thread("key_file", Secret(b"k" * 32), params)
