"""Holes in what is known: which there are, why, and when the exchange is asked about them next.

A hole is asked about at once when the stream is back, then later and later; after `TRIES_MAX` it
is left alone until somebody wants it. That concerns what we ask by ourselves: a bot's own question
is never held back.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from actors.reports import GapReport
from actors.series import Series
from actors.updates import GapUpdate
from runtime.core.pubsub import PubSub
from runtime.core.table import Table, TableWriter

GAPS_KEPT = 1_000
TRIES_MAX = 30
_WAIT_S = 2.0
_WAIT_S_MAX = 300.0


def wait_s(tries: int) -> float:
    """Return how long to wait after so many tries in vain."""
    return min(_WAIT_S_MAX, _WAIT_S * 2.0 ** min(tries - 1, 20))


@dataclass(slots=True, eq=False)
class Hole:
    """A break of a stream that is not mended yet.

    Attributes:
      number: Its key in the table of gaps.
      series: What is fetched to mend it.
      start_ms: Where it begins, on the exchange's clock.
      end_ms: Where the stream went on; None while it is broken.
      due_s: When to ask, on `Clock.now_s`.
      tries: How often the exchange was asked.
    """

    number: int
    series: Series
    start_ms: int
    end_ms: int | None = None
    due_s: float = float("inf")
    tries: int = 0


class GapLog:
    """Writes gaps down and tells of them.

    Bound: the newest `GAPS_KEPT`.

    Args:
      table: Where readers find them.
      writer: The right to write it.
      events: Where changes are published.
    """

    def __init__(
        self,
        table: Table[int, GapReport],
        writer: TableWriter[int, GapReport],
        events: PubSub,
    ) -> None:
        self._table = table
        self._writer = writer
        self._events = events
        self._next = 1 + max((number for number, _ in table.items()), default=0)

    def begin(self, report: GapReport) -> int:
        """Write a new gap down; return its number."""
        number, self._next = self._next, self._next + 1
        self._put(number, report)
        if len(self._table) > GAPS_KEPT:
            self._writer.delete(min(key for key, _ in self._table.items()))
        return number

    def change(self, number: int, **changes: Any) -> None:
        """Change what is said of a gap; nothing happens if it was forgotten."""
        report = self._table.get(number)
        if report is not None:
            changed = msgspec.structs.replace(report, **changes)
            if changed != report:
                self._put(number, changed)

    def close_left(self, end_ms: int) -> None:
        """Close what an earlier incarnation left open: nobody is at it any more."""
        for number, report in self._table.items():
            if report.state == "open":
                detail = f"{report.detail}; the cache was restarted".lstrip("; ")
                ended_ms = max(report.start_ms, end_ms) if report.end_ms is None else report.end_ms
                self.change(
                    number, state="closed", end_ms=ended_ms, next_try_ms=None, detail=detail
                )

    def _put(self, number: int, report: GapReport) -> None:
        self._writer.put(number, report)
        for topic in (("gaps", report.market, ""), ("gaps", "", "")):
            self._events.publish(topic, GapUpdate(gap=report))


@dataclass(slots=True)
class InnerReply:
    """Stands where a caller's reply stands, for what the cache asks by itself.

    Attributes:
      done: Called with the answer or the error.
      abandoned: Never; nobody waits.
      deadline_s: Never, for the same reason.
    """

    done: Callable[[Any], None]
    abandoned: bool = False
    deadline_s: float = math.inf

    def send(self, value: object) -> None:
        """Take the answer."""
        self.done(value)

    def fail(self, error: Exception) -> None:
        """Take the error."""
        self.done(error)
