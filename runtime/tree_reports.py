"""What operators are told about actors: frozen figures, each field with its unit.

Of messages only the names of their types are in here, never what they carry.
"""

from __future__ import annotations

from typing import Any

import msgspec


class ActorState(msgspec.Struct, frozen=True, kw_only=True):
    """What one actor or supervisor of the tree is doing.

    Attributes:
      name: Its path in the tree.
      state: starting, running, restarting or stopped.
      ready: Whether its answers are good; a supervisor's are when all its children's are.
      suspended: Whether it was told to leave its mailbox alone.
      supervisor: Whether it is one.
      restart: When it is started again: permanent, transient or temporary.
      incarnation: 1 for the first; one more with every restart.
      uptime_s: How long this incarnation has been up, in seconds; 0 if it is not running.
      restarts: How often it was started again.
      last_crash: What ended the incarnation before, in one line; None if nothing did.
      queued: Messages waiting in its mailbox.
      queued_peak: The most that ever waited.
      received: Messages taken in.
      refused: Messages refused because the mailbox was full.
      dropped: Messages that made room for newer ones.
      handled: Messages dealt with.
      failed: Messages whose handler failed.
      busy_s: Time spent in its handlers, in seconds.
      longest_s: The longest time spent on one message, in seconds.
      in_hand: Type of the message in hand; None if there is none.
      in_hand_s: For how long, in seconds.
    """

    name: str
    state: str
    ready: bool
    suspended: bool
    supervisor: bool
    restart: str
    incarnation: int
    uptime_s: float
    restarts: int
    last_crash: str | None
    queued: int
    queued_peak: int
    received: int
    refused: int
    dropped: int
    handled: int
    failed: int
    busy_s: float
    longest_s: float
    in_hand: str | None
    in_hand_s: float


class Tree(msgspec.Struct, frozen=True, kw_only=True):
    """Every actor there is.

    Attributes:
      time_ms: When this was so, UTC milliseconds since the epoch.
      actors: In the order in which they start, each supervisor before what is below it.
      abandoned: Names of actors that ignored their cancellation and still live, beside those that
        have taken their place.
    """

    time_ms: int
    actors: tuple[ActorState, ...]
    abandoned: tuple[str, ...] = ()


class ActorStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """An actor's own figures.

    Attributes:
      name: Its path in the tree.
      type: Name of its class.
      incarnation: Whose figures they are.
      unanswered: Requests it has taken on and not answered yet.
      statistics: What it counts, by name; of what is no plain data, only the type's name.
    """

    name: str
    type: str
    incarnation: int
    unanswered: int
    statistics: dict[str, Any]


class ActorEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened to an actor.

    Attributes:
      time_ms: When, UTC milliseconds since the epoch.
      name: To which.
      what: started, ready, crashed, stopped, hung, suspended and the like; in a trace also
        received, refused, handled and failed.
      detail: A few words, or the type of the message; often empty.
    """

    time_ms: int
    name: str
    what: str
    detail: str


class ActorEnding(msgspec.Struct, frozen=True, kw_only=True):
    """How one incarnation of an actor ended.

    Attributes:
      time_ms: When, UTC milliseconds since the epoch.
      incarnation: Which one.
      exit: normal, shutdown, killed or crash.
      reason: In one line; empty if there is nothing to say.
      uptime_s: How long it had lived, in seconds.
      next: What its supervisor did about it, in words; empty if that is not known any more.
      traceback: Of the crash, bounded; empty if there was none.
    """

    time_ms: int
    incarnation: int
    exit: str
    reason: str
    uptime_s: float
    next: str
    traceback: str


class ActorReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything there is to know about one actor or supervisor.

    Attributes:
      state: What it is doing.
      statistics: Its own figures; None if it has none, is not running or could not tell.
      trouble: Why it could not tell its figures; empty if there was no such trouble.
      endings: How its last incarnations ended, oldest first; at most eight.
      events: What happened to it and below it lately, oldest first.
    """

    state: ActorState
    statistics: ActorStatistics | None
    trouble: str
    endings: tuple[ActorEnding, ...]
    events: tuple[ActorEvent, ...]


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """What an actor received and handled while it was watched.

    Attributes:
      name: Its path in the tree.
      events: What happened, oldest first.
      ended: Why the trace ended.
    """

    name: str
    events: tuple[ActorEvent, ...]
    ended: str
