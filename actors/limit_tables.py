"""What a RateLimiterActor keeps for its next incarnation, and shows to everybody."""

from __future__ import annotations

from dataclasses import dataclass, field

from actors.lanes import LaneKey
from actors.pauses import Pause
from actors.slots import Spend
from runtime.core.table import Table


@dataclass(slots=True)
class LimitTables:
    """The ledgers of one exchange, piece by piece, so that each change is one small write.

    Attributes:
      name: The exchange.
      spends: Every request that counts, by its lane and its id.
      pauses: The last pause of every lane there is; that of the whole address under `ADDRESS`.
      unused: Of each group counted by address: what part of its first window was free when it last
        changed, 0 to 1, and when all of it will be if nothing more is sent.
      began_s: When the first incarnation began; None before.
    """

    name: str
    spends: Table[tuple[LaneKey, int], Spend] = field(init=False)
    pauses: Table[LaneKey, Pause] = field(init=False)
    unused: Table[str, tuple[float, float]] = field(init=False)
    began_s: float | None = None

    def __post_init__(self) -> None:
        """Make the tables."""
        self.spends = Table(f"{self.name} spends")
        self.pauses = Table(f"{self.name} pauses")
        self.unused = Table(f"{self.name} unused")

    def spare(self, group: str, now_s: float) -> float:
        """Return how much of a group's first window is unused, 0 to 1."""
        unused, all_s = self.unused.get(group) or (1.0, now_s)
        return 1.0 if now_s >= all_s else unused
