"""Whose turn it is among priorities: the most urgent first, but each gets its share. Values only.

A priority with a share of 0.2 that always has somebody waiting gets at least one in five of what is
let through, whatever the more urgent ask for; one with no share gets only what nobody else wants.
Shares are counted in weight let through, not in time, so an idle exchange owes nobody anything.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from actors.messages import Priority

# What somebody waits for now gets the rest, which is most of it. Live data that is broken must be
# mended even while bots ask without end, and declared needs must come nearer; a guess may wait.
SHARES: Mapping[Priority, float] = {
    Priority.ASKED: 0.7,
    Priority.REPAIR: 0.2,
    Priority.DECLARED: 0.1,
    Priority.PREDICTED: 0.0,
}


def check_shares(shares: Mapping[Priority, float]) -> None:
    """Refuse shares that nobody could be given.

    Raises:
      ValueError: A priority has none named, or all together are more than there is.
    """
    missing = [priority.name.lower() for priority in Priority if priority not in shares]
    if missing:
        raise ValueError(f"every priority needs a share, {', '.join(missing)} had none")
    # Written so that a NaN is refused.
    if not (all(share >= 0 for share in shares.values()) and sum(shares.values()) <= 1 + 1e-9):
        raise ValueError(f"shares must be at least 0 and at most 1 in all, were {dict(shares)}")


class Turns:
    """Keeps account of what each priority got.

    Each share is a stride: after w of weight, a priority with share s is owed its next turn when
    w/s has been let through in all. Among those owed a turn, the one owed it first goes first.

    Args:
      shares: What part each priority gets at least.
    """

    def __init__(self, shares: Mapping[Priority, float] = SHARES) -> None:
        check_shares(shares)
        self.shares = shares
        self._total = 0.0
        self._due = {priority: 0.0 for priority, share in shares.items() if share > 0}

    def begin(self, priority: Priority) -> None:
        """Note that somebody waits where nobody did: his turn is a whole stride from now.

        What was not wanted is not owed.
        """
        if priority in self._due:
            stride = 1.0 / self.shares[priority]
            self._due[priority] = max(self._due[priority], self._total + stride)

    def order(self, waiting: Iterable[Priority]) -> list[Priority]:
        """Return `waiting` in the order in which they go."""
        return sorted(waiting, key=self._rank)

    def serve(self, priority: Priority, weight: int, passed_over: Iterable[Priority]) -> None:
        """Note that a request was let through.

        Args:
          priority: Whose it was.
          weight: How much it counted for.
          passed_over: Those before it whose own limits held them back: nothing is owed for that.
        """
        if priority in self._due:
            # Who goes before it is owed to him has his next turn a whole stride from now.
            from_ = min(self._due[priority], self._total)
            self._due[priority] = from_ + weight / self.shares[priority]
        self._total += weight
        for other in passed_over:
            self.begin(other)

    def owed(self, priority: Priority) -> float:
        """Return how many turns are owed to a priority; below zero if it is not its turn yet."""
        share = self.shares[priority]
        return (self._total - self._due[priority]) * share if share > 0 else -math.inf

    def before(self, priority: Priority, ahead: int, above: int) -> int:
        """Return how much weight goes at least before somebody who waits.

        Args:
          priority: His.
          ahead: The weight of those who wait before him with the same priority.
          above: The weight of those who wait with a more urgent one.
        """
        share = self.shares[priority]
        if share > 0:
            above = min(above, int(ahead * (1.0 - share) / share))
        return ahead + above

    def _rank(self, priority: Priority) -> tuple[float, Priority]:
        due = self._due.get(priority, math.inf)
        return (due if due <= self._total else math.inf, priority)
