"""`FeedGaps`: what streams may have missed: written down, and told to the cache and to readers.

Of candles, and of tickers where they are the day's candle, the cache is told, and it mends the hole
itself. Of tickers, trades and order books nobody can mend it: their gaps are only written down,
from the moment the stream was last known to be whole to the exchange's time of its first snapshot.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import cast

from actors.exchanges.streams import StreamKey, StreamKind, Update
from actors.feed_cache import CacheLink
from actors.feed_desk import FeedDesk
from actors.feed_tables import FeedTables
from actors.feed_watch import Stream, StreamWatch
from actors.holes import GapLog
from actors.reports import GapReport
from runtime.core.clock import Clock
from runtime.core.table import TableWriter


class FeedGaps:
    """The breaks of one exchange's streams.

    Bound: the newest 1,000 gaps, as `GapLog` keeps them.
    """

    def __init__(
        self,
        exchange: str,
        *,
        clock: Clock,
        tables: FeedTables,
        writer: TableWriter[int, GapReport],
        watch: StreamWatch,
        link: CacheLink,
        counts: Counter[str],
    ) -> None:
        self._exchange = exchange
        self._clock = clock
        self._watch = watch
        self._link = link
        self._counts = counts
        self._table = tables.gaps
        self._log = GapLog(tables.gaps, writer, tables.events)
        # Gaps that an earlier incarnation left open.
        self._left = {
            (report.kind, report.market): number
            for number, report in tables.gaps.items()
            if report.state == "open"
        }

    def settle(self, desk: FeedDesk, live_before: Iterable[StreamKey], heard_s: float) -> None:
        """Take over what an earlier incarnation left, once it is known what is wanted now.

        Args:
          desk: Where updates go.
          live_before: The streams that were live when it crashed.
          heard_s: When it last heard the line.
        """
        streams = self._watch.streams
        for stream in streams.values():
            stream.gap = self._left.pop((stream.kind, stream.market), None)
        for number in self._left.values():
            self._close(number, self._now_ms(desk), "nobody wants it any more")
        self._left.clear()
        broken = [streams[key] for key in live_before if key in streams]
        self._break(desk, broken, heard_s, "the feed was restarted")

    def broke(
        self,
        desk: FeedDesk,
        heard_s: float,
        reason: str,
        keys: Collection[StreamKey] | None = None,
    ) -> None:
        """Note that streams, or all of them, may have missed something since `heard_s`."""
        self._counts["gap"] += 1
        broken = self._watch.broke(self._clock.now_s(), keys)
        self._break(desk, broken, heard_s, reason)

    def confirmed(self, desk: FeedDesk, stream: Stream, update: Update, now_s: float) -> None:
        """Note the first that a stream tells after it was asked for, or fell silent."""
        known = desk.knows(stream, update)
        if stream.state == "silent":
            if known:
                self._watch.quiet(stream)
            elif update.snapshot and self._was_late(desk, stream, update):
                reason = f"the stream told nothing for {now_s - stream.checked_s:.0f} s"
                self._counts["gap"] += 1
                self._break(desk, [stream], stream.checked_s, reason)
                desk.lost(stream)
        elif known:
            desk.revive(stream, now_s)
        else:
            desk.lost(stream)
        if stream.gap is not None:
            self._close(stream.gap, update.made_ms, "nothing was missed" if known else "")
            stream.gap = None
        self._watch.spoke(stream, now_s)

    def gone(self, desk: FeedDesk, streams: Iterable[Stream]) -> None:
        """Close the gaps of streams that nobody wants any more."""
        for stream in streams:
            if stream.gap is not None:
                self._close(stream.gap, self._now_ms(desk), "nobody wants it any more")

    def _was_late(self, desk: FeedDesk, stream: Stream, update: Update) -> bool:
        """Return whether `update` was made before it was asked for, and so had been missed."""
        if stream.asked_s is None:
            return True
        asked_ms = desk.exchange_ms(stream.asked_s)
        return asked_ms is None or update.made_ms <= asked_ms

    def _break(
        self, desk: FeedDesk, broken: Collection[Stream], heard_s: float, reason: str
    ) -> None:
        now_s = self._clock.now_s()
        at_ms = desk.exchange_ms(heard_s)
        start_ms = self._wall_ms(heard_s) if at_ms is None else at_ms
        told = [stream for stream in broken if desk.is_candle(stream.key)]
        for stream in told:
            stream.told = False
        self._link.broke([stream.key for stream in told], heard_s, reason, now_s)
        for stream in broken:
            if stream.kind == "candle":
                continue
            desk.broke(stream)
            if stream.gap is None:
                report = GapReport(
                    exchange=self._exchange,
                    market=stream.market,
                    kind=cast("StreamKind", stream.kind),
                    start_ms=start_ms,
                    cause="stream",
                    detail=reason,
                )
                stream.gap = self._log.begin(report)

    def _close(self, number: int, end_ms: int, remark: str) -> None:
        report = self._table.get(number)
        if report is not None:
            detail = "; ".join(filter(None, (report.detail, remark)))
            end_ms = max(report.start_ms, end_ms)
            self._log.change(number, state="closed", end_ms=end_ms, detail=detail)

    def _now_ms(self, desk: FeedDesk) -> int:
        now_s = self._clock.now_s()
        at_ms = desk.exchange_ms(now_s)
        return self._clock.utc_ms() if at_ms is None else at_ms

    def _wall_ms(self, at_s: float) -> int:
        """Return what our own wall clock showed at `at_s`: all there is, before updates came."""
        return self._clock.utc_ms() - round((self._clock.now_s() - at_s) * 1000)
