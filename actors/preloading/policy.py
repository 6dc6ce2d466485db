"""How one exchange's data is fetched before anybody asks for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PreloadPolicy:
    """How one exchange's data is fetched before anybody asks for it.

    Attributes:
      learn: Whether habits are learnt, and acted on.
      margin: Candles that are fetched beyond what indicators need.
      keep_need_s: How long after the last use of its series a declared need ends, in seconds.
      page: Candles in one page of the exchange.
      requests: Requests for candles that the exchange allows in its shortest window.
      group: The exchange's own name for the group in which they count.
      settle_s: How long after its end a candle may still change, in seconds.
      rows: Candles in memory of a series of which it is not known how deep it is asked.
      memory_bytes_max: Most memory for candles, in bytes.
    """

    learn: bool = True
    margin: int = 50
    keep_need_s: float = 86_400.0
    page: int = 200
    requests: int = 10
    group: str = "candles"
    settle_s: float = 5.0
    rows: int = 200
    memory_bytes_max: int = 100_000_000
