"""The messages behind `market.need`, made from what a bot hands in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

from actors.errors import InvalidRequest
from actors.preload_messages import AwaitNeed, DeclareNeed, GetNeeds, ReleaseNeed
from actors.series import Series

if TYPE_CHECKING:
    # Only the texts of indicators are sent; a bot that names them as text need not wait for more.
    from actors.preloading.indicators import Indicator

What: TypeAlias = "Iterable[Indicator | str] | Series"
"""Indicators, as values of `runtime.indicators` or as text; or a series, with a history of it."""

# How long one wait at the runtime lasts, in seconds; it works no longer on one request.
WAIT_S = 60.0


def declare_request(
    what: What,
    *,
    market: str | None,
    timeframe: str | None,
    history: int | str | None,
    strategy: str,
) -> DeclareNeed:
    """Return the request; raises `InvalidRequest` if the series is named twice, or not at all."""
    if isinstance(what, Series):
        if market is not None or timeframe is not None:
            raise InvalidRequest(f"the series is {what} already: market and timeframe are too much")
        market, timeframe = str(what.market), what.timeframe.value
        what = ()
    if isinstance(what, str):
        # A text is an iterable of texts to Python, and never what was meant.
        raise InvalidRequest(f"indicators must be a list, such as [ATR(20)], was {what!r}")
    if market is None or timeframe is None:
        raise InvalidRequest("a need is of a series: give market and timeframe")
    if isinstance(history, bool) or not isinstance(history, int | str | None):
        raise InvalidRequest(
            "history must be a number of candles, or a length of time such as 90d; was "
            f"{str(history)[:60]!r}"
        )
    return DeclareNeed(
        market=market,
        timeframe=timeframe,
        indicators=tuple(str(each) for each in what),
        history=history,
        strategy=strategy,
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
