"""`StreamGate`: the only way to an exchange's streams, and it leads past the rate limiter.

    open() -> permit -> connect -> give the permit back -> texts, within the connection's own limits

The limiter counts both: how often somebody may connect, by address, and how many texts each
connection may send.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import trio

from actors.errors import Overloaded
from actors.exchanges.permits import PermitDesk
from actors.exchanges.streams import OpenStream, StreamLost, StreamRules, StreamSocket
from actors.messages import Permit, Priority, ReleasePermit
from runtime.core.clock import Clock
from runtime.core.ref import ActorRef

# How long to wait for leave to connect. Nothing else waits in that group for long.
_PERMIT_TIMEOUT_S = 60.0
_OK = 200

# How long a text waits for its turn: what a full minute of texts takes, and some more.
_TEXT_TIMEOUT_S = 150.0
# Texts of one connection that wait for their turn. There are few: each names all that is wanted.
TEXTS_WAITING_MAX = 100


class StreamGate:
    """Open connections to one exchange, within its limits.

    Args:
      exchange: Its name, for errors.
      rules: What it demands.
      open_stream: What connects; from now on nobody else's. It gives up before the limiter takes
        the permit for lost (`SlotRules.lost_s`).
      limiter: The exchange's `RateLimiterActor`.
      clock: Where time is read.
    """

    def __init__(
        self,
        exchange: str,
        rules: StreamRules,
        open_stream: OpenStream,
        limiter: ActorRef,
        clock: Clock,
    ) -> None:
        self._exchange = exchange
        self._rules = rules
        self._open_stream = open_stream
        self._permits = PermitDesk(limiter, clock)
        self._clock = clock

    @asynccontextmanager
    async def open(self) -> AsyncIterator[GatedSocket]:
        """Open a connection for as long as the block runs.

        Raises:
          StreamLost: There is no connection.
          RateLimited: The limiter has no leave to connect to give; see `retry_after_s`.
          Overloaded: Too many wait for leave to connect already.
          ActorError: The limiter is not there.
        """
        permit = await self._permits.acquire(
            self._rules.connect_group,
            Priority.REPAIR,
            timeout_s=_PERMIT_TIMEOUT_S,
            about=f"{self._exchange}: connecting a stream",
        )
        async with AsyncExitStack() as connection:
            try:
                socket = await connection.enter_async_context(self._open_stream())
            except StreamLost as error:
                self._permits.give_back(_release(permit, error))
                await self._permits.pay_all_owed()
                raise
            except BaseException:
                # Cancelled in the middle: it may have arrived.
                self._permits.give_back(_release(permit, StreamLost("given up")))
                raise
            self._permits.give_back(_release(permit, None))
            await self._permits.pay_all_owed()
            # No other connection ever has this number; the limiter's lives count from its 40th bit.
            holder = f"{permit.id >> 40}.{permit.id & (1 << 40) - 1}"
            group = self._rules.message_group
            yield GatedSocket(self._exchange, socket, self._permits, group=group, holder=holder)


class GatedSocket:
    """A connection that never sends more texts than the exchange allows.

    One more than allowed waits for its turn; texts go out in the order in which they were sent. A
    connection tells nobody when a text has arrived, so each is given `SlotRules.transit_s` for its
    way. One that takes longer, on a line that stands still, may arrive together with later ones.

    Bound: `TEXTS_WAITING_MAX` texts wait.

    Args:
      exchange: The exchange's name, for errors.
      socket: The connection.
      permits: The way to the limiter.
      group: What texts count in.
      holder: Names this connection to the limiter.
    """

    def __init__(
        self, exchange: str, socket: StreamSocket, permits: PermitDesk, *, group: str, holder: str
    ) -> None:
        self._exchange = exchange
        self._socket = socket
        self._permits = permits
        self._group = group
        self._holder = holder
        self._turn = trio.StrictFIFOLock()

    async def send(self, text: str) -> None:
        """Send one text as soon as the limits allow it.

        Raises:
          StreamLost: The connection has ended.
          RateLimited: The exchange has blocked this address, or too many went before.
          Overloaded: Too many texts wait already.
          ActorError: The limiter is not there.
        """
        if self._turn.statistics().tasks_waiting >= TEXTS_WAITING_MAX:
            raise Overloaded(
                f"{self._exchange}: {TEXTS_WAITING_MAX} texts already wait for their turn on one "
                f"connection, which is the most that may"
            )
        async with self._turn:
            permit = await self._permits.acquire(
                self._group,
                Priority.REPAIR,
                timeout_s=_TEXT_TIMEOUT_S,
                about=f"{self._exchange}: a text to a stream",
                holder=self._holder,
            )
            try:
                await self._socket.send(text)
            finally:
                self._permits.give_back(ReleasePermit(permit=permit, sent=True, answered=False))

    async def receive(self) -> list[bytes | str]:
        """Return every frame that has arrived, at least one, waiting for the first.

        Raises:
          StreamLost: The connection has ended, and all frames were received.
          MalformedPayload: A frame is larger than any that makes sense.
        """
        return await self._socket.receive()

    async def ping(self) -> None:
        """Send a ping of the protocol: it is no text, and not counted.

        Raises:
          StreamLost: The connection has ended.
        """
        await self._socket.ping()


def _release(permit: Permit, error: StreamLost | None) -> ReleasePermit:
    """Return what to tell the limiter about an attempt to connect, None for one that succeeded."""
    if error is None:
        return ReleasePermit(permit=permit, sent=True, answered=True, status=_OK)
    return ReleasePermit(
        permit=permit,
        sent=error.sent,
        answered=bool(error.status),
        status=error.status,
        retry_after_s=error.retry_after_s,
    )
