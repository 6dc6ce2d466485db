"""The door to keys and accounts: who answers what, and keys that are tried before they are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel

from actors.account_router import AccountRouter
from actors.errors import (
    ExchangeUnavailable,
    InvalidRequest,
    KeyRefused,
    KeysSealed,
)
from actors.key_messages import (
    KEY_METHODS,
    AccountRequest,
    AddKey,
    ChangeKey,
    GetBalances,
    ListKeys,
    OpenAccount,
    TryKey,
)
from actors.messages import GetStreams
from actors.sandbox.accounts import SandboxAccount, SandboxKey
from actors.sandbox.faults import Fault
from actors.vault_messages import GetVault, LockVault
from runtime.core.clock import TrioClock
from runtime.testing import NEW_YEAR_MS
from runtime.testing_keys import ACCESS_KEY, SECRET_KEY, made_key, open_key_world

ENDS_MS = NEW_YEAR_MS + 30 * 86_400_000
SANDBOX = [
    SandboxAccount("one", (SandboxKey(ACCESS_KEY, SECRET_KEY, expires_ms=ENDS_MS),), {"KRW": "9"})
]


async def test_key_that_works_is_kept_with_its_end(tmp_path: Path) -> None:
    """The exchange knows when it ends, so nobody needs to type it; the trial leaves nothing."""
    async with open_key_world(tmp_path, SANDBOX) as world:
        [kept] = (await world.ask(made_key(test=True))).keys
        assert kept.expires_ms == ENDS_MS
        assert (await world.ask(GetVault())).accounts == 0
        await world.ask(GetBalances(account=await world.open()))


async def test_end_that_was_typed_is_left_alone(tmp_path: Path) -> None:
    """Somebody may want a key to end earlier than the exchange does."""
    async with open_key_world(tmp_path, SANDBOX) as world:
        [kept] = (await world.ask(made_key(test=True, expires=NEW_YEAR_MS + 1_000_000))).keys
        assert kept.expires_ms == NEW_YEAR_MS + 1_000_000


@pytest.mark.parametrize(
    ("secret", "why"), [("of another key", "jwt_verification"), (SECRET_KEY, "")]
)
async def test_key_that_does_not_work_is_not_kept(secret: str, why: str, tmp_path: Path) -> None:
    """A typing mistake is told now and not when the first order is due."""
    async with open_key_world(tmp_path, SANDBOX) as world:
        wrong = made_key(test=True, secret_key=secret)
        if not why:
            world.exchange.faults.switch_on(Fault.AWAY)
            with pytest.raises(ExchangeUnavailable, match="upbit"):
                await world.ask(wrong, timeout_s=200)
        else:
            with pytest.raises(KeyRefused, match=f"is not kept.*{why}"):
                await world.ask(wrong)
        assert await world.ask(ListKeys(removed=True)) == ()
        await trio.lowlevel.checkpoint()
        assert (await world.ask(GetVault())).accounts == 0


async def test_dry_run_tries_and_keeps_nothing(tmp_path: Path) -> None:
    """Both at once: would it work, and would it be taken."""
    async with open_key_world(tmp_path, SANDBOX) as world:
        change = await world.ask(made_key(test=True, dry_run=True))
        assert not change.done
        assert world.asked("/v1/accounts") == 1
        assert await world.ask(ListKeys()) == ()


async def test_trying_a_key_learns_its_end(tmp_path: Path) -> None:
    """A key that was added without it is announced in time from then on."""
    async with open_key_world(tmp_path, SANDBOX) as world:
        account = await world.add()
        found = await world.ask(TryKey(key="upbit:main"))
        assert (found.works, found.currencies, found.expires_ms) == (True, ("KRW",), ENDS_MS)
        [kept] = await world.ask(ListKeys())
        assert kept.expires_ms == ENDS_MS
        await world.ask(GetBalances(account=account))


@pytest.mark.parametrize(
    ("permissions", "works", "wanted"),
    [
        ({"view_account", "view_orders", "make_orders"}, True, "ok ok ok"),
        ({"view_account"}, True, "ok out_of_scope out_of_scope"),
        ({"view_orders", "make_orders"}, False, "out_of_scope ok ok"),
    ],
)
async def test_trial_says_what_a_key_may(
    permissions: set[str], wanted: str, tmp_path: Path, *, works: bool
) -> None:
    """By asking, not by believing: each permission with the exchange's own word."""
    key = SandboxKey(ACCESS_KEY, SECRET_KEY, frozenset(permissions))
    accounts = [SandboxAccount("one", (key,), {"KRW": "1000000"})]
    async with open_key_world(tmp_path, accounts) as world:
        await world.add()
        found = await world.ask(TryKey(key="upbit:main"))
        names = ("view_account", "view_orders", "make_orders")
        assert found.works is works
        assert [found.permissions[name] for name in names] == wanted.split()
        assert bool(found.problems) is not works


