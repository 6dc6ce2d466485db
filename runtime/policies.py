"""What the settings of sections mean to the actors."""

from __future__ import annotations

from actors.cache_tables import CachePolicy, LoadPolicy
from actors.feed_tables import FeedPolicy
from runtime.config import CacheSettings, FeedSettings


def cache_policy(settings: CacheSettings) -> CachePolicy:
    """Return how a cache keeps its data."""
    return CachePolicy(
        load=LoadPolicy(
            settle_s=settings.settle_s,
            gather_s=settings.gather_s,
            rows_max=settings.candles_per_series,
        ),
        memory_bytes_max=settings.memory_mb * 1_000_000,
        max_age_s=settings.max_age_s,
        quote_max_age_s=settings.quote_max_age_s,
    )


def feed_policy(settings: FeedSettings) -> FeedPolicy:
    """Return how a feed treats its streams."""
    return FeedPolicy(
        silent_s=settings.silent_s, dead_s=settings.dead_s, rotate_s=settings.rotate_s
    )
