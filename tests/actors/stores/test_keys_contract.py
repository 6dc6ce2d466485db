"""What every key store and audit log must do, the ones in memory included."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from actors.errors import AuditFailed, VaultDamaged
from actors.stores.keys import AuditLog, KeptVault, KeyStore, OpenKeyStore
from actors.stores.keys_files import open_key_files
from actors.stores.keys_memory import MemoryKeys

# Files are written in a thread.
pytestmark = pytest.mark.real_time


def kept(generation: int) -> KeptVault:
    """Return halves that tell which change they are of."""
    return KeptVault(generation, b"header %d" % generation, b"sealed %d" % generation)


@pytest.fixture(params=["memory", "files"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> OpenKeyStore:
    """Return what opens the same store again and again."""

    @asynccontextmanager
    async def open_files() -> AsyncIterator[tuple[KeyStore, AuditLog]]:
        async with open_key_files(tmp_path / "keys") as both:
            yield both

    return MemoryKeys() if request.param == "memory" else open_files


async def test_nothing_is_there_before_something_is_kept(opener: OpenKeyStore) -> None:
    """Whoever has no keys has no vault, and is not told of damage."""
    async with opener() as (store, log):
        assert await store.load() is None
        assert await store.good_copy() is None
        assert await store.notes() == {}
        assert await log.tail(5) == ()
        assert b"".join(text for _, text in await log.segments()) == b""


async def test_what_was_committed_is_there_when_it_is_opened_again(opener: OpenKeyStore) -> None:
    """That is what a store is for."""
    async with opener() as (store, _):
        await store.commit(kept(1))
        await store.commit(kept(2))
        assert await store.load() == kept(2)
    async with opener() as (store, _):
        assert await store.load() == kept(2)
        assert await store.good_copy() == kept(2)


@pytest.mark.parametrize("generation", [1, 2, 4])
async def test_a_change_that_was_not_made_of_what_is_there_is_refused(
    opener: OpenKeyStore, generation: int
) -> None:
    """Two programs with one vault would lose each other's keys."""
    async with opener() as (store, _):
        await store.commit(kept(1))
        await store.commit(kept(2))
        with pytest.raises(VaultDamaged, match="changed by somebody else: wanted change 3"):
            await store.commit(kept(generation))
        assert await store.load() == kept(2)


async def test_a_good_copy_can_be_put_back(opener: OpenKeyStore) -> None:
    """And is then the vault, with a next change like any other."""
    async with opener() as (store, _):
        await store.commit(kept(1))
        good = await store.good_copy()
        assert good is not None
        await store.recover(good)
        assert await store.load() == kept(1)
        await store.commit(kept(2))
        assert await store.load() == kept(2)


async def test_notes_are_kept_and_replaced_by_name(opener: OpenKeyStore) -> None:
    """Wrong tries are counted over restarts."""
    async with opener() as (store, _):
        await store.note({"tries": "1", "used": "x"})
        await store.note({"tries": "2"})
    async with opener() as (store, _):
        assert await store.notes() == {"tries": "2", "used": "x"}


async def test_lines_stay_in_their_order_over_restarts(opener: OpenKeyStore) -> None:
    """The chain depends on it."""
    async with opener() as (_, log):
        await log.append([b"one", b"two"], durable=True)
    async with opener() as (_, log):
        await log.append([b"three"], durable=False)
        assert await log.tail(2) == (b"two", b"three")
        assert await log.tail(9) == (b"one", b"two", b"three")
        assert b"".join(text for _, text in await log.segments()) == b"one\ntwo\nthree\n"
        assert await log.tail(0) == ()


async def test_a_line_with_a_newline_in_it_is_refused(opener: OpenKeyStore) -> None:
    """It would be two lines, and the second one anybody's."""
    async with opener() as (_, log):
        with pytest.raises(AuditFailed, match="one line"):
            await log.append([b"one\ntwo"], durable=True)


async def test_a_trail_put_aside_begins_with_nothing(opener: OpenKeyStore) -> None:
    """What makes no sense must not stand in the way of what is written from now on."""
    async with opener() as (_, log):
        await log.append([b"no line", b"at all"], durable=True)
        await log.put_aside()
        assert await log.tail(9) == ()
        await log.append([b"one"], durable=True)

    async with opener() as (_, log):
        assert await log.tail(9) == (b"one",)
        assert log.deleted() == ()
