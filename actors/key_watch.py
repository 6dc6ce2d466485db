"""`KeyWatch`: announce in time that keys come to their end, and say how the keys are."""

from __future__ import annotations

import logging
import math
from typing import Literal

import trio

from actors.vault_desk import VaultDesk
from runtime.core.clock import Clock

_log = logging.getLogger("marketd.keys")

DAY_MS = 86_400_000
_HOUR_MS = 3_600_000
# A key at Upbit lasts a year and cannot be made longer, so its owner has to act.
WARN_DAYS = (30, 14, 7, 3, 1, 0)
# From here on it is a matter of health.
SOON_DAYS = 7
_EVERY_S = 600.0


class KeyWatch:
    """Looks at the ends of all keys, and whether the audit trail is there, again and again.

    Args:
      desk: Where the vault is.
      clock: Where time is read.
    """

    def __init__(self, desk: VaultDesk, clock: Clock) -> None:
        self._desk = desk
        self._clock = clock
        # Of each key and end: the smallest number of days it was warned at.
        self._warned: dict[tuple[str, int], int] = {}

    async def run(self) -> None:
        """Look now and then, until cancelled."""
        while True:
            await self._desk.look_at_trail()
            self.look()
            await trio.sleep(_EVERY_S)

    def look(self) -> None:
        """Log what comes to its end and was not told yet; each step of `WARN_DAYS` once."""
        for key_id, name, expires_ms in self._ends():
            left_ms = expires_ms - self._clock.utc_ms()
            step = next((days for days in sorted(WARN_DAYS) if left_ms <= days * DAY_MS), None)
            if step is None or step >= self._warned.get((key_id, expires_ms), 1_000):
                continue
            self._warned[key_id, expires_ms] = step
            _log.warning("key %s %s", name, _when(left_ms))

    def health(self) -> tuple[Literal["ok", "degraded", "away", "unknown"], str]:
        """Return how the keys are, and why."""
        if self._desk.state == "damaged" or self._desk.is_lost or self._desk.cannot_sign:
            return "away", self._desk.told
        if self._desk.state == "sealed":
            return "degraded", self._desk.reason
        troubles = []
        for _, name, expires_ms in self._ends():
            left_ms = expires_ms - self._clock.utc_ms()
            if left_ms <= SOON_DAYS * DAY_MS:
                troubles.append(f"key {name} {_when(left_ms)}")
        return ("degraded", "; ".join(troubles)) if troubles else ("ok", "")

    def _ends(self) -> list[tuple[str, str, int]]:
        vault = self._desk.vault
        if vault is None:
            return []
        return [
            (info.id, info.name, info.expires_ms)
            for info in vault.keys.values()
            if info.removed_ms is None and info.expires_ms is not None
        ]


def _when(left_ms: int) -> str:
    if left_ms <= 0:
        return "has expired; make a new one at the exchange"
    days, hours = divmod(left_ms // _HOUR_MS, 24)
    left = f"{days} days and {hours} hours"
    if left_ms < _HOUR_MS:
        minutes = math.ceil(left_ms / 60_000)
        left = f"{minutes} minute{'s' if minutes > 1 else ''}"
    return f"expires in {left}; make a new one at the exchange in time"
