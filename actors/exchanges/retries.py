"""What is asked again, how often and when: tenacity, on our clock and with our dice."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import tenacity

from actors.errors import ExchangeUnavailable
from runtime.core.clock import Clock


@dataclass(frozen=True, slots=True)
class RetryRules:
    """How often a request is sent, and how long it waits in between.

    Attributes:
      tries: Most times in all.
      first_s: Before the second; each further wait is twice the last. Each is cut by chance to
        between a half and all of it, so that those who failed together do not return together.
      longest_s: Where doubling ends.
    """

    tries: int = 3
    first_s: float = 1.0
    longest_s: float = 10.0

    def __post_init__(self) -> None:
        """Refuse never to ask."""
        if self.tries < 1:
            raise ValueError(f"tries must be at least 1, was {self.tries}")


class TryFailed(ExchangeUnavailable):
    """One try brought no answer. It goes as far as `ThrottledExchange.fetch` and no further.

    Attributes:
      repeatable: Whether it does no harm to send the same again.
      blames: Whether it is the exchange's doing, and not a caller who gave it too little time.
    """

    def __init__(self, message: str, *, repeatable: bool, blames: bool) -> None:
        super().__init__(message)
        self.repeatable = repeatable
        self.blames = blames


def retrying(
    rules: RetryRules,
    *,
    clock: Clock,
    rng: random.Random,
    sleep: Callable[[float], Awaitable[None]],
    deadline_s: float,
) -> tenacity.AsyncRetrying:
    """Return the tries of one request.

    No try begins after `deadline_s`: if the next one would, the last error is the answer.

    Args:
      rules: How many there are, and how far apart.
      clock: Where time is read.
      rng: Where chance comes from.
      sleep: Waits so many seconds; it may end sooner where waiting is of no use.
      deadline_s: How long the caller waits, on `Clock.now_s`.
    """

    def wait_s(state: tenacity.RetryCallState) -> float:
        grown_s = min(rules.first_s * 2.0 ** (state.attempt_number - 1), rules.longest_s)
        return grown_s * rng.uniform(0.5, 1.0)

    def is_over(state: tenacity.RetryCallState) -> bool:
        next_s = clock.now_s() + state.upcoming_sleep
        return state.attempt_number >= rules.tries or next_s >= deadline_s

    def is_repeatable(error: BaseException) -> bool:
        return isinstance(error, TryFailed) and error.repeatable

    return tenacity.AsyncRetrying(
        stop=is_over,
        wait=wait_s,
        retry=tenacity.retry_if_exception(is_repeatable),
        sleep=sleep,
        reraise=True,
    )
