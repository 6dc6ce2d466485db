"""`ExchangeClock`: what time it is at the exchange, never guessed too late.

Candle borders are the exchange's business, and its clock is not ours: it may be a sandbox that
lives in another year, or runs faster than we do. So this estimate is a lower bound. Each answer
proves that the exchange's clock had reached some moment when the answer came in; the estimate is
the best such proof, moved on by our own monotonic clock.
"""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime

from runtime.core.clock import Clock

# A `Date` header is cut off to the second, so the clock that wrote it showed less than this more.
_DATE_RESOLUTION_MS = 1000


class ExchangeClock:
    """A lower bound on an exchange's clock.

    Where the exchange's clock runs faster than ours the estimate lags until the next answer. Where
    an answer proves that it runs ahead (the exchange's clock was set back, or runs slower than
    ours), everything earlier is forgotten and that answer alone counts.

    Args:
      clock: Our own clocks.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # The exchange's time less our monotonic time, in milliseconds; None before any answer.
        self._offset_ms: float | None = None

    @property
    def observed(self) -> bool:
        """Return whether an answer has told the exchange's time yet."""
        return self._offset_ms is not None

    def utc_ms(self) -> int:
        """Return a moment the exchange's clock has reached, in UTC milliseconds.

        Before any answer was observed this is our own wall clock, and proves nothing.
        """
        if self._offset_ms is None:
            return self._clock.utc_ms()
        return int(self._offset_ms + self._clock.now_s() * 1000)

    def observe(
        self, *, date_ms: int, sent_s: float, received_s: float, made_ms: int | None = None
    ) -> None:
        """Take note of an answer.

        Args:
          date_ms: Its `Date` header, in UTC milliseconds.
          sent_s: When the question was sent, on `Clock.now_s`.
          received_s: When the answer was complete, on `Clock.now_s`.
          made_ms: When its content was made, if it says so. It can only sharpen `date_ms` within
            its second: a content that claims to be younger than its own answer is not believed.
        """
        latest_ms = date_ms + _DATE_RESOLUTION_MS - 1
        proven_ms = date_ms if made_ms is None else min(max(date_ms, made_ms), latest_ms)
        offset_ms = proven_ms - received_s * 1000
        # The header was written after the question was sent. If we thought it later than the
        # header can mean when we had not even asked, then we were ahead.
        ahead = self._offset_ms is not None and self._offset_ms + sent_s * 1000 > latest_ms + 1
        if self._offset_ms is None or ahead or offset_ms > self._offset_ms:
            self._offset_ms = offset_ms


def parse_date_ms(text: str) -> int | None:
    """Return an HTTP `Date` as UTC milliseconds; None if it is none, or before 1970."""
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        date_ms = int(moment.timestamp()) * 1000
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
    return date_ms if date_ms >= 0 else None
