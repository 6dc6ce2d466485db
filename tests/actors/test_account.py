"""The AccountActor: asked about an account, signed elsewhere, and within the account's limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from actors.errors import (
    AccountClosed,
    ExchangeUnavailable,
    InvalidRequest,
    KeyRefused,
    OutcomeUnknown,
    Overloaded,
    RateLimited,
    RequestRejected,
)
from actors.key_messages import (
    AccountRequest,
    CancelOrder,
    ChangeKey,
    GetApiKeys,
    GetBalances,
    GetOrder,
    GetOrderChance,
    GetOrders,
    PlaceOrder,
)
from actors.messages import GetHealth
from actors.sandbox.accounts import SandboxAccount, SandboxKey
from actors.sandbox.faults import Fault
from actors.stores.keys_memory import MemoryKeys
from actors.vault_messages import LockVault
from runtime.core.errors import ActorError
from runtime.testing import NEW_YEAR_MS, wait_for
from runtime.testing_keys import (
    ACCESS_KEY,
    PASSPHRASE,
    SECRET_KEY,
    HeldLog,
    KeyWorld,
    open_key_world,
)

SECOND = "SecondAccessKeyOfATest0123456789abcdef00"
ENDS_MS = NEW_YEAR_MS + 3_600_000


def one_account(**key: Any) -> list[SandboxAccount]:
    """Return an account with two keys."""
    keys = (SandboxKey(ACCESS_KEY, SECRET_KEY, **key), SandboxKey(SECOND, SECRET_KEY))
    return [SandboxAccount("one", keys, {"KRW": "10000000.5", "BTC": "0.1"})]


def order(account: str, **more: Any) -> PlaceOrder:
    """Return an order that waits."""
    given: dict[str, Any] = {"price": "5000", "volume": "1.00000000", **more}
    return PlaceOrder(account=account, market="KRW-BTC", side="bid", **given)


async def test_amounts_come_back_digit_for_digit(tmp_path: Path) -> None:
    """Money is no float: what the exchange wrote is what the caller reads."""
    # More digits than a float has.
    rich = {"KRW": "12345678901234.00000001", "BTC": "0.12345678901234567891"}
    accounts = [SandboxAccount("one", (SandboxKey(ACCESS_KEY, SECRET_KEY),), rich)]
    async with open_key_world(tmp_path, accounts) as world:
        account = await world.add()
        found = await world.ask(GetBalances(account=account))
        assert {each.currency: each.balance for each in found} == rich
        answer = await world.ask(AccountRequest(account=account, method="GET", path="/v1/accounts"))
        assert {each["currency"]: each["balance"] for each in answer.data} == rich


async def test_order_from_its_placing_to_its_cancelling(tmp_path: Path) -> None:
    """The way of a bot, against an exchange that checks every signature."""
    async with open_key_world(tmp_path, one_account()) as world:
        account = await world.add()
        chance = await world.ask(GetOrderChance(account=account, market="KRW-BTC"))
        assert (chance.bid_account.balance, chance.bid_fee) == ("10000000.5", "0.0005")
        placed = await world.ask(order(account, identifier="mine-1"))
        assert (placed.state, placed.price, placed.identifier) == ("wait", "5000", "mine-1")
        assert placed.locked == "5002.5"
        for named in ({"uuid": placed.uuid}, {"identifier": "mine-1"}):
            assert (await world.ask(GetOrder(account=account, **named))).uuid == placed.uuid
        assert [each.uuid for each in await world.ask(GetOrders(account=account))] == [placed.uuid]
        assert (await world.ask(CancelOrder(account=account, identifier="mine-1"))).uuid
        assert await world.ask(GetOrders(account=account)) == ()
        [closed] = await world.ask(GetOrders(account=account, state="closed"))
        assert (closed.uuid, closed.state) == (placed.uuid, "cancel")
        balances = await world.ask(GetBalances(account=account))
        assert [each.locked for each in balances] == ["0", "0"]


async def test_order_that_is_only_checked_changes_nothing(tmp_path: Path) -> None:
    """A dry run at the exchange itself."""
    async with open_key_world(tmp_path, one_account()) as world:
        account = await world.add()
        await world.ask(order(account, test=True))
        assert await world.ask(GetOrders(account=account)) == ()


async def test_own_key_is_told_from_others(tmp_path: Path) -> None:
    """Each is told with its beginning only, and yet one knows which of them asks."""
    later = NEW_YEAR_MS + 2 * 3_600_000
    keys = (
        SandboxKey(ACCESS_KEY, SECRET_KEY, expires_ms=ENDS_MS),
        SandboxKey(SECOND, SECRET_KEY, expires_ms=later),
    )
    async with open_key_world(tmp_path, [SandboxAccount("one", keys, {"KRW": "1"})]) as world:
        found = await world.ask(GetApiKeys(account=await world.add()))
        told = [(each.hint, each.expires_ms, each.own) for each in found]
        assert told == [("Acce", ENDS_MS, True), ("Seco", later, False)]


# ------------------------------------------------------------------ what is sent how often


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.HALF_BODY, Fault.STATUS_500])
async def test_order_is_never_sent_twice(fault: Fault, tmp_path: Path) -> None:
    """No answer came, so nobody knows whether it arrived: sent again it might buy twice."""
    async with open_key_world(tmp_path, one_account()) as world:
        account = await world.add()
        world.exchange.faults.switch_on(fault)
        with pytest.raises(OutcomeUnknown, match=r"limit bid KRW-BTC.*may have arrived.*'mine-1'"):
            await world.ask(order(account, identifier="mine-1"), timeout_s=60)
        assert world.asked("/v1/orders") == 1
        world.exchange.faults.switch_off()
        await trio.sleep(60)
        assert len(await world.ask(GetOrders(account=account))) <= 1


@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/orders/test"), ("DELETE", "/v1/order")])
async def test_only_a_get_is_repeated_of_what_we_do_not_name(
    method: Any, path: str, tmp_path: Path
) -> None:
    """Of an endpoint that is not known it is not known either what two of it would do."""
    async with open_key_world(tmp_path, one_account()) as world:
        account = await world.add()
        world.exchange.faults.switch_on(Fault.HALF_BODY)
        request = AccountRequest(account=account, method=method, path=path, params={"uuid": "1"})
        with pytest.raises(OutcomeUnknown, match=path):
            await world.ask(request, timeout_s=60)
        assert world.asked(path) == 1


async def test_question_is_repeated_with_a_signature_of_its_own(tmp_path: Path) -> None:
    """The first answer was cut short. The exchange would refuse the same nonce again."""
    async with open_key_world(tmp_path, one_account()) as world:
        account = await world.add()
        world.exchange.faults.switch_on(Fault.HALF_BODY, times=1)
        assert len(await world.ask(GetBalances(account=account), timeout_s=60)) == 2
        assert world.asked("/v1/accounts") == 2


# ------------------------------------------------------------------ who refuses, and how


async def test_refusals_of_the_exchange_keep_their_names(tmp_path: Path) -> None:
    """A bot decides by the exchange's own code."""
    weak = frozenset({"view_orders"})
    accounts = one_account(permissions=weak, expires_ms=ENDS_MS)
    async with open_key_world(tmp_path, accounts) as world:
        account = await world.add()

        async def code(request: Any) -> str:
            with pytest.raises(RequestRejected, match="upbit: ") as caught:
                await world.ask(request)
            return caught.value.code

        assert await code(GetBalances(account=account)) == "out_of_scope"
        assert await code(order(account)) == "out_of_scope"
        assert await code(GetOrder(account=account, uuid="none")) == "order_not_found"
        world.exchange.private._gate._held[ACCESS_KEY].nonces = Everything()
        assert await code(GetOrders(account=account)) == "nonce_used"
        await trio.sleep(3_600)
        assert await code(GetOrders(account=await world.open())) == "expired_access_key"
        unknown = await world.add("unknown", access_key="A key that nobody has made.")
        assert await code(GetBalances(account=unknown)) == "invalid_access_key"
        wrong = await world.add("wrong", access_key=SECOND, secret_key="of another key")  # noqa: S106 - made up
        assert await code(GetBalances(account=wrong)) == "jwt_verification"


