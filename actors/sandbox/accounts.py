"""Who has an account at the sandbox exchange: names, API keys and what they begin with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

# Everything a key can be allowed here. Source: https://docs.upbit.com/kr/reference/auth, read
# 2026-11-21.
PERMISSIONS = frozenset(
    {
        "view_account",
        "view_orders",
        "make_orders",
        "view_withdrawals",
        "withdraw",
        "view_deposits",
        "deposit",
    }
)
# What the one account has that there is without asking. Everybody knows them: no secrets.
SANDBOX_ACCESS_KEY = "sandbox-access-key-0000000000000000000000"
SANDBOX_SECRET_KEY = "sandbox-secret-key-0000000000000000000000"  # noqa: S105 - known to everybody
SANDBOX_BALANCES = {"KRW": "10000000", "BTC": "0.1", "USDT": "1000"}
# Source: https://docs.upbit.com/kr/reference/auth, read 2026-11-21: a key is valid for a year.
KEY_LIFE_MS = 365 * 86_400_000


@dataclass(frozen=True, slots=True)
class SandboxKey:
    """One API key of an account.

    Attributes:
      access_key: Its public half.
      secret_key: Its secret half.
      permissions: What it may do; see `PERMISSIONS`.
      expires_ms: From when on it is refused, milliseconds of the market's time; None for never.
    """

    access_key: str
    secret_key: str = field(repr=False)
    permissions: frozenset[str] = PERMISSIONS - {"withdraw"}
    expires_ms: int | None = None

    def __post_init__(self) -> None:
        """Refuse a permission that nothing asks for."""
        unknown = self.permissions - PERMISSIONS
        if unknown:
            known, was = ", ".join(sorted(PERMISSIONS)), ", ".join(sorted(unknown))
            raise ValueError(f"permissions of a key are {known}; was {was}")


@dataclass(frozen=True, slots=True)
class SandboxAccount:
    """One account.

    Attributes:
      name: What limits are counted by.
      keys: Its API keys.
      balances: What it begins with, by currency, as text.
    """

    name: str
    keys: Sequence[SandboxKey] = ()
    balances: Mapping[str, str] = field(default_factory=dict)


def default_account(start_ms: int) -> SandboxAccount:
    """Return the account that there is without asking, with a key that ends a year after a moment.

    Args:
      start_ms: When the sandbox starts, UTC milliseconds.
    """
    key = SandboxKey(SANDBOX_ACCESS_KEY, SANDBOX_SECRET_KEY, expires_ms=start_ms + KEY_LIFE_MS)
    return SandboxAccount("sandbox", (key,), SANDBOX_BALANCES)
