"""How often requests are needed for something, and which streams would save them.

What tells the next need best is the time between the last ones. So of each key the mean of these
times is kept, the latest counting most: two needs close to each other already tell a habit from a
single look, and one after a long silence begins anew instead of spoiling the mean.

A stream does not save every need: of a quiet market it may have told too long ago for who asks.
Which share it has saved is remembered much longer than the times, or such a stream would be let go
and asked for again without end.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass

from actors.exchanges.streams import StreamKey, StreamRules
from actors.timeframes import Timeframe

# A need this long after the one before begins anew.
FORGET_S = 150.0
# Beyond it the key asked for longest ago is forgotten.
KEYS_MAX = 4_096

# What the latest time between two needs counts in the mean.
_LATEST = 0.3
# What is kept of the record of a stream at each need; and half of what it failed to save is
# forgiven after so long: a market may wake up.
_KEPT = 0.95
_FORGIVEN_HALF_S = 1_800.0
# A stream has the benefit of this many doubts.
_DOUBTS = 2.0


@dataclass(slots=True)
class _Habit:
    last_s: float
    gap_s: float = math.inf
    # Needs while the stream was live, and requests that had to be made all the same.
    needs: float = 0.0
    lost: float = 0.0
    lost_s: float = 0.0


class Interest:
    """How often each of some keys needs a request, or would without its stream."""

    def __init__(self) -> None:
        # The key asked for last stands last.
        self._habits: dict[Hashable, _Habit] = {}

    def note(
        self, key: Hashable, now_s: float, *, share: float = 1.0, saved: bool | None = None
    ) -> float:
        """Count a need for `key`; return how many of them a stream saves, in requests a second.

        Args:
          key: What is asked for.
          now_s: The time, on `Clock.now_s`.
          share: Its part of the request, if that is for several keys.
          saved: Whether its stream, being live, saved the request; None if it is not live.
        """
        habit = self._habits.pop(key, None)
        if habit is None:
            habit = _Habit(now_s)
        else:
            _step(habit, now_s, share)
        if saved is not None:
            habit.needs = habit.needs * _KEPT + 1.0
            habit.lost *= _KEPT
        self._habits[key] = habit
        if len(self._habits) > KEYS_MAX:
            del self._habits[next(iter(self._habits))]
        if saved is False:
            self.lose(key, now_s)
        return self.rate(key, now_s)

    def lose(self, key: Hashable, now_s: float) -> None:
        """Count a request that had to be made although the stream of `key` is live."""
        habit = self._habits.get(key)
        if habit is not None:
            habit.lost, habit.lost_s = _lost(habit, now_s) + 1.0, now_s

    def rate(self, key: Hashable, now_s: float) -> float:
        """Return how many requests a stream of `key` would save, in requests a second."""
        habit = self._habits.get(key)
        if habit is None:
            return 0.0
        gap_s = max(habit.gap_s, now_s - habit.last_s, 1e-3)
        return max(0.0, 1.0 - _lost(habit, now_s) / (habit.needs + _DOUBTS)) / gap_s

    def last_s(self, key: Hashable) -> float:
        """Return when the last need of `key` was; -inf if there was none."""
        habit = self._habits.get(key)
        return -math.inf if habit is None else habit.last_s


def _step(habit: _Habit, now_s: float, share: float) -> None:
    """Put the time since the last need into the mean."""
    if now_s - habit.last_s > FORGET_S:
        habit.gap_s = math.inf
    else:
        # Part of a request is as much as a whole one so many times less often.
        gap_s = (now_s - habit.last_s) / max(share, 0.001)
        is_first = math.isinf(habit.gap_s)
        habit.gap_s = gap_s if is_first else habit.gap_s + _LATEST * (gap_s - habit.gap_s)
    habit.last_s = now_s


def _lost(habit: _Habit, now_s: float) -> float:
    return habit.lost * math.exp2((habit.lost_s - now_s) / _FORGIVEN_HALF_S)


def candle_streams(code: str, timeframe: Timeframe, rules: StreamRules) -> dict[StreamKey, int]:
    """Return the streams that keep candles of a market up to date, and prove them final.

    Beside the candles themselves these are the minutes, and what they are checked against: the
    candles of four hours, and the ticker, which is the candle of the day.

    Args:
      code: The market.
      timeframe: Which candles are wanted; one that is not streamed is made of the others.
      rules: What the exchange streams.
    """
    wanted = {timeframe, Timeframe.M1, Timeframe.H4} & rules.timeframes
    candles = {StreamKey("candle", code, each): 0 for each in sorted(wanted, key=_span_ms)}
    return {**candles, StreamKey("ticker", code): 0}


def _span_ms(timeframe: Timeframe) -> int:
    return timeframe.span_ms
