"""What data is about: a market on an exchange, and a series of its candles."""

from __future__ import annotations

import re
from dataclasses import dataclass

from actors.errors import InvalidRequest
from actors.timeframes import Timeframe

DEFAULT_EXCHANGE = "upbit"

# Letters, digits and the punctuation exchanges use in codes; a bound, so that a name from outside
# can be logged, put into a URL path or a file name without a second thought.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


@dataclass(frozen=True, slots=True)
class Market:
    """One market on one exchange, in the exchange's own spelling.

    Attributes:
      exchange: The exchange's name, lower case, e.g. `upbit`.
      code: The market as the exchange writes it, e.g. `KRW-BTC`.
    """

    exchange: str
    code: str

    @classmethod
    def parse(cls, text: str) -> Market:
        """Return the market called `text`: `KRW-BTC`, or `okx:BTC-USDT` for another exchange.

        Raises:
          InvalidRequest: The text has another form.
        """
        exchange, colon, code = text.rpartition(":")
        if not colon:
            exchange = DEFAULT_EXCHANGE
        if not (_NAME.fullmatch(exchange) and exchange.islower() and _NAME.fullmatch(code)):
            raise InvalidRequest(
                "market must be written as the exchange writes it, such as KRW-BTC, or "
                f"okx:BTC-USDT for another exchange; was {text[:60]!r}"
            )
        return cls(exchange, code)

    def __str__(self) -> str:
        """Return the text that `parse` reads."""
        return self.code if self.exchange == DEFAULT_EXCHANGE else f"{self.exchange}:{self.code}"


@dataclass(frozen=True, slots=True)
class Series:
    """The candles of one market in one timeframe."""

    market: Market
    timeframe: Timeframe

    @classmethod
    def parse(cls, market: str, timeframe: str) -> Series:
        """Return the series named by two texts; errors as in `Market` and `Timeframe`."""
        return cls(Market.parse(market), Timeframe.parse(timeframe))

    def __str__(self) -> str:
        """Return e.g. `KRW-BTC 1m`."""
        return f"{self.market} {self.timeframe.value}"
