"""Every indicator of TA-Lib against TA-Lib: so many candles give what ten times as many give."""

from __future__ import annotations

import csv
import gzip
import random
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st
from talib import abstract

from actors.preloading.indicator_reach import AVERAGES, CALM, TOLERANCE
from actors.preloading.indicator_table import RULES, Param
from actors.preloading.indicators import Indicator, Value, indicator

Columns = dict[str, npt.NDArray[np.float64]]

GROUPS: dict[str, list[str]] = talib.get_function_groups()
JUDGED = sorted(chain.from_iterable(GROUPS.values()))
RELATIVE = {"AD", "CUMSUM", "NVI", "OBV", "PVI", "PVT", "VWAP", "WAD"}
MEASURED = {"MAMA", "SAR", "SAREXT", "SUPERTREND", *(n for n in JUDGED if n.startswith("HT_"))}
# Quotients that TA-Lib gives in percent, from 0 or -100 to 100.
PERCENT = {
    *("RSI", "CMO", "DX", "PLUS_DI", "MINUS_DI", "ADX", "ADXR", "STOCH", "STOCHF", "KDJ"),
    *("STOCHRSI", "SMI", "TSI", "RVI"),
}
OWN_RANGE = {"HT_DCPERIOD": 50.0, "HT_DCPHASE": 360.0, "HT_SINE": 2.0, "HT_TRENDMODE": 1.0}
RECORDED = ["BTC_KRW_1m_20250901_20251004", "BTC_KRW_1h_20220101_20250929"]
RECORDED += ["DOGE_KRW_1m_20250901_20250920"]
LENGTH = 34_000
KINDS = sorted(AVERAGES)
# Nothing is promised of MAMA over what stands still at 0 or 100.
OF_STOCHASTICS = sorted(set(AVERAGES) - {"MAMA"})


@cache
def walk(seed: int) -> Columns:
    """Return a random walk with bursts, in which it moves ten times as much and calms down."""
    rng = np.random.default_rng(seed)
    bursts = np.where(rng.random(LENGTH) < 0.01, 10.0, 0.0)
    lively = 1.0 + np.convolve(bursts, np.exp(-np.arange(60) / 15.0))[:LENGTH]
    close = 1e5 * np.exp(np.cumsum(rng.normal(size=LENGTH) * lively * 3e-4))
    opened = np.concatenate((close[:1], close[:-1]))
    wicks = np.abs(rng.normal(size=(2, LENGTH))) * lively * close * 3e-4
    return {
        "open": opened,
        "high": np.maximum(opened, close) + wicks[0],
        "low": np.minimum(opened, close) - wicks[1],
        "close": close,
        "volume": rng.lognormal(size=LENGTH) * lively,
    }


@cache
def recording(path: Path) -> Columns:
    """Return candles as an exchange gave them."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [row[1:6] for row in csv.reader(file)]
    numbers = np.array(rows[1:], dtype=np.float64).T.copy()
    return dict(zip(("open", "high", "low", "close", "volume"), numbers, strict=True))


def newest(candles: Columns, count: int, end: int | None = None) -> Columns:
    """Return the newest `count` candles before `end`."""
    end = len(candles["close"]) if end is None else end
    return {name: column[max(0, end - count) : end] for name, column in candles.items()}


def settings_of(wanted: Indicator) -> dict[str, int | float]:
    """Return its parameters as TA-Lib takes them; its VWAP takes none."""
    given_ = {} if wanted.name == "VWAP" else dict(wanted.params)
    return {
        name: AVERAGES[value][0] if isinstance(value, str) else value
        for name, value in given_.items()
    }


def judge(wanted: Indicator, candles: Columns) -> npt.NDArray[np.float64]:
    """Return TA-Lib's newest values."""
    given_ = settings_of(wanted)
    columns = dict(candles)
    if wanted.name == "MAVP":
        columns["periods"] = np.full(len(candles["close"]), float(given_["maxperiod"]))
    answer: Any = abstract.Function(wanted.name)(columns, **given_)
    values: npt.NDArray[Any] = np.array(
        [each[-1] for each in (answer if isinstance(answer, list) else [answer])]
    )
    if wanted.name.endswith("INDEX"):
        # A place counts from the beginning, and of equal ones either may be named.
        values = candles["close"][values.astype(int)]
    return values.astype(np.float64)


