"""The KeyActor: nothing without a line of the audit trail, and one truth in memory and on disk."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
import pytest
import trio

from actors.errors import (
    AuditFailed,
    InvalidRequest,
    KeysError,
    KeysSealed,
    StoreUnavailable,
    UnknownKey,
)
from actors.key_messages import (
    ChangeKey,
    GetAudit,
    ListKeys,
    OpenTrial,
    RemoveKey,
    RestoreKey,
    VerifyAudit,
)
from actors.stores.keys_memory import MemoryKeys
from actors.vault_messages import (
    ChangeUnlock,
    GetVault,
    LockVault,
    RotateVault,
    UnlockVault,
)
from runtime.core.message import Request
from runtime.testing import wait_for
from runtime.testing_keys import (
    PASSPHRASE,
    BreakingStore,
    HeldLog,
    KeyRoom,
    made_key,
    open_keys,
)

MAIN = "upbit:main"

# Everything that changes what is kept, of a vault with `main` and with `gone`, which is removed.
CHANGES: dict[str, Request[Any]] = {
    "add": made_key("other"),
    "replace": made_key("main", secret_key="another secret", replace=True),  # noqa: S106 - made up
    "change": ChangeKey(key=MAIN, uid="someone"),
    "remove": RemoveKey(key=MAIN),
    "purge": RemoveKey(key=MAIN, purge=True),
    "restore": RestoreKey(key="upbit:gone"),
    "rotate": RotateVault(),
    "passphrase": ChangeUnlock(passphrase=PASSPHRASE, new_passphrase="another passphrase"),  # noqa: S106 - made up
}


async def furnish(room: KeyRoom) -> None:
    """Make a vault with a key, and one that was removed."""
    await room.create()
    await room.add()
    await room.add("gone")
    await room.ask(RemoveKey(key="upbit:gone"))


async def known(room: KeyRoom) -> tuple[Any, ...]:
    """Return all keys, without what is only true at the moment."""
    found = await room.ask(ListKeys(removed=True))
    return tuple(msgspec.structs.replace(each, account=False) for each in found)


# ------------------------------------------------------------------ first the line, then the effect


@pytest.mark.parametrize("name", CHANGES)
async def test_nothing_changes_that_is_not_on_record(name: str) -> None:
    """With the trail's disk full, keys and files stay as they are; afterwards all goes on."""
    async with open_keys() as room:
        await furnish(room)
        store, before = room.memory.store, await known(room)
        kept, commits = store.kept, store.commits
        room.memory.log.trouble = "the disk is full"
        with pytest.raises(AuditFailed, match="the disk is full"):
            await room.ask(CHANGES[name])

        assert (store.kept, store.commits) == (kept, commits)
        assert await known(room) == before
        room.memory.log.trouble = ""
        await room.ask(CHANGES[name])
        assert store.commits == commits + 1
        assert room.actions()[-2:] == [name, f"{name}.done"]
        assert (await room.ask(VerifyAudit())).whole


@pytest.mark.parametrize("name", CHANGES)
async def test_dry_run_leaves_no_trace(name: str) -> None:
    """It says what would be done, and does nothing: no line, no write."""
    request = CHANGES[name]
    async with open_keys() as room:
        await furnish(room)
        store, lines = room.memory.store, len(room.memory.log.lines)
        kept = store.kept
        change = await room.ask(msgspec.structs.replace(request, dry_run=True))
        assert (change.done, store.kept) == (False, kept)
        assert change.what
        assert len(room.memory.log.lines) == lines


async def test_no_line_no_signature() -> None:
    """The trail fails, so nothing is signed, refused use included; it works again, so it is."""
    async with open_keys() as room:
        await furnish(room)
        account = await room.open()
        room.memory.log.trouble = "input/output error"
        for method, path in (("GET", "/v1/accounts"), ("POST", "/v1/withdraws/coin")):
            with pytest.raises(AuditFailed, match="input/output error"):
                await room.sign(account, method, path)
        status = await room.ask(GetVault())
        assert status.signatures == 0
        room.memory.log.trouble = ""
        await room.sign(account)
        assert (await room.ask(GetVault())).signatures == 1
        assert (await room.ask(VerifyAudit())).whole


