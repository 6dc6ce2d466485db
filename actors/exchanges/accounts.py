"""What an account adapter is: an exchange's language for what is asked about an account."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from actors.exchanges.base import ExchangeCall
from runtime.core.message import Request


def is_other(access_key: str) -> bool:
    """Return False: of no key is known that it is one's own."""
    del access_key
    return False


class AccountAdapter(ABC):
    """The account language of one exchange. Stateless, and without keys: others sign.

    Attributes:
      name: The exchange.
    """

    name: str

    @abstractmethod
    def call(
        self, request: Request[Any], holder: str, *, is_own: Callable[[str], bool] = is_other
    ) -> ExchangeCall[Any]:
        """Return what to send for one of `actors.key_messages.ACCOUNT_CALLS`.

        Args:
          request: What is asked.
          holder: Whose limits it counts in; becomes the call's `account`.
          is_own: Tells whether an access key is the one that asks.

        Raises:
          InvalidRequest: It cannot be asked so; says what is wanted, what was there and where.
        """
