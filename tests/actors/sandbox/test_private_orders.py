"""Orders at the sandbox: what is locked, filled, given back, listed and refused."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from actors.sandbox.exchange import SandboxExchange
from actors.sandbox.private_orders import FEE, OPEN_MAX
from actors.sandbox.testing import Holder

MINUTE_MS = 60_000
FAR = {"price": "1000000", "volume": "0.1"}


@pytest.fixture
def last(private: SandboxExchange, now_ms: int) -> Decimal:
    """The present price of KRW-BTC."""
    trade = private.markets["KRW-BTC"].last_trade(now_ms)
    assert trade is not None
    return Decimal(trade.price)


def same(text: str, value: Decimal | str) -> bool:
    """Return whether a text is exactly that number."""
    return Decimal(text) == Decimal(value)


def test_a_waiting_order_locks_its_funds_and_its_fee(holder: Holder) -> None:
    """To the last digit, and cancelling gives all of it back."""
    order = holder.place(price="1000000", volume="0.12345678")
    assert (order["state"], order["locked"]) == ("wait", "123518.50839")
    assert holder.balances()["KRW"] == ("9876481.49161", "123518.50839")
    holder.ask("DELETE", "/v1/order", uuid=order["uuid"])
    assert holder.balances()["KRW"] == ("10000000", "0")
    found = holder.get("/v1/order", uuid=order["uuid"])
    assert (found["state"], found["locked"], found["trades"]) == ("cancel", "0", [])


def test_an_amount_buys_at_the_present_price(holder: Holder, last: Decimal) -> None:
    """What could not be spent comes back; Upbit calls such an order cancelled."""
    placed = holder.place(ord_type="price", price="1000000")
    assert (placed["state"], placed["executed_volume"], placed["volume"]) == ("wait", "0", None)
    order = holder.get("/v1/order", uuid=placed["uuid"])
    bought = Decimal(order["executed_volume"])
    assert bought == (Decimal(1000000) / last).quantize(Decimal("0.00000001"), "ROUND_DOWN")
    [trade] = order["trades"]
    assert same(trade["price"], last)
    assert same(trade["funds"], bought * last)
    assert order["state"] == "cancel"
    assert same(order["paid_fee"], bought * last * FEE)
    assert same(holder.balances()["KRW"][0], 10_000_000 - bought * last * (1 + FEE))
    assert same(holder.balances()["BTC"][0], Decimal("0.1") + bought)


def test_a_volume_sells_at_the_present_price(holder: Holder, last: Decimal) -> None:
    """The fee is taken from what comes in."""
    placed = holder.place(side="ask", ord_type="market", volume="0.05")
    order = holder.get("/v1/order", uuid=placed["uuid"])
    assert (order["state"], order["remaining_volume"]) == ("done", "0")
    income = Decimal("0.05") * last * (1 - FEE)
    assert same(holder.balances()["KRW"][0], 10_000_000 + income)
    assert same(holder.balances()["BTC"][0], "0.05")


def test_a_limit_that_meets_the_market_gets_the_better_price(holder: Holder, last: Decimal) -> None:
    """Who offers more than is asked pays what is asked."""
    placed = holder.place(price=str(last * 2), volume="0.01")
    order = holder.get("/v1/order", uuid=placed["uuid"])
    assert (order["state"], same(order["trades"][0]["price"], last)) == ("done", True)
    assert same(holder.balances()["KRW"][0], 10_000_000 - last / 100 * (1 + FEE))
    assert holder.balances()["KRW"][1] == "0"


@pytest.mark.parametrize("side", ["bid", "ask"])
def test_a_waiting_order_is_filled_once_the_market_was_there(
    private: SandboxExchange, holder: Holder, hand_clock: Any, now_ms: int, side: str
) -> None:
    """At its own price, and not a moment before, whoever looks when."""
    market = private.markets["KRW-BTC"]
    day = market.between(now_ms + 1, now_ms + 24 * 60 * MINUTE_MS)
    price = int(day.low.min() if side == "bid" else day.high.max())
    placed = holder.place(side=side, price=str(price), volume="0.001")
    column, reaches = (day.low, "__le__") if side == "bid" else (day.high, "__ge__")
    at = int(getattr(column, reaches)(price).argmax())
    hand_clock.time_s += (int(day.open_ms[at]) - 1 - now_ms) / 1000
    assert holder.get("/v1/order", uuid=placed["uuid"])["state"] == "wait"
    hand_clock.time_s += 60.0
    order = holder.get("/v1/order", uuid=placed["uuid"])
    assert (order["state"], order["trades"][0]["price"]) == ("done", str(price))


@pytest.mark.parametrize(
    ("force", "meets", "state"),
    [
        ("ioc", False, "cancel"),
        ("fok", False, "cancel"),
        ("post_only", False, "wait"),
        ("ioc", True, "done"),
        ("fok", True, "done"),
        ("post_only", True, "cancel"),
    ],
)
def test_time_in_force_decides_what_waits(
    holder: Holder, last: Decimal, force: str, state: str, *, meets: bool
) -> None:
    """At once or not at all; or only if nobody is met."""
    price = last * 2 if meets else Decimal(1_000_000)
    placed = holder.place(price=str(price), volume="0.01", time_in_force=force)
    order = holder.get("/v1/order", uuid=placed["uuid"])
    assert (order["state"], order["time_in_force"]) == (state, force)


@pytest.mark.parametrize(("side", "amount"), [("bid", "price"), ("ask", "volume")])
def test_the_best_order_is_filled_at_once(holder: Holder, side: str, amount: str) -> None:
    """Buying for an amount, selling a volume."""
    value = "10000" if side == "bid" else "0.01"
    placed = holder.place(side=side, ord_type="best", time_in_force="ioc", **{amount: value})
    assert holder.get("/v1/order", uuid=placed["uuid"])["trades_count"] == 1


@pytest.mark.parametrize(
    ("wish", "name"),
    [
        ({**FAR, "price": "1000000000"}, "insufficient_funds_bid"),
        ({"side": "ask", "price": "1000000000", "volume": "0.2"}, "insufficient_funds_ask"),
        ({"price": "10000", "volume": "0.1"}, "under_min_total_bid"),
        ({"ord_type": "price", "price": "4999.99"}, "under_min_total_bid"),
        ({"side": "ask", "ord_type": "market", "volume": "0.00001"}, "under_min_total_ask"),
        ({"market": "KRW-NONE", **FAR}, "validation_error"),
        ({"side": "both", **FAR}, "validation_error"),
        ({"ord_type": "stop", **FAR}, "validation_error"),
        ({"price": "1000000"}, "validation_error"),
        ({"volume": "1"}, "validation_error"),
        ({"ord_type": "price", **FAR}, "create_bid_error"),
        ({"side": "ask", "ord_type": "market", **FAR}, "create_ask_error"),
        ({"ord_type": "market", "volume": "1"}, "validation_error"),
        ({"side": "ask", "ord_type": "price", "price": "10000"}, "validation_error"),
        ({"ord_type": "best", "price": "10000"}, "validation_error"),
        ({**FAR, "price": "1e6"}, "validation_error"),
        ({**FAR, "price": "-1"}, "validation_error"),
        ({**FAR, "volume": "0"}, "validation_error"),
        ({**FAR, "volume": "1" * 21}, "validation_error"),
        ({**FAR, "time_in_force": "gtc"}, "validation_error"),
        ({**FAR, "time_in_force": "post_only", "smp_type": "reduce"}, "invalid_post_only"),
    ],
)
def test_an_order_that_cannot_be_is_refused_and_changes_nothing(
    holder: Holder, wish: dict[str, str], name: str
) -> None:
    """With Upbit's name for it."""
    assert holder.refused_order(**wish) == (400, name)
    assert holder.balances()["KRW"] == ("10000000", "0")
    assert holder.get("/v1/orders/open") == []


