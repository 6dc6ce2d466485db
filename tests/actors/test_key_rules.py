"""What a key may sign, as plain values: paths that a server could read in another way are none."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import InvalidRequest, KeyRefused, RateLimited
from actors.exchanges.okx.signer import OkxSigner
from actors.exchanges.signing import Signer
from actors.exchanges.upbit.signer import UpbitSigner
from actors.key_messages import ChangeKey
from actors.key_rules import (
    ALLOW_MAX,
    MINUTE_S,
    Cap,
    check_allow,
    check_apart,
    check_cap,
    check_label,
    check_owner,
    check_reach,
    check_types,
    check_use,
    split_name,
)
from actors.vault.secret import Secret
from actors.vault.testing import made_info
from actors.vault.values import Credential, KeyInfo
from actors.vault_messages import CreateVault, UnlockVault
from runtime.core.message import Request

HOST = "api.upbit.com"
WITHDRAW = "/v1/withdraws/coin"


def key(*allow: str) -> KeyInfo:
    """Return a key that may do what `allow` says."""
    return msgspec.structs.replace(made_info(), allow=allow)


def may(info: KeyInfo, method: str, path: str, host: str = HOST) -> bool:
    """Return whether a key may be used."""
    try:
        check_use(info, UpbitSigner(), method, path, host)
    except KeyRefused:
        return False
    return True


@pytest.mark.parametrize(
    ("allow", "method", "path", "allowed"),
    [
        (("* /*",), "GET", "/v1/accounts", True),
        (("* /*",), "DELETE", "/v1/order", True),
        (("GET /*",), "GET", "/v1/accounts", True),
        (("GET /*",), "POST", "/v1/orders", False),
        (("GET /v1/orders/*",), "GET", "/v1/orders/open", True),
        (("GET /v1/orders/*",), "GET", "/v1/orders", False),
        (("GET /v1/orders/*",), "GET", "/v1/ordersopen", False),
        (("GET /v1/orders",), "GET", "/v1/orders", True),
        (("GET /v1/orders",), "GET", "/v1/orders/open", False),
        (("POST /v1/orders", "GET /v1/order"), "GET", "/v1/order", True),
        (("* /*",), "POST", WITHDRAW, False),
        (("POST /*",), "POST", WITHDRAW, False),
        (("POST /v1/withdraws/*",), "POST", WITHDRAW, False),
        ((f"POST {WITHDRAW}",), "POST", WITHDRAW, True),
        ((f"* {WITHDRAW}",), "POST", WITHDRAW, True),
        ((f"GET {WITHDRAW}",), "POST", WITHDRAW, False),
        ((f"POST {WITHDRAW}",), "POST", "/v1/withdraws/krw", False),
        ((f"POST {WITHDRAW}",), "DELETE", WITHDRAW, False),
        ((f"POST {WITHDRAW}",), "GET", "/v1/accounts", False),
        # To look what was taken out takes nothing out.
        (("* /*",), "GET", "/v1/withdraws", True),
    ],
)
def test_rules_read_as_a_table(
    allow: tuple[str, ...], method: str, path: str, *, allowed: bool
) -> None:
    """Withdrawal by its whole path only; everything else by the rules of the key's owner."""
    assert may(key(*check_allow(allow)), method, path) is allowed


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/orders/../withdraws/coin", "/v1//withdraws/coin", "/v1/./withdraws/coin", "/.."),
        *("/v1/%77ithdraws/coin", "/v1/withdraws%2Fcoin", "/v1/%2e%2e/x", "/v1/accounts%00"),
        *("/v1/withdraws/coin/", "/v1/accounts/", "/v1/WITHDRAWS/coin", "/V1/Withdraws/Coin"),
        *("/v1/withdraws/coin?x=1", "/v1/accounts?x=1", "/v1/accounts#x", "/v1/accounts;x"),
        *(
            "/v1/\uff57ithdraws/coin",
            "/v1/w\u0131thdraws/coin",
            "/v1/accounts ",
            " /v1/accounts",
            "",
        ),
        *("v1/accounts", "/v1/accounts\n", "/v1/accounts\r\nX: y", "\\v1\\withdraws", "/v1/\x00"),
        *("http://api.upbit.com/v1/accounts", "//evil.example/v1/accounts", "/", "/v1/\ud800"),
    ],
)
def test_odd_paths_are_refused(path: str) -> None:
    """However they are meant: what we take for harmless a server might take for a withdrawal."""
    with pytest.raises(KeyRefused, match="upbit:main does not sign POST"):
        check_use(key("* /*", "POST /v1/withdraws/krw"), UpbitSigner(), "POST", path, HOST)


