"""`KeptNeeds`: declared needs, written down for the next process before anybody is told so."""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio

from actors.keeper import BlobKeeper
from actors.preloading.needs import KeptNeed, NeedBook

_log = logging.getLogger("marketd.preloader")

# Nobody waits longer for a disk, in seconds.
_WAIT_S = 5.0


class KeptNeeds:
    """Keeps the needs of one exchange from one process to the next.

    What changes while they are being written shares the next writing.

    Args:
      exchange: The exchange, for the log.
      keeper: Keeps them; None for not at all.
      encode: Returns them as they are to be kept.
    """

    def __init__(
        self, exchange: str, keeper: BlobKeeper | None, encode: Callable[[], bytes]
    ) -> None:
        self._exchange = exchange
        self._keeper = keeper
        self._encode = encode
        self._changed, self._written = trio.Event(), trio.Event()
        self._changes = self._kept = 0
        self._is_late = False

    def recall(self) -> tuple[KeptNeed, ...]:
        """Return what the last process kept; none, with a warning, if it cannot be read."""
        data = None if self._keeper is None else self._keeper.load()
        try:
            return NeedBook.decode(data) if data is not None else ()
        except ValueError as error:
            _log.warning("%s: declared needs are lost: %s", self._exchange, error)
            return ()

    def change(self) -> None:
        """Have them written: something has changed."""
        self._changes += 1
        self._changed.set()

    async def run(self) -> None:
        """Write them whenever they change."""
        while True:
            await self._changed.wait()
            await self.save()

    async def save(self) -> None:
        """Write them."""
        self._changed = trio.Event()
        changes = self._changes
        if self._keeper is not None:
            await self._keeper.save(self._encode())
        self._kept = max(self._kept, changes)
        written, self._written = self._written, trio.Event()
        written.set()
        self._is_late = False

    async def wait_kept(self) -> None:
        """Return when all changes up to now are written, or if the disk takes too long."""
        changes = self._changes
        with trio.move_on_after(_WAIT_S) as waiting:
            while self._keeper is not None and self._kept < changes:
                await self._written.wait()
        if waiting.cancelled_caught and not self._is_late:
            self._is_late = True
            _log.warning(
                "%s: declared needs are not written down after %g s, and count all the same",
                self._exchange,
                _WAIT_S,
            )
