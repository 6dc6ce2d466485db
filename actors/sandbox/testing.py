"""What tests of the sandbox exchange ask it, without a socket."""

from __future__ import annotations

import json
from typing import Any

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