@pytest.mark.parametrize("method", ["get", "PATCH", "HEAD", "CONNECT", "", "GET ", "POST\n"])
def test_odd_methods_are_refused(method: str) -> None:
    """Four are known; of any other nobody has thought what it does."""
    with pytest.raises(KeyRefused, match="wanted a method of HTTP"):
        check_use(key("* /*"), UpbitSigner(), method, "/v1/accounts", HOST)


@pytest.mark.parametrize(
    "host", ["api.upbit.com:444", "API.upbit.com", "api.upbit.com.evil", "localhost", "", "x"]
)
def test_foreign_hosts_are_refused(host: str) -> None:
    """A key is for the one place it was added for; a signature is good wherever it is taken."""
    with pytest.raises(KeyRefused, match=r"was added for api.upbit.com and goes nowhere else"):
        check_use(key("* /*"), UpbitSigner(), "GET", "/v1/accounts", host)


PARTS = st.sampled_from(
    [
        *("v1", "withdraws", "Withdraw", "coin", "krw", "transfer", "orders", "accounts", "asset"),
        *("..", ".", "", "%77ithdraws", "wi", "thdraws", "api", "v5", "withdrawal", "WITHDRAWS"),
    ]
)
PATHS = st.lists(PARTS, max_size=5).map(lambda parts: "/" + "/".join(parts)) | st.text(max_size=20)
RULES = st.tuples(st.sampled_from(["GET", "POST", "PUT", "DELETE", "*"]), PATHS | st.just("/*"))


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "post", "PATCH"]),
    path=PATHS,
    rules=st.lists(RULES, min_size=1, max_size=4),
    signer=st.sampled_from([UpbitSigner(), OkxSigner()]),
)
def test_no_withdrawal_without_a_rule_that_names_it(
    method: str, path: str, rules: list[tuple[str, str]], signer: Signer
) -> None:
    """Whatever the rules and whatever the path: exactly it, letter for letter, or no signature."""
    allow = tuple(" ".join(rule) for rule in rules)
    try:
        check_use(key(*allow), signer, method, path, HOST)
    except KeyRefused:
        return
    if signer.is_withdrawal(method, path):
        assert {f"{method} {path}", f"* {path}"} & set(allow)
    plain = path.lower()
    if method != "GET" and any(word in plain for word in ("withdraw", "transfer", "%")):
        assert {f"{method} {path}", f"* {path}"} & set(allow)


@given(rule=st.text(max_size=30) | RULES.map(" ".join))
def test_rule_that_is_taken_can_match_something(rule: str) -> None:
    """One that never could would be a trap for its owner."""
    try:
        check_allow((rule,))
    except InvalidRequest:
        return
    method, _, pattern = rule.partition(" ")
    path = f"{pattern[:-1]}some" if pattern.endswith("/*") else pattern
    assert may(key(rule), "GET" if method == "*" else method, path) or (
        "withdraw" in path.lower() or "transfer" in path.lower()
    )


@pytest.mark.parametrize(
    "rule",
    [
        *("", "GET", "/v1/accounts", "GET  /v1/accounts", "get /v1/accounts", "GET v1/accounts"),
        *("GET /v1/ord*", "GET /v1/*/x", "GET /**", "GET /v1/orders/", "GET /", "PATCH /v1/x"),
        *("GET /v1/../x", "GET /v1//x", "GET /v1/%2e", "GET *", "* *", "GET /v1/accounts "),
    ],
)
def test_rules_that_are_none_are_refused(rule: str) -> None:
    """Told when it is made, and not when a bot is refused at night."""
    with pytest.raises(InvalidRequest, match="a rule of allow must be"):
        check_allow((rule,))


def test_number_of_rules_has_bounds() -> None:
    """A key that may nothing is a mistake; one with more than a hundred rules is another."""
    for rules in ((), ("GET /x",) * (ALLOW_MAX + 1)):
        with pytest.raises(InvalidRequest, match=f"1 to 100 rules, was {len(rules)}"):
            check_allow(rules)
    assert len(check_allow(("GET /x",) * ALLOW_MAX)) == ALLOW_MAX


# ------------------------------------------------------------------ how often


@given(
    most=st.integers(1, 5),
    steps_s=st.lists(st.sampled_from([0.0, 0.001, 1.0, 20.0, 59.999, 60.0, 61.0]), max_size=40),
)
def test_cap_is_exact_in_every_minute(most: int, steps_s: list[float]) -> None:
    """Of any 60 s at most so many, and never fewer than there could be."""
    cap, now_s, taken = Cap(most, "upbit:main"), 1_000.0, list[float]()
    for step_s in steps_s:
        now_s += step_s
        recent = [each for each in taken if each > now_s - MINUTE_S]
        if len(recent) < most:
            cap.take(now_s)
            taken.append(now_s)
            continue
        with pytest.raises(RateLimited, match=f"sign {most} requests a minute") as caught:
            cap.take(now_s)
        assert abs(recent[-most] + MINUTE_S - now_s - caught.value.retry_after_s) < 1e-6


