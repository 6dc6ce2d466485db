"""`Wants`: which streams somebody wants at present.

Bots hold what they subscribed to; the router leases what is asked for often. The FeedActor reads
it and is woken when it changes. Like a table it is made by whoever builds the tree, so what bots
want outlives the actor that brings it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import trio

from actors.errors import Overloaded
from actors.exchanges.streams import StreamKey

# Upbit lists some 250 markets in won; ticker, trades, book and three candles of each are 1,500.
STREAMS_MAX = 4_000


class Wants:
    """The wishes for streams of one exchange.

    Bound: `STREAMS_MAX` streams; one more is refused to a bot with `Overloaded`, and not leased.
    What bots hold goes first: where there is no room for both, all leases end.
    """

    def __init__(self) -> None:
        # For each stream the depths that are held of it; a depth stands once for each holder.
        self._held: dict[StreamKey, list[int]] = {}
        self._leased: dict[StreamKey, tuple[int, float]] = {}
        self._changed = trio.Event()

    @contextmanager
    def hold(self, streams: Mapping[StreamKey, int]) -> Iterator[None]:
        """Want `streams` for as long as the block runs.

        Args:
          streams: Each with the depth wanted of an order book, else with 0.

        Raises:
          Overloaded: There would be more than `STREAMS_MAX`.
        """
        if len(self._held.keys() | streams.keys()) > STREAMS_MAX:
            raise Overloaded(f"more than {STREAMS_MAX} streams cannot be kept at once")
        # The caller may change its own while it is held.
        streams = dict(streams)
        for key, depth in streams.items():
            self._held.setdefault(key, []).append(depth)
        if len(self._held.keys() | self._leased.keys()) > STREAMS_MAX:
            self._leased.clear()
        self._wake()
        try:
            yield
        finally:
            for key, depth in streams.items():
                depths = self._held[key]
                depths.remove(depth)
                if not depths:
                    del self._held[key]
            self._wake()

    def lease(self, streams: Mapping[StreamKey, int], *, until_s: float) -> bool:
        """Want `streams` until `until_s` on `Clock.now_s`, or longer where they are leased already.

        Returns:
          Whether there was room for all of them; if not, none is leased.
        """
        if len(self._held.keys() | self._leased.keys() | streams.keys()) > STREAMS_MAX:
            return False
        is_news = False
        for key, depth in streams.items():
            before_depth, before_s = self._leased.get(key, (-1, 0.0))
            self._leased[key] = (max(depth, before_depth), max(until_s, before_s))
            is_news = is_news or depth > before_depth
        if is_news:
            self._wake()
        return True

    def current(self, now_s: float) -> dict[StreamKey, int]:
        """Return every stream wanted at `now_s`, with its depth; forget leases that have ended."""
        ended = [key for key, (_, until_s) in self._leased.items() if until_s <= now_s]
        for key in ended:
            del self._leased[key]
        wanted = {key: max(depths) for key, depths in self._held.items()}
        for key, (depth, _) in self._leased.items():
            wanted[key] = max(depth, wanted.get(key, 0))
        return wanted

    def holders(self, key: StreamKey) -> int:
        """Return how many hold `key`; a lease does not count."""
        return len(self._held.get(key, ()))

    def next_end_s(self) -> float:
        """Return when the next lease ends, on `Clock.now_s`; `inf` if there is none."""
        return min((until_s for _, until_s in self._leased.values()), default=float("inf"))

    async def wait_changed(self) -> None:
        """Return when something is wanted anew, or not any more. An end of a lease wakes nobody."""
        await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
