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

    Neither call raises for want of room or rights: it says so in the log, and life goes on.
    """

    def load(self) -> bytes | None:
        """Return what was saved last; may block for as long as a disk takes.

        Returns:
          None if nothing is known, or nothing that is whole.
        """

    async def save(self, data: bytes) -> str:
        """Replace what is kept, as a whole, or leave it as it was.

        Whoever is cancelled meanwhile waits until it is done.

        Returns:
          Why it was left as it was; empty if `data` is kept now, whatever becomes of the process.
        """


class MemoryKeeper:
    """A `BlobKeeper` that ends with the process.

    Attributes:
      data: What is kept; None if nothing.
      saves: How often it was replaced.
      trouble: Why nothing can be saved at present; empty if it can.
    """

    def __init__(self, data: bytes | None = None) -> None:
        self.data = data
        self.saves = 0
        self.trouble = ""

    def load(self) -> bytes | None:
        """Return what was saved last."""
        return self.data

    async def save(self, data: bytes) -> str:
        """Replace what is kept, unless there is trouble."""
        if not self.trouble:
            self.data = data
            self.saves += 1
        return self.trouble
