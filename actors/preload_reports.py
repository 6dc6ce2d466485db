"""What is said of needs and of preloading: frozen figures, each field with its unit."""

from __future__ import annotations

from typing import Literal

import msgspec

NeedState = Literal["waiting", "fetching", "ready", "failing"]


class NeedReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one strategy needs of one series, and how far it is there.

    Attributes:
      strategy: Whose need it is.
      market: The market.
      timeframe: The timeframe.
      indicators: What it is computed from, as text.
      state: `waiting` until something of it was asked for, `fetching`, `ready`, or `failing` while
        the exchange does not give it; then it is tried again.
      needed: Candles that are to be at hand.
      covered: Candles that are, the newest without a hole.
      widest: Why so many: the indicator that needs most, or the history that was asked for.
      missing: What is lacking and why, in words; empty if nothing is.
      whole: Whether all of `needed` exists. A young listing is ready with what there is.
      ready_in_s: Seconds until it will be ready, as the limiter's schedule stands; None if that
        cannot be said, 0 if it is.
      took_s: How long it took to become ready, in seconds; None if it is not.
      declared_ms: When it was declared, in UTC milliseconds.
      used_ms: When the series was last asked for; None if never since.
      ends_ms: When it ends if the series is not asked for; None for one of the configuration.
    """

    strategy: str
    market: str
    timeframe: str
    indicators: tuple[str, ...]
    state: NeedState
    needed: int
    covered: int
    widest: str
    missing: str = ""
    whole: bool = True
    ready_in_s: float | None = None
    took_s: float | None = None
    declared_ms: int
    used_ms: int | None = None
    ends_ms: int | None = None


class Released(msgspec.Struct, frozen=True, kw_only=True):
    """Needs that have ended.

    Attributes:
      needs: How many.
    """

    needs: int


class FetchReport(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is being fetched before anybody asks.

    Attributes:
      market: The market.
      timeframe: The timeframe.
      candles: How many candles are asked for.
      priority: `declared` or `predicted`.
      whom: The strategy, or the habit that it is for.
      since_s: For how long it has been under way, in seconds.
    """

    market: str
    timeframe: str
    candles: int
    priority: str
    whom: str
    since_s: float


class PredictionReport(msgspec.Struct, frozen=True, kw_only=True):
    """A request that is expected.

    Attributes:
      market: The market.
      timeframe: The timeframe.
      due_in_s: Seconds until it is expected; negative if that has passed.
      probability: How likely it is to come then, 0 to 1.
      because: The habit, in words.
      worth: Whether it is going to be acted on, as slots are spare now.
    """

    market: str
    timeframe: str
    due_in_s: float
    probability: float
    because: str
    worth: bool


class PreloadReport(msgspec.Struct, frozen=True, kw_only=True):
    """What is fetched before anybody asks for it, and how good that has been.

    Attributes:
      exchange: The exchange.
      fetching: What is under way now.
      expected: The next requests expected, soonest first.
      needs: How many needs are declared.
      ready: How many of them are ready.
      learning: Whether habits are learnt, and acted on.
      series: Series of which habits are known.
      model_bytes: Size of the learnt model when it was last kept, in bytes.
      predictions: Predictions made since start.
      acted: Those that were acted on.
      used: Pages fetched ahead that somebody then asked for in time.
      wasted: Pages fetched ahead that nobody asked for in time.
      asked: Times that a series was needed anew since start.
      ready_when_asked: Those of them for which a prediction had fetched in time.
      unheard: Requests since start that nothing was learnt from, because too many came at once.
      page_s: How long a page takes lately, in seconds: what having it ahead saves.
      bar: The probability from which a prediction is acted on when all slots are spare, 0 to 1.
      spare: What part of the exchange's limit is unused now, 0 to 1.
      memory_bytes: What candles in memory take, in bytes.
      memory_bytes_max: The bound on it.
      deepest: The most candles kept of one series.
    """

    exchange: str
    fetching: tuple[FetchReport, ...]
    expected: tuple[PredictionReport, ...] = ()
    needs: int
    ready: int
    learning: bool = True
    series: int = 0
    model_bytes: int = 0
    predictions: int = 0
    acted: int = 0
    used: int = 0
    wasted: int = 0
    asked: int = 0
    ready_when_asked: int = 0
    unheard: int = 0
    page_s: float = 0.0
    bar: float = 1.0
    spare: float
    memory_bytes: int
    memory_bytes_max: int
    deepest: int


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Sentences.

    Attributes:
      sentences: One thing each.
    """

    sentences: tuple[str, ...]
