"""When a crashed child is started again, and when its supervisor gives up: one checked policy."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from runtime.core.checks import is_number, is_whole
from runtime.core.errors import BadSpec


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before a restart.

    The first restart is immediate. The n-th in a row waits
    `min(max_s, min_s * factor ** (n - 2))`, spread by `jitter` of itself in both directions.

    Attributes:
      min_s: Wait before the second restart in a row, in seconds.
      factor: How the wait grows from one restart to the next.
      max_s: The longest wait before chance is added, in seconds.
      jitter: Share of the wait that chance adds or takes away, 0 to 1.
      forgive_after_s: A child that lived this long starts the row anew.
    """

    min_s: float = 0.1
    factor: float = 2.0
    max_s: float = 5.0
    jitter: float = 0.1
    forgive_after_s: float = 60.0

    def __post_init__(self) -> None:
        """Refuse figures that make no row of waits."""
        row = is_number(self.max_s, 0) and is_number(self.min_s, 0, self.max_s)
        row = row and is_number(self.factor, 1) and math.inf not in {self.max_s, self.factor}
        if not (row and is_number(self.jitter, 0, 1) and is_number(self.forgive_after_s, 0)):
            raise BadSpec(
                "backoff needs 0 <= min_s <= max_s, factor >= 1, 0 <= jitter <= 1 and "
                f"forgive_after_s >= 0, was {self}"
            )

    def wait_s(self, nth: int, rng: random.Random) -> float:
        """Return the wait before the `nth` restart in a row, counted from 1."""
        return self.nominal_s(nth) * (1 + self.jitter * (2 * rng.random() - 1))

    def nominal_s(self, nth: int) -> float:
        """Return that wait before chance is added."""
        if nth <= 1 or self.min_s == 0:
            return 0.0
        try:
            return min(self.max_s, self.min_s * self.factor ** (nth - 2))
        except OverflowError:
            # A power too large for a float lies beyond any ceiling.
            return self.max_s


@dataclass(frozen=True, slots=True)
class RestartIntensity:
    """Give up after more than `max_restarts` restarts within `within_s` seconds."""

    max_restarts: int = 5
    within_s: float = 30.0

    def __post_init__(self) -> None:
        """Refuse a limit that means nothing."""
        period = is_number(self.within_s, 0) and self.within_s > 0
        if not (period and is_whole(self.max_restarts, 0)):
            raise BadSpec(f"restart intensity needs max_restarts >= 0 and within_s > 0, was {self}")


def check_can_give_up(intensity: RestartIntensity | None, backoff: Backoff) -> None:
    """Refuse a policy whose waits are so long that its intensity can never be exceeded.

    Raises:
      BadSpec: `max_restarts + 1` crashes in a row, at the shortest waits between them, take
        `within_s` or longer. Somebody who wants no giving up says so with None.
    """
    if intensity is None:
        return
    shortest_s = sum(
        backoff.nominal_s(nth) * (1 - backoff.jitter)
        for nth in range(1, intensity.max_restarts + 1)
    )
    if shortest_s >= intensity.within_s:
        raise BadSpec(
            f"this supervisor could never give up: {intensity.max_restarts + 1} crashes take at "
            f"least {shortest_s:.3g} s of back-off, but count only within {intensity.within_s:g} s"
        )
