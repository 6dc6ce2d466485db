"""The KeyActor with many who ask at once, when it crashes, and asked odd things."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio

from actors.errors import (
    AccountClosed,
    InvalidRequest,
    KeysSealed,
    Overloaded,
    RateLimited,
    UnknownKey,
)
from actors.key import IN_HAND_MAX
from actors.key_messages import (
    AddKey,
    ChangeKey,
    CloseTrial,
    GetBalances,
    ListKeys,
    OpenTrial,
    RemoveKey,
    VerifyAudit,
)
from actors.stores.keys_memory import MemoryKeys
from actors.vault_messages import (
    CreateVault,
    GetVault,
    UnlockVault,
)
from runtime.core.errors import ActorRestarted, UnhandledRequest
from runtime.testing import wait_for
from runtime.testing_keys import (
    PASSPHRASE,
    HeldLog,
    KeyRoom,
    made_key,
    open_keys,
)

MAIN = "upbit:main"


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


def held() -> MemoryKeys:
    """Return what keeps keys in memory, with a trail that takes its time."""
    memory = MemoryKeys()
    memory.log = HeldLog()
    return memory


async def test_changes_at_once_lose_nothing() -> None:
    """Each is made of what the one before has left: a removed key is not brought back by a note."""
    memory = held()
    async with open_keys(memory=memory) as room:
        await furnish(room)
        async with trio.open_nursery() as nursery:
            for request in (
                RemoveKey(key=MAIN),
                ChangeKey(key=MAIN, uid="u"),
                ChangeKey(key=MAIN, telegram_id="t"),
                ChangeKey(key=MAIN, requests_per_minute=5),
            ):
                nursery.start_soon(room.ask, request)
        [gone, main] = await known(room)
        assert (gone.name, main.name) == ("upbit:gone", MAIN)
        found = (main.state, main.uid, main.telegram_id, main.requests_per_minute)
        assert found == ("removed", "u", "t", 5)


async def test_one_name_is_given_once() -> None:
    """Two operators add the same label at the same moment: one of them is told."""
    async with open_keys(memory=held()) as room:
        await room.create()
        refused: list[str] = []

        async def add() -> None:
            try:
                await room.add()
            except InvalidRequest as error:
                refused.append(str(error))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(add)
            nursery.start_soon(add)
        assert len(await known(room)) == 1
        assert len(refused) == 1
        assert "there is a key upbit:main (Acce…) already" in refused[0]


async def test_purged_twice_is_an_answer() -> None:
    """The second finds nothing to forget; it must not take the KeyActor down."""
    async with open_keys(memory=held()) as room:
        await furnish(room)
        outcomes: list[str] = []

        async def purge() -> None:
            try:
                outcomes.append((await room.ask(RemoveKey(key=MAIN, purge=True))).what)
            except UnknownKey as error:
                outcomes.append(str(error))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(purge)
            nursery.start_soon(purge)
        assert sorted(outcome[:6] for outcome in outcomes) == ["forget", "there "]
        assert room.incarnation == 1


async def test_signatures_at_once_have_nonces_of_their_own() -> None:
    """An exchange refuses a nonce that it has seen."""
    async with open_keys() as room:
        await furnish(room)
        account = await room.open()
        tokens: list[str] = []

        async def sign() -> None:
            tokens.append(await room.sign(account))

        async with trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(sign)
        assert len(set(tokens)) == 200


async def test_flood_is_refused() -> None:
    """Whoever asks faster than the disk writes is told so, and memory stays bounded."""
    memory = held()
    async with open_keys(memory=memory) as room:
        await furnish(room)
        account = await room.open()
        log = memory.log
        assert isinstance(log, HeldLog)
        room.actors[-1]._in_hand = IN_HAND_MAX
        with pytest.raises(Overloaded, match=f"{IN_HAND_MAX} requests"):
            await room.sign(account)
        room.actors[-1]._in_hand = 0


# ------------------------------------------------------------------ crashes, and odd requests


async def test_crash_seals_and_fails_what_is_in_hand() -> None:
    """The next incarnation knows no secret, and whoever waited is told at once."""
    memory = held()
    async with open_keys(memory=memory) as room:
        await furnish(room)
        account = await room.open()
        log = memory.log
        assert isinstance(log, HeldLog)
        log.hold()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_restart, room, account)
            await wait_for(lambda: log.waiting == 1)
            room.root.kill("keys")
            await trio.testing.wait_all_tasks_blocked()
            log.let_go()
        await wait_for(lambda: room.incarnation == 2)
        assert (await room.ask(GetVault())).state == "sealed"
        with pytest.raises(KeysSealed, match="sealed"):
            await room.sign(account)
        await room.unlock()
        with pytest.raises(AccountClosed, match="has not opened it"):
            await room.sign(account)
        assert (await room.ask(VerifyAudit())).whole


async def expect_restart(room: KeyRoom, account: str) -> None:
    """Ask for a signature of which nobody will know whether it was given."""
    with pytest.raises(ActorRestarted, match="keys"):
        await room.sign(account)


async def test_last_use_outlives_a_restart() -> None:
    """Which key is idle is asked after months, not within one run."""
    async with open_keys() as room:
        await furnish(room)
        await trio.sleep(100)
        await room.sign(await room.open())
        used_ms = room.clock.utc_ms()
        await room.crash()
        await room.unlock()
        [main] = await room.ask(ListKeys())
        assert main.last_used_ms == used_ms


async def test_half_characters_are_refused_without_being_shown() -> None:
    """Text with half a character in it has no bytes, and its error would hold all of it."""
    odd = "odd \ud800 secret of mine"
    async with open_keys() as room:
        await room.create()
        for request in (
            UnlockVault(passphrase=odd),
            CreateVault(passphrase=odd),
            made_key(secret_key=odd),
            made_key(access_key=odd),
            made_key(uid=odd),
            made_key(label=odd),
        ):
            with pytest.raises(InvalidRequest, match="must be") as caught:
                await room.ask(request)
            if getattr(request, "label", "") != odd:
                assert "of mine" not in f"{caught.value!r}{caught.value.__context__!r}"
        assert room.incarnation == 1


async def test_what_is_no_question_for_it_is_refused() -> None:
    """A message that went astray is a mistake of its sender, not a crash."""
    async with open_keys() as room:
        with pytest.raises(UnhandledRequest, match="no handler for GetBalances"):
            await room.ask(GetBalances(account="upbit:main#1"))


async def test_trial_is_ended_when_told() -> None:
    """A key that was tried is not kept a moment longer than needed."""
    async with open_keys() as room:
        await room.create()
        account = (await room.ask(OpenTrial(key=made_key("new")))).account
        credential = room.credential(account)
        room.ref.cast(CloseTrial(account=account))
        with pytest.raises(AccountClosed, match="its key was tried"):
            await room.sign(account)
        assert credential.secret_key.is_wiped


async def test_kept_key_is_tried_beside_its_bot_and_without_its_cap() -> None:
    """Its owner asks: the bot loses nothing by it, and the key is not used up."""
    async with open_keys() as room:
        await room.create()
        await room.add(requests_per_minute=2)
        account = await room.open()
        trial = (await room.ask(OpenTrial(key=MAIN))).account
        for _ in range(4):
            await room.sign(trial)
        for _ in range(2):
            await room.sign(account)
        with pytest.raises(RateLimited, match="upbit:main may sign 2 requests a minute"):
            await room.sign(account)
        assert await room.open() == account


async def test_trial_of_a_kept_key_ends_with_the_key() -> None:
    """Whoever takes a key out of use wants it out of use, also where only a trial has it."""
    async with open_keys() as room:
        await room.create()
        await room.add()
        trial = (await room.ask(OpenTrial(key=MAIN))).account
        await room.ask(RemoveKey(key=MAIN))
        with pytest.raises(AccountClosed, match="of its key there was a change: remove"):
            await room.sign(trial)
        with pytest.raises(UnknownKey, match="was removed"):
            await room.ask(OpenTrial(key=MAIN))


async def test_key_with_a_small_cap_can_be_tried_before_it_is_kept() -> None:
    """A trial takes four signatures."""
    async with open_keys() as room:
        await room.create()
        trial = (await room.ask(OpenTrial(key=made_key("new", requests_per_minute=1)))).account
        for _ in range(4):
            await room.sign(trial)


async def test_every_secret_in_memory_is_told_of() -> None:
    """What is known can be masked wherever it turns up."""
    async with open_keys() as room:
        await room.create()
        request = AddKey(
            exchange="okx",
            label="main",
            access_key="the access key",
            secret_key="the secret key",  # noqa: S106 - made up
            passphrase="the passphrase",  # noqa: S106 - made up
        )
        await room.ask(request)
        told = {secret.decode() for secret in room.learned}
        assert told >= {PASSPHRASE, "the access key", "the secret key", "the passphrase"}