def scale(wanted: Indicator, candles: Columns, values: npt.NDArray[np.float64]) -> Any:
    """Return the range the values are from: that of the prices, unless they are something else."""
    name, span = wanted.name, candles["high"].max() - candles["low"].min()
    if name in PERCENT:
        return 100.0
    if name in {"PPO", "NATR", "TRIX"}:
        return 100.0 * span / candles["low"].min()
    others = {
        "PVO": 100.0 + np.abs(values),
        "CVI": 100.0 + np.abs(values),
        "MASSI": dict(wanted.params).get("slowperiod"),
        "ADOSC": candles["volume"].max(),
        "EFI": np.abs(np.diff(candles["close"]) * candles["volume"][1:]).max(initial=0.0),
    }
    return others.get(name, OWN_RANGE.get(name, span))


def off(wanted: Indicator, candles: Columns, end: int | None = None) -> float:
    """Return how far its newest value with just its candles is from that with ten times as many."""
    many = newest(candles, 10 * wanted.candles, end)
    few = judge(wanted, newest(many, wanted.candles))
    true = judge(wanted, many)
    # Where there is no number, there must be none in both.
    is_number = np.isfinite(true)
    assert np.array_equal(few[~is_number], true[~is_number], equal_nan=True), str(wanted)
    apart = np.abs(np.where(is_number, few, 0.0) - np.where(is_number, true, 0.0))
    return float((apart / scale(wanted, many, true)).max())


def value_of(param: Param, rng: random.Random) -> Value:
    """Return a value that the parameter may have, of a size that is used."""
    if param.kind == "average":
        return rng.choice(OF_STOCHASTICS if param.name[:4] in {"fast", "slow"} else KINDS)
    if param.kind == "whole":
        return rng.randint(int(param.least), 40)
    if param.name.startswith("acceleration"):
        return rng.choice([0.01, 0.02, 0.05, 0.3])
    if param.name == "multiplier":
        return rng.choice([1.0, 2.0, 4.0])
    if param.name in {"startvalue", "offsetonreverse"}:
        return rng.choice([0.0, 0.01])
    least, most = max(param.least, 0.0), min(param.most, 3.0)
    return round(rng.uniform(least, most), 2)


def variants(name: str, count: int = 3) -> list[Indicator]:
    """Return the indicator with its defaults, and with `count` other sets of parameters."""
    rng = random.Random(name)
    texts = [name]
    for _ in range(count if settings_of(indicator(name)) else 0):
        values = [value_of(param, rng) for param in RULES[name].params]
        if name == "MAVP":
            values[0] = 1
        texts.append(f"{name}({', '.join(map(str, values))})")
    return [indicator(text) for text in texts]


def test_every_function_of_the_judge_is_known_by_its_name_and_parameters() -> None:
    """With the same names, defaults and order, so that what was written for it works."""
    for name in JUDGED:
        theirs = dict(abstract.Function(name).parameters)
        assert settings_of(indicator(name)) == theirs, name
        assert list(settings_of(indicator(name))) == list(theirs), name


def test_the_ranges_of_parameters_are_those_of_the_judge() -> None:
    """Both of a range's ends are taken by it, and what lies beyond them is refused."""
    candles = newest(walk(0), 60)
    for name in set(JUDGED) - {"MAVP", "VWAP"}:
        for param in RULES[name].params:
            step = 1 if param.kind == "whole" else 0.001
            ends = {param.least, param.least - step, param.most, param.most + step}
            for value in () if param.kind == "average" else ends - {param.default}:
                given_ = {param.name: int(value) if param.kind == "whole" else value}
                if param.least <= value <= param.most:
                    abstract.Function(name)(candles, **given_)
                else:
                    with pytest.raises(Exception, match="Bad Parameter"):
                        abstract.Function(name)(candles, **given_)


