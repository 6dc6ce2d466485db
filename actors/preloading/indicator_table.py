"""The indicators known by name: their parameters, and how far back each reaches.

Names, parameters, defaults and ranges are TA-Lib's (0.8). Beside these stand the names bots use for
the candles themselves, and a few that TA-Lib has not:

    OPEN HIGH LOW CLOSE VOLUME VALUE   so many of the newest candles, one if not said
    HIGHEST LOWEST                     of the newest candles, as MAX and MIN
    RETURNS PCT_CHANGE LOG_RETURNS     change over so many candles
    SMMA                               Wilder's smoothing, as RMA
    KELTNER                            as KC
    ICHIMOKU                           the cloud at the newest candle, which was drawn ahead
    ZSCORE CHOP                        distance from the mean in deviations; choppiness index

`VWAP` adds up from the first candle, as in TA-Lib; `VWAP(20)` is that of the newest twenty. Which
of equal extremes MAXINDEX and MININDEX name depends in TA-Lib on the first candle too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from actors.preloading.indicator_reach import (
    Reach,
    average,
    double,
    exponential,
    hilbert,
    hull,
    kaufman,
    lagless,
    mesa,
    parabolic,
    relative,
    shifted,
    supertrend,
    tillson,
    triple,
    wilder,
)
from actors.preloading.indicator_rules import (
    adosc,
    adx,
    bbands,
    crossing,
    cvi,
    directed,
    heikin_ashi,
    kdj,
    keltner,
    macd,
    macdext,
    macdfix,
    massi,
    moved,
    moves,
    pvo,
    rvi,
    sarext,
    smi,
    stoch,
    stochrsi,
    trix,
    tsi,
    vwap,
)

PERIOD_MAX = 100_000
_REAL_MAX = 3e37


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter of an indicator.

    Attributes:
      name: TA-Lib's name.
      default: Its value if nothing is said.
      kind: A whole number, a number, or an average by name.
      least: The least value allowed, of numbers.
      most: The greatest value allowed, of numbers.
    """

    name: str
    default: float | str
    kind: Literal["whole", "number", "average"] = "whole"
    least: float = 2
    most: float = PERIOD_MAX


@dataclass(frozen=True, slots=True)
class Rule:
    """What is known of an indicator.

    Attributes:
      params: Its parameters, in order.
      reach: How far back it reaches, by the values of its parameters.
    """

    params: tuple[Param, ...]
    # Takes as many as there are parameters.
    reach: Callable[..., Reach]


def _n(default: int, least: int = 2, name: str = "timeperiod") -> Param:
    return Param(name, default, least=least)


def _x(name: str, default: float, least: float = -_REAL_MAX, most: float = _REAL_MAX) -> Param:
    return Param(name, default, "number", least, most)


def _kind(name: str = "matype", default: str = "SMA") -> Param:
    return Param(name, default, "average")


def _window(before: int) -> Callable[..., Reach]:
    """Return the rule of what needs a period and `before` candles: -1 for the period itself."""
    return lambda n, *_: Reach(n + before)


def _fixed(lookback: int) -> Callable[..., Reach]:
    return lambda *_: Reach(lookback)


def _crossed(fast: int = 12, slow: int = 26) -> tuple[Param, Param]:
    return _n(fast, 2, "fastperiod"), _n(slow, 2, "slowperiod")


def _slow(kind: str) -> tuple[Param, ...]:
    k, d = _n(3, 1, "slowk_period"), _n(3, 1, "slowd_period")
    return k, _kind("slowk_matype", kind), d, _kind("slowd_matype", kind)


def _fast() -> tuple[Param, ...]:
    return _n(5, 1, "fastk_period"), _n(3, 1, "fastd_period"), _kind("fastd_matype")


def _alike(names: str, reach: Callable[..., Reach], *params: Param) -> Iterable[tuple[str, Rule]]:
    rule = Rule(params, reach)
    return ((name, rule) for name in names.split())


