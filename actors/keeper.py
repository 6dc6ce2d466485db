"""`BlobKeeper`: keeps one small value of bytes from one process to the next.

Whoever has little to remember, and can begin without it, has it kept as a whole: the records of
scheduled jobs, a learnt model. What must never be lost belongs into a store.
"""

from __future__ import annotations

from typing import Protocol

# Beyond it nothing is saved: such a value belongs into a store.
BLOB_BYTES_MAX = 8_000_000


class BlobKeeper(Protocol):
    """Keeps one value of at most `BLOB_BYTES_MAX` bytes.

    Neither call fails for want of room or rights: it says so in the log, and life goes on.
    """

    def load(self) -> bytes | None:
        """Return what was saved last; may block for as long as a disk takes.

        Returns:
          None if nothing is known, or nothing that is whole.
        """

    async def save(self, data: bytes) -> None:
        """Replace what is kept, as a whole, or leave it as it was.

        Whoever is cancelled meanwhile waits until it is done.
        """


class MemoryKeeper:
    """A `BlobKeeper` that ends with the process.

    Attributes:
      data: What is kept; None if nothing.
      saves: How often it was replaced.
    """

    def __init__(self, data: bytes | None = None) -> None:
        self.data = data
        self.saves = 0

    def load(self) -> bytes | None:
        """Return what was saved last."""
        return self.data

    async def save(self, data: bytes) -> None:
        """Replace what is kept."""
        self.data = data
        self.saves += 1
