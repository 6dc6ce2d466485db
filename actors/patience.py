"""How long a question may take that others wait for."""

from __future__ import annotations

from collections.abc import Iterable

# What is left of a caller's time to tell him that it was not enough, but at most a tenth of it.
_TELL_S = 0.5
# Who comes while a question is under way, and waits for so much longer than all for whom it was
# asked, has something to gain from another. That one is asked for all of his time, so that nobody
# stays for a third.
MORE_S = 1.0


def patience_s(deadlines_s: Iterable[float], now_s: float, *, most_s: float) -> float:
    """Return how long a question may take, so that the last of those who wait learns of its end.

    Args:
      deadlines_s: Until when each of them waits.
      now_s: The time.
      most_s: The longest it may take in any case, in seconds.
    """
    left_s = max(deadlines_s, default=now_s) - now_s
    return max(0.0, min(left_s - min(_TELL_S, left_s / 10), most_s))
