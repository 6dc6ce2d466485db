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
                for need in _needs(_Written(**checked_fields(path, _Written, table, origin=origin)))
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


def _needs(written: _Written) -> list[StrategyNeed]:
    # Only here: whoever has no strategies need not wait for what reads them.
    from actors.lengths import length_s  # noqa: PLC0415
    from actors.preloading.indicators import indicator  # noqa: PLC0415
    from actors.queries import CANDLES_MAX, check_count  # noqa: PLC0415
    from actors.series import Series  # noqa: PLC0415

    if bool(written.market) == bool(written.markets):
        raise InvalidRequest("it must have either market or markets, and not both")
    if isinstance(written.history, int):
        check_count(written.history, most=CANDLES_MAX, name="history")
    elif written.history is not None:
        length_s(written.history, name="history")
    indicators = tuple(str(indicator(text)) for text in written.indicators)
    markets = written.markets or (written.market,)
    series = [Series.parse(market, written.timeframe) for market in markets]
    return [
        StrategyNeed(
            market=str(each.market),
            timeframe=each.timeframe.value,
            indicators=indicators,
            history=written.history,
        )
        for each in series
    ]


def _check_all(needs: list[StrategyNeed]) -> None:
    if len(needs) > NEEDS_MAX:
        raise InvalidRequest(f"it may have at most {NEEDS_MAX} needs, had {len(needs)}")
    seen = set()
    for need in needs:
        series = (need.market, need.timeframe)
        if series in seen:
            raise InvalidRequest(f"{need.market} {need.timeframe} must be named once, was again")
        seen.add(series)
