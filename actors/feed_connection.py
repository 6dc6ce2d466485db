"""`Connection`: one open connection to an exchange's streams, from dialling to its end.

It sends the whole set of wanted streams whenever that has changed, asks whether the line is up,
ends when nothing at all is heard, and hands on whatever arrives. It does not begin anew by itself.

Error handling: what ends it is kept in `error`; nothing but a cancellation or a crash leaves `run`.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

import trio

from actors.errors import ExchangeError
from actors.exchanges.streams import StreamAdapter, StreamKey, StreamLost, StreamSocket
from actors.feed_tables import FeedPolicy
from runtime.core.clock import Clock
from runtime.core.errors import ActorError

# Many new wants become one text.
GATHER_S = 0.03
# Nothing is lost by hearing for a while what nobody wants any more.
GATHER_LESS_S = 2.0
# A line that is dead by the clock may have been heard, and not read yet, if we were held up.
_GRACE_S = 0.5
# How many frames are taken before other tasks have their turn.
_CHUNK = 128


class Gate(Protocol):
    """The way to an exchange's streams."""

    def open(self) -> AbstractAsyncContextManager[StreamSocket]:
        """Open a connection for as long as a block runs."""


@dataclass(frozen=True, slots=True)
class ConnectionParts:
    """What a connection needs.

    Attributes:
      gate: The way to the exchange.
      stream: The exchange's language.
      policy: How the line is kept.
      clock: Where time is read.
      spacing_s: The least time between two sets, so that no text has to wait for its turn.
      new_id: Makes the name of a request.
      wanted: Returns the whole set, with depths.
      sent: Called with the set when it was sent.
      take: Called with frames, with the moment they came, and with the connection.
    """

    gate: Gate
    stream: StreamAdapter
    policy: FeedPolicy
    clock: Clock
    spacing_s: float
    new_id: Callable[[], uuid.UUID]
    wanted: Callable[[], dict[StreamKey, int]]
    sent: Callable[[dict[StreamKey, int]], None]
    take: Callable[[list[bytes | str], float, Connection], None]


class Connection:
    """One connection. Used once.

    Attributes:
      opened: Set when it is open, or cannot be.
      ended: Set when it has ended, or could not be opened.
      error: What ended it; None if it was closed by us.
      opened_s: When it was opened; None if it was not.
      heard_s: When anything came last.
      has_told: Whether any frame came.
      unheard: Streams that it has to tell of before it can take over from another; None if it need
        not.
    """

    def __init__(self, parts: ConnectionParts) -> None:
        self.opened = trio.Event()
        self.ended = trio.Event()
        self.error: Exception | None = None
        self.opened_s: float | None = None
        self.heard_s = -math.inf
        self.has_told = False
        self.unheard: set[StreamKey] | None = None
        self.all_heard = trio.Event()
        self._parts = parts
        self._scope = trio.CancelScope()
        self._due_s = math.inf
        self._bell = trio.Event()
        self._sent: dict[StreamKey, int] = {}

    def ask(self, *, within_s: float) -> None:
        """Send the whole set within `within_s` seconds."""
        due_s = self._parts.clock.now_s() + within_s
        if due_s < self._due_s:
            self._due_s = due_s
            self._bell.set()

    def renew(self) -> None:
        """Send the whole set soon, though it may not have changed."""
        self._sent = {}
        self.ask(within_s=GATHER_S)

    def close(self) -> None:
        """End it; that is no error."""
        self._scope.cancel()

    async def run(self) -> None:
        """Open it and serve it until it ends."""
        try:
            with self._scope:
                async with self._parts.gate.open() as socket:
                    self.opened_s = self.heard_s = self._parts.clock.now_s()
                    self.opened.set()
                    async with trio.open_nursery() as nursery:
                        for task in (self._receive, self._send_sets, self._ping, self._listen):
                            nursery.start_soon(self._until_lost, task, socket, nursery.cancel_scope)
        except (ExchangeError, ActorError) as error:
            self._lose(error)
        finally:
            self.ended.set()
            self.opened.set()

    async def _until_lost(
        self,
        task: Callable[[StreamSocket], object],
        socket: StreamSocket,
        scope: trio.CancelScope,
    ) -> None:
        try:
            await task(socket)  # type: ignore[misc]
        except (ExchangeError, ActorError) as error:
            self._lose(error)
            scope.cancel()

    def _lose(self, error: Exception) -> None:
        # What comes after the first is its consequence.
        self.error = self.error or error

    # -------------------------------------------------------------- its tasks

    async def _receive(self, socket: StreamSocket) -> None:
        take, clock = self._parts.take, self._parts.clock
        while True:
            frames = await socket.receive()
            now_s = self.heard_s = clock.now_s()
            self.has_told = True
            for start in range(0, len(frames), _CHUNK):
                if start:
                    await trio.lowlevel.checkpoint()
                take(frames[start : start + _CHUNK], now_s, self)
            if self.unheard is not None and not self.unheard:
                self.all_heard.set()

    async def _send_sets(self, socket: StreamSocket) -> None:
        self.ask(within_s=0.0)
        while True:
            await self._wait_due()
            wanted = self._parts.wanted()
            if wanted and wanted != self._sent:
                text = self._parts.stream.subscribe(wanted, ticket=str(self._parts.new_id()))
                self._sent = wanted
                await socket.send(text)
                self._parts.sent(wanted)
                # What is wanted anew meanwhile goes into the next set, whole.
                await trio.sleep(self._parts.spacing_s)

    async def _wait_due(self) -> None:
        while True:
            self._bell = trio.Event()
            left_s = self._due_s - self._parts.clock.now_s()
            if left_s <= 0:
                self._due_s = math.inf
                return
            with trio.move_on_after(left_s):
                await self._bell.wait()

    async def _ping(self, socket: StreamSocket) -> None:
        while True:
            await trio.sleep(self._parts.policy.ping_s)
            await socket.send(self._parts.stream.ping())

    async def _listen(self, socket: StreamSocket) -> None:
        """End the connection when nothing was heard for too long."""
        del socket
        dead_s = self._parts.policy.dead_s
        while True:
            heard_s = self.heard_s
            await trio.sleep(max(0.0, heard_s + dead_s - self._parts.clock.now_s()))
            if self.heard_s != heard_s:
                continue
            await trio.sleep(_GRACE_S)
            if self.heard_s == heard_s:
                raise StreamLost(f"nothing was heard for {dead_s:g} s")
