"""How a vault is, in a sentence that says what to do about it."""

from __future__ import annotations

from actors.vault.values import UnlockKind


def none_yet(kind: UnlockKind) -> str:
    """Return what is said before there is a vault."""
    if kind == "passphrase":
        return "there are no keys yet; `marketd keys create` makes a vault for them"
    return "there are no keys yet; `marketd keys add` adds the first"


def lost() -> str:
    """Return what is said where there was a vault once, and is none now."""
    return (
        "the audit trail tells of a vault that is not here; put its files back, or, if they are "
        "gone for good, make a new vault with `marketd keys create`"
    )


def cannot_sign(why: str) -> str:
    """Return what is said of an open vault whose audit trail cannot be written."""
    return (
        f"nothing can be signed, for it cannot be put on record: {why}. If the audit trail is gone "
        "for good, `marketd keys recover` begins a new one"
    )


def sealed() -> str:
    """Return what is said of a sealed vault."""
    return "the keys are sealed; `marketd keys unlock` opens them"


def open_already(reason: str) -> str:
    """Return what is said to who unlocks an open vault: a wrong passphrase must not look right."""
    return f"{reason}; it was open already, so nothing was tried: no passphrase was looked at"


def opened_by(kind: UnlockKind) -> str:
    """Return what is said of an open vault."""
    said = f"unlocked by {kind.replace('_', ' ')}"
    if kind == "passphrase":
        return said
    return f"{said}, without anybody being asked: who has that and this folder can do so"
