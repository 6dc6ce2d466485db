"""What operators see of a tree: frozen figures, with no message, argument or repr in them."""

from __future__ import annotations

import msgspec


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How one incarnation of a child ended.

    Attributes:
      utc_ms: When, in milliseconds since the Unix epoch.
      incarnation: Which one.
      exit: normal, shutdown, killed or crash.
      reason: In one line; empty if there is nothing to say.
      uptime_s: How long it had lived, in seconds.
      traceback: Of the crash, bounded in lines and characters; empty if there was none.
    """

    utc_ms: int
    incarnation: int
    exit: str
    reason: str
    uptime_s: float
    traceback: str = ""


class CrashReport(msgspec.Struct, frozen=True, kw_only=True):
    """A crash, and what its supervisor makes of it.

    Attributes:
      utc_ms: When, in milliseconds since the Unix epoch.
      supervisor: Path of the supervisor; empty for the root.
      child: Path of the child.
      incarnation: Which one of its lives ended.
      exit: crash or killed; normal or shutdown for a permanent child that should not have ended.
      reason: The error in one line.
      uptime_s: How long that life had lasted, in seconds.
      next: What happens next, in words.
      restarts_in_window: Restarts that count towards the supervisor's limit, this one included.
      restarts_max: That limit; None if it never gives up.
      traceback: Bounded in lines and characters; empty if there was none.
    """

    utc_ms: int
    supervisor: str
    child: str
    incarnation: int
    exit: str
    reason: str
    uptime_s: float
    next: str
    restarts_in_window: int = 0
    restarts_max: int | None = None
    traceback: str = ""


class ChildCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many children a supervisor has.

    Attributes:
      specs: With a place here, running or not.
      active: Running.
      supervisors: Of `specs`, those that are supervisors.
      workers: Of `specs`, the others.
    """

    specs: int
    active: int
    supervisors: int
    workers: int


class ChildInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A child as an operator sees it.

    Attributes:
      name: Its path in the tree.
      state: starting, running, restarting or stopped.
      incarnation: How many lives it has had, this one included.
      uptime_s: Age of this life, in seconds; 0 if it is not running.
      restarts: How often it was started again.
      last_crash: The last crash in one line; empty if there was none.
      queued: Messages in its mailbox.
      queued_max: The most there ever were.
      received: Messages taken in.
      refused: Messages refused at the mailbox's bound.
      children: What is below it.
      dropped: Messages that made room for newer ones.
      ready: Whether its answers are good; a supervisor's are when all its children's are.
      suspended: Whether it was told to leave its mailbox alone.
      is_supervisor: Whether it is one.
      restart: permanent, transient or temporary.
      significant: Whether its end may end its supervisor.
      handled: Messages dealt with.
      failed: Messages whose handler failed.
      late: Answers that came when their callers had left.
      busy_s: Time spent in its handlers, in seconds.
      longest_s: The longest time spent on one message, in seconds.
      in_hand: Type of the message in hand; empty if there is none.
      in_hand_s: For how long, in seconds.
      endings: How its last lives ended, oldest first; bounded.
    """

    name: str
    state: str
    incarnation: int
    uptime_s: float
    restarts: int
    last_crash: str
    queued: int
    queued_max: int
    received: int
    refused: int
    children: tuple[ChildInfo, ...]
    dropped: int = 0
    ready: bool = False
    suspended: bool = False
    is_supervisor: bool = False
    restart: str = "permanent"
    significant: bool = False
    handled: int = 0
    failed: int = 0
    late: int = 0
    busy_s: float = 0.0
    longest_s: float = 0.0
    in_hand: str = ""
    in_hand_s: float = 0.0
    endings: tuple[Ending, ...] = ()
