"""Unlocking: wrong tries slow down, whatever is restarted and however the clock is set."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from actors.errors import InvalidRequest, KeysSealed, UnlockFailed, VaultDamaged
from actors.key_messages import ListKeys
from actors.stores.key_source import CredentialSource, KeyFileSource
from actors.stores.keys_memory import MemoryKeys
from actors.vault_messages import ChangeUnlock, CreateVault, GetVault, LockVault, UnlockVault
from actors.vault_unlocker import PASSPHRASE_BYTES_MAX, RETRY_S_MAX
from runtime.testing_keys import PASSPHRASE, GivenSource, KeyRoom, made_key, open_keys

WRONG = UnlockVault(passphrase="wrong horse")  # noqa: S106 - made up


async def try_wrong(room: KeyRoom) -> float:
    """Try a wrong passphrase; return how long the next try is refused, in seconds."""
    with pytest.raises(UnlockFailed, match="that passphrase does not open the vault") as caught:
        await room.ask(WRONG)
    assert not caught.value.too_early
    return caught.value.retry_after_s


async def seal(room: KeyRoom) -> None:
    """Make a vault, and seal it."""
    await room.create()
    await room.ask(LockVault())


async def test_wrong_tries_wait_twice_as_long_each_time() -> None:
    """1, 2, 4 ... s, at most 300, to the millisecond; the right one has to wait as well."""
    async with open_keys() as room:
        await seal(room)
        waits = []
        for _ in range(12):
            waits.append(await try_wrong(room))
            assert (await room.ask(GetVault())).retry_after_s == waits[-1]
            await trio.sleep(waits[-1] - 0.001)
            with pytest.raises(UnlockFailed, match=r"wrong tr(y|ies) in a row; the") as caught:
                await room.unlock()
            assert caught.value.too_early
            assert caught.value.retry_after_s == pytest.approx(0.001)
            await trio.sleep(0.001)
        assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


async def test_right_one_resets() -> None:
    """Who has opened it once begins at one second again."""
    async with open_keys() as room:
        await seal(room)
        for _ in range(3):
            await trio.sleep(await try_wrong(room))
        await room.unlock()
        await room.ask(LockVault())
        assert await try_wrong(room) == 1
        assert room.actions().count("unlock.failed") == 4


async def test_tries_survive_restarts() -> None:
    """Nobody gets a fresh count by crashing the KeyActor, or starting the runtime again."""
    memory = MemoryKeys()
    async with open_keys(memory=memory) as room:
        await seal(room)
        for _ in range(4):
            await trio.sleep(await try_wrong(room))
        assert await try_wrong(room) == 16
        await room.crash()
        with pytest.raises(UnlockFailed, match="5 wrong tries in a row; the next in 16 s"):
            await room.unlock()
    async with open_keys(memory=memory) as room:
        # Its wall clock begins anew as well: earlier than the last try.
        with pytest.raises(UnlockFailed, match="5 wrong tries in a row"):
            await room.unlock()


@pytest.mark.parametrize("hours", [-100_000, -1, 1, 100_000])
async def test_clock_that_is_set_does_not_lock_out_for_ever(hours: int) -> None:
    """Set back to last year, one waits no longer than the wrong tries demand."""
    async with open_keys() as room:
        await seal(room)
        for _ in range(3):
            await trio.sleep(await try_wrong(room))
        wait_s = await try_wrong(room)
        room.clock.off_ms = hours * 3_600_000
        if hours < 0:
            with pytest.raises(UnlockFailed, match="4 wrong tries in a row; the next in 8 s"):
                await room.unlock()
            await trio.sleep(wait_s)
        await room.unlock()


async def test_a_thousand_wrong_tries_do_no_harm() -> None:
    """A script that tries for days must not break the arithmetic for the owner."""
    async with open_keys() as room:
        await seal(room)
        await room.memory.store.note({"wrong_tries": "5000", "last_wrong_try_ms": "0"})
        assert await try_wrong(room) == RETRY_S_MAX
        await trio.sleep(RETRY_S_MAX)
        await room.unlock()


@pytest.mark.parametrize("noted", ["", "x", "-1", "1e3", "²", "\ufffd1", "9" * 5_000])
async def test_notes_that_were_changed_do_no_harm(noted: str) -> None:
    """They are kept in the open; a flipped bit in them must not take the KeyActor down."""
    async with open_keys() as room:
        await seal(room)
        facts = dict.fromkeys(("wrong_tries", "last_wrong_try_ms"), noted)
        await room.memory.store.note(facts)
        await room.unlock()
        assert room.incarnation == 1


async def test_trying_is_on_record_before_it_is_done() -> None:
    """Whoever guesses leaves a line for each guess."""
    async with open_keys() as room:
        await seal(room)
        await try_wrong(room)
        assert room.actions()[-3:] == ["lock", "unlock", "unlock.failed"]


# ------------------------------------------------------------------ passphrases


@pytest.mark.parametrize(
    ("passphrase", "was"), [("", 0), ("1234567", 7), ("x" * (PASSPHRASE_BYTES_MAX + 1), 4_097)]
)
async def test_passphrases_have_bounds(passphrase: str, was: int) -> None:
    """Too short is guessed, too long is a mistake; nothing is said of what it was."""
    async with open_keys() as room:
        with pytest.raises(InvalidRequest, match=f"8 to 4096 bytes long, was {was}"):
            await room.ask(CreateVault(passphrase=passphrase))
        assert (await room.ask(GetVault())).state == "none"
        await room.create()
        with pytest.raises(InvalidRequest, match=f"8 to 4096 bytes long, was {was}"):
            await room.ask(ChangeUnlock(passphrase=PASSPHRASE, new_passphrase=passphrase))


@pytest.mark.parametrize("passphrase", ["12345678", "한국어 비밀", "x" * PASSPHRASE_BYTES_MAX])
async def test_passphrases_at_the_bounds_open(passphrase: str) -> None:
    """In any script: it is bytes that count."""
    async with open_keys() as room:
        await room.ask(CreateVault(passphrase=passphrase))
        await room.ask(LockVault())
        assert (await room.ask(UnlockVault(passphrase=passphrase))).state == "open"


async def test_open_vault_does_not_let_its_owner_be_locked_out() -> None:
    """Who finds it open cannot change the passphrase without the present one; he is slowed, too."""
    async with open_keys() as room:
        await room.create()
        change = ChangeUnlock(passphrase="wrong horse", new_passphrase="mine from now on")  # noqa: S106 - made up
        with pytest.raises(UnlockFailed, match="does not open the vault"):
            await room.ask(change)
        with pytest.raises(UnlockFailed, match="1 wrong try in a row"):
            await room.ask(ChangeUnlock(passphrase=PASSPHRASE, new_passphrase="mine from now on"))  # noqa: S106 - made up
        assert (await room.ask(GetVault())).state == "open"


async def test_open_vault_looks_at_no_passphrase_and_says_so() -> None:
    """A wrong one must not look as if it were right, nor be remembered as a secret."""
    async with open_keys() as room:
        await room.create()
        lines = len(room.memory.log.lines)
        status = await room.ask(WRONG)
        assert status.state == "open"
        assert status.reason == (
            "unlocked by passphrase; it was open already, so nothing was tried: no passphrase was "
            "looked at"
        )
        assert (await room.ask(GetVault())).reason == "unlocked by passphrase"
        assert WRONG.passphrase.encode() not in room.learned
        assert len(room.memory.log.lines) == lines
        await room.ask(LockVault())
        with pytest.raises(UnlockFailed, match="does not open the vault"):
            await room.ask(WRONG)


async def test_passphrase_change_takes_effect() -> None:
    """The old one opens nothing any more."""
    async with open_keys() as room:
        await room.create()
        await room.add()
        await room.ask(ChangeUnlock(passphrase=PASSPHRASE, new_passphrase="another horse"))  # noqa: S106 - made up
        await room.ask(LockVault())
        with pytest.raises(UnlockFailed, match="does not open"):
            await room.unlock()
        await trio.sleep(1)
        await room.ask(UnlockVault(passphrase="another horse"))  # noqa: S106 - made up
        assert len(await room.ask(ListKeys())) == 1


# ------------------------------------------------------------------ without anybody at the keyboard


@pytest.mark.parametrize("kind", ["key_file", "credential"])
async def test_unattended_vault_opens_by_itself(kind: str) -> None:
    """At start and after a crash; the first key makes it. `status` says what unlocks it."""
    source, memory = GivenSource(), MemoryKeys()
    given = {"unlock": kind, "sources": {kind: source}, "memory": memory}
    async with open_keys(**given) as room:  # type: ignore[arg-type] # the two kinds there are
        assert (await room.ask(GetVault())).reason.endswith("`marketd keys add` adds the first")
        assert source.made == 0
        await room.add()
        assert source.made == 1
        await room.crash()
        await room.sign(await room.open())
    async with open_keys(**given) as room:  # type: ignore[arg-type] # as above
        status = await room.ask(GetVault())
        assert (status.state, status.unlock) == ("open", kind)
        assert status.reason.startswith(f"unlocked by {kind.replace('_', ' ')}")


async def test_unattended_vault_that_does_not_open_says_so_and_starts() -> None:
    """The runtime serves market data all the same; and nobody slows down a file."""
    source, memory = GivenSource(), MemoryKeys()
    async with open_keys(unlock="key_file", sources={"key_file": source}, memory=memory) as room:
        await room.add()
    for material, error in ((b"x" * 32, None), (b"", UnlockFailed("the key file is not there"))):
        source.material, source.error = material, error
        async with open_keys(
            unlock="key_file", sources={"key_file": source}, memory=memory
        ) as room:
            status = await room.ask(GetVault())
            assert status.state == "sealed"
            assert "key file" in status.reason
            assert status.retry_after_s == 0
            with pytest.raises(KeysSealed, match="key file"):
                await room.add("other")
            source.material, source.error = GivenSource().material, None
            await room.ask(UnlockVault())
            await room.sign(await room.open())


async def test_kind_of_unlocking_can_be_changed_and_back() -> None:
    """From a passphrase to a file for a machine without a keyboard; what is there decides."""
    source, memory = GivenSource(), MemoryKeys()
    sources = {"key_file": source}
    async with open_keys(memory=memory, sources=sources) as room:  # type: ignore[arg-type]
        await room.create()
        await room.add()
        change = await room.ask(ChangeUnlock(kind="key_file", passphrase=PASSPHRASE))
        assert change.what == "the vault is unlocked by key file from now on"
        status = await room.ask(GetVault())
        assert status.unlock == "key_file"
        assert status.reason.startswith("unlocked by key file, without anybody being asked")
        await room.crash()
        await room.sign(await room.open())
        await room.ask(ChangeUnlock(kind="passphrase", new_passphrase="another horse"))  # noqa: S106 - made up
        await room.crash()
        assert (await room.ask(GetVault())).unlock == "passphrase"
        await room.ask(UnlockVault(passphrase="another horse"))  # noqa: S106 - made up
        with pytest.raises(UnlockFailed, match="nothing says where the credential is"):
            await room.ask(ChangeUnlock(kind="credential", passphrase="another horse"))  # noqa: S106 - made up
        await room.sign(await room.open())


@pytest.mark.real_time
@pytest.mark.parametrize("trouble", ["missing", "short", "open to others"])
async def test_files_that_will_not_do_say_why(trouble: str, tmp_path: Path) -> None:
    """The three mistakes that are made with such files. It reads real files, in a thread."""
    path = tmp_path / "unlock.key"
    tmp_path.chmod(0o700)  # noqa: ASYNC240 - the test's own files, of a few bytes
    if trouble != "missing":
        path.write_bytes(b"x" * (31 if trouble == "short" else 32))
        path.chmod(0o644 if trouble == "open to others" else 0o600)
    wanted: dict[str, tuple[type[Exception], str]] = {
        "missing": (UnlockFailed, "is not there"),
        "short": (VaultDamaged, "must have 32 bytes, was 31"),
        "open to others": (VaultDamaged, "unlock.key"),
    }
    kind, text = wanted[trouble]
    for source in (KeyFileSource(path), CredentialSource(tmp_path, "unlock.key")):
        with pytest.raises(kind, match=text):
            await source.read(create=False)


async def test_key_with_its_vault_is_made_by_one_request() -> None:
    """Not so where there is a passphrase to be chosen first."""
    async with open_keys() as room:
        with pytest.raises(KeysSealed, match="`marketd keys create` makes a vault"):
            await room.ask(made_key())