def test_just_what_there_is_can_be_ordered(holder: Holder) -> None:
    """With the fee; and not a hundredth of a won more."""
    assert holder.refused_order(price="9995002.49875063", volume="1")[1] == "insufficient_funds_bid"
    holder.place(price="9995002.49875062", volume="1")
    free, locked = holder.balances()["KRW"]
    assert Decimal(free) + Decimal(locked) == 10_000_000
    assert 0 <= Decimal(free) < Decimal("0.01")


def test_an_identifier_is_used_once_and_names_its_order(holder: Holder) -> None:
    """For ever, even if the order has ended."""
    placed = holder.place(**FAR, identifier="mine-1")
    assert holder.get("/v1/order", identifier="mine-1")["uuid"] == placed["uuid"]
    assert holder.refused_order(**FAR, identifier="mine-1") == (400, "duplicated_identifier")
    assert holder.ask("DELETE", "/v1/order", identifier="mine-1").status == 200
    assert holder.refused_order(**FAR, identifier="mine-1") == (400, "duplicated_identifier")
    [row] = holder.get("/v1/orders/uuids", identifiers=["mine-1"])
    assert (row["identifier"], row["state"]) == ("mine-1", "cancel")


def test_an_identifier_is_used_up_by_an_order_that_was_refused(holder: Holder) -> None:
    """As Upbit says: who tries again needs another one. A test uses up none."""
    assert holder.refused_order(price="1", volume="1", identifier="mine")[1].startswith("under_")
    assert holder.refused_order(**FAR, identifier="mine") == (400, "duplicated_identifier")
    assert holder.refusal("GET", "/v1/order", identifier="mine") == (404, "order_not_found")


