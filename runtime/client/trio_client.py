"""A client for bots on trio: many requests at once over one connection.

    async with open_client() as market:
        candles = await market.candles("KRW-BTC", "1m", 200)

It connects when it is first asked, and again by itself after the runtime was restarted. Bots on
asyncio use the blocking client with `asyncio.to_thread`.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import trio

from actors.messages import GetCandles
from actors.outcomes import in_doubt
from runtime.client.answers import Answer, AnswerParser, connection_error, encode_call
from runtime.client.base import AsyncClient, Updates
from runtime.client.requests import TIMEOUT_S, Keep, Kind, check_time, subscribe_request
from runtime.client.trio_updates import open_updates
from runtime.config import load_settings
from runtime.core.errors import CallTimeout
from runtime.core.message import Request
from runtime.messages import SENT_ONCE
from runtime.paths import socket_path
from runtime.transport import unreachable
from runtime.transport_trio import connect_trio
from runtime.wire import result_from_wire
from runtime.wire_errors import error_from_wire

T = TypeVar("T")

Dial = Callable[[], Awaitable[trio.abc.Stream]]

_RECEIVE_BYTES = 65_536


@asynccontextmanager
async def open_client(
    socket: str | os.PathLike[str] | None = None, *, dial: Dial | None = None
) -> AsyncIterator[TrioClient]:
    """Run a client of the runtime on this machine for as long as the block runs.

    Args:
      socket: Path of its socket; the one that the settings name if None.
      dial: Makes a connection in another way; for tests without a network.

    Raises:
      SettingsError: The settings are wrong.
    """
    path = socket_path(load_settings(), socket)
    error: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            yield TrioClient(path, nursery, dial or (lambda: connect_trio(path)))
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        [error] = group.exceptions
    # That there is a nursery is our own affair: the bot's error leaves the block as it was raised.
    if error is not None:
        raise error


class TrioClient(AsyncClient):
    """Asks the runtime over its local socket; made by `open_client`.

    State: one connection, made when needed, and who waits for which answer on it.

    Args:
      path: The runtime's socket, for errors.
      nursery: Where the task that reads answers lives.
      dial: Makes a connection.
    """

    def __init__(self, path: Path, nursery: trio.Nursery, dial: Dial) -> None:
        self._path = path
        self._nursery = nursery
        self._dial = dial
        self._line: _Line | None = None
        self._dialling = trio.Lock()

    async def ask(self, message: Request[T], timeout_s: float = TIMEOUT_S) -> T:
        """Return the answer to any message, within `timeout_s` seconds.

        Raises:
          DomainError: The answer is an error: of the request, the exchange or the store.
          ActorError: The runtime did not come to an answer.
          CallTimeout: It took too long.
          RuntimeUnreachable: No runtime could be reached, or it went away with the request.
        """
        check_time(message, timeout_s)
        with trio.move_on_after(timeout_s):
            answer = await self._ask_twice(message, timeout_s)
            if answer.error is not None:
                raise error_from_wire(answer.error)
            value: T = result_from_wire(message, answer.result, answer.payload)
            return value
        kind = type(message).__name__
        raise in_doubt(message, CallTimeout(f"no answer to {kind} within {timeout_s:g} s"))

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
        return open_updates(self._path, self._dial, request, timeout_s=timeout_s)

    async def _ask_twice(self, message: Request[Any], timeout_s: float) -> Answer:
        """Ask; and once more if the runtime went away before it said a word to this request."""
        try:
            return await (await self._connected()).ask(message, timeout_s)
        except _LineLost as lost:
            # What changes something may have been done; the rest only reads.
            if isinstance(message, SENT_ONCE):
                raise in_doubt(message, unreachable(self._path, lost)) from lost
        try:
            return await (await self._connected()).ask(message, timeout_s)
        except _LineLost as lost:
            raise unreachable(self._path, lost) from lost

    async def _connected(self) -> _Line:
        async with self._dialling:
            if self._line is None or self._line.lost is not None:
                self._line = _Line(await self._dial())
                self._nursery.start_soon(self._line.read)
            return self._line


class _LineLost(Exception):
    """The connection ended before the answer came."""


class _Waiting:
    """One request that waits for its answer."""

    __slots__ = ("answer", "come", "error")

    def __init__(self) -> None:
        self.come = trio.Event()
        self.answer: Answer | None = None
        self.error: Exception | None = None


class _Line:
    """One connection, with the requests that wait for answers on it.

    Attributes:
      lost: Why it is of no use any more; None as long as it is.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.lost: Exception | None = None
        self._stream = stream
        self._parser = AnswerParser()
        self._sending = trio.Lock()
        self._waiting: dict[int, _Waiting] = {}
        self._last_id = 0

    async def ask(self, message: Request[Any], timeout_s: float) -> Answer:
        """Send `message` and return what comes back for it.

        Raises:
          _LineLost: The connection ended before that.
        """
        self._last_id += 1
        request_id, waiting = self._last_id, _Waiting()
        packed = isinstance(message, GetCandles)
        line = encode_call(request_id, message, packed=packed, timeout_s=timeout_s)
        self._waiting[request_id] = waiting
        try:
            async with self._sending:
                await self._send(line)
            await waiting.come.wait()
        finally:
            # An answer that comes after all has nobody to go to and is dropped.
            del self._waiting[request_id]
        if waiting.answer is None:
            raise waiting.error or _LineLost("the connection ended")
        return waiting.answer

    async def read(self) -> None:
        """Hand out answers until the connection ends."""
        try:
            async with self._stream:
                while data := await self._stream.receive_some(_RECEIVE_BYTES):
                    self._parser.feed(data)
                    self._hand_out()
            self.lose(_LineLost("it closed the connection"))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.lose(_LineLost("the connection broke"))
        except Exception as error:  # noqa: BLE001 - not an answer, or "too many connections"
            self.lose(error)
        finally:
            self.lose(_LineLost("the client was closed"))

    def lose(self, reason: Exception) -> None:
        """Give up on the connection and tell everybody who waits."""
        self.lost = self.lost or reason
        for waiting in self._waiting.values():
            waiting.error = waiting.error or self.lost
            waiting.come.set()

    async def _send(self, line: bytes) -> None:
        if self.lost is not None:
            raise _LineLost(str(self.lost)) from self.lost
        # A cancellation that is already there must not cost the others their connection.
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            await self._stream.send_all(line)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            # What the runtime said last, such as why it closed, may still be there to read: the
            # reader finds it, or the end, and tells everybody who waits.
            return
        except BaseException:
            # Part of a line may be out, so nothing sensible can follow it.
            self.lose(_LineLost("a request was cut short"))
            await trio.aclose_forcefully(self._stream)
            raise

    def _hand_out(self) -> None:
        while (answer := self._parser.next()) is not None:
            if answer.id is None:
                raise connection_error(answer)
            waiting = self._waiting.get(answer.id) if isinstance(answer.id, int) else None
            if waiting is not None and waiting.answer is None:
                waiting.answer = answer
                waiting.come.set()
