"""Where clients get their streams: who may connect, and all connections that are open."""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

from actors.sandbox.live_day import DaySides
from actors.sandbox.maintenance import Maintenance
from actors.sandbox.market import SandboxMarket
from actors.sandbox.rules import CONNECT_GROUP, RateRules
from actors.sandbox.simulated_time import SimulatedTime
from actors.sandbox.stream import StreamSession
from actors.sandbox.stream_faults import StreamFault, StreamFaults
from runtime.core.clock import Clock

STREAM_PATH = "/websocket/v1"
SESSIONS_MAX = 256
LOG_CONNECTS_MAX = 20_000

_OK, _UNAVAILABLE = 200, 503


class ConnectRecord(NamedTuple):
    """One attempt to open a stream.

    Attributes:
      now_s: When, in monotonic seconds.
      client: The address it came from.
      status: 101 if it was opened, else what refused it.
    """

    now_s: float
    client: str
    status: int


class ConnectRefused(Exception):
    """A stream could not be opened.

    Attributes:
      status: The HTTP status that says so.
      block_s: With 418, how many seconds the block still lasts.
    """

    def __init__(self, status: int, block_s: float = 0.0) -> None:
        super().__init__(f"refused with {status}")
        self.status = status
        self.block_s = block_s

    @property
    def text(self) -> str:
        """Return the body of the answer."""
        if self.status == _UNAVAILABLE:
            return "Service Unavailable"
        if self.block_s:
            return f"Too many API requests. Blocked for {math.ceil(self.block_s)} seconds."
        return "Too many API requests."


class StreamDesk:
    """The streams of one sandbox exchange.

    Attributes:
      markets: The markets by code.
      time: The market's time.
      maintenance: When the exchange is away.
      faults: What is to go wrong.
      log: The newest attempts to connect, oldest first.

    Args:
      markets: The markets by code.
      clock: Where real time is read.
      time: The market's time.
      rules: The request limits; connections count in a group of their own.
      faults: What is to go wrong.
      maintenance: When the exchange is away.
    """

    def __init__(
        self,
        markets: dict[str, SandboxMarket],
        *,
        clock: Clock,
        time: SimulatedTime,
        rules: RateRules,
        faults: StreamFaults,
        maintenance: Maintenance,
    ) -> None:
        self.markets = markets
        self.time = time
        self.maintenance = maintenance
        self.faults = faults
        self.log: deque[ConnectRecord] = deque(maxlen=LOG_CONNECTS_MAX)
        self._clock = clock
        self._rules = rules
        self._sides: dict[str, DaySides] = {}
        self._sessions: list[StreamSession] = []
        self._opened = 0
        faults.changed = self._replan

    @property
    def open(self) -> int:
        """Return how many connections are open, half-open ones included."""
        return len(self._sessions)

    def now_s(self) -> float:
        """Return the moment by the clock that connections live by."""
        return self._clock.now_s()

    def sides(self, code: str) -> DaySides:
        """Return what is known of the day of a market."""
        if code not in self._sides:
            self._sides[code] = DaySides(self.markets[code])
        return self._sides[code]

    def connect(self, client: str, *, origin: bool = False) -> StreamSession:
        """Open a connection; it must be handed to `leave` at its end.

        Args:
          client: The address it comes from; limits are kept per address.
          origin: Whether the request carries an `Origin` header.

        Raises:
          ConnectRefused: It may not be opened.
        """
        now_s = self._clock.now_s()
        try:
            self._admit(client, now_s, origin=origin)
        except ConnectRefused as refused:
            self.log.append(ConnectRecord(now_s, client, refused.status))
            raise
        self.log.append(ConnectRecord(now_s, client, 101))
        self._opened += 1
        session = StreamSession(self, self.faults.connect(self._opened), now_s)
        self._sessions.append(session)
        return session

    def _admit(self, client: str, now_s: float, *, origin: bool) -> None:
        if self.maintenance.goes_on(self.time.at_ms(now_s)):
            self.faults.strike(now_s, "maintenance", 0, "connection refused")
            raise ConnectRefused(_UNAVAILABLE)
        verdict = self._rules.admit(CONNECT_GROUP, client, now_s, origin=origin)
        if verdict.status != _OK:
            raise ConnectRefused(verdict.status, verdict.block_s)
        if len(self._sessions) >= SESSIONS_MAX:
            raise ConnectRefused(_UNAVAILABLE)

    def leave(self, session: StreamSession) -> None:
        """Forget a connection; harmless if it is forgotten already."""
        if session in self._sessions:
            self._sessions.remove(session)

    def cut(self) -> None:
        """Cut all connections there are, now."""
        for session in list(self._sessions):
            self._strike(session, StreamFault.CUT)
            session.end("the connection was cut")

    def half_open(self) -> None:
        """Let nothing go either way any more on the connections there are, from now on."""
        for session in self._sessions:
            self._strike(session, StreamFault.HALF_OPEN)
            session.faults.half_open = True
            session.wake()

    def _strike(self, session: StreamSession, fault: StreamFault) -> None:
        self.faults.strike(self._clock.now_s(), fault.value, session.faults.number)

    def _replan(self) -> None:
        now_s = self._clock.now_s()
        for session in self._sessions:
            session.faults.plan(now_s)
            session.wake()
