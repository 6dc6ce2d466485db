"""A circuit breaker: while an exchange is away, one request at a time goes out to see.

    closed --five failures in a row--> open --after a while, one probe--> closed, or open for longer

No clock and no tasks: times come in. Only silence and 5xx are failures. A refusal is an answer:
somebody is there.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """When a breaker opens, and how often it lets somebody see.

    Attributes:
      failures_max: It opens at so many failures in a row.
      first_s: How long after that the first probe goes out; each one that fails doubles it.
      longest_s: Where doubling ends. Each is cut by chance to between a half and all of it, so that
        many runtimes do not come back in the same moment.
    """

    failures_max: int = 5
    first_s: float = 1.0
    longest_s: float = 30.0


class Breaker:
    """The state of one exchange's breaker. It outlives the actor that uses it.

    Args:
      rules: When it opens.

    Attributes:
      is_open: Whether the exchange counts as away.
      opened_s: Since when; of no meaning while it is closed.
      probe_s: When the next probe may go out.
      reason: What went wrong last.
    """

    def __init__(self, rules: BreakerRules = BreakerRules()) -> None:
        self._rules = rules
        self._failures = 0
        self._probes = 0
        self._probing = False
        self._watchers: dict[Callable[[], None], None] = {}
        self.is_open = False
        self.opened_s = 0.0
        self.probe_s = 0.0
        self.reason = ""

    def enter(self, now_s: float) -> Literal["pass", "probe", "refuse"]:
        """Return whether a request may go; who is a probe must say how it ended."""
        if not self.is_open:
            return "pass"
        if self._probing or now_s < self.probe_s:
            return "refuse"
        self._probing = True
        return "probe"

    def answered(self, *, probe: bool) -> bool:
        """Note that the exchange answered; return whether it was away."""
        self._failures = self._probes = 0
        if probe:
            # Only its own end frees the probe's place: another's answer may close the breaker, and
            # it may open again, while the probe is still on its way.
            self._probing = False
        was_open, self.is_open = self.is_open, False
        return was_open

    def failed(self, now_s: float, reason: str, rng: random.Random, *, probe: bool) -> bool:
        """Note that it did not; return whether that is what opened the breaker."""
        self.reason = reason
        self._failures += 1
        if probe:
            self._probing = False
        if self.is_open:
            if probe:
                self._wait(now_s, rng)
            return False
        if self._failures < self._rules.failures_max:
            return False
        self.is_open, self.opened_s = True, now_s
        self._wait(now_s, rng)
        for tell in list(self._watchers):
            tell()
        return True

    def give_up(self, now_s: float, rng: random.Random) -> None:
        """Note that a probe ended without having learned anything: its caller had no more time.

        The next one goes out after as long a wait as before this one, for many may be impatient.
        """
        self._probing = False
        if self.is_open:
            self._probes = max(0, self._probes - 1)
            self._wait(now_s, rng)

    def watch(self, tell: Callable[[], None]) -> None:
        """Have `tell` called when it opens; it must not raise."""
        self._watchers[tell] = None

    def unwatch(self, tell: Callable[[], None]) -> None:
        """End that."""
        self._watchers.pop(tell, None)

    def explain(self, now_s: float) -> str:
        """Return since when, why, and when it will be tried again, in words."""
        wait_s = self.probe_s - now_s
        when = f"in {wait_s:.1f} s" if wait_s > 0 else "now, by the next request"
        if self._probing:
            when = "at this moment"
        return (
            f"it has been away for {max(0.0, now_s - self.opened_s):.1f} s and is tried again "
            f"{when}; the last try ended with: {self.reason}"
        )

    def _wait(self, now_s: float, rng: random.Random) -> None:
        wait_s = min(self._rules.first_s * 2.0 ** min(self._probes, 62), self._rules.longest_s)
        self._probes += 1
        self.probe_s = now_s + wait_s * rng.uniform(0.5, 1.0)
