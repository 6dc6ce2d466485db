"""`LiveRepairs`: what a stream has lost, or cannot prove, is asked of the exchange, and no more.

One page of minutes covers a break for every timeframe whose rows then agree with the minutes.
Asked at a lower priority than bots, once what is asked for must be final, and ever later where
that brings nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import trio

from actors.candles import Candles
from actors.coverage import Span
from actors.exchanges.clock import ExchangeClock
from actors.exchanges.streams import StreamKey
from actors.exchanges.throttled import ExchangeState
from actors.holes import TRIES_MAX, GapLog, Hole, InnerReply, wait_s
from actors.known import Known
from actors.live_desk import FOLDED_FROM_DAYS, Doubt, LiveDesk
from actors.messages import StoreWrite
from actors.queries import CandleQuery
from actors.reports import GapReport
from actors.series import Series
from actors.timeframes import Timeframe
from runtime.core.clock import Clock
from runtime.core.pubsub import PubSub

_log = logging.getLogger("marketd.cache")

_TEND_S = 1.0
# What we know of the exchange's clock lags behind it by up to this.
_SLACK_S = 2.0
# Candles that wait for a proof nobody asked for, before a page is asked for all the same.
_OPEN_MAX = 200


@dataclass(frozen=True, slots=True)
class RepairParts:
    """What repairs need of the cache.

    Attributes:
      exchange: The exchange's name.
      clock: Our clock.
      exchange_clock: What we know of the exchange's.
      events: Whose topics say who waits for closed candles.
      settle_s: How long after a period's end its last value, or its absence, can be believed.
      look: Returns what memory holds of a series.
      everything: Returns what memory holds of all series.
      ask: Has a question answered like a bot's, at the priority of repairs.
      state: Returns how the exchange has been doing.
      correct: Puts the exchange's rows into the store, over what is there.
      count: Takes the name of each thing to be counted.
    """

    exchange: str
    clock: Clock
    exchange_clock: ExchangeClock
    events: PubSub
    settle_s: float
    look: Callable[[Series], Known | None]
    everything: Callable[[], Sequence[Known]]
    ask: Callable[[CandleQuery, InnerReply], None]
    state: Callable[[], ExchangeState]
    correct: Callable[[StoreWrite], None]
    count: Callable[[str, int], None]


@dataclass(slots=True)
class _Wait:
    """How often a series was asked for in vain, and when it is asked for next."""

    proven_ms: int
    tries: int = 0
    due_s: float = 0.0
    asking: bool = False


class LiveRepairs:
    """The repairs of one exchange's live candles.

    Bound: one hole for each streamed series.
    """

    def __init__(self, parts: RepairParts, gaps: GapLog, desk: Callable[[], LiveDesk]) -> None:
        self._parts = parts
        self._gaps = gaps
        self._desk = desk
        self._holes: dict[Series, Hole] = {}
        self._waits: dict[Series, _Wait] = {}
        self._doubted: dict[Series, int] = {}

    async def run(self) -> None:
        """Ask for what is due, again and again."""
        while True:
            await trio.sleep(_TEND_S)
            self.tend()

    def tend(self) -> None:
        """Ask for what is due."""
        now_s = self._parts.clock.now_s()
        for hole in list(self._holes.values()):
            if hole.due_s <= now_s:
                self._mend(hole)
        for live in list(self._desk().all):
            self._confirm(live.series, now_s)
        for series in self._desk().folded:
            self._confirm(series, now_s)

    # -------------------------------------------------------------- holes of a stream

    def broke(self, keys: Sequence[StreamKey], heard_s: float, reason: str) -> None:
        """Note that streams may have lost something since `heard_s`."""
        parts = self._parts
        ago_ms = round(max(0.0, parts.clock.now_s() - heard_s) * 1000)
        start_ms = parts.exchange_clock.utc_ms() - ago_ms
        for series in _finest(self._desk().broke(keys)):
            hole = self._holes.get(series)
            if hole is not None:
                # Broken again before it was mended: one hole, from where the first began.
                hole.end_ms, hole.due_s = None, float("inf")
                continue
            report = GapReport(
                exchange=parts.exchange,
                market=str(series.market),
                kind="candle",
                timeframe=series.timeframe.value,
                start_ms=start_ms,
                cause="stream",
                detail=reason,
            )
            self._holes[series] = Hole(self._gaps.begin(report), series, start_ms)

    def back(self, keys: Sequence[StreamKey]) -> None:
        """Note that streams tell again, or for the first time; ask for what went before."""
        parts = self._parts
        now_ms = parts.exchange_clock.utc_ms()
        for series in self._desk().back(keys):
            hole = self._holes.get(series)
            if hole is not None:
                hole.end_ms, hole.tries = max(now_ms, hole.start_ms), 0
                self._again(hole, parts.settle_s + _SLACK_S)
            elif parts.look(series) is None and self._is_needed(series):
                self._ask(series, None, parts.clock.now_s())

    def _is_needed(self, series: Series) -> bool:
        # Four hours and days are streamed for every market, as a check of the minutes.
        return series.timeframe not in {Timeframe.H4, Timeframe.D1} or self._has_readers(series)

    def _has_readers(self, series: Series) -> bool:
        """Return whether somebody is told of a series, or of what is made of it."""
        names = [(str(series.market), series.timeframe.value)]
        if series.timeframe is Timeframe.D1:
            names += [(names[0][0], timeframe.value) for timeframe in FOLDED_FROM_DAYS]
        has = self._parts.events.has
        return any(has(("closed", *name)) or has(("candles", *name)) for name in names)

    def _again(self, hole: Hole, after_s: float) -> None:
        hole.due_s = self._parts.clock.now_s() + after_s
        next_ms = self._parts.clock.utc_ms() + round(after_s * 1000)
        self._gaps.change(hole.number, end_ms=hole.end_ms, tries=hole.tries, next_try_ms=next_ms)

    def _mend(self, hole: Hole) -> None:
        timeframe = hole.series.timeframe
        # One candle more than was lost: where the two overlap they are compared.
        start_ms = timeframe.shift_ms(timeframe.floor_ms(hole.start_ms), -1)
        hole.due_s, hole.tries = float("inf"), hole.tries + 1
        self._parts.count("repair", 1)
        query = _query(hole.series, start_ms)
        self._parts.ask(query, InnerReply(partial(self._mended, hole)))

    def _mended(self, hole: Hole, answer: Any) -> None:
        if hole.end_ms is None or hole.due_s != float("inf"):
            # Broken again, or back again, while this was on its way.
            return
        timeframe, lost = hole.series.timeframe, Span(hole.start_ms, hole.end_ms)
        lost = Span(timeframe.floor_ms(lost.start_ms), timeframe.floor_ms(lost.end_ms))
        if not isinstance(answer, Candles):
            self._not_yet(hole, cause="stream", detail=str(answer))
            return
        lacking = [gap for gap in answer.missing if gap.start_ms < lost.end_ms]
        if lacking:
            self._not_yet(hole, cause="late", detail=lacking[0].reason)
            return
        rows = len(answer.between(lost.start_ms, lost.end_ms))
        del self._holes[hole.series]
        changes: dict[str, Any] = {"state": "closed", "next_try_ms": None, "tries": hole.tries}
        if not rows and lost:
            if self._was_away(hole) and not self._anybody_traded(lost, timeframe):
                changes |= {"cause": "maintenance", "detail": "no market of the exchange traded"}
            else:
                changes |= {"cause": "quiet", "detail": "proven that nobody traded"}
        self._gaps.change(hole.number, end_ms=hole.end_ms, **changes)

    def _not_yet(self, hole: Hole, *, cause: str, detail: str) -> None:
        if hole.tries >= TRIES_MAX:
            del self._holes[hole.series]
            detail = f"not asked for again until somebody wants it: {detail}"
            self._gaps.change(
                hole.number, state="closed", tries=hole.tries, next_try_ms=None, detail=detail
            )
            return
        self._gaps.change(hole.number, cause=cause, detail=detail)
        self._again(hole, wait_s(hole.tries))

    def _was_away(self, hole: Hole) -> bool:
        failed_ms, now_ms = self._parts.state().last_failure_ms, self._parts.clock.utc_ms()
        # Measured on our wall clock; only how long ago it was counts.
        ago_ms = self._parts.exchange_clock.utc_ms() - hole.start_ms
        return failed_ms is not None and now_ms - failed_ms <= ago_ms

    def _anybody_traded(self, lost: Span, timeframe: Timeframe) -> bool:
        return any(
            len(known.candles.between(lost.start_ms, lost.end_ms))
            for known in self._parts.everything()
            if known.series.timeframe is timeframe
        )

    # -------------------------------------------------------------- what a stream cannot prove

    def _confirm(self, series: Series, now_s: float) -> None:
        """Ask for a page if candles wait for a proof that the stream does not give."""
        known = self._parts.look(series)
        if known is None:
            if self._has_readers(series):
                self._ask(series, None, now_s)
            return
        wait_ms = round((self._parts.settle_s + _SLACK_S) * 1000)
        timeframe = series.timeframe
        settled_ms = timeframe.floor_ms(self._parts.exchange_clock.utc_ms() - wait_ms)
        if known.proven_ms >= settled_ms:
            return
        waited_for = self._parts.events.has(("closed", str(series.market), timeframe.value))
        waits = waited_for or len(known.open) > _OPEN_MAX or self._desk().is_stuck(known)
        # Weeks and months in progress are made of days that are closed, and of the present one.
        waits = waits or (timeframe is Timeframe.D1 and self._has_folded(series))
        hole = self._holes.get(series)
        if not waits or (hole is not None and hole.end_ms is not None):
            # A hole behind which the stream goes on is mended, and all of it at once.
            return
        minutes = Series(series.market, Timeframe.M1)
        finer = self._parts.look(minutes)
        if (
            Timeframe.M1.span_ms < timeframe.span_ms <= Timeframe.H4.span_ms
            and finer is not None
            and finer.from_ms <= known.proven_ms
            and finer.proven_ms < timeframe.shift_ms(known.proven_ms, 1)
        ):
            # The candle itself is there as the exchange sent it: its minutes will prove it.
            series, known = minutes, finer
        self._ask(series, known, now_s)

    def _has_folded(self, days: Series) -> bool:
        folded = (each for each in self._desk().folded if each.market == days.market)
        return any(self._parts.look(each) is not None for each in folded)

    def _ask(self, series: Series, known: Known | None, now_s: float) -> None:
        proven_ms = -1 if known is None else known.proven_ms
        wait = self._waits.setdefault(series, _Wait(proven_ms))
        if wait.proven_ms != proven_ms:
            wait.proven_ms, wait.tries, wait.due_s = proven_ms, 0, 0.0
        if wait.asking or wait.due_s > now_s:
            return
        wait.asking, wait.tries = True, wait.tries + 1
        wait.due_s = now_s + wait_s(wait.tries)
        self._parts.count("repair", 1)
        query = _query(series, None if known is None else known.proven_ms)
        self._parts.ask(query, InnerReply(partial(self._asked, series)))

    def _asked(self, series: Series, answer: Any) -> None:
        wait = self._waits[series]
        wait.asking = False
        if not isinstance(answer, Candles):
            _log.info("%s: not proven yet: %s", series, answer)
        number = self._doubted.pop(series, None)
        if number is not None:
            said = "" if isinstance(answer, Candles) else f"not asked: {answer}"
            changes = {"detail": said} if said else {}
            self._gaps.change(number, state="closed", tries=1, **changes)

    # -------------------------------------------------------------- disagreements

    def doubt(self, doubt: Doubt) -> None:
        """Note that a stream and the exchange's own rows differ; the latter are right."""
        series, now_s = doubt.series, self._parts.clock.now_s()
        wait = self._waits.setdefault(series, _Wait(-1))
        if series in self._doubted or (doubt.correction is None and wait.due_s > now_s):
            return
        self._parts.count("disagreement", 1)
        _log.warning("%s: %s", series, doubt.detail)
        report = GapReport(
            exchange=self._parts.exchange,
            market=str(series.market),
            kind="candle",
            timeframe=series.timeframe.value,
            start_ms=doubt.span.start_ms,
            end_ms=doubt.span.end_ms,
            cause="disagreement",
            detail=doubt.detail,
            state="open" if doubt.correction is None else "closed",
        )
        number = self._gaps.begin(report)
        if doubt.correction is not None:
            self._parts.correct(doubt.correction)
            return
        self._doubted[series] = number
        self._parts.count("repair", 1)
        wait.tries += 1
        wait.due_s = now_s + wait_s(wait.tries)
        query = _query(series, doubt.span.start_ms)
        self._parts.ask(query, InnerReply(partial(self._asked, series)))


def _query(series: Series, start_ms: int | None) -> CandleQuery:
    return CandleQuery(
        series=series,
        count=1 if start_ms is None else None,
        start_ms=start_ms,
        end_ms=None,
        closed=True,
        max_age_s=0.0,
        allow_stale=False,
    )


def _finest(found: Sequence[Series]) -> list[Series]:
    """Return of each market the series with the finest candles: the others follow from it."""
    finest: dict[str, Series] = {}
    for series in found:
        code = series.market.code
        # From minutes the rest is proven, from seconds only the seconds.
        is_finer = code not in finest or _rank(series) < _rank(finest[code])
        finest[code] = series if is_finer else finest[code]
    return list(finest.values())


def _rank(series: Series) -> int:
    return 0 if series.timeframe is Timeframe.M1 else series.timeframe.span_ms
