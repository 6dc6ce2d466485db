"""`marketd account NAME …`: what is sent, what is shown, and what is asked before."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import AccountClosed
from actors.key_messages import (
    KEY_METHODS,
    AccountRequest,
    CancelOrder,
    GetApiKeys,
    GetBalances,
    GetOrder,
    GetOrderChance,
    GetOrders,
    InvalidateAccount,
    OpenAccount,
    PlaceOrder,
)
from runtime.cli import _parser, run
from runtime.cli_account import _place, _request
from runtime.core.message import Request
from runtime.testing_key_samples import ACCOUNT
from runtime.testing_socket import control_in_thread, sample_answer

UUID = "c9d90f7a-64e1-4985-8ea6-1f82f7e4b8d5"
PLACE = "place KRW-BTC bid --price 137000000.10 --volume 0.00000001"
PLACED = {"market": "KRW-BTC", "side": "bid", "price": "137000000.10", "volume": "0.00000001"}

COMMANDS: list[tuple[str, Request[Any]]] = [
    ("balances", GetBalances(account=ACCOUNT)),
    ("chance KRW-BTC", GetOrderChance(account=ACCOUNT, market="KRW-BTC")),
    ("orders", GetOrders(account=ACCOUNT)),
    (
        "orders --closed --market KRW-BTC --count 7",
        GetOrders(account=ACCOUNT, state="closed", market="KRW-BTC", count=7),
    ),
    (f"order {UUID}", GetOrder(account=ACCOUNT, uuid=UUID)),
    ("order --identifier mine", GetOrder(account=ACCOUNT, identifier="mine")),
    ("keys", GetApiKeys(account=ACCOUNT)),
    (
        f"{PLACE} --identifier mine --yes",
        PlaceOrder(account=ACCOUNT, identifier="mine", **PLACED),  # type: ignore[arg-type]
    ),
    (
        "place KRW-BTC ask best --volume 1 --identifier mine --force ioc --smp reduce --yes",
        PlaceOrder(
            account=ACCOUNT,
            market="KRW-BTC",
            side="ask",
            type="best",
            volume="1",
            identifier="mine",
            time_in_force="ioc",
            smp_type="reduce",
        ),
    ),
    (
        "place KRW-BTC bid price --price 5000 --test",
        PlaceOrder(
            account=ACCOUNT, market="KRW-BTC", side="bid", type="price", price="5000", test=True
        ),
    ),
    (f"cancel {UUID} --yes", CancelOrder(account=ACCOUNT, uuid=UUID)),
    ("cancel --identifier mine --yes", CancelOrder(account=ACCOUNT, identifier="mine")),
    (
        "request GET /v1/orders/open states[]=wait b=2 states[]=watch a==",
        AccountRequest(
            account=ACCOUNT,
            method="GET",
            path="/v1/orders/open",
            params={"states[]": ["wait", "watch"], "b": "2", "a": "="},
        ),
    ),
    (
        "request POST /v1/orders --group order --yes",
        AccountRequest(account=ACCOUNT, method="POST", path="/v1/orders", group="order"),
    ),
    ("close", InvalidateAccount(key="upbit:main")),
]


@dataclass
class Runtime:
    """One that answers from samples and remembers what it was asked.

    While it is silent, it answers nothing that is about an account which is open.
    """

    path: Path
    silent: bool = False
    asked: list[Request[Any]] = field(default_factory=list)

    async def answer(self, request: Request[Any]) -> object:
        """Answer from samples."""
        self.asked.append(request)
        if request == OpenAccount(exchange="upbit", label="gone"):
            raise AccountClosed("the keys are sealed")
        if self.silent and not isinstance(request, OpenAccount):
            await trio.sleep_forever()
        return await sample_answer(request)

    def account(self, words: str, *options: str, name: str = "upbit:main") -> int:
        """Run `marketd account …` and return its exit code."""
        return run(["account", name, *words.split(), *options, "--socket", str(self.path)])


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    """A runtime that notes what it was asked."""
    runtime = Runtime(tmp_path / "c.sock")
    with control_in_thread(runtime.path, runtime.answer):
        yield runtime


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The other end of a terminal on standard input."""
    master, slave = os.openpty()
    with os.fdopen(slave, "r") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        yield master
    os.close(master)