_SAREXT = (
    _x("startvalue", 0.0),
    _x("offsetonreverse", 0.0, 0.0),
    *(
        _x(f"acceleration{part}{side}", most, 0.0)
        for side in ("long", "short")
        for part, most in (("init", 0.02), ("", 0.02), ("max", 0.2))
    ),
)
_FASTK, _SLOWK, _SLOWD = (
    _n(3, 1, name) for name in ("fastk_period", "slowk_period", "slowd_period")
)

_OVERLAP = (
    *_alike("SMA WMA TRIMA VWMA", _window(-1), _n(30, 1)),
    *_alike("MIDPOINT MIDPRICE", _window(-1), _n(14)),
    *_alike("ACCBANDS DONCHIAN", _window(-1), _n(20)),
    *_alike("EMA", exponential, _n(30, 1)),
    *_alike("RMA SMMA", wilder, _n(30, 1)),
    *_alike("DEMA", double, _n(30, 1)),
    *_alike("TEMA", triple, _n(30, 1)),
    *_alike("KAMA", kaufman, _n(30, 1)),
    *_alike("ZLEMA", lagless, _n(30, 1)),
    *_alike("HMA", hull, _n(20, 1)),
    *_alike("T3", tillson, _n(5, 1), _x("vfactor", 0.7, 0.0, 1.0)),
    *_alike("MA", lambda n, kind: average(kind, n), _n(30, 1), _kind()),
    *_alike(
        "MAVP",
        lambda _, most, kind: average(kind, most),
        _n(2, 1, "minperiod"),
        _n(30, 2, "maxperiod"),
        _kind(),
    ),
    *_alike(
        "MAMA",
        lambda _, slow: mesa(slow),
        _x("fastlimit", 0.5, 0.01, 0.99),
        _x("slowlimit", 0.05, 0.01, 0.99),
    ),
    *_alike("HT_TRENDLINE", lambda: hilbert(63)),
    *_alike("BBANDS", bbands, _n(20), _x("nbdevup", 2.0), _x("nbdevdn", 2.0), _kind()),
    *_alike("KC KELTNER", keltner, _n(20), _n(10, 1, "atrperiod"), _x("nbdev", 2.0)),
    *_alike("SUPERTREND", supertrend, _n(10), _x("multiplier", 3.0, 0.0)),
    *_alike(
        "SAR",
        lambda growth, most: parabolic(min(growth, most)),
        _x("acceleration", 0.02, 0.0),
        _x("maximum", 0.2, 0.0),
    ),
    *_alike("SAREXT", sarext, *_SAREXT),
    *_alike(
        "ICHIMOKU",
        lambda turn, base, span: Reach(max(turn, base, span) - 1 + base),
        _n(9, 1, "tenkan"),
        _n(26, 1, "kijun"),
        _n(52, 1, "senkou"),
    ),
)

