"""A subscription on trio: a connection of its own, read in the bot's task as the bot reads.

What is not read stays with the runtime, which keeps of it what the subscription says; so a bot that
pauses slows nobody, not even its own other requests, and needs no memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import trio

from actors.messages import Subscribe
from actors.updates import MarketUpdate, Missed
from runtime.client.answers import AnswerParser, encode_call, read_subscribed, read_updates
from runtime.client.blocking_updates import RETRY_S
from runtime.core.errors import CallTimeout
from runtime.transport import RuntimeUnreachable, unreachable
from runtime.wire_errors import error_from_wire

_RECEIVE_BYTES = 65_536

# What a connection that has ended shows itself by.
_LOST = (trio.BrokenResourceError, trio.ClosedResourceError, ConnectionResetError)


@asynccontextmanager
async def open_updates(
    path: Path,
    dial: Callable[[], Awaitable[trio.abc.Stream]],
    request: Subscribe,
    *,
    timeout_s: float,
) -> AsyncIterator[TrioUpdates]:
    """Be told what `request` asks for as long as the block runs.

    Args:
      path: The runtime's socket, for errors.
      dial: Makes a connection.
      request: What to be told.
      timeout_s: How long to wait for it to begin, in seconds; again after each restart.

    Raises:
      DomainError: The answer is an error.
      CallTimeout: It took too long.
      RuntimeUnreachable: No runtime could be reached.
    """
    updates = TrioUpdates(path, dial, request, timeout_s=timeout_s)
    try:
        await updates.begin()
        yield updates
    finally:
        await updates.end()


class TrioUpdates:
    """Updates of one subscription, one after the other, for one reader.

    State: one connection, or none while the runtime is away. Arguments as of `open_updates`.
    """

    def __init__(
        self,
        path: Path,
        dial: Callable[[], Awaitable[trio.abc.Stream]],
        request: Subscribe,
        *,
        timeout_s: float,
    ) -> None:
        self._path = path
        self._dial = dial
        self._request = request
        self._timeout_s = timeout_s
        self._stream: trio.abc.Stream | None = None
        self._parser = AnswerParser()
        self._subscription = 0
        self._updates: deque[MarketUpdate] = deque()
        self._ended = False

    def __aiter__(self) -> Self:
        """Iterate over updates until the block ends."""
        return self

    async def __anext__(self) -> MarketUpdate:
        """Return the next update, waiting for it.

        Raises:
          RuntimeUnreachable: The runtime went away and did not come back in time.
          RemoteError: What came is no update.
        """
        if self._updates:
            await trio.lowlevel.checkpoint()
        while not self._updates:
            if self._ended:
                raise StopAsyncIteration
            if self._stream is None:
                await self._find_again()
            else:
                await self._read(self._stream)
        return self._updates.popleft()

    async def begin(self) -> None:
        """Connect and subscribe."""
        with trio.move_on_after(self._timeout_s):
            await self._open()
            return
        raise CallTimeout(f"no answer to Subscribe within {self._timeout_s:g} s")

    async def end(self) -> None:
        """Disconnect."""
        self._ended = True
        self._updates.clear()
        await self._drop()

    async def _read(self, stream: trio.abc.Stream) -> None:
        try:
            await self._receive(stream)
        except _LOST:
            await self._drop()
            return
        while (answer := self._parser.next()) is not None:
            if answer.error is not None:
                raise error_from_wire(answer.error)
            self._updates.extend(read_updates(answer, self._subscription))

    async def _find_again(self) -> None:
        """Subscribe anew after the connection was lost, trying until it works or time is over."""
        lost: Exception | None = None
        with trio.move_on_after(self._timeout_s):
            while True:
                try:
                    await self._open()
                except RuntimeUnreachable as error:
                    lost = error
                else:
                    self._updates.appendleft(Missed(count=None, why="reconnected"))
                    return
                await trio.sleep(RETRY_S)
        if lost is not None:
            raise lost
        raise CallTimeout(f"no answer to Subscribe within {self._timeout_s:g} s")

    async def _open(self) -> None:
        self._parser = AnswerParser()
        stream = await self._dial()
        try:
            await stream.send_all(encode_call(1, self._request, timeout_s=self._timeout_s))
            while (answer := self._parser.next()) is None:
                await self._receive(stream)
            self._subscription = read_subscribed(self._request, answer)
        except _LOST as error:
            await trio.aclose_forcefully(stream)
            raise unreachable(self._path, ConnectionResetError(str(error))) from error
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        self._stream = stream
        # What came with the answer is there already, and nothing need be received first.
        while (answer := self._parser.next()) is not None:
            self._updates.extend(read_updates(answer, self._subscription))

    async def _receive(self, stream: trio.abc.Stream) -> None:
        data = await stream.receive_some(_RECEIVE_BYTES)
        if not data:
            raise ConnectionResetError("it closed the connection")
        self._parser.feed(data)

    async def _drop(self) -> None:
        if self._stream is not None:
            stream, self._stream = self._stream, None
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)
