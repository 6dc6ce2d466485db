"""`ExchangeDoor`: everything that asking one exchange needs, without knowing its actors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from actors.cache_tables import CachePolicy, CacheTables, candles_key
from actors.exchanges.clock import ExchangeClock
from actors.feed_tables import FeedTables
from actors.live_reader import LiveReader
from actors.preloading.uses import Uses
from actors.queries import CandleQuery
from actors.wants import Wants
from runtime.core.ref import ActorRef


@dataclass(frozen=True, slots=True)
class ExchangeDoor:
    """What the router and subscriptions need of one exchange.

    Attributes:
      name: The exchange.
      cache: Its CacheActor.
      limiter: Its RateLimiterActor.
      tables: What the CacheActor publishes.
      exchange_clock: What is known of the exchange's clock.
      policy: How its data is kept.
      raw: Writes an answer as the exchange's REST interface does.
      feed: Its FeedActor; None if its streams are not used, and so are the three below.
      feed_tables: What the FeedActor publishes.
      wants: Which of its streams somebody wants.
      live: Reads what its streams keep up to date.
      preloader: Its PreloaderActor; None if nothing is fetched before it is asked for.
      uses: Where the PreloaderActor hears what is asked for; None with it.
    """

    name: str
    cache: ActorRef
    limiter: ActorRef
    tables: CacheTables
    exchange_clock: ExchangeClock
    policy: CachePolicy
    raw: Callable[[Any], list[dict[str, Any]]]
    feed: ActorRef | None = None
    feed_tables: FeedTables | None = None
    wants: Wants | None = None
    live: LiveReader | None = None
    preloader: ActorRef | None = None
    uses: Uses | None = None

    def note_use(self, query: CandleQuery, now_s: float, *, hit: bool) -> None:
        """Let it be known that candles up to now are asked for.

        Args:
          query: What is asked for.
          now_s: The time.
          hit: Whether memory has it.
        """
        if self.uses is None or query.end_ms is not None:
            return
        depth, timeframe = query.count, query.series.timeframe
        if depth is None:
            now_ms = timeframe.floor_ms(self.exchange_clock.utc_ms())
            depth = max(1, timeframe.periods_between(query.start_ms or now_ms, now_ms))
        age_s, key = query.max_age_s, candles_key(query.series)
        self.uses.note(key, now_s, depth, closed=query.closed, max_age_s=age_s, hit=hit)
