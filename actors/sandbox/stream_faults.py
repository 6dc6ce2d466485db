"""What can go wrong with streams and with time, by name, by chance, and from a seed.

A fault is switched on with a number whose meaning is the fault's own (`StreamFault`). Every time
one strikes it is written down, so that a test can say what happened. Each connection draws from a
generator of its own: what goes wrong with one does not depend on how much another one is told.
"""

from __future__ import annotations

import enum
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from actors.sandbox.hashing import key_of, mix

LOG_STRIKES_MAX = 20_000
# How many later frames may overtake a frame, and how long it waits for them to come.
REORDER_FRAMES_MAX = 5
REORDER_WAIT_S = 1.0

_SECONDS_MAX = 86_400.0


class StreamFault(enum.StrEnum):
    """One way in which streams or the exchange's time fail; its number stands in brackets.

    Attributes:
      CUT: The connection ends without a word. [mean seconds until it does]
      HALF_OPEN: Nothing comes any more and what is sent vanishes. [mean seconds until then]
      STALL: One stream of a connection falls silent until it is subscribed to anew. [mean seconds
        until then] With a code: all streams of that code, or of it one type, as long as this is on.
      DUPLICATE: A frame comes twice. [probability]
      REORDER: A frame is overtaken by up to five later ones. [probability]
      LOSE: A frame never comes. [probability]
      LATE_ROWS: A candle of the REST interface shows the market as it was, each row by a lag of
        its own. [longest lag in seconds of the market's time]
      OLD_SNAPSHOT: The snapshot of a candle is the one before the newest. [probability]
      CLOCK_SKEW: What dates messages is off the market's time: the header `Date`, and the
        `timestamp` of trade frames, tickers and order books. Times of trades and candles, which
        the matching engine dates, are right. [seconds, negative if the clock is slow]
    """

    CUT = "cut"
    HALF_OPEN = "half_open"
    STALL = "stall"
    DUPLICATE = "duplicate"
    REORDER = "reorder"
    LOSE = "lose"
    LATE_ROWS = "late_rows"
    OLD_SNAPSHOT = "old_snapshot"
    CLOCK_SKEW = "clock_skew"


CHANCES = frozenset(
    {StreamFault.DUPLICATE, StreamFault.REORDER, StreamFault.LOSE, StreamFault.OLD_SNAPSHOT}
)


class Strike(NamedTuple):
    """One time that something went wrong.

    Attributes:
      now_s: When, in monotonic seconds.
      fault: What; `maintenance` is one, too, though it is not switched on.
      connection: The number of the connection, counted from 1; 0 for all.
      detail: What it hit.
    """

    now_s: float
    fault: str
    connection: int
    detail: str


@dataclass(frozen=True, slots=True, eq=False)
class Switch:
    """A fault that is on.

    Attributes:
      fault: Which.
      size: Its number.
      code: The market it is limited to; None for all.
      kind: The type of stream it is limited to; None for all.
      key: What chances that belong to no connection hang on.
    """

    fault: StreamFault
    size: float
    code: str | None = None
    kind: str | None = None
    key: int = 0

    def hits(self, kind: str, code: str) -> bool:
        """Return whether it is about streams of this type and market."""
        return self.code in (None, code) and self.kind in (None, kind)


