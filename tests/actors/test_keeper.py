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


async def test_what_cannot_be_saved_leaves_what_was_there() -> None:
    """Whoever saves is told why; tests plan with it."""
    keeper = MemoryKeeper()
    assert await keeper.save(b"a") == ""
    keeper.trouble = "no room"
    assert await keeper.save(b"b") == "no room"
    assert (keeper.load(), keeper.saves) == (b"a", 1)
