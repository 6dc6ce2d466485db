"""Indicators by name, for what a strategy says it needs.

    from runtime.indicators import ATR, HIGH, MACD

    await market.need([ATR(20), HIGH(60), MACD(12, signalperiod=9)], market="KRW-BTC", ...)

Each name makes an `Indicator`: what it is, how many candles it needs, and why. Text does as well,
`"ATR(20)"`. `dir(runtime.indicators)` lists all names; they are TA-Lib's and a few more, see
`actors.preloading.indicator_table`.
"""

from __future__ import annotations

from collections.abc import Callable

from actors.preloading.indicators import (
    Indicator,
    indicator,
    indicator_names,
    names_near,
)

__all__ = ["Indicator", "indicator"]


def __getattr__(name: str) -> Callable[..., Indicator]:
    """Return what makes the indicator of that name.

    It takes the indicator's parameters in order or by name and raises `InvalidRequest` if they are
    not ones it can have.

    Raises:
      AttributeError: No indicator of that name is known; the message names near ones.
    """
    if name not in indicator_names():
        near = names_near(name)
        meant = f"; did you mean {' or '.join(near)}?" if near else ""
        raise AttributeError(f"module {__name__!r} has no indicator {name!r}{meant}", name=name)

    def make(*values: object, **named: object) -> Indicator:
        inside = [*map(str, values), *(f"{key}={value}" for key, value in named.items())]
        return indicator(f"{name}({', '.join(inside)})")

    make.__name__ = make.__qualname__ = name
    return make


def __dir__() -> list[str]:
    return [*__all__, *indicator_names()]
