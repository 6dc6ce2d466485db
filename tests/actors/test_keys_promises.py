"""What a key daemon must promise: one table for each promise, one row for each way to break it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from actors.errors import (
    AccountClosed,
    InvalidRequest,
    KeyRefused,
    KeysError,
    KeysSealed,
    UnknownKey,
    VaultDamaged,
)
from actors.key_messages import (
    KEY_METHODS,
    AccountRequest,
    AddKey,
    CancelOrder,
    ChangeKey,
    GetApiKeys,
    GetAudit,
    GetBalances,
    GetOrder,
    GetOrderChance,
    GetOrders,
    InvalidateAccount,
    ListKeys,
    OpenAccount,
    PlaceOrder,
    RemoveKey,
    RestoreKey,
    TryKey,
    VerifyAudit,
)
from actors.sandbox.accounts import SandboxAccount, SandboxKey
from actors.vault_messages import (
    ChangeUnlock,
    CreateVault,
    GetVault,
    LockVault,
    RecoverVault,
    RotateVault,
    UnlockVault,
)
from runtime.core.message import Request
from runtime.testing_keys import (
    ACCESS_KEY,
    PASSPHRASE,
    SECRET_KEY,
    KeyRoom,
    KeyWorld,
    made_key,
    open_key_world,
    open_keys,
)

EPS_S = 0.001
HOLDER = SandboxAccount("one", (SandboxKey(ACCESS_KEY, SECRET_KEY),), {"KRW": "1"})


def samples(account: str) -> dict[str, Request[Any]]:
    """Return a good request for each method, by its name on the socket."""
    key = "upbit:main"
    return {
        "keys.status": GetVault(),
        "keys.create": CreateVault(passphrase=PASSPHRASE),
        "keys.unlock": UnlockVault(passphrase=PASSPHRASE),
        "keys.lock": LockVault(),
        "keys.recover": RecoverVault(passphrase=PASSPHRASE),
        "keys.rotate": RotateVault(),
        "keys.passphrase": ChangeUnlock(passphrase=PASSPHRASE, new_passphrase="other horse"),  # noqa: S106 - made up
        "keys.add": made_key("other"),
        "keys.change": ChangeKey(key=key, uid="someone"),
        "keys.list": ListKeys(),
        "keys.test": TryKey(key=key),
        "keys.remove": RemoveKey(key=key),
        "keys.restore": RestoreKey(key="upbit:gone"),
        "keys.audit": GetAudit(),
        "keys.verify": VerifyAudit(),
        "account.open": OpenAccount(exchange="upbit", label="main"),
        "account.invalidate": InvalidateAccount(key=key),
        "account.balances": GetBalances(account=account),
        "account.chance": GetOrderChance(account=account, market="KRW-BTC"),
        "account.order": GetOrder(account=account, uuid="1"),
        "account.orders": GetOrders(account=account),
        "account.place": PlaceOrder(
            account=account, market="KRW-BTC", side="bid", price="1000", volume="5"
        ),
        "account.cancel": CancelOrder(account=account, uuid="1"),
        "account.keys": GetApiKeys(account=account),
        "account.request": AccountRequest(account=account, method="GET", path="/v1/accounts"),
    }


# What may be asked of a vault that is closed; `keys.lock` does nothing then.
ANSWERED_WHILE_CLOSED = {"keys.status", "keys.lock"}
ABOUT_THE_VAULT = {"keys.create", "keys.unlock", "keys.recover"}


def refused_methods(*but: str) -> list[str]:
    """Return every method there is, but those that are answered."""
    return sorted(KEY_METHODS.keys() - ANSWERED_WHILE_CLOSED - set(but))


async def sealed(world: KeyWorld) -> None:
    """Seal the vault."""
    await world.ask(LockVault())


async def damaged(world: KeyWorld) -> None:
    """Find the vault damaged."""
    await world.ask(LockVault())
    world.memory.store.trouble = VaultDamaged("the sealed file was changed")
    with pytest.raises(VaultDamaged, match="was changed"):
        await world.ask(UnlockVault(passphrase=PASSPHRASE))


async def refusal(world: KeyWorld, name: str, account: str) -> Exception:
    """Return how a method is refused; nothing may come of it."""
    store, log = world.memory.store, world.exchange.log
    commits, asked = store.commits, len(log)
    try:
        answer = await world.ask(samples(account)[name])
    except (KeysError, InvalidRequest) as error:
        assert store.commits == commits
        assert len(log) == asked
        return error
    raise AssertionError(f"{name} was answered with {answer}")


def test_every_method_has_a_row() -> None:
    """A method that is added later cannot be forgotten in the tables below."""
    assert samples("").keys() == KEY_METHODS.keys()
    for name, request in samples("").items():
        assert type(request) is KEY_METHODS[name]


@pytest.mark.parametrize("name", refused_methods("keys.unlock"))
async def test_sealed_means_refused(name: str, tmp_path: Path) -> None:
    """Whatever is asked: with the vault sealed there is no signature and no word about keys."""
    async with open_key_world(tmp_path, [HOLDER]) as world:
        account = await world.add()
        await sealed(world)
        error = await refusal(world, name, account)
        wanted: type[Exception] = KeysSealed
        if name.startswith("account.") and name not in ("account.open", "account.invalidate"):
            wanted = AccountClosed
        elif name in ABOUT_THE_VAULT:
            wanted = InvalidRequest
        assert type(error) is wanted
        assert "unlock" in str(error) or "locked" in str(error) or "nothing is wrong" in str(error)


@pytest.mark.parametrize("name", refused_methods("keys.create", "keys.unlock"))
async def test_no_vault_means_refused(name: str) -> None:
    """Before there is a vault there is nothing to sign with, and nothing may pretend there is."""
    async with open_keys() as room:
        request = samples("upbit:main#1")[name]
        if name == "keys.test" or name.startswith("account."):
            request = OpenAccount(exchange="upbit", label="main")
        wanted = InvalidRequest if name == "keys.recover" else KeysSealed
        with pytest.raises(wanted, match=r"there are no keys yet|no good copy"):
            await room.ask(request)
        assert room.memory.store.kept is None


@pytest.mark.parametrize("name", refused_methods())
async def test_damaged_means_refused(name: str, tmp_path: Path) -> None:
    """What was tampered with is named, and used for nothing."""
    async with open_key_world(tmp_path, [HOLDER]) as world:
        account = await world.add()
        await damaged(world)
        if name == "keys.recover":
            return  # `test_vault_desk` has what it does.
        error = await refusal(world, name, account)
        closed = name.startswith("account.") and name not in ("account.open", "account.invalidate")
        assert type(error) is (AccountClosed if closed else VaultDamaged)
        status = await world.ask(GetVault())
        assert (status.state, status.accounts) == ("damaged", 0)


@pytest.mark.parametrize("name", sorted(ANSWERED_WHILE_CLOSED))
async def test_state_is_told_in_any_state(name: str, tmp_path: Path) -> None:
    """An operator must be able to see why nothing works."""
    async with open_key_world(tmp_path, [HOLDER]) as world:
        assert (await world.ask(samples("")["keys.status"])).state == "open"
        await sealed(world)
        assert (await world.ask(samples("")[name])).state == "sealed"
        assert (await world.ask(GetVault())).keys is None


# ------------------------------------------------------------------ what ends account clients

Way = Callable[[KeyRoom], Awaitable[object]]
MAIN = "upbit:main"


def end_now(room: KeyRoom) -> ChangeKey:
    """Return the change after which the key has been over for a moment."""
    return ChangeKey(key=MAIN, expires=room.clock.utc_ms() - 1)


async def end_in_a_minute(room: KeyRoom) -> None:
    """Let the key come to its end."""
    await room.ask(ChangeKey(key=MAIN, expires=room.clock.utc_ms() + 60_000))
    await trio.sleep(60 + EPS_S)


async def damage(room: KeyRoom) -> None:
    """Let a change find the vault damaged."""
    room.memory.store.trouble = VaultDamaged("it was swapped")
    with pytest.raises(VaultDamaged, match="swapped"):
        await room.ask(RotateVault())


WAYS: dict[str, Way] = {
    "lock": lambda room: room.ask(LockVault()),
    "remove": lambda room: room.ask(RemoveKey(key=MAIN)),
    "purge": lambda room: room.ask(RemoveKey(key=MAIN, purge=True)),
    "replace": lambda room: room.add(replace=True, secret_key="another secret"),  # noqa: S106 - made up
    "invalidate": lambda room: room.ask(InvalidateAccount(key=MAIN)),
    "other rules": lambda room: room.ask(ChangeKey(key=MAIN, allow=("GET /*",))),
    "another cap": lambda room: room.ask(ChangeKey(key=MAIN, requests_per_minute=9)),
    "another owner": lambda room: room.ask(ChangeKey(key=MAIN, uid="another")),
    "end of the key, told": lambda room: room.ask(end_now(room)),
    "end of the key, reached": end_in_a_minute,
    "crash": lambda room: room.crash(),
    "vault found damaged": damage,
}


@pytest.mark.parametrize("way", WAYS)
async def test_account_client_ends_at_once(way: str) -> None:
    """From then on it signs nothing, everybody knows, and its secrets are wiped."""
    async with open_keys() as room:
        await room.create()
        await room.add()
        account = await room.open()
        await room.sign(account)
        credential = room.credential(account)
        await WAYS[way](room)

        assert credential.secret_key.is_wiped
        assert credential.access_key.is_wiped
        published = room.accounts.get(account)
        assert published is None or published.closed
        signed = room.actions().count("sign")
        with pytest.raises(KeysError, match=r"closed|sealed|swapped"):
            await room.sign(account)
        assert room.actions().count("sign") == signed


@pytest.mark.parametrize(
    "harmless",
    [
        RotateVault(),
        ChangeUnlock(passphrase=PASSPHRASE, new_passphrase="another passphrase"),  # noqa: S106 - made up
        ChangeKey(key=MAIN, telegram_id="42"),
        ChangeKey(key=MAIN, expires="2027-01-01"),
        RemoveKey(key=MAIN, dry_run=True),
        AddKey(exchange="upbit", label="b", access_key="12345678", secret_key="87654321"),  # noqa: S106 - made up
    ],
    ids=lambda request: type(request).__name__,
)
async def test_account_client_outlives_what_does_not_concern_it(harmless: Request[Any]) -> None:
    """A rotation at noon must not stop a bot."""
    async with open_keys() as room:
        await room.create()
        await room.add()
        account = await room.open()
        await room.ask(harmless)
        await room.sign(account)
        assert await room.open() == account


async def test_runtime_that_stops_leaves_nothing_behind() -> None:
    """The block has ended; what signed is zeros."""
    async with open_keys() as room:
        await room.create()
        await room.add()
        credential = room.credential(await room.open())
        vault = room.actors[-1]._desk.vault
    assert credential.secret_key.is_wiped
    assert vault._state.data_key.is_wiped
    assert room.actions()[-1] == "lock"


# ------------------------------------------------------------------ lifetimes, to the millisecond


@pytest.mark.parametrize("after_s", [-EPS_S, EPS_S])
@pytest.mark.parametrize(
    ("idle_s", "uses", "ttl_s"), [(10.0, 0, 10.0), (10.0, 3, 34.0), (10.0, 40, 100.0)]
)
async def test_lifetimes_are_exact(idle_s: float, uses: int, ttl_s: float, after_s: float) -> None:
    """Use begins the idle time anew, every 8 s here; nothing moves the absolute end at 100 s."""
    async with open_keys(idle_s=idle_s, absolute_s=100.0) as room:
        await room.create()
        await room.add()
        account = await room.open()
        credential, start_s = room.credential(account), trio.current_time()
        for use in range(1, uses + 1):
            if use * 8.0 < ttl_s:
                await trio.sleep_until(start_s + use * 8.0)
                await room.sign(account)
        await trio.sleep_until(start_s + ttl_s + after_s)

        # Before anybody asks: it is wiped by itself.
        assert credential.secret_key.is_wiped is (after_s > 0)
        if after_s < 0:
            await room.sign(account)
            return
        why = "keys.absolute_s" if ttl_s == 100 else "keys.idle_s"
        with pytest.raises(AccountClosed, match=why):
            await room.sign(account)
        assert room.accounts.get(account).closed  # type: ignore[union-attr] # it is there
        assert (await room.ask(GetVault())).accounts == 0


async def test_opening_again_is_no_use() -> None:
    """Who only holds the door open without walking through finds it closed in the end."""
    async with open_keys(idle_s=10.0) as room:
        await room.create()
        await room.add()
        account = await room.open()
        await trio.sleep(6)
        assert await room.open() == account
        await trio.sleep(6)
        assert await room.open() != account


async def test_shorter_end_is_kept_without_anybody_asking() -> None:
    """A key whose end was moved forward is wiped at the new end and not at the old one."""
    async with open_keys() as room:
        await room.create()
        await room.add()
        credential = room.credential(await room.open())
        await room.ask(ChangeKey(key=MAIN, expires=room.clock.utc_ms() + 5_000))
        await trio.sleep(5 - EPS_S)
        assert not credential.secret_key.is_wiped
        await trio.sleep(2 * EPS_S)
        assert credential.secret_key.is_wiped


# ------------------------------------------------------------------ what was, and is no more


async def test_key_that_expired_is_named_with_its_cure() -> None:
    """The owner has to make a new one; nothing else helps."""
    async with open_keys() as room:
        await room.create()
        await room.add(expires=room.clock.utc_ms() + 1_000)
        await trio.sleep(1)
        with pytest.raises(KeyRefused, match=r"expired.*keys add upbit:main --replace"):
            await room.open()


async def test_removed_key_is_named_with_its_cure() -> None:
    """It is not gone yet, and who wonders must be told."""
    async with open_keys() as room:
        await room.create()
        await room.add()
        await room.ask(RemoveKey(key=MAIN))
        with pytest.raises(UnknownKey, match="keys restore upbit:main"):
            await room.open()
        await room.ask(RestoreKey(key=MAIN))
        await room.sign(await room.open())
