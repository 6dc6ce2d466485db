"""Mending the damaged series of an open store, each in a task of its own and once at a time."""

from __future__ import annotations

import logging
from typing import Protocol

import trio

from actors.coverage import Span
from actors.errors import StoreError
from actors.series import Series
from actors.stores.base import CandleStore
from actors.timeframes import format_time_ms
from runtime.core.clock import Clock

_log = logging.getLogger("marketd.store")

# A series that could not be mended, or had nothing to mend, is left alone for so long: looking at
# all of it with every request would make things worse.
_PAUSE_S = 10.0
_SPANS_SHOWN = 5


class _Around(Protocol):
    """What is needed of an actor's context."""

    name: str
    clock: Clock
    nursery: trio.Nursery


class Repairs:
    """The repairs of one store actor.

    Bounded by the number of series that are damaged.

    Attributes:
      dropped: How many damaged pieces were dropped since start.
      troubles: Why series are not mended yet; no entry for one that is.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self.troubles: dict[Series, str] = {}
        self._ended = False
        self._running: dict[Series, trio.Event] = {}
        self._not_before_s: dict[Series, float] = {}

    def begin(self, around: _Around, store: CandleStore, series: Series, why: StoreError) -> None:
        """Repair `series` in a task of its own, unless that is being done or was in vain.

        Args:
          around: Where the task runs, and whose name the log tells.
          store: The open store.
          series: What is damaged.
          why: What a read or a write said of it.
        """
        if self._ended or series in self._running:
            return
        if around.clock.now_s() < self._not_before_s.get(series, 0.0):
            return
        if series not in self.troubles:
            _log.error("%s: %s", around.name, why)
            self.troubles[series] = str(why)
        self._running[series] = trio.Event()
        around.nursery.start_soon(self._repair, around, store, series)

    async def wait(self) -> None:
        """Wait until nothing is being repaired."""
        while self._running:
            await next(iter(self._running.values())).wait()

    def end(self) -> None:
        """Begin no more: the actor stops, and its tasks have ended."""
        self._ended = True

    def forget(self) -> None:
        """Begin afresh: the store was opened anew, and may be another one."""
        self.troubles.clear()
        self._not_before_s.clear()

    async def _repair(self, around: _Around, store: CandleStore, series: Series) -> None:
        try:
            dropped = await store.repair(series)
        except StoreError as error:
            self._not_before_s[series] = around.clock.now_s() + _PAUSE_S
            self._failed(around, series, error)
        else:
            self._done(around, series, dropped)
        finally:
            self._running.pop(series).set()

    def _done(self, around: _Around, series: Series, dropped: tuple[Span, ...]) -> None:
        self.troubles.pop(series, None)
        self.dropped += len(dropped)
        if dropped:
            self._not_before_s.pop(series, None)
            text = "%s: %s was damaged: dropped %s; it will be fetched anew"
            _log.warning(text, around.name, series, _shown(dropped))
        else:
            self._not_before_s[series] = around.clock.now_s() + _PAUSE_S

    def _failed(self, around: _Around, series: Series, error: StoreError) -> None:
        reason = f"{series} is damaged and could not be repaired: {error}"
        # No entry any more: the store was opened anew meanwhile, and this is of the old one.
        if self.troubles.get(series, reason) != reason:
            _log.error("%s: %s", around.name, reason)
            self.troubles[series] = reason


def _shown(spans: tuple[Span, ...]) -> str:
    texts = [f"{format_time_ms(s.start_ms)}..{format_time_ms(s.end_ms)}" for s in spans]
    more = len(texts) - _SPANS_SHOWN
    return ", ".join(texts[:_SPANS_SHOWN]) + (f" and {more} more" if more > 0 else "")
