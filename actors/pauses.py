"""Pauses that a server imposes by refusing, and how they grow. Values only; times come in."""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec

# No pause is longer than this, whatever a server says; so a mistyped figure cannot end all
# requests for ever.
PAUSE_S_MAX = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class PauseRules:
    """How pauses grow, and how they are forgotten.

    Attributes:
      first_s: Length of the first pause; it doubles with each further one in a row.
      longest_s: Where doubling ends.
      forgiven_after_s: How long after a pause a request must be sent and go well, for the pause
        to be forgotten.
    """

    first_s: float
    longest_s: float
    forgiven_after_s: float = 0.0


class Pause(msgspec.Struct, frozen=True):
    """A time in which nothing is sent because the server refused.

    Attributes:
      until_s: When it ends.
      began_s: When the last refusal that counted came.
      strikes: How many refusals there were in a row; 0 if there is none to remember.
    """

    until_s: float = 0.0
    began_s: float = 0.0
    strikes: int = 0

    def is_possible(self, now_s: float) -> bool:
        """Return whether a pause can look like this at `now_s`."""
        # Written so that a NaN makes it impossible.
        return (
            -math.inf < self.until_s <= now_s + PAUSE_S_MAX
            and -math.inf < self.began_s <= now_s
            and self.strikes >= 0
        )

    def struck(
        self, now_s: float, rules: PauseRules, *, granted_s: float | None, asked_s: float
    ) -> Pause:
        """Return the pause after a refusal.

        Args:
          now_s: When the refusal came.
          rules: How long it is then.
          granted_s: When the refused request was let through; None if that is forgotten. Those that
            were under way when the last refusal came belong to it, and do not count once more.
          asked_s: What the server asked for; taken if it is longer, up to a day.
        """
        same = self.strikes > 0 and (granted_s is None or granted_s <= self.began_s)
        strikes = self.strikes if same else self.strikes + 1
        # 2**62 seconds is for ever; more would overflow.
        grown_s = min(rules.first_s * 2.0 ** min(strikes - 1, 62), rules.longest_s)
        length_s = min(max(grown_s, asked_s), PAUSE_S_MAX)
        return Pause(
            until_s=max(self.until_s, now_s + length_s),
            began_s=self.began_s if same else now_s,
            strikes=strikes,
        )

    def forgiven(self, rules: PauseRules, *, granted_s: float | None) -> Pause:
        """Return what is left of it once a request let through at `granted_s` went well."""
        if self.strikes == 0 or granted_s is None:
            return self
        return Pause() if granted_s >= self.until_s + rules.forgiven_after_s else self
