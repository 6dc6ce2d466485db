"""`LiveMarket`: which of the candles that a market's streams tell are proven final.

An exchange's candle frames are cumulative and carry no mark "closed"; the last one of a minute may
lack its last trades, and frames get lost, doubled and late. But the coarse candle is the checksum
of the fine ones. Two rows made at the same moment, a fine one inside a coarse one, say how much of
the coarse window was traded before the fine one opened. Two such marks in one window say how much
was traded between them; where the fine rows between add up to just that, in size and in turnover,
nothing of them is lacking, and a period without a row is proven empty.

That is sound whatever was lost: rows only ever lack something, and where the sum does not hold
nothing is proven. Over the borders of 4 hours the day (which the ticker tells) is the checksum;
over midnight there is none.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Iterable
from itertools import pairwise
from typing import Literal, NamedTuple, TypeAlias

from actors.coverage import Coverage, Span
from actors.exchanges.streams import LiveRow
from actors.live_rows import TOLERANCE_ULP, agrees
from actors.timeframes import Timeframe

Told: TypeAlias = Literal["news", "stale", "disagrees"]

# What is not proven for longer than two windows of four hours, or an hour of seconds, waits for a
# page; there may be hundreds of markets.
_MINUTES_KEPT = 480
_SECONDS_KEPT = 3_600
_COARSE_KEPT = 400
# Rows of a moment wait for their partner: a second's tickers, and timeframes a little apart.
_MOMENTS_KEPT = 64


class _Mark(NamedTuple):
    """What a pair said: `whole` had this much when `part`, in which the moment lies, had that."""

    whole_volume: float
    whole_value: float
    part_volume: float
    part_value: float


_NOTHING = _Mark(0.0, 0.0, 0.0, 0.0)


class _Check:
    """One coarse timeframe as the checksum of the fine one: its present window, and marks in it."""

    def __init__(self) -> None:
        self.window_ms = -1
        self.marks: dict[int, _Mark] = {}
        # Those that can be relied on, rising.
        self.times: list[int] = []
        self.failed: set[tuple[int, int]] = set()
        self.moments: dict[int, LiveRow] = {}

    def open_window(self, window_ms: int) -> None:
        """Begin anew. That nothing was traded in a window before it opened needs no pair."""
        self.window_ms = window_ms
        self.marks = {window_ms: _NOTHING}
        self.times = [window_ms]
        self.failed = set()

    def trim(self, before_ms: int) -> None:
        """Forget marks that are too old."""
        self.times = [time_ms for time_ms in self.times if time_ms >= before_ms]
        self.marks = {time_ms: self.marks[time_ms] for time_ms in self.times}
        self.failed = {each for each in self.failed if each[0] >= before_ms}


class Proof:
    """Proves the rows of one fine timeframe by coarser ones.

    Bound: `rows_max` periods; older ones are forgotten.

    Attributes:
      base: The fine timeframe.
      rows: Its rows, by opening time; the fullest that was told.
      proven: Of which periods everything is known.
      changes: How often a check has proven something.
    """

    def __init__(self, base: Timeframe, checks: Iterable[Timeframe], *, rows_max: int) -> None:
        self.base = base
        self.rows: dict[int, LiveRow] = {}
        self.proven = Coverage()
        self.changes = 0
        self._rows_max = rows_max
        self._moments: dict[int, LiveRow] = {}
        self._checks = {timeframe: _Check() for timeframe in checks}

    def tell(self, row: LiveRow) -> Told:
        """Take a frame of the fine timeframe."""
        open_ms = row.open_time_ms
        held = self.rows.get(open_ms)
        if held is None or row.volume > held.volume:
            if self._is_proven(open_ms):
                return "disagrees"
            self.rows[open_ms] = row
            told: Told = "news"
            if held is None:
                self._trim()
        else:
            told = "stale"
        self._remember(self._moments, row)
        for timeframe, check in self._checks.items():
            whole = check.moments.get(row.made_ms)
            if whole is not None:
                self._pair(timeframe, check, whole, row)
            if check.failed and told == "news":
                self._try_again(check, open_ms)
        return told

    def tell_check(self, timeframe: Timeframe, row: LiveRow) -> None:
        """Take a frame of a timeframe that checks the fine one."""
        check = self._checks.get(timeframe)
        if check is None:
            return
        self._remember(check.moments, row)
        part = self._moments.get(row.made_ms)
        if part is not None:
            self._pair(timeframe, check, row, part)

    def confirm(self, span: Span, rows: Iterable[LiveRow]) -> None:
        """Take what the exchange's own page proves: in `span` there are these rows and no others.

        Args:
          span: Opening times.
          rows: All rows that open in it.
        """
        newest_ms = max(self.rows, default=span.end_ms)
        start_ms = max(span.start_ms, newest_ms - self._rows_max * self.base.span_ms)
        for open_ms in [t for t in self.rows if start_ms <= t < span.end_ms]:
            del self.rows[open_ms]
        for row in rows:
            if row.open_time_ms >= start_ms:
                self.rows[row.open_time_ms] = row
        if span.end_ms > start_ms:
            self.proven = self.proven.add(Span(start_ms, span.end_ms))
        for check in self._checks.values():
            self._try_again(check, None)
        self._trim()

    def between(self, start_ms: int, end_ms: int) -> list[LiveRow]:
        """Return the rows that open in [start_ms, end_ms), oldest first."""
        step_ms, rows = self.base.span_ms, self.rows
        if (end_ms - start_ms) // step_ms > len(rows):
            return [rows[t] for t in sorted(rows) if start_ms <= t < end_ms]
        return [rows[t] for t in range(start_ms, end_ms, step_ms) if t in rows]

    def proven_to_ms(self, from_ms: int) -> int:
        """Return how far all is proven from `from_ms` on; itself if not at all."""
        for span in reversed(self.proven.spans):
            if span.start_ms <= from_ms:
                return max(from_ms, span.end_ms)
        return from_ms

    def _is_proven(self, open_ms: int) -> bool:
        # Rows are mostly younger than all that is proven.
        spans = self.proven.spans
        if not spans or open_ms >= spans[-1].end_ms:
            return False
        return self.proven.covers(Span(open_ms, open_ms + self.base.span_ms))

    def _remember(self, moments: dict[int, LiveRow], row: LiveRow) -> None:
        held = moments.pop(row.made_ms, None)
        moments[row.made_ms] = row if held is None or row.volume > held.volume else held
        if len(moments) > _MOMENTS_KEPT:
            del moments[next(iter(moments))]

    def _pair(self, timeframe: Timeframe, check: _Check, whole: LiveRow, part: LiveRow) -> None:
        """Take a mark from two rows of the same moment; prove what lies between it and others."""
        open_ms, window_ms = part.open_time_ms, whole.open_time_ms
        if (
            self.base.floor_ms(part.made_ms) != open_ms
            or timeframe.floor_ms(part.made_ms) != window_ms
            or part.close != whole.close
            or window_ms < check.window_ms
        ):
            # Not in the period it claims; or two trades of one millisecond, one of them in one row.
            return
        if window_ms > check.window_ms:
            check.open_window(window_ms)
        mark = _Mark(whole.volume, whole.value, part.volume, part.value)
        held = check.marks.get(open_ms)
        if held is None:
            check.marks[open_ms] = mark
            insort(check.times, open_ms)
            self._prove_around(check, open_ms)
        elif open_ms != window_ms and not _same(held, mark) and open_ms in check.times:
            # One of the two is wrong, and it cannot be told which.
            check.times.remove(open_ms)
            check.failed = {each for each in check.failed if open_ms not in each}

    def _prove_around(self, check: _Check, open_ms: int) -> None:
        index = bisect_left(check.times, open_ms)
        around = check.times[max(0, index - 1) : index + 2]
        for start_ms, end_ms in pairwise(around):
            if not self._prove(check, start_ms, end_ms):
                check.failed.add((start_ms, end_ms))

    def _try_again(self, check: _Check, open_ms: int | None) -> None:
        for start_ms, end_ms in list(check.failed):
            inside = open_ms is None or start_ms <= open_ms < end_ms
            if inside and self._prove(check, start_ms, end_ms):
                check.failed.discard((start_ms, end_ms))

    def _prove(self, check: _Check, start_ms: int, end_ms: int) -> bool:
        span = Span(start_ms, end_ms)
        if self.proven.covers(span):
            return True
        first, last = check.marks[start_ms], check.marks[end_ms]
        rows = self.between(start_ms, end_ms)
        volumes = [-row.volume for row in rows]
        values = [-row.value for row in rows]
        if _lacking(first[0], first[2], last[0], last[2], volumes):
            return False
        if _lacking(first[1], first[3], last[1], last[3], values):
            return False
        self.proven = self.proven.add(span)
        self.changes += 1
        return True

    def _trim(self) -> None:
        if len(self.rows) <= self._rows_max + self._rows_max // 8:
            return
        for open_ms in sorted(self.rows)[: -self._rows_max]:
            del self.rows[open_ms]
        oldest_ms = min(self.rows)
        self.proven = self.proven.clip(Span(oldest_ms, 1 << 62))
        for check in self._checks.values():
            check.trim(oldest_ms)


def _lacking(
    first_whole: float, first_part: float, last_whole: float, last_part: float, less: list[float]
) -> bool:
    rest = math.fsum([last_whole, -last_part, -first_whole, first_part, *less])
    return abs(rest) > TOLERANCE_ULP * math.ulp(last_whole)


def _same(one: _Mark, other: _Mark) -> bool:
    return not (
        _lacking(one[0], one[2], other[0], other[2], [])
        or _lacking(one[1], one[3], other[1], other[3], [])
    )


class LiveMarket:
    """All that the streams of one market tell of candles, and what of it is final.

    Attributes:
      version: Rises whenever more may be final than before.
    """

    def __init__(self) -> None:
        minutes = Proof(Timeframe.M1, (Timeframe.H4, Timeframe.D1), rows_max=_MINUTES_KEPT)
        self._proofs = {Timeframe.M1: minutes}
        self._minutes = minutes
        self._rows: dict[Timeframe, dict[int, LiveRow]] = {}
        # Coarse rows that are final, by opening time.
        self._final: dict[Timeframe, set[int]] = {}
        self.version = 0

    @property
    def minutes(self) -> Proof:
        """Return the proof of the minutes."""
        return self._minutes

    def tell(self, timeframe: Timeframe, row: LiveRow) -> Told:
        """Take a frame, and return what it was worth.

        Returns:
          `news` if the candle has grown; `stale` if that much was known; `disagrees` if it says
          more than what was proven.
        """
        before = self._changes()
        if timeframe in {Timeframe.M1, Timeframe.S1}:
            told = self._proof(timeframe).tell(row)
        else:
            told = self._tell_coarse(timeframe, row)
        for proof in self._proofs.values():
            if proof.base is not timeframe:
                proof.tell_check(timeframe, row)
        if self._changes() != before:
            self.version += 1
        return told

    def _changes(self) -> int:
        return sum([proof.changes for proof in self._proofs.values()])

    def _proof(self, timeframe: Timeframe) -> Proof:
        proof = self._proofs.get(timeframe)
        if proof is None:
            checks = (Timeframe.M1, Timeframe.H4, Timeframe.D1)
            proof = self._proofs[timeframe] = Proof(timeframe, checks, rows_max=_SECONDS_KEPT)
        return proof

    def _tell_coarse(self, timeframe: Timeframe, row: LiveRow) -> Told:
        rows = self._rows.setdefault(timeframe, {})
        held = rows.get(row.open_time_ms)
        if held is not None and row.volume <= held.volume:
            return "stale"
        if row.open_time_ms in self._final.get(timeframe, ()):
            return "disagrees"
        rows[row.open_time_ms] = row
        if len(rows) > _COARSE_KEPT:
            oldest_ms = min(rows)
            del rows[oldest_ms]
            self._final.get(timeframe, set()).discard(oldest_ms)
        end_ms = row.open_time_ms + timeframe.span_ms
        spans = self._minutes.proven.spans
        if spans and end_ms <= spans[-1].end_ms:
            # Later than the minutes that prove it.
            self.version += 1
        return "news"

    def confirm(self, timeframe: Timeframe, span: Span, rows: Iterable[LiveRow]) -> None:
        """Take what the exchange's own page proves; see `Proof.confirm`."""
        if timeframe in self._proofs:
            self._proofs[timeframe].confirm(span, rows)
            self.version += 1
            return
        held, final = self._rows.get(timeframe, {}), self._final.setdefault(timeframe, set())
        for row in rows:
            if row.open_time_ms in held:
                held[row.open_time_ms] = row
                final.add(row.open_time_ms)

    def since(self, timeframe: Timeframe, from_ms: int) -> list[LiveRow]:
        """Return the rows that were told and open at or after `from_ms`, oldest first."""
        proof = self._proofs.get(timeframe)
        rows = self._rows.get(timeframe, {}) if proof is None else proof.rows
        return [rows[open_ms] for open_ms in sorted(rows) if open_ms >= from_ms]

    def final(self, timeframe: Timeframe, from_ms: int) -> tuple[list[LiveRow], int]:
        """Return the final rows from `from_ms` on, and how far everything is final.

        Days and longer are closed by a page of the exchange only.
        """
        proof = self._proofs.get(timeframe)
        if proof is not None:
            reach_ms = proof.proven_to_ms(from_ms)
            return proof.between(from_ms, reach_ms), reach_ms
        if timeframe.span_ms > Timeframe.H4.span_ms:
            return [], from_ms
        held, rows = self._rows.get(timeframe, {}), []
        top_ms, reach_ms = self._minutes.proven_to_ms(from_ms), from_ms
        while (end_ms := reach_ms + timeframe.span_ms) <= top_ms:
            parts = self._minutes.between(reach_ms, end_ms)
            row = held.get(reach_ms)
            if (row is None and parts) or (row is not None and not (parts and agrees(row, parts))):
                break
            if row is not None:
                rows.append(row)
            reach_ms = end_ms
        self._final.setdefault(timeframe, set()).update(row.open_time_ms for row in rows)
        return rows, reach_ms
