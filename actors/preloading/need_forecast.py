"""When needs will be ready, as the limiter's schedule stands, and whether the exchange is there."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from actors.errors import MarketDataError
from actors.messages import GetHealth, Priority
from actors.preload_messages import ForecastSlots, SlotForecast
from actors.preloading.keeping import SeriesKeeper
from actors.reports import Health
from actors.series import Series
from runtime.core.errors import ActorError
from runtime.core.ref import ActorRef

_ANSWER_S = 2.0

Wanted = tuple[Series, int]
"""So many candles of a series."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What there is to expect.

    Attributes:
      ready_in_s: Seconds until so many candles of a series will be there; those of which nothing
        can be said are not in it.
      away: Why the exchange gives nothing now; empty if it does, or if nobody knows.
    """

    ready_in_s: dict[Wanted, float]
    away: str = ""


async def outlook(
    keepers: dict[Series, SeriesKeeper],
    wanted: Iterable[Wanted],
    *,
    turns: float,
    cache: ActorRef,
    limiter: ActorRef,
    group: str,
) -> Outlook:
    """Return what there is to expect of what is not ready yet.

    Nothing is said of what fails, nor if the limiter does not answer, and of nothing while the
    exchange is away: how long that will last nobody knows.

    Args:
      keepers: All that fetch, and wait to.
      wanted: What is asked about.
      turns: How many fetch at once.
      cache: Knows how the exchange is.
      limiter: Knows when slots are free.
      group: The exchange's own name for the group in which pages count.
    """
    left = {each: keepers[each[0]].pages_left(each[1]) for each in wanted}
    left = {each: pages for each, pages in left.items() if pages}
    if not left:
        return Outlook({})
    away = await _away(cache)
    if away:
        return Outlook({}, away)
    ahead_of = pages_ahead(keepers.values(), turns)
    ahead = {
        (series, candles): ahead_of(series, pages)
        for (series, candles), pages in left.items()
        if series in keepers and keepers[series].state in ("waiting", "fetching")
    }
    numbers = tuple(sorted(set(ahead.values())))
    if not numbers:
        return Outlook({})
    ask = ForecastSlots(group=group, priority=Priority.DECLARED, requests=numbers)
    try:
        forecast: SlotForecast = await limiter.call(ask, timeout_s=_ANSWER_S)
    except (MarketDataError, ActorError):
        return Outlook({})
    answered_s = dict(zip(numbers, forecast.answered_s, strict=True))
    # Of one series a page is asked for when the one before it is there.
    moments_s = {
        each: max(answered_s[pages], left[each] * forecast.journey_s)
        for each, pages in ahead.items()
    }
    # What is not there takes time: if none can be named, no answer has been seen yet.
    return Outlook({each: moment_s for each, moment_s in moments_s.items() if moment_s > 0})


async def _away(cache: ActorRef) -> str:
    try:
        health: Health = await cache.call(GetHealth(), timeout_s=_ANSWER_S)
    except (MarketDataError, ActorError):
        return ""
    return health.reason if health.state == "away" else ""


def pages_ahead(keepers: Iterable[SeriesKeeper], turns: float) -> Callable[[Series, int], int]:
    """Return what says how many pages go out until a series has had so many, these included.

    Those who fetch take turns, page by page; who waits begins at once if there are turns left, and
    else when one of them has ended, in the order in which they came. Who fails is out of line.

    Args:
      keepers: All of an exchange.
      turns: How many fetch at once.
    """
    left = [(each, each.pages_left(each.wanted)) for each in keepers]
    waiting = [(each, pages) for each, pages in left if pages and each.state == "waiting"]
    line = [(each, pages) for each, pages in left if each.state == "fetching"]
    line += sorted(waiting, key=lambda item: item[0].began_s)
    # In rounds: in each of them everybody who fetches gets a page.
    begins: dict[Series, int] = {}
    ends: list[int] = []
    changes: list[tuple[int, int]] = []
    for keeper, pages in line:
        begin = heapq.heappop(ends) if len(ends) >= turns else 0
        begins[keeper.series] = begin
        heapq.heappush(ends, begin + pages)
        changes += [(begin, 1), (begin + pages, -1)]
    rounds, totals, counts = _totals(sorted(changes))

    def ahead(series: Series, pages: int) -> int:
        end = begins.get(series, 0) + pages
        at = bisect_right(rounds, end) - 1
        return totals[at] + counts[at] * (end - rounds[at])

    return ahead


def _totals(changes: Sequence[tuple[int, int]]) -> tuple[list[int], list[int], list[int]]:
    """Return rounds, how many pages went out until each of them, and how many then fetch."""
    rounds, totals, counts = [0], [0], [0]
    for moment, change in changes:
        if moment > rounds[-1]:
            rounds.append(moment)
            totals.append(totals[-1] + counts[-1] * (moment - rounds[-2]))
            counts.append(counts[-1])
        counts[-1] += change
    return rounds, totals, counts
