"""A vault on disk, for tests of what keeps it."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.stores.key_testing import commit_kept
from actors.stores.keys import KeptVault
from actors.vault.testing import MARK, NOW_MS, made_credential, made_info, made_kek
from actors.vault.vault import Kek, Vault


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the files are, or will be."""
    return tmp_path / "keys"


@pytest.fixture
def kek() -> Kek:
    """What unlocks the vault of `filled`."""
    return made_kek()


@pytest.fixture
async def filled(folder: Path, kek: Kek) -> KeptVault:
    """A vault with one key, at change 2, on disk."""
    vault, first = Vault.create(kek)
    await commit_kept(folder, first)
    draft = vault.put(made_info(), made_credential(), now_ms=NOW_MS, audit=MARK)
    await commit_kept(folder, draft.kept)
    return draft.kept
