"""`LiveSaver`: what streams have proven goes to the store in batches, and nothing else does.

What was not stored when the process dies is simply not known to the next one, which asks for it
again: coverage tells only of what was written.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from actors.coverage import Span
from actors.history import SeriesHistory
from actors.known import Known
from actors.messages import StoreWrite
from actors.series import Series


class LiveSaver:
    """Stores live candles, those of all series in one commit.

    Bound: the series that are streamed.

    Args:
      look: Returns what memory holds of a series.
      history: Returns what knows the store of a series.
      save_s: How long to gather.
    """

    def __init__(
        self,
        *,
        look: Callable[[Series], Known | None],
        history: Callable[[Series], SeriesHistory],
        save_s: float,
    ) -> None:
        self._look = look
        self._history = history
        self._save_s = save_s
        # From where on candles were proven and not stored.
        self._from_ms: dict[Series, int] = {}

    def proven(self, series: Series, from_ms: int) -> None:
        """Note that a stream has proven something from `from_ms` on."""
        self._from_ms.setdefault(series, from_ms)

    async def run(self) -> None:
        """Store what has been gathered, again and again."""
        while True:
            await trio.sleep(self._save_s)
            await self.save()

    async def save(self) -> None:
        """Store everything that was gathered; what the store refuses is kept for later."""
        gathered, self._from_ms = self._from_ms, {}
        async with trio.open_nursery() as nursery:
            for series, from_ms in gathered.items():
                nursery.start_soon(self._save_one, series, from_ms)

    async def _save_one(self, series: Series, from_ms: int) -> None:
        known = self._look(series)
        if known is None:
            return
        # What memory has dropped by now has to be asked for again.
        span = Span(max(from_ms, known.from_ms), max(known.proven_ms, from_ms, known.from_ms))
        write = StoreWrite(known.closed.between(span.start_ms, span.end_ms), span)
        if span and not await self._history(series).save_live(write):
            self._from_ms[series] = min(from_ms, self._from_ms.get(series, from_ms))
