"""Sample answers to what is asked about keys and accounts."""

from __future__ import annotations

from typing import Any

from actors.account_values import AccountAnswer, ApiKey, Balance, Order, OrderChance
from actors.key_messages import ACCOUNT_CALLS, KEY_METHODS
from actors.key_reports import (
    Account,
    AuditEntry,
    AuditVerdict,
    KeyChange,
    KeyReport,
    KeyTest,
    VaultStatus,
)
from runtime.core.message import Request

NEW_YEAR_MS = 1_767_225_600_000
ACCOUNT = "upbit:main#00c0ffee"

# What each method needs, beside what has a default.
KEY_SAMPLES: dict[str, dict[str, Any]] = {
    "keys.add": {
        "exchange": "upbit",
        "label": "main",
        "access_key": "access-key-of-a-sample",
        "secret_key": "secret-key-of-a-sample",
    },
    **{f"keys.{name}": {"key": "upbit:main"} for name in ("change", "test", "remove", "restore")},
    "account.open": {"exchange": "upbit", "label": "main"},
    "account.invalidate": {"key": "upbit:main"},
    **{name: {"account": ACCOUNT} for name, kind in KEY_METHODS.items() if kind in ACCOUNT_CALLS},
    "account.chance": {"account": ACCOUNT, "market": "KRW-BTC"},
    "account.place": {"account": ACCOUNT, "market": "KRW-BTC", "side": "bid"},
    "account.request": {"account": ACCOUNT, "method": "GET", "path": "/v1/accounts"},
}

_BALANCE = Balance(currency="KRW", balance="1000000.00000001", locked="0")
_ORDER = Order(
    uuid="c9d90f7a-64e1-4985-8ea6-1f82f7e4b8d5",
    market="KRW-BTC",
    side="bid",
    type="limit",
    state="wait",
    price="137000000",
    volume="0.00000001",
)
_KEY = KeyReport(
    name="upbit:main",
    exchange="upbit",
    label="main",
    hint="abcd",
    host="api.upbit.com",
    state="active",
    created_ms=NEW_YEAR_MS,
    expires_ms=None,
    last_used_ms=NEW_YEAR_MS + 1,
    removed_ms=None,
    allow=("* /*",),
    requests_per_minute=60,
    uid="",
    telegram_id="",
    account=True,
)
_VAULT = VaultStatus(
    state="open",
    unlock="passphrase",
    reason="unlocked by passphrase",
    keys=1,
    accounts=1,
    retry_after_s=0.0,
    generation=7,
    signatures=3,
    refused=1,
    places=("keys.db", "keys.sealed"),
)
_LINE = AuditEntry(
    number=1,
    time_ms=NEW_YEAR_MS,
    action="sign",
    key="upbit:main",
    detail="GET /v1/accounts",
    before="",
    hash="0" * 64,
)
_CHANCE = OrderChance(
    market="KRW-BTC",
    bid_fee="0.0005",
    ask_fee="0.0005",
    bid_min_total="5000",
    ask_min_total="5000",
    max_total="1000000000",
    bid_types=("limit",),
    ask_types=("limit", "market"),
    state="active",
    bid_account=_BALANCE,
    ask_account=_BALANCE,
)
_TEST = KeyTest(
    name="upbit:main",
    works=True,
    currencies=("KRW",),
    permissions={"view_account": "ok"},
    expires_ms=None,
    problems=(),
)
_CHANGE = KeyChange(done=True, what="add upbit:main", keys=(_KEY,))
_OPENED = Account(
    account=ACCOUNT,
    exchange="upbit",
    key="upbit:main",
    idle_s=300.0,
    ends_in_s=43_200.0,
    holder="upbit:main",
)
_VERDICT = AuditVerdict(whole=True, lines=1, first=1, problem="")
_API_KEY = ApiKey(hint="abcd", expires_ms=NEW_YEAR_MS, own=True)

_ANSWERS: dict[str, object] = {
    **{f"keys.{name}": _VAULT for name in ("status", "create", "unlock", "lock")},
    **{f"keys.{name}": _CHANGE for name in ("recover", "rotate", "passphrase", "add", "change")},
    **{f"keys.{name}": _CHANGE for name in ("remove", "restore")},
    "keys.list": (_KEY,),
    "keys.test": _TEST,
    "keys.audit": (_LINE,),
    "keys.verify": _VERDICT,
    "account.open": _OPENED,
    "account.invalidate": True,
    "account.balances": (_BALANCE,),
    "account.chance": _CHANCE,
    **{f"account.{name}": _ORDER for name in ("order", "place", "cancel")},
    "account.orders": (_ORDER,),
    "account.keys": (_API_KEY,),
    "account.request": AccountAnswer(data=[{"balance": "1.5"}]),
}
_BY_KIND = {kind: _ANSWERS[name] for name, kind in KEY_METHODS.items()}


def sample_key_answer(request: Request[Any]) -> object | None:
    """Return the answer to what is asked about keys and accounts; None for the rest."""
    return _BY_KIND.get(type(request))