def test_cap_that_is_changed_keeps_its_count() -> None:
    """Lowered, it holds at once; raised, it lets through what is new only."""
    cap = Cap(3, "upbit:main")
    for now_s in (0.0, 10.0, 20.0):
        cap.take(now_s)
    cap.most = 1
    with pytest.raises(RateLimited, match=r"sign 1 requests a minute.*in 50\.0 s"):
        cap.take(30.0)
    cap.most = 4
    cap.take(30.0)
    with pytest.raises(RateLimited, match="sign 4 requests"):
        cap.take(30.0)
    cap.most = None
    cap.take(30.0)


def test_cap_must_be_one() -> None:
    """Zero would be a key that cannot be used, which is what removing is for."""
    for most in (0, -1, 100_001):
        with pytest.raises(InvalidRequest, match=f"1 to 100000, was {most}"):
            check_cap(most)
    check_cap(None)
    check_cap(1)


# ------------------------------------------------------------------ names


@pytest.mark.parametrize(
    "label", ["", "a" * 65, "a b", "a:b", "a/b", "ä", "a\n", "a#1", "\ud800", "a,b", "*"]
)
def test_labels_that_could_not_be_written_are_refused(label: str) -> None:
    """They stand in names of account clients, in commands and in the audit trail."""
    with pytest.raises(InvalidRequest, match="a label must be 1 to 64"):
        check_label(label)


def test_names_have_two_halves() -> None:
    """What is meant must be clear without knowing which keys there are."""
    assert split_name("upbit:main") == ("upbit", "main")
    for name in ("upbit", ":main", "upbit:", "", "upbit:a:b"):
        with pytest.raises(InvalidRequest, match=r"exchange:label|a label must be"):
            split_name(name)


def test_owners_are_one_line() -> None:
    """They are shown in tables and written to a line of the trail."""
    check_owner("uid", "김철수 1")
    check_owner("uid", "")
    for value in ("a\nb", "a" * 101, "\x1b[31m", "\ud800"):
        with pytest.raises(InvalidRequest, match="uid must be at most 100 characters"):
            check_owner("uid", value)


def test_secret_in_the_wrong_place_is_refused_without_being_said() -> None:
    """Somebody mixed up two fields: it must not become a label in every list."""
    made = Credential(Secret(b"the access key"), Secret(b"the secret"), Secret(b"the third"))
    check_apart(made, ("main", "GET /v1/accounts", ""))
    for text in ("the access key", "/v1/the secret/x", "xthe thirdx"):
        with pytest.raises(InvalidRequest, match="the key itself must not stand") as caught:
            check_apart(made, ("main", text))
        assert text not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "fields", "wanted"),
    [
        (ChangeKey, {"key": "upbit:a", "telegram_id": 123}, r"got `int` - at `\$.telegram_id`"),
        (ChangeKey, {"key": "upbit:a", "allow": [5]}, r"got `int` - at `\$.allow\[0\]`"),
        (UnlockVault, {"passphrase": None}, r"got `null` - at `\$.passphrase`"),
        (CreateVault, {"passphrase": b"bytes"}, r"got `bytes` - at `\$.passphrase`"),
    ],
)
def test_fields_of_other_types_are_refused_by_name(
    kind: type[Request[Any]], fields: dict[str, Any], wanted: str
) -> None:
    """Who makes a message in Python can put anything in; the value is not said."""
    with pytest.raises(InvalidRequest, match=wanted):
        check_types(kind(**fields))


def test_fields_of_their_types_pass() -> None:
    """Also those that are not given."""
    check_types(ChangeKey(key="upbit:a", allow=("* /*",)))
    check_types(UnlockVault())


@pytest.mark.parametrize(
    ("rule", "signer"),
    [
        ("POST /v1/withdraws/*", UpbitSigner()),
        ("* /v1/withdraws/*", UpbitSigner()),
        ("DELETE /v1/withdraws/*", UpbitSigner()),
        ("POST /api/v5/asset/withdrawal/*", OkxSigner()),
    ],
)
def test_pattern_that_holds_nothing_but_withdrawals_is_refused(rule: str, signer: Signer) -> None:
    """It never lets one through, and its owner believes it does."""
    with pytest.raises(InvalidRequest, match="is allowed by its whole path, such as 'POST /"):
        check_reach(check_allow((rule,)), signer)


@pytest.mark.parametrize(
    "rule", ["* /*", "POST /*", "POST /v1/*", "GET /v1/withdraws/*", f"POST {WITHDRAW}"]
)
def test_rules_that_allow_something_are_taken(rule: str) -> None:
    """Whole paths, what only looks, and patterns that hold other things as well."""
    check_reach(check_allow((rule,)), UpbitSigner())
