"""Messages about keys and accounts, beside those about market data in `actors.messages`."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from actors.account_values import AccountAnswer, ApiKey, Balance, Order, OrderChance
from actors.exchanges.signing import ToSign
from actors.key_reports import Account, AuditEntry, AuditVerdict, KeyChange, KeyReport, KeyTest
from actors.vault_messages import (
    ChangeUnlock,
    CreateVault,
    GetVault,
    LockVault,
    RecoverVault,
    RotateVault,
    SecretRequest,
    UnlockVault,
)
from runtime.core.message import Event, Request

# ------------------------------------------------------------------ keys


class AddKey(SecretRequest[KeyChange], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keep a key. Refused if there is one of that name, removed or not.

    Attributes:
      exchange: The exchange it is for.
      label: What to call it: 1 to 64 letters, digits, `.`, `_` or `-`.
      access_key: The public half, as the exchange gave it.
      secret_key: The secret half.
      passphrase: The third secret, where the exchange has one (OKX).
      allow: What it may sign: `METHOD /path`, `*` for any method, a `*` at the end of a path for
        everything below. Withdrawals only where a whole path is named. All but these if None.
      requests_per_minute: Most signatures in any minute, 1 to 100000.
      expires: When the exchange ends it: UTC milliseconds or ISO 8601 text.
      uid: Who the owner is at the exchange; keys of one uid share its rate limits.
      telegram_id: Who the owner is on Telegram.
      replace: Take the place of a key of that name, whose secrets are then lost; what is None here,
        but for `expires`, stays as it was there.
      test: Try it against the exchange first, and keep it only if it works.
      dry_run: Only say what would be done.
    """

    exchange: str
    label: str
    access_key: str
    secret_key: str
    passphrase: str = ""
    allow: tuple[str, ...] | None = None
    requests_per_minute: int | None = None
    expires: int | str | None = None
    uid: str | None = None
    telegram_id: str | None = None
    replace: bool = False
    test: bool = False
    dry_run: bool = False


