"""The orders of one account: placed, filled at the market's price or later, and cancelled.

An order is filled as a whole. One that waits is looked at whenever a private request arrives: it is
filled at its own price if the market has traded there since.
"""

from __future__ import annotations

import hashlib
import uuid
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import ROUND_DOWN, Decimal

from actors.sandbox.ledger import EXACT, InsufficientFunds, Ledger
from actors.sandbox.market import SandboxMarket
from actors.sandbox.private_words import PrivateRefusal, Words, invalid

# Ours, about what Upbit takes in won. What it really takes it says in /v1/orders/chance, as we do.
FEE = Decimal("0.0005")
# Source: https://docs.upbit.com/changelog/usdt_tick_unit_change, read 2026-11-21, for BTC and USDT;
# for won the answer of /v1/orders/chance that stands in ccxt 4.5.90.
MIN_TOTAL = {"KRW": Decimal(5000), "BTC": Decimal("0.00005"), "USDT": Decimal("0.5")}
OPEN_MAX = 1_000
CLOSED_MAX = 10_000
IDENTIFIERS_MAX = 100_000

_ZERO = Decimal(0)
_LOT = Decimal("0.00000001")
_KINDS = ("limit", "price", "market", "best")
_FORCES = ("", "ioc", "fok", "post_only")
_SMP = ("", "none", "reduce", "cancel_maker", "cancel_taker")


@dataclass(frozen=True, slots=True)
class Wish:
    """An order that makes sense, whether or not there are funds for it."""

    market: SandboxMarket
    side: str
    kind: str
    price: Decimal | None
    volume: Decimal | None
    identifier: str = ""
    force: str = ""
    smp: str = ""

    @property
    def quote(self) -> str:
        """Return the currency it pays or is paid in."""
        return self.market.code.partition("-")[0]

    @property
    def base(self) -> str:
        """Return the currency it is about."""
        return self.market.code.partition("-")[2]

    @property
    def held(self) -> str:
        """Return the currency that it locks."""
        return self.quote if self.side == "bid" else self.base

    def total(self, last: Decimal) -> Decimal:
        """Return what it is worth in the quote currency, at its price or else at the market's."""
        if self.volume is None:
            return self.price or _ZERO
        return self.volume * (last if self.price is None else self.price)

    def crosses(self, low: Decimal, high: Decimal) -> bool:
        """Return whether it meets somebody while the market trades from `low` to `high`."""
        if self.kind != "limit" or self.price is None:
            return True
        return self.price >= low if self.side == "bid" else self.price <= high


@dataclass(slots=True)
class SandboxOrder:
    """One order.

    Attributes:
      number: How many were placed before it.
      uuid: The exchange's name for it.
      wish: What was ordered.
      created_ms: When, UTC milliseconds.
      locked: What it holds of the account.
      reserved_fee: What of that was meant for the fee when it was placed.
      state: `wait`, `done` or `cancel`.
      executed: What was traded, in the base currency.
      funds: The same in the quote currency.
      fee: What that cost.
      trade_price: At which price; None before.
      trade_ms: When; 0 before.
    """

    number: int
    uuid: str
    wish: Wish
    created_ms: int
    locked: Decimal = _ZERO
    reserved_fee: Decimal = _ZERO
    state: str = "wait"
    executed: Decimal = _ZERO
    funds: Decimal = _ZERO
    fee: Decimal = _ZERO
    trade_price: Decimal | None = None
    trade_ms: int = 0


@dataclass(slots=True)
class _Kept:
    open: dict[str, SandboxOrder] = field(default_factory=dict)
    closed: OrderedDict[str, SandboxOrder] = field(default_factory=OrderedDict)
    identifiers: OrderedDict[str, str] = field(default_factory=OrderedDict)


