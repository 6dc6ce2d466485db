"""A keeper of limits without a file, for tests and rehearsals."""

from __future__ import annotations

from actors.limit_file import KeptLimits, all_spent, decode, encode


class MemoryLimitKeeper:
    """A `LimitKeeper` whose processes all live on one clock.

    A value goes through the same text as it would on disk, and a value that was loaded passes for
    what happened since no more than there.

    Attributes:
      saves: Every value that was saved, and whether durably, oldest first.
      broken: Set it, and nothing is kept any more, as on a disk that is full.
    """

    def __init__(self) -> None:
        self.saves: list[tuple[KeptLimits, bool]] = []
        self.broken = False
        self._data: bytes | None = None
        self._last: bytes | None = None

    def load(self) -> KeptLimits | None:
        """Return what was saved last; None if nothing was."""
        if self._data is not None:
            self._last, self._data = self._data, None
            return decode(self._last)[0]
        kept = None if self._last is None else decode(self._last)[0]
        return None if kept is None else all_spent(kept)

    async def save(self, kept: KeptLimits, *, durable: bool) -> None:
        """Keep `kept` in place of what was.

        Raises:
          ValueError: It could not be read again, which is a defect of whoever made it.
        """
        if self.broken:
            return
        self._data, why = encode(kept)
        if self._data is None:
            raise ValueError(f"wanted limits that can be kept: {why}")
        self.saves.append((kept, durable))
