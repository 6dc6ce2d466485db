"""The vault as it is kept: what is damaged is named, and the good copy put back when asked to."""

from __future__ import annotations

import pytest

from actors.errors import (
    AuditFailed,
    InvalidRequest,
    KeysSealed,
    StoreUnavailable,
    UnlockFailed,
    VaultDamaged,
)
from actors.key_messages import ListKeys, VerifyAudit
from actors.stores.keys_memory import MemoryKeys, MemoryKeyStore
from actors.vault_messages import CreateVault, GetVault, LockVault, RecoverVault, RotateVault
from runtime.testing_keys import PASSPHRASE, BreakingStore, KeyRoom, open_keys

RECOVER = RecoverVault(passphrase=PASSPHRASE)


class CopyStore(MemoryKeyStore):
    """A vault in memory that can be damaged, and whose good copy is not."""

    async def recover(self, kept: object) -> tuple[str, ...]:
        """Mend it."""
        self.trouble = None
        await super().recover(kept)  # type: ignore[arg-type] # as it came
        return ("keys.sealed.damaged-1",)


def damageable() -> MemoryKeys:
    """Return what keeps keys, and can be damaged."""
    memory = MemoryKeys()
    memory.store = CopyStore()
    return memory


async def furnish(room: KeyRoom) -> None:
    """Make a vault with a key, and seal it."""
    await room.create()
    await room.add()
    await room.ask(LockVault())


@pytest.mark.parametrize("found", ["at start", "at unlocking"])
async def test_damage_is_recovered_from_the_good_copy(found: str) -> None:
    """Only when asked to; afterwards the trail is whole and says so."""
    memory = damageable()
    async with open_keys(memory=memory) as room:
        await furnish(room)
        memory.store.trouble = VaultDamaged("the sealed file was changed")
        if found == "at start":
            await room.crash()
        else:
            with pytest.raises(VaultDamaged, match="was changed"):
                await room.unlock()
        status = await room.ask(GetVault())
        assert (status.state, status.reason) == ("damaged", "the sealed file was changed")
        with pytest.raises(VaultDamaged, match="was changed"):
            await room.open()
        memory.store.trouble = None
        kept, memory.store.trouble = memory.store.kept, VaultDamaged("it was swapped")

        change = await recovered(room)
        assert "with 1 keys (it was swapped)" in change
        assert "what was there is now keys.sealed.damaged-1" in change
        assert memory.store.kept != kept
        await room.sign(await room.open())
        assert (await room.ask(VerifyAudit())).whole
        assert "recover" in room.actions()


async def recovered(room: KeyRoom) -> str:
    """Recover, and return what is said of it; the notes cannot be read before."""
    store = room.memory.store
    trouble, notes = store.trouble, dict(store._notes)

    async def read() -> dict[str, str]:
        return notes

    # The notes are in the half that is whole.
    store.notes = read  # type: ignore[method-assign]
    assert trouble is not None
    what: str = (await room.ask(RECOVER)).what
    return what


async def test_recovery_is_refused_where_nothing_is_wrong() -> None:
    """It would throw away the last change."""
    async with open_keys() as room:
        await furnish(room)
        with pytest.raises(InvalidRequest, match="nothing is wrong"):
            await room.ask(RECOVER)
        await room.unlock()
        with pytest.raises(InvalidRequest, match="open and whole"):
            await room.ask(RECOVER)


async def test_wrong_passphrase_recovers_nothing() -> None:
    """The copy is as well guarded as the vault."""
    memory = damageable()
    async with open_keys(memory=memory) as room:
        await furnish(room)
        memory.log.lines.pop()
        memory.log.lines.pop()
        kept = memory.store.kept
        with pytest.raises(UnlockFailed, match="does not open"):
            await room.ask(RecoverVault(passphrase="wrong horse"))  # noqa: S106 - made up
        assert memory.store.kept == kept