async def test_no_line_no_account_client() -> None:
    """Opening decrypts a secret, so that is on record as well."""
    async with open_keys() as room:
        await furnish(room)
        room.memory.log.trouble = "gone"
        with pytest.raises(AuditFailed, match="gone"):
            await room.open()
        assert (await room.ask(GetVault())).accounts == 0
        assert len(room.accounts) == 0


async def test_no_line_no_unlocking() -> None:
    """Nor is a vault made: what cannot be put on record is not begun."""
    async with open_keys() as room:
        room.memory.log.trouble = "gone"
        with pytest.raises(AuditFailed, match="gone"):
            await room.create()
        room.memory.log.trouble = ""
        assert room.memory.store.kept is None
        await room.create()
        await room.ask(LockVault())
        room.memory.log.trouble = "gone"
        with pytest.raises(AuditFailed, match="gone"):
            await room.unlock()
        room.memory.log.trouble = ""
        assert (await room.ask(GetVault())).state == "sealed"


async def test_locking_needs_no_line(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever wants to close the door is never told that he cannot."""
    async with open_keys() as room:
        await furnish(room)
        account = await room.open()
        room.memory.log.trouble = "gone"
        assert (await room.ask(LockVault())).state == "sealed"
        with pytest.raises(KeysSealed, match="sealed"):
            await room.sign(account)
        room.memory.log.trouble = ""
        await room.unlock()
    assert "the keys are sealed, and that is not on record" in caplog.text


@pytest.mark.parametrize(
    "end", [LockVault(), RemoveKey(key=MAIN), RemoveKey(key=MAIN, purge=True)], ids=repr
)
async def test_signature_whose_end_came_while_the_line_was_written_is_not_given(
    end: Request[Any],
) -> None:
    """The line says that it was going to be signed; it was not, because nobody may any more."""
    async with open_keys(memory=held()) as room:
        await furnish(room)
        account = await room.open()
        log = room.memory.log
        assert isinstance(log, HeldLog)
        log.hold()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_refusal, room, account)
            await wait_for(lambda: log.waiting == 1)
            nursery.start_soon(room.ask, end)
            await trio.testing.wait_all_tasks_blocked()
            log.let_go()
        assert (await room.ask(GetVault())).signatures == 0


async def expect_refusal(room: KeyRoom, account: str) -> None:
    """Ask for a signature that must not be given."""
    with pytest.raises(KeysError, match=r"closed|sealed"):
        await room.sign(account)


async def test_account_client_opened_during_its_end_is_not_left_open() -> None:
    """Somebody opens it again while its key is being forgotten: it ends with the key."""
    for end in (RemoveKey(key=MAIN), RemoveKey(key=MAIN, purge=True)):
        async with open_keys(memory=held()) as room:
            await furnish(room)
            log = room.memory.log
            assert isinstance(log, HeldLog)
            log.hold()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(room.ask, end)
                await wait_for(partial(is_writing, log))
                nursery.start_soon(open_or_not, room)
                await trio.testing.wait_all_tasks_blocked()
                log.let_go()
            assert (await room.ask(GetVault())).accounts == 0


def is_writing(log: HeldLog) -> bool:
    """Return whether a line waits for the disk."""
    return log.waiting == 1


async def open_or_not(room: KeyRoom) -> None:
    """Open the account client of a key that may be gone before."""
    try:
        await room.open()
    except UnknownKey:
        return


async def test_trial_ends_with_the_vault() -> None:
    """A key that is only tried is in memory as well, and must not outlive a lock."""
    async with open_keys(memory=held()) as room:
        await furnish(room)
        log = room.memory.log
        assert isinstance(log, HeldLog)
        log.hold()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_sealed, room)
            await wait_for(lambda: log.waiting == 1)
            nursery.start_soon(room.ask, LockVault())
            await trio.testing.wait_all_tasks_blocked()
            log.let_go()
        assert (await room.ask(GetVault())).accounts == 0


async def expect_sealed(room: KeyRoom) -> None:
    """Try a key while the vault is sealed."""
    with pytest.raises(KeysSealed, match="sealed"):
        await room.ask(OpenTrial(key=made_key("new")))


async def test_lines_tell_everything_in_order() -> None:
    """Who reads the trail later sees what was done with which key, and never a secret."""
    async with open_keys() as room:
        await furnish(room)
        account = await room.open()
        await room.sign(account, "POST", "/v1/orders")
        with pytest.raises(KeysError, match="take money out"):
            await room.sign(account, "POST", "/v1/withdraws/coin")
        await room.ask(LockVault())
        assert room.actions() == [
            *("create", "create.done", "add", "add.done", "add", "add.done"),
            *("remove", "remove.done", "open", "sign", "refuse", "lock"),
        ]
        await room.unlock()
        entries = await room.ask(GetAudit(count=100, key=MAIN))
        assert [entry.action for entry in entries] == ["add", "add.done", "open", "sign", "refuse"]
        assert entries[3].detail == "POST /v1/orders"
        with pytest.raises(InvalidRequest, match="1 to 10000, was 0"):
            await room.ask(GetAudit(count=0))


# ------------------------------------------------------------------ memory and disk agree


@pytest.mark.parametrize("breaks", ["before", "after"])
@pytest.mark.parametrize("name", CHANGES)
async def test_failed_write_leaves_memory_as_the_disk(name: str, breaks: str) -> None:
    """Whether or not it was written before the disk broke: what is told is what is kept."""
    memory = MemoryKeys()
    store = memory.store = BreakingStore()
    async with open_keys(memory=memory) as room:
        await furnish(room)
        before, kept = await known(room), store.kept
        store.breaks = breaks  # type: ignore[assignment] # one of the two
        with pytest.raises(StoreUnavailable, match=f"the disk broke {breaks}"):
            await room.ask(CHANGES[name])
        assert room.actions()[-2:] == [name, f"{name}.failed"]

        after = await known(room)
        assert (store.kept == kept) is (breaks == "before")
        if breaks == "before":
            assert after == before
        await room.ask(LockVault())
        new = name == "passphrase" and breaks == "after"
        await room.ask(UnlockVault(passphrase="another passphrase" if new else PASSPHRASE))
        assert await known(room) == after
        await room.ask(RotateVault())


@pytest.mark.parametrize("name", ["replace", "remove", "purge"])
async def test_failed_write_leaves_no_account_client_behind(name: str) -> None:
    """It was written before the disk broke, so what signed until then must not go on."""
    memory = MemoryKeys()
    store = memory.store = BreakingStore()
    async with open_keys(memory=memory) as room:
        await furnish(room)
        credential = room.credential(await room.open())
        store.breaks = "after"
        with pytest.raises(StoreUnavailable, match="the disk broke after"):
            await room.ask(CHANGES[name])
        assert credential.secret_key.is_wiped
        assert (await room.ask(GetVault())).accounts == 0


async def test_disk_that_says_nothing_any_more_seals() -> None:
    """If nobody knows which state is there, none of them is used; account clients end as well."""
    memory = MemoryKeys()
    store = memory.store = BreakingStore()
    async with open_keys(memory=memory) as room:
        await furnish(room)
        account = await room.open()
        store.breaks, store.is_deaf = "after", True
        with pytest.raises(StoreUnavailable, match="broke"):
            await room.ask(RotateVault())
        assert (await room.ask(GetVault())).state == "sealed"
        assert (await room.ask(GetVault())).accounts == 0
        with pytest.raises(KeysSealed, match="sealed"):
            await room.sign(account)
        store.trouble = None
        await room.unlock()
        await room.sign(await room.open())


def held() -> MemoryKeys:
    """Return what keeps keys in memory, with a trail that takes its time."""
    memory = MemoryKeys()
    memory.log = HeldLog()
    return memory