def test_what_is_not_there_or_has_ended_cannot_be_cancelled(holder: Holder) -> None:
    """Nor found, if it was never there."""
    uuid = holder.place(ord_type="price", price="10000")["uuid"]
    assert holder.refusal("DELETE", "/v1/order", uuid=uuid) == (404, "order_not_found")
    assert holder.refusal("GET", "/v1/order", uuid="nobody") == (404, "order_not_found")
    assert holder.refusal("GET", "/v1/order", identifier="no") == (404, "order_not_found")
    assert holder.refusal("GET", "/v1/order") == (400, "validation_error")


def test_a_test_is_checked_and_forgotten(holder: Holder) -> None:
    """The answer looks real; nothing is placed, locked or named."""
    wish = {"market": "KRW-BTC", "side": "bid", "ord_type": "limit", **FAR, "identifier": "mine"}
    answer = holder.ask("POST", "/v1/orders/test", **wish)
    row = json.loads(answer.body)
    assert (answer.status, row["state"], row["locked"]) == (201, "wait", "100050")
    assert holder.get("/v1/orders/open") == []
    assert holder.balances()["KRW"] == ("10000000", "0")
    assert holder.refusal("GET", "/v1/order", uuid=row["uuid"]) == (404, "order_not_found")
    assert holder.place(**FAR, identifier="mine")["uuid"] != row["uuid"]
    poor = {**wish, "volume": "100", "identifier": "other"}
    assert holder.refusal("POST", "/v1/orders/test", **poor) == (400, "insufficient_funds_bid")


def test_orders_are_listed_page_by_page(holder: Holder, hand_clock: Any) -> None:
    """Newest first if nothing else is said, by market and by state."""
    uuids = []
    for market in ("KRW-BTC", "KRW-ETH", "KRW-BTC", "KRW-BTC"):
        hand_clock.time_s += 1
        uuids.append(holder.place(market=market, price="10000", volume="1")["uuid"])
    newest_first = uuids[::-1]

    def listed(path: str, **params: Any) -> list[str]:
        return [row["uuid"] for row in holder.get(path, **params)]

    assert listed("/v1/orders/open") == newest_first
    assert listed("/v1/orders/open", order_by="asc", limit=2) == uuids[:2]
    assert listed("/v1/orders/open", limit=2, page=2) == newest_first[2:]
    assert listed("/v1/orders/open", market="KRW-ETH") == [uuids[1]]
    assert listed("/v1/orders/open", states=["wait", "watch"]) == newest_first
    assert listed("/v1/orders/open", state="watch") == []
    assert listed("/v1/orders/closed") == []
    holder.ask("DELETE", "/v1/order", uuid=uuids[0])
    assert listed("/v1/orders/closed", states=["done", "cancel"]) == [uuids[0]]
    assert listed("/v1/orders/closed", states=["done"]) == []
    assert listed("/v1/orders/uuids", uuids=uuids[:2], order_by="asc") == uuids[:2]


