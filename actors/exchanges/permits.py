"""Taking permits of a rate limiter, and giving back each one with what became of it."""

from __future__ import annotations

from collections import deque

import trio

from actors.errors import RateLimited
from actors.messages import AcquirePermit, Permit, Priority, ReleasePermit
from runtime.core.clock import Clock
from runtime.core.errors import ActorError, ActorRestarted, CallTimeout
from runtime.core.ref import ActorRef

# Asking for a permit again after the limiter crashed does no harm; but it may crash for ever. The
# supervisor's back-off lies between the tries.
_ACQUIRE_TRIES = 10

# Releases that found the limiter's mailbox full. Beyond this the oldest are left to heal.
_OWED_MAX = 1000
# How often the limiter is let work before a release is left for the next request to tell.
_PAY_TRIES = 100


class PermitDesk:
    """The way to one exchange's limiter, for whoever sends something there.

    Args:
      limiter: The exchange's `RateLimiterActor`.
      clock: Where time is read.
    """

    def __init__(self, limiter: ActorRef, clock: Clock) -> None:
        self._limiter = limiter
        self._clock = clock
        self._owed: deque[ReleasePermit] = deque(maxlen=_OWED_MAX)

    async def acquire(
        self,
        group: str,
        priority: Priority,
        *,
        timeout_s: float,
        about: str,
        weight: int = 1,
        holder: str = "",
    ) -> Permit:
        """Return leave to send one request, as soon as there is some.

        Args:
          group: What the request counts in.
          priority: Whose turn it is when slots are scarce.
          timeout_s: How long to wait for it, in seconds.
          about: What it is for, for errors.
          weight: How much the request counts for.
          holder: The account or connection it counts for, where the group is counted by these.

        Raises:
          RateLimited: There is none in time; see `retry_after_s`.
          Overloaded: Too many wait for it already.
          ActorError: The limiter is not there.
        """
        request = AcquirePermit(group=group, priority=priority, holder=holder, weight=weight)
        deadline_s = self._clock.now_s() + timeout_s
        tries = 0
        while True:
            tries += 1
            try:
                left_s = deadline_s - self._clock.now_s()
                return await self._limiter.call(request, timeout_s=left_s)
            except CallTimeout as error:
                raise RateLimited(
                    f"{about}: no slot of group {group} was free within {timeout_s:g} s, "
                    f"others were first"
                ) from error
            except ActorRestarted:
                if tries == _ACQUIRE_TRIES:
                    raise

    def give_back(self, release: ReleasePermit) -> None:
        """Tell the limiter what became of a permit; never waits, so it works in a cancel.

        What finds no room is told later. If it never is, the limiter stops waiting for it.
        """
        self._owed.append(release)
        self._pay_owed()

    async def pay_all_owed(self) -> None:
        """Let the limiter work off its mailbox if it had no room."""
        for _ in range(_PAY_TRIES):
            if not self._owed:
                return
            await trio.lowlevel.checkpoint()
            self._pay_owed()

    def _pay_owed(self) -> None:
        while self._owed:
            try:
                self._limiter.cast(self._owed[0])
            except ActorError:
                return
            self._owed.popleft()
