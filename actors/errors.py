"""Every error that is an answer of the domain, split by who must act.

DomainError (runtime.core.errors)
├── KeysError                     no signature, and no answer about keys
│   ├── KeysSealed                the operator: unlock first, or make a vault
│   ├── UnknownKey                the caller: there is no such key
│   ├── KeyRefused                the key's owner: it may not be used for this
│   ├── AccountClosed             the caller: open the account again
│   ├── UnlockFailed              whoever tried: that did not open it
│   ├── VaultDamaged              the operator: what is kept must not be used
│   └── AuditFailed               the operator: nothing is signed that is not on record
└── MarketDataError               an answer about market data that is not data
    ├── InvalidRequest            the caller: the request itself cannot be served
    │   ├── UnknownGroup          no rate limit of that name is kept here
    │   ├── UnknownNeed           no such need is declared
    │   ├── UnknownMarket         no such market on that exchange
    │   └── UnknownTimeframe      no such timeframe, or not offered there
    ├── Overloaded                this runtime: a queue is at its bound; try later
    ├── ExchangeError             the exchange
    │   ├── ExchangeUnavailable   away, hanging, or answering 5xx; try later
    │   ├── RateLimited           it told us to wait
    │   ├── RequestRejected       it understood and refused
    │   ├── MalformedPayload      it sent something that breaks its own promises
    │   └── OutcomeUnknown        it may have changed something, or not; look first
    └── StoreError                the database
        ├── StoreUnavailable      cannot be reached or written; try later
        └── StoreCorrupt          holds something that breaks our promises
"""

from __future__ import annotations

from typing import ClassVar

from runtime.core.errors import DomainError


class KeysError(DomainError):
    """No signature, and no answer about keys.

    Attributes:
      retryable: Whether the same request may succeed later without anybody changing anything.
    """

    retryable: ClassVar[bool] = False


class KeysSealed(KeysError):
    """Nobody has unlocked the keys, or there are none yet; the message says what to do."""


class UnknownKey(KeysError):
    """There is no such key; the message names those there are."""


class KeyRefused(KeysError):
    """The key may not be used for this: its rules, its host, or its end; the message says which."""


class AccountClosed(KeysError):
    """The account client has come to its end; the message says why. Open the account again."""


class UnlockFailed(KeysError):
    """That passphrase, key file or credential did not open the vault.

    Attributes:
      retry_after_s: How long the next try is refused, in seconds.
      too_early: Whether nothing was tried, because it was too early for that.
    """

    def __init__(
        self, message: str, *, retry_after_s: float = 0.0, too_early: bool = False
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.too_early = too_early


class VaultDamaged(KeysError):
    """What is kept was changed, is old, or is open to others, and is not used; names the place."""


class AuditFailed(KeysError):
    """The audit trail cannot be written or read; nothing is signed or changed without it."""

    retryable = True


class MarketDataError(DomainError):
    """An answer about market data that is not data.

    Attributes:
      retryable: Whether the same request may succeed later without anybody changing anything.
    """

    retryable: ClassVar[bool] = False


class InvalidRequest(MarketDataError):
    """The request cannot be served as it stands."""


class UnknownGroup(InvalidRequest):
    """No rate limit of that name is kept here; the message names those there are."""


class UnknownNeed(InvalidRequest):
    """No such need is declared; the message names the strategies that have some."""


class UnknownMarket(InvalidRequest):
    """No such market on that exchange."""


class UnknownTimeframe(InvalidRequest):
    """No such timeframe, or the exchange does not offer it."""


class Overloaded(MarketDataError):
    """A queue of this runtime is at its bound."""

    retryable = True


class ExchangeError(MarketDataError):
    """The exchange did not give a usable answer; the message names it."""


class ExchangeUnavailable(ExchangeError):
    """Away, hanging, cutting the answer short, or answering 5xx."""

    retryable = True


class RateLimited(ExchangeError):
    """The exchange said that we ask too often.

    Attributes:
      retry_after_s: How long the exchange, or our own ledger, wants us to wait, in seconds.
    """

    retryable = True

    def __init__(self, message: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RequestRejected(ExchangeError):
    """The exchange understood the request and refused it.

    Attributes:
      code: The exchange's own name for the reason, as text.
    """

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class MalformedPayload(ExchangeError):
    """The exchange's answer breaks the promises of its own documentation; nothing of it is kept."""


class OutcomeUnknown(ExchangeError):
    """Something was to be changed at the exchange, and nobody knows whether it was.

    The request was sent, or may have been, and no answer came that can be read. Look whether it had
    its effect before you ask for it again: sent twice, an order is two orders.
    """


class StoreError(MarketDataError):
    """The database did not do its part; the message names it."""


class StoreUnavailable(StoreError):
    """Cannot be reached, read or written at the moment."""

    retryable = True


class StoreCorrupt(StoreError):
    """A stored record breaks the promises of the store; the message names it."""
