"""`ClosedTeller`: tells every candle that has become final, each once, in order, none left out.

Mostly what became final stands in memory. After a long break it may not: memory then begins anew
behind the break, or was too small for all that became final at once. What lies before is read
first, from the store or the exchange, and meanwhile nothing later is told.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import partial
from typing import Any

from actors.candles import Candles
from actors.exchanges.streams import LiveRow
from actors.holes import InnerReply
from actors.known import Known, as_rows
from actors.queries import CANDLES_MAX, CandleQuery
from actors.series import Series
from actors.updates import CandleUpdate
from runtime.core.pubsub import PubSub

_log = logging.getLogger("marketd.cache")


class ClosedTeller:
    """Tells closed candles of one exchange.

    Args:
      events: Where updates are published.
      look: Returns what memory holds of a series.
      ask: Has a question answered like a bot's.
    """

    def __init__(
        self,
        events: PubSub,
        *,
        look: Callable[[Series], Known | None],
        ask: Callable[[CandleQuery, InnerReply], None],
    ) -> None:
        self._events = events
        self._look = look
        self._ask = ask
        # Up to where candles of a series were told, and of which some are being read.
        self._told_ms: dict[Series, int] = {}
        self._reading: set[Series] = set()

    def closed(self, before: Known | None, known: Known) -> None:
        """Tell what is final now and was not; called after each write to the table.

        Args:
          before: What the table had.
          known: What it has.
        """
        series, reach_ms = known.series, known.proven_ms
        if before is not None and before.proven_ms == reach_ms and series not in self._told_ms:
            return
        first_ms = reach_ms if before is None else before.proven_ms
        start_ms = self._told_ms.setdefault(series, first_ms)
        if reach_ms <= start_ms or series in self._reading:
            return
        if not self._is_heard(series):
            self._told_ms[series] = reach_ms
        elif known.from_ms > start_ms:
            self._read(series, start_ms, reach_ms)
        else:
            self._tell(series, known.closed, start_ms, reach_ms)

    def _is_heard(self, series: Series) -> bool:
        name, has = (str(series.market), series.timeframe.value), self._events.has
        return has(("closed", *name)) or has(("candles", *name))

    def _tell(self, series: Series, candles: Candles, start_ms: int, end_ms: int) -> None:
        self._told_ms[series] = end_ms
        for row in as_rows(candles.between(start_ms, end_ms)):
            publish(self._events, series, row, closed=True)

    def _read(self, series: Series, start_ms: int, end_ms: int) -> None:
        periods = series.timeframe.periods_between(start_ms, end_ms)
        if periods > CANDLES_MAX:
            _log.error("%s: %d closed candles are too many to be told late", series, periods)
            self._told_ms[series] = end_ms
            return
        self._reading.add(series)
        query = CandleQuery(
            series=series,
            count=None,
            start_ms=start_ms,
            end_ms=end_ms,
            closed=True,
            max_age_s=math.inf,
            allow_stale=False,
        )
        self._ask(query, InnerReply(partial(self._came, series, start_ms, end_ms)))

    def _came(self, series: Series, start_ms: int, end_ms: int, answer: Any) -> None:
        self._reading.discard(series)
        if not isinstance(answer, Candles) or not answer.complete:
            # Asked for again when the next candle becomes final.
            _log.info("%s: closed candles cannot be told yet: %s", series, answer)
            return
        self._tell(series, answer, start_ms, end_ms)
        known = self._look(series)
        if known is not None:
            self.closed(known, known)


def publish(events: PubSub, series: Series, row: LiveRow, *, closed: bool) -> None:
    """Tell one candle to those who want every change of it, and if closed to those who want that.

    Args:
      events: Where.
      series: Of which series it is.
      row: The candle.
      closed: Whether it is final.
    """
    name = (str(series.market), series.timeframe.value)
    topics = [("candles", *name), ("closed", *name)] if closed else [("candles", *name)]
    for topic in topics:
        if events.has(topic):
            events.publish(topic, _update(name, row, closed=closed))


def _update(name: tuple[str, str], row: LiveRow, *, closed: bool) -> CandleUpdate:
    return CandleUpdate(
        market=name[0],
        timeframe=name[1],
        open_time_ms=row.open_time_ms,
        open=row.open,
        high=row.high,
        low=row.low,
        close=row.close,
        volume=row.volume,
        value=row.value,
        closed=closed,
    )