_MOMENTUM = (
    *_alike("RSI CMO", directed, _n(14)),
    *_alike("DX", directed, _n(14)),
    *_alike("PLUS_DI MINUS_DI", directed, _n(14, 1)),
    *_alike("PLUS_DM MINUS_DM", moves, _n(14, 1)),
    *_alike("ADX", adx, _n(14)),
    *_alike("ADXR", lambda n: shifted(n - 1, adx(n)), _n(14)),
    *_alike("MACD", lambda *n: macd(*map(exponential, n)), *_crossed(), _n(9, 1, "signalperiod")),
    *_alike("MACDFIX", macdfix, _n(9, 1, "signalperiod")),
    *_alike(
        "MACDEXT",
        macdext,
        _n(12, 2, "fastperiod"),
        _kind("fastmatype"),
        _n(26, 2, "slowperiod"),
        _kind("slowmatype"),
        _n(9, 1, "signalperiod"),
        _kind("signalmatype"),
    ),
    *_alike("APO PPO", crossing, *_crossed(), _kind("matype", "EMA")),
    *_alike("AO", lambda *n: Reach(max(n) - 1), *_crossed(5, 34)),
    *_alike(
        "AC",
        lambda fast, slow, signal: Reach(max(fast, slow) + signal - 2),
        *_crossed(5, 34),
        _n(5, 2, "signalperiod"),
    ),
    *_alike("STOCH", stoch, _n(5, 1, "fastk_period"), *_slow("SMA")),
    *_alike("KDJ", kdj, _n(9, 1, "fastk_period"), *_slow("RMA")),
    *_alike("STOCHF", lambda k, d, kind: stoch(k, d, kind, 1, "SMA"), *_fast()),
    *_alike("STOCHRSI", stochrsi, _n(14), *_fast()),
    *_alike("TRIX", trix, _n(30, 1)),
    *_alike("TSI", tsi, _n(25, 2, "firstperiod"), _n(13, 2, "secondperiod")),
    *_alike("SMI", smi, _n(13), *_crossed(2, 25), _n(9, 2, "signalperiod")),
    *_alike("ERI", exponential, _n(13, 1)),
    *_alike("CCI WILLR", _window(-1), _n(14)),
    *_alike("IMI", _window(-1), _n(14)),
    *_alike("QSTICK", _window(-1), _n(10, 1)),
    *_alike("AROON AROONOSC CMOU MFI", _window(0), _n(14)),
    *_alike("VORTEX", _window(0), _n(14, 1)),
    *_alike("CHOP", _window(0), _n(14)),
    *_alike("MOM ROC ROCP ROCR ROCR100", _window(0), _n(10, 1)),
    *_alike("RETURNS PCT_CHANGE LOG_RETURNS", _window(0), _n(1, 1)),
    *_alike("ER", _window(0), _n(10)),
    *_alike("FOSC", _window(0), _n(5)),
    *_alike("VHF", _window(0), _n(28)),
    *_alike("DPO", lambda n: Reach(max(n - 1, n // 2 + 1)), _n(20)),
    *_alike(
        "ULTOSC",
        lambda *n: Reach(max(n)),
        *(_n(n, 1, f"timeperiod{at}") for at, n in ((1, 7), (2, 14), (3, 28))),
    ),
    *_alike(
        "COPPOCK",
        lambda n, *back: Reach(n - 1 + max(back)),
        *(
            _n(n, 1, name)
            for name, n in (("wmaperiod", 10), ("roc1period", 11), ("roc2period", 14))
        ),
    ),
    *_alike("FRACTAL", lambda *bars: Reach(sum(bars)), _n(2, 1, "leftbars"), _n(2, 1, "rightbars")),
    *_alike("BOP", _fixed(0)),
    *_alike("WAD", relative),
)

_VOLUME = (
    *_alike("AD OBV NVI PVI PVT CUMSUM", relative),
    *_alike("VWAP", vwap, _n(0, 0)),
    *_alike("ADOSC", adosc, *_crossed(3, 10)),
    *_alike("CMF", _window(-1), _n(20)),
    *_alike("EFI", lambda n: shifted(1, exponential(n)), _n(13, 1)),
    *_alike("PVO", pvo, *_crossed(), _kind("matype", "EMA")),
    *_alike("RVOL", _window(0), _n(20, 1)),
    *_alike("MARKETFI", _fixed(0)),
)

_VOLATILITY = (
    *_alike("ATR NATR", moved, _n(14, 1)),
    *_alike("ADR", _window(-1), _n(14, 1)),
    *_alike("CVI", cvi, _n(10), _n(10, 1, "rocperiod")),
    *_alike("MASSI", massi, _n(9, 2, "fastperiod"), _n(25, 2, "slowperiod")),
    *_alike("RVI", rvi, _n(14, 1), _n(10, 2, "stddevperiod")),
    *_alike("TRANGE", _fixed(1)),
)

_CYCLE = (
    *_alike("HT_DCPERIOD HT_PHASOR", lambda: hilbert(32)),
    *_alike("HT_DCPHASE HT_SINE HT_TRENDMODE", lambda: hilbert(63)),
)

_STATISTICS = (
    *_alike("AVGDEV LINEARREG LINEARREG_ANGLE LINEARREG_INTERCEPT", _window(-1), _n(14)),
    *_alike("LINEARREG_SLOPE TSF", _window(-1), _n(14)),
    *_alike("STDDEV", _window(-1), _n(5), _x("nbdev", 1.0)),
    *_alike("VAR", _window(-1), _n(5, 1), _x("nbdev", 1.0)),
    *_alike("ZSCORE", _window(-1), _n(20)),
    *_alike("BETA", _window(0), _n(5, 1)),
    *_alike("CORREL", _window(-1), _n(30, 1)),
    *_alike("PERCENTILE", _window(-1), _n(30), _x("percentile", 50.0, 0.0, 100.0)),
    *_alike("PERCENTRANK", _window(0), _n(100)),
)

_MATHS = (
    *_alike("MAX MIN MINMAX SUM MAXINDEX MININDEX MINMAXINDEX", _window(-1), _n(30)),
    *_alike("HIGHEST LOWEST", _window(-1), _n(30, 1)),
    *_alike("ADD SUB MULT DIV", _fixed(0)),
    *_alike("ACOS ASIN ATAN CEIL COS COSH EXP FLOOR", _fixed(0)),
    *_alike("LN LOG10 SIN SINH SQRT TAN TANH", _fixed(0)),
)

_PRICES = (
    *_alike("OPEN HIGH LOW CLOSE VOLUME VALUE", _window(-1), _n(1, 1)),
    *_alike("AVGPRICE MEDPRICE TYPPRICE WCLPRICE", _fixed(0)),
    *_alike("HA", heikin_ashi),
)

# Candlestick patterns by TA-Lib's lookback: most compare with the ten candles before.
_PATTERNS = {
    2: "ENGULFING XSIDEGAP3METHODS",
    3: "3OUTSIDE",
    5: "HIKKAKE",
    6: "MATCHINGLOW",
    7: "GAPSIDESIDEWHITE STICKSANDWICH TASUKIGAP",
    8: "3LINESTRIKE",
    10: """BELTHOLD CLOSINGMARUBOZU DOJI DRAGONFLYDOJI GRAVESTONEDOJI HIGHWAVE HIKKAKEMOD
        LONGLEGGEDDOJI LONGLINE MARUBOZU RICKSHAWMAN SHORTLINE SPINNINGTOP TAKURI""",
    11: """COUNTERATTACK DOJISTAR HAMMER HANGINGMAN HARAMI HARAMICROSS HOMINGPIGEON INNECK
        INVERTEDHAMMER KICKING KICKINGBYLENGTH ONNECK PIERCING SEPARATINGLINES SHOOTINGSTAR
        THRUSTING""",
    12: """2CROWS 3INSIDE 3STARSINSOUTH 3WHITESOLDIERS ADVANCEBLOCK IDENTICAL3CROWS
        STALLEDPATTERN TRISTAR UNIQUE3RIVER UPSIDEGAP2CROWS""",
    13: "3BLACKCROWS CONCEALBABYSWALL",
    14: "BREAKAWAY LADDERBOTTOM RISEFALL3METHODS",
}
_PENETRATED = {
    11: ("DARKCLOUDCOVER", 0.5),
    12: ("ABANDONEDBABY EVENINGDOJISTAR EVENINGSTAR MORNINGDOJISTAR MORNINGSTAR", 0.3),
    14: ("MATHOLD", 0.5),
}


def _patterns() -> Iterable[tuple[str, Rule]]:
    for lookback, names in _PATTERNS.items():
        yield from _alike(_candlesticks(names), _fixed(lookback))
    for lookback, (names, share) in _PENETRATED.items():
        param = _x("penetration", share, 0.0)
        yield from _alike(_candlesticks(names), _fixed(lookback), param)


def _candlesticks(names: str) -> str:
    return " ".join(f"CDL{name}" for name in names.split())


RULES: dict[str, Rule] = dict(
    (
        *_PRICES,
        *_OVERLAP,
        *_MOMENTUM,
        *_VOLUME,
        *_VOLATILITY,
        *_CYCLE,
        *_STATISTICS,
        *_MATHS,
        *_patterns(),
    )
)
