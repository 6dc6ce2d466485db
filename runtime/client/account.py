"""`AccountClient`: one account at one exchange, for bots on trio."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from actors.account_values import AccountAnswer, ApiKey, Balance, Order, OrderChance
from actors.key_messages import (
    CancelOrder,
    GetApiKeys,
    GetBalances,
    GetOrder,
    GetOrderChance,
    GetOrders,
    InvalidateAccount,
)
from actors.key_reports import Account
from runtime.client.account_requests import (
    Amount,
    Method,
    OrderType,
    Side,
    SmpType,
    TimeInForce,
    any_request,
    place_request,
)
from runtime.client.requests import TIMEOUT_S, AsyncAsk


class AccountClient:
    """Asks an exchange about one account, signed inside the runtime. Made by `market.account`.

    It ends when it was not used for `keys.idle_s`, in any case after `keys.absolute_s`, and at once
    when the keys are locked or its key is changed; then every method raises `AccountClosed`, and
    `market.account` gives another one. That is cheap, so bots call it whenever they need one.

    Every method raises what `AsyncClient.ask` raises, and `KeyRefused` for what the key may not do.

    Args:
      ask: Asks the runtime.
      opened: What is known of it.

    Attributes:
      name: The key, `exchange:label`.
    """

    def __init__(self, ask: AsyncAsk, opened: Account) -> None:
        self._ask = ask
        self._account = opened.account
        self.name = opened.key

    async def balances(self, *, timeout_s: float = TIMEOUT_S) -> tuple[Balance, ...]:
        """Return what the account has; amounts are text, digit for digit."""
        return await self._ask(GetBalances(account=self._account), timeout_s)

    async def chance(self, market: str, *, timeout_s: float = TIMEOUT_S) -> OrderChance:
        """Return what could be ordered in a market: fees, least amounts, kinds of orders."""
        request = GetOrderChance(account=self._account, market=market)
        return await self._ask(request, timeout_s)

    async def order(
        self, uuid: str = "", *, identifier: str = "", timeout_s: float = TIMEOUT_S
    ) -> Order:
        """Return one order, by the exchange's name for it or by the caller's own."""
        request = GetOrder(account=self._account, uuid=uuid, identifier=identifier)
        return await self._ask(request, timeout_s)

    async def orders(
        self,
        state: Literal["open", "closed"] = "open",
        *,
        market: str = "",
        count: int = 100,
        timeout_s: float = TIMEOUT_S,
    ) -> tuple[Order, ...]:
        """Return orders that are open, or that are not any more; newest first."""
        request = GetOrders(account=self._account, state=state, market=market, count=count)
        return await self._ask(request, timeout_s)

    async def place(
        self,
        market: str,
        side: Side,
        type: OrderType = "limit",  # noqa: A002 - the exchange's and the message's name for it
        *,
        price: Amount | None = None,
        volume: Amount | None = None,
        identifier: str = "",
        time_in_force: TimeInForce = "",
        smp_type: SmpType = "",
        test: bool = False,
        timeout_s: float = TIMEOUT_S,
    ) -> Order:
        """Place an order and return it. It is never sent twice by itself.

        With an `identifier` of your own you can ask, after an error, whether it arrived.

        Args:
          market: Where, such as `KRW-BTC`.
          side: `bid` buys, `ask` sells.
          type: `limit`, `price` (buys for an amount), `market` (sells a volume) or `best`.
          price: For how much each, or in all for `price`; no floats.
          volume: How much; no floats.
          identifier: The caller's own name for it, never used before.
          time_in_force: `ioc`, `fok`, `post_only` or empty.
          smp_type: What becomes of orders that would meet one's own.
          test: Only let the exchange check it.
          timeout_s: How long to wait, in seconds.
        """
        request = place_request(
            self._account,
            market,
            side,
            type,
            price=price,
            volume=volume,
            identifier=identifier,
            time_in_force=time_in_force,
            smp_type=smp_type,
            test=test,
        )
        return await self._ask(request, timeout_s)

    async def cancel(
        self, uuid: str = "", *, identifier: str = "", timeout_s: float = TIMEOUT_S
    ) -> Order:
        """Cancel an order, by the exchange's name for it or by the caller's own; return it."""
        request = CancelOrder(account=self._account, uuid=uuid, identifier=identifier)
        return await self._ask(request, timeout_s)

    async def api_keys(self, *, timeout_s: float = TIMEOUT_S) -> tuple[ApiKey, ...]:
        """Return the API keys of the account, masked, with their ends."""
        return await self._ask(GetApiKeys(account=self._account), timeout_s)

    async def request(
        self,
        method: Method,
        path: str,
        params: Mapping[str, Any] | None = None,
        *,
        group: str = "",
        timeout_s: float = TIMEOUT_S,
    ) -> AccountAnswer:
        """Return the exchange's answer to any signed request.

        Args:
          method: `GET`, `POST`, `PUT` or `DELETE`; only a GET is repeated where no answer came.
          path: Such as `/v1/status/wallet`.
          params: Query of a GET or DELETE, body of the others; no floats.
          group: The rate-limit group it counts in, if you know better than the runtime.
          timeout_s: How long to wait, in seconds.
        """
        request = any_request(self._account, method, path, params, group)
        return await self._ask(request, timeout_s)

    async def close(self, *, timeout_s: float = TIMEOUT_S) -> bool:
        """End the account client of this key, for everybody; return whether there was one."""
        return await self._ask(InvalidateAccount(key=self.name), timeout_s)
