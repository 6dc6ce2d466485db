"""`FeedLine`: keeps one connection to an exchange's streams up for as long as anything is wanted.

    off --wanted--> connecting --> live --broke--> away --back-off over--> connecting

One attempt at a time, and each failure makes the wait before the next longer, by chance so that
many clients do not come back together. A connection that ends as soon as it is open is a failure
as well. At a planned rotation the new connection has told of every live stream before it takes
over, so nothing is missed; `since_s` goes on.
"""

from __future__ import annotations

import logging
import math
import random
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import trio

from actors.errors import RateLimited
from actors.exchanges.streams import StreamKey, StreamLost, StreamRefusal
from actors.feed_connection import Connection, ConnectionParts
from actors.feed_tables import LINE, OFF, LineState
from runtime.core.table import TableWriter

_log = logging.getLogger("marketd.feed")

# A connection that lived so long, and told something, was a good one.
STABLE_S = 30.0
# A rotation that failed is tried again after this time at first.
_ROTATE_AGAIN_S = 60.0
# A new connection has so many times the time a subscription needs, before the old one stays.
_ROTATE_CONFIRMS = 3
_BANNED = 418
_DOUBLINGS_MAX = 32

_Take: TypeAlias = Callable[[list[bytes | str], float, Connection], None]


@dataclass(frozen=True, slots=True)
class LineParts:
    """What a line needs.

    Attributes:
      connection: What each connection needs.
      confirm_s: How long a subscription may take to be confirmed.
      rng: Decides how long exactly to wait.
      writer: The right to write the table of the line.
      live_keys: Returns the streams that are live.
      broke: Called when streams may have lost something: since when, why, and which; None for all.
      counts: Counts what happens.
    """

    connection: ConnectionParts
    confirm_s: float
    rng: random.Random
    writer: TableWriter[str, LineState]
    live_keys: Callable[[], set[StreamKey]]
    broke: Callable[[float, str, Collection[StreamKey] | None], None]
    counts: Counter[str]