@pytest.mark.parametrize(("words", "message"), COMMANDS, ids=[words for words, _ in COMMANDS])
def test_each_command_sends_its_message(
    words: str, message: Request[Any], runtime: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    """Opened by name, asked by the account client's; as JSON it is one object on one line."""
    assert runtime.account(words, "--json") == 0

    out, err = capsys.readouterr()
    opened = [OpenAccount(exchange="upbit", label="main")]
    assert runtime.asked == ([] if words == "close" else opened) + [message]
    assert (out.count("\n"), err) == (1, "")
    assert isinstance(json.loads(out), dict)


def test_order_without_a_name_is_given_one_and_it_is_said(
    runtime: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    """Or nobody could look for it where no answer came; another order has another name."""
    names = []
    for _ in range(2):
        assert runtime.account(f"{PLACE} --yes") == 0
        names.append(runtime.asked[-1].identifier)  # type: ignore[attr-defined]
        assert capsys.readouterr().err == f"its identifier is {names[-1]}\n"

    assert all(re.fullmatch("marketd-[0-9a-f-]{36}", name) for name in names)
    assert names[0] != names[1]


@pytest.mark.real_time
@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (f"{PLACE} --identifier mine --yes", "look for the order with identifier 'mine'"),
        (f"cancel {UUID} --yes", "look at the order before you cancel it again"),
    ],
)
def test_no_answer_to_an_order_is_no_reason_to_send_it_again(
    words: str, advice: str, runtime: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other commands may simply be typed once more."""
    runtime.silent = True
    assert runtime.account(words, "--timeout", "0.3") == 1

    error = capsys.readouterr().err
    assert f"it may have arrived all the same: {advice}" in error
    assert "asking again" not in error


def test_every_request_about_an_account_has_a_command() -> None:
    """A new one cannot be forgotten."""
    kinds = {kind for name, kind in KEY_METHODS.items() if name.startswith("account.")}
    assert kinds - {OpenAccount} == {type(message) for _, message in COMMANDS}


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("balances", ["currency", "KRW", "1000000.00000001"]),
        ("chance KRW-BTC", ["KRW-BTC, active", "buying 0.0005", "buying 5000", "limit, market"]),
        ("orders", [UUID, "bid", "wait", "137000000", "0.00000001"]),
        (f"order {UUID}", [UUID, "0.00000001"]),
        (f"cancel {UUID} --yes", [UUID]),
        (f"{PLACE} --yes", [UUID]),
        ("keys", ["abcd…", "2026-01-01 00:00:00", "yes"]),
        ("request GET /v1/accounts", ['"balance": "1.5"']),
        ("close", ["ended"]),
    ],
)
def test_people_see_what_matters(
    words: str, shown: list[str], runtime: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    """Amounts digit for digit, and no colours in a pipe."""
    assert runtime.account(words) == 0

    out = capsys.readouterr().out
    assert not [each for each in shown if each not in out]
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (
            PLACE,
            (
                "place an order for upbit:main: bid KRW-BTC, limit, "
                "price 137000000.10, volume 0.00000001"
            ),
        ),
        ("place KRW-BTC ask market", "place an order for upbit:main: ask KRW-BTC, market"),
        (f"cancel {UUID}", f"cancel order {UUID} of upbit:main"),
        ("cancel --identifier mine", "cancel order mine of upbit:main"),
        ("request DELETE /v1/order uuid=1", "send DELETE /v1/order for upbit:main"),
    ],
)
def test_what_cannot_be_taken_back_is_refused_without_yes(
    words: str, what: str, runtime: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a script nobody answers, so nothing is done."""
    assert runtime.account(words) == 2

    assert capsys.readouterr().err == f"marketd: this would {what}: say --yes if you mean it\n"
    assert [type(each) for each in runtime.asked] == [OpenAccount]


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("YES", 0), ("n", 1), ("", 1), ("\x04", 1)])
def test_at_a_terminal_it_asks(
    answer: str,
    code: int,
    runtime: Runtime,
    terminal: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Only a yes is one; Enter alone and the end of input are none."""
    os.write(terminal, answer.encode() + b"\n" * (answer != "\x04"))

    assert runtime.account(f"cancel {UUID}") == code

    err = capsys.readouterr().err
    assert f"This will cancel order {UUID} of upbit:main. Go on? [y/N] " in err
    assert ("nothing was done" in err) == bool(code)
    assert (type(runtime.asked[-1]) is CancelOrder) == (not code)


def test_closed_standard_input_is_no_terminal(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With `<&-` there is none at all."""
    monkeypatch.setattr("sys.stdin", None)

    assert runtime.account(f"cancel {UUID}") == 2
    assert "say --yes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "words", "code", "shown"),
    [
        ("upbit", "balances", 2, "a key is named exchange:label"),
        ("upbit:gone", "balances", 1, "the keys are sealed"),
        ("upbit:main", "request GET /v1/x a", 2, "a parameter is written NAME=VALUE, was 'a'"),
        ("upbit:main", "request GET /v1/x =1", 2, "a parameter is written NAME=VALUE"),
    ],
)
def test_refusals_are_explained(
    name: str,
    words: str,
    code: int,
    shown: str,
    runtime: Runtime,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In one line, with the code that tells a mistake from a no."""
    assert runtime.account(words, name=name) == code

    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert shown in err


@pytest.mark.parametrize("words", ["", "place KRW-BTC buy", "request PATCH /", "orders --count x"])
def test_wrong_usage_has_code_2(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anybody is asked."""
    with pytest.raises(SystemExit, match="2"):
        run(["account", "upbit:main", *words.split()])

    assert "usage: marketd account" in capsys.readouterr().err


@given(value=st.decimals(allow_nan=False, allow_infinity=False, min_value=0, max_value=10**20))
def test_amounts_are_sent_as_they_were_typed(value: Decimal) -> None:
    """No number is made of them on the way."""
    text = format(value, "f")
    parser = _parser(["account"])
    words = ["account", "upbit:main", "place", "KRW-BTC", "bid"]
    placed = _place("a", parser.parse_args([*words, f"--price={text}", f"--volume={text}"]))
    asked = ["account", "upbit:main", "request", "GET", "/", f"p={text}"]

    assert (placed.price, placed.volume) == (text, text)
    assert _request("a", parser.parse_args(asked)).params == {"p": text}
