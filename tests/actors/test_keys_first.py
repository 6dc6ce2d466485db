"""The first key of a machine without people makes the vault, and only where there never was one."""

from __future__ import annotations

import pytest

from actors.errors import AccountClosed, InvalidRequest, KeysSealed
from actors.key_messages import AddKey, CloseTrial, ListKeys, OpenTrial
from actors.messages import GetHealth
from actors.stores.keys_memory import MemoryKeys, MemoryKeyStore
from actors.vault.values import UnlockKind
from actors.vault_messages import CreateVault, GetVault, LockVault, RecoverVault
from runtime.testing_keys import PASSPHRASE, GivenSource, made_key, open_keys

KINDS: list[UnlockKind] = ["passphrase", "key_file"]


async def test_first_key_can_be_tried_before_there_is_a_vault() -> None:
    """It is kept only if the exchange takes it, and then the vault is made as without a trial."""
    source = GivenSource()
    async with open_keys(unlock="key_file", sources={"key_file": source}) as room:
        account = (await room.ask(OpenTrial(key=made_key(test=True)))).account
        await room.sign(account)
        assert (room.memory.store.kept, source.made) == (None, 0)
        room.ref.cast(CloseTrial(account=account))
        with pytest.raises(AccountClosed, match="its key was tried"):
            await room.sign(account)
        await room.add()
        await room.sign(await room.open())
        assert source.made == 1


async def test_key_that_was_only_tried_leaves_nothing_but_its_lines() -> None:
    """Nothing was kept, so the runtime starts again as if nothing had been."""
    given = {"unlock": "key_file", "sources": {"key_file": GivenSource()}, "memory": MemoryKeys()}
    async with open_keys(**given) as room:  # type: ignore[arg-type] # each is what it is
        await room.sign((await room.ask(OpenTrial(key=made_key()))).account)
        assert room.actions() == ["try", "sign"]
    async with open_keys(**given) as room:  # type: ignore[arg-type] # as above
        assert await room.memory.store.notes() == {}
        await room.add()


@pytest.mark.parametrize("replace", [False, True])
async def test_dry_run_of_the_first_key_says_that_a_vault_would_be_made(*, replace: bool) -> None:
    """And makes none: no line, no key file."""
    source = GivenSource()
    async with open_keys(unlock="key_file", sources={"key_file": source}) as room:
        change = await room.ask(made_key(dry_run=True, replace=replace))
        wanted = "make a vault that is unlocked by key file, and add upbit:main (Acce…)"
        assert (change.done, change.what.startswith(wanted)) == (False, True)
        assert [key.name for key in change.keys] == ["upbit:main"]
        assert (room.memory.store.kept, source.made, room.actions()) == (None, 0, [])
        with pytest.raises(KeysSealed, match="there are no keys yet"):
            await room.ask(ListKeys())


async def test_first_key_that_is_refused_makes_no_vault() -> None:
    """A slip of the pen is no reason for an empty vault."""
    async with open_keys(unlock="key_file", sources={"key_file": GivenSource()}) as room:
        with pytest.raises(InvalidRequest, match="secret_key must be 8 to 1024 bytes long"):
            await room.add(secret_key="short")  # noqa: S106 - made up
        assert (await room.ask(GetVault())).state == "none"
        assert room.actions() == []


async def test_with_a_passphrase_the_vault_comes_first() -> None:
    """Nobody has chosen one yet, so a trial has nothing to lead to."""
    async with open_keys() as room:
        with pytest.raises(KeysSealed, match="`marketd keys create` makes a vault"):
            await room.ask(OpenTrial(key=made_key()))


# ------------------------------------------------------------------ a vault that is gone


@pytest.mark.parametrize("unlock", KINDS)
@pytest.mark.parametrize("change", ["add", "dry run", "trial"])
async def test_vault_that_is_gone_is_not_made_anew_by_a_key(
    change: str, unlock: UnlockKind, caplog: pytest.LogCaptureFixture
) -> None:
    """The keys of it may be in a backup, and their owner must hear that they are not here."""
    memory, sources = MemoryKeys(), {"key_file": GivenSource()}
    request = made_key("other", dry_run=change == "dry run")
    await lose(memory, unlock)
    async with open_keys(memory=memory, unlock=unlock, sources=sources) as room:  # type: ignore[arg-type]
        lines = len(memory.log.lines)
        with pytest.raises(KeysSealed, match="tells of a vault that is not here"):
            await room.ask(OpenTrial(key=request) if change == "trial" else request)
        status = await room.ask(GetVault())
        assert (status.state, "`marketd keys create`" in status.reason) == ("none", True)
        assert (await room.ask(GetHealth())).state == "away"
        assert (memory.store.kept, len(memory.log.lines)) == (None, lines)
    assert "there are no keys: the audit trail tells of a vault" in caplog.text


@pytest.mark.parametrize("unlock", KINDS)
async def test_vault_that_is_gone_can_be_begun_anew_on_purpose(unlock: UnlockKind) -> None:
    """Whoever says so has given up the old keys; the trail goes on and tells of both."""
    memory, sources = MemoryKeys(), {"key_file": GivenSource()}
    await lose(memory, unlock)
    async with open_keys(memory=memory, unlock=unlock, sources=sources) as room:  # type: ignore[arg-type]
        with pytest.raises(InvalidRequest, match="no good copy of the vault is kept"):
            await room.ask(RecoverVault(passphrase=PASSPHRASE))
        await room.ask(CreateVault(passphrase=PASSPHRASE if unlock == "passphrase" else ""))
        await room.add()
        await room.ask(LockVault())
        await room.unlock()
        await room.sign(await room.open())
        assert room.actions().count("create.done") == 2


async def lose(memory: MemoryKeys, unlock: UnlockKind) -> None:
    """Keep a key, and delete everything but the audit trail."""
    async with open_keys(memory=memory, unlock=unlock, sources={"key_file": GivenSource()}) as room:
        await room.ask(CreateVault(passphrase=PASSPHRASE if unlock == "passphrase" else ""))
        await room.ask(
            AddKey(exchange="upbit", label="a", access_key="12345678", secret_key="87654321")  # noqa: S106 - made up
        )
    memory.store = MemoryKeyStore()
