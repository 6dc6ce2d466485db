"""Where the key that unlocks comes from if nobody types a passphrase; and the slow step after."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import trio

from actors.errors import StoreUnavailable, UnlockFailed, VaultDamaged
from actors.stores.private_files import WRITE_FLAGS, make_folder, read_private, sync_folder
from actors.vault.sealed_form import UnlockParams
from actors.vault.secret import Secret
from actors.vault.sodium import KEY_BYTES, random_bytes
from actors.vault.values import UnlockKind
from actors.vault.vault import Kek, derive

_log = logging.getLogger("marketd.keys")

_BYTES_MAX = 65_536


class KeyFileSource:
    """A file that only its owner may read.

    Args:
      path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    async def read(self, *, create: bool) -> Secret:
        """Return what is in the file; make one of random bytes first if `create` is set.

        Raises:
          UnlockFailed: It is not there, or cannot be read or made.
          VaultDamaged: Others could have read it.
        """
        return await trio.to_thread.run_sync(self._read, create)  # noqa: TID251 - reads a disk

    def _read(self, create: bool) -> Secret:  # noqa: FBT001 - run_sync has no names
        found = _material(self._path, "key file")
        if found is None and create:
            try:
                self._create()
            except (OSError, StoreUnavailable) as error:
                raise UnlockFailed(f"the key file {self._path} cannot be made: {error}") from error
            found = _material(self._path, "key file")
        if found is None:
            raise UnlockFailed(f"the key file {self._path}, which unlocks the vault, is not there")
        return found

    def _create(self) -> None:
        """Make the file, whole: half of it would lock its owner out."""
        make_folder(self._path.parent)
        # Of this process alone: two that start at once must not write into one file.
        fresh = self._path.with_name(f"{self._path.name}.{os.getpid()}.new")
        fresh.unlink(missing_ok=True)
        try:
            with os.fdopen(os.open(fresh, WRITE_FLAGS, 0o600), "wb") as file:
                file.write(random_bytes(KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())
            # Unlike a rename it never takes the place of a file that is there.
            os.link(fresh, self._path)
        except FileExistsError:
            return
        finally:
            fresh.unlink(missing_ok=True)
        sync_folder(self._path.parent)
        _log.warning(
            "the key file %s was made: who has it and the state folder can unlock the keys, so "
            "keep a copy of it apart from them",
            self._path,
        )


class CredentialSource:
    """A credential of the service manager.

    Source: https://systemd.io/CREDENTIALS/, as known 2026-11.

    Args:
      folder: Where the service manager has put credentials; None if it has not.
      name: Which of them.
    """

    def __init__(self, folder: Path | None, name: str) -> None:
        self._folder = folder
        self._name = name

    async def read(self, *, create: bool) -> Secret:
        """Return the credential; none is ever made.

        Raises:
          UnlockFailed: It is not there, or cannot be read.
          VaultDamaged: Others could have read it.
        """
        del create
        return await trio.to_thread.run_sync(self._read)  # noqa: TID251 - reads a disk

    def _read(self) -> Secret:
        if self._folder is None:
            raise UnlockFailed(
                "no service manager has given credentials to this process (CREDENTIALS_DIRECTORY "
                f"is not set); wanted one called {self._name}: LoadCredentialEncrypted="
            )
        if Path(self._name).name != self._name:
            raise UnlockFailed(f"a credential's name must be a file's name, was {self._name!r}")
        path = self._folder / self._name
        found = _material(path, "credential", from_root=True)
        if found is None:
            raise UnlockFailed(f"the credential {path} is not there")
        return found


async def derive_in_thread(kind: UnlockKind, material: Secret, params: UnlockParams) -> Kek:
    """Return the key that unlocks; for a passphrase that takes half a second, so in a thread.

    Raises:
      UnlockFailed: There is too little of the secret.
      VaultDamaged: The parameters are out of bounds.
    """
    if kind != params.kind:
        raise UnlockFailed(
            f"the vault is unlocked by a {_told(params.kind)}, not by a {_told(kind)}"
        )
    if kind != "passphrase":
        return derive(material, params)
    return await trio.to_thread.run_sync(derive, material, params)  # noqa: TID251 - takes long


def _material(path: Path, name: str, *, from_root: bool = False) -> Secret | None:
    try:
        data = read_private(path, _BYTES_MAX, from_root=from_root)
    except StoreUnavailable as error:
        raise UnlockFailed(f"the {name} cannot be read: {error}") from error
    if data is not None and len(data) < KEY_BYTES:
        raise VaultDamaged(f"the {name} {path} must have {KEY_BYTES} bytes, was {len(data)}")
    return None if data is None else Secret(data)


def _told(kind: UnlockKind) -> str:
    return kind.replace("_", " ")