async def test_trial_of_a_key_with_rules_asks_only_what_it_may(tmp_path: Path) -> None:
    """What the owner forbade is not tried, and that is no fault of the key."""
    async with open_key_world(tmp_path, SANDBOX) as world:
        await world.add(allow=("GET /v1/accounts",))
        found = await world.ask(TryKey(key="upbit:main"))
        assert found.works
        assert found.permissions["make_orders"].startswith("not asked: upbit:main does not sign")
        assert world.asked("/v1/orders/test") == 0


async def test_trial_takes_nothing_of_what_a_bot_may_ask(tmp_path: Path) -> None:
    """A key for two requests a minute can be tried, and its bot still has both."""
    async with open_key_world(tmp_path, SANDBOX) as world:
        account = await world.add(requests_per_minute=2, test=True, expires=ENDS_MS)
        assert (await world.ask(TryKey(key="upbit:main"))).works
        assert (await world.ask(GetVault())).accounts == 1
        for _ in range(2):
            await world.ask(GetBalances(account=account))


async def test_trial_of_sealed_keys_is_refused(tmp_path: Path) -> None:
    """Nothing is asked of the exchange."""
    async with open_key_world(tmp_path, SANDBOX) as world:
        await world.add()
        await world.ask(LockVault())
        for request in (TryKey(key="upbit:main"), made_key("new", test=True)):
            with pytest.raises(KeysSealed, match="unlock"):
                await world.ask(request)
        assert list(world.exchange.log) == []


def test_it_knows_its_own_questions_and_no_others() -> None:
    """Every method of keys and accounts, and nothing about markets."""
    assert not AccountRouter.knows(GetStreams())
    assert AccountRouter.knows(GetVault())
    assert AccountRouter.knows(made_key())
    assert len(KEY_METHODS) == len(set(KEY_METHODS.values()))


async def test_keys_that_are_switched_off_are_refused_as_that(clock: TrioClock) -> None:
    """No actor is there, and the setting that would start one is named."""
    router = AccountRouter(None, {}, clock)
    for request in (GetVault(), GetBalances(account="upbit:main#1"), made_key()):
        with pytest.raises(InvalidRequest, match=r"keys are switched off: keys.enabled"):
            await router.answer(request, timeout_s=1)
    assert await router.health() == ()
    assert await router.vault() is None


async def test_exchanges_without_accounts_are_named(tmp_path: Path) -> None:
    """A key of OKX can be kept, and not be used yet."""
    async with open_key_world(tmp_path, SANDBOX) as world:
        okx: dict[str, Any]
        okx = {"exchange": "okx", "label": "main", "access_key": "12345678"}
        await world.ask(AddKey(**okx, secret_key="87654321", passphrase="12345678"))  # noqa: S106 - made up
        for request in (
            OpenAccount(exchange="okx", label="main"),
            TryKey(key="okx:main"),
            GetBalances(account="okx:main#1"),
            AccountRequest(account="", method="GET", path="/v1/accounts"),
        ):
            with pytest.raises(InvalidRequest, match="are served here; at upbit are"):
                await world.ask(request)


async def test_health_and_state_are_told_with_everybody_elses(tmp_path: Path) -> None:
    """The keys, and the way to each exchange."""
    async with open_key_world(tmp_path, SANDBOX) as world:
        names = [each.name for each in await world.wired.accounts.health()]
        assert names == ["keys", "upbit accounts"]
        status = await world.wired.accounts.vault()
        assert status is not None
        assert status.state == "open"
        await world.ask(made_key(expires=NEW_YEAR_MS + 86_400_000))
        [keys, _] = await world.wired.accounts.health()
        assert keys.state == "degraded"
        await world.ask(ChangeKey(key="upbit:main", expires=ENDS_MS))
