"""How far back an indicator's newest value reaches, as arithmetic.

Most indicators look at a window and at nothing before it: TA-Lib's lookback and one more candle
are enough. Recursive ones never forget quite: each new candle only makes what came before count for
less. After k steps of a smoothing with weight `alpha` for the newest, it counts for (1-alpha)^k.

    exponential over n    alpha = 2/(n+1)
    Wilder's over n       alpha = 1/n

Smoothings one after another forget as a walk through rooms ends: each step it goes on to the next
room with that room's alpha, or through several, and what is left is the chance that it is still
inside. With m equal alphas, all begun, this is P(Binomial(k+m-1, alpha) < m). Each room is taken
to be full when its smoothing begins, which is when the one before has run over its own period: no
beginning can be further off.

The newest value is exact when what is left of the past is at most `TOLERANCE` of the range in
which its input moved. Sums and differences of smoothings magnify that by the sum of their weights.
A quotient magnifies it by how much smaller its denominator is than that range. This can be
anything, so the promise is for denominators down to a `CALM`th of the range.

Some have no bound: their path decides when two beginnings meet. Theirs was measured, and `why`
says so.

Source:
  Wilder, New Concepts in Technical Trading Systems (1978): his smoothing, and RSI, ATR, ADX, SAR.
  TA-Lib on functions with memory: http://ta-lib.org/d_api/ta_setunstableperiod.html
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

_Matrix = list[list[float]]

TOLERANCE = 1e-6
# A quotient is exact if its denominator is at least such a part of the range its input moved in.
CALM = 100.0
# No more steps than this are counted; whoever needs so many is refused.
STEPS_MAX = 2**17

# The weight of the newest candle where Kaufman's average is slowest: between 2 and 30 candles.
_KAUFMAN_SLOWEST = (2.0 / 31.0) ** 2
# Two beginnings of Hilbert's transform agreed to `TOLERANCE` after 400 candles at the latest, in
# 1,500 looks at recorded minutes and hours and at random walks; this is that, and a quarter. Of
# prices: it remembers what stands still for long, as stochastics of a quiet market do, and of
# these two beginnings were still 0.01 % apart after 3,000. So MAMA over them is promised nothing.
_HILBERT = 500
# The same for the parabolic SAR: at most 50 candles, and such a number divided by what its
# acceleration comes to. It was slowest with an acceleration that stays.
_PARABOLIC = 8.0
# Where it turns to a stop further off, that took longer by such a number times the root of the
# distance; in a market much quieter than the measured ones it may take longer still.
_OFFSET = 50.0
# The same for the SuperTrend, beyond its average true range: such a number times its multiplier
# squared, as long as a random walk takes to cross its bands.
_SUPERTREND = 40.0


class Stage(NamedTuple):
    """One smoothing.

    Attributes:
      alpha: The weight of the newest candle, in (0, 1).
      wait: Candles the one before it runs before this one begins.
    """

    alpha: float
    wait: int


@dataclass(frozen=True, slots=True)
class Reach:
    """How far back a newest value reaches.

    Attributes:
      lookback: Candles before the newest without which there is no value: TA-Lib's lookback.
      stages: What smooths, one after another.
      gain: How much what is left of the past is magnified.
      measured: Candles that were found by looking, because no bound is known; 0 if one is.
      smoothing: What smooths, in words.
      is_ratio: Whether it is a quotient, and `gain` holds `CALM`.
      is_relative: Whether it adds up from where it begins, so that its level means nothing.
    """

    lookback: int
    stages: tuple[Stage, ...] = ()
    gain: float = 1.0
    measured: int = 0
    smoothing: str = ""
    is_ratio: bool = False
    is_relative: bool = False

    @property
    def more(self) -> int:
        """Candles beyond the lookback, until what came before counts for less than `TOLERANCE`."""
        # What was measured was measured with the smoothing in it.
        return max(self.measured, steps(self.stages, TOLERANCE / self.gain))

    @property
    def candles(self) -> int:
        """Candles that make the newest value exact."""
        return self.lookback + 1 + self.more

    @property
    def why(self) -> str:
        """Why so many, in one sentence."""
        begin = self.lookback + 1
        if self.is_relative:
            return (
                "adds up from its first candle: whatever the number, only its changes say anything"
            )
        if not self.more:
            return f"{begin} hold all that it is computed from"
        if self.measured:
            return (
                f"{self.smoothing}: {begin} to begin, {self.more} more by measurement until the "
                "beginning was forgotten; no bound is known"
            )
        calm = f", if the input moves a {CALM:.0f}th of what it did" if self.is_ratio else ""
        return (
            f"{self.smoothing}: {begin} to begin, {self.more} more until what came before counts "
            f"for less than a millionth{calm}"
        )


# Strategies say the same of hundreds of markets.
@lru_cache(maxsize=1_024)
def steps(stages: tuple[Stage, ...], left: float) -> int:
    """Return after how many candles smoothings one after another keep at most `left` of the past.

    Args:
      stages: What smooths, in order.
      left: The share wanted, positive.

    Returns:
      Counted from the beginning of the last; at most `STEPS_MAX`, also if it takes longer.
    """
    if not stages or left >= 1.0:
        return 0
    # One step of all of them as a matrix: each goes towards what the one before has become. Its
    # powers of two tell the number bit by bit.
    powers = [_step(stages)]
    longest = max(stage.wait for stage in stages)
    while 2 ** len(powers) < STEPS_MAX and (
        2 ** len(powers) <= longest or sum(powers[-1][-1]) > left
    ):
        powers.append(_product(powers[-1], powers[-1]))
    past = [0.0] * len(stages)
    for at, stage in enumerate(stages):
        for bit, power in enumerate(powers):
            if stage.wait >> bit & 1:
                past = [_dot(row, past) for row in power]
        past[at] = 1.0
    done = 0
    for bit in reversed(range(len(powers))):
        later = [_dot(row, past) for row in powers[bit]]
        if later[-1] > left:
            past, done = later, done + 2**bit
    return done + 1


def _step(stages: tuple[Stage, ...]) -> _Matrix:
    step: _Matrix = []
    for at, (alpha, _) in enumerate(stages):
        before = step[-1] if step else [0.0] * len(stages)
        step.append([alpha * each for each in before])
        step[-1][at] += 1.0 - alpha
    return step


def _product(one: _Matrix, other: _Matrix) -> _Matrix:
    columns = list(zip(*other, strict=True))
    return [[_dot(row, column) for column in columns] for row in one]


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(map(float.__mul__, one, other))


def then(*reaches: Reach) -> Reach:
    """Return the reach of computations one after another, each on what the one before gives."""
    is_measured = any(each.measured for each in reaches)
    return Reach(
        lookback=sum(each.lookback for each in reaches),
        stages=tuple(stage for each in reaches for stage in each.stages),
        gain=math.prod(each.gain for each in reaches),
        # Where no bound is known, each only begins to forget when the one before has.
        measured=sum(each.more for each in reaches) if is_measured else 0,
        smoothing=", then ".join(each.smoothing for each in reaches if each.smoothing),
        is_ratio=any(each.is_ratio for each in reaches),
    )


def beside(*reaches: Reach) -> Reach:
    """Return the reach of a sum or difference of computations on the same input."""
    slowest = max(reaches, key=lambda each: each.more)
    return replace(
        slowest,
        lookback=max(each.lookback for each in reaches),
        gain=sum(each.gain for each in reaches if each.more) or 1.0,
        is_ratio=any(each.is_ratio for each in reaches),
    )


def times(factor: float, reach: Reach) -> Reach:
    """Return `reach` with what is left of the past magnified by `factor`."""
    return replace(reach, gain=reach.gain * max(1.0, abs(factor)))


def ratio(reach: Reach) -> Reach:
    """Return the reach of a quotient of what reaches so far: exact down to a `CALM`th."""
    return replace(reach, gain=reach.gain * CALM, is_ratio=True)


def shifted(candles: int, reach: Reach) -> Reach:
    """Return `reach` of what needs `candles` before its own window."""
    return replace(reach, lookback=reach.lookback + candles)


def relative() -> Reach:
    """Return the reach of what only adds up: two candles, which show one change."""
    return Reach(1, is_relative=True)


def exponential(n: int) -> Reach:
    """Return the reach of exponential smoothing over `n`."""
    return _smoothed(n, 2.0 / (n + 1), f"exponential smoothing over {n}")


def wilder(n: int) -> Reach:
    """Return the reach of Wilder's smoothing over `n`."""
    return _smoothed(n, 1.0 / n, f"Wilder's smoothing over {n}")


