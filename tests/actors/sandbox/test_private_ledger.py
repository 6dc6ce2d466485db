"""Whatever is ordered, nothing is made or lost but the fees."""

from __future__ import annotations

import decimal
from contextlib import suppress
from decimal import Decimal
from functools import cache
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from actors.sandbox.generated import CHARACTERS, GeneratedSource
from actors.sandbox.ledger import EXACT, InsufficientFunds, Ledger, written
from actors.sandbox.market import DAY_MS, SandboxMarket
from actors.sandbox.private_orders import OrderBook
from actors.sandbox.private_words import PrivateRefusal, Words

START_MS = 1_767_225_600_000
START = {"KRW": "1000000", "BTC": "0.01", "ETH": "0.5"}
# What most orders are for, in the quote currency: enough of them to run out of it.
BUDGET = {"KRW": Decimal(600_000), "BTC": Decimal("0.006")}
KINDS = [
    *[("limit", side) for side in ("bid", "ask", "bid", "ask")],
    ("price", "bid"),
    ("market", "ask"),
    ("best", "bid"),
    ("best", "ask"),
]


@cache
def markets() -> dict[str, SandboxMarket]:
    """Return three markets that share their currencies."""
    listed_ms = START_MS - 3 * DAY_MS
    sources = [GeneratedSource(kind, seed=3, listed_ms=listed_ms) for kind in CHARACTERS]
    wanted = ("KRW-BTC", "KRW-ETH", "BTC-ETH")
    return {source.code: SandboxMarket(source) for source in sources if source.code in wanted}


class Trading(RuleBasedStateMachine):
    """Any orders, any cancels, any waiting, against sums of what was traded."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ms = START_MS
        self.ledger = Ledger(START)
        self.orders = OrderBook("machine", self.ledger, markets())

    @rule(
        code=st.sampled_from(["KRW-BTC", "KRW-ETH", "BTC-ETH"]),
        kind=st.sampled_from(KINDS),
        force=st.sampled_from(["", "", "", "", "post_only", "ioc", "fok"]),
        off=st.integers(-20, 20),
        percent=st.integers(1, 120),
        test=st.sampled_from([False, False, False, True]),
    )
    def place(
        self, code: str, kind: tuple[str, str], force: str, off: int, percent: int, *, test: bool
    ) -> None:
        """Order for some part of what there is, near the market's price."""
        self.now_ms += 1
        market = markets()[code]
        trade = market.last_trade(self.now_ms)
        assert trade is not None
        last = Decimal(trade.price).scaleb(-market.scale.price_decimals)
        total = BUDGET[code[:3]] * percent / 100
        said = {"market": code, "ord_type": kind[0], "side": kind[1]}
        if kind[0] == "limit":
            said |= {"price": f"{last * (1000 + off) / 1000:f}", "time_in_force": force}
        elif kind[0] == "best":
            said["time_in_force"] = "ioc"
        if kind in (("price", "bid"), ("best", "bid")):
            said["price"] = f"{total:f}"
        else:
            said["volume"] = f"{(total / last).quantize(Decimal('1E-8')):f}"
        words = Words(list(said.items()), "")
        self._ask(lambda: self.orders.place(words, self.now_ms, test=test))

    @rule(number=st.integers(0, 100))
    def cancel(self, number: int) -> None:
        """Cancel one of the orders, whatever has become of it."""
        found = list(self.orders)
        if found:
            self._ask(lambda: self.orders.cancel(found[number % len(found)]))

    @rule(minutes=st.integers(0, 600))
    def wait(self, minutes: int) -> None:
        """Let the market trade."""
        self.now_ms += minutes * 60_000
        self._ask(lambda: None)

    def _ask(self, action: Any) -> None:
        with decimal.localcontext(EXACT):
            self.orders.settle(self.now_ms)
            # Whatever is refused changes nothing: that is for the invariants to say.
            with suppress(PrivateRefusal):
                action()

    @invariant()
    def nothing_is_below_zero(self) -> None:
        """Nobody owes anything."""
        for _, held in self.ledger:
            assert held.free >= 0
            assert held.locked >= 0

    @invariant()
    def what_is_locked_is_what_open_orders_hold(self) -> None:
        """To the last digit, for each currency."""
        sums: dict[str, Decimal] = {}
        for order in self.orders:
            assert (order.state == "wait") or order.locked == 0
            held = order.wish.held
            sums[held] = sums.get(held, Decimal(0)) + order.locked
        for currency in ("KRW", "BTC", "ETH"):
            assert self.ledger.of(currency).locked == sums.get(currency, 0)

    @invariant()
    def nothing_is_made_or_lost_but_the_fees(self) -> None:
        """What there is, is what there was and what was traded."""
        with decimal.localcontext(EXACT):
            wanted = {currency: Decimal(text) for currency, text in START.items()}
            for order in self.orders:
                way = 1 if order.wish.side == "bid" else -1
                wanted[order.wish.base] += way * order.executed
                wanted[order.wish.quote] -= way * order.funds + order.fee
            for currency, amount in wanted.items():
                held = self.ledger.of(currency)
                assert held.free + held.locked == amount


TestTrading = Trading.TestCase
TestTrading.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


def test_more_than_there_is_cannot_be_put_aside() -> None:
    """And nothing changes by trying."""
    ledger = Ledger({"KRW": "1.5"})
    with pytest.raises(InsufficientFunds, match="not enough KRW"):
        ledger.lock("KRW", Decimal("1.50000001"))
    with pytest.raises(InsufficientFunds, match="not enough BTC"):
        ledger.lock("BTC", Decimal(1))
    assert (ledger.of("KRW").free, ledger.of("KRW").locked) == (Decimal("1.5"), Decimal(0))
    assert [name for name, _ in ledger] == ["KRW"]


@pytest.mark.parametrize("text", ["-1", "x", "NaN", "Infinity", ""])
def test_an_account_begins_with_amounts(text: str) -> None:
    """Refused before anybody trades with it."""
    with pytest.raises(ValueError, match="balance of KRW must be a number from 0 on"):
        Ledger({"KRW": text})


@pytest.mark.parametrize(
    ("amount", "text"),
    [("0", "0"), ("0.00", "0"), ("1E-8", "0.00000001"), ("1E+3", "1000"), ("10.50", "10.5"),
     ("100", "100")],
)  # fmt: skip
def test_amounts_are_written_plainly(amount: str, text: str) -> None:
    """No exponent, no zeros at the end, and none lost."""
    assert written(Decimal(amount)) == text
