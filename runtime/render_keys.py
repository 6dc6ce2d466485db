"""What the answers about keys and accounts look like to people."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from runtime.render import Result, duration, number, pairs, table, time_utc, words


def _status(result: Result) -> Iterable[Any]:
    yield pairs(
        [
            ("keys", f"{result['state']}: {result['reason']}"),
            ("unlocked by", result["unlock"].replace("_", " ")),
            ("keys in use", "" if result["keys"] is None else number(result["keys"])),
            ("open accounts", number(result["accounts"])),
            ("signatures", f"{result['signatures']} given, {result['refused']} refused"),
            *(("kept in", place) for place in result["places"]),
        ]
    )
    if result["retry_after_s"]:
        yield words(f"the next try to unlock in {duration(result['retry_after_s'])}")


# Of whom a key is, and how often it may sign: most have nothing of it.
_OWNED = {"uid": "uid", "telegram_id": "telegram", "requests_per_minute": "per minute"}


def _keys(rows: list[Result]) -> Iterable[Any]:
    # As wide as a terminal usually is; what has no fixed length follows below.
    owned = [name for name in _OWNED if any(row[name] for row in rows)]
    yield table(
        (
            *("key", "state", "access", "expires (UTC)", "last used (UTC)"),
            *(_OWNED[name] for name in owned),
        ),
        (
            (
                row["name"],
                row["state"],
                f"{row['hint']}…",
                _minute(row["expires_ms"]),
                _minute(row["last_used_ms"]),
                *(str(row[name] or "") for name in owned),
            )
            for row in rows
        ),
        left=5,
    )
    for row in rows:
        below = any(rule.endswith("/*") and not rule.startswith("GET ") for rule in row["allow"])
        but = "; withdrawals only by their whole path" if below else ""
        yield words(f"{row['name']} at {row['host']} may sign {', '.join(row['allow'])}{but}")


def _list(result: Result) -> Iterable[Any]:
    yield from _keys(result["keys"])


def _changed(result: Result) -> Iterable[Any]:
    yield words(f"{'done' if result['done'] else 'would be done'}: {result['what']}")
    if result["keys"]:
        yield from _keys(result["keys"])


def _test(result: Result) -> Iterable[Any]:
    yield words(f"{result['name']} {'works' if result['works'] else 'does not work'}")
    yield table(("may", "the exchange says"), tuple(result["permissions"].items()), left=2)
    if result["currencies"] is not None:
        yield words(f"has {', '.join(result['currencies']) or 'nothing'}")
    if result["expires_ms"] is not None:
        yield words(f"expires {_time(result['expires_ms'])} UTC")
    for problem in result["problems"]:
        yield words(problem)


def _audit(result: Result) -> Iterable[Any]:
    yield table(
        ("number", "time (UTC)", "action", "key", "detail"),
        (
            (number(row["number"]), _time(row["time_ms"]), row["action"], row["key"], row["detail"])
            for row in result["audit"]
        ),
        left=5,
    )


def _verify(result: Result) -> Iterable[Any]:
    if result["whole"]:
        since = "" if result["first"] <= 1 else f", from number {result['first']} on"
        yield words(f"the audit trail is whole: {result['lines']} lines{since}")
    else:
        yield words(f"the audit trail is NOT whole: {result['problem']}")


def _balances(result: Result) -> Iterable[Any]:
    yield table(
        ("currency", "balance", "locked", "bought for", "in"),
        (
            (
                row["currency"],
                row["balance"],
                row["locked"],
                row["avg_buy_price"],
                row["unit_currency"],
            )
            for row in result["balances"]
        ),
        left=1,
    )


def _order_rows(rows: list[Result]) -> Any:
    names = ("market", "side", "type", "state", "price", "volume", "executed_volume", "paid_fee")
    return table(
        ("order", "market", "side", "type", "state", "price", "volume", "executed", "fee"),
        ((row["uuid"], *(row[name] or "" for name in names)) for row in rows),
        left=5,
    )


def _orders(result: Result) -> Iterable[Any]:
    yield _order_rows(result["orders"])


def _order(result: Result) -> Iterable[Any]:
    yield _order_rows([result])


def _chance(result: Result) -> Iterable[Any]:
    yield pairs(
        [
            ("market", f"{result['market']}, {result['state']}"),
            ("fees", f"buying {result['bid_fee']}, selling {result['ask_fee']}"),
            ("at least", f"buying {result['bid_min_total']}, selling {result['ask_min_total']}"),
            ("at most", result["max_total"]),
            ("kinds", f"buying {', '.join(result['bid_types'])}"),
            ("", f"selling {', '.join(result['ask_types'])}"),
            *(
                (f"there is {each['currency']}", f"{each['balance']}, locked {each['locked']}")
                for each in (result["bid_account"], result["ask_account"])
            ),
        ]
    )


def _api_keys(result: Result) -> Iterable[Any]:
    yield table(
        ("access", "expires (UTC)", "this one"),
        (
            (f"{row['hint']}…", _time(row["expires_ms"]), "yes" if row["own"] else "")
            for row in result["keys"]
        ),
        left=3,
    )


def _close(result: Result) -> Iterable[Any]:
    yield words("ended" if result["ended"] else "there was no open account client")


def _answer(result: Result) -> Iterable[Any]:
    yield words(msgspec.json.format(msgspec.json.encode(result["data"]), indent=2).decode())


def _minute(time_ms: int | None) -> str:
    return "" if time_ms is None else time_utc(time_ms)[: len("2026-01-01 00:00")]


def _time(time_ms: int | None) -> str:
    return "" if time_ms is None else time_utc(time_ms)


RENDERERS: dict[str, Callable[[Result], Iterable[Any]]] = {
    "keys status": _status,
    "keys lock": _status,
    "keys changed": _changed,
    "keys rotate": _changed,
    "keys restore": _changed,
    "keys list": _list,
    "keys test": _test,
    "keys audit": _audit,
    "keys verify": _verify,
    "account balances": _balances,
    "account chance": _chance,
    "account orders": _orders,
    "account order": _order,
    "account place": _order,
    "account cancel": _order,
    "account keys": _api_keys,
    "account request": _answer,
    "account close": _close,
}
