"""How a vault is, in a sentence that says what to do about it."""

from __future__ import annotations

from actors.vault.values import UnlockKind


def none_yet(kind: UnlockKind) -> str:
    """Return what is said before there is a vault."""
    if kind == "passphrase":
        return "there are no keys yet; `marketd keys create` makes a vault for them"
    return "there are no keys yet; `marketd keys add` adds the first"


def sealed() -> str:
    """Return what is said of a sealed vault."""
    return "the keys are sealed; `marketd keys unlock` opens them"


def opened_by(kind: UnlockKind) -> str:
    """Return what is said of an open vault."""
    said = f"unlocked by {kind.replace('_', ' ')}"
    if kind == "passphrase":
        return said
    return f"{said}, without anybody being asked: who has that and this folder can do so"
