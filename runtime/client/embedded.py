"""`EmbeddedClient`: the runtime inside the bot's own process; the same names as over the socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, TypeVar

from actors.candles import Candles
from actors.errors import InvalidRequest
from actors.messages import Subscribe
from actors.updates import MarketUpdate
from runtime.client.base import AsyncClient, Updates
from runtime.client.requests import TIMEOUT_S, Keep, Kind, Time, check_time, subscribe_request
from runtime.core.message import Request
from runtime.messages import Stop

T = TypeVar("T")


class EmbeddedClient(AsyncClient):
    """Asks the runtime in this process. Made by `open_runtime`.

    Candles that memory has fresh are returned without a task switch.

    Args:
      answer: Answers any message within a number of seconds.
      from_memory: Returns the newest candles if memory has them fresh.
      subscribe: Opens a subscription for as long as a block runs.
    """

    def __init__(
        self,
        answer: Callable[[Request[Any], float], Awaitable[Any]],
        from_memory: Callable[[str, str, int], Candles | None],
        subscribe: Callable[[Subscribe], AbstractAsyncContextManager[AsyncIterator[MarketUpdate]]],
    ) -> None:
        self._answer = answer
        self._from_memory = from_memory
        self._subscribe = subscribe

    async def ask(self, message: Request[T], timeout_s: float = TIMEOUT_S) -> T:
        """Return the answer to any message; errors as in `AsyncClient.ask`."""
        if isinstance(message, Stop):
            raise InvalidRequest("an embedded runtime stops when its `async with` block ends")
        check_time(message, timeout_s)
        answer: T = await self._answer(message, timeout_s)
        return answer

    async def candles(
        self,
        market: str,
        timeframe: str = "1m",
        count: int | None = None,
        *,
        start: Time | None = None,
        end: Time | None = None,
        closed: bool = False,
        max_age_s: float | None = None,
        allow_stale: bool = False,
        fill: Literal["none", "flat"] = "none",
        timeout_s: float = TIMEOUT_S,
    ) -> Candles:
        """Return candles, oldest first; see `AsyncClient.candles`."""
        if start is None and end is None and max_age_s is None and not closed and fill == "none":
            # The usual question, answered without even making a message of it.
            answer = self._from_memory(market, timeframe, 200 if count is None else count)
            if answer is not None:
                return answer
        return await super().candles(
            market,
            timeframe,
            count,
            start=start,
            end=end,
            closed=closed,
            max_age_s=max_age_s,
            allow_stale=allow_stale,
            fill=fill,
            timeout_s=timeout_s,
        )

    def subscribe(
        self,
        kind: Kind,
        *markets: str,
        timeframe: str = "1m",
        closed: bool = False,
        depth: int = 15,
        keep: Keep = "auto",
        capacity: int = 1_000,
        timeout_s: float = TIMEOUT_S,
    ) -> Updates:
        """Be told as it happens; see `AsyncClient.subscribe`."""
        request = subscribe_request(
            kind,
            markets,
            timeframe=timeframe,
            closed=closed,
            depth=depth,
            keep=keep,
            capacity=capacity,
        )
        # What takes time in this process has a bound of its own.
        del timeout_s
        return self._subscribe(request)