class Everything(set[str]):
    """A set in which everything is already."""

    def __contains__(self, item: object) -> bool:
        """Return that it is."""
        return True


async def test_what_cannot_be_asked_is_refused_before_anything_waits(tmp_path: Path) -> None:
    """No permit, no signature, no line: the request itself is wrong."""
    async with open_key_world(tmp_path, one_account()) as world:
        account = await world.add()
        lines = len(world.memory.log.lines)
        for request in (
            order(account, price="5e3"),
            order(account, price=""),
            GetOrder(account=account),
            GetOrders(account=account, count=0),
            AccountRequest(account=account, method="GET", path="v1/accounts"),
            AccountRequest(account=account, method="GET", path="/v1/ticker"),
        ):
            with pytest.raises(InvalidRequest, match="upbit: "):
                await world.ask(request)
        assert len(world.memory.log.lines) == lines
        assert list(world.exchange.log) == []


async def test_refused_signature_costs_no_slot(tmp_path: Path) -> None:
    """Nothing was sent: whoever is refused a hundred times takes nothing from the others."""
    async with open_key_world(tmp_path, one_account(), latency_s=0) as world:
        account = await world.add()
        bad = AccountRequest(account=account, method="POST", path="/v1/withdraws/coin")
        await trio.sleep(10)
        start_s = trio.current_time()
        for _ in range(100):
            with pytest.raises(KeyRefused, match="take money out"):
                await world.ask(bad)
        assert trio.current_time() - start_s < 0.5
        await world.ask(GetBalances(account=account))
        assert trio.current_time() - start_s < 0.5
        assert len(world.exchange.log) == 1