class StreamFaults:
    """The switches of one sandbox exchange; all are off at first.

    Attributes:
      log: The newest `LOG_STRIKES_MAX` strikes, oldest first.
      changed: Called whenever a switch is moved.

    Args:
      rng: Where all chances come from; without one they come from the seed 0.
    """

    def __init__(self, rng: random.Random | None = None) -> None:
        self.log: deque[Strike] = deque(maxlen=LOG_STRIKES_MAX)
        self.changed: Callable[[], None] = lambda: None
        self._rng = rng or random.Random(0)  # noqa: S311 - simulated trouble, not secrets
        self._switches: dict[tuple[StreamFault, str | None, str | None], Switch] = {}

    def switch_on(
        self,
        fault: StreamFault,
        size: float = 0.0,
        *,
        code: str | None = None,
        kind: str | None = None,
    ) -> None:
        """Let `fault` happen from now on, instead of the same one as it was switched on before.

        Args:
          fault: What goes wrong.
          size: Its number, see `StreamFault`.
          code: For faults of frames and snapshots and for a stall: only streams of this market.
          kind: Likewise, only streams of this type, e.g. `candle.1m`.

        Raises:
          ValueError: The number is not one that the fault can have.
        """
        _check(fault, size, code)
        switch = Switch(fault, size, code, kind, self._rng.getrandbits(64))
        self._switches[fault, code, kind] = switch
        self.changed()

    def switch_off(self, fault: StreamFault | None = None) -> None:
        """End `fault`, or all of them; what has happened to a connection stays."""
        for key in list(self._switches):
            if fault in (None, key[0]):
                del self._switches[key]
        self.changed()

    def all_of(self, fault: StreamFault) -> list[Switch]:
        """Return the switches of one fault."""
        return [switch for switch in self._switches.values() if switch.fault is fault]

    @property
    def skew_ms(self) -> int:
        """Return how far messages are dated off the market's time."""
        return round(sum(s.size for s in self.all_of(StreamFault.CLOCK_SKEW)) * 1000)

    @property
    def rows_late_ms(self) -> int:
        """Return the longest time by which a candle may be late."""
        return round(sum(s.size for s in self.all_of(StreamFault.LATE_ROWS)) * 1000)

    def row_lag_ms(self, code: str, period: str, open_ms: int) -> int:
        """Return by how much one candle is late: always the same for the same one."""
        late_ms = 0
        for switch in self.all_of(StreamFault.LATE_ROWS):
            key = key_of(switch.key, code, period)
            late_ms += mix(open_ms, key) % (round(switch.size * 1000) + 1)
        return late_ms

    def connect(self, number: int) -> ConnectionFaults:
        """Return what will go wrong with a new connection."""
        seed = self._rng.getrandbits(64)
        return ConnectionFaults(self, number, random.Random(seed))  # noqa: S311 - see above

    def strike(self, now_s: float, fault: str, connection: int, detail: str = "") -> None:
        """Write down that something went wrong."""
        self.log.append(Strike(now_s, fault, connection, detail))

    def struck(self, fault: str, connection: int | None = None) -> int:
        """Return how often a fault is in the log, of one connection or of all."""
        return sum(s.fault == fault and connection in (None, s.connection) for s in self.log)


def _check(fault: StreamFault, size: float, code: str | None) -> None:
    name = fault.value
    if fault in CHANCES and not 0 < size <= 1:
        raise ValueError(f"{name} needs a probability above 0 and at most 1, was {size}")
    if not math.isfinite(size) or abs(size) > _SECONDS_MAX:
        raise ValueError(f"{name} needs at most {_SECONDS_MAX:.0f} seconds, was {size}")
    is_named = fault is StreamFault.STALL and code is not None
    if fault is not StreamFault.CLOCK_SKEW and size <= 0 and not is_named:
        raise ValueError(f"{name} needs a number of seconds above 0, was {size}")


class _Held(NamedTuple):
    frame: bytes
    until_s: float
    frames_left: int


