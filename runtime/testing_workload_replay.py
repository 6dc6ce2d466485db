"""A workload against a memory of pages: with nothing ahead, with habits, and with foresight.

No network and no actors: a page takes `PAGE_S`, memory answers from a page that is young enough, or
for closed candles from one that proves the last of them, and who asks for what is under way waits
for the rest of it.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from actors.preloading.habit_values import PAGE_MS, SETTLE_MS, Prediction
from actors.preloading.habits import Habits
from actors.preloading.worth import Price, worth
from actors.timeframes import Timeframe
from runtime.testing_workloads import Ask

# A Monday.
START_MS = 1_767_571_200_000
PAGE_S = 0.06
_SETTLE_S = SETTLE_MS / 1000

Series = tuple[str, str]


@dataclass(slots=True)
class Result:
    """What a workload came to.

    Attributes:
      waits_s: How long each request waited, in seconds; in the order of the workload.
      paged_s: When a page was asked for, each time.
      used: Pages fetched ahead that served a request.
      wasted: Pages fetched ahead that served none.
      told: What was predicted, told from what stood when its page had to be asked for, and whether
        the request came in time.
    """

    waits_s: list[float] = field(default_factory=list)
    paged_s: list[float] = field(default_factory=list)
    used: int = 0
    wasted: int = 0
    told: list[tuple[Prediction, bool]] = field(default_factory=list)


class Memory:
    """The newest page of each series."""

    def __init__(self) -> None:
        self._sent_s: dict[Series, float] = {}
        self._spans_s: dict[str, float] = {}

    def sent_s(self, series: Series) -> float:
        """Return when the newest page was asked for; -inf if there is none."""
        return self._sent_s.get(series, -math.inf)

    def put(self, series: Series, sent_s: float) -> None:
        """Keep a page that was asked for at `sent_s`."""
        self._sent_s[series] = sent_s

    def serves(self, ask: Ask) -> bool:
        """Return whether the newest page answers a request."""
        sent_s = self.sent_s((ask.market, ask.timeframe))
        if ask.at_s - sent_s <= ask.max_age_s:
            return True
        return ask.closed and sent_s >= self._ended_s(ask) + _SETTLE_S

    def _ended_s(self, ask: Ask) -> float:
        """Return when the newest candle ended that has."""
        now_ms = START_MS + int(ask.at_s * 1000)
        return (Timeframe.parse(ask.timeframe).floor_ms(now_ms) - START_MS) / 1000


def replay_reactive(asks: Sequence[Ask]) -> Result:
    """Return what comes of fetching what is asked for, when it is."""
    result, memory = Result(), Memory()
    for ask in asks:
        _answer(ask, memory, result)
    return result


def replay_oracle(asks: Sequence[Ask]) -> Result:
    """Return what comes of knowing the future: nobody waits, and no page can be spared.

    Each page is asked for as late as it is in time for the first request that lacks one, so it
    serves as many after that as any page could.
    """
    result, memory = Result(), Memory()
    for ask in asks:
        if not memory.serves(ask):
            sent_s = ask.at_s - PAGE_S
            memory.put((ask.market, ask.timeframe), sent_s)
            result.paged_s.append(sent_s)
        result.waits_s.append(0.0)
    return result


def replay_habits(
    asks: Sequence[Ask], *, habits: Habits | None = None, spare: float = 1.0
) -> Result:
    """Return what comes of fetching ahead what habits expect, where it is worth it.

    Args:
      asks: The workload.
      habits: What is known already; nothing if None.
      spare: What part of the limit is unused, 0 to 1.
    """
    return _Replay(habits or Habits(), spare).run(asks)


@dataclass(slots=True)
class _Page:
    """A page fetched ahead, or one that might have been."""

    prediction: Prediction
    sent_s: float
    fetched: bool
    used: bool = False


class _Replay:
    def __init__(self, habits: Habits, spare: float) -> None:
        self._habits = habits
        self._spare = spare
        self._price = Price()
        self._memory = Memory()
        self._result = Result()
        # By time: what is to be done then.
        self._plan: list[tuple[float, int, Callable[[float], None]]] = []
        self._planned = 0
        self._pages: dict[Series, list[_Page]] = {}

    def run(self, asks: Sequence[Ask]) -> Result:
        for ask in asks:
            self._pass(ask.at_s)
            self._judge(ask)
            _answer(ask, self._memory, self._result)
            told = self._habits.note(
                (ask.market, ask.timeframe),
                START_MS + int(ask.at_s * 1000),
                depth=ask.depth,
                closed=ask.closed,
                max_age_s=ask.max_age_s,
            )
            self._expect(told, ask.at_s)
        return self._result

    def _at(self, time_s: float, what: Callable[[float], None]) -> None:
        self._planned += 1
        heapq.heappush(self._plan, (time_s, self._planned, what))

    def _pass(self, until_s: float) -> None:
        """Do what is to be done before `until_s`."""
        while True:
            wake_s = math.inf
            if self._habits.wake_ms is not None:
                wake_s = (self._habits.wake_ms - START_MS) / 1000
            plan_s = self._plan[0][0] if self._plan else math.inf
            if min(wake_s, plan_s) >= until_s:
                return
            if wake_s <= plan_s:
                self._expect(self._habits.expire(START_MS + math.ceil(wake_s * 1000)), wake_s)
            else:
                time_s, _, what = heapq.heappop(self._plan)
                what(time_s)

    def _expect(self, told: Sequence[Prediction], now_s: float) -> None:
        for prediction in told:
            act_ms = max(prediction.due_ms - PAGE_MS, min(prediction.from_ms, prediction.due_ms))
            act_s = max(now_s, (act_ms - START_MS) / 1000)
            self._at(act_s, lambda time_s, told=prediction: self._act(told, time_s))  # type: ignore[misc]

    def _act(self, prediction: Prediction, now_s: float) -> None:
        if not self._habits.stands(prediction):
            return
        from_s = (prediction.from_ms - START_MS) / 1000
        if self._memory.sent_s(prediction.key) >= from_s:
            return
        fetched = worth(
            prediction.probability, saved_s=PAGE_S, spare=self._spare, price=self._price
        )
        if fetched:
            self._memory.put(prediction.key, now_s)
            self._result.paged_s.append(now_s)
        page = _Page(prediction, now_s, fetched)
        self._pages.setdefault(prediction.key, []).append(page)
        until_s = (prediction.until_ms - START_MS) / 1000
        self._at(until_s + 0.001, lambda _: self._close(page))

    def _judge(self, ask: Ask) -> None:
        for page in self._pages.get((ask.market, ask.timeframe), ()):
            if not page.used:
                page.used = True
                if page.fetched:
                    self._result.used += 1
                    self._price.used()

    def _close(self, page: _Page) -> None:
        self._pages[page.prediction.key].remove(page)
        self._result.told.append((page.prediction, page.used))
        if page.fetched and not page.used:
            self._result.wasted += 1
            self._price.wasted()


def _answer(ask: Ask, memory: Memory, result: Result) -> None:
    series = (ask.market, ask.timeframe)
    if not memory.serves(ask):
        memory.put(series, ask.at_s)
        result.paged_s.append(ask.at_s)
    result.waits_s.append(max(0.0, memory.sent_s(series) + PAGE_S - ask.at_s))


def kinds_of(asks: Sequence[Ask], waits_s: Sequence[float]) -> Iterator[tuple[str, list[float]]]:
    """Return the waits of each kind of asker, in the order of the first request of each."""
    by_kind: dict[str, list[float]] = {}
    for ask, wait_s in zip(asks, waits_s, strict=True):
        by_kind.setdefault(ask.kind, []).append(wait_s)
    yield from by_kind.items()
