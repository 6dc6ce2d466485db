"""How far back the indicators reach that are made of several parts."""

from __future__ import annotations

from dataclasses import replace

from actors.preloading.indicator_reach import (
    Reach,
    Stage,
    average,
    beside,
    exponential,
    parabolic,
    ratio,
    relative,
    repeated,
    shifted,
    then,
    times,
    wilder,
)


def moved(n: int) -> Reach:
    """Wilder's smoothing of what needs the candle before."""
    return shifted(1, wilder(n))


def directed(n: int) -> Reach:
    """DX, and what it is made of: quotients of smoothed moves."""
    return ratio(moved(n))


def adx(n: int) -> Reach:
    """ADX: the mean of a quotient."""
    return then(directed(n), wilder(n))


def moves(n: int) -> Reach:
    """+DM and -DM: the sums themselves, not their means."""
    # Over one candle it is the newest move alone.
    return times(n, wilder(n)) if n > 1 else Reach(1)


def crossing(fast: int, slow: int, kind: str) -> Reach:
    """Difference of two averages, or its share of the slow one."""
    return beside(average(kind, fast), average(kind, slow))


def macd(fast: Reach, slow: Reach, signal: Reach) -> Reach:
    """MACD, its signal, and their difference."""
    return times(2.0, then(beside(fast, slow), signal))


def macdext(fast: int, kind: str, slow: int, slow_kind: str, signal: int, last: str) -> Reach:
    """MACD of averages of any kind."""
    return macd(average(kind, fast), average(slow_kind, slow), average(last, signal))


def stoch(k: int, slow: int, kind: str, last: int, last_kind: str) -> Reach:
    """Stochastics: where the price stands between its extremes, averaged twice."""
    return then(Reach(k - 1), average(kind, slow), average(last_kind, last))


def kdj(k: int, slow: int, kind: str, last: int, last_kind: str) -> Reach:
    """KDJ: J is three times K less twice D."""
    return times(5.0, stoch(k, slow, kind, last, last_kind))


def stochrsi(n: int, k: int, d: int, kind: str) -> Reach:
    """Stochastic RSI: a quotient of differences of a quotient."""
    return times(2.0, then(ratio(moved(n)), ratio(Reach(k - 1)), average(kind, d)))


def bbands(n: int, _up: float, _down: float, kind: str) -> Reach:
    """Bollinger bands: an average of any kind, and deviations within the window."""
    return beside(average(kind, n), Reach(n - 1))


def keltner(n: int, range_n: int, width: float) -> Reach:
    """Keltner channels: an exponential average, and average true ranges beside it."""
    return beside(exponential(n), times(width, moved(range_n)))


def trix(n: int) -> Reach:
    """TRIX: how much a triple smoothing changed."""
    # In one step a smoothing goes no further than alpha times the distance to what it smooths.
    return shifted(1, repeated(3, n, gain=min(2.0, 4.0 / (n + 1))))


def tsi(first: int, second: int) -> Reach:
    """True strength index: a change smoothed twice, by its size smoothed twice."""
    return ratio(shifted(1, then(exponential(first), exponential(second))))


def smi(n: int, fast: int, slow: int, signal: int) -> Reach:
    """Stochastic momentum index, and its signal."""
    smoothed = then(Reach(n - 1), exponential(slow), exponential(fast))
    return then(ratio(smoothed), exponential(signal))


def massi(n: int, summed: int) -> Reach:
    """Mass index: a sum of quotients of a range smoothed once and twice."""
    return shifted(summed - 1, ratio(repeated(2, n)))


def adosc(fast: int, slow: int) -> Reach:
    """Chaikin oscillator: two smoothings of a line that adds up without end."""
    # The line's distance from its average is at most as many of the greatest volumes as a smoothing
    # reaches back in the mean. TA-Lib smooths from the very first candle, not from a mean.
    before = max(fast, slow) - 1
    parts = (
        times((n + 1) / 2.0 * (1.0 - 2.0 / (n + 1)) ** before, exponential(n)) for n in (fast, slow)
    )
    return beside(*parts)


def vwap(n: int) -> Reach:
    """VWAP of the newest `n`; of all there are for 0, and then only relative."""
    return Reach(n - 1) if n else relative()


def sarext(_start: float, offset: float, *turns: float) -> Reach:
    """Parabolic SAR: each side has where it begins, how much it grows, and where it ends."""
    sides = (turns[:3], turns[3:])
    return parabolic(
        *(min(max(first, growth), most) for first, growth, most in sides), offset=offset
    )


def macdfix(signal: int) -> Reach:
    """MACD with 12 and 26 as they were first published: rounded weights."""
    slow = replace(exponential(26), stages=(Stage(0.075, 25),))
    return macd(replace(exponential(12), stages=(Stage(0.15, 11),)), slow, exponential(signal))


def pvo(fast: int, slow: int, kind: str) -> Reach:
    """PVO: volumes differ so much that their average may be far below their range."""
    return ratio(crossing(fast, slow, kind))


def cvi(n: int, back: int) -> Reach:
    """Chaikin's volatility: how much a smoothed range has grown."""
    return shifted(back, ratio(exponential(n)))


def rvi(n: int, deviation: int) -> Reach:
    """Relative volatility index: the share of deviations that went up, smoothed."""
    return ratio(then(Reach(deviation - 1), wilder(n)))


def heikin_ashi() -> Reach:
    """Heikin-Ashi candles: each open is half way between the open and close before."""
    return Reach(0, (Stage(0.5, 0),), smoothing="opens half way between those before")
