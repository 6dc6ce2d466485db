"""Declared needs: who needs what of which series. Values and a book of them; times come in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import msgspec

from actors.errors import InvalidRequest, Overloaded
from actors.lengths import length_s
from actors.preload_messages import DeclareNeed
from actors.preloading.indicators import Need, indicator, need_of
from actors.queries import CANDLES_MAX, check_count
from actors.series import Series
from actors.timeframes import Timeframe

NEEDS_MAX = 5_000
INDICATORS_MAX = 100
MARGIN = 50

_NAME_MAX = 64


@dataclass(frozen=True, slots=True)
class Declared:
    """One strategy's need of one series.

    Attributes:
      strategy: Whose.
      series: Of what.
      indicators: What it computes, as text in the usual spelling.
      need: How many candles that takes.
      asked: As it was declared, to be declared again after a restart.
      declared_ms: When, in UTC milliseconds.
      kept: Whether it ends if it is not used; one of the configuration does not.
      used_ms: When its series was asked for in an earlier process; None if that is not known.
      since_s: When this process took it up, on `Clock.now_s`.
      last_s: When it was declared, or its series asked for in an earlier process, on the same
        clock: before it began, for what is older.
    """

    strategy: str
    series: Series
    indicators: tuple[str, ...]
    need: Need
    asked: DeclareNeed
    declared_ms: int
    kept: bool = True
    used_ms: int | None = None
    since_s: float = 0.0
    last_s: float = 0.0


class KeptNeed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A need as it is written down.

    Attributes:
      asked: As it was declared.
      declared_ms: When.
      used_ms: When its series was last asked for; None if never.
    """

    asked: DeclareNeed
    declared_ms: int
    used_ms: int | None = None


def declared(
    asked: DeclareNeed,
    *,
    now_ms: int,
    margin: int = MARGIN,
    page: int = 200,
    kept: bool = True,
    used_ms: int | None = None,
) -> Declared:
    """Return the need that `asked` declares.

    Args:
      asked: As it came.
      now_ms: The time.
      margin: Candles more than the indicators take.
      page: Candles in a page of the exchange.
      kept: Whether it ends if it is not used.
      used_ms: When its series was asked for in an earlier process; None if that is not known.

    Raises:
      InvalidRequest: Something in it cannot be; the message says what, and what was wanted.
    """
    series = Series.parse(asked.market, asked.timeframe)
    check_strategy(asked.strategy)
    if len(asked.indicators) > INDICATORS_MAX:
        raise InvalidRequest(
            f"indicators must be at most {INDICATORS_MAX}, were {len(asked.indicators)}"
        )
    indicators = [indicator(text) for text in asked.indicators]
    need = need_of(
        indicators,
        history=history_candles(asked.history, series.timeframe),
        margin=margin,
        page=page,
    )
    return Declared(
        strategy=asked.strategy,
        series=series,
        indicators=tuple(map(str, indicators)),
        need=need,
        asked=asked,
        declared_ms=now_ms,
        kept=kept,
        used_ms=used_ms,
    )


def check_strategy(name: str) -> None:
    """Raise `InvalidRequest` if that is no name for a strategy."""
    if not (0 < len(name) <= _NAME_MAX and name.isprintable() and name == name.strip()):
        raise InvalidRequest(
            "strategy must be a name of 1 to 64 printable characters, without space at its ends; "
            f"was {name[:80]!r}"
        )


def history_candles(history: int | str | None, timeframe: Timeframe) -> int:
    """Return how many candles a history is: a number of them, or a length of time like `90d`.

    Raises:
      InvalidRequest: It is neither, or more than 100000 candles.
    """
    if history is None:
        return 0
    if isinstance(history, str):
        try:
            seconds = length_s(history, name="history")
        except InvalidRequest:
            raise InvalidRequest(
                "history must be a number of candles, or a length of time such as 90d or 4h; was "
                f"{history[:40]!r}"
            ) from None
        history = -(-seconds * 1000 // timeframe.span_ms)
    return check_count(history, most=CANDLES_MAX, name="history, in candles,")


class NeedBook:
    """All needs of one exchange.

    Args:
      most: How many there may be; one more is `Overloaded`.

    Attributes:
      is_recalled: Whether what the last process kept is in it.
    """

    def __init__(self, most: int = NEEDS_MAX) -> None:
        self.is_recalled = False
        self._most = most
        # Of each series, by strategy: there may be thousands.
        self._needs: dict[Series, dict[str, Declared]] = {}
        self._size = 0

    def __iter__(self) -> Iterator[Declared]:
        """Return all needs."""
        return iter([need for of_one in self._needs.values() for need in of_one.values()])

    def __len__(self) -> int:
        """Return how many there are."""
        return self._size

    def put(self, need: Declared) -> None:
        """Take a need up, in place of what the same strategy needed of the same series."""
        if self.get(need.strategy, need.series) is None:
            if self._size >= self._most:
                raise Overloaded(
                    f"{self._most} needs are declared already, which is the most there are"
                )
            self._size += 1
        self._needs.setdefault(need.series, {})[need.strategy] = need

    def get(self, strategy: str, series: Series) -> Declared | None:
        """Return what a strategy needs of a series; None if nothing."""
        return self._needs.get(series, {}).get(strategy)

    def find(
        self, *, strategy: str = "", market: str = "", timeframe: str = ""
    ) -> tuple[Declared, ...]:
        """Return the needs of a strategy, a market, a timeframe; an empty text is any."""
        return tuple(
            need
            for need in self
            if strategy in ("", need.strategy)
            and market in ("", str(need.series.market))
            and timeframe in ("", need.series.timeframe.value)
        )

    def of(self, series: Series) -> tuple[Declared, ...]:
        """Return all needs of one series."""
        return tuple(self._needs.get(series, {}).values())

    def drop(self, needs: Iterable[Declared]) -> None:
        """Forget needs."""
        for need in needs:
            of_one = self._needs.get(need.series, {})
            if of_one.pop(need.strategy, None) is not None:
                self._size -= 1
            if not of_one:
                self._needs.pop(need.series, None)

    def sizes(self, series: Series) -> list[int]:
        """Return how many candles are needed of a series by one strategy or several; rising."""
        return sorted({need.need.candles for need in self.of(series)})

    def all_candles(self) -> dict[Series, int]:
        """Return how many candles are needed of each series."""
        return {series: self.sizes(series)[-1] for series in self._needs}

    def encode(self, used_ms: Callable[[Declared], int | None]) -> bytes:
        """Return what is to outlive the process: the needs that bots have declared.

        Args:
          used_ms: Returns when the series of a need was last asked for.
        """
        kept = [
            KeptNeed(asked=need.asked, declared_ms=need.declared_ms, used_ms=used_ms(need))
            for need in self
            if need.kept
        ]
        return msgspec.json.encode(kept)

    @staticmethod
    def decode(data: bytes) -> tuple[KeptNeed, ...]:
        """Return what was written down.

        Raises:
          ValueError: It is nothing that `encode` returned.
        """
        return msgspec.json.decode(data, type=tuple[KeptNeed, ...])
