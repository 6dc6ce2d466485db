"""How a feed says that it is doing: at once to whoever asks, and in time to whoever listens.

What lasts for less than `SETTLE_S` is no news: a line that is back within a second, or a stream
that was quiet, would have listeners hear of nothing else.
"""

from __future__ import annotations

from actors.feed_tables import LineState
from actors.reports import Health
from actors.updates import HealthUpdate
from runtime.core.clock import Clock
from runtime.core.pubsub import PubSub

SETTLE_S = 5.0
_TOPIC = ("health", "", "")


class FeedHealth:
    """The health of one exchange's streams.

    Args:
      exchange: Its name.
      clock: Where time is read.
      events: Where changes are published.
    """

    def __init__(self, exchange: str, clock: Clock, events: PubSub) -> None:
        self._name = f"{exchange} stream"
        self._clock = clock
        self._events = events
        self._told: str = "unknown"
        # Since when it has been other than told.
        self._other_s: float | None = None

    def now(self, line: LineState, *, silent: int, wanted: int, refused: bool) -> Health:
        """Return how the streams are doing.

        Args:
          line: How the line is.
          silent: Streams that fell silent, and did not answer when asked for again.
          wanted: Streams that are wanted.
          refused: Whether the cache takes nothing.
        """
        reason = ""
        if line.state == "off" or (line.state == "connecting" and not line.failures):
            state = "unknown" if line.state == "off" or not line.reason else "away"
        elif line.state != "live":
            state = "away"
        elif refused:
            state, reason = "degraded", "the cache takes nothing of what streams tell"
        elif silent:
            state, reason = "degraded", f"{silent} of {wanted} streams have fallen silent"
        else:
            state = "ok"
        heard = line.heard_s > float("-inf")
        ago_ms = round((self._clock.now_s() - line.heard_s) * 1000) if heard else 0
        return Health(
            name=self._name,
            state=state,  # type: ignore[arg-type]
            reason=line.reason if state == "away" else reason,
            since_ms=self._clock.utc_ms() - ago_ms if heard else None,
        )

    def look(self, health: Health) -> None:
        """Tell listeners of `health`, if it is another than they know and has been for long."""
        now_s = self._clock.now_s()
        if health.state == self._told:
            self._other_s = None
        elif self._other_s is None:
            self._other_s = now_s
        elif now_s - self._other_s >= SETTLE_S:
            self._told, self._other_s = health.state, None
            self._events.publish(_TOPIC, HealthUpdate(health=health))
