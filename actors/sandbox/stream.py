"""One stream connection to the sandbox exchange, without any I/O: texts in, frames out.

A shell hands in every text with the moment of its arrival, asks for the frames that are due, and
waits until `next_s`. What happens in between happens in its order, however late the shell asks.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

import msgspec

from actors.sandbox.live_day import DaySides
from actors.sandbox.live_market import Channel, LiveMarket
from actors.sandbox.maintenance import Maintenance
from actors.sandbox.market import SandboxMarket
from actors.sandbox.payloads import Payload
from actors.sandbox.rules import MESSAGE_GROUPS, RateRules, Verdict
from actors.sandbox.simulated_time import SimulatedTime
from actors.sandbox.stream_faults import ConnectionFaults
from actors.sandbox.stream_payloads import short
from actors.sandbox.stream_requests import (
    FORMATS,
    LISTING,
    BadText,
    StreamRequest,
    Wish,
    read_request,
    split_code,
)

IDLE_S = 120.0
STATUS_EVERY_S = 10.0
FRAMES_A_STEP = 500
INBOX_MAX = 1_000

# A first snapshot may have to add up a day: it costs as much as this many frames after it.
_SNAPSHOT_FRAMES = 250
_PING = "PING"
_OK, _BLOCKED = 200, 418
_UP = b'{"status":"UP"}'
_encode = msgspec.json.Encoder().encode


class Frame(NamedTuple):
    """One binary frame.

    Attributes:
      due_s: When it leaves the exchange, in monotonic seconds.
      data: JSON in UTF-8.
    """

    due_s: float
    data: bytes


class Ending(NamedTuple):
    """How the exchange ended a connection.

    Attributes:
      reason: In words.
      code: The code of the close frame it sends; 0 if it sends none.
    """

    reason: str
    code: int


class World(Protocol):
    """What a connection sees of its exchange.

    Attributes:
      markets: The markets by code.
      time: The market's time.
      maintenance: When the exchange is away.
    """

    markets: dict[str, SandboxMarket]
    time: SimulatedTime
    maintenance: Maintenance

    def sides(self, code: str) -> DaySides:
        """Return what is known of the day of a market."""


class _Snapshot(NamedTuple):
    wish: Wish
    code: str
    channel: Channel


class StreamSession:
    """One connection.

    Attributes:
      faults: What goes wrong with it.
      ended: How the exchange ended it; None while it is open.
      wake: Called when `next_s` may have come nearer without the shell's doing.

    Args:
      world: The exchange.
      faults: What goes wrong with it.
      now_s: When it was opened, in monotonic seconds.
    """

    def __init__(self, world: World, faults: ConnectionFaults, now_s: float) -> None:
        self.faults = faults
        self.ended: Ending | None = None
        self.wake: Callable[[], None] = lambda: None
        self._world = world
        self._now_s = now_s
        self._active_s = now_s
        self._rules = RateRules()
        self._inbox: deque[tuple[float, str]] = deque()
        self._form = FORMATS[0]
        self._wishes: tuple[Wish, ...] = ()
        self._snapshots: deque[_Snapshot] = deque()
        self._live: dict[str, LiveMarket] = {}
        self._heap: list[tuple[int, str]] = []
        self._streams: dict[tuple[str, str], None] = {}
        self._status_s = math.inf
        self._out: list[Frame] = []
        self._room = 0
        faults.plan(now_s)

    # ------------------------------------------------------------------ what the shell calls

    def take(self, text: str, at_s: float) -> None:
        """Let a text arrive, at or after the arrival of the one before."""
        if len(self._inbox) >= INBOX_MAX:
            self.end("more texts than can be read", 1008)
        self._inbox.append((at_s, text))

    def heard(self, at_s: float) -> None:
        """Note that the client sent something that is no text, such as a ping."""
        self._active_s = max(self._active_s, at_s)

    def end(self, reason: str, code: int = 0) -> None:
        """End the connection now, for a reason of the exchange."""
        if self.ended is None:
            self.ended = Ending(reason, code)
            self.wake()

    @property
    def next_s(self) -> float:
        """Return when `advance` has something to do next; infinity if never."""
        if self.ended is not None or self.faults.half_open:
            return math.inf
        return min(self._other()[0], self._market_s())

    def advance(self, now_s: float, limit: int = FRAMES_A_STEP) -> list[Frame]:
        """Return the frames that are due until `now_s`, oldest first, about `limit` at most.

        While `next_s` is not after `now_s` there are more.
        """
        self._out, self._room = [], limit
        while self.ended is None and not self.faults.half_open and self._room > 0:
            other_s, other = self._other()
            if self._market_s() <= min(other_s, now_s):
                self._tell_markets(min(other_s, now_s))
            elif other_s <= now_s:
                self._now_s = max(self._now_s, other_s)
                self._room -= 1
                other()
            else:
                break
        return self._out

    # ------------------------------------------------------------------ what happens

    def _market_s(self) -> float:
        return self._world.time.when_s(self._heap[0][0]) if self._heap else math.inf

    def _other(self) -> tuple[float, Callable[[], None]]:
        """Return what happens next beside the markets, and when."""
        found: tuple[float, Callable[[], None]] = (self._active_s + IDLE_S, self._fall_asleep)
        if self._snapshots and self._now_s < found[0]:
            found = (self._now_s, self._tell_snapshot)
        if self._inbox and self._inbox[0][0] < found[0]:
            found = (self._inbox[0][0], self._read)
        if self._status_s < found[0]:
            found = (self._status_s, self._tell_status)
        trouble_s = self.faults.next_s()
        if trouble_s < found[0]:
            found = (trouble_s, self._suffer)
        if self._world.maintenance.spans:
            away_s = self._away_s()
            if away_s < found[0]:
                found = (away_s, self._go_away)
        return found

    def _away_s(self) -> float:
        time = self._world.time
        away_ms = self._world.maintenance.next_ms(time.at_ms(self._now_s))
        # Just before, so that nothing of that very moment is told.
        return math.inf if away_ms is None else math.nextafter(time.when_s(away_ms), -math.inf)

    def _go_away(self) -> None:
        self.faults.owner.strike(self._now_s, "maintenance", self.faults.number, "closed")
        self.end("the exchange is under maintenance", 1001)

    def _fall_asleep(self) -> None:
        self.end(f"nothing went either way for {IDLE_S:g} s", 1000)

    def _suffer(self) -> None:
        if self.faults.happen(self._now_s, list(self._streams)):
            self.end("the connection was cut")
            return
        for data in self.faults.release(self._now_s):
            self._send(data)

    def _tell_status(self) -> None:
        self._status_s = self._now_s + STATUS_EVERY_S
        self._send(_UP)

    def _send(self, data: bytes) -> None:
        self._active_s = max(self._active_s, self._now_s)
        self._out.append(Frame(self._now_s, data))

    # ------------------------------------------------------------------ texts

    def _read(self) -> None:
        at_s, text = self._inbox.popleft()
        self._active_s = max(self._active_s, at_s)
        verdicts = [self._rules.admit(group, "", self._now_s) for group in MESSAGE_GROUPS]
        worst = max(verdicts, key=lambda verdict: (verdict.status != _OK, -verdict.status))
        if worst.status != _OK:
            self._refuse(worst)
        elif text.strip() == _PING:
            if self._status_s == math.inf:
                self._tell_status()
        else:
            try:
                self._obey(read_request(text))
            except BadText as error:
                self._send(_error(error.name, error.message))

    def _refuse(self, verdict: Verdict) -> None:
        # The names are Upbit's; that they are errors like the others, and the words, are ours.
        if verdict.status == _BLOCKED:
            text = f"Too many API requests. Blocked for {math.ceil(verdict.block_s)} seconds."
            self._send(_error("I'm a teapot", text))
        else:
            self._send(_error("Too Many Requests", "Too many API requests."))

    def _obey(self, request: StreamRequest) -> None:
        # The format holds for the whole connection, whichever request named it.
        self._form = request.form or self._form
        if request.wishes is None:
            self._list(request.ticket)
            return
        self._wishes = request.wishes
        self._live.clear()
        self._heap.clear()
        self._streams.clear()
        self.faults.renew()
        self._snapshots = deque(
            _Snapshot(wish, market, Channel(wish.kind, depth, wish.level))
            for wish in request.wishes
            for market, depth in filter(None, map(split_code, wish.codes))
            # What there is not is met with silence.
            if market in self._world.markets
        )

    def _list(self, ticket: str) -> None:
        rows: list[Payload] = []
        for wish in self._wishes:
            row: Payload = {"type": wish.kind, "codes": wish.codes}
            if wish.kind == "orderbook":
                whole = wish.level.is_integer()
                row["level"] = int(wish.level) if whole else wish.level
            rows.append(row)
        payload: Payload = {"method": LISTING, "result": rows, "ticket": ticket}
        self._send(_encode(short(payload) if self._form.startswith("SIMPLE") else payload))

    # ------------------------------------------------------------------ markets

    def _tell_snapshot(self) -> None:
        self._room -= _SNAPSHOT_FRAMES
        wish, code, channel = self._snapshots.popleft()
        now_ms = self._world.time.at_ms(self._now_s)
        live = self._live.get(code)
        if live is None:
            live = LiveMarket(self._world.markets[code], self._world.sides(code), now_ms)
            self._live[code] = live
        else:
            live.pass_to(now_ms)
        due_ms = live.due_ms
        if wish.realtime:
            live.follow(channel)
            self._streams[wish.kind, code] = None
            if live.due_ms != due_ms or not any(entry[1] == code for entry in self._heap):
                self._schedule(code, live)
        if wish.snapshot:
            is_candle = wish.kind.startswith("candle")
            old = is_candle and self.faults.old_snapshot(self._now_s, wish.kind, code)
            live.skew_ms = self.faults.owner.skew_ms
            payload = live.snapshot(channel, old=old)
            if payload is not None:
                self._tell(payload)

    def _schedule(self, code: str, live: LiveMarket) -> None:
        self._heap = [entry for entry in self._heap if entry[1] != code]
        heapq.heapify(self._heap)
        heapq.heappush(self._heap, (live.due_ms, code))

    def _tell_markets(self, until_s: float) -> None:
        """Tell what the markets have to tell until a moment at which something else happens."""
        heap, live_markets, skew_ms = self._heap, self._live, self.faults.owner.skew_ms
        when_s = self._world.time.when_s
        while heap and self._room > 0:
            due_ms, code = heap[0]
            due_s = when_s(due_ms)
            if due_s > until_s:
                break
            self._now_s = max(self._now_s, due_s)
            live = live_markets[code]
            live.skew_ms = skew_ms
            payloads = live.step()
            self._room -= max(1, len(payloads))
            heapq.heapreplace(heap, (live.due_ms, code))
            for payload in payloads:
                self._tell(payload)

    def _tell(self, payload: Payload) -> None:
        kind, code = payload["type"], payload["code"]
        if self._form.startswith("SIMPLE"):
            payload = short(payload)
        data = _encode([payload] if self._form.endswith("LIST") else payload)
        for frame in self.faults.touch(self._now_s, kind, code, data):
            self._send(frame)


def _error(name: str, message: str) -> bytes:
    return _encode({"error": {"name": name, "message": message}})