class OrderBook:
    """The orders of one account.

    Args:
      name: The account.
      ledger: What it has.
      markets: What is traded.
    """

    def __init__(self, name: str, ledger: Ledger, markets: Mapping[str, SandboxMarket]) -> None:
        self._name = name
        self._ledger = ledger
        self._markets = markets
        self._kept = _Kept()
        self._placed = 0
        self._settled_ms = 0

    def __iter__(self) -> Iterator[SandboxOrder]:
        """Return all orders that are remembered, oldest first."""
        yield from sorted(
            (*self._kept.open.values(), *self._kept.closed.values()),
            key=lambda order: order.number,
        )

    def find(self, words: Words) -> SandboxOrder:
        """Return the order that a request names by uuid or identifier.

        Raises:
          PrivateRefusal: It names none, or one that is not there.
        """
        name, identifier = words.text("uuid"), words.text("identifier")
        if not name and not identifier:
            raise invalid("uuid or identifier")
        name = name or self._kept.identifiers.get(identifier, "")
        order = self._kept.open.get(name) or self._kept.closed.get(name)
        if order is None:
            raise not_found()
        return order

    def settle(self, now_ms: int) -> None:
        """Fill what waits and has been met since the last time."""
        since_ms, self._settled_ms = self._settled_ms, now_ms
        codes = {order.wish.market.code for order in self._kept.open.values()}
        for market in [self._markets[code] for code in codes]:
            bars = market.between(since_ms + 1, now_ms + 1)
            if not len(bars):
                continue
            low, high = _price(market, int(bars.low.min())), _price(market, int(bars.high.max()))
            waiting = [o for o in self._kept.open.values() if o.wish.market is market]
            for order in waiting:
                if order.wish.price is not None and order.wish.crosses(low, high):
                    self._fill(order, order.wish.price, now_ms)

    def place(self, words: Words, now_ms: int, *, test: bool = False) -> SandboxOrder:
        """Place the order that a request describes; return it as it is when it is accepted.

        Args:
          words: What the request says.
          now_ms: The market's time.
          test: Only check it.

        Raises:
          PrivateRefusal: It makes no sense, or there are no funds for it.
        """
        wish = self.read(words, now_ms)
        last = self._last(wish.market, now_ms)
        self._use_identifier(wish.identifier, test=test)
        self._check(wish, last)
        order = SandboxOrder(self._placed, self._next_uuid(test=test), wish, now_ms)
        self._lock(order, test=test)
        accepted = replace(order)
        if test:
            return accepted
        self._kept.open[order.uuid] = order
        if wish.identifier:
            self._kept.identifiers[wish.identifier] = order.uuid
        self._meet(order, last, now_ms)
        return accepted

    def cancel(self, order: SandboxOrder) -> SandboxOrder:
        """Cancel an order that waits; return it as it was.

        Raises:
          PrivateRefusal: It does not wait any more.
        """
        if order.state != "wait":
            raise not_found()
        before = replace(order)
        self._close(order, "cancel")
        return before

    def read(self, words: Words, now_ms: int) -> Wish:
        """Return what a request wants to order.

        Raises:
          PrivateRefusal: It makes no sense.
        """
        market = self._markets.get(words.text("market"))
        if market is None or market.last_trade(now_ms) is None:
            raise invalid("market")
        wish = Wish(
            market,
            words.one_of("side", ("bid", "ask")),
            words.one_of("ord_type", _KINDS),
            words.amount("price"),
            words.amount("volume"),
            words.text("identifier"),
            words.one_of("time_in_force", _FORCES),
            words.one_of("smp_type", _SMP),
        )
        _check_kind(wish)
        return wish

    def _use_identifier(self, identifier: str, *, test: bool) -> None:
        """Use up an identifier; of an order that is refused as well.

        Source: https://docs.upbit.com/kr/v1.5.9/reference/주문하기, read 2026-11-21.
        """
        kept = self._kept.identifiers
        if identifier and identifier in kept:
            raise PrivateRefusal(400, "duplicated_identifier", "이미 사용된 identifier입니다.")
        if identifier and not test:
            kept[identifier] = ""
            if len(kept) > IDENTIFIERS_MAX:
                kept.popitem(last=False)

    def _check(self, wish: Wish, last: Decimal) -> None:
        if wish.total(last) < MIN_TOTAL.get(wish.quote, _ZERO):
            least = MIN_TOTAL[wish.quote]
            raise PrivateRefusal(
                400, f"under_min_total_{wish.side}",
                f"최소주문금액 이상으로 주문해주세요. ({least} {wish.quote})",
            )  # fmt: skip
        if len(self._kept.open) >= OPEN_MAX:
            # Ours: how many Upbit allows it does not say.
            raise PrivateRefusal(400, f"create_{wish.side}_error", "Too many orders are open.")

    def _lock(self, order: SandboxOrder, *, test: bool) -> None:
        wish = order.wish
        amount, fee = wish.volume or _ZERO, _ZERO
        if wish.side == "bid":
            total = wish.total(wish.price or _ZERO)
            fee = total * FEE
            amount = total + fee
        try:
            self._ledger.lock(wish.held, amount)
        except InsufficientFunds as error:
            raise PrivateRefusal(
                400, f"insufficient_funds_{wish.side}",
                f"주문가능한 금액({error.currency})이 부족합니다.",
            ) from None  # fmt: skip
        order.locked, order.reserved_fee = amount, fee
        if test:
            self._ledger.unlock(wish.held, amount)

    def _meet(self, order: SandboxOrder, last: Decimal, now_ms: int) -> None:
        """Let a new order meet the market."""
        wish = order.wish
        meets = wish.crosses(last, last)
        if meets and wish.force != "post_only":
            self._fill(order, last, now_ms)
        elif meets or wish.force in ("ioc", "fok"):
            # One that must not meet anybody, or must at once, ends otherwise.
            self._close(order, "cancel")

    def _fill(self, order: SandboxOrder, price: Decimal, now_ms: int) -> None:
        wish, ledger = order.wish, self._ledger
        volume = wish.volume
        if volume is None:
            # For an amount: as many as it buys, and what is left goes back.
            volume = ((wish.price or _ZERO) / price).quantize(_LOT, ROUND_DOWN, EXACT)
        funds = price * volume
        fee = funds * FEE
        if wish.side == "bid":
            spent = funds + fee
            ledger.spend(wish.held, spent)
            ledger.receive(wish.base, volume, cost=funds if wish.quote == "KRW" else None)
        else:
            spent = volume
            ledger.spend(wish.held, spent)
            ledger.receive(wish.quote, funds - fee)
        order.locked -= spent
        order.executed, order.funds, order.fee = volume, funds, fee
        order.trade_price, order.trade_ms = price, now_ms
        # Upbit calls an amount that could not be spent to the last won cancelled.
        is_rest = wish.volume is None and funds < (wish.price or _ZERO)
        self._close(order, "cancel" if is_rest else "done")

    def _close(self, order: SandboxOrder, state: str) -> None:
        self._ledger.unlock(order.wish.held, order.locked)
        order.locked = _ZERO
        order.state = state
        del self._kept.open[order.uuid]
        self._kept.closed[order.uuid] = order
        if len(self._kept.closed) > CLOSED_MAX:
            self._kept.closed.popitem(last=False)

    def _last(self, market: SandboxMarket, now_ms: int) -> Decimal:
        last = market.last_trade(now_ms)
        return _ZERO if last is None else _price(market, last.price)

    def _next_uuid(self, *, test: bool) -> str:
        seed = hashlib.sha256(f"{self._name}/{test}/{self._placed}".encode()).digest()
        self._placed += not test
        return str(uuid.UUID(bytes=seed[:16], version=4))


