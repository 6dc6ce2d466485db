"""What is known of each key: taken in whole or refused, and told masked."""

from __future__ import annotations

from typing import Any

import pytest

from actors.errors import AuditFailed, InvalidRequest, UnknownKey
from actors.key_messages import (
    AddKey,
    ChangeKey,
    GetAudit,
    ListKeys,
    OpenAccount,
    RemoveKey,
    RestoreKey,
)
from actors.stores.keys_memory import MemoryKeys
from actors.vault.audit import chain, decode, encode
from actors.vault_messages import LockVault
from runtime.testing_keys import ACCESS_KEY, SECRET_KEY, KeyRoom, made_key, open_keys

MAIN = "upbit:main"


@pytest.mark.parametrize(
    ("field", "value", "wanted"),
    [
        ("access_key", "", "access_key must be 8 to 1024 bytes long, was 0"),
        ("access_key", "1234567", "access_key must be 8 to 1024 bytes long, was 7"),
        ("secret_key", "x" * 1_025, "secret_key must be 8 to 1024 bytes long, was 1025"),
        ("secret_key", "한" * 342, "secret_key must be 8 to 1024 bytes long, was 1026"),
        ("secret_key", " 12345678", "secret_key must be printable text without spaces around it"),
        ("secret_key", "1234\n5678", "secret_key must be printable text without spaces around it"),
        ("access_key", "1234\u200b5678", "access_key must be printable text"),
        ("passphrase", "12345678", "keys of upbit have no passphrase"),
        ("label", "a b", "a label must be 1 to 64"),
        ("allow", (), "allow must hold 1 to 100 rules"),
        ("requests_per_minute", 0, "requests_per_minute must be 1 to 100000, was 0"),
        ("expires", "soon", "expires must be milliseconds since 1970 or ISO 8601"),
        ("expires", 10**400, "expires must"),
        ("expires", "2020-01-01", "must lie in the future, was 2020-01-01T00:00:00Z"),
        ("allow", ("POST /v1/withdraws/*",), "a withdrawal or transfer is allowed by its whole"),
        ("uid", "a\nb", "uid must be at most 100 characters on one line"),
        ("telegram_id", "x" * 101, "telegram_id must be at most 100 characters on one line"),
    ],
)
async def test_key_that_will_not_do_is_refused(field: str, value: Any, wanted: str) -> None:
    """Each with what was wanted; never with what a secret was."""
    async with open_keys() as room:
        await room.create()
        with pytest.raises(InvalidRequest, match=wanted) as caught:
            await room.add(**{field: value})
        if "key" in field:
            assert not value or value not in str(caught.value)
        assert await room.ask(ListKeys(removed=True)) == ()
        assert room.actions()[-1] == "create.done"


