"""Every error that is an answer about market data, split by who must act.

DomainError (runtime.core.errors)
└── MarketDataError               an answer about market data that is not data
    ├── InvalidRequest            the caller: the request itself cannot be served
    │   ├── UnknownGroup          no rate limit of that name is kept here
    │   ├── UnknownMarket         no such market on that exchange
    │   └── UnknownTimeframe      no such timeframe, or not offered there
    ├── Overloaded                this runtime: a queue is at its bound; try later
    ├── ExchangeError             the exchange
    │   ├── ExchangeUnavailable   away, hanging, or answering 5xx; try later
    │   ├── RateLimited           it told us to wait
    │   ├── RequestRejected       it understood and refused
    │   └── MalformedPayload      it sent something that breaks its own promises
    └── StoreError                the database
        ├── StoreUnavailable      cannot be reached or written; try later
        └── StoreCorrupt          holds something that breaks our promises
"""

from __future__ import annotations

from typing import ClassVar

from runtime.core.errors import DomainError


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


class StoreError(MarketDataError):
    """The database did not do its part; the message names it."""


class StoreUnavailable(StoreError):
    """Cannot be reached, read or written at the moment."""

    retryable = True


class StoreCorrupt(StoreError):
    """A stored record breaks the promises of the store; the message names it."""
