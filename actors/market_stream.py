"""`MarketStream`: what one subscription gives its reader."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import trio

from actors.known import Known
from actors.messages import Subscribe
from actors.updates import CandleUpdate, MarketUpdate, Missed, OrderBookUpdate
from runtime.core.pubsub import Subscription

# Kinds of which each update happens once, so none replaces another.
CHANGES_ONCE = frozenset({"trades", "gaps"})


class MarketStream:
    """Updates of one subscription, in order, for one reader.

    Args:
      queue: What waits for the reader.
      depth: Levels of order books to give, a side.
    """

    def __init__(self, queue: Subscription, *, depth: int) -> None:
        self._queue = queue
        self._depth = depth
        self._next: deque[MarketUpdate] = deque()

    async def wait(self) -> None:
        """Return when `take` has something to give; always lets others run first."""
        if self._next:
            await trio.lowlevel.checkpoint()
        else:
            await self._queue.wait()

    def take(self) -> MarketUpdate | None:
        """Return the next update without waiting; None if there is none.

        What was left out before an update is told by a `Missed` before it.
        """
        if self._next:
            return self._next.popleft()
        event: Any = self._queue.take()
        if event is None:
            return None
        update: MarketUpdate = event
        if isinstance(event, OrderBookUpdate):
            book = event.book.cut(self._depth)
            # The very same object where nothing is cut: it is encoded once for all.
            update = event if book is event.book else OrderBookUpdate(book=book)
        left_out = self._queue.left_out()
        if left_out.replaced:
            self._next.append(Missed(count=left_out.replaced, why="replaced"))
        if left_out.dropped:
            self._next.append(Missed(count=left_out.dropped, why="dropped"))
        if not self._next:
            return update
        self._next.append(update)
        return self._next.popleft()

    def __aiter__(self) -> Self:
        """Iterate over updates for as long as the subscription is open."""
        return self

    async def __anext__(self) -> MarketUpdate:
        """Return the next update, waiting for it."""
        while True:
            try:
                await self.wait()
            except trio.EndOfChannel:
                raise StopAsyncIteration from None
            update = self.take()
            if update is not None:
                return update


@asynccontextmanager
async def open_stream(
    queue: Subscription, request: Subscribe
) -> AsyncIterator[tuple[MarketStream, trio.Nursery]]:
    """Give a stream of `queue`, and a nursery for what goes on beside it while the block runs."""
    error: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            yield MarketStream(queue, depth=request.depth), nursery
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        [error] = group.exceptions
    # That there is a nursery is our own affair: an error leaves the block as it was raised.
    if error is not None:
        raise error


def candle_in_progress(known: Known) -> CandleUpdate | None:
    """Return the newest candle that is not proven final; None if memory has none."""
    if not known.open:
        return None
    row = known.open[-1]
    return CandleUpdate(
        market=str(known.series.market),
        timeframe=known.series.timeframe.value,
        open_time_ms=row.open_time_ms,
        open=row.open,
        high=row.high,
        low=row.low,
        close=row.close,
        volume=row.volume,
        value=row.value,
        closed=False,
    )
