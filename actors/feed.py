"""`FeedActor`: one exchange's live streams, for as long as anybody wants them.

    Wants --> FeedLine: one connection, kept up --frames--> FeedDesk --> tables, then subscribers
              StreamWatch: who is live, who silent             +--> CacheLink: rows of candles
              FeedGaps: what may have been missed

Owns: the connection, and the tables of `FeedTables`. What is wanted is not its own: bots hold it
in `Wants`.
Talked to by: whoever asks how streams are doing. Quotes are read from the tables, without it.
Lost when it dies: the connection. The next incarnation subscribes to the same streams, tells what
broke meanwhile, and tells no trade twice that is still in the tables.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from typing import Any

import msgspec
import trio

from actors.exchanges.streams import StreamAdapter, StreamRefusal
from actors.feed_cache import CacheLink
from actors.feed_connection import GATHER_LESS_S, GATHER_S, Connection, ConnectionParts, Gate
from actors.feed_desk import DeskParts, FeedDesk
from actors.feed_gaps import FeedGaps
from actors.feed_health import SETTLE_S, FeedHealth
from actors.feed_line import FeedLine, LineParts
from actors.feed_tables import LINE, FeedPolicy, FeedTables
from actors.feed_watch import StreamWatch
from actors.messages import GetHealth, GetStreams
from actors.reports import Health, StreamReport
from actors.wants import Wants
from runtime.core.actor import Actor
from runtime.core.errors import TableOwned
from runtime.core.message import Request
from runtime.core.ref import ActorRef

_TEND_S = 1.0
_FOLLOW_S = 0.01
# Sets are sent so seldom that the exchange's limits leave room for pings, and none has to wait.
_SPACING = 1.25


class FeedCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What this incarnation has done.

    Attributes:
      wanted: Streams that are wanted.
      live: Those of them that are known to work.
      silent: Those that were asked for again because nothing came.
      frames: Frames received.
      malformed: Frames that could not be read.
      duplicates: Trades received more than once.
      late: Updates that were older than what was known already.
      connections: Connections opened.
      rotations: Those that took over from another without a gap.
      renewals: Times that everything was asked for again because of silence.
      refusals: What the exchange refused.
      gaps: Breaks.
      refused_rows: Rows of candles that the cache did not take.
    """

    wanted: int
    live: int
    silent: int
    frames: int
    malformed: int
    duplicates: int
    late: int
    connections: int
    rotations: int
    renewals: int
    refusals: int
    gaps: int
    refused_rows: int


