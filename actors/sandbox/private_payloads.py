"""Private answers in Upbit's form.

Source: docs.upbit.com reference, v1.6.4 (2026-09), and the package upbit-sdk 1.1.0.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

from actors.sandbox.ledger import Holding, Ledger, written
from actors.sandbox.market import SandboxMarket
from actors.sandbox.payloads import Payload
from actors.sandbox.private_orders import FEE, MIN_TOTAL, SandboxOrder

_KST = timezone(timedelta(hours=9))
_MAX_TOTAL = "1000000000"


def kst(time_ms: int) -> str:
    """Return a moment as Upbit writes it in private answers: Korea's time, with its zone."""
    return datetime.fromtimestamp(time_ms // 1000, UTC).astimezone(_KST).isoformat()


def balance_payload(currency: str, held: Holding) -> Payload:
    """Return a row of /v1/accounts."""
    return {
        "currency": currency,
        "balance": written(held.free),
        "locked": written(held.locked),
        "avg_buy_price": written(held.average),
        "avg_buy_price_modified": False,
        "unit_currency": "KRW",
    }


def order_payload(order: SandboxOrder, *, trades: bool = False) -> Payload:
    """Return an order; with what it traded where one order alone is asked for."""
    wish = order.wish
    row: Payload = {
        "uuid": order.uuid,
        "side": wish.side,
        "ord_type": wish.kind,
        "price": None if wish.price is None else written(wish.price),
        "state": order.state,
        "market": wish.market.code,
        "created_at": kst(order.created_ms),
        "volume": None if wish.volume is None else written(wish.volume),
        "remaining_volume": None if wish.volume is None else written(wish.volume - order.executed),
        "prevented_volume": "0",
        "reserved_fee": written(order.reserved_fee),
        "remaining_fee": written(order.reserved_fee if order.state == "wait" else Decimal(0)),
        "paid_fee": written(order.fee),
        "locked": written(order.locked),
        "prevented_locked": "0",
        "executed_volume": written(order.executed),
        "trades_count": int(order.trade_price is not None),
    }
    named = (("identifier", wish.identifier), ("time_in_force", wish.force), ("smp_type", wish.smp))
    row |= {name: value for name, value in named if value}
    if trades:
        row["trades"] = [] if order.trade_price is None else [_trade(order, order.trade_price)]
    return row


def _trade(order: SandboxOrder, price: Decimal) -> Payload:
    return {
        "market": order.wish.market.code,
        "uuid": order.uuid,
        "price": written(price),
        "volume": written(order.executed),
        "funds": written(order.funds),
        "side": order.wish.side,
        "created_at": kst(order.trade_ms),
    }


def chance_payload(market: SandboxMarket, ledger: Ledger) -> Payload:
    """Return what could be ordered in a market."""
    quote, _, base = market.code.partition("-")
    least = written(MIN_TOTAL.get(quote, Decimal(0)))
    fee = written(FEE)
    return {
        "bid_fee": fee,
        "ask_fee": fee,
        "maker_bid_fee": fee,
        "maker_ask_fee": fee,
        "market": {
            "id": market.code,
            "name": f"{base}/{quote}",
            "order_types": ["limit"],
            "order_sides": ["ask", "bid"],
            "bid_types": ["best_fok", "best_ioc", "limit", "limit_fok", "limit_ioc", "price"],
            "ask_types": ["best_fok", "best_ioc", "limit", "limit_fok", "limit_ioc", "market"],
            "bid": {"currency": quote, "min_total": least},
            "ask": {"currency": base, "min_total": least},
            "max_total": _MAX_TOTAL,
            "state": "active",
        },
        "bid_account": balance_payload(quote, ledger.of(quote)),
        "ask_account": balance_payload(base, ledger.of(base)),
    }
