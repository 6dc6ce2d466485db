"""Where the files of keys must not be: in the place of others, or beside what they open."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.key_places import check_places
from runtime.setting_rules import SettingsError


def check(folder: Path, sealed: str = "keys.sealed", key_file: str | None = None) -> None:
    """Check places, each named from the state folder."""
    key_path = None if key_file is None else folder / key_file
    check_places(folder, sealed=folder / sealed, key_file=key_path, store_file="candles.db")


@pytest.mark.parametrize(
    ("sealed", "wanted"),
    [
        ("keys.db", r"the other half of the vault \(keys.db\)"),
        ("keys.db.good", "the other half of the vault"),
        ("audit.jsonl", r"the audit trail \(audit.jsonl and audit-NUMBER.jsonl\)"),
        ("audit-000001.jsonl", "the audit trail"),
        ("candles.db", r"the candles \(candles.db, store.file\)"),
        ("candles.db-wal", "the candles"),
        ("more/../keys.db", "the other half"),
    ],
)
def test_sealed_file_in_the_place_of_another_is_refused(
    tmp_path: Path, sealed: str, wanted: str
) -> None:
    """One of the two would be lost at the first write; both are named."""
    with pytest.raises(SettingsError, match=f"keys.sealed_file must be a file of its.*{wanted}"):
        check(tmp_path, sealed)


def test_sealed_file_must_not_be_the_key_file(tmp_path: Path) -> None:
    """Two settings for one file."""
    with pytest.raises(SettingsError, match=r"keys.key_file and keys.sealed_file must be two"):
        check(tmp_path, "x", "x")


@pytest.mark.parametrize("sealed", ["keys.sealed", "sealed", "stick/keys.db", "../audit.jsonl"])
def test_other_places_are_taken(tmp_path: Path, sealed: str) -> None:
    """Also names of ours, in other folders."""
    check(tmp_path, sealed)


@pytest.mark.parametrize(
    ("key_file", "warned"),
    [("unlock.key", True), ("../s/unlock.key", True), ("../c/unlock.key", False), (None, False)],
)
def test_key_file_beside_the_vault_is_warned_of(
    tmp_path: Path, key_file: str | None, caplog: pytest.LogCaptureFixture, *, warned: bool
) -> None:
    """Who copies that folder has both, and can open the keys."""
    check(tmp_path / "state", "../s/keys.sealed", key_file)
    assert ("lies beside the vault that it opens" in caplog.text) is warned
