"""`MemoryKeeper`: what every keeper promises, without a disk."""

from __future__ import annotations

from actors.keeper import BlobKeeper, MemoryKeeper


async def test_what_was_saved_last_is_there() -> None:
    """As a whole, and counted."""
    memory = MemoryKeeper()
    keeper: BlobKeeper = memory
    assert keeper.load() is None
    await keeper.save(b"a")
    await keeper.save(b"bc")
    assert keeper.load() == b"bc"
    assert memory.saves == 2