@pytest.mark.parametrize("name", JUDGED)
def test_the_newest_value_does_not_change_with_more_candles(name: str) -> None:
    """With the defaults and other parameters, at several ends of a walk with bursts."""
    for wanted in variants(name):
        if wanted.relative:
            assert wanted.name in RELATIVE
            continue
        for end in (LENGTH, LENGTH - 1_777):
            assert off(wanted, walk(1), end) <= TOLERANCE, (str(wanted), end)


@pytest.mark.parametrize("name", JUDGED)
def test_one_candle_less_is_not_enough_for_a_window(name: str) -> None:
    """What looks at a window has no value with less; what smooths begins where the judge begins."""
    for wanted in variants(name, count=10):
        if wanted.relative:
            continue
        function = abstract.Function(name)
        function.set_parameters(settings_of(wanted))
        reach = RULES[name].reach(*(value for _, value in wanted.params))
        assert reach.lookback == function.lookback, str(wanted)
        if not (reach.stages or reach.measured):
            assert wanted.candles == function.lookback + 1, str(wanted)


@pytest.mark.recorded
@pytest.mark.parametrize("file", RECORDED)
@pytest.mark.parametrize("group", list(GROUPS))
def test_recorded_candles_say_the_same(recorded: Path, file: str, group: str) -> None:
    """Minutes and hours of a busy market, and minutes of one in which the price stands still."""
    candles = recording(recorded / "candles" / f"{file}.csv.gz")
    length = len(candles["close"])
    for name in GROUPS[group]:
        for wanted in variants(name, count=1):
            for end in () if wanted.relative else (length, length - 3_333):
                assert off(wanted, candles, end) <= TOLERANCE, (str(wanted), end)


@pytest.mark.parametrize("name", sorted(MEASURED))
def test_what_was_measured_holds_at_many_ends_and_says_that_it_was(name: str) -> None:
    """No bound is known for these, so more looks are taken, at walks that were not measured."""
    for wanted in variants(name, count=1):
        assert "by measurement" in wanted.why
        for end in range(LENGTH - 20_000, LENGTH, 997):
            assert off(wanted, walk(2), end) <= TOLERANCE, (str(wanted), end)


N = st.integers(2, 200)
ANY, STOCHASTIC = st.sampled_from(KINDS), st.sampled_from(OF_STOCHASTICS)
MAIN = st.one_of(
    st.tuples(
        st.sampled_from(
            ["EMA", "RMA", "DEMA", "TEMA", "ZLEMA", "ATR", "NATR", "ERI", "EFI", "TRIX"]
        ),
        N,
    ),
    st.tuples(st.sampled_from(["ADX", "ADXR", "DX", "PLUS_DI", "MINUS_DI"]), st.integers(8, 100)),
    st.tuples(st.sampled_from(["RSI", "CMO"]), N),
    st.tuples(st.just("T3"), st.integers(2, 60), st.sampled_from([0.0, 0.5, 0.7, 1.0])),
    st.tuples(st.just("MA"), N, ANY),
    st.tuples(st.just("MACD"), N, N, N),
    st.tuples(st.just("MACDEXT"), N, ANY, N, ANY, N, ANY),
    st.tuples(st.sampled_from(["APO", "PPO"]), N, N, ANY),
    st.tuples(st.just("BBANDS"), N, st.just(2.0), st.just(2.0), ANY),
    st.tuples(st.just("KC"), N, N, st.sampled_from([1.0, 2.5])),
    st.tuples(st.just("STOCH"), N, N, STOCHASTIC, N, STOCHASTIC),
)


