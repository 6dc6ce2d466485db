"""`StreamGate`: the only way to an exchange's streams, and it leads past the rate limiter.

    open() -> permit -> connect -> give the permit back -> texts, within the connection's own limits

How often somebody may connect is counted by address, for all connections together, so the limiter
counts it. How many texts a connection may send is counted for each alone, and ends with it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import trio

from actors.errors import Overloaded
from actors.exchanges.base import RateLimit
from actors.exchanges.permits import PermitDesk
from actors.exchanges.streams import OpenStream, StreamLost, StreamRules, StreamSocket
from actors.messages import Permit, Priority, ReleasePermit
from actors.slots import GroupLedger, SlotRules
from runtime.core.clock import Clock
from runtime.core.ref import ActorRef

# How long to wait for leave to connect. Nothing else waits in that group for long.
_PERMIT_TIMEOUT_S = 60.0
_OK = 200

# Texts of one connection that wait for their turn. There are few: each names all that is wanted.
TEXTS_WAITING_MAX = 100
# No sleep is shorter: a moment that rounding puts just ahead would be waited for in a circle.
_SLEEP_S_MIN = 0.001


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
            yield GatedSocket(self._exchange, socket, self._rules.message_limits, self._clock)


class GatedSocket:
    """A connection that never sends more texts than the exchange allows.

    One more than allowed waits for its turn; texts go out in the order in which they were sent. A
    connection tells nobody when a text has arrived, so each is given `SlotRules.transit_s` for its
    way. One that takes longer, on a line that stands still, may arrive together with later ones.

    Bound: `TEXTS_WAITING_MAX` texts wait.

    Args:
      exchange: The exchange's name, for errors.
      socket: The connection.
      limits: What it may send: all of them hold.
      clock: Where time is read.
    """

    def __init__(
        self, exchange: str, socket: StreamSocket, limits: Sequence[RateLimit], clock: Clock
    ) -> None:
        self._exchange = exchange
        self._socket = socket
        self._clock = clock
        self._ledgers = [GroupLedger(limit, SlotRules()) for limit in limits]
        self._turn = trio.StrictFIFOLock()
        self._texts = 0

    async def send(self, text: str) -> None:
        """Send one text as soon as the limits allow it.

        Raises:
          StreamLost: The connection has ended.
          Overloaded: Too many texts wait already.
        """
        if self._turn.statistics().tasks_waiting >= TEXTS_WAITING_MAX:
            raise Overloaded(
                f"{self._exchange}: {TEXTS_WAITING_MAX} texts already wait for their turn on one "
                f"connection, which is the most that may"
            )
        async with self._turn:
            while (wait_s := self._wait_s()) > 0:  # noqa: ASYNC110 - it is time that is waited for
                await trio.sleep(max(wait_s, _SLEEP_S_MIN))
            self._texts += 1
            for ledger in self._ledgers:
                ledger.grant(self._texts, self._clock.now_s())
            try:
                await self._socket.send(text)
            finally:
                for ledger in self._ledgers:
                    ledger.settle(self._texts, self._clock.now_s(), sent=True, answered=False)

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

    def _wait_s(self) -> float:
        now_s = self._clock.now_s()
        moments = (ledger.next_change_s(now_s) for ledger in self._ledgers)
        return max(moments, default=now_s) - now_s


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
