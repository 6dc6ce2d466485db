"""How preloading is wired, assembled from the settings."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from actors.doors import ExchangeDoor
from actors.exchanges.base import ExchangeAdapter
from actors.keeper import BlobKeeper, MemoryKeeper
from actors.preload_messages import DeclareNeed
from actors.preloader import PreloaderActor, PreloadWorld
from actors.preloading.needs import NeedBook
from actors.preloading.policy import PreloadPolicy
from actors.preloading.uses import Uses
from actors.series import Market, Series
from runtime.blob_store import FileBlobKeeper
from runtime.config import Settings, SettingsError
from runtime.names import printable

_log = logging.getLogger("marketd.preloader")


@dataclass(frozen=True, slots=True)
class PreloadParts:
    """What outlives the PreloaderActor of one exchange.

    Attributes:
      needs: Keeps declared needs from one process to the next.
      habits: The same of habits.
      book: The needs.
      uses: What bots ask for.
    """

    needs: BlobKeeper
    habits: BlobKeeper
    book: NeedBook = field(default_factory=NeedBook)
    uses: Uses = field(default_factory=Uses)


def preload_parts(settings: Settings, folder: Path, exchange: str) -> PreloadParts | None:
    """Return what an exchange's preloading keeps; None if it is switched off.

    Args:
      settings: The settings: a store in memory keeps nothing, so neither does this.
      folder: The state folder.
      exchange: The exchange.

    Raises:
      SettingsError: A strategy needs a market of an exchange that is not served.
    """
    _check_served(settings)
    if not settings.preload.enabled:
        if settings.strategies:
            _log.warning("strategies of the settings are not heeded: preload.enabled is false")
        return None
    if settings.store.kind == "memory":
        return PreloadParts(MemoryKeeper(), MemoryKeeper())
    return PreloadParts(
        FileBlobKeeper(folder / f"{exchange}-needs.blob"),
        FileBlobKeeper(folder / f"{exchange}-habits.blob"),
    )


def preloader(
    settings: Settings,
    parts: PreloadParts,
    door: ExchangeDoor,
    adapter: ExchangeAdapter,
    spare: Callable[[], float],
) -> PreloaderActor:
    """Return the actor.

    Args:
      settings: The settings.
      parts: What outlives it.
      door: Its exchange.
      adapter: The exchange's language.
      spare: Returns what part of the limit for candles is unused, 0 to 1.
    """
    group = adapter.group_of("candle")
    policy = PreloadPolicy(
        learn=settings.preload.learn,
        margin=settings.preload.margin,
        keep_need_s=settings.preload.keep_need_s,
        page=adapter.rules.page_rows,
        requests=adapter.rules.limits[group].windows[0].requests,
        group=group,
        settle_s=door.policy.load.settle_s,
        rows=door.policy.load.rows_max,
        memory_bytes_max=door.policy.memory_bytes_max,
    )
    world = PreloadWorld(
        exchange=door.name,
        cache=door.cache,
        limiter=door.limiter,
        tables=door.tables,
        exchange_clock=door.exchange_clock,
        uses=parts.uses,
        hold=_no_stream if door.live is None else door.live.hold,
        heard_s=_not_heard if door.live is None else door.live.heard_s,
        spare=spare,
    )
    return PreloaderActor(
        world,
        policy,
        book=parts.book,
        configured=_configured(settings, door.name),
        need_keeper=parts.needs,
        habit_keeper=parts.habits,
    )


def _check_served(settings: Settings) -> None:
    exchanges = settings.exchanges
    served = [name for name in exchanges.__struct_fields__ if getattr(exchanges, name).enabled]
    for name, needs in settings.strategies.items():
        for need in needs:
            if Market.parse(need.market).exchange not in served:
                raise SettingsError(
                    f"strategies.{printable(name, 120)}: market must be one of an exchange that is "
                    f"served ({', '.join(served)}), was {need.market}"
                )


def _configured(settings: Settings, exchange: str) -> list[DeclareNeed]:
    return [
        DeclareNeed(
            market=need.market,
            timeframe=need.timeframe,
            indicators=need.indicators,
            history=need.history,
            strategy=name,
        )
        for name, needs in settings.strategies.items()
        for need in needs
        if Market.parse(need.market).exchange == exchange
    ]


def _no_stream(_: Series) -> AbstractContextManager[None]:
    return nullcontext()


def _not_heard(_: Series) -> None:
    return None
