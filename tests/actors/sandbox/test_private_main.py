"""The account that the sandbox program has without asking."""

from __future__ import annotations

import argparse

from actors.sandbox.accounts import KEY_LIFE_MS, SANDBOX_ACCESS_KEY, SANDBOX_SECRET_KEY
from actors.sandbox.main import add_arguments, build_exchange
from actors.sandbox.testing import Holder
from runtime.core.clock import TrioClock


def parse(*words: str) -> argparse.Namespace:
    """Return the arguments of a command line."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(list(words))


async def test_there_is_an_account_to_trade_with(clock: TrioClock) -> None:
    """A bot can be tried with nothing but what the help says."""
    holder = Holder(build_exchange(parse(), clock=clock))
    assert holder.balances()["KRW"] == ("10000000", "0")
    assert holder.place(price="1000000", volume="0.1")["state"] == "wait"
    assert holder.refusal("POST", "/v1/withdraws/coin") == (401, "out_of_scope")
    [row] = holder.get("/v1/api_keys")
    assert row["access_key"] == SANDBOX_ACCESS_KEY
    assert row["expire_at"] == "2027-01-01T09:00:00+09:00"


async def test_a_market_of_the_past_has_a_key_of_today(clock: TrioClock) -> None:
    """Who looks at a key's end on a real calendar must not find it over."""
    words = ("--start", "2020-02-03T04:05:06Z")
    [row] = Holder(build_exchange(parse(*words), clock=clock)).get("/v1/api_keys")
    assert row["expire_at"] == "2027-01-01T09:00:00+09:00"
    assert KEY_LIFE_MS == 365 * 24 * 3_600_000


def test_the_help_says_with_which_key() -> None:
    """In one piece each, so that it can be copied."""
    parser = argparse.ArgumentParser(prog="marketd sandbox")
    add_arguments(parser)
    text = parser.format_help()
    assert f"access key {SANDBOX_ACCESS_KEY}\n" in text
    assert f"secret key {SANDBOX_SECRET_KEY}\n" in text
