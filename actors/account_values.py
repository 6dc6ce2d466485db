"""What accounts are answered with. Amounts are text, digit for digit as the exchange wrote them."""

from __future__ import annotations

from typing import Any

import msgspec


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """What an account has of one currency.

    Attributes:
      currency: Which, such as `KRW` or `BTC`.
      balance: What can be used.
      locked: What open orders hold.
      avg_buy_price: What one cost on average; `0` where the exchange does not say.
      unit_currency: In which currency that is; empty where the exchange does not say.
    """

    currency: str
    balance: str
    locked: str
    avg_buy_price: str = "0"
    unit_currency: str = ""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One order.

    Attributes:
      uuid: The exchange's name for it.
      market: Where, such as `KRW-BTC`.
      side: `bid` buys, `ask` sells.
      type: `limit`, `price` (buys for an amount), `market` (sells a volume) or `best`.
      state: `wait`, `watch`, `done` or `cancel`.
      created_at: When it was placed, as the exchange writes it.
      price: For how much each, or in all for `price`; None for `market`.
      volume: How much; None for `price`.
      remaining_volume: How much is still open; None where the exchange does not say.
      executed_volume: How much was traded.
      paid_fee: Fees so far.
      locked: What it holds of the account.
      identifier: The caller's own name for it; empty if it has none.
      time_in_force: `ioc`, `fok`, `post_only` or empty.
    """

    uuid: str
    market: str
    side: str
    type: str
    state: str
    created_at: str = ""
    price: str | None = None
    volume: str | None = None
    remaining_volume: str | None = None
    executed_volume: str = "0"
    paid_fee: str = "0"
    locked: str = "0"
    identifier: str = ""
    time_in_force: str = ""


class OrderChance(msgspec.Struct, frozen=True, kw_only=True):
    """What could be ordered in a market.

    Attributes:
      market: The market.
      bid_fee: Fee on buying, as a part of 1.
      ask_fee: Fee on selling.
      bid_min_total: Least amount of an order that buys, in the quote currency.
      ask_min_total: The same of one that sells.
      max_total: Most; empty where the exchange does not say.
      bid_types: Kinds of orders that buy.
      ask_types: Kinds of orders that sell.
      state: Whether the market trades, in the exchange's word.
      bid_account: What is there to buy with.
      ask_account: What is there to sell.
    """

    market: str
    bid_fee: str
    ask_fee: str
    bid_min_total: str
    ask_min_total: str
    max_total: str
    bid_types: tuple[str, ...]
    ask_types: tuple[str, ...]
    state: str
    bid_account: Balance
    ask_account: Balance


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """One API key of an account, as the exchange lists it.

    Attributes:
      hint: The first 4 characters of its access key.
      expires_ms: When it ends, UTC milliseconds.
      own: Whether it is the key that asked.
    """

    hint: str
    expires_ms: int
    own: bool


class AccountAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The exchange's own answer.

    Attributes:
      data: The JSON it sent; numbers with a fraction or an exponent as text, digit for digit.
    """

    data: Any
