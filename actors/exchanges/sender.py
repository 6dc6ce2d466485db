"""What carries a question to an exchange, whatever the wire; `http` has the one for real use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from actors.errors import ExchangeUnavailable
from actors.exchanges.base import ExchangeCall


@dataclass(frozen=True, slots=True)
class RawResponse:
    """A whole HTTP response, before anybody has thought about what time it was made at.

    Attributes:
      status: The HTTP status.
      headers: Header fields; names in lower case.
      body: The decoded body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class SendFailed(ExchangeUnavailable):
    """No whole response came. It goes as far as `ThrottledExchange` and no further.

    Attributes:
      sent: Whether any of the request may have left this machine, so that it may be counted.
    """

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class Sender(Protocol):
    """Whatever can carry a question to an exchange."""

    async def send(self, call: ExchangeCall[Any]) -> RawResponse:
        """Send `call` and return the whole response, whatever its status.

        Raises:
          SendFailed: No whole response came.
          MalformedPayload: One came that cannot be read: too large, or wrongly compressed.
        """
