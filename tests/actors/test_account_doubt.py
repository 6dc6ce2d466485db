"""Orders of which no answer came: who is told what, and what is sent again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from actors.errors import ExchangeUnavailable, MalformedPayload, OutcomeUnknown
from actors.key_messages import GetBalances, PlaceOrder
from actors.sandbox.accounts import SandboxAccount, SandboxKey
from actors.sandbox.faults import Fault
from actors.stores.keys_memory import MemoryKeys
from runtime.core.errors import CallTimeout
from runtime.testing_keys import ACCESS_KEY, SECRET_KEY, HeldLog, made_key, open_key_world

RICH = [SandboxAccount("one", (SandboxKey(ACCESS_KEY, SECRET_KEY),), {"KRW": "9000"})]


def order(account: str, **more: Any) -> PlaceOrder:
    """Return an order that the account can pay."""
    return PlaceOrder(
        account=account, market="KRW-BTC", side="bid", price="5000", volume="1", **more
    )


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.HALF_BODY, Fault.GARBAGE, Fault.STATUS_500])
async def test_nobody_who_placed_an_order_is_told_to_simply_place_it_again(
    fault: Fault, tmp_path: Path
) -> None:
    """Whatever became of the answer, and whoever gave up first; who only looks may ask again."""
    async with open_key_world(tmp_path, RICH) as world:
        await world.ask(made_key())
        account = await world.open()
        world.exchange.faults.switch_on(fault)
        with pytest.raises(OutcomeUnknown, match=r"may have arrived all the same.*'mine'") as got:
            await world.ask(order(account, identifier="mine"), timeout_s=3)
        assert str(got.value).count("may have arrived") == 1
        assert world.asked("/v1/orders") == 1
        with pytest.raises((ExchangeUnavailable, MalformedPayload, CallTimeout), match=r"."):
            await world.ask(GetBalances(account=account), timeout_s=3)


async def test_order_that_is_only_checked_is_asked_again(tmp_path: Path) -> None:
    """It buys nothing; and where the exchange does not answer, a key is not called good."""
    async with open_key_world(tmp_path, RICH) as world:
        account = await world.add()
        world.exchange.faults.switch_on(Fault.HALF_BODY, times=1)
        assert (await world.ask(order(account, test=True), timeout_s=60)).market == "KRW-BTC"
        assert world.asked("/v1/orders/test") == 2


async def test_order_that_was_never_signed_is_in_no_doubt(tmp_path: Path) -> None:
    """Who asked hears in time that it was not sent, and may ask again."""
    memory = MemoryKeys()
    log = memory.log = HeldLog()
    async with open_key_world(tmp_path, RICH, memory=memory) as world:
        account = await world.add()
        log.hold()
        with pytest.raises(ExchangeUnavailable, match="upbit was not asked: keys did not answer"):
            await world.ask(order(account), timeout_s=3)
        log.let_go()
        await trio.sleep(5)
        assert world.asked("/v1/orders") == 0
