"""From a strategy's indicators to the candles it needs.

    indicator("ATR(20)")      Indicator: name, parameters, candles, and why so many
    need_of(indicators)       Need: the widest of them, a margin, full pages

An indicator is said as text: its name in any case, and its parameters in order or by TA-Lib's names
for them; those left out have TA-Lib's defaults. `MACD`, `macd(12, 26)`, `BBANDS(20, matype=EMA)`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from actors.errors import InvalidRequest
from actors.preloading.indicator_reach import AVERAGES
from actors.preloading.indicator_table import RULES, Param, Rule
from actors.queries import CANDLES_MAX

# The longest there is, SAREXT with all its parameters by name and to the last digit, has 362.
TEXT_MAX = 400

_TEXT = re.compile(r"\s*(\w+)\s*(?:\((.*)\))?\s*", re.ASCII | re.DOTALL)
_ARGUMENT = re.compile(r"\s*(?:([A-Za-z_]\w*)\s*=)?\s*([\w.+-]+)\s*", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)

Value = int | float | str


@dataclass(frozen=True, slots=True)
class Indicator:
    """An indicator with its parameters, and the candles that make its newest value exact.

    Its text, `str(indicator)`, is read back by `indicator`.

    Attributes:
      name: Its name, in capitals.
      params: Names and values of all its parameters, in order; averages by name.
      candles: How many of the newest candles its newest value needs, from 1 to 100,000.
      why: Why so many, in one sentence.
      relative: Whether its level depends on where it begins, so that only its changes mean
        something; `candles` are then those of one change.
    """

    name: str
    params: tuple[tuple[str, Value], ...]
    candles: int
    why: str
    relative: bool = False

    def __str__(self) -> str:
        return _written(self.name, (value for _, value in self.params))


@dataclass(frozen=True, slots=True)
class Need:
    """How many candles are to be at hand.

    Attributes:
      exact: Those of the indicator that needs most; 0 without indicators.
      margin: What was added to them, as far as the bound on `candles` leaves room for it; 0 without
        indicators.
      candles: With the margin, the history asked for, and up to full pages; at most 100,000.
      widest: The indicator that needs most, the first of equals; None without indicators.
    """

    exact: int
    margin: int
    candles: int
    widest: Indicator | None


def indicator(text: str) -> Indicator:
    """Return the indicator that `text` says.

    Args:
      text: `ATR(20)`, `macd(12, signalperiod=9)`, `VOLUME`; at most 400 characters.

    Raises:
      InvalidRequest: It cannot be read, nothing of that name is known, a parameter is not one it
        has or can have, or it needs more than 100,000 candles; the message says what was wanted.
    """
    if len(text) > TEXT_MAX:
        raise InvalidRequest(
            f"an indicator must be at most {TEXT_MAX} characters, was {len(text)}: {text[:40]!r}..."
        )
    match = _TEXT.fullmatch(text)
    if match is None:
        raise InvalidRequest(f"an indicator must be like ATR(20) or VOLUME, was {text!r}")
    name, inside = match[1].upper(), (match[2] or "").strip()
    rule = _rule(name)
    values = _values(name, rule, inside.split(",") if inside else [])
    reach = rule.reach(*values)
    written = _written(name, values)
    if reach.candles > CANDLES_MAX:
        raise InvalidRequest(f"{written} needs more than {CANDLES_MAX} candles to be exact")
    params = tuple((param.name, value) for param, value in zip(rule.params, values, strict=True))
    return Indicator(name, params, reach.candles, reach.why, reach.is_relative)


def indicator_names() -> tuple[str, ...]:
    """Return every name that is known, in order."""
    return tuple(sorted(RULES))


def names_near(name: str) -> list[str]:
    """Return at most three known names that `name` may have been meant for, nearest first."""
    return difflib.get_close_matches(name.upper(), RULES, n=3)


def need_of(
    indicators: Iterable[Indicator], *, history: int = 0, margin: int = 50, page: int = 200
) -> Need:
    """Return how many candles a strategy needs.

    Args:
      indicators: What it computes.
      history: How many candles it uses besides; not added to, but the least there will be.
      margin: Candles beyond those of the widest indicator.
      page: Candles in a page of the exchange; the need is filled up to full ones, at least one.

    Returns:
      At most 100,000 candles: beyond it first the rest of the page and then the margin give way.

    Raises:
      InvalidRequest: A number is out of its bounds.
    """
    for name, value, least in (("history", history, 0), ("margin", margin, 0), ("page", page, 1)):
        if not least <= value <= CANDLES_MAX:
            raise InvalidRequest(f"{name} must be {least} to {CANDLES_MAX} candles, was {value}")
    widest = max(indicators, key=lambda each: each.candles, default=None)
    exact = 0 if widest is None else widest.candles
    added = 0 if widest is None else margin
    pages = max(1, -(-max(exact + added, history) // page))
    candles = min(pages * page, CANDLES_MAX)
    return Need(exact, min(added, candles - exact), candles, widest)


def _rule(name: str) -> Rule:
    rule = RULES.get(name)
    if rule is None:
        near = names_near(name)
        meant = f", did you mean {' or '.join(near)}?" if near else "."
        known = " ".join(indicator_names())
        raise InvalidRequest(f"no indicator {name!r} is known{meant} Known are: {known}")
    return rule


def _values(name: str, rule: Rule, arguments: list[str]) -> list[Value]:
    """Return the value of each parameter, read from `arguments` or its default."""
    given: dict[str, Value] = {}
    by_name = {param.name: param for param in rule.params}
    is_named = False
    for at, argument in enumerate(arguments):
        match = _ARGUMENT.fullmatch(argument)
        if match is None:
            raise InvalidRequest(f"{_usage(name, rule)}: {argument.strip()!r} is not a value")
        is_named = is_named or match[1] is not None
        if is_named and match[1] is None:
            raise InvalidRequest(f"{_usage(name, rule)}: {match[2]} must be named too")
        if not is_named and at >= len(rule.params):
            raise InvalidRequest(
                f"{_usage(name, rule)}: takes {len(rule.params)}, there were {len(arguments)}"
            )
        key = match[1].lower() if is_named else rule.params[at].name
        if key not in by_name:
            raise InvalidRequest(f"{_usage(name, rule)}: has no {key}")
        if key in given:
            raise InvalidRequest(f"{_usage(name, rule)}: {key} is given twice")
        given[key] = _value(name, by_name[key], match[2])
    return [given.get(param.name, param.default) for param in rule.params]


def _value(name: str, param: Param, text: str) -> Value:
    if param.kind == "average":
        for kind, (number, _) in AVERAGES.items():
            if text.upper() in {kind, str(number)}:
                return kind
        wanted = " ".join(f"{kind}={number}" for kind, (number, _) in AVERAGES.items())
        raise InvalidRequest(f"{name}: {param.name} must be one of {wanted}, was {text}")
    is_whole = param.kind == "whole"
    if (_WHOLE if is_whole else _NUMBER).fullmatch(text):
        value: int | float = int(text) if is_whole else float(text)
        if param.least <= value <= param.most:
            return value
    wanted = "a whole number" if is_whole else "a number"
    raise InvalidRequest(
        f"{name}: {param.name} must be {wanted} from {param.least:g} to {param.most:g}, was {text}"
    )


def _usage(name: str, rule: Rule) -> str:
    return f"{name}({', '.join(f'{param.name}={_shown(param.default)}' for param in rule.params)})"


def _written(name: str, values: Iterable[Value]) -> str:
    inside = ", ".join(_shown(value) for value in values)
    return f"{name}({inside})" if inside else name


def _shown(value: Value) -> str:
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)