def not_found() -> PrivateRefusal:
    """Return the refusal for an order that is not there."""
    return PrivateRefusal(404, "order_not_found", "주문을 찾지 못했습니다.")


def _check_kind(wish: Wish) -> None:
    """Refuse what does not go together; see `actors.exchanges.upbit.accounts` for the rules."""
    needs_price = wish.kind in ("limit", "price") or (wish.kind == "best" and wish.side == "bid")
    needs_volume = wish.kind in ("limit", "market") or (wish.kind == "best" and wish.side == "ask")
    if (wish.kind, wish.side) in (("price", "ask"), ("market", "bid")):
        raise invalid("side")
    for name, value, is_needed in (
        ("price", wish.price, needs_price),
        ("volume", wish.volume, needs_volume),
    ):
        if value is None and is_needed:
            raise invalid(name)
        if value is not None and not is_needed:
            # Source: https://docs.upbit.com/kr/reference/rest-api-guide, read 2026-11-21.
            raise PrivateRefusal(400, f"create_{wish.side}_error", f"This order has no {name}.")
    allowed = {"limit": _FORCES, "best": ("ioc", "fok")}.get(wish.kind, ("",))
    if wish.force not in allowed:
        raise invalid("time_in_force")
    if wish.force == "post_only" and wish.smp not in ("", "none"):
        raise PrivateRefusal(400, "invalid_post_only", "post_only takes no smp_type.")


def _price(market: SandboxMarket, units: int) -> Decimal:
    return Decimal(units).scaleb(-market.scale.price_decimals)
