"""Messages about what is to be at hand before it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from actors.messages import GetCandles, Priority
from actors.preload_reports import Explanation, NeedReport, PreloadReport, Released
from runtime.core.message import Event, Request

if TYPE_CHECKING:
    # A reply type only; the value carries numpy, which a command-line client must not wait for.
    from actors.candles import Candles  # noqa: F401

# ------------------------------------------------------------------ asked by bots


class DeclareNeed(Request[NeedReport], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Say what a strategy uses, so that it is there before it is asked for.

    Declaring anew for the same strategy, market and timeframe takes the place of what was declared
    before. A need ends by `need.release`, or when its series was not asked for in a long while.

    Attributes:
      market: The market, as the exchange writes it.
      timeframe: One of 1s 1m 3m 5m 10m 15m 30m 1h 4h 1d 1w 1M.
      indicators: What is computed from the candles: `ATR(20)`, `MACD(12, 26, 9)`, `HIGH(60)`.
      history: How many candles it uses besides, or a length of time such as `90d`.
      strategy: Whose need it is: a name of your own.
    """

    market: str
    timeframe: str
    indicators: tuple[str, ...] = ()
    history: int | str | None = None
    strategy: str = "default"


class AwaitNeed(Request[NeedReport], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Answered when a need is ready.

    Attributes:
      market: The market.
      timeframe: The timeframe.
      strategy: Whose need it is.
    """

    market: str
    timeframe: str
    strategy: str = "default"


class GetNeeds(
    Request[tuple[NeedReport, ...]], frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """Every need, and how far it is there.

    Attributes:
      strategy: Only those of this strategy; of all if empty.
      market: Only of this market; of all if empty.
      timeframe: Only of this timeframe; of all if empty.
    """

    strategy: str = ""
    market: str = ""
    timeframe: str = ""


class ReleaseNeed(Request[Released], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """End the needs of a strategy.

    Attributes:
      strategy: Whose.
      market: Only of this market; of all if empty.
      timeframe: Only of this timeframe; of all if empty.
    """

    strategy: str
    market: str = ""
    timeframe: str = ""


class GetPreload(
    Request[tuple[PreloadReport, ...]], frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """What is fetched before anybody asks for it, and how good that has been; of each exchange."""


class ExplainPreload(Request[Explanation], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same in sentences: what, for whom, why, and how good predictions have been.

    Attributes:
      market: Only of this market; of all if empty.
      timeframe: Only of this timeframe; of all if empty.
    """

    market: str = ""
    timeframe: str = ""


# Method name on the socket for each of the above.
PRELOAD_METHODS: dict[str, type[Request[Any]]] = {
    "need": DeclareNeed,
    "need.ready": AwaitNeed,
    "needs": GetNeeds,
    "need.release": ReleaseNeed,
    "preload": GetPreload,
    "preload.explain": ExplainPreload,
}


# ------------------------------------------------------------------ between actors


class LoadCandles(Request["Candles"], frozen=True, kw_only=True):
    """Have candles at hand although nobody waits for them: asked of a CacheActor.

    Answered like the question itself, in its turn.

    Attributes:
      candles: What is to be at hand.
      priority: Whose turn it is when slots are scarce.
    """

    candles: GetCandles
    priority: Priority


class SizeSeries(Event, frozen=True, kw_only=True):
    """Tell a CacheActor how many closed candles to keep in memory of each series.

    Attributes:
      rows: The most of each, by market and timeframe; of a series not named, the usual.
    """

    rows: dict[tuple[str, str], int]


class SlotForecast(msgspec.Struct, frozen=True, kw_only=True):
    """What a limiter expects.

    Attributes:
      answered_s: In how many seconds so many requests will have been answered, for each number.
      journey_s: How long one took lately from leave to answer, in seconds; 0 if none did.
    """

    answered_s: tuple[float, ...]
    journey_s: float


class ForecastSlots(Request[SlotForecast], frozen=True, kw_only=True):
    """Ask a limiter when so many further requests will have been answered.

    Answered from its schedule as it stands: who asks later, and more urgently, makes it later.

    Attributes:
      group: The exchange's own name for the group.
      priority: Of the requests.
      requests: How many; several numbers, each from now on.
    """

    group: str
    priority: Priority
    requests: tuple[int, ...]
