"""What a key may do, and what a change of it changes, in words. Plain functions."""

from __future__ import annotations

from collections.abc import Callable

from actors.exchanges.signing import Signer
from actors.key_rules import names_withdrawal
from actors.timeframes import format_time_ms
from actors.vault.values import KeyInfo


def may_sign(info: KeyInfo, signer: Signer) -> str:
    """Return what a key may sign: its rules, and what they say of withdrawals."""
    rules = ", ".join(info.allow)
    if not any(rule.endswith("/*") and not rule.startswith("GET ") for rule in info.allow):
        return f"may sign {rules}"
    named = any(names_withdrawal(rule, signer) for rule in info.allow)
    return f"may sign {rules}, but no withdrawals{' other than those named' if named else ''}"


def told_changes(before: KeyInfo, after: KeyInfo) -> str:
    """Return what differs between two states of a key: each with its old and its new value."""
    told: dict[str, Callable[[KeyInfo], str]] = {
        "allow": lambda info: ", ".join(info.allow),
        "requests per minute": lambda info: str(info.requests_per_minute or "any"),
        "expires": lambda info: _time(info.expires_ms),
        "uid": lambda info: info.uid or "none",
        "telegram id": lambda info: info.telegram_id or "none",
    }
    return "; ".join(
        f"{name} {say(before)} → {say(after)}"
        for name, say in told.items()
        if say(before) != say(after)
    )


def _time(time_ms: int | None) -> str:
    return "none" if time_ms is None else format_time_ms(time_ms)
