"""What a key may sign: methods, paths, withdrawals, and how often. Plain functions and values."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from typing import Any

import msgspec

from actors.errors import InvalidRequest, KeyRefused, RateLimited
from actors.exchanges.signing import Signer
from actors.timeframes import parse_time_ms
from actors.vault.values import Credential, KeyInfo
from runtime.core.message import Request

ALLOW_MAX = 100
PER_MINUTE_MAX = 100_000
MINUTE_S = 60.0

_METHODS = ("GET", "POST", "PUT", "DELETE")
# Nothing a server might read in another way than we do: no escapes, no dots that lead elsewhere.
_PATH = re.compile(r"/[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*")
_LABEL = re.compile(r"[A-Za-z0-9._-]{1,64}")
_NOTE = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{0,100}")


def check_types(request: Request[Any]) -> None:
    """Refuse a message whose fields are not of their types: who makes one in Python can do that.

    Raises:
      InvalidRequest: Names the field, what was wanted and the type that was there.
    """
    try:
        msgspec.convert(msgspec.structs.asdict(request), type(request))
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{type(request).__name__}: {error}") from None


def check_label(label: str) -> None:
    """Refuse a label that could not be written in a name.

    Raises:
      InvalidRequest: Says what is wanted and what was there.
    """
    if not _LABEL.fullmatch(label):
        raise InvalidRequest(
            f"a label must be 1 to 64 letters, digits, dots, underscores or hyphens, was {label!r}"
        )


def split_name(name: str) -> tuple[str, str]:
    """Return exchange and label of `exchange:label`.

    Raises:
      InvalidRequest: It is not written like that.
    """
    exchange, colon, label = name.partition(":")
    if not colon or not exchange:
        raise InvalidRequest(f"a key is named exchange:label, such as upbit:main; was {name!r}")
    check_label(label)
    return exchange, label


def check_allow(allow: Iterable[str]) -> tuple[str, ...]:
    """Return `allow` if every rule of it is one.

    Raises:
      InvalidRequest: There is none, there are too many, or one is not `METHOD /path`.
    """
    rules = tuple(allow)
    if not 1 <= len(rules) <= ALLOW_MAX:
        raise InvalidRequest(f"allow must hold 1 to {ALLOW_MAX} rules, was {len(rules)}")
    for rule in rules:
        method, _, path = rule.partition(" ")
        # One that could never match would be a trap: its owner believes it allows something.
        plain = path.removesuffix("/*")
        if method not in (*_METHODS, "*") or not path.startswith("/") or not _is_path(plain):
            raise InvalidRequest(
                "a rule of allow must be a method (GET POST PUT DELETE, or * for any), a space and "
                f"a path, which may end with /* for all below it; was {rule!r}"
            )
    return rules


def check_reach(rules: Iterable[str], signer: Signer) -> None:
    """Refuse patterns of nothing but withdrawals: they are allowed by name only.

    Args:
      rules: Rules that `check_allow` has passed.
      signer: The exchange's; knows which requests take money out.

    Raises:
      InvalidRequest: Names the rule, and says what to write instead.
    """
    for rule in rules:
        method, _, path = rule.partition(" ")
        some = "POST" if method == "*" else method
        # What is above decides only where everything below it takes money out.
        if path.endswith("/*") and signer.is_withdrawal(some, f"{path[:-1]}some"):
            raise InvalidRequest(
                "a withdrawal or transfer is allowed by its whole path, such as "
                f"'POST {path[:-1]}coin', and by no pattern; was {rule!r}"
            )


def names_withdrawal(rule: str, signer: Signer) -> bool:
    """Return whether a rule allows a withdrawal or transfer, by its whole path."""
    method, _, path = rule.partition(" ")
    some = "POST" if method == "*" else method
    return not path.endswith("/*") and signer.is_withdrawal(some, path)


def parse_end(expires: int | str) -> int | None:
    """Return when a key ends, UTC milliseconds; None for `none` or 0: that is not known.

    Raises:
      InvalidRequest: It is no time.
    """
    if expires in ("none", 0):
        return None
    return parse_time_ms(expires, name="expires")


def check_cap(requests_per_minute: int | None) -> None:
    """Refuse a bound that is none.

    Raises:
      InvalidRequest: It is not 1 to 100000.
    """
    if requests_per_minute is not None and not 1 <= requests_per_minute <= PER_MINUTE_MAX:
        raise InvalidRequest(
            f"requests_per_minute must be 1 to {PER_MINUTE_MAX}, was {requests_per_minute}"
        )


def check_owner(name: str, value: str) -> None:
    """Refuse an owner's id that is none.

    Raises:
      InvalidRequest: It is too long, or has control characters or half ones.
    """
    if not _NOTE.fullmatch(value):
        raise InvalidRequest(f"{name} must be at most 100 characters on one line")


def check_apart(credential: Credential, texts: Iterable[str]) -> None:
    """Refuse texts with a secret in them: they go where secrets do not, such as the audit trail.

    Raises:
      InvalidRequest: One holds a secret; it is not said which.
    """
    told = "\n".join(texts).encode(errors="replace")
    for secret in (credential.access_key, credential.secret_key, credential.passphrase):
        if secret is not None and secret.buffer in told:
            raise InvalidRequest(
                "the key itself must not stand in a name, a note, a rule or a path"
            )


def check_use(info: KeyInfo, signer: Signer, method: str, path: str, host: str) -> None:
    """Refuse a request that the key may not be used for.

    Raises:
      KeyRefused: Names the key, the request and the rule.
    """
    about = f"{info.name} does not sign {method} {path[:200]!r}"
    if host != info.host:
        raise KeyRefused(f"{about} for {host}: it was added for {info.host} and goes nowhere else")
    if method not in _METHODS or not _is_path(path):
        raise KeyRefused(f"{about}: wanted a method of HTTP and a plain path")
    exact = (f"{method} {path}", f"* {path}")
    if signer.is_withdrawal(method, path):
        if not any(rule in exact for rule in info.allow):
            raise KeyRefused(
                f"{about}: it could take money out, so its whole path must be among the rules of "
                f"the key, and allowed is {', '.join(info.allow)}"
            )
    elif not any(_covers(rule, method, path) for rule in info.allow):
        raise KeyRefused(f"{about}: allowed is {', '.join(info.allow)}")


class Cap:
    """At most so many signatures in any minute.

    Args:
      most: How many; None for no bound.
      what: Whose, for the error.

    Attributes:
      most: How many; what was counted stays so when it is changed.
    """

    def __init__(self, most: int | None, what: str) -> None:
        self.most = most
        self._what = what
        self._times_s: deque[float] = deque()

    def take(self, now_s: float) -> None:
        """Count one signature.

        Raises:
          RateLimited: There were so many within the last minute; says when one more may be.
        """
        if self.most is None:
            return
        while self._times_s and self._times_s[0] <= now_s - MINUTE_S:
            self._times_s.popleft()
        if len(self._times_s) >= self.most:
            # Where it was lowered, more than one must have become old.
            wait_s = self._times_s[-self.most] + MINUTE_S - now_s
            raise RateLimited(
                f"{self._what} may sign {self.most} requests a minute by its own rule; the next "
                f"in {wait_s:.1f} s",
                retry_after_s=wait_s,
            )
        self._times_s.append(now_s)


def _is_path(path: str) -> bool:
    if path == "":
        return True
    return bool(_PATH.fullmatch(path)) and not any(
        part.strip(".") == "" for part in path[1:].split("/")
    )


def _covers(rule: str, method: str, path: str) -> bool:
    verb, _, pattern = rule.partition(" ")
    if verb not in (method, "*"):
        return False
    if pattern.endswith("/*"):
        return path.startswith(pattern[:-1])
    return path == pattern
