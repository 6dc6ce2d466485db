"""What tests of the sandbox exchange ask it, without a socket."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
from base64 import urlsafe_b64encode
from typing import Any
from urllib.parse import urlencode

from actors.sandbox.accounts import SANDBOX_ACCESS_KEY, SANDBOX_SECRET_KEY
from actors.sandbox.exchange import Answer, SandboxExchange
from actors.sandbox.stream import StreamSession


def ask(exchange: SandboxExchange, target: str, **headers: str) -> Answer:
    """Return the answer to a GET."""
    return exchange.handle("GET", target, list(headers.items()), "127.0.0.1")


def rows(exchange: SandboxExchange, target: str) -> list[dict[str, Any]]:
    """Return the rows of a good answer."""
    answer = ask(exchange, target)
    assert answer.status == 200, answer.body  # noqa: PLR2004 - a test
    found: list[dict[str, Any]] = json.loads(answer.body)
    return found


def wish(*types: str, codes: tuple[str, ...] = ("KRW-BTC",), form: str = "", **more: Any) -> str:
    """Return the text that subscribes to `types` of `codes`; `more` stands in each object."""
    parts: list[dict[str, Any]] = [{"ticket": "test"}]
    parts += [{"type": kind, "codes": list(codes), **more} for kind in types]
    return json.dumps([*parts, {"format": form}] if form else parts)


def frames(session: StreamSession, until_s: float) -> list[Any]:
    """Return all that a connection is told until a moment, decoded."""
    found = []
    while session.next_s <= until_s:
        found += [json.loads(frame.data) for frame in session.advance(until_s)]
    return found


def make_token(claims: dict[str, Any], secret_key: str, *, hash_name: str = "HS512") -> str:
    """Return a signed token; written here once more, so that it is not checked against itself."""
    parts = [_part({"alg": hash_name, "typ": "JWT"}), _part(claims)]
    text = ".".join(parts)
    digest = hmac.digest(secret_key.encode(), text.encode(), f"sha{hash_name[2:]}")
    return f"{text}.{urlsafe_b64encode(digest).decode().rstrip('=')}"


def _part(value: dict[str, Any]) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


class Holder:
    """Asks a sandbox exchange as the holder of a key does.

    Args:
      exchange: What is asked.
      access_key: The public half of the key.
      secret_key: The secret half.
      client: The address the requests come from.
    """

    def __init__(
        self,
        exchange: SandboxExchange,
        access_key: str = SANDBOX_ACCESS_KEY,
        secret_key: str = SANDBOX_SECRET_KEY,
        *,
        client: str = "127.0.0.1",
    ) -> None:
        self._exchange = exchange
        self._access_key = access_key
        self._secret_key = secret_key
        self._client = client
        self._numbers = itertools.count()

    def ask(self, method: str, path: str, **params: Any) -> Answer:
        """Return the answer to a signed request; a POST says its parameters in its body."""
        pairs = [
            (f"{name}[]" if isinstance(value, list) else name, one)
            for name, value in params.items()
            for one in (value if isinstance(value, list) else [value])
        ]
        claims = {"access_key": self._access_key, "nonce": f"nonce {next(self._numbers)}"}
        if pairs:
            said = "&".join(f"{name}={value}" for name, value in pairs)
            claims["query_hash"] = hashlib.sha512(said.encode()).hexdigest()
            claims["query_hash_alg"] = "SHA512"
        bearer = ("Authorization", f"Bearer {make_token(claims, self._secret_key)}")
        body = json.dumps(params).encode() if method == "POST" and params else b""
        target = f"{path}?{urlencode(pairs)}" if pairs and not body else path
        return self._exchange.handle(method, target, [bearer], self._client, body)

    def get(self, path: str, **params: Any) -> Any:
        """Return what a GET is answered with, decoded; it must be good."""
        return _good(self.ask("GET", path, **params))

    def place(self, **params: Any) -> dict[str, Any]:
        """Return the order that was placed in KRW-BTC, if nothing else is said."""
        order: dict[str, Any] = _good(self.ask("POST", "/v1/orders", **_order(params)))
        return order

    def refusal(self, method: str, path: str, **params: Any) -> tuple[int, str]:
        """Return status and name of a refusal."""
        answer = self.ask(method, path, **params)
        return answer.status, json.loads(answer.body)["error"]["name"]

    def refused_order(self, **params: Any) -> tuple[int, str]:
        """Return status and name of the refusal of an order."""
        return self.refusal("POST", "/v1/orders", **_order(params))

    def balances(self) -> dict[str, tuple[str, str]]:
        """Return what the account has of each currency: free and locked."""
        rows = self.get("/v1/accounts")
        return {row["currency"]: (row["balance"], row["locked"]) for row in rows}


def _order(params: dict[str, Any]) -> dict[str, Any]:
    return {"market": "KRW-BTC", "side": "bid", "ord_type": "limit", **params}


def _good(answer: Answer) -> Any:
    assert answer.status in (200, 201), answer.body
    return json.loads(answer.body)