async def test_exchanges_that_have_no_keys_here_are_named() -> None:
    """And those that have a third secret want it."""
    async with open_keys() as room:
        await room.create()
        key: dict[str, Any]
        key = {"label": "main", "access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
        with pytest.raises(InvalidRequest, match="no exchange called 'binance' has keys here"):
            await room.ask(AddKey(exchange="binance", **key))
        with pytest.raises(InvalidRequest, match="keys of okx have a passphrase as well"):
            await room.ask(AddKey(exchange="okx", **key))
        [okx] = (await room.ask(AddKey(exchange="okx", passphrase="a third one", **key))).keys  # noqa: S106 - made up
        assert (okx.name, okx.host) == ("okx:main", "www.okx.com")


async def test_keys_are_told_masked_and_by_name() -> None:
    """The first four letters tell it from others, and are no use to a thief."""
    async with open_keys() as room:
        await room.create()
        for label, uid in (("b", "1"), ("a", "2"), ("c", "1")):
            await room.add(label, uid=uid, telegram_id=f"t{label}")
        await room.ask(RemoveKey(key="upbit:c"))
        names = [each.name for each in await room.ask(ListKeys())]
        assert names == ["upbit:a", "upbit:b"]
        assert len(await room.ask(ListKeys(removed=True, owner="1"))) == 2
        assert [each.name for each in await room.ask(ListKeys(owner="ta"))] == ["upbit:a"]
        assert await room.ask(ListKeys(exchange="okx")) == ()
        found = await room.ask(ListKeys(removed=True))
        assert {each.hint for each in found} == {"Acce"}
        assert [each.state for each in found] == ["active", "active", "removed"]
        assert ACCESS_KEY not in repr(found)


async def test_replacing_keeps_the_name_and_its_age() -> None:
    """A key that ran out is replaced under its name; the new secrets sign from then on."""
    async with open_keys() as room:
        await room.create()
        before = await room.add()
        first = await room.sign(await room.open())
        with pytest.raises(InvalidRequest, match=r"there is a key upbit:main \(Acce…\) already"):
            await room.add()
        after = await room.add(access_key="FreshAccessKey", replace=True)
        assert (after.hint, after.created_ms) == ("Fres", before.created_ms)
        assert await room.sign(await room.open()) != first
        await room.ask(RemoveKey(key=MAIN))
        with pytest.raises(InvalidRequest, match=r"\(Fres…, removed\) already"):
            await room.add()
        assert (await room.add(replace=True)).state == "active"


async def test_removal_can_be_taken_back_and_a_purge_cannot() -> None:
    """Twice the same is told, because it was perhaps not meant."""
    async with open_keys() as room:
        await room.create()
        await room.add()
        with pytest.raises(InvalidRequest, match="is not removed"):
            await room.ask(RestoreKey(key=MAIN))
        await room.ask(RemoveKey(key=MAIN))
        with pytest.raises(InvalidRequest, match="is removed already; --purge forgets it"):
            await room.ask(RemoveKey(key=MAIN))
        await room.ask(RestoreKey(key=MAIN))
        await room.ask(RemoveKey(key=MAIN, purge=True))
        with pytest.raises(UnknownKey, match="there is no key upbit:main; there is none"):
            await room.ask(RestoreKey(key=MAIN))
        await room.add()


async def test_change_that_changes_nothing_writes_nothing() -> None:
    """Saying twice what is so already is no change; saying nothing is a mistake."""
    async with open_keys() as room:
        await room.create()
        await room.add(uid="7")
        commits = room.memory.store.commits
        account = await room.open()
        assert "like that already" in (await room.ask(ChangeKey(key=MAIN, uid="7"))).what
        with pytest.raises(InvalidRequest, match="nothing was named"):
            await room.ask(ChangeKey(key=MAIN))
        with pytest.raises(InvalidRequest, match="a rule of allow"):
            await room.ask(ChangeKey(key=MAIN, allow=("nonsense",)))
        assert room.memory.store.commits == commits
        await room.sign(account)


async def test_cap_can_be_set_and_taken_away() -> None:
    """0 stands for none, because None stands for as it is."""
    async with open_keys() as room:
        await room.create()
        await room.add(requests_per_minute=5)
        for given, wanted in ((7, 7), (0, None)):
            change = await room.ask(ChangeKey(key=MAIN, requests_per_minute=given))
            assert change.keys[0].requests_per_minute == wanted


async def test_dry_run_of_a_key_says_what_would_be() -> None:
    """Checked as if it were meant; nothing of it is kept."""
    async with open_keys() as room:
        await room.create()
        change = await room.ask(made_key(dry_run=True, uid="7"))
        wanted = "add upbit:main (Acce…), which may sign * /*, but no withdrawals"
        assert (change.done, change.what) == (False, wanted)
        assert change.keys[0].uid == "7"
        assert await room.ask(ListKeys()) == ()


async def test_one_key_under_two_labels_counts_for_one_account() -> None:
    """The exchange knows nothing of labels, and would refuse what they ask for together."""
    async with open_keys() as room:
        await room.create()
        for label, more in (("a", {}), ("b", {}), ("c", {"access_key": "another access key"})):
            await room.add(label, **more)
        asked = [OpenAccount(exchange="upbit", label=label) for label in "abc"]
        holders = [(await room.ask(each)).holder for each in asked]

        assert holders == ["upbit:a", "upbit:a", "upbit:c"]


@pytest.mark.parametrize("nothing", ["none", 0])
async def test_end_of_a_key_can_be_taken_back(nothing: str | int) -> None:
    """It was written down wrong, or the exchange has made it longer and nobody knows to when."""
    async with open_keys() as room:
        await room.create()
        await room.add(expires="2026-06-01")
        change = await room.ask(ChangeKey(key=MAIN, expires=nothing))
        assert (change.done, change.keys[0].expires_ms) == (True, None)
        assert "expires 2026-06-01T00:00:00Z → none" in change.what


async def test_change_says_what_was_and_what_would_be() -> None:
    """Names alone do not tell whether it is the change that was meant."""
    async with open_keys() as room:
        await room.create()
        await room.add(requests_per_minute=5)
        change = await room.ask(
            ChangeKey(key=MAIN, requests_per_minute=7, uid="u", telegram_id="", dry_run=True)
        )
        assert not change.done
        assert change.what == (
            "change upbit:main: requests per minute 5 → 7; uid none → u; it may sign * /*, but no "
            "withdrawals"
        )


async def test_owner_of_a_key_does_not_stand_in_the_trail() -> None:
    """A trail goes to who looks after machines, and that is no matter of theirs."""
    async with open_keys() as room:
        await room.create()
        await room.add()
        await room.ask(ChangeKey(key=MAIN, uid="an owner"))
        assert not any(b"an owner" in line for line in room.memory.log.lines)
        assert any(b"change uid of upbit:main" in line for line in room.memory.log.lines)


async def test_pattern_of_withdrawals_is_refused_in_a_change_as_well() -> None:
    """And nothing of the change is made."""
    async with open_keys() as room:
        await room.create()
        await room.add()
        rules = ("GET /v1/*", "POST /v1/withdraws/*")
        with pytest.raises(InvalidRequest, match="such as 'POST /v1/withdraws/coin', and by no"):
            await room.ask(ChangeKey(key=MAIN, allow=rules))
        [key] = await room.ask(ListKeys())
        assert key.allow == ("* /*",)


async def test_replaced_key_was_never_used() -> None:
    """The last use was of the key before; not even a restart brings it back."""
    async with open_keys() as room:
        await room.create()
        await room.add()
        await room.sign(await room.open())
        await room.ask(LockVault())
        await room.unlock()
        [before] = await room.ask(ListKeys())
        assert before.last_used_ms is not None
        fresh = await room.add(access_key="FreshAccessKey", replace=True)
        assert fresh.last_used_ms is None
        await room.crash()
        await room.unlock()
        [after] = await room.ask(ListKeys())
        assert after.last_used_ms is None


# ------------------------------------------------------------------ the trail, listed


async def used(room: KeyRoom) -> None:
    """Make a vault with a key, and use it."""
    await room.create()
    await room.add()
    account = await room.open()
    for path in ("/v1/accounts", "/v1/orders", "/v1/order"):
        await room.sign(account, "GET", path)


@pytest.mark.parametrize("count", [1, 2, 50])
async def test_listed_lines_that_were_changed_are_told(count: int) -> None:
    """Who looks for what was done must not be shown what somebody made of it."""
    async with open_keys() as room:
        await used(room)
        lines = room.memory.log.lines
        assert len(await room.ask(GetAudit(count=count))) == min(count, len(lines))
        lines[-1] = lines[-1].replace(b"/v1/order", b"/v1/other")
        with pytest.raises(AuditFailed, match=rf"number {len(lines)} of .*'sign': it was changed"):
            await room.ask(GetAudit(count=count))
        with pytest.raises(AuditFailed, match="it was changed"):
            await room.ask(GetAudit(count=count, key=MAIN))


async def test_listed_line_with_a_hash_that_fits_is_told_all_the_same() -> None:
    """Anybody can compute a hash; the runtime remembers which one it has written."""
    async with open_keys() as room:
        await used(room)
        lines = room.memory.log.lines
        *_, before, last = map(decode, lines)
        forged = chain(before, time_ms=last.time_ms, action="open", key=MAIN, detail="")
        lines[-1] = encode(forged)
        with pytest.raises(AuditFailed, match="'open': it is not the line that was written there"):
            await room.ask(GetAudit(count=1))


async def test_line_that_is_missing_before_those_listed_is_told() -> None:
    """The first of them must follow from one that is there."""
    memory = MemoryKeys()
    async with open_keys(memory=memory) as room:
        await used(room)
        del memory.log.lines[-2]
        with pytest.raises(AuditFailed, match="wanted number"):
            await room.ask(GetAudit(count=1))
