"""What a supervisor decides by, as tables and figures: strategies, restarts, limits."""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass, field

from runtime.core.backoff import Backoff, RestartIntensity, check_can_give_up
from runtime.core.child import ChildSpec, Directive, Exit, Life, Restart
from runtime.core.errors import BadSpec
from runtime.core.reports import CrashLog


class Strategy(enum.Enum):
    """Who is restarted with a child that crashed."""

    ONE_FOR_ONE = "one_for_one"
    """Nobody else."""
    REST_FOR_ONE = "rest_for_one"
    """Those started after it."""
    ONE_FOR_ALL = "one_for_all"
    """All its siblings."""


class AutoShutdown(enum.Enum):
    """Whether a supervisor ends itself when significant children have ended.

    Only an end of the child's own counts, after which it is not started again: never one that its
    supervisor brought about, for whatever reason.
    """

    NEVER = "never"
    """No; there may be no significant children."""
    ANY_SIGNIFICANT = "any_significant"
    """When one of them has."""
    ALL_SIGNIFICANT = "all_significant"
    """When the last of them has."""


# (restart kind, how it ended) -> whether it is started again.
RESTARTS: dict[tuple[Restart, Exit], bool] = {
    (Restart.PERMANENT, Exit.NORMAL): True,
    (Restart.PERMANENT, Exit.SHUTDOWN): True,
    (Restart.PERMANENT, Exit.KILLED): True,
    (Restart.PERMANENT, Exit.CRASH): True,
    (Restart.TRANSIENT, Exit.NORMAL): False,
    (Restart.TRANSIENT, Exit.SHUTDOWN): False,
    (Restart.TRANSIENT, Exit.KILLED): True,
    (Restart.TRANSIENT, Exit.CRASH): True,
    (Restart.TEMPORARY, Exit.NORMAL): False,
    (Restart.TEMPORARY, Exit.SHUTDOWN): False,
    (Restart.TEMPORARY, Exit.KILLED): False,
    (Restart.TEMPORARY, Exit.CRASH): False,
}


def comes_back(restart: Restart, life: Life) -> bool:
    """Return whether a child is started again after `life` has ended by itself."""
    return RESTARTS[restart, life.exit()] and life.directive is not Directive.STOP


@dataclass(frozen=True, slots=True)
class Flags:
    """All that a supervisor goes by, besides its children; can be changed while it runs.

    Attributes:
      strategy: Who is restarted with a child that crashed.
      intensity: When to give up; None for never.
      backoff: How long to wait before a restart.
      auto_shutdown: Whether it ends itself when significant children have ended.
      crash_log: What is written about crashes.
    """

    strategy: Strategy = Strategy.ONE_FOR_ONE
    intensity: RestartIntensity | None = field(default_factory=RestartIntensity)
    backoff: Backoff = field(default_factory=Backoff)
    auto_shutdown: AutoShutdown = AutoShutdown.NEVER
    crash_log: CrashLog = field(default_factory=CrashLog)

    def __post_init__(self) -> None:
        """Refuse flags that cannot work, by name."""
        kinds = {
            "strategy": (self.strategy, Strategy),
            "backoff": (self.backoff, Backoff),
            "auto_shutdown": (self.auto_shutdown, AutoShutdown),
            "crash_log": (self.crash_log, CrashLog),
        }
        for name, (value, kind) in kinds.items():
            if not isinstance(value, kind):
                article = "an" if kind is AutoShutdown else "a"
                raise BadSpec(f"{name} must be {article} {kind.__name__}, was {value!r}")
        if self.intensity is not None and not isinstance(self.intensity, RestartIntensity):
            raise BadSpec(f"intensity must be a RestartIntensity or None, was {self.intensity!r}")
        check_can_give_up(self.intensity, self.backoff)


def checked_flags(flags: object) -> Flags:
    """Return `flags` if that is what they are.

    Raises:
      BadSpec: They are not.
    """
    if not isinstance(flags, Flags):
        raise BadSpec(f"flags must be given as Flags, was {flags!r}")
    return flags


def checked_spec(spec: object) -> ChildSpec:
    """Return `spec` if it is a child's specification.

    Raises:
      BadSpec: It is not.
    """
    if not isinstance(spec, ChildSpec):
        raise BadSpec(f"a child must be given as a ChildSpec, was {spec!r}")
    return spec


class Window:
    """The moments of the restarts that count. Holds one more than is allowed, at most."""

    def __init__(self) -> None:
        self._moments_s: deque[float] = deque()

    def __len__(self) -> int:
        """Return how many count, as of the last restart."""
        return len(self._moments_s)

    def exceeded(self, intensity: RestartIntensity | None, now_s: float) -> bool:
        """Count a restart, and return whether that is one too many."""
        if intensity is None:
            self._moments_s.clear()
            return False
        moments_s = self._moments_s
        moments_s.append(now_s)
        while moments_s[0] + intensity.within_s <= now_s:
            moments_s.popleft()
        return len(moments_s) > intensity.max_restarts
