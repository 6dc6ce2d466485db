"""Where candles are kept, by the settings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from actors.stores.base import CandleStore, OpenStore
from actors.stores.memory import MemoryStore
from actors.stores.sqlite import open_sqlite_store
from runtime.config import Settings
from runtime.core.clock import Clock


def store_opener(settings: Settings, state_dir: Path, clock: Clock) -> OpenStore:
    """Return what opens the store that the settings name.

    Args:
      settings: The settings.
      state_dir: Folder of the database; it exists.
      clock: Where time is read.
    """

    @asynccontextmanager
    async def open_memory() -> AsyncIterator[CandleStore]:
        yield MemoryStore(clock=clock)

    @asynccontextmanager
    async def open_sqlite() -> AsyncIterator[CandleStore]:
        async with open_sqlite_store(state_dir / settings.store.file, clock=clock) as store:
            yield store

    return open_memory if settings.store.kind == "memory" else open_sqlite
