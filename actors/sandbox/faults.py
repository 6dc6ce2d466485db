"""What can be made to go wrong, by name. Everything is off until it is switched on."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Fault(enum.StrEnum):
    """One way in which an exchange fails.

    Attributes:
      STATUS_500: It answers 500.
      HANG: It takes the request and never answers.
      HALF_BODY: The connection is cut in the middle of the body.
      GARBAGE: It answers 200 with something that is not JSON.
      OTHER_MARKET: It answers with the candles of another market.
      AWAY: Nobody is there.
    """

    STATUS_500 = "status_500"
    HANG = "hang"
    HALF_BODY = "half_body"
    GARBAGE = "garbage"
    OTHER_MARKET = "other_market"
    AWAY = "away"


@dataclass(slots=True)
class _Switch:
    fault: Fault
    group: str | None
    left: int | None


class Faults:
    """The switches of one sandbox exchange."""

    def __init__(self) -> None:
        self._switches: dict[Fault, _Switch] = {}

    def switch_on(
        self, fault: Fault, *, group: str | None = None, times: int | None = None
    ) -> None:
        """Let `fault` happen from now on.

        Args:
          fault: What goes wrong.
          group: Only to requests of this rate-limit group; None for all.
          times: For how many requests; None until it is switched off.
        """
        self._switches[fault] = _Switch(fault, group, times)

    def switch_off(self, fault: Fault | None = None) -> None:
        """End `fault`, or all of them."""
        if fault is None:
            self._switches.clear()
        else:
            self._switches.pop(fault, None)

    @property
    def away(self) -> bool:
        """Whether nobody is there, for a shell that must decide before it reads a request."""
        switch = self._switches.get(Fault.AWAY)
        return switch is not None and switch.group is None and switch.left is None

    def strike(self, group: str) -> Fault | None:
        """Return the fault that hits a request of `group`, and count it; the oldest switch wins."""
        for switch in self._switches.values():
            if switch.group in (None, group):
                if switch.left is not None:
                    switch.left -= 1
                    if switch.left <= 0:
                        del self._switches[switch.fault]
                return switch.fault
        return None
