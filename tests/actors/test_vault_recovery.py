"""An audit trail that cannot be written is told where people look, and can be begun anew."""

from __future__ import annotations

import logging

import pytest
import trio

from actors.errors import AuditFailed, InvalidRequest, UnlockFailed
from actors.key_messages import VerifyAudit
from actors.messages import GetHealth
from actors.stores.keys_memory import MemoryAuditLog, MemoryKeys
from actors.vault_messages import GetVault, LockVault, RecoverVault
from runtime.testing_keys import PASSPHRASE, KeyRoom, open_keys

RECOVER = RecoverVault(passphrase=PASSPHRASE)
ASIDE = "audit.jsonl.damaged-1"


class LosableLog(MemoryAuditLog):
    """A trail in memory whose file can go away; what is left of it can be put aside.

    Attributes:
      is_full: Whether it can be read, and not be written.
    """

    is_full = False

    async def put_aside(self) -> tuple[str, ...]:
        """Begin with nothing."""
        self.trouble = ""
        await super().put_aside()
        return (ASIDE,)

    async def tail(self, count: int) -> tuple[bytes, ...]:
        """Return the newest lines: a full disk can be read."""
        self.trouble, trouble = "" if self.is_full else self.trouble, self.trouble
        try:
            return await super().tail(count)
        finally:
            self.trouble = trouble


def losable() -> tuple[MemoryKeys, LosableLog]:
    """Return what keeps keys, and its trail, which can be lost."""
    memory, log = MemoryKeys(), LosableLog()
    memory.log = log
    return memory, log


async def furnish(room: KeyRoom) -> str:
    """Make a vault with a key; return the account client of that."""
    await room.create()
    await room.add()
    return await room.open()


async def reason(room: KeyRoom) -> str:
    """Return what is said of the vault."""
    status = await room.ask(GetVault())
    assert status.state == "open"
    return str(status.reason)


@pytest.mark.parametrize("found", ["by a signature", "by a look"])
async def test_open_vault_without_its_trail_says_that_nothing_can_be_signed(
    found: str, caplog: pytest.LogCaptureFixture
) -> None:
    """`open` alone would send its owner looking everywhere else; nobody need have signed."""
    memory, log = losable()
    async with open_keys(memory=memory) as room:
        account = await furnish(room)
        assert await reason(room) == "unlocked by passphrase"
        log.trouble = "was deleted"
        if found == "by a look":
            await trio.sleep(601)
        else:
            with pytest.raises(AuditFailed, match="was deleted"):
                await room.sign(account)
        told = await reason(room)
        assert told.startswith("nothing can be signed, for it cannot be put on record: the audit")
        assert "was deleted" in told
        assert "`marketd keys recover` begins a new one" in told
        health = await room.ask(GetHealth())
        assert (health.state, health.reason) == ("away", told)
        log.trouble = ""
        await room.sign(await room.open())
        assert await reason(room) == "unlocked by passphrase"
    lines = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert [each.getMessage()[:22] for each in lines] == ["nothing can be signed:"]


async def test_trail_that_is_gone_is_begun_anew_under_an_open_vault() -> None:
    """Without sealing it first and without starting anything again; the vault stays as it is."""
    memory, log = losable()
    async with open_keys(memory=memory) as room:
        await furnish(room)
        log.trouble = "was deleted"
        plan = await room.ask(RecoverVault(passphrase=PASSPHRASE, dry_run=True))
        assert plan.what == (
            "keep change 2 of the vault, with 1 keys, and go on with what is there of its audit "
            "trail (the audit trail in memory: was deleted)"
        )
        assert log.trouble == "was deleted"
        change = await room.ask(RECOVER)
        assert (change.done, change.what) == (True, f"{plan.what}; what was there is now {ASIDE}")
        assert await reason(room) == "unlocked by passphrase"
        assert room.actions() == ["recover", "recovered.done"]
        await room.sign(await room.open())
        assert (await room.ask(VerifyAudit())).whole
        await room.ask(LockVault())
        await room.unlock()


async def test_wrong_passphrase_begins_no_trail_and_is_told_as_one() -> None:
    """That there is no trail to put it on must not hide what is wrong with the passphrase."""
    memory, log = losable()
    async with open_keys(memory=memory) as room:
        await furnish(room)
        log.trouble = "was deleted"
        with pytest.raises(UnlockFailed, match="does not open the vault"):
            await room.ask(RecoverVault(passphrase="wrong horse"))  # noqa: S106 - made up
        with pytest.raises(UnlockFailed, match="1 wrong try in a row"):
            await room.ask(RECOVER)
        assert log.trouble == "was deleted"


async def test_full_disk_is_told_and_is_nothing_to_recover() -> None:
    """A new trail would need room as well; with some room everything goes on by itself."""
    memory, log = losable()
    async with open_keys(memory=memory) as room:
        account = await furnish(room)
        log.trouble, log.is_full = "the disk is full", True
        with pytest.raises(AuditFailed, match="the disk is full"):
            await room.sign(account)
        assert "the disk is full" in await reason(room)
        with pytest.raises(InvalidRequest, match="the disk is full; there is nothing to recover"):
            await room.ask(RECOVER)
        log.trouble, log.is_full = "", False
        await room.sign(account)
        assert await reason(room) == "unlocked by passphrase"


async def test_trail_that_is_gone_from_a_sealed_vault_leaves_its_files_where_they_are() -> None:
    """Nothing is wrong with them, so nothing of them is called damaged."""
    memory, log = losable()
    async with open_keys(memory=memory) as room:
        await furnish(room)
    log.lines = []
    kept = memory.store.kept
    async with open_keys(memory=memory) as room:
        with pytest.raises(AuditFailed, match="ends at line 0"):
            await room.unlock()
        plan = await room.ask(RecoverVault(passphrase=PASSPHRASE, dry_run=True))
        assert memory.store.kept is kept
        change = await room.ask(RECOVER)
        assert change.what == f"{plan.what}; nothing was put aside"
        assert "keep change 2 of the vault, with 1 keys, and go on with what is there" in plan.what
        await room.sign(await room.open())
