"""How keys are assembled from the settings: where they are kept, and where they may be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.key_messages import KEY_METHODS
from actors.messages import GetTicker
from runtime.config import Settings
from runtime.key_settings import KeysSettings
from runtime.key_wiring import AUDIT_FILE, DATABASE_FILE, SEALED_FILE, host_of, key_parts
from runtime.messages import METHODS
from runtime.setting_rules import SettingsError


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://api.upbit.com", "api.upbit.com"),
        ("https://API.Upbit.com:443/", "api.upbit.com"),
        ("https://api.upbit.com.", "api.upbit.com"),
        ("https://api.upbit.com:8443", "api.upbit.com:8443"),
        ("http://api.upbit.com", "http://api.upbit.com"),
        ("http://vm:80/", "http://vm"),
        ("http://vm:8080", "http://vm:8080"),
        ("https://user@evil.example/api.upbit.com", "evil.example"),
        ("http://127.0.0.1:8765", "localhost"),
        ("http://localhost:1", "localhost"),
        ("http://[::1]:2", "localhost"),
    ],
)
def test_keys_are_bound_to_a_host_and_not_to_a_spelling(url: str, host: str) -> None:
    """A sandbox has another port each time; a real exchange is one place."""
    assert host_of(url) == host


def test_no_keys_if_they_are_switched_off(tmp_path: Path) -> None:
    """A feature that is off starts nothing, and touches no file."""
    settings = Settings(keys=KeysSettings(enabled=False))
    assert key_parts(settings, tmp_path, credentials=None, learn=lambda _: None) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("unlock", ["passphrase", "key_file", "credential"])
def test_places_are_told(unlock: str, tmp_path: Path) -> None:
    """Whoever makes a copy must know of all of them, the key file included."""
    keys = KeysSettings(unlock=unlock, key_file=str(tmp_path / "k"), sealed_file="/else/where")  # type: ignore[arg-type]
    parts = key_parts(Settings(keys=keys), tmp_path, credentials=None, learn=lambda _: None)
    assert parts is not None
    wanted = [str(tmp_path / DATABASE_FILE), "/else/where", str(tmp_path / AUDIT_FILE)]
    if unlock == "key_file":
        wanted.append(str(tmp_path / "k"))
    assert list(parts.places) == wanted
    assert parts.unlocking.kind == unlock
    assert SEALED_FILE == "keys.sealed"


def test_sealed_file_in_the_place_of_another_is_refused_at_start(tmp_path: Path) -> None:
    """Not at the first write, when one of the two is gone."""
    settings = Settings(keys=KeysSettings(sealed_file=str(tmp_path / "candles.db")))
    with pytest.raises(SettingsError, match=r"keys\.sealed_file must be a file of its own"):
        key_parts(settings, tmp_path, credentials=None, learn=lambda _: None)


def test_every_method_of_keys_is_on_the_socket() -> None:
    """Nothing exists on one side only."""
    assert KEY_METHODS.items() <= METHODS.items()
    assert GetTicker not in KEY_METHODS.values()
