"""What one actor has to do with its messages: the figures, and the replies that it owes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from runtime.core.reply import Reply


@dataclass(slots=True, eq=False)
class Work:
    """What an actor does with its messages; kept from one incarnation to the next.

    Attributes:
      handled: Messages dealt with, domain errors included.
      failed: Messages whose handler failed with something else.
      late: Answers that came when their callers had left.
      busy_s: Time spent in handlers, in seconds.
      longest_s: The longest time spent on one message, in seconds.
      in_hand: The message in hand.
      since_s: When it was taken in hand, on `Clock.now_s`.
    """

    handled: int = 0
    failed: int = 0
    late: int = 0
    busy_s: float = 0.0
    longest_s: float = 0.0
    in_hand: object = None
    since_s: float = 0.0


class Owed:
    """What one incarnation of an actor owes: the reply in hand, and those it took for later.

    Args:
      work: Where answers are counted that came too late.

    Attributes:
      in_hand: To the request that is being handled; None if it was taken, or nobody waits.
      taken: Not answered yet. Bound: the number of callers, each of which has a deadline.
    """

    __slots__ = ("_work", "in_hand", "taken")

    def __init__(self, work: Work) -> None:
        self.in_hand: Reply | None = None
        # A dictionary for its order: whoever waits longest is told first.
        self.taken: dict[Reply, None] = {}
        self._work = work

    def take(self) -> Reply | None:
        """Move the reply in hand to those that are answered later; return it."""
        reply, self.in_hand = self.in_hand, None
        if reply is not None:
            self.taken[reply] = None
            reply.forget = self._settled
        return reply

    def fail(self, error: Callable[[], Exception]) -> None:
        """Answer everything with an error of its own."""
        unanswered = list(self.taken)
        self.taken.clear()
        if self.in_hand is not None:
            unanswered.append(self.in_hand)
        for reply in unanswered:
            reply.forget = None
            reply.fail(error())

    def _settled(self, reply: Reply) -> None:
        self.taken.pop(reply, None)
        if reply.abandoned:
            self._work.late += 1
