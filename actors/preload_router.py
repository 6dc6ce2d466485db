"""`PreloadRouter`: the door for every question about needs and preloading. Plain code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actors.doors import ExchangeDoor
from actors.errors import InvalidRequest, UnknownNeed
from actors.preload_messages import (
    PRELOAD_METHODS,
    AwaitNeed,
    DeclareNeed,
    ExplainPreload,
    GetNeeds,
    GetPreload,
    ReleaseNeed,
)
from actors.preload_reports import Explanation, Released
from actors.preloading.needs import check_strategy, declared
from actors.series import Market
from actors.timeframes import Timeframe
from runtime.core.message import Request
from runtime.core.ref import ActorRef

_KINDS = tuple(PRELOAD_METHODS.values())


class PreloadRouter:
    """Answers every request of `actors.preload_messages.PRELOAD_METHODS`.

    Args:
      doors: One for each exchange.
    """

    def __init__(self, doors: Sequence[ExchangeDoor]) -> None:
        self._preloaders = {door.name: door.preloader for door in doors}

    @staticmethod
    def knows(request: Request[Any]) -> bool:
        """Return whether `request` is one of those answered here."""
        return isinstance(request, _KINDS)

    def validate(self, request: Request[Any]) -> None:
        """Raise the error that `request` would meet before anything is done for it."""
        match request:
            case DeclareNeed():
                declared(request, now_ms=0)
                self._of(request.market)
            case AwaitNeed():
                check_strategy(request.strategy)
                Timeframe.parse(request.timeframe)
                self._of(request.market)
            case GetNeeds() | ReleaseNeed() | ExplainPreload():
                if request.market:
                    self._of(request.market)
                if request.timeframe:
                    Timeframe.parse(request.timeframe)
                self._all()
            case _:
                self._all()

    async def answer(self, request: Request[Any], *, timeout_s: float) -> Any:
        """Return the answer to `request`.

        Raises:
          DomainError: The answer is an error; `actors.errors` has the tree of them.
          ActorError: No answer came: too late, or the actor was restarted meanwhile.
        """
        self.validate(request)
        match request:
            case DeclareNeed(market=market) | AwaitNeed(market=market):
                return await self._of(market).call(request, timeout_s=timeout_s)
            case ReleaseNeed():
                return await self._release(request, timeout_s)
            case GetNeeds() | ExplainPreload() if request.market:
                return await self._of(request.market).call(request, timeout_s=timeout_s)
            case _:
                return await self._gather(request, timeout_s)

    async def _release(self, request: ReleaseNeed, timeout_s: float) -> Released:
        preloaders = [self._of(request.market)] if request.market else self._all()
        ended, unknown = 0, None
        for preloader in preloaders:
            try:
                released: Released = await preloader.call(request, timeout_s=timeout_s)
            except UnknownNeed as error:
                unknown = error
            else:
                ended += released.needs
        if not ended and unknown is not None:
            raise unknown
        return Released(needs=ended)

    async def _gather(self, request: Request[Any], timeout_s: float) -> Any:
        answers = [await each.call(request, timeout_s=timeout_s) for each in self._all()]
        if isinstance(request, GetNeeds | GetPreload):
            return tuple(report for answer in answers for report in answer)
        return Explanation(sentences=tuple(text for a in answers for text in a.sentences))

    def _of(self, market: str) -> ActorRef:
        exchange = Market.parse(market).exchange
        if exchange not in self._preloaders:
            known = ", ".join(self._preloaders) or "none"
            raise InvalidRequest(f"no exchange called {exchange!r} is configured; there is {known}")
        return self._there(exchange, self._preloaders[exchange])

    def _all(self) -> list[ActorRef]:
        return [self._there(name, each) for name, each in self._preloaders.items()]

    def _there(self, exchange: str, preloader: ActorRef | None) -> ActorRef:
        if preloader is None:
            raise InvalidRequest(
                f"preloading of {exchange} is switched off: preload.enabled is false"
            )
        return preloader
