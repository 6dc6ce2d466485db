"""The sandbox exchange's streams inside the process: no socket, no task, any clock.

A connection is worked out when somebody receives from it. So on fake time it costs nothing to
wait, and a run is the same whenever its seeds and its clients' acts are.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import trio

from actors.exchanges.streams import StreamLost, StreamSocket
from actors.sandbox.exchange import SandboxExchange
from actors.sandbox.stream import FRAMES_A_STEP, Frame, StreamSession
from actors.sandbox.stream_desk import ConnectRefused

SLOW_S = 30.0
# Sums of moments are rounded: a wait that ends this much later ends after what is waited for.
_ROUNDING_S = 1e-6


class SandboxStreams:
    """Open connections to a sandbox exchange; `open` is what a feed takes for an `OpenStream`.

    Args:
      exchange: What is connected to.
      latency_s: How long a text and its answer are under way together, in seconds.
      jitter_s: How much longer, at most, a text or frame may take; none overtakes another.
      rng: Decides about the jitter; needed if there is any.
      client: The address the connections come from.
      gather_s: Frames arrive only once in so many seconds, together: a replay at high speed then
        wakes its client less often. 0 for each frame at its own moment.
      slow_s: A client that receives nothing for so long, though there is something, is cut off.
    """

    def __init__(
        self,
        exchange: SandboxExchange,
        *,
        latency_s: float = 0.0,
        jitter_s: float = 0.0,
        rng: random.Random | None = None,
        client: str = "127.0.0.1",
        gather_s: float = 0.0,
        slow_s: float = SLOW_S,
    ) -> None:
        if jitter_s and rng is None:
            raise ValueError("jitter needs an rng to decide about it")
        self._exchange = exchange
        self.latency_s = latency_s
        self._jitter_s = jitter_s
        self._rng = rng or random.Random(0)  # noqa: S311 - simulated delays, not secrets
        self._client = client
        self._gather_s = gather_s
        self._slow_s = slow_s

    def open(self) -> AbstractAsyncContextManager[StreamSocket]:
        """Return a connection that lasts as long as a block; entering raises `StreamLost`."""
        return self._open()

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[StreamSocket]:
        await trio.sleep(self.travel_s())
        if self._exchange.faults.away:
            raise StreamLost("nobody is there", sent=False)
        desk = self._exchange.streams
        try:
            session = desk.connect(self._client)
        except ConnectRefused as refused:
            await trio.sleep(self.travel_s())
            raise StreamLost(
                f"the exchange refused the connection: {refused.status} {refused.text}",
                status=refused.status,
                retry_after_s=refused.block_s or None,
            ) from None
        try:
            await trio.sleep(self.travel_s())
            yield _Socket(session, self, gather_s=self._gather_s, slow_s=self._slow_s)
        finally:
            desk.leave(session)

    def now_s(self) -> float:
        """Return the moment by the clock the exchange lives by."""
        return self._exchange.streams.now_s()

    def travel_s(self) -> float:
        """Return how long the next thing is under way, in one direction."""
        jitter_s = self._jitter_s * self._rng.random() if self._jitter_s else 0.0
        return self.latency_s / 2 + jitter_s


def open_stream(
    exchange: SandboxExchange,
    *,
    latency_s: float = 0.0,
    jitter_s: float = 0.0,
    rng: random.Random | None = None,
    client: str = "127.0.0.1",
) -> AbstractAsyncContextManager[StreamSocket]:
    """Return one connection to a sandbox exchange; see `SandboxStreams`."""
    streams = SandboxStreams(
        exchange, latency_s=latency_s, jitter_s=jitter_s, rng=rng, client=client
    )
    return streams.open()


class _Socket:
    def __init__(
        self, session: StreamSession, streams: SandboxStreams, *, gather_s: float, slow_s: float
    ) -> None:
        self._session = session
        self._streams = streams
        self._gather_s = gather_s
        self._slow_s = slow_s
        self._sent_s = self._arrived_s = self._asked_s = streams.now_s()
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._changed = trio.Event()
        session.wake = self._wake

    def _wake(self) -> None:
        self._changed.set()

    async def send(self, text: str) -> None:
        """Send one text."""
        await trio.lowlevel.checkpoint()
        if self._has_ended():
            raise self._lost()
        if not self._session.faults.half_open:
            self._session.take(text, self._departs_s())
        self._wake()

    async def ping(self) -> None:
        """Send a ping of the protocol."""
        await trio.lowlevel.checkpoint()
        if self._has_ended():
            raise self._lost()
        self._session.heard(self._departs_s())

    def _departs_s(self) -> float:
        # Texts arrive in the order they were sent in, whatever the jitter.
        self._sent_s = max(self._sent_s, self._streams.now_s() + self._streams.travel_s())
        return self._sent_s

    async def receive(self) -> list[bytes | str]:
        """Return every frame that has arrived, waiting for the first."""
        await trio.lowlevel.checkpoint()
        while True:
            now_s = self._streams.now_s()
            self._fill(now_s)
            arrived: list[bytes | str] = []
            while self._waiting and self._waiting[0][0] <= now_s:
                arrived.append(self._waiting.popleft()[1])
            if arrived:
                self._asked_s = now_s
                return arrived
            if self._session.ended is not None and not self._waiting:
                raise self._lost()
            await self._wait(now_s)

    def _fill(self, now_s: float) -> None:
        """Let the exchange work until the moment whose frames can have arrived by now."""
        session = self._session
        then_s = now_s - self._streams.latency_s / 2
        if session.next_s < now_s - self._slow_s and self._asked_s < now_s - self._slow_s:
            session.end("the client does not read")
        room = FRAMES_A_STEP - len(self._waiting)
        if room > 0 and session.next_s <= then_s:
            for frame in session.advance(then_s, room):
                self._waiting.append((self._arrives_s(frame), frame.data))

    def _arrives_s(self, frame: Frame) -> float:
        moment_s = frame.due_s + self._streams.travel_s()
        if self._gather_s:
            moment_s = math.ceil(moment_s / self._gather_s) * self._gather_s
        self._arrived_s = max(self._arrived_s, moment_s)
        return self._arrived_s

    async def _wait(self, now_s: float) -> None:
        next_s = self._session.next_s + self._streams.latency_s / 2
        if self._gather_s and math.isfinite(next_s):
            next_s = math.ceil(next_s / self._gather_s) * self._gather_s
        if self._waiting:
            next_s = min(next_s, self._waiting[0][0])
        self._changed = trio.Event()
        with trio.move_on_after(max(0.0, next_s - now_s + _ROUNDING_S)):
            await self._changed.wait()

    def _has_ended(self) -> bool:
        now_s = self._streams.now_s()
        self._fill(now_s)
        return self._session.ended is not None

    def _lost(self) -> StreamLost:
        ended = self._session.ended
        assert ended is not None
        return StreamLost(f"the connection ended: {ended.reason}")