def test_ended_orders_are_found_for_a_week_at_a_time(
    holder: Holder, hand_clock: Any, now_ms: int
) -> None:
    """Older ones if they are asked for by their time."""
    uuid = holder.place(ord_type="price", price="10000")["uuid"]
    week_s = 7 * 86_400
    hand_clock.time_s += week_s + 1
    assert holder.get("/v1/orders/closed") == []
    [row] = holder.get("/v1/orders/closed", start_time="2026-01-01T12:25:00+09:00")
    assert row["uuid"] == uuid
    [row] = holder.get("/v1/orders/closed", end_time=str(now_ms))
    assert row["uuid"] == uuid
    bad = {"start_time": str(now_ms), "end_time": str(now_ms + week_s * 1000 + 1)}
    assert holder.refusal("GET", "/v1/orders/closed", **bad) == (400, "validation_error")


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/v1/orders/open", {"limit": "101"}),
        ("/v1/orders/open", {"limit": "0"}),
        ("/v1/orders/open", {"states": ["done"]}),
        ("/v1/orders/open", {"states": ["wait"], "state": "wait"}),
        ("/v1/orders/open", {"market": "KRW-NONE"}),
        ("/v1/orders/open", {"order_by": "up"}),
        ("/v1/orders/closed", {"limit": "1001"}),
        ("/v1/orders/closed", {"start_time": "yesterday"}),
        ("/v1/orders/uuids", {}),
        ("/v1/orders/uuids", {"uuids": ["a"], "identifiers": ["b"]}),
        ("/v1/orders/chance", {"market": "KRW-NONE"}),
    ],
)
def test_a_list_that_makes_no_sense_is_refused(
    holder: Holder, path: str, params: dict[str, Any]
) -> None:
    """As Upbit does, not answered with something else."""
    assert holder.refusal("GET", path, **params) == (400, "validation_error")


def test_many_orders_are_cancelled_at_once(holder: Holder, hand_clock: Any) -> None:
    """Those of a side or a market, or those that are named; what has ended is told as failed."""
    bids = [holder.place(market=m, **FAR)["uuid"] for m in ("KRW-BTC", "KRW-ETH")]
    asks = [holder.place(side="ask", price="900000000", volume="0.01")["uuid"]]

    def cancelled(path: str, **params: Any) -> tuple[list[str], list[str]]:
        hand_clock.time_s += 2
        found = json.loads(holder.ask("DELETE", path, **params).body)
        done, failed = found["success"]["orders"], found["failed"]["orders"]
        assert (found["success"]["count"], found["failed"]["count"]) == (len(done), len(failed))
        return [row["uuid"] for row in done], [row["uuid"] for row in failed]

    assert cancelled("/v1/orders/open", cancel_side="ask") == (asks, [])
    assert cancelled("/v1/orders/open", pairs="KRW-ETH,KRW-XRP") == ([bids[1]], [])
    assert cancelled("/v1/orders/open", excluded_pairs="KRW-BTC") == ([], [])
    assert cancelled("/v1/orders/uuids", uuids=bids) == ([bids[0]], [bids[1]])
    assert cancelled("/v1/orders/open") == ([], [])
    assert holder.balances()["KRW"] == ("10000000", "0")
    both = {"pairs": "KRW-BTC", "quote_currencies": "KRW"}
    hand_clock.time_s += 2
    assert holder.refusal("DELETE", "/v1/orders/open", **both) == (400, "validation_error")
    many = [str(number) for number in range(21)]
    refusal = holder.refusal("DELETE", "/v1/orders/uuids", uuids=many)
    assert refusal == (400, "validation_error")


def test_a_chance_tells_fees_bounds_and_funds(holder: Holder) -> None:
    """What a bot reads before it orders."""
    holder.place(**FAR)
    chance = holder.get("/v1/orders/chance", market="KRW-BTC")
    assert (chance["bid_fee"], chance["market"]["bid"]["min_total"]) == ("0.0005", "5000")
    assert chance["bid_account"]["balance"] == "9899950"
    assert chance["bid_account"]["locked"] == "100050"
    assert chance["ask_account"]["balance"] == "0.1"
    assert holder.get("/v1/status/wallet")[0]["wallet_state"] == "working"


def test_what_was_bought_has_an_average_price(holder: Holder, last: Decimal) -> None:
    """Over all that was bought; for selling it does not matter."""
    holder.place(market="KRW-XRP", ord_type="price", price="100000")
    row = next(row for row in holder.get("/v1/accounts") if row["currency"] == "XRP")
    [order] = holder.get("/v1/orders/closed")
    traded = holder.get("/v1/order", uuid=order["uuid"])["trades"][0]
    assert same(row["avg_buy_price"], traded["price"])
    assert same(str(last), last)


def test_open_orders_have_a_bound(holder: Holder, hand_clock: Any) -> None:
    """Of open orders the next is refused."""
    for _ in range(OPEN_MAX):
        hand_clock.time_s += 0.1
        holder.place(price="5000", volume="1.9")
    hand_clock.time_s += 1
    assert holder.refused_order(price="5000", volume="1") == (400, "create_bid_error")
