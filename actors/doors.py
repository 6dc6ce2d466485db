"""`ExchangeDoor`: everything that asking one exchange needs, without knowing its actors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from actors.cache_tables import CachePolicy, CacheTables
from actors.exchanges.clock import ExchangeClock
from actors.feed_tables import FeedTables
from actors.live_reader import LiveReader
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
