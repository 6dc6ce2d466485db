"""The messages behind `market.need`, made from what a bot hands in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

from actors.errors import InvalidRequest
from actors.preload_messages import AwaitNeed, DeclareNeed, GetNeeds, ReleaseNeed
from actors.preload_reports import NeedReport
from actors.series import Series

if TYPE_CHECKING:
    # Only the texts of indicators are sent; a bot that names them as text need not wait for more.
    from actors.preloading.indicators import Indicator

What: TypeAlias = "Iterable[Indicator | str] | Series"
"""Indicators, as values of `runtime.indicators` or as text; or a series, with a history of it."""

# How long one wait at the runtime lasts, in seconds: for so long it goes on where the bot has given
# it up, as nothing tells the runtime so.
WAIT_S = 10.0
# How long it may take at the end to hear why a need is not ready, in seconds.
WHY_S = 2.0


def declare_request(
    what: What,
    *,
    market: str | None,
    timeframe: str | None,
    history: int | str | None,
    strategy: str,
) -> DeclareNeed:
    """Return the request.

    Raises:
      InvalidRequest: The series is named twice, or not at all, or something is of another type than
        it can be; the message says what was wanted.
    """
    if isinstance(what, Series):
        if market is not None or timeframe is not None:
            raise InvalidRequest(f"the series is {what} already: market and timeframe are too much")
        market, timeframe = str(what.market), what.timeframe.value
        what = ()
    if isinstance(what, str):
        # A text is an iterable of texts to Python, and never what was meant.
        raise InvalidRequest(f"indicators must be a list, such as [ATR(20)], was {what!r}")
    if not isinstance(what, Iterable):
        raise InvalidRequest(f"indicators must be a list, such as [ATR(20)], was {_shown(what)}")
    if market is None or timeframe is None:
        raise InvalidRequest("a need is of a series: give market and timeframe")
    for name, value in (("market", market), ("timeframe", timeframe), ("strategy", strategy)):
        if not isinstance(value, str):
            raise InvalidRequest(f"{name} must be text, was {_shown(value)}")
    if isinstance(history, bool) or not isinstance(history, int | str | None):
        raise InvalidRequest(
            "history must be a number of candles, or a length of time such as 90d; was "
            f"{_shown(history)}"
        )
    return DeclareNeed(
        market=market,
        timeframe=timeframe,
        indicators=tuple(str(each) for each in what),
        history=history,
        strategy=strategy,
    )


def _shown(value: object) -> str:
    return repr(value)[:60]


def not_ready(report: NeedReport, timeout_s: float) -> str:
    """Return that a need was not ready in time, in words.

    Args:
      report: How far it was then, or when that was heard last.
      timeout_s: How long it had.
    """
    because = f", because {report.missing}" if report.missing else ""
    return (
        f"{report.strategy}'s need of {report.market} {report.timeframe} was not ready within "
        f"{timeout_s:g} s: {report.covered} of {report.needed} candles{because}"
    )


def await_request(declared: DeclareNeed) -> AwaitNeed:
    """Return the request that is answered when a need is ready."""
    return AwaitNeed(
        market=declared.market, timeframe=declared.timeframe, strategy=declared.strategy
    )


def state_request(declared: DeclareNeed) -> GetNeeds:
    """Return the request for how far a need is."""
    return GetNeeds(
        market=declared.market, timeframe=declared.timeframe, strategy=declared.strategy
    )


def release_request(declared: DeclareNeed) -> ReleaseNeed:
    """Return the request that ends a need."""
    return ReleaseNeed(
        market=declared.market, timeframe=declared.timeframe, strategy=declared.strategy
    )