class ChangeKey(Request[KeyChange], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Change what is known of a key, or what it may do. What is None stays.

    Attributes:
      key: Which, `exchange:label`.
      allow: As in `keys.add`.
      requests_per_minute: As in `keys.add`; 0 takes the bound away.
      expires: As in `keys.add`; `none` or 0 takes it away.
      uid: Who the owner is at the exchange.
      telegram_id: Who the owner is on Telegram.
      dry_run: Only say what would be done.
    """

    key: str
    allow: tuple[str, ...] | None = None
    requests_per_minute: int | None = None
    expires: int | str | None = None
    uid: str | None = None
    telegram_id: str | None = None
    dry_run: bool = False


class ListKeys(
    Request[tuple[KeyReport, ...]], frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """The keys there are, masked.

    Attributes:
      exchange: Only of this one.
      removed: Removed ones, too.
      owner: Only of who has this uid or Telegram id.
    """

    exchange: str = ""
    removed: bool = False
    owner: str = ""


class TryKey(Request[KeyTest], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Try a key against its exchange: read balances, look what it may do and when it ends.

    Attributes:
      key: Which, `exchange:label`.
    """

    key: str


class RemoveKey(Request[KeyChange], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Take a key out of use at once. It can be restored, unless it is purged.

    Attributes:
      key: Which, `exchange:label`.
      purge: Forget it for good.
      dry_run: Only say what would be done.
    """

    key: str
    purge: bool = False
    dry_run: bool = False


class RestoreKey(Request[KeyChange], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Take a removed key into use again.

    Attributes:
      key: Which, `exchange:label`.
      dry_run: Only say what would be done.
    """

    key: str
    dry_run: bool = False


class GetAudit(
    Request[tuple[AuditEntry, ...]], frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """What was done with keys, the newest last.

    Attributes:
      count: The newest so many, 1 to 10000.
      key: Only of this one.
    """

    count: int = 50
    key: str = ""


class VerifyAudit(Request[AuditVerdict], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether the audit trail is whole."""


# ------------------------------------------------------------------ accounts


class OpenAccount(Request[Account], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Open the account client of a key, or return the one that is open.

    Attributes:
      exchange: The exchange.
      label: What the key is called.
    """

    exchange: str
    label: str


class InvalidateAccount(Request[bool], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """End the account client of a key now; answered with whether there was one.

    Attributes:
      key: Which, `exchange:label`.
    """

    key: str


class GetBalances(
    Request[tuple[Balance, ...]], frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """What the account has.

    Attributes:
      account: An open account client, from `account.open`.
    """

    account: str


class GetOrderChance(Request[OrderChance], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What could be ordered in a market.

    Attributes:
      account: An open account client.
      market: The market, as the exchange writes it.
    """

    account: str
    market: str


class GetOrder(Request[Order], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One order, by one of its two names.

    Attributes:
      account: An open account client.
      uuid: The exchange's name for it.
      identifier: The caller's own.
    """

    account: str
    uuid: str = ""
    identifier: str = ""


class GetOrders(Request[tuple[Order, ...]], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Orders that are open, or that are not any more; newest first.

    Attributes:
      account: An open account client.
      state: `open` or `closed`.
      market: Only of this one; of all if empty.
      count: How many, 1 to 100 open ones, to 1000 closed ones.
    """

    account: str
    state: Literal["open", "closed"] = "open"
    market: str = ""
    count: int = 100


class PlaceOrder(Request[Order], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Place an order. It is never sent twice by itself.

    Attributes:
      account: An open account client.
      market: Where, such as `KRW-BTC`.
      side: `bid` buys, `ask` sells.
      type: `limit`, `price` (buys for an amount), `market` (sells a volume) or `best`.
      price: For how much each, or in all for `price`; text, digit for digit.
      volume: How much; text.
      identifier: The caller's own name for it, never used before.
      time_in_force: `ioc`, `fok`, `post_only` or empty.
      smp_type: What becomes of orders that would meet one's own; empty for the exchange's way.
      test: Only let the exchange check it.
    """

    account: str
    market: str
    side: Literal["bid", "ask"]
    type: Literal["limit", "price", "market", "best"] = "limit"
    price: str = ""
    volume: str = ""
    identifier: str = ""
    time_in_force: Literal["", "ioc", "fok", "post_only"] = ""
    smp_type: Literal["", "reduce", "cancel_maker", "cancel_taker"] = ""
    test: bool = False


class CancelOrder(Request[Order], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cancel an order, by one of its two names.

    Attributes:
      account: An open account client.
      uuid: The exchange's name for it.
      identifier: The caller's own.
    """

    account: str
    uuid: str = ""
    identifier: str = ""


class GetApiKeys(
    Request[tuple[ApiKey, ...]], frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """The API keys of the account, masked, with their ends.

    Attributes:
      account: An open account client.
    """

    account: str


class AccountRequest(Request[AccountAnswer], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Any signed request. A GET is repeated where no answer came; nothing else is.

    Attributes:
      account: An open account client.
      method: `GET`, `POST`, `PUT` or `DELETE`.
      path: Such as `/v1/status/wallet`.
      params: Query of a GET or DELETE, body of the others; values are text, numbers, or lists of
        such.
      group: The rate-limit group it counts in; the adapter's guess if empty.
    """

    account: str
    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    params: dict[str, Any] = msgspec.field(default_factory=dict)
    group: str = ""


# What an AccountActor answers.
ACCOUNT_CALLS: tuple[type[Request[Any]], ...] = (
    GetBalances,
    GetOrderChance,
    GetOrder,
    GetOrders,
    PlaceOrder,
    CancelOrder,
    GetApiKeys,
    AccountRequest,
)

# Method name on the socket for each of the above.
KEY_METHODS: dict[str, type[Request[Any]]] = {
    "keys.status": GetVault,
    "keys.create": CreateVault,
    "keys.unlock": UnlockVault,
    "keys.lock": LockVault,
    "keys.recover": RecoverVault,
    "keys.rotate": RotateVault,
    "keys.passphrase": ChangeUnlock,
    "keys.add": AddKey,
    "keys.change": ChangeKey,
    "keys.list": ListKeys,
    "keys.test": TryKey,
    "keys.remove": RemoveKey,
    "keys.restore": RestoreKey,
    "keys.audit": GetAudit,
    "keys.verify": VerifyAudit,
    "account.open": OpenAccount,
    "account.invalidate": InvalidateAccount,
    "account.balances": GetBalances,
    "account.chance": GetOrderChance,
    "account.order": GetOrder,
    "account.orders": GetOrders,
    "account.place": PlaceOrder,
    "account.cancel": CancelOrder,
    "account.keys": GetApiKeys,
    "account.request": AccountRequest,
}


# ------------------------------------------------------------------ between actors


class OpenTrial(Request[Account], frozen=True, kw_only=True):
    """Open an account client for a minute, to try a key; its cap does not count there.

    Attributes:
      key: The key, or the name of one that is kept.
    """

    key: AddKey | str


class CloseTrial(Event, frozen=True, kw_only=True):
    """End the account client with which a key was tried.

    Attributes:
      account: The account client.
    """

    account: str


class TryAccount(Request[KeyTest], frozen=True, kw_only=True):
    """Ask an AccountActor what the exchange says of a key.

    Attributes:
      account: An open account client.
    """

    account: str


class SignRequest(Request[tuple[tuple[str, str], ...]], frozen=True, kw_only=True):
    """Ask the KeyActor for the header fields that prove who sends a request.

    Attributes:
      account: An open account client.
      host: Where it will be sent.
      request: What will be sent.
      utc_ms: The exchange's time, UTC milliseconds.
    """

    account: str
    host: str
    request: ToSign
    utc_ms: int
