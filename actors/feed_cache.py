"""`CacheLink`: what a feed tells the cache, in the order that the cache relies on.

    CandleStreamsBroke, then CandleStreamsBack before the first rows after it, then LiveCandles

Rows are cumulative, so rows that a full mailbox refuses are only counted; if that goes on for
`LOST_S`, those streams have broken, as far as the cache is concerned. What breaks and comes back is
told as soon as the cache takes it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable

from actors.exchanges.streams import LiveRow, StreamKey
from actors.feed_watch import Stream
from actors.messages import CandleStreamsBack, CandleStreamsBroke, LiveCandles
from runtime.core.errors import ActorError
from runtime.core.message import Event
from runtime.core.ref import ActorRef

LOST_S = 5.0

_log = logging.getLogger("marketd.feed")


class CacheLink:
    """The way to the cache of one exchange.

    Bound: a break is owed for each stream once, the earliest of several.

    Args:
      cache: The CacheActor.
      counts: Counts what happens.
    """

    def __init__(self, cache: ActorRef, counts: Counter[str]) -> None:
        self._cache = cache
        self._counts = counts
        self._owed: dict[StreamKey, tuple[float, str]] = {}
        self._refused_s: float | None = None
        self._refused: set[Stream] = set()

    def is_lost(self, now_s: float) -> bool:
        """Return whether the cache has taken nothing for long."""
        return self._refused_s is not None and now_s - self._refused_s >= LOST_S

    def settle(self, now_s: float) -> bool:
        """Tell of breaks that are owed; return whether nothing is owed any more."""
        while self._owed:
            heard_s, reason = next(iter(self._owed.values()))
            keys = tuple(key for key, owed in self._owed.items() if owed == (heard_s, reason))
            if not self._cast(CandleStreamsBroke(keys=keys, heard_s=heard_s, reason=reason), now_s):
                return False
            for key in keys:
                del self._owed[key]
        return True

    def broke(self, keys: Iterable[StreamKey], heard_s: float, reason: str, now_s: float) -> None:
        """Tell that streams may have lost something since `heard_s`."""
        for key in keys:
            before_s, _ = self._owed.get(key, (heard_s, ""))
            self._owed[key] = (min(heard_s, before_s), reason)
        self.settle(now_s)

    def rows(self, rows: list[tuple[Stream, StreamKey, LiveRow]], now_s: float) -> None:
        """Tell rows, and before them which of their streams tell for the first time."""
        if not self.settle(now_s):
            self._miss(rows, now_s)
            return
        fresh = dict.fromkeys(stream for stream, _, _ in rows if not stream.told)
        if fresh:
            keys = tuple(stream.key for stream in fresh)
            if not self._cast(CandleStreamsBack(keys=keys, since_s=now_s), now_s):
                self._miss(rows, now_s)
                return
            for stream in fresh:
                stream.told = True
        told = tuple([(key, row) for _, key, row in rows])
        if self._cast(LiveCandles(rows=told, received_s=now_s), now_s):
            self._refused.clear()
        else:
            self._miss(rows, now_s)

    def _miss(self, rows: list[tuple[Stream, StreamKey, LiveRow]], now_s: float) -> None:
        """Count rows that were refused; after long enough their streams have broken."""
        self._counts["refused_rows"] += len(rows)
        self._refused.update(stream for stream, _, _ in rows)
        since_s = self._refused_s
        if since_s is None or not self.is_lost(now_s):
            return
        for stream in self._refused:
            if stream.told:
                stream.told = False
                self._owed[stream.key] = (since_s, "the cache did not take what was told")
        self._refused.clear()

    def _cast(self, event: Event, now_s: float) -> bool:
        try:
            self._cache.cast(event)
        except ActorError as error:
            self._counts["refused_casts"] += 1
            if self._refused_s is None:
                self._refused_s = now_s
                _log.warning("the cache does not take what streams tell: %s", error)
            return False
        self._refused_s = None
        return True
