"""`SyncNeed`: what a strategy uses, declared to the runtime; the twin of `Need`."""

from __future__ import annotations

from contextlib import suppress

from actors.errors import UnknownNeed
from actors.preload_messages import DeclareNeed
from actors.preload_reports import NeedReport
from runtime.client.need_requests import (
    WAIT_S,
    WHY_S,
    await_request,
    not_ready,
    release_request,
    state_request,
)
from runtime.client.requests import TIMEOUT_S, SyncAsk
from runtime.core.errors import ActorDown, ActorError, ActorRestarted, CallTimeout

# What a restart of the PreloaderActor counts for while somebody waits, in seconds.
_RESTART_S = 1.0


class SyncNeed:
    """What a strategy uses of one series. Made by `market.need`.

    It goes on when this object is forgotten: it ends with `release`, or when its candles were not
    asked for in `preload.keep_need_s`. Then `wait_ready` and `state` raise `UnknownNeed`.

    Every method raises what `SyncClient.ask` raises.

    Args:
      ask: Asks the runtime.
      declared: As it was declared.
      report: What the runtime said to that.

    Attributes:
      report: How far it was when that was heard last.
    """

    def __init__(self, ask: SyncAsk, declared: DeclareNeed, report: NeedReport) -> None:
        self._ask = ask
        self._declared = declared
        self.report = report

    def wait_ready(self, *, timeout_s: float = 600.0) -> NeedReport:
        """Return when everything that it takes, or that exists of it, is at hand.

        Raises:
          CallTimeout: It was not in so many seconds; it says how far it was, and why. It goes on
            all the same.
        """
        left_s = timeout_s
        while True:
            try:
                self.report = self._ask(await_request(self._declared), min(left_s, WAIT_S))
            except (ActorDown, ActorRestarted):
                # It goes on in the next life, which is asked anew.
                left_s -= _RESTART_S
                if left_s <= 0:
                    raise
            except CallTimeout:
                left_s -= WAIT_S
                if left_s <= 0:
                    self._tell_late(timeout_s)
            else:
                return self.report

    def state(self, *, timeout_s: float = TIMEOUT_S) -> NeedReport:
        """Return how far it is."""
        found = self._ask(state_request(self._declared), timeout_s)
        if not found:
            what = f"{self._declared.market} {self._declared.timeframe}"
            raise UnknownNeed(
                f"strategy {self._declared.strategy!r} needs nothing of {what} any more: it was "
                "released, or not used for long"
            )
        self.report = found[0]
        return self.report

    def release(self, *, timeout_s: float = TIMEOUT_S) -> None:
        """End it; one that has ended already is left alone."""
        try:
            self._ask(release_request(self._declared), timeout_s)
        except UnknownNeed:
            return

    def _tell_late(self, timeout_s: float) -> None:
        """Raise that it was not ready in time, and why."""
        with suppress(ActorError):
            self.state(timeout_s=WHY_S)
        raise CallTimeout(not_ready(self.report, timeout_s)) from None