class FeedLine:
    """The one line to an exchange; during a rotation it is two.

    Attributes:
      state: How it is doing.
    """

    def __init__(self, parts: LineParts, before: LineState | None = None) -> None:
        self._parts = replace(
            parts, connection=replace(parts.connection, take=self._taking(parts.connection.take))
        )
        self._clock, self._policy = parts.connection.clock, parts.connection.policy
        heard_s = OFF.heard_s if before is None else before.heard_s
        self.state = OFF._replace(since_s=self._clock.now_s(), heard_s=heard_s)
        self._current: Connection | None = None
        self._next: Connection | None = None
        self._is_wanted = False
        self._changed = trio.Event()
        self._failures = 0
        self._reason = ""
        self._not_before_s = -math.inf
        self._say("off")

    # -------------------------------------------------------------- what others tell it

    def want(self, *, anything: bool, within_s: float) -> None:
        """Note that the wanted set has changed, and whether there is anything in it."""
        self._is_wanted = anything
        self._changed.set()
        self._changed = trio.Event()
        for connection in self._connections():
            if anything:
                connection.ask(within_s=within_s)
            else:
                connection.close()

    def renew(self) -> None:
        """Ask for everything anew."""
        if self._current is not None:
            self._current.renew()

    def refused(self, refusal: StreamRefusal) -> None:
        """Note that the exchange refused something; it may close the connection next."""
        self._parts.counts["refusal"] += 1
        self._reason = f"the exchange refused: {refusal.code} {refusal.message}".strip()
        _log.warning("%s", self._reason)
        if refusal.status:
            self._pause(refusal.status, refusal.retry_after_s)

    def stop(self) -> None:
        """Say that nobody keeps the line any more."""
        if self.state.state != "off":
            self._reason = "the feed has stopped"
            self._say("away")

    # -------------------------------------------------------------- its life

    async def run(self) -> None:
        """Keep the line for ever."""
        async with trio.open_nursery() as nursery:
            while True:
                if not self._is_wanted:
                    self._say("off")
                    await self._changed.wait()
                elif (wait_s := self._not_before_s - self._clock.now_s()) > 0:
                    self._say("away")
                    with trio.move_on_after(wait_s):
                        await self._changed.wait()
                else:
                    self._say("connecting")
                    connection = await self._dial(nursery)
                    if connection is not None:
                        await self._keep(connection, nursery)

    async def _dial(self, nursery: trio.Nursery) -> Connection | None:
        """Return a new open connection; None if there is none."""
        self._next = connection = Connection(self._parts.connection)
        nursery.start_soon(connection.run)
        await connection.opened.wait()
        self._next = None
        if connection.opened_s is None:
            if connection.error is not None:
                self._failed(connection.error)
            return None
        self._parts.counts["connection"] += 1
        return connection

    async def _keep(self, connection: Connection, nursery: trio.Nursery) -> None:
        """Serve by `connection`, and by those that take over from it, until one breaks."""
        self._current = connection
        self._say("live")
        wait_s, rotations_failed = self._policy.rotate_s, 0
        while not connection.ended.is_set():
            with trio.move_on_after(wait_s):
                await connection.ended.wait()
                break
            successor = await self._rotate(connection, nursery)
            if successor is None:
                again_s = _ROTATE_AGAIN_S * 2.0 ** min(rotations_failed, _DOUBLINGS_MAX)
                wait_s, rotations_failed = min(again_s, self._policy.rotate_s), rotations_failed + 1
                continue
            self._current = successor
            connection.close()
            await connection.ended.wait()
            connection = successor
            wait_s, rotations_failed = self._policy.rotate_s, 0
        self._current = None
        self._ended(connection)

    def _ended(self, connection: Connection) -> None:
        """Note that the line is gone."""
        error, opened_s = connection.error, connection.opened_s
        if error is None or opened_s is None:
            # Closed by us: nothing is wanted any more.
            return
        if connection.has_told and self._clock.now_s() - opened_s >= STABLE_S:
            # The first attempt after a good connection need not wait.
            self._failures, self._reason = 0, str(error)
            self._heed(error)
        else:
            self._failed(error)
        self._say("away")
        self._parts.broke(connection.heard_s, self._reason, None)

    # -------------------------------------------------------------- rotation

    async def _rotate(self, old: Connection, nursery: trio.Nursery) -> Connection | None:
        """Return a connection that tells all that `old` does; None if `old` has to stay."""
        self._next = new = Connection(self._parts.connection)
        new.unheard = unheard = self._parts.live_keys()
        nursery.start_soon(new.run)
        await _first(new.opened, old.ended)
        if new.opened_s is not None and unheard:
            with trio.move_on_after(_ROTATE_CONFIRMS * self._parts.confirm_s):
                await _first(new.all_heard, new.ended, old.ended)
        self._next = None
        unheard &= self._parts.live_keys()
        if new.opened_s is None or new.ended.is_set() or (unheard and not old.ended.is_set()):
            new.close()
            await new.ended.wait()
            if new.error is not None:
                _log.warning("the connection could not be renewed: %s", new.error)
                self._heed(new.error)
            return None
        self._parts.counts["rotation"] += 1
        if unheard:
            # The old one broke meanwhile; what the new one has told of already is whole.
            self._reason = str(old.error or "")
            self._parts.broke(old.heard_s, self._reason, unheard)
        new.unheard = None
        return new

    # -------------------------------------------------------------- failures

    def _failed(self, error: Exception) -> None:
        """Note that an attempt failed; decide when to try again."""
        policy = self._policy
        nominal_s = policy.backoff_s * 2.0 ** min(self._failures, _DOUBLINGS_MAX)
        self._failures, self._reason = self._failures + 1, str(error)
        wait_s = min(nominal_s, policy.backoff_s_max) * (1 + self._parts.rng.random()) / 2
        self._not_before_s = max(self._not_before_s, self._clock.now_s() + wait_s)
        self._heed(error)
        if self._failures == 1:
            _log.warning("the line is away: %s", self._reason)

    def _heed(self, error: Exception) -> None:
        """Wait as long as an error says that the exchange wants it."""
        if isinstance(error, StreamLost):
            self._pause(error.status, error.retry_after_s)
        elif isinstance(error, RateLimited):
            self._pause(0, error.retry_after_s)

    def _pause(self, status: int, retry_after_s: float | None) -> None:
        if retry_after_s is None:
            retry_after_s = self._policy.backoff_s_max if status == _BANNED else 0.0
        self._not_before_s = max(self._not_before_s, self._clock.now_s() + retry_after_s)

    # -------------------------------------------------------------- what readers see

    def _taking(self, take: _Take) -> _Take:
        """Return what takes frames and then notes that the line was heard."""

        def taken(frames: list[bytes | str], now_s: float, connection: Connection) -> None:
            take(frames, now_s, connection)
            state = self.state
            self.state = LineState(state[0], state[1], now_s, state[3], state[4])
            self._parts.writer.put(LINE, self.state)

        return taken

    def _say(self, name: Literal["off", "connecting", "live", "away"]) -> None:
        state, now_s = self.state, self._clock.now_s()
        heard_s = now_s if name == "live" else state.heard_s
        since_s = state.since_s if state.state == name else now_s
        failures = 0 if name == "live" else self._failures
        self.state = LineState(name, since_s, heard_s, failures, self._reason)
        self._parts.writer.put(LINE, self.state)

    def _connections(self) -> list[Connection]:
        return [each for each in (self._current, self._next) if each is not None]


async def _first(*events: trio.Event) -> None:
    """Return as soon as one of `events` is set."""
    async with trio.open_nursery() as nursery:

        async def wait(event: trio.Event) -> None:
            await event.wait()
            nursery.cancel_scope.cancel()

        for event in events:
            nursery.start_soon(wait, event)