async def test_own_cap_says_nothing_of_the_exchange(tmp_path: Path) -> None:
    """A rule of the key's owner was kept; the exchange is as well as before."""
    async with open_key_world(tmp_path, one_account()) as world:
        account = await world.add(requests_per_minute=2)
        for _ in range(2):
            await world.ask(GetBalances(account=account))
        with pytest.raises(RateLimited, match="2 requests a minute by its own rule") as caught:
            await world.ask(GetBalances(account=account))
        assert 59 < caught.value.retry_after_s <= 60
        [_, at_upbit] = await world.wired.accounts.health()
        assert (at_upbit.name, at_upbit.state) == ("upbit accounts", "ok")
        await trio.sleep(60)
        await world.ask(GetBalances(account=account))


async def test_closed_account_is_refused_before_a_permit_is_taken(tmp_path: Path) -> None:
    """It must not wait for a slot to be told what is known already."""
    async with open_key_world(tmp_path, one_account()) as world:
        account = await world.add()
        await world.ask(LockVault())
        granted = await permits(world)
        for name, why in ((account, "the keys were locked"), ("upbit:main#0", "has not opened")):
            with pytest.raises(AccountClosed, match=why):
                await world.ask(GetBalances(account=name))
        assert await permits(world) == granted


async def permits(world: KeyWorld) -> int:
    """Return how many messages the limiter has had."""
    for child in world.wired.root.describe():
        for inner in child.children:
            if inner.name == "upbit.limiter":
                return inner.received
    raise AssertionError("there is no limiter")


# ------------------------------------------------------------------ limits by account


@pytest.mark.parametrize(("uids", "shared"), [(("7", "7"), True), (("7", "8"), False)])
async def test_keys_of_one_owner_share_their_limits(
    uids: tuple[str, str], *, shared: bool, tmp_path: Path
) -> None:
    """The exchange counts by account: two keys of one are one; two accounts are two."""
    both = [
        SandboxAccount("one", (SandboxKey(ACCESS_KEY, SECRET_KEY),), {"KRW": "1000000"}),
        SandboxAccount("two", (SandboxKey(SECOND, SECRET_KEY),), {"KRW": "1000000"}),
    ]
    async with open_key_world(tmp_path, one_account() if shared else both) as world:
        first = await world.add("first", uid=uids[0])
        second = await world.add("second", uid=uids[1], access_key=SECOND)
        await trio.sleep(10)
        start_s = trio.current_time()
        async with trio.open_nursery() as nursery:
            for account in (first, second) * 8:
                nursery.start_soon(world.ask, order(account, test=True))
        took_s = trio.current_time() - start_s
        assert (took_s > 0.9) is shared
        assert not world.exchange.rules.refusals