def _smoothed(n: int, alpha: float, words: str) -> Reach:
    return Reach(n - 1, (Stage(alpha, n - 1),), smoothing=words) if n > 1 else Reach(0)


def repeated(count: int, n: int, *, gain: float = 1.0) -> Reach:
    """Return the reach of `count` exponential smoothings over `n`, one after another."""
    if n == 1:
        return Reach(0)
    words = f"{count} exponential smoothings over {n}"
    stages = (Stage(2.0 / (n + 1), n - 1),) * count
    return Reach(count * (n - 1), stages, gain, smoothing=words)


def tillson(n: int, factor: float) -> Reach:
    """Return the reach of T3 over `n`: the third to the sixth of six smoothings, weighted."""
    square, cube = factor**2, factor**3
    first = 1.0 + 3.0 * factor + 3.0 * square + cube
    gain = first + (3.0 * factor + 6.0 * square + 3.0 * cube) + 3.0 * (square + cube) + cube
    return repeated(6, n, gain=gain)


def kaufman(n: int) -> Reach:
    """Return the reach of Kaufman's average over `n` at its slowest, when the input only shakes."""
    words = f"Kaufman's smoothing over {n} at its slowest"
    return Reach(n, (Stage(_KAUFMAN_SLOWEST, n),), smoothing=words) if n > 1 else Reach(0)


