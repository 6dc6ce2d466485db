"""What an exchange's refusals mean for its limits: pauses, and how they end."""

from __future__ import annotations

from collections.abc import Callable

from actors.lane_book import ADDRESS, LaneBook
from actors.lanes import Lane
from actors.messages import ReleasePermit
from actors.pauses import Pause, PauseRules

_TOO_MANY_REQUESTS = 429
_BANNED = 418

# Source: https://docs.upbit.com/kr/reference/rate-limits, read 2026-11-21: a block lasts longer
# the more often it is earned. How much is not said, so these are ours.
_BAN = PauseRules(first_s=60.0, longest_s=3600.0, forgiven_after_s=24 * 3600.0)


class Refusals:
    """The pauses of one exchange: those of its lanes, and that of the whole address.

    Args:
      lanes: The lanes.
      ban: The pause of the address that an earlier incarnation left, if it makes sense.
      now_s: The time.
      banned: Called when the pause of the address changes.

    Attributes:
      ban: The pause of the whole address.
    """

    def __init__(
        self, lanes: LaneBook, ban: object, now_s: float, *, banned: Callable[[], None]
    ) -> None:
        self._lanes = lanes
        self._banned = banned
        self.ban = ban if isinstance(ban, Pause) and ban.is_possible(now_s) else Pause()

    def heed(
        self, event: ReleasePermit, lane: Lane, granted_s: float | None, now_s: float
    ) -> list[Lane]:
        """Pause after a refusal; forget past ones after an answer that is none.

        Returns:
          Lanes that are paused because of it.
        """
        asked_s = event.retry_after_s or 0.0
        if event.status == _TOO_MANY_REQUESTS:
            lane.rejected += 1
            # The exchange does not say which of the limits it was.
            for each in (lane, *lane.pools):
                pause = each.ledger.pause.struck(
                    now_s, each.pause_rules, granted_s=granted_s, asked_s=asked_s
                )
                self._pause(each, pause)
            return [lane, *lane.pools]
        if event.status == _BANNED:
            lane.rejected += 1
            self._ban(self.ban.struck(now_s, _BAN, granted_s=granted_s, asked_s=asked_s))
            return [lane]
        if event.answered and (self.ban.strikes or lane.is_struck):
            for each in (lane, *lane.pools):
                self._pause(each, each.ledger.pause.forgiven(each.pause_rules, granted_s=granted_s))
            self._ban(self.ban.forgiven(_BAN, granted_s=granted_s))
        return []

    def _pause(self, lane: Lane, pause: Pause) -> None:
        if pause is not lane.ledger.pause:
            lane.ledger.pause = pause
            self._lanes.keep_pause(lane.key, pause)

    def _ban(self, ban: Pause) -> None:
        if ban is not self.ban:
            self.ban = ban
            self._lanes.keep_pause(ADDRESS, ban)
            self._banned()