@settings(max_examples=60, deadline=None)
@given(MAIN, st.sampled_from([1, 2, 3]))
def test_any_parameters_of_the_main_indicators_hold(
    wanted: tuple[str, *tuple[Value, ...]], seed: int
) -> None:
    """A quotient whose input is calmer than promised for may be off by as much as it is calmer."""
    name, *values = wanted
    made = indicator(f"{name}({', '.join(map(str, values))})")
    allowed = TOLERANCE
    if name in {"RSI", "CMO"}:
        moves = np.abs(np.diff(newest(walk(seed), 10 * made.candles)["close"]))
        mean = talib.RMA(moves, timeperiod=values[0])[-1]
        allowed *= max(1.0, moves.max() / mean / CALM)

    assert off(made, walk(seed)) <= allowed


def before_and_after(lately: int, length: int) -> list[Columns]:
    """Return pasts as bad as can be, each calm in the newest `lately` candles."""
    at = np.arange(length)
    is_past = at < length - lately
    shake = np.where(at % 2, 0.05, -0.05)
    closes = {
        "step": np.where(is_past, 200.0, 100.0) + shake / 50,
        "rally": 100.0 + np.minimum(at, length - lately) + np.where(is_past, 0.0, shake / 10),
        "burst": 100.0 + np.where(is_past, 100.0, 1.0) * shake,
    }
    made = []
    for name, close in closes.items():
        wick = np.where(is_past & (name != "step"), 5.0, 0.05)
        opened = close - shake / 2.5
        volume = np.where(is_past & (name == "burst"), 100.0, 1.0)
        high, low = np.maximum(opened, close) + wick, np.minimum(opened, close) - wick
        columns = {"open": opened, "high": high, "low": low, "close": close, "volume": volume}
        made.append(columns)
    return made


RECURSIVE = [
    *("EMA(30)", "RMA(14)", "DEMA(30)", "TEMA(30)", "ZLEMA(30)", "KAMA(10)", "HA", "ERI", "KC"),
    *("MACD", "MACDFIX", "APO", "PPO", "PVO", "RSI(14)", "RSI(2)", "CMO", "DX", "ADX", "ADXR"),
    *("PLUS_DI", "MINUS_DI", "PLUS_DM", "MINUS_DM", "ATR(14)", "ATR(20)", "NATR", "KDJ"),
    *("STOCH(5, 3, EMA, 3, EMA)", "STOCHRSI", "TRIX", "TSI", "SMI", "ADOSC", "EFI", "CVI"),
    *("MASSI", "RVI", "BBANDS(20, 2, 2, EMA)", "BBANDS(20, 2, 2, TEMA)", "T3(20, 1)"),
]


@pytest.mark.parametrize("text", RECURSIVE)
def test_a_third_less_is_not_enough_for_what_smooths(text: str) -> None:
    """There are pasts of which it would still show something: so the number is not wasteful."""
    wanted = indicator(text)
    length, fewer = 3 * wanted.candles + 50, int(wanted.candles / 1.5)

    def shows(candles: Columns) -> bool:
        true = judge(wanted, candles)
        few = judge(wanted, newest(candles, fewer))
        return bool((np.abs(few - true) > TOLERANCE * scale(wanted, candles, true)).any())

    ends = range(fewer - 20, fewer + 2, 3)
    short = range(wanted.candles // 10, fewer, max(1, wanted.candles // 20))
    lately = chain(reversed(ends), short)
    assert any(shows(each) for few in lately if few > 0 for each in before_and_after(few, length))


def test_names_beyond_the_judge_need_what_they_look_at() -> None:
    """The candles themselves, changes, and the cloud that is drawn ahead."""
    wanted = {
        "HIGH(60)": 60,
        "VOLUME": 1,
        "VALUE(30)": 30,
        "LOWEST(20)": 20,
        "RETURNS": 2,
        "LOG_RETURNS(5)": 6,
        "ZSCORE(20)": 20,
        "CHOP(14)": 15,
        "VWAP(20)": 20,
        "ICHIMOKU": 78,
    }
    assert {text: indicator(text).candles for text in wanted} == wanted
    assert indicator("SMMA(9)").candles == indicator("RMA(9)").candles
    assert indicator("KELTNER").candles == indicator("KC").candles
    assert {name for name in RULES if indicator(name).relative} == RELATIVE