# ------------------------------------------------------------------ what happens around it


async def test_restart_of_the_limiter_is_told_to_who_waits(tmp_path: Path) -> None:
    """Nobody learns of a death by waiting until the end of his time."""
    async with open_key_world(tmp_path, one_account(), latency_s=2) as world:
        account = await world.add()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_actor_error, world, GetBalances(account=account))
            await wait_for(lambda: world.asked("/v1/accounts") == 1)
            world.kill("upbit.limiter")
        await trio.sleep(5)
        assert len(await world.ask(GetBalances(account=account))) == 2


async def expect_actor_error(world: KeyWorld, request: Any) -> None:
    """Ask what will not be answered; be told within moments."""
    start_s = trio.current_time()
    with pytest.raises(ActorError, match=r"restart|upbit"):
        await world.ask(request)
    assert trio.current_time() - start_s < 5


async def test_restart_of_the_keys_during_a_signature_is_told(tmp_path: Path) -> None:
    """And nothing was sent: the account client is closed afterwards."""
    memory = MemoryKeys()
    log = memory.log = HeldLog()
    async with open_key_world(tmp_path, one_account(), memory=memory) as world:
        account = await world.add()
        log.hold()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_restart, world, order(account))
            await wait_for(lambda: log.waiting == 1)
            world.kill("keys")
            await trio.testing.wait_all_tasks_blocked()
            log.let_go()
        await trio.sleep(5)
        with pytest.raises(AccountClosed, match="has not opened it"):
            await world.ask(order(account))
        assert world.asked("/v1/orders") == 0


async def expect_restart(world: KeyWorld, request: Any) -> None:
    """Ask for what is lost with the KeyActor."""
    with pytest.raises(ExchangeUnavailable, match=r"upbit was not asked: .*keys"):
        await world.ask(request)


async def test_change_of_rules_ends_what_waits_for_its_turn(tmp_path: Path) -> None:
    """It is signed at the moment of sending, by the rules of that moment."""
    async with open_key_world(tmp_path, one_account()) as world:
        account = await world.add()
        refused: list[str] = []

        async def place() -> None:
            try:
                await world.ask(order(account, test=True))
            except AccountClosed as error:
                refused.append(str(error))

        async with trio.open_nursery() as nursery:
            for _ in range(24):
                nursery.start_soon(place)
            await wait_for(lambda: world.asked("/v1/orders/test") > 0)
            await world.ask(ChangeKey(key="upbit:main", allow=("GET /*",)))
        assert len(refused) >= 8
        assert all("there was a change" in text for text in refused)
        assert world.asked("/v1/orders/test") == 24 - len(refused)


async def test_flood_is_refused(tmp_path: Path) -> None:
    """Memory stays bounded whatever a bot does."""
    async with open_key_world(tmp_path, one_account(), latency_s=1) as world:
        account = await world.add()
        refused: list[str] = []

        async def ask() -> None:
            try:
                await world.ask(GetBalances(account=account), timeout_s=100)
            except Overloaded as error:
                refused.append(str(error))

        async with trio.open_nursery() as nursery:
            for _ in range(1_100):
                nursery.start_soon(ask)
            await wait_for(lambda: len(refused) == 100)
            nursery.cancel_scope.cancel()
        assert set(refused) == {"1000 calls about accounts are under way already"}
        assert world.asked("/v1/accounts") < 100


async def test_health_says_how_the_way_to_the_exchange_is(tmp_path: Path) -> None:
    """An operator sees whether it is the exchange or the keys."""
    async with open_key_world(tmp_path, one_account()) as world:
        ref = world.wired.accounts.accounts["upbit"]
        assert (await ref.call(GetHealth())).state == "unknown"
        account = await world.add()
        world.exchange.faults.switch_on(Fault.STATUS_500)
        with pytest.raises(ExchangeUnavailable, match="500"):
            await world.ask(GetBalances(account=account))
        health = await ref.call(GetHealth())
        assert health.state == "away"
        assert "500" in health.reason
        assert PASSPHRASE not in health.reason