@pytest.mark.parametrize("gone", [1, 2, 3])
async def test_missing_lines_are_found_when_it_is_opened(gone: int) -> None:
    """Somebody who cut off what he did is found out, and the keys stay sealed; recovery helps."""
    memory = damageable()
    async with open_keys(memory=memory) as room:
        await furnish(room)
    del memory.log.lines[-gone:]
    async with open_keys(memory=memory) as room:
        for _ in range(2):
            with pytest.raises(AuditFailed, match="lines are missing or were changed"):
                await room.unlock()
        with pytest.raises(KeysSealed, match="sealed"):
            await room.ask(ListKeys())
        plan = await room.ask(RecoverVault(passphrase=PASSPHRASE, dry_run=True))
        assert (plan.done, plan.what[:27]) == (False, "keep change 2 of the vault,")
        await room.ask(RECOVER)
        assert len(await room.ask(ListKeys())) == 1
        assert (await room.ask(VerifyAudit())).whole


async def test_second_vault_is_refused() -> None:
    """It would be in the place of the first."""
    async with open_keys() as room:
        await furnish(room)
        for _ in range(2):
            with pytest.raises(InvalidRequest, match="there is a vault already"):
                await room.ask(CreateVault(passphrase=PASSPHRASE))
            await room.unlock()


async def test_disk_that_cannot_be_read_at_start_seals_and_says_so() -> None:
    """The disk may come back; nothing is wrong with the keys."""
    memory = MemoryKeys()
    async with open_keys(memory=memory) as room:
        await furnish(room)
        memory.store.trouble = StoreUnavailable("the disk is gone")
        await room.crash()
        status = await room.ask(GetVault())
        assert (status.state, status.reason) == ("sealed", "the disk is gone")
        memory.store.trouble = None
        await room.unlock()
        await room.sign(await room.open())


async def test_vault_changed_by_somebody_else_is_not_written_over() -> None:
    """Another process has put an old or a foreign state in its place: nothing of ours is used."""
    memory = MemoryKeys()
    store = memory.store = BreakingStore()
    async with open_keys(memory=memory) as room:
        await room.create()
        await room.add()
        old = store.kept
        await room.add("second")
        account = await room.open()
        store.kept = old
        with pytest.raises(VaultDamaged, match="changed by somebody else"):
            await room.ask(RotateVault())
        assert (await room.ask(GetVault())).accounts == 0
        with pytest.raises((KeysSealed, VaultDamaged), match=r"sealed|changed"):
            await room.sign(account)
        assert store.kept is old


async def test_making_a_vault_that_cannot_be_written_leaves_none() -> None:
    """Or one that can be unlocked, if it was written before the disk broke."""
    for breaks in ("before", "after"):
        memory = MemoryKeys()
        store = memory.store = BreakingStore()
        async with open_keys(memory=memory) as room:
            store.breaks = breaks
            with pytest.raises(StoreUnavailable, match="the disk broke"):
                await room.create()
            await (room.create() if breaks == "before" else room.unlock())
            await room.add()


async def test_trail_that_makes_no_sense_is_put_aside_by_recovery() -> None:
    """Else nothing could ever be signed again; what was there is told of."""
    memory = damageable()
    async with open_keys(memory=memory) as room:
        await furnish(room)
    memory.log.lines.append(b"no line at all")
    async with open_keys(memory=memory) as room:
        with pytest.raises(AuditFailed, match="is none"):
            await room.unlock()
        await room.ask(RECOVER)
        await room.sign(await room.open())
        assert (await room.ask(VerifyAudit())).whole


async def test_old_copies_of_both_halves_are_told_by_the_trail() -> None:
    """A key that was purged must not come back by a backup; who wants that says so."""
    memory = damageable()
    async with open_keys(memory=memory) as room:
        await furnish(room)
        before = (memory.store.kept, memory.store.good)
        await room.unlock()
        await room.ask(RotateVault())
        await room.ask(LockVault())
    memory.store.kept, memory.store.good = before
    async with open_keys(memory=memory) as room:
        with pytest.raises(AuditFailed, match=r"is of change 2, .* tells of change 3"):
            await room.unlock()
        with pytest.raises(KeysSealed, match="sealed"):
            await room.open()
        await room.ask(RECOVER)
        await room.sign(await room.open())
        await room.ask(LockVault())
        await room.unlock()
        assert (await room.ask(VerifyAudit())).whole


async def test_notes_that_are_damaged_do_not_stand_in_the_way_of_recovery() -> None:
    """They are in the database that the good copy is to replace."""
    memory = damageable()
    async with open_keys(memory=memory) as room:
        await furnish(room)
        memory.store.trouble = VaultDamaged("keys.db is no database")
        await room.crash()
        await room.ask(RECOVER)
        await room.sign(await room.open())