def hilbert(lookback: int) -> Reach:
    """Return the reach of what is computed from Hilbert's transform; measured."""
    words = "Hilbert's transform, which forgets nothing while its input stands still"
    return Reach(lookback, measured=_HILBERT, smoothing=words)


def mesa(slow_limit: float) -> Reach:
    """Return the reach of MAMA and FAMA: the transform's, or that of their slowest smoothing."""
    slowest = replace(hilbert(32), stages=(Stage(slow_limit, 0), Stage(slow_limit / 2.0, 0)))
    return replace(slowest, smoothing=f"{slowest.smoothing}; smoothing down to {slow_limit:g}")


def parabolic(*accelerations: float, offset: float = 0.0) -> Reach:
    """Return the reach of the parabolic SAR; measured.

    Args:
      accelerations: What its accelerations come to; the least decides.
      offset: By which share of the price a stop begins further off when it turns.
    """
    least = min(accelerations) / (1.0 + _OFFSET * math.sqrt(offset))
    is_endless = least * STEPS_MAX <= _PARABOLIC
    measured = STEPS_MAX if is_endless else 50 + math.ceil(_PARABOLIC / least)
    return Reach(1, measured=measured, smoothing="stops that turn with the price")


def supertrend(n: int, multiplier: float) -> Reach:
    """Return the reach of the SuperTrend: its average true range, then bands until they turn."""
    range_ = times(multiplier, shifted(1, wilder(n)))
    settling = math.ceil(_SUPERTREND * min(max(1.0, multiplier) ** 2, STEPS_MAX))
    return replace(
        range_,
        measured=min(range_.more + settling, STEPS_MAX),
        smoothing=f"{range_.smoothing}, and bands that turn with the price",
    )


def window(n: int) -> Reach:
    """Return the reach of what is computed from `n` candles and nothing before them."""
    return Reach(n - 1)


def double(n: int) -> Reach:
    """Return the reach of DEMA over `n`: twice the first of two smoothings less the second."""
    return repeated(2, n, gain=3.0)


def triple(n: int) -> Reach:
    """Return the reach of TEMA over `n`: three smoothings, weighted 3, -3 and 1."""
    return repeated(3, n, gain=7.0)


def hull(n: int) -> Reach:
    """Return the reach of Hull's average over `n`."""
    return Reach(n - 1 + math.isqrt(n) - 1)


def lagless(n: int) -> Reach:
    """Return the reach of the zero-lag average over `n`: of twice the input less an older one."""
    return times(3.0, shifted((n - 1) // 2, exponential(n)))


# TA-Lib's averages, each with its number there; 10 and 11 are "none" and "whatever is usual".
AVERAGES: dict[str, tuple[int, Callable[[int], Reach]]] = {
    "SMA": (0, window),
    "EMA": (1, exponential),
    "WMA": (2, window),
    "DEMA": (3, double),
    "TEMA": (4, triple),
    "TRIMA": (5, window),
    "KAMA": (6, kaufman),
    "MAMA": (7, lambda _: mesa(0.05)),
    "T3": (8, lambda n: tillson(n, 0.7)),
    "HMA": (9, hull),
    "ZLEMA": (12, lagless),
    "RMA": (13, wilder),
}


def average(kind: str, n: int) -> Reach:
    """Return the reach of one of `AVERAGES` over `n`, at least 1; over 1 nothing is averaged."""
    return AVERAGES[kind][1](n) if n > 1 else Reach(0)
