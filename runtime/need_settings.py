"""What strategies need, in the settings: `[[strategies.NAME]]`, one table or several for each."""

from __future__ import annotations

import msgspec

from actors.errors import InvalidRequest
from runtime.names import printable
from runtime.setting_rules import SettingsError, checked_fields, named_tables, refused

STRATEGIES_MAX = 100
NEEDS_MAX = 1_000


class StrategyNeed(msgspec.Struct, frozen=True, kw_only=True):
    """What a strategy uses of one series; the fields are those of `DeclareNeed`.

    Attributes:
      market: The market.
      timeframe: The timeframe.
      indicators: What is computed from the candles, such as `ATR(20)`.
      history: How many candles it uses besides, or a length of time such as `90d`.
    """

    market: str
    timeframe: str
    indicators: tuple[str, ...] = ()
    history: int | str | None = None


class _Written(msgspec.Struct, frozen=True, kw_only=True):
    """One table, as it is written: `market`, or `markets` for the same of several."""

    market: str = ""
    markets: tuple[str, ...] = ()
    timeframe: str = ""
    indicators: tuple[str, ...] = ()
    history: int | str | None = None


def read_strategies(tables: object, *, origin: str) -> dict[str, tuple[StrategyNeed, ...]]:
    """Return what each strategy needs, by its name: one need for each market that is written.

    Args:
      tables: What stands below `strategies`.
      origin: Where it was written.

    Raises:
      SettingsError: A field is unknown or wrong, a series is named again, or there are more than
        `STRATEGIES_MAX` strategies or `NEEDS_MAX` needs of one.
    """
    found = {}
    for name, several in named_tables("strategies", tables, origin=origin).items():
        path = f"strategies.{name}"
        if not isinstance(several, list):
            raise refused(path, "tables such as [[strategies.NAME]]", several, origin)
        try:
            needs = [
                need
                for table in several
                for need in _needs(
                    name, _Written(**checked_fields(path, _Written, table, origin=origin))
                )
            ]
            _check_all(needs)
        except InvalidRequest as error:
            raise SettingsError(f"{printable(path, 120)}: {error} (from {origin})") from None
        found[name] = tuple(needs)
    if len(found) > STRATEGIES_MAX:
        raise SettingsError(
            f"strategies must be at most {STRATEGIES_MAX}, were {len(found)} (from {origin})"
        )
    return found


def _needs(name: str, written: _Written) -> list[StrategyNeed]:
    # Only here: whoever has no strategies need not wait for what reads them.
    from actors.preload_messages import DeclareNeed  # noqa: PLC0415
    from actors.preloading.needs import declared  # noqa: PLC0415

    if bool(written.market) == bool(written.markets):
        raise InvalidRequest("it must have either market or markets, and not both")
    found = []
    for market in written.markets or (written.market,):
        asked = DeclareNeed(
            market=market,
            timeframe=written.timeframe,
            indicators=written.indicators,
            history=written.history,
            strategy=name,
        )
        # Whatever the preloader would refuse is refused here, where it can be said which it is.
        need = declared(asked, now_ms=0)
        found.append(
            StrategyNeed(
                market=str(need.series.market),
                timeframe=need.series.timeframe.value,
                indicators=need.indicators,
                history=written.history,
            )
        )
    return found


def _check_all(needs: list[StrategyNeed]) -> None:
    if len(needs) > NEEDS_MAX:
        raise InvalidRequest(f"it may have at most {NEEDS_MAX} needs, had {len(needs)}")
    seen = set()
    for need in needs:
        series = (need.market, need.timeframe)
        if series in seen:
            raise InvalidRequest(f"{need.market} {need.timeframe} must be named once, was again")
        seen.add(series)
