"""`Unlocker`: from what somebody knows or has to an open vault; wrong tries slow down."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from actors.errors import InvalidRequest, UnlockFailed, VaultDamaged
from actors.stores.keys import KeptVault, KeyStore
from actors.vault.sealed_form import UnlockParams
from actors.vault.secret import Secret
from actors.vault.sodium import COST, KdfCost
from actors.vault.values import UnlockKind
from actors.vault.vault import Kek, Vault, fresh_params, params_of
from runtime.core.clock import Clock

_log = logging.getLogger("marketd.keys")

PASSPHRASE_BYTES_MIN = 8
PASSPHRASE_BYTES_MAX = 4_096
# After nine wrong tries in a row the wait does not grow any more.
RETRY_S_MAX = 300.0

_TRIES, _TRIED_MS = "wrong_tries", "last_wrong_try_ms"
_DIGITS_MAX = 18


class KeySource(Protocol):
    """Where a key that unlocks comes from, if it is not a passphrase."""

    async def read(self, *, create: bool) -> Secret:
        """Return it; make it first if it is not there and `create` is set.

        Raises:
          UnlockFailed: It is not there, or cannot be read.
          VaultDamaged: Others could have read it.
        """


Derive = Callable[[UnlockKind, Secret, UnlockParams], Awaitable[Kek]]


@dataclass(frozen=True, slots=True)
class Unlocking:
    """How a vault is unlocked.

    Attributes:
      kind: By what, if it is not made yet.
      sources: Where keys come from, for the kinds that are no passphrase.
      derive: Makes of a passphrase, or of what a source gave, the key that opens; in a thread.
      cost: What deriving from a passphrase shall cost.
    """

    kind: UnlockKind
    sources: Mapping[UnlockKind, KeySource]
    derive: Derive
    cost: KdfCost = COST


class Unlocker:
    """Opens vaults.

    Args:
      unlocking: How.
      clock: Where time is read.

    Attributes:
      kind: What unlocks a vault that is made now.
      failures: Tries that failed.
    """

    def __init__(self, unlocking: Unlocking, clock: Clock) -> None:
        self._unlocking = unlocking
        self._clock = clock
        self._wait_until_ms = 0
        self.kind = unlocking.kind
        self.failures = 0

    @property
    def retry_after_s(self) -> float:
        """Return how long the next try is refused, in seconds."""
        return max(0.0, (self._wait_until_ms - self._clock.utc_ms()) / 1_000)

    async def open(self, store: KeyStore, kept: KeptVault, passphrase: Secret) -> Vault:
        """Return `kept`, opened; count tries that fail.

        Raises:
          UnlockFailed: That does not open it, or it is too early for another try.
          VaultDamaged: It must not be used.
        """
        facts = await _facts(store)
        tries, last_ms = _number(facts, _TRIES), _number(facts, _TRIED_MS)
        now_ms = self._clock.utc_ms()
        if last_ms > now_ms:
            # The clock was set back, which must not keep the owner out until it is there again.
            last_ms = now_ms
            await _note(store, {_TRIED_MS: str(now_ms)})
        self._wait_until_ms = last_ms + round(_retry_s(tries) * 1_000)
        if self.retry_after_s > 0:
            raise UnlockFailed(
                f"{tries} wrong {'try' if tries == 1 else 'tries'} in a row; the next in "
                f"{math.ceil(self.retry_after_s)} s",
                retry_after_s=self.retry_after_s,
                too_early=True,
            )
        params = params_of(kept.header)
        try:
            kek = await self._derived(params.kind, params, passphrase, create=False)
            vault = Vault.open(kept, kek)
        except UnlockFailed as error:
            self.failures += 1
            if params.kind != "passphrase":
                # Nobody guesses a file.
                raise
            await _note(store, {_TRIES: str(tries + 1), _TRIED_MS: str(now_ms)})
            _log.warning("a try to unlock failed; wrong tries in a row: %d", tries + 1)
            self._wait_until_ms = now_ms + round(_retry_s(tries + 1) * 1_000)
            raise UnlockFailed(str(error), retry_after_s=self.retry_after_s) from error
        if tries:
            await _note(store, {_TRIES: "0"})
        return vault

    async def new_kek(self, kind: UnlockKind, passphrase: Secret) -> Kek:
        """Return a new key that unlocks, made from a passphrase or from what a source gives.

        Raises:
          InvalidRequest: The passphrase will not do.
          UnlockFailed: The source has none, and makes none.
        """
        if kind == "passphrase":
            size = len(passphrase)
            if not PASSPHRASE_BYTES_MIN <= size <= PASSPHRASE_BYTES_MAX:
                raise InvalidRequest(
                    f"a passphrase must be {PASSPHRASE_BYTES_MIN} to {PASSPHRASE_BYTES_MAX} bytes "
                    f"long, was {size}"
                )
        params = fresh_params(kind, self._unlocking.cost)
        return await self._derived(kind, params, passphrase, create=True)

    async def _derived(
        self, kind: UnlockKind, params: UnlockParams, passphrase: Secret, *, create: bool
    ) -> Kek:
        material = passphrase
        if kind != "passphrase":
            source = self._unlocking.sources.get(kind)
            if source is None:
                raise UnlockFailed(f"nothing says where the {kind.replace('_', ' ')} is")
            material = await source.read(create=create)
        return await self._unlocking.derive(kind, material, params)


async def _facts(store: KeyStore) -> Mapping[str, str]:
    try:
        return await store.notes()
    except VaultDamaged:
        # It is what the good copy is opened for; Argon2 slows guesses down as well.
        return {}


async def _note(store: KeyStore, facts: Mapping[str, str]) -> None:
    with suppress(VaultDamaged):
        await store.note(facts)


def _number(facts: Mapping[str, str], name: str) -> int:
    text = facts.get(name, "")
    # What has become so long is nothing that was noted here.
    return int(text) if text.isdecimal() and len(text) <= _DIGITS_MAX else 0


def _retry_s(tries: int) -> float:
    """Return how long to wait after so many wrong tries in a row, in seconds."""
    # The power has a bound of its own: after a thousand tries there is no such float any more.
    return 0.0 if tries == 0 else min(2.0 ** min(tries - 1, 30), RETRY_S_MAX)