@dataclass(slots=True)
class ConnectionFaults:
    """What goes wrong with one connection.

    Attributes:
      owner: The switches.
      number: The connection's, for the log.
      rng: Decides.
      half_open: Whether nothing goes either way any more.
    """

    owner: StreamFaults
    number: int
    rng: random.Random
    half_open: bool = False
    _moments_s: dict[StreamFault, tuple[Switch, float]] = field(default_factory=dict)
    _silent: set[tuple[str, str]] = field(default_factory=set)
    _held: list[_Held] = field(default_factory=list)

    def plan(self, now_s: float) -> None:
        """Draw when something happens, for whatever has been switched on since."""
        for fault in (StreamFault.CUT, StreamFault.HALF_OPEN, StreamFault.STALL):
            switches = [s for s in self.owner.all_of(fault) if s.size > 0 and s.code is None]
            planned = self._moments_s.get(fault)
            if not switches:
                self._moments_s.pop(fault, None)
            elif planned is None or planned[0] is not switches[-1]:
                self._draw(switches[-1], now_s)

    def _draw(self, switch: Switch, now_s: float) -> None:
        wait_s = self.rng.expovariate(1 / switch.size)
        self._moments_s[switch.fault] = (switch, now_s + wait_s)

    def next_s(self) -> float:
        """Return when something happens next; infinity if nothing is planned."""
        planned = [moment_s for _, moment_s in self._moments_s.values()]
        return min([*planned, *(held.until_s for held in self._held)], default=math.inf)

    def happen(self, now_s: float, streams: list[tuple[str, str]]) -> bool:
        """Let what is due happen; return whether the connection is cut.

        Args:
          now_s: The present.
          streams: The type and code of all that is told on this connection, in order.
        """
        for fault, (switch, moment_s) in list(self._moments_s.items()):
            if moment_s > now_s:
                continue
            if fault is StreamFault.STALL:
                self._draw(switch, now_s)
                if streams:
                    self.silence(now_s, self.rng.choice(streams))
                continue
            del self._moments_s[fault]
            self._moments_s[fault] = (switch, math.inf)
            self.owner.strike(now_s, fault.value, self.number)
            if fault is StreamFault.CUT:
                return True
            self.half_open = True
        return False

    def silence(self, now_s: float, stream: tuple[str, str]) -> None:
        """Let one (type, code) fall silent until it is subscribed to anew."""
        if stream not in self._silent:
            self._silent.add(stream)
            self.owner.strike(now_s, StreamFault.STALL.value, self.number, " ".join(stream))

    def renew(self) -> None:
        """Let all that fell silent speak again: there is a new subscription."""
        self._silent.clear()

    def old_snapshot(self, now_s: float, kind: str, code: str) -> bool:
        """Return whether a candle's snapshot is to be an old one."""
        return self._chance(now_s, StreamFault.OLD_SNAPSHOT, kind, code)

    def touch(self, now_s: float, kind: str, code: str, frame: bytes) -> list[bytes]:
        """Return what is sent in place of one frame."""
        if (kind, code) in self._silent:
            return []
        if not self.owner._switches:  # noqa: SLF001 - the usual case must cost nothing
            return [frame] if not self._held else self._overtake([frame])
        if any(switch.hits(kind, code) for switch in self._named_stalls()):
            return []
        if self._chance(now_s, StreamFault.LOSE, kind, code):
            return []
        frames = [frame]
        if self._chance(now_s, StreamFault.DUPLICATE, kind, code):
            frames.append(frame)
        if self._chance(now_s, StreamFault.REORDER, kind, code):
            later = self.rng.randint(1, REORDER_FRAMES_MAX)
            self._held.append(_Held(frame, now_s + REORDER_WAIT_S, later))
            frames.pop()
            if not frames:
                return []
        return self._overtake(frames)

    def _named_stalls(self) -> list[Switch]:
        return [s for s in self.owner.all_of(StreamFault.STALL) if s.code is not None]

    def _overtake(self, frames: list[bytes]) -> list[bytes]:
        found = list(frames)
        waiting = []
        for held in self._held:
            left = held.frames_left - 1
            if left > 0:
                waiting.append(held._replace(frames_left=left))
            else:
                found.append(held.frame)
        self._held = waiting
        return found

    def release(self, now_s: float) -> list[bytes]:
        """Return the frames that have waited long enough to be overtaken."""
        due = [held.frame for held in self._held if held.until_s <= now_s]
        self._held = [held for held in self._held if held.until_s > now_s]
        return due

    def _chance(self, now_s: float, fault: StreamFault, kind: str, code: str) -> bool:
        for switch in self.owner.all_of(fault):
            if switch.hits(kind, code) and self.rng.random() < switch.size:
                self.owner.strike(now_s, fault.value, self.number, f"{kind} {code}")
                return True
        return False