class FeedActor(Actor):
    """Keep one exchange's streams, and publish what they tell.

    Args:
      open_gate: Opens the way to the exchange, anew for each incarnation.
      stream: The exchange's language of streams.
      exchange: Its name.
      cache: The actor that is told of candles.
      tables: Where everything is published.
      wants: What is wanted.
      policy: How streams are kept.
    """

    def __init__(
        self,
        open_gate: Callable[[], AbstractAsyncContextManager[Gate]],
        *,
        stream: StreamAdapter,
        exchange: str,
        cache: ActorRef,
        tables: FeedTables,
        wants: Wants,
        policy: FeedPolicy,
    ) -> None:
        self._open_gate = open_gate
        self._stream = stream
        self._exchange = exchange
        self._cache = cache
        self._tables = tables
        self._wants = wants
        self._policy = policy
        self._opened = AsyncExitStack()
        self._counts: Counter[str] = Counter()

    async def on_start(self) -> None:
        """Take over the tables, and begin with what is wanted already."""
        gate = await self._opened.enter_async_context(self._open_gate())
        clock, tables, name = self.context.clock, self._tables, self.context.name
        line_before = tables.line.get(LINE)
        streams = tables.streams.claim(name)
        live_before = [key for key, was in tables.streams.items() if was.state != "asked"]
        for key in [key for key, _ in tables.streams.items()]:
            streams.delete(key)
        self._watch = StreamWatch(self._exchange, self._stream.rules, self._policy, streams)
        self._link = CacheLink(self._cache, self._counts)
        self._gaps = FeedGaps(
            self._exchange,
            clock=clock,
            tables=tables,
            writer=tables.gaps.claim(name),
            watch=self._watch,
            link=self._link,
            counts=self._counts,
        )
        self._desk = self._open_desk()
        self._line = FeedLine(self._line_parts(gate), line_before)
        self._health = FeedHealth(self._exchange, clock, tables.events)
        self._follow()
        heard_s = self._line.state.heard_s
        self._gaps.settle(self._desk, live_before, max(heard_s, 0.0))
        for task in (self._line.run, self._follow_wants, self._tend):
            self.context.nursery.start_soon(task)

    async def on_stop(self) -> None:
        """Close the way to the exchange; the connection is closed already."""
        # An incarnation that could not be ended in time may have an heir.
        with suppress(TableOwned):
            self._line.stop()
        await self._opened.aclose()

    async def handle_call(self, request: Request[Any]) -> object:
        """Say how the streams are doing."""
        match request:
            case GetStreams():
                return (self._report(),)
            case GetHealth():
                return self._how()
            case _:
                return await super().handle_call(request)

    def statistics(self) -> FeedCounts:
        """Return what this incarnation has done."""
        counts = self._counts
        return FeedCounts(
            wanted=len(self._watch.streams),
            live=self._watch.count("live"),
            silent=self._watch.count("silent"),
            frames=counts["frame"],
            malformed=counts["malformed"],
            duplicates=counts["duplicate"],
            late=counts["late"],
            connections=counts["connection"],
            rotations=counts["rotation"],
            renewals=counts["renewal"],
            refusals=counts["refusal"],
            gaps=counts["gap"],
            refused_rows=counts["refused_rows"],
        )

    # -------------------------------------------------------------- its parts

    def _open_desk(self) -> FeedDesk:
        desk = FeedDesk(
            DeskParts(
                stream=self._stream,
                tables=self._tables,
                quotes=self._tables.quotes.claim(self.context.name),
                watch=self._watch,
                confirmed=lambda *told: self._gaps.confirmed(desk, *told),
                refused=self._refused,
                rows=self._link.rows,
                counts=self._counts,
            )
        )
        desk.inherit()
        return desk

    def _line_parts(self, gate: Gate) -> LineParts:
        rules, rng = self._stream.rules, self.context.rng
        slowest_s = max(limit.period_s / limit.requests for limit in rules.message_limits)
        connection = ConnectionParts(
            gate=gate,
            stream=self._stream,
            policy=self._policy,
            clock=self.context.clock,
            spacing_s=slowest_s * _SPACING,
            new_id=lambda: uuid.UUID(int=rng.getrandbits(128), version=4),
            wanted=self._watch.subscription,
            sent=lambda keys: self._watch.sent(keys, self.context.clock.now_s()),
            take=self._take,
        )
        return LineParts(
            connection=connection,
            confirm_s=rules.confirm_s,
            rng=rng,
            writer=self._tables.line.claim(self.context.name),
            live_keys=lambda: {stream.key for stream in self._watch.of_state("live")},
            broke=lambda *broken: self._gaps.broke(self._desk, *broken),
            counts=self._counts,
        )

    def _take(self, frames: list[bytes | str], now_s: float, connection: Connection) -> None:
        self._counts["frame"] += len(frames)
        self._desk.take(frames, now_s, connection.unheard)

    def _refused(self, refusal: StreamRefusal) -> None:
        self._line.refused(refusal)

    # -------------------------------------------------------------- its tasks

    async def _follow_wants(self) -> None:
        """Have the line carry what is wanted, as that changes and as leases end."""
        while True:
            left_s = self._wants.next_end_s() - self.context.clock.now_s()
            with trio.move_on_after(max(left_s, 0.0)):
                await self._wants.wait_changed()
            # Of many changes one after the other only the last need be looked at. Whatever changes
            # in the meantime is looked at as well: nothing waits between here and the next wait.
            await trio.sleep(_FOLLOW_S)
            self._follow()

    def _follow(self) -> None:
        now_s = self.context.clock.now_s()
        more, gone = self._watch.want(self._wants.current(now_s), now_s)
        self._gaps.gone(self._desk, gone)
        self._desk.rewant()
        within_s = GATHER_S if more else GATHER_LESS_S
        self._line.want(anything=bool(self._watch.subscription()), within_s=within_s)

    async def _tend(self) -> None:
        """Ask anew for what has fallen silent, and say so when something is wrong."""
        while True:
            await trio.sleep(_TEND_S)
            self._link.settle(self.context.clock.now_s())
            if self._line.state.state == "live":
                self._renew()
            self._health.look(self._how())

    def _renew(self) -> None:
        due = self._watch.renewals(self.context.clock.now_s())
        if due:
            self._counts["renewal"] += 1
            self._line.renew()

    # -------------------------------------------------------------- how it is doing

    def _how(self) -> Health:
        now_s = self.context.clock.now_s()
        unanswered = (
            stream
            for stream in self._watch.of_state("silent")
            if now_s - stream.since_s >= SETTLE_S
        )
        return self._health.now(
            self._line.state,
            silent=sum(1 for _ in unanswered),
            wanted=len(self._watch.streams),
            refused=self._link.is_lost(now_s),
        )

    def _report(self) -> StreamReport:
        now_s, line, counts = self.context.clock.now_s(), self._line.state, self._counts
        return StreamReport(
            exchange=self._exchange,
            state=line.state,
            since_s=now_s - line.since_s,
            heard_s=now_s - line.heard_s if line.heard_s > float("-inf") else None,
            reason=line.reason,
            wanted=len(self._watch.streams),
            live=self._watch.count("live"),
            silent=self._watch.count("silent"),
            frames=counts["frame"],
            malformed=counts["malformed"],
            duplicates=counts["duplicate"],
            reconnects=max(0, counts["connection"] + counts["rotation"] - 1),
            renewals=counts["renewal"],
            gaps=counts["gap"],
        )
