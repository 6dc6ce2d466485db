"""What tests of vaults, and of what keeps them, need: keys that cost nothing to make."""

from __future__ import annotations

from actors.vault.secret import Secret
from actors.vault.sodium import KdfCost
from actors.vault.values import Credential, KeyInfo
from actors.vault.vault import Kek, Vault, derive, fresh_params

# The least that libsodium takes: tests unlock thousands of times.
CHEAP = KdfCost(1, 8_192)
NOW_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
MARK = (7, "ab" * 32)


def made_kek(words: str = "correct horse", *, like: Kek | None = None) -> Kek:
    """Return what unlocks, from a passphrase; with the salt of `like`, or a fresh one."""
    params = fresh_params("passphrase", CHEAP) if like is None else like.params
    return derive(Secret.of_text(words), params)


def made_info(label: str = "main", *, exchange: str = "upbit") -> KeyInfo:
    """Return what is known of a key; the label makes its identity."""
    return KeyInfo(
        id=f"{exchange}{label}".encode().hex(),
        exchange=exchange,
        label=label,
        hint="abcd",
        host=f"api.{exchange}.com",
        created_ms=NOW_MS,
        changed_ms=NOW_MS,
    )


def made_credential(text: str = "one") -> Credential:
    """Return a credential that `told` tells from others."""
    return Credential(Secret.of_text(f"access {text}"), Secret.of_text(f"secret {text}"))


def told(vault: Vault) -> dict[str, str]:
    """Return the secret of each key, by its name."""
    found = {}
    for key_id, info in vault.keys.items():
        # Held while it is read: a credential that is let go is wiped.
        credential = vault.credential(key_id)
        found[info.name] = credential.secret_key.buffer.decode()
    return found
